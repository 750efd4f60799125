//! What a change answers that was not made, or of which nobody knows.
//!
//! Must never say that nothing happened where that is not known.

use http::StatusCode;
use s3s::{S3Error, S3ErrorCode};

use super::{NO_SPACE, of_store, slow_down};
use crate::commit::CommitError;
use crate::store::StoreError;

/// What a refused or failed change answers.
pub(in crate::frontend) fn of_commit(error: CommitError) -> S3Error {
    use S3ErrorCode as C;
    match error {
        CommitError::Full(why) => {
            tracing::debug!(%why, "a change was refused for want of space");
            slow_down(NO_SPACE.to_owned())
        }
        CommitError::OverBudget(full) => {
            tracing::debug!(%full, "a change was refused for a target's sake");
            slow_down(format!("The {full}."))
        }
        CommitError::BodiesFull => slow_down(NO_SPACE.to_owned()),
        CommitError::TooManyUploads { of_owner } => {
            let whose = if of_owner { "with this access key" } else { "of all clients together" };
            slow_down(format!("Too many multipart uploads {whose} are open: complete or abort some."))
        }
        CommitError::NoSuchBucket => C::NoSuchBucket.into(),
        CommitError::BucketExists { mine: true } => C::BucketAlreadyOwnedByYou.into(),
        CommitError::BucketExists { mine: false } => C::BucketAlreadyExists.into(),
        CommitError::BucketNotEmpty => C::BucketNotEmpty.into(),
        CommitError::SettingTooLarge => C::EntityTooLarge.into(),
        CommitError::NoSuchKey => C::NoSuchKey.into(),
        CommitError::NoSuchUpload => C::NoSuchUpload.into(),
        CommitError::PartsChanged => {
            S3Error::with_message(C::InvalidPart, "A part was uploaded again meanwhile.")
        }
        CommitError::PreconditionFailed => C::PreconditionFailed.into(),
        CommitError::NotVersioned => {
            let text = "The bucket's versioning is not enabled, which replication needs.";
            let mut error = S3Error::with_message(C::Custom("InvalidBucketState".into()), text);
            error.set_status_code(StatusCode::CONFLICT);
            error
        }
        CommitError::Replaced => of_store(StoreError::Gone),
        CommitError::QuotaExceeded(what) => {
            let text = format!("The bucket's quota of {what} is used up: delete something first.");
            let mut error = S3Error::with_message(C::Custom("QuotaExceeded".into()), text);
            error.set_status_code(StatusCode::FORBIDDEN);
            error
        }
        CommitError::RestoreInProgress => C::RestoreAlreadyInProgress.into(),
        CommitError::Uncounted => slow_down("The bucket is being counted; try again.".to_owned()),
        CommitError::Conflict => S3Error::with_message(
            C::ConditionalRequestConflict,
            "The object was deleted while this request was on its way; look at it again.",
        ),
        CommitError::Unknown(why) => {
            tracing::error!(%why, "the outcome of a change is unknown");
            S3Error::with_message(C::InternalError, "It is not known whether the change was made.")
        }
        CommitError::Store(error) => of_store(error),
    }
}
