//! GET and HEAD Object: conditions, ranges, and the bytes as they are stored.
//!
//! Must never answer a success before the first bytes are there: a damaged object is an error, not a broken
//! answer.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use http::HeaderMap;
use http::header::{ETAG, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http_body::Frame;
use http_body_util::StreamBody;
use s3s::dto::{
    ChecksumMode, ETag, ETagCondition, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput,
    StreamingBlob, Timestamp,
};
use s3s::{Body, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::context::Caller;
use super::operations::Operations;
use super::{errors, headers, names};
use crate::store::{Object, StoreError};

/// How often a row is looked up again when its body was replaced meanwhile.
const MAX_LOOKUPS: usize = 5;

/// What of GET and HEAD is the same.
struct Wanted {
    bucket: String,
    key: String,
    range: Option<s3s::dto::Range>,
    part: Option<i32>,
    version: Option<String>,
    conditions: Conditions,
    checksums: bool,
}

struct Conditions {
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
    if_modified_since: Option<Timestamp>,
    if_unmodified_since: Option<Timestamp>,
}

/// An object as it will be answered.
struct Found {
    object: Object,
    range: Range<u64>,
    /// `Content-Range`, if only a part is answered.
    content_range: Option<String>,
    headers: HeaderMap,
    /// How many parts the object has, if one of them was asked for.
    parts: Option<i32>,
}

/// Why an object is not answered.
enum Failure {
    /// It was replaced meanwhile: look again.
    Gone,
    /// The answer.
    Error(S3Error),
}

impl From<S3Error> for Failure {
    fn from(error: S3Error) -> Self {
        Failure::Error(error)
    }
}

impl From<Failure> for S3Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Gone => errors::of_store(StoreError::Gone),
            Failure::Error(error) => error,
        }
    }
}

/// Answers the object, or a range of it.
pub(super) async fn get(
    operations: &Operations,
    req: S3Request<GetObjectInput>,
) -> S3Result<S3Response<GetObjectOutput>> {
    check(operations, &req)?;
    let input = req.input;
    let checksums = wants_checksums(input.checksum_mode.as_ref());
    let wanted = Wanted {
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
        let found = match find(operations, &wanted).await {
            Err(Failure::Gone) => continue,
            found => found?,
        };
        let body = match read(operations, &found).await {
            Err(StoreError::Gone) => continue,
            other => other.map_err(errors::of_store)?,
        };
        let output = GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            body: Some(StreamingBlob::from(body)),
            content_length: i64::try_from(found.range.end - found.range.start).ok(),
            content_range: found.content_range,
            e_tag: Some(ETag::Strong(found.object.etag.to_string())),
            last_modified: Some(modified(&found.object)),
            parts_count: found.parts,
            ..Default::default()
        };
        return Ok(S3Response::with_headers(output, found.headers));
    }
    Err(errors::of_store(StoreError::Gone))
}

/// Answers what GET would, without the bytes.
pub(super) async fn head(
    operations: &Operations,
    req: S3Request<HeadObjectInput>,
) -> S3Result<S3Response<HeadObjectOutput>> {
    check(operations, &req)?;
    let input = req.input;
    let checksums = wants_checksums(input.checksum_mode.as_ref());
    let wanted = Wanted {
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
            found => return Ok(answer_head(found?)),
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
        ..Default::default()
    };
    S3Response::with_headers(output, found.headers)
}

fn check<T>(operations: &Operations, req: &S3Request<T>) -> S3Result<()> {
    Caller::of(&req.extensions)?;
    headers::only_known(&req.headers, &["x-amz-checksum-mode"])?;
    headers::expected_owner(&req.headers, &operations.limits.account)
}

fn wants_checksums(mode: Option<&ChecksumMode>) -> bool {
    mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED)
}

