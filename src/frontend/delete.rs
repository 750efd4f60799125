//! DELETE Object and DeleteObjects.
//!
//! Must never report a key as deleted that the commit path did not confirm.

use futures_util::{StreamExt, stream};
use http::HeaderMap;
use http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};
use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ETag,
    ETagCondition, Error, ObjectIdentifier, Timestamp, TimestampFormat,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::context::Caller;
use super::operations::Operations;
use super::put::etag_of;
use super::{errors, headers, names, versioning};
use crate::commit::{Conditions, Removed};
use crate::fail;

/// The most keys of one request.
const MAX_KEYS: usize = 1000;
/// How many of them are on their way at once.
const AT_ONCE: usize = 32;
/// What a record of a deletion takes beside its key, in bytes: more than any does.
const RECORD_OVERHEAD: usize = 512;
/// The conditions of one deletion beside `If-Match`.
const OF_CONDITIONS: [&str; 2] = ["x-amz-if-match-size", "x-amz-if-match-last-modified-time"];

/// Deletes one object. A key that holds nothing is deleted already.
pub(super) async fn object(
    operations: &Operations,
    req: S3Request<DeleteObjectInput>,
) -> S3Result<S3Response<DeleteObjectOutput>> {
    let caller = Caller::of(&req.extensions)?;
    check_headers(operations, &req.headers, &OF_CONDITIONS)?;
    let input = req.input;
    let (time, size) = (input.if_match_last_modified_time, input.if_match_size);
    let conditions = conditions(input.if_match, time, size)?;
    let (bucket, key, version) = (&input.bucket, &input.key, input.version_id.as_deref());
    let removed = delete(operations, &caller, bucket, key, version, conditions).await?;
    Ok(S3Response::new(DeleteObjectOutput {
        delete_marker: removed.marker.then_some(true),
        version_id: removed.version.map(|id| id.to_string()).or(input.version_id),
        ..Default::default()
    }))
}

/// Deletes up to 1,000 objects, each for itself: an answer per key.
pub(super) async fn objects(
    operations: &Operations,
    req: S3Request<DeleteObjectsInput>,
) -> S3Result<S3Response<DeleteObjectsOutput>> {
    let caller = Caller::of(&req.extensions)?;
    check_headers(operations, &req.headers, &[])?;
    if req.headers.contains_key(IF_MATCH) {
        return Err(s3_error!(NotImplemented, "Not implemented: the header if-match of several keys"));
    }
    let wanted = req.input.delete;
    if wanted.objects.is_empty() || wanted.objects.len() > MAX_KEYS {
        return Err(S3ErrorCode::MalformedXML.into());
    }
    let bucket = req.input.bucket;
    if operations.commit.store().bucket(&bucket).map_err(errors::of_store)?.is_none() {
        return Err(S3ErrorCode::NoSuchBucket.into());
    }
    let quiet = wanted.quiet.unwrap_or(false);
    let (bucket, caller) = (bucket.as_str(), &caller);
    let mut results = stream::iter(wanted.objects)
        .map(|object| async move {
            let result = delete_listed(operations, caller, bucket, &object).await;
            (object.key, object.version_id, result)
        })
        .buffered(AT_ONCE);
    let (mut deleted, mut failed) = (Vec::new(), Vec::new());
    while let Some((key, version_id, result)) = results.next().await {
        fail::point("delete.batch.mid");
        match result {
            Ok(_) if quiet => {}
            Ok(removed) => {
                let marker = removed.version.filter(|_| removed.marker).map(|id| id.to_string());
                deleted.push(DeletedObject {
                    delete_marker: removed.marker.then_some(true),
                    delete_marker_version_id: marker,
                    key: Some(key),
                    version_id,
                });
            }
            Err(error) => failed.push(Error {
                code: Some(error.code().as_str().to_owned()),
                key: Some(key),
                message: error.message().map(str::to_owned),
                version_id,
            }),
        }
    }
    Ok(S3Response::new(DeleteObjectsOutput {
        deleted: Some(deleted).filter(|list| !list.is_empty()),
        errors: Some(failed).filter(|list| !list.is_empty()),
        ..Default::default()
    }))
}

async fn delete_listed(
    operations: &Operations,
    caller: &Caller,
    bucket: &str,
    object: &ObjectIdentifier,
) -> Result<Removed, S3Error> {
    let etag = object.e_tag.clone().map(|etag| match etag {
        ETag::Strong(any) if any == "*" => ETagCondition::Any,
        etag => ETagCondition::ETag(etag),
    });
    let conditions = conditions(etag, object.last_modified_time.clone(), object.size)?;
    delete(operations, caller, bucket, &object.key, object.version_id.as_deref(), conditions).await
}

async fn delete(
    operations: &Operations,
    caller: &Caller,
    bucket: &str,
    key: &str,
    version: Option<&str>,
    conditions: Conditions,
) -> Result<Removed, S3Error> {
    names::check_key(key)?;
    let version = versioning::named(version)?;
    let permit = operations.commit.reserve_removal(RECORD_OVERHEAD + bucket.len() + key.len()).await;
    let permit = permit.map_err(errors::of_commit)?;
    let request = caller.request_info();
    let deleted = operations.commit.delete_object(permit, bucket, key, version, conditions, request).await;
    deleted.map_err(errors::of_commit)
}

/// What must hold for the object that goes.
fn conditions(
    etag: Option<ETagCondition>,
    modified: Option<Timestamp>,
    size: Option<i64>,
) -> Result<Conditions, S3Error> {
    let if_modified_at = modified.as_ref().map(seconds).transpose()?;
    // No object has a negative size: the condition cannot hold, and it is not ignored.
    let if_size = size.map(|size| u64::try_from(size).unwrap_or(u64::MAX));
    Ok(Conditions {
        if_match: etag.map(etag_of).transpose()?,
        if_size,
        if_modified_at,
        ..Conditions::default()
    })
}

/// Whole seconds since the Unix epoch.
fn seconds(time: &Timestamp) -> Result<i64, S3Error> {
    let mut text = Vec::new();
    let written = time.format(TimestampFormat::EpochSeconds, &mut text);
    let text = written.ok().and_then(|()| String::from_utf8(text).ok());
    let whole = text.as_deref().map(|text| text.split_once('.').map_or(text, |(whole, _)| whole));
    whole
        .and_then(|whole| whole.parse().ok())
        .ok_or_else(|| s3_error!(InvalidArgument, "A condition is not a time."))
}

fn check_headers(operations: &Operations, headers: &HeaderMap, more: &[&str]) -> Result<(), S3Error> {
    headers::only_known(headers, more)?;
    headers::expected_owner(headers, &operations.limits.account)?;
    // A condition that is ignored deletes what it should have saved.
    for name in [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE] {
        if headers.contains_key(&name) {
            return Err(s3_error!(NotImplemented, "Not implemented: the header {name}"));
        }
    }
    Ok(())
}
