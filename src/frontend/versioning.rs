//! Versioning of buckets, and what every answer about a version shares.
//!
//! Must never take the id of a version for another's: what is not one of ours is refused.

use http::header::{ALLOW, HeaderName, LAST_MODIFIED};
use http::{HeaderMap, HeaderValue};
use s3s::dto::{
    BucketVersioningStatus, GetBucketVersioningInput, GetBucketVersioningOutput, PutBucketVersioningInput,
    PutBucketVersioningOutput, TimestampFormat,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::context::Caller;
use super::found::modified;
use super::operations::Operations;
use super::{errors, headers};
use crate::event::VersionId;
use crate::queue::Setting;
use crate::store::{ObjectVersion, Versioning};

/// What a record about a bucket's versioning takes, in bytes: more than any does.
const RECORD_BYTES: usize = 512;
const VERSION_ID: HeaderName = HeaderName::from_static("x-amz-version-id");
const DELETE_MARKER: HeaderName = HeaderName::from_static("x-amz-delete-marker");

/// Enables or suspends a bucket's versioning. It cannot be taken back.
pub(super) async fn put(
    operations: &Operations,
    req: S3Request<PutBucketVersioningInput>,
) -> S3Result<S3Response<PutBucketVersioningOutput>> {
    Caller::of(&req.extensions)?;
    headers::only_known(&req.headers, &[])?;
    headers::expected_owner(&req.headers, &operations.limits.account)?;
    let wanted = req.input.versioning_configuration;
    if wanted.mfa_delete.is_some_and(|mfa| mfa.as_str() != "Disabled") {
        return Err(s3_error!(NotImplemented, "Not implemented: MFA delete"));
    }
    let versioning = match wanted.status.as_ref().map(BucketVersioningStatus::as_str) {
        Some(BucketVersioningStatus::ENABLED) => Versioning::Enabled,
        Some(BucketVersioningStatus::SUSPENDED) => Versioning::Suspended,
        Some(_) => return Err(S3ErrorCode::MalformedXML.into()),
        None => return Err(S3ErrorCode::IllegalVersioningConfigurationException.into()),
    };
    let bucket = &req.input.bucket;
    let found = operations.commit.store().bucket(bucket).map_err(errors::of_store)?;
    let replicates = found.is_some_and(|found| found.setting(Setting::Replication).is_some());
    if versioning == Versioning::Suspended && replicates {
        let text = "The bucket has rules of replication, which need its versioning: delete them first.";
        let code = S3ErrorCode::Custom("InvalidBucketState".into());
        let mut error = S3Error::with_message(code, text);
        error.set_status_code(http::StatusCode::CONFLICT);
        return Err(error);
    }
    let permit = operations.commit.reserve(RECORD_BYTES).await.map_err(errors::of_commit)?;
    let set = operations.commit.set_bucket_setting(permit, bucket, Setting::Versioning, versioning.value());
    set.await.map_err(errors::of_commit)?;
    Ok(S3Response::new(PutBucketVersioningOutput::default()))
}

/// Says whether a bucket's versioning is enabled or suspended; nothing if it never was either.
pub(super) fn get(
    operations: &Operations,
    req: S3Request<GetBucketVersioningInput>,
) -> S3Result<S3Response<GetBucketVersioningOutput>> {
    Caller::of(&req.extensions)?;
    headers::only_known(&req.headers, &[])?;
    headers::expected_owner(&req.headers, &operations.limits.account)?;
    let status = match of_bucket(operations, &req.input.bucket)? {
        Versioning::Never => None,
        Versioning::Enabled => Some(BucketVersioningStatus::ENABLED),
        Versioning::Suspended => Some(BucketVersioningStatus::SUSPENDED),
    };
    let status = status.map(BucketVersioningStatus::from_static);
    Ok(S3Response::new(GetBucketVersioningOutput { status, ..Default::default() }))
}

/// The versioning of a bucket, which must be there.
pub(super) fn of_bucket(operations: &Operations, bucket: &str) -> S3Result<Versioning> {
    let bucket = operations.commit.store().bucket(bucket).map_err(errors::of_store)?;
    Ok(bucket.ok_or(S3ErrorCode::NoSuchBucket)?.versioning())
}

/// The version that a request names.
pub(super) fn named(version: Option<&str>) -> S3Result<Option<VersionId>> {
    match version {
        None => Ok(None),
        Some("") => Err(s3_error!(InvalidArgument, "Version id cannot be the empty string")),
        Some(text) => {
            let invalid = || s3_error!(InvalidArgument, "Invalid version id specified");
            VersionId::parse(text).map(Some).ok_or_else(invalid)
        }
    }
}

/// A delete marker where an object is asked for: 404 if it is only in the way, 405 if it was asked for
/// itself.
pub(super) fn is_marker(marker: &ObjectVersion, asked_for: bool) -> S3Error {
    let mut headers = HeaderMap::from_iter([(DELETE_MARKER, HeaderValue::from_static("true"))]);
    if let Ok(id) = HeaderValue::from_str(&marker.object.version.to_string()) {
        headers.insert(VERSION_ID, id);
    }
    let mut text = Vec::new();
    if asked_for
        && modified(&marker.object).format(TimestampFormat::HttpDate, &mut text).is_ok()
        && let Ok(date) = HeaderValue::from_bytes(&text)
    {
        headers.insert(LAST_MODIFIED, date);
        headers.insert(ALLOW, HeaderValue::from_static("DELETE"));
    }
    let code = if asked_for { S3ErrorCode::MethodNotAllowed } else { S3ErrorCode::NoSuchKey };
    let mut error = S3Error::from(code);
    error.set_headers(headers);
    error
}
