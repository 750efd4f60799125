//! Buckets: create, head, location, list, delete.
//!
//! Must never treat a bucket as there or gone before the commit path says so.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use s3s::dto::{
    Bucket, BucketLocationConstraint, CreateBucketInput, CreateBucketOutput, DeleteBucketInput,
    DeleteBucketOutput, GetBucketLocationInput, GetBucketLocationOutput, HeadBucketInput, HeadBucketOutput,
    ListBucketsInput, ListBucketsOutput, Owner, Timestamp,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::context::Caller;
use super::operations::Operations;
use super::{errors, headers, names};
use crate::queue::Setting;
use crate::store;

/// What a record about a bucket takes, in bytes: more than any does.
const RECORD_BYTES: usize = 512;
/// The most buckets in one answer.
const MAX_BUCKETS: usize = 10_000;
/// The region whose name S3 leaves out of locations.
const UNNAMED_REGION: &str = "us-east-1";

/// Makes a bucket.
pub(super) async fn create(
    operations: &Operations,
    req: S3Request<CreateBucketInput>,
) -> S3Result<S3Response<CreateBucketOutput>> {
    let caller = Caller::of(&req.extensions)?;
    headers::only_known(&req.headers, &[])?;
    let input = req.input;
    names::check_new_bucket(&input.bucket)?;
    if let Some(configuration) = input.create_bucket_configuration {
        let wanted = configuration.location_constraint.as_ref().map(|region| region.as_str());
        if wanted.is_some_and(|wanted| !wanted.is_empty() && wanted != operations.limits.region) {
            return Err(s3_error!(
                IllegalLocationConstraintException,
                "This server makes buckets in {} only",
                operations.limits.region
            ));
        }
        if configuration.bucket.is_some() || configuration.location.is_some() {
            return Err(s3_error!(NotImplemented, "Not implemented: directory buckets"));
        }
    }
    let permit = operations.commit.reserve(RECORD_BYTES).await.map_err(errors::of_commit)?;
    let created = operations.commit.create_bucket(permit, &input.bucket, caller.request_info()).await;
    created.map_err(errors::of_commit)?;
    let location = Some(format!("/{}", input.bucket));
    Ok(S3Response::new(CreateBucketOutput { location }))
}

/// Deletes an empty bucket.
pub(super) async fn delete(
    operations: &Operations,
    req: S3Request<DeleteBucketInput>,
) -> S3Result<S3Response<DeleteBucketOutput>> {
    let caller = Caller::of(&req.extensions)?;
    headers::only_known(&req.headers, &[])?;
    headers::expected_owner(&req.headers, &operations.limits.account)?;
    let permit = operations.commit.reserve_removal(RECORD_BYTES).await.map_err(errors::of_commit)?;
    let deleted = operations.commit.delete_bucket(permit, &req.input.bucket, caller.request_info()).await;
    deleted.map_err(errors::of_commit)?;
    Ok(S3Response::new(DeleteBucketOutput::default()))
}

/// Says whether a bucket is there.
pub(super) fn head(
    operations: &Operations,
    req: S3Request<HeadBucketInput>,
) -> S3Result<S3Response<HeadBucketOutput>> {
    existing(operations, &req, &req.input.bucket)?;
    let bucket_region = Some(operations.limits.region.clone());
    Ok(S3Response::new(HeadBucketOutput { bucket_region, ..Default::default() }))
}

/// Says where a bucket is: always here.
pub(super) fn location(
    operations: &Operations,
    req: S3Request<GetBucketLocationInput>,
) -> S3Result<S3Response<GetBucketLocationOutput>> {
    existing(operations, &req, &req.input.bucket)?;
    let region = operations.limits.region.clone();
    let location_constraint =
        Some(region).filter(|region| region != UNNAMED_REGION).map(BucketLocationConstraint::from);
    Ok(S3Response::new(GetBucketLocationOutput { location_constraint }))
}

/// Lists the buckets, by name.
pub(super) fn list(
    operations: &Operations,
    req: S3Request<ListBucketsInput>,
) -> S3Result<S3Response<ListBucketsOutput>> {
    let caller = Caller::of(&req.extensions)?;
    headers::only_known(&req.headers, &[])?;
    let input = req.input;
    let max = match input.max_buckets {
        None => MAX_BUCKETS,
        Some(max) => usize::try_from(max)
            .ok()
            .filter(|max| (1..=MAX_BUCKETS).contains(max))
            .ok_or_else(|| s3_error!(InvalidArgument, "max-buckets must be 1 to 10000"))?,
    };
    let (after, prefix) = (input.continuation_token, input.prefix);
    let here = input.bucket_region.is_none_or(|region| region.as_str() == operations.limits.region);
    let mut buckets = operations.commit.store().buckets().map_err(errors::of_store)?;
    buckets.retain(|bucket| {
        here && caller.principal.sees(&bucket.name)
            && prefix.as_deref().is_none_or(|prefix| bucket.name.starts_with(prefix))
            && after.as_deref().is_none_or(|after| *bucket.name > *after)
    });
    let more = buckets.len() > max;
    buckets.truncate(max);
    let continuation_token = buckets.last().filter(|_| more).map(|bucket| bucket.name.to_string());
    let buckets = buckets.into_iter().map(|bucket| Bucket {
        bucket_region: Some(operations.limits.region.clone()),
        creation_date: Some(time(bucket.created_us)),
        name: Some(bucket.name.to_string()),
    });
    Ok(S3Response::new(ListBucketsOutput {
        buckets: Some(buckets.collect()),
        continuation_token,
        owner: Some(owner(operations)),
        prefix,
    }))
}

/// The one owner of everything.
pub(super) fn owner(operations: &Operations) -> Owner {
    let id = &operations.limits.account;
    Owner { display_name: Some(id.clone()), id: Some(id.clone()) }
}

/// A time in microseconds since the Unix epoch, to the millisecond as listings show it.
pub(super) fn time(us: i64) -> Timestamp {
    let ms = u64::try_from(us / 1000).unwrap_or(0);
    Timestamp::from(SystemTime::UNIX_EPOCH + Duration::from_millis(ms))
}

/// The bucket of a verified request.
pub(super) fn existing<T>(
    operations: &Operations,
    req: &S3Request<T>,
    bucket: &str,
) -> Result<store::Bucket, S3Error> {
    Caller::of(&req.extensions)?;
    headers::only_known(&req.headers, &[])?;
    headers::expected_owner(&req.headers, &operations.limits.account)?;
    let found = operations.commit.store().bucket(bucket).map_err(errors::of_store)?;
    found.ok_or_else(|| S3ErrorCode::NoSuchBucket.into())
}

/// Sets a bucket's setting, or takes it away.
pub(super) async fn set(
    operations: &Operations,
    bucket: &str,
    setting: Setting,
    value: Option<Bytes>,
) -> Result<(), S3Error> {
    let bytes = RECORD_BYTES + bucket.len() + value.as_ref().map_or(0, Bytes::len);
    let permit = match &value {
        Some(_) => operations.commit.reserve(bytes).await,
        // Possible where the disk is too full for more.
        None => operations.commit.reserve_removal(bytes).await,
    };
    let permit = permit.map_err(errors::of_commit)?;
    operations.commit.set_bucket_setting(permit, bucket, setting, value).await.map_err(errors::of_commit)
}
