//! GET and HEAD Object: conditions, ranges, and the bytes as they are stored.
//!
//! Must never answer a success before the first bytes are there: a damaged object is an error, not a broken
//! answer.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, EXPIRES,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Frame;
use http_body_util::StreamBody;
use s3s::dto::{
    ChecksumMode, ETag, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, StreamingBlob,
    Timestamp, TimestampFormat,
};
use s3s::{Body, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::context::Caller;
use super::found::{Conditions, Failure, Found, Wanted, find, modified};
use super::operations::Operations;
use super::pull::{Asking, Missed};
use super::{errors, headers};
use crate::store::{Object, StoreError};

/// How often a row is looked up again when its body was replaced meanwhile.
pub(super) const MAX_LOOKUPS: usize = 5;

/// Answers the object, or a range of it.
pub(super) async fn get(
    operations: &Operations,
    req: S3Request<GetObjectInput>,
) -> S3Result<S3Response<GetObjectOutput>> {
    let caller = check(operations, &req)?;
    let input = req.input;
    let checksums = wants_checksums(input.checksum_mode.as_ref());
    let overrides = overrides([
        (CACHE_CONTROL, input.response_cache_control),
        (CONTENT_DISPOSITION, input.response_content_disposition),
        (CONTENT_ENCODING, input.response_content_encoding),
        (CONTENT_LANGUAGE, input.response_content_language),
        (CONTENT_TYPE, input.response_content_type),
        (EXPIRES, input.response_expires.as_ref().and_then(http_date)),
    ])?;
    let wanted = Wanted {
        overrides,
        bucket: input.bucket,
        key: input.key,
        range: input.range,
        part: input.part_number,
        version: input.version_id,
        conditions: Conditions {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        },
        checksums,
    };
    let asking = Asking { caller: &caller, headers: &req.headers, uri: &req.uri };
    let mut kept = false;
    for _ in 0..MAX_LOOKUPS {
        let found = match find(operations, &wanted).await {
            Err(Failure::Gone) => continue,
            // What was fetched and is gone again is not fetched twice.
            Err(Failure::Error(error)) if !kept && is_missing(&error, &wanted) => {
                match Box::pin(operations.pulls.missed(&asking, &wanted)).await? {
                    Some(Missed::Kept) => kept = true,
                    Some(Missed::Passed(answer)) => return Ok(*answer),
                    None => return Err(error),
                }
                continue;
            }
            found => found?,
        };
        if let Some(archived) = &found.archived {
            archived.check()?;
        }
        let body = match read(operations, &found.object, found.range.clone()).await {
            Err(StoreError::Gone) => continue,
            other => other.map_err(errors::of_store)?,
        };
        caller.note_crc64(found.object.meta.crc64);
        return Ok(answer_get(found, body));
    }
    Err(errors::of_store(StoreError::Gone))
}

/// True if there is no such object: no version of it was asked for.
fn is_missing(error: &S3Error, wanted: &Wanted) -> bool {
    wanted.version.is_none() && *error.code() == S3ErrorCode::NoSuchKey
}

fn answer_get(found: Found, body: Body) -> S3Response<GetObjectOutput> {
    let output = GetObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        body: Some(StreamingBlob::from(body)),
        content_length: i64::try_from(found.range.end - found.range.start).ok(),
        content_range: found.content_range,
        e_tag: Some(ETag::Strong(found.object.etag.to_string())),
        last_modified: Some(modified(&found.object)),
        parts_count: found.parts,
        version_id: found.version,
        ..Default::default()
    };
    S3Response::with_headers(output, found.headers)
}

/// Answers what GET would, without the bytes. As with COS, it asks no origin.
pub(super) async fn head(
    operations: &Operations,
    req: S3Request<HeadObjectInput>,
) -> S3Result<S3Response<HeadObjectOutput>> {
    let caller = check(operations, &req)?;
    let input = req.input;
    let checksums = wants_checksums(input.checksum_mode.as_ref());
    let overrides = overrides([
        (CACHE_CONTROL, input.response_cache_control),
        (CONTENT_DISPOSITION, input.response_content_disposition),
        (CONTENT_ENCODING, input.response_content_encoding),
        (CONTENT_LANGUAGE, input.response_content_language),
        (CONTENT_TYPE, input.response_content_type),
        (EXPIRES, input.response_expires.as_ref().and_then(http_date)),
    ])?;
    let wanted = Wanted {
        overrides,
        bucket: input.bucket,
        key: input.key,
        range: input.range,
        part: input.part_number,
        version: input.version_id,
        conditions: Conditions {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        },
        checksums,
    };
    for _ in 0..MAX_LOOKUPS {
        match find(operations, &wanted).await {
            Err(Failure::Gone) => {}
            found => {
                let found = found?;
                caller.note_crc64(found.object.meta.crc64);
                return Ok(answer_head(found));
            }
        }
    }
    Err(errors::of_store(StoreError::Gone))
}

fn answer_head(found: Found) -> S3Response<HeadObjectOutput> {
    let output = HeadObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        content_length: i64::try_from(found.range.end - found.range.start).ok(),
        content_range: found.content_range,
        e_tag: Some(ETag::Strong(found.object.etag.to_string())),
        last_modified: Some(modified(&found.object)),
        parts_count: found.parts,
        version_id: found.version,
        ..Default::default()
    };
    S3Response::with_headers(output, found.headers)
}

/// The headers that a request wants in its answer instead of the object's own.
fn overrides(wanted: [(HeaderName, Option<String>); 6]) -> S3Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in wanted {
        let Some(value) = value else { continue };
        let invalid =
            || s3_error!(InvalidArgument, "The response override of {name} is not a header's value");
        headers.insert(name.clone(), HeaderValue::from_str(&value).map_err(|_| invalid())?);
    }
    Ok(headers)
}

fn http_date(time: &Timestamp) -> Option<String> {
    let mut text = Vec::new();
    time.format(TimestampFormat::HttpDate, &mut text).ok()?;
    String::from_utf8(text).ok()
}

fn check<T>(operations: &Operations, req: &S3Request<T>) -> S3Result<Caller> {
    let caller = Caller::of(&req.extensions)?;
    headers::only_known(&req.headers, &["x-amz-checksum-mode"])?;
    headers::expected_owner(&req.headers, &operations.limits.account)?;
    Ok(caller)
}

fn wants_checksums(mode: Option<&ChecksumMode>) -> bool {
    mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED)
}

/// Opens the body and waits for its first bytes.
pub(super) async fn read(
    operations: &Operations,
    object: &Object,
    range: Range<u64>,
) -> Result<Body, StoreError> {
    if range.is_empty() {
        return Ok(Body::empty());
    }
    let mut stream = operations.commit.store().read(object, range.clone()).await?;
    let Some(first) = stream.try_next().await? else {
        let (bucket, key) = (Arc::clone(&object.bucket), Arc::clone(&object.key));
        return Err(StoreError::Damaged { bucket, key, what: "the body is empty".into() });
    };
    if first.len() as u64 == range.end - range.start {
        return Ok(Body::from(first));
    }
    let first = futures_util::stream::once(std::future::ready(Ok::<Bytes, StoreError>(first)));
    let frames = first.chain(stream).map_ok(Frame::data);
    Ok(Body::http_body_unsync(StreamBody::new(frames)))
}
