//! The source of a copy, of an object or of a part: which object it is, and what must hold for it.
//!
//! Must never give an object that the source's conditions forbid.

use http::HeaderMap;
use s3s::dto::{CopySource, ETagCondition, Timestamp};
use s3s::{S3ErrorCode, S3Result, s3_error};

use super::archive;
use super::context::Caller;
use super::copy::MAX_LOOKUPS;
use super::found::{Conditions, Failure, check_conditions, lookup};
use super::operations::Operations;
use super::{headers, names};
use crate::store::Object;

/// The headers that belong to a copy's source.
const OF_SOURCE: [&str; 7] = [
    "x-amz-copy-source",
    "x-amz-copy-source-if-match",
    "x-amz-copy-source-if-none-match",
    "x-amz-copy-source-if-modified-since",
    "x-amz-copy-source-if-unmodified-since",
    "x-amz-source-expected-bucket-owner",
    "x-amz-copy-source-range",
];

/// What a copy is made of.
pub(super) struct Source {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) version: Option<String>,
    conditions: Conditions,
}

impl Source {
    pub(super) fn of(caller: &Caller, source: CopySource, conditions: Conditions) -> S3Result<Self> {
        match source {
            CopySource::Bucket { bucket, key, version_id } => {
                caller.principal.copies_from(&bucket)?;
                names::check_key(&key)?;
                let version = version_id.map(Into::into);
                Ok(Self { bucket: bucket.into(), key: key.into(), version, conditions })
            }
            _ => Err(s3_error!(NotImplemented, "Not implemented: copies from an access point")),
        }
    }

    /// The object as it is now, which can be read.
    pub(super) fn find(&self, operations: &Operations) -> S3Result<Object> {
        for _ in 1..MAX_LOOKUPS {
            let object = self.find_any(operations)?;
            match archive::check_readable(operations, &object) {
                Ok(()) => return Ok(object),
                Err(Failure::Gone) => {}
                Err(Failure::Error(error)) => return Err(error),
            }
        }
        Err(Failure::Gone.into())
    }

    fn find_any(&self, operations: &Operations) -> S3Result<Object> {
        let object = lookup(operations, &self.bucket, &self.key, self.version.as_deref());
        let object = object.map_err(|error| match *error.code() {
            S3ErrorCode::MethodNotAllowed => s3_error!(
                InvalidRequest,
                "The source of a copy request may not specifically refer to a delete marker by version id."
            ),
            _ => error,
        })?;
        // Whatever does not hold, a copy answers 412.
        check_conditions(&self.conditions, &object).map_err(|_| S3ErrorCode::PreconditionFailed)?;
        if object.size > operations.limits.max_object_bytes {
            return Err(s3_error!(InvalidRequest, "The copy source is larger than one copy may be"));
        }
        Ok(object)
    }
}

pub(super) fn conditions(
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
    if_modified_since: Option<Timestamp>,
    if_unmodified_since: Option<Timestamp>,
) -> Conditions {
    Conditions { if_match, if_none_match, if_modified_since, if_unmodified_since }
}

pub(super) fn check_headers(operations: &Operations, headers: &HeaderMap, more: &[&str]) -> S3Result<()> {
    headers::only_known(headers, &[&OF_SOURCE, more].concat())?;
    let account = &operations.limits.account;
    headers::expected_owner(headers, account)?;
    if headers.get("x-amz-source-expected-bucket-owner").is_some_and(|o| o.as_bytes() != account.as_bytes()) {
        return Err(s3_error!(AccessDenied, "The source bucket has another owner"));
    }
    Ok(())
}
