//! What GET and HEAD share: the object, whether the conditions let it be answered, and which part of it.
//!
//! Must never read a body.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{ETAG, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use s3s::dto::{ETag, ETagCondition, Timestamp};
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

use super::archive::{self, Archived};
use super::operations::Operations;
use super::{errors, headers, names, versioning};
use crate::store::{Object, StoreError, Versioning};

/// What of GET and HEAD is the same.
pub(super) struct Wanted {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) range: Option<s3s::dto::Range>,
    pub(super) part: Option<i32>,
    pub(super) version: Option<String>,
    pub(super) conditions: Conditions,
    pub(super) checksums: bool,
    /// Headers that the request wants instead of the object's own.
    pub(super) overrides: HeaderMap,
}

pub(super) struct Conditions {
    pub(super) if_match: Option<ETagCondition>,
    pub(super) if_none_match: Option<ETagCondition>,
    pub(super) if_modified_since: Option<Timestamp>,
    pub(super) if_unmodified_since: Option<Timestamp>,
}

/// An object as it will be answered.
pub(super) struct Found {
    pub(super) object: Object,
    /// Its version's name, if answers say it.
    pub(super) version: Option<String>,
    pub(super) range: Range<u64>,
    /// `Content-Range`, if only a part is answered.
    pub(super) content_range: Option<String>,
    pub(super) headers: HeaderMap,
    /// What of its restore is known, if it is archived.
    pub(super) archived: Option<Archived>,
    /// How many parts the object has, if one of them was asked for.
    pub(super) parts: Option<i32>,
}

/// Why an object is not answered.
pub(super) enum Failure {
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

/// The current object, or the version of it that is asked for.
pub(super) fn lookup(
    operations: &Operations,
    bucket: &str,
    key: &str,
    version: Option<&str>,
) -> S3Result<Object> {
    let store = operations.commit.store();
    let id = versioning::named(version)?;
    if id.is_none()
        && let Some(object) = store.object(bucket, key).map_err(errors::of_store)?
    {
        return Ok(object);
    }
    let versioning = versioning::of_bucket(operations, bucket)?;
    if id.is_none() && versioning == Versioning::Never {
        return Err(S3ErrorCode::NoSuchKey.into());
    }
    match store.version(bucket, key, id).map_err(errors::of_store)? {
        Some(found) if found.marker => Err(versioning::is_marker(&found, id.is_some())),
        Some(found) => Ok(found.object),
        None if id.is_some() => Err(S3ErrorCode::NoSuchVersion.into()),
        None => Err(S3ErrorCode::NoSuchKey.into()),
    }
}

/// The name of an object's version as answers say it; none in a bucket that never had versioning.
pub(super) fn version_of(operations: &Operations, object: &Object) -> S3Result<Option<String>> {
    let bucket = operations.commit.store().bucket(&object.bucket).map_err(errors::of_store)?;
    let never = bucket.is_none_or(|bucket| bucket.versioning() == Versioning::Never);
    Ok((!never).then(|| object.version.to_string()))
}

/// Looks the object up and decides what of it is answered.
pub(super) async fn find(operations: &Operations, wanted: &Wanted) -> Result<Found, Failure> {
    names::check_key(&wanted.key)?;
    let object = lookup(operations, &wanted.bucket, &wanted.key, wanted.version.as_deref())?;
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
    let archived = archive::state(operations, &object)?;
    headers::give_back(&object.meta.headers, wanted.checksums && range.is_none(), &mut headers);
    dress(&mut headers, wanted);
    if let Some(archived) = &archived {
        archived.show(&mut headers);
    }
    let range = range.unwrap_or(0..object.size);
    let version = version_of(operations, &object)?;
    Ok(Found { object, version, range, content_range, headers, archived, parts })
}

/// An answer's headers: an object's own, and what the request wants of them.
pub(super) fn dress(headers: &mut HeaderMap, wanted: &Wanted) {
    for (name, value) in &wanted.overrides {
        headers.insert(name.clone(), value.clone());
    }
    // What browsers guess about a client's bytes is nobody's wish.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(http::header::CONTENT_TYPE).or_insert(HeaderValue::from_static("binary/octet-stream"));
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
pub(super) fn check_conditions(conditions: &Conditions, object: &Object) -> S3Result<()> {
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
pub(super) fn modified(object: &Object) -> Timestamp {
    let seconds = u64::try_from(object.modified_us / 1_000_000).unwrap_or(0);
    Timestamp::from(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}