async fn find(operations: &Operations, wanted: &Wanted) -> Result<Found, Failure> {
    names::check_key(&wanted.key)?;
    let store = operations.commit.store();
    let object = store.object(&wanted.bucket, &wanted.key).map_err(errors::of_store)?;
    let Some(object) = object else {
        let bucket = store.bucket(&wanted.bucket).map_err(errors::of_store)?;
        return Err(
            S3Error::from(bucket.map_or(S3ErrorCode::NoSuchBucket, |_| S3ErrorCode::NoSuchKey)).into()
        );
    };
    // Buckets have no versions: the only one an object has is the null version.
    if wanted.version.as_deref().is_some_and(|version| version != "null") {
        return Err(S3Error::from(S3ErrorCode::NoSuchVersion).into());
    }
    check_conditions(&wanted.conditions, &object)?;
    let (range, parts) = match (&wanted.range, wanted.part) {
        (None, None) => (None, None),
        (Some(range), None) => {
            let range = range.check(object.size).map_err(|_| unsatisfiable(object.size))?;
            // An empty object has no byte that a suffix range could name.
            if range.is_empty() {
                return Err(unsatisfiable(object.size).into());
            }
            (Some(range), None)
        }
        (None, Some(part)) => part_range(operations, &object, part).await?,
        (Some(_), Some(_)) => {
            return Err(s3_error!(InvalidRequest, "Ask for a range or for a part, not for both").into());
        }
    };
    let content_range = range.as_ref().filter(|range| !range.is_empty());
    let content_range = content_range
        .map(|range| format!("bytes {}-{}/{}", range.start, range.end.saturating_sub(1), object.size));
    let mut headers = HeaderMap::new();
    headers::give_back(&object.meta.headers, wanted.checksums && range.is_none(), &mut headers);
    // What browsers guess about a client's bytes is nobody's wish.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(http::header::CONTENT_TYPE).or_insert(HeaderValue::from_static("binary/octet-stream"));
    let range = range.unwrap_or(0..object.size);
    Ok(Found { object, range, content_range, headers, parts })
}

/// The bytes of one part, and how many parts there are. An object that came in one piece has one.
async fn part_range(
    operations: &Operations,
    object: &Object,
    part: i32,
) -> Result<(Option<Range<u64>>, Option<i32>), Failure> {
    let pieces = match operations.commit.store().pieces(object).await {
        Err(StoreError::Gone) => return Err(Failure::Gone),
        pieces => pieces.map_err(errors::of_store)?,
    };
    if pieces.is_empty() && part == 1 {
        return Ok((None, None));
    }
    let mut at = 0;
    for piece in &pieces {
        if i32::from(piece.number) == part {
            return Ok((Some(at..at + piece.size), i32::try_from(pieces.len()).ok()));
        }
        at += piece.size;
    }
    let code = S3ErrorCode::Custom("InvalidPartNumber".into());
    let mut error = S3Error::with_message(code, "The object has no such part.");
    error.set_status_code(http::StatusCode::RANGE_NOT_SATISFIABLE);
    Err(error.into())
}

fn unsatisfiable(size: u64) -> S3Error {
    let mut error = S3Error::from(S3ErrorCode::InvalidRange);
    if let Ok(value) = HeaderValue::from_str(&format!("bytes */{size}")) {
        error.set_headers(HeaderMap::from_iter([(http::header::CONTENT_RANGE, value)]));
    }
    error
}

/// The order of RFC 9110 §13.2.2: an ETag condition makes the time condition beside it void.
fn check_conditions(conditions: &Conditions, object: &Object) -> S3Result<()> {
    let etag = ETag::Strong(object.etag.to_string());
    let modified = modified(object);
    let matches = |condition: &ETagCondition| match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(wanted) => wanted.weak_cmp(&etag),
    };
    let precondition_failed = match (&conditions.if_match, &conditions.if_unmodified_since) {
        (Some(condition), _) => !matches(condition),
        (None, Some(since)) => modified > *since,
        (None, None) => false,
    };
    if precondition_failed {
        return Err(S3ErrorCode::PreconditionFailed.into());
    }
    let not_modified = match (&conditions.if_none_match, &conditions.if_modified_since) {
        (Some(condition), _) => matches(condition),
        (None, Some(since)) => modified <= *since,
        (None, None) => false,
    };
    if not_modified {
        let mut error = S3Error::from(S3ErrorCode::NotModified);
        if let Ok(value) = HeaderValue::from_str(&format!("\"{}\"", object.etag)) {
            error.set_headers(HeaderMap::from_iter([(ETAG, value)]));
        }
        return Err(error);
    }
    Ok(())
}

/// When the object was made, in whole seconds as HTTP dates have them.
fn modified(object: &Object) -> Timestamp {
    let seconds = u64::try_from(object.modified_us / 1_000_000).unwrap_or(0);
    Timestamp::from(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

/// Opens the body and waits for its first bytes.
async fn read(operations: &Operations, found: &Found) -> Result<Body, StoreError> {
    let range = found.range.clone();
    if range.is_empty() {
        return Ok(Body::empty());
    }
    let mut stream = operations.commit.store().read(&found.object, range.clone()).await?;
    let Some(first) = stream.try_next().await? else {
        let (bucket, key) = (Arc::clone(&found.object.bucket), Arc::clone(&found.object.key));
        return Err(StoreError::Damaged { bucket, key, what: "the body is empty".into() });
    };
    if first.len() as u64 == range.end - range.start {
        return Ok(Body::from(first));
    }
    let first = futures_util::stream::once(std::future::ready(Ok::<Bytes, StoreError>(first)));
    let frames = first.chain(stream).map_ok(Frame::data);
    Ok(Body::http_body_unsync(StreamBody::new(frames)))
}
