//! The operations on tags: of an object that is there already, and of a bucket.
//!
//! None of them is an event. Must never give an object's tags to what took its place.

use s3s::dto::{
    DeleteBucketTaggingInput, DeleteBucketTaggingOutput, DeleteObjectTaggingInput, DeleteObjectTaggingOutput,
    GetBucketTaggingInput, GetBucketTaggingOutput, GetObjectTaggingInput, GetObjectTaggingOutput,
    PutBucketTaggingInput, PutBucketTaggingOutput, PutObjectTaggingInput, PutObjectTaggingOutput,
};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::buckets::{existing, set};
use super::context::Caller;
use super::copy::MAX_LOOKUPS;
use super::found::{lookup, version_of};
use super::multipart::RECORD_OVERHEAD;
use super::operations::Operations;
use super::{errors, headers, names, tags};
use crate::commit::CommitError;
use crate::queue::Setting;

/// The most tags of an object.
const OF_OBJECT: usize = 10;
/// The most tags of a bucket.
const OF_BUCKET: usize = 50;

/// Gives an object other tags.
pub(super) async fn put(
    operations: &Operations,
    req: S3Request<PutObjectTaggingInput>,
) -> S3Result<S3Response<PutObjectTaggingOutput>> {
    check(operations, &req)?;
    let input = req.input;
    let kept = tags::of_document(input.tagging.tag_set, OF_OBJECT)?;
    let version_id =
        change(operations, &input.bucket, &input.key, input.version_id.as_deref(), &kept).await?;
    Ok(S3Response::new(PutObjectTaggingOutput { version_id }))
}

/// Takes an object's tags away.
pub(super) async fn delete(
    operations: &Operations,
    req: S3Request<DeleteObjectTaggingInput>,
) -> S3Result<S3Response<DeleteObjectTaggingOutput>> {
    check(operations, &req)?;
    let input = req.input;
    let version_id = change(operations, &input.bucket, &input.key, input.version_id.as_deref(), "").await?;
    Ok(S3Response::new(DeleteObjectTaggingOutput { version_id }))
}

/// Shows an object's tags.
pub(super) fn get(
    operations: &Operations,
    req: S3Request<GetObjectTaggingInput>,
) -> S3Result<S3Response<GetObjectTaggingOutput>> {
    check(operations, &req)?;
    let input = req.input;
    names::check_key(&input.key)?;
    let object = lookup(operations, &input.bucket, &input.key, input.version_id.as_deref())?;
    let tag_set = tags::of_kept(object.meta.tags());
    let version_id = version_of(operations, &object)?;
    Ok(S3Response::new(GetObjectTaggingOutput { tag_set, version_id }))
}

/// Gives the name of the version that has other tags now, as answers say it.
async fn change(
    operations: &Operations,
    bucket: &str,
    key: &str,
    version: Option<&str>,
    kept: &str,
) -> S3Result<Option<String>> {
    names::check_key(key)?;
    let record = RECORD_OVERHEAD + bucket.len() + key.len() + kept.len();
    for _ in 0..MAX_LOOKUPS {
        let object = lookup(operations, bucket, key, version)?;
        let permit = operations.commit.reserve(record).await.map_err(errors::of_commit)?;
        match operations.commit.tag_object(permit, &object, kept).await {
            Err(CommitError::Replaced) => {}
            Err(error) => return Err(errors::of_commit(error)),
            Ok(_) => return version_of(operations, &object),
        }
    }
    Err(errors::of_commit(CommitError::Replaced))
}

fn check<T>(operations: &Operations, req: &S3Request<T>) -> S3Result<()> {
    Caller::of(&req.extensions)?;
    headers::only_known(&req.headers, &[])?;
    headers::expected_owner(&req.headers, &operations.limits.account)
}

/// Gives a bucket other tags.
pub(super) async fn put_bucket(
    operations: &Operations,
    req: S3Request<PutBucketTaggingInput>,
) -> S3Result<S3Response<PutBucketTaggingOutput>> {
    existing(operations, &req, &req.input.bucket)?;
    let kept = tags::of_document(req.input.tagging.tag_set, OF_BUCKET)?;
    let value = (!kept.is_empty()).then(|| kept.as_bytes().to_vec().into());
    set(operations, &req.input.bucket, Setting::Tagging, value).await?;
    Ok(S3Response::new(PutBucketTaggingOutput::default()))
}

/// Takes a bucket's tags away.
pub(super) async fn delete_bucket(
    operations: &Operations,
    req: S3Request<DeleteBucketTaggingInput>,
) -> S3Result<S3Response<DeleteBucketTaggingOutput>> {
    existing(operations, &req, &req.input.bucket)?;
    set(operations, &req.input.bucket, Setting::Tagging, None).await?;
    Ok(S3Response::new(DeleteBucketTaggingOutput::default()))
}

/// Shows a bucket's tags.
pub(super) fn get_bucket(
    operations: &Operations,
    req: S3Request<GetBucketTaggingInput>,
) -> S3Result<S3Response<GetBucketTaggingOutput>> {
    let bucket = existing(operations, &req, &req.input.bucket)?;
    let kept = bucket.setting(Setting::Tagging).ok_or(S3ErrorCode::NoSuchTagSet)?;
    let tag_set = tags::of_kept(&String::from_utf8_lossy(kept));
    Ok(S3Response::new(GetBucketTaggingOutput { tag_set }))
}
