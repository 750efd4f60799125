//! Why a change was not made. Each variant is one decision of the caller.
//!
//! Must never name a key.

use crate::queue::{AppendError, Full, OverBudget};
use crate::store::StoreError;

/// Why a change was not made, or why nobody knows.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// No space: 503 SlowDown, nothing happened.
    #[error(transparent)]
    Full(#[from] Full),
    /// A target that would get the event has no room for it, and may not go without: 503 SlowDown, nothing
    /// happened.
    #[error(transparent)]
    OverBudget(#[from] OverBudget),
    /// There is no such bucket.
    #[error("no such bucket")]
    NoSuchBucket,
    /// The bucket exists already.
    #[error("the bucket exists already")]
    BucketExists {
        /// The caller owns it.
        mine: bool,
    },
    /// The bucket still holds objects.
    #[error("the bucket is not empty")]
    BucketNotEmpty,
    /// The value of a setting is larger than any may be.
    #[error("the value of a setting is too large")]
    SettingTooLarge,
    /// There is no object that the request's condition could be about.
    #[error("no such key")]
    NoSuchKey,
    /// There is no such upload: it never was, was aborted, or has become another object.
    #[error("no such upload")]
    NoSuchUpload,
    /// Bodies take all of the disk that they may: 503 SlowDown, nothing happened.
    #[error("bodies take all of the disk that they may")]
    BodiesFull,
    /// Too many uploads are open: 503 SlowDown, nothing happened.
    #[error("too many multipart uploads are open")]
    TooManyUploads {
        /// Of the caller; else of all together.
        of_owner: bool,
    },
    /// A part is not what the caller read before: read again.
    #[error("the parts of the upload changed meanwhile")]
    PartsChanged,
    /// A condition of the request does not hold.
    #[error("a condition of the request does not hold")]
    PreconditionFailed,
    /// The object is not the one that the caller looked at any more: look again.
    #[error("the object was replaced meanwhile")]
    Replaced,
    /// The bucket's versioning is not enabled: 409, nothing happened.
    #[error("the bucket's versioning is not enabled")]
    NotVersioned,
    /// The object is being restored already: 409, nothing happened.
    #[error("the object is being restored already")]
    RestoreInProgress,
    /// The object that a condition of the request is about was removed while the request was on its way.
    #[error("the object was removed meanwhile")]
    Conflict,
    /// The bucket may not hold more: 403, nothing happened.
    #[error("the bucket's quota of {0} is used up")]
    QuotaExceeded(&'static str),
    /// What the bucket holds must be counted anew: 503, nothing happened.
    #[error("the bucket is being counted")]
    Uncounted,
    /// The outcome is unknown: 500, and the client must look.
    #[error("outcome unknown: {0}")]
    Unknown(String),
    /// The store cannot answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<AppendError> for CommitError {
    fn from(e: AppendError) -> Self {
        CommitError::Unknown(e.to_string())
    }
}
