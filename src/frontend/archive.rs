//! Archived objects as readers meet them: whether one can be read, and what answers say of its restore.
//!
//! Must never let a byte of an object be read that is archived and not restored.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use s3s::dto::{Timestamp, TimestampFormat};
use s3s::{S3ErrorCode, S3Result};

use super::found::Failure;
use super::operations::Operations;
use super::{classes, errors};
use crate::queue::Restore;
use crate::store::Object;

/// What answers say of a restore, in the words of both protocols.
const RESTORE: [HeaderName; 2] =
    [HeaderName::from_static("x-amz-restore"), HeaderName::from_static("x-cos-restore")];
/// What COS says beside it while a restore is running.
const STATUS: HeaderName = HeaderName::from_static("x-cos-restore-status");

/// An archived object as it is now.
pub(super) struct Archived {
    restore: Option<Restore>,
    readable: bool,
}

/// What is known of an object that is archived; none: it can be read like any other.
pub(super) fn state(operations: &Operations, object: &Object) -> Result<Option<Archived>, Failure> {
    if classes::archive_of(&object.meta.headers).is_none() {
        return Ok(None);
    }
    let commit = &operations.commit;
    let (bucket, key) = (&object.bucket, &object.key);
    let restore = commit.store().restore(bucket, key, object.offset).map_err(errors::of_store)?;
    if restore.is_none() {
        // A restore goes with its object: there is none only if the object is still there.
        let now = commit.store().version(bucket, key, Some(object.version)).map_err(errors::of_store)?;
        if now.is_none_or(|now| now.object.offset != object.offset) {
            return Err(Failure::Gone);
        }
    }
    let readable = restore.as_ref().is_some_and(|restore| restore.is_readable(commit.now_us()));
    Ok(Some(Archived { restore, readable }))
}

/// Refuses what would read an object that is archived and not restored.
pub(super) fn check_readable(operations: &Operations, object: &Object) -> Result<(), Failure> {
    match state(operations, object)? {
        Some(archived) => Ok(archived.check()?),
        None => Ok(()),
    }
}

impl Archived {
    /// Refuses a read, unless the object is restored.
    pub(super) fn check(&self) -> S3Result<()> {
        if self.readable { Ok(()) } else { Err(S3ErrorCode::InvalidObjectState.into()) }
    }

    /// Says of the restore what there is to say.
    pub(super) fn show(&self, headers: &mut HeaderMap) {
        let text = match &self.restore {
            Some(Restore { expires_us: None, tier, asked_us, .. }) => {
                let tier = tier.name().to_ascii_lowercase();
                let status = format!("tier=\"{tier}\"; request-date=\"{}\"", http_date(*asked_us));
                if let Ok(status) = HeaderValue::from_str(&status) {
                    headers.insert(STATUS, status);
                }
                "ongoing-request=\"true\"".to_owned()
            }
            Some(Restore { expires_us: Some(expires), .. }) if self.readable => {
                format!("ongoing-request=\"false\", expiry-date=\"{}\"", http_date(*expires))
            }
            _ => return,
        };
        if let Ok(value) = HeaderValue::from_str(&text) {
            RESTORE.into_iter().for_each(|name| drop(headers.insert(name, value.clone())));
        }
    }
}

fn http_date(time_us: i64) -> String {
    let seconds = Duration::from_secs(u64::try_from(time_us / 1_000_000).unwrap_or(0));
    let mut text = Vec::new();
    let time = Timestamp::from(SystemTime::UNIX_EPOCH + seconds);
    match time.format(TimestampFormat::HttpDate, &mut text) {
        Ok(()) => String::from_utf8_lossy(&text).into_owned(),
        Err(_) => String::new(),
    }
}
