//! DELETE Object and DeleteObjects.
//!
//! Must never report a key as deleted that the commit path did not confirm.

use futures_util::{StreamExt, stream};
use http::HeaderMap;
use http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};
use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, Error,
    ObjectIdentifier,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::context::Caller;
use super::operations::Operations;
use super::{errors, headers, names, versioning};
use crate::commit::Removed;

/// The most keys of one request.
const MAX_KEYS: usize = 1000;
/// How many of them are on their way at once.
const AT_ONCE: usize = 32;
/// What a record of a deletion takes beside its key, in bytes: more than any does.
const RECORD_OVERHEAD: usize = 512;

/// Deletes one object. A key that holds nothing is deleted already.
pub(super) async fn object(
    operations: &Operations,
    req: S3Request<DeleteObjectInput>,
) -> S3Result<S3Response<DeleteObjectOutput>> {
    let caller = Caller::of(&req.extensions)?;
    check_headers(operations, &req.headers)?;
    let (bucket, key, version) = (&req.input.bucket, &req.input.key, req.input.version_id.as_deref());
    let removed = delete(operations, &caller, bucket, key, version).await?;
    Ok(S3Response::new(DeleteObjectOutput {
        delete_marker: removed.marker.then_some(true),
        version_id: removed.version.map(|id| id.to_string()).or(req.input.version_id),
        ..Default::default()
    }))
}

/// Deletes up to 1,000 objects, each for itself: an answer per key.
pub(super) async fn objects(
    operations: &Operations,
    req: S3Request<DeleteObjectsInput>,
) -> S3Result<S3Response<DeleteObjectsOutput>> {
    let caller = Caller::of(&req.extensions)?;
    check_headers(operations, &req.headers)?;
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
    if object.e_tag.is_some() || object.last_modified_time.is_some() || object.size.is_some() {
        return Err(s3_error!(NotImplemented, "Not implemented: conditions on a key"));
    }
    delete(operations, caller, bucket, &object.key, object.version_id.as_deref()).await
}

async fn delete(
    operations: &Operations,
    caller: &Caller,
    bucket: &str,
    key: &str,
    version: Option<&str>,
) -> Result<Removed, S3Error> {
    names::check_key(key)?;
    let version = versioning::named(version)?;
    let permit = operations.commit.reserve_removal(RECORD_OVERHEAD + bucket.len() + key.len()).await;
    let permit = permit.map_err(errors::of_commit)?;
    let request = caller.request_info();
    let deleted = operations.commit.delete_object(permit, bucket, key, version, request).await;
    deleted.map_err(errors::of_commit)
}

fn check_headers(operations: &Operations, headers: &HeaderMap) -> Result<(), S3Error> {
    headers::only_known(headers, &[])?;
    headers::expected_owner(headers, &operations.limits.account)?;
    // A condition that is ignored deletes what it should have saved.
    for name in [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE] {
        if headers.contains_key(&name) {
            return Err(s3_error!(NotImplemented, "Not implemented: the header {name}"));
        }
    }
    Ok(())
}
