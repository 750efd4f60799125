//! PUT Object: space first, then one pass over the body, then the commit path.
//!
//! Must never leave anything behind when the request ends at any await: permit, blob writer and blob handle
//! all give back what they hold when dropped, and nothing is spawned here.

use std::sync::Arc;

use http::HeaderMap;
use http::header::{IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE};
use s3s::dto::{ChecksumType, ETag, ETagCondition, PutObjectInput, PutObjectOutput};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::body::Body;
use super::checksum::Algorithm;
use super::context::Caller;
use super::digest::{BodyHash, Declared};
use super::intake::Taken;
use super::operations::Operations;
use super::{errors, headers, names};
use crate::commit::{Conditions, PutObject};
use crate::event::EventKind;

/// What a record takes beside key, headers and body, in bytes: more than any record does.
pub(super) const RECORD_OVERHEAD: usize = 1024;

/// Stores the object and answers once its event is durable.
pub(super) async fn object(
    operations: &Operations,
    req: S3Request<PutObjectInput>,
) -> S3Result<S3Response<PutObjectOutput>> {
    let caller = Caller::of(&req.extensions)?;
    let limits = &operations.limits;
    headers::only_known(&req.headers, &headers::OF_NEW_OBJECT)?;
    headers::expected_owner(&req.headers, &limits.account)?;
    let input = req.input;
    names::check_key(&input.key)?;
    let mut conditions = conditions(&req.headers, input.if_match, input.if_none_match)?;
    let kept = headers::kept(&req.headers)?;
    let declared = Declared::of(&req.headers)?;
    let size = caller.context.claim.length.ok_or(S3ErrorCode::MissingContentLength)?;
    if size > limits.max_object_bytes {
        return Err(S3ErrorCode::EntityTooLarge.into());
    }
    operations.commit.foresee(&input.bucket, &input.key, &mut conditions).map_err(errors::of_commit)?;
    let inline = size <= limits.inline_bytes;
    let metadata: usize = kept.iter().map(|(name, value)| name.len() + value.len()).sum();
    let record = RECORD_OVERHEAD + input.bucket.len() + input.key.len() + metadata;
    let in_record = if inline { usize::try_from(size).unwrap_or(usize::MAX) } else { 0 };
    let _space = operations.commit.reserve_body(size).map_err(errors::of_commit)?;
    let permit = operations.commit.reserve(record.saturating_add(in_record)).await;
    let permit = permit.map_err(errors::of_commit)?;
    if !inline && operations.commit.store().bucket(&input.bucket).map_err(errors::of_store)?.is_none() {
        // The commit path decides; this only spares the client a long upload.
        return Err(S3ErrorCode::NoSuchBucket.into());
    }

    let body = Body { stream: input.body, hash: BodyHash::new(declared), size, context: &caller.context };
    let Taken { body, hash, .. } = body.read(operations, limits.inline_bytes).await?;
    let trailers = req.trailing_headers.and_then(|trailers| trailers.take());
    let hashes = hash.finish(trailers)?;
    caller.note_crc64(hashes.crc64);

    let etag: Arc<str> = hex::encode(hashes.md5).into();
    let put = PutObject {
        bucket: input.bucket.into(),
        key: input.key.into(),
        kind: EventKind::CreatedPut,
        size,
        etag: Arc::clone(&etag),
        crc64: hashes.crc64,
        headers: with_checksum(kept, hashes.sum.clone()),
        body,
        conditions,
        request: caller.request_info(),
    };
    let made = operations.commit.put_object(permit, put).await.map_err(errors::of_commit)?;
    let version_id = made.version.map(|version| version.to_string());
    Ok(S3Response::new(PutObjectOutput { version_id, ..answer(&etag, hashes.sum) }))
}

/// The preconditions that the commit path checks under the key's lock; all others are refused, not ignored.
pub(super) fn conditions(
    headers: &HeaderMap,
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
) -> S3Result<Conditions> {
    if headers.contains_key(IF_MODIFIED_SINCE) || headers.contains_key(IF_UNMODIFIED_SINCE) {
        return Err(s3_error!(NotImplemented, "Not implemented: writes that depend on a time"));
    }
    Ok(Conditions {
        if_match: if_match.map(etag_of).transpose()?,
        if_none_match: if_none_match.map(etag_of).transpose()?,
        ..Conditions::default()
    })
}

/// One ETag as a write may depend on it. The parser takes a list for one long ETag, which nothing matches.
pub(super) fn etag_of(condition: ETagCondition) -> S3Result<String> {
    match condition {
        ETagCondition::Any => Ok("*".to_owned()),
        ETagCondition::ETag(ETag::Strong(etag)) if !etag.contains('"') => Ok(etag),
        ETagCondition::ETag(_) => Err(s3_error!(
            NotImplemented,
            "Not implemented: writes that depend on a weak ETag, or on several"
        )),
    }
}

/// A verified checksum is kept with the object, so that readers can check what they get.
pub(super) fn with_checksum(
    mut kept: Vec<(Arc<str>, Arc<str>)>,
    sum: Option<(Algorithm, String)>,
) -> Vec<(Arc<str>, Arc<str>)> {
    if let Some((algorithm, value)) = sum {
        kept.push((algorithm.header().into(), value.into()));
        kept.sort_unstable();
    }
    kept
}

fn answer(etag: &str, sum: Option<(Algorithm, String)>) -> PutObjectOutput {
    let mut output = PutObjectOutput { e_tag: Some(ETag::Strong(etag.to_owned())), ..Default::default() };
    if let Some((algorithm, value)) = sum {
        output.checksum_type = Some(ChecksumType::from_static(ChecksumType::FULL_OBJECT));
        set_checksum!(output, algorithm, value);
    }
    output
}
