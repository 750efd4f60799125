//! Why an origin's object is not answered, and what the client is told.
//!
//! Must never name the path or the query that an origin was asked for, nor what it said of its failure.

use http::StatusCode;
use http::header::{HeaderMap, HeaderValue, LOCATION};
use s3s::{S3Error, S3ErrorCode};
use tidings_origin::{FetchError, Url};

use super::Pulled;
use crate::commit::CommitError;
use crate::frontend::slow_down::slow_down;

/// Why there is no object.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// The origin has none either.
    NotFound,
    /// The origin failed.
    Origin {
        /// What it answered, if it answered.
        status: Option<u16>,
        /// One sentence without its end.
        why: String,
    },
    /// It cannot be kept now.
    NoRoom,
    /// It cannot be fetched now.
    Busy,
    /// We failed.
    Internal,
}

impl Failure {
    /// The origin's object cannot be one of ours.
    pub(super) fn unfit(why: &str) -> Self {
        Failure::Origin { status: None, why: why.to_owned() }
    }

    /// How a fetch that ended so is counted.
    pub(super) fn counted(&self) -> Pulled {
        match self {
            Failure::NotFound => Pulled::NotFound,
            Failure::Origin { .. } | Failure::Internal => Pulled::Failed,
            Failure::NoRoom => Pulled::NotKept,
            Failure::Busy => Pulled::Refused,
        }
    }

    /// What the client is told. `transparent`: the origin's own status.
    pub(super) fn answer(self, transparent: bool) -> S3Error {
        match self {
            Failure::NotFound => S3ErrorCode::NoSuchKey.into(),
            Failure::NoRoom => slow_down("No space for an origin's object now; try again later.".to_owned()),
            Failure::Busy => slow_down("Too much is fetched from origins now; try again later.".to_owned()),
            Failure::Internal => S3ErrorCode::InternalError.into(),
            Failure::Origin { status, why } => {
                let code = S3ErrorCode::Custom("OriginFailed".into());
                let mut error = S3Error::with_message(code, format!("The object is not here: {why}."));
                let own = status.filter(|status| transparent && *status >= 400);
                let own = own.and_then(|status| StatusCode::from_u16(status).ok());
                error.set_status_code(own.unwrap_or(StatusCode::FAILED_DEPENDENCY));
                error
            }
        }
    }
}

/// The client is sent to the origin.
pub(super) fn redirect(code: StatusCode, to: &Url) -> S3Error {
    let text = "The object is not here; its origin may have it.";
    let mut error = S3Error::with_message(S3ErrorCode::Custom("TemporaryRedirect".into()), text);
    error.set_status_code(code);
    if let Ok(to) = HeaderValue::from_str(to.as_str()) {
        error.set_headers(HeaderMap::from_iter([(LOCATION, to)]));
    }
    error
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::NotFound => Failure::NotFound,
            FetchError::Status(status) => Failure::Origin { status: Some(status), why: error.to_string() },
            // Names and addresses of origins are their buckets' owner's, not every reader's.
            FetchError::Blocked(why) => {
                tracing::warn!(%why, "an origin may not be called");
                Failure::unfit("its origin may not be called")
            }
            FetchError::Failed(why) => {
                tracing::warn!(%why, "an origin failed");
                Failure::unfit("its origin failed")
            }
            other => Failure::Origin { status: None, why: other.to_string() },
        }
    }
}

impl From<CommitError> for Failure {
    fn from(error: CommitError) -> Self {
        match error {
            // The bucket went meanwhile.
            CommitError::NoSuchBucket => Failure::NotFound,
            CommitError::Full(_)
            | CommitError::OverBudget(_)
            | CommitError::BodiesFull
            | CommitError::QuotaExceeded(_)
            | CommitError::Uncounted => {
                tracing::warn!(reason = %error, "no room for an origin's object: answered, and not kept");
                Failure::NoRoom
            }
            CommitError::Store(error) if error.is_full() => {
                tracing::warn!("no room on the disk for an origin's object: answered, and not kept");
                Failure::NoRoom
            }
            other => {
                tracing::error!(error = %other, "an origin's object was not kept");
                Failure::Internal
            }
        }
    }
}
