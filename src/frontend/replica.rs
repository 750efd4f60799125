//! What passes between two servers: a peer says that there is a version, and pulls are answered.
//!
//! Must never be called before `routes.rs` let the caller in, and never give a version that is not the newest
//! of its key: a newer one has an event of its own, which brings it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::header::{CONTENT_LENGTH, ETAG, HeaderName};
use http::{HeaderMap, HeaderValue, StatusCode};
use s3s::{Body, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use tidings_origin::Url;
use tidings_replication as replication;

use super::context::Caller;
use super::guard::decode;
use super::objects::{MAX_LOOKUPS, read};
use super::operations::Operations;
use super::pull::Wish;
use super::{errors, headers, names};
use crate::event::VersionId;
use crate::queue::{BodyRef, ObjectMeta, encode_object};
use crate::store::StoreError;

/// Every header that says something of a replica.
const OF_REPLICAS: [&str; 4] = [replication::KEY, replication::VERSION, replication::ETAG, replication::PULL];

/// Takes a replica, or finds that there is nothing to take.
pub(super) async fn take(
    operations: &Operations,
    req: &S3Request<Body>,
    bucket: &str,
) -> S3Result<S3Response<Body>> {
    let caller = Caller::of(&req.extensions)?;
    headers::only_known(&req.headers, &OF_REPLICAS)?;
    let wish = wish_of(&req.headers)?;
    names::check_key(&wish.key)?;
    operations.pulls.replicate(bucket, &wish, caller.request_info()).await?;
    Ok(S3Response::new(Body::empty()))
}

fn wish_of(headers: &HeaderMap) -> S3Result<Wish> {
    let invalid = |name: &str| s3_error!(InvalidArgument, "The header {name} is missing, or is none.");
    let text = |name: &'static str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.ok_or_else(|| invalid(name))
    };
    let key = decode(text(replication::KEY)?, false).ok_or_else(|| invalid(replication::KEY))?;
    let version = VersionId::parse(text(replication::VERSION)?).filter(|id| *id != VersionId::Null);
    let etag = match headers.contains_key(replication::ETAG) {
        true => Some(text(replication::ETAG)?.to_owned()),
        false => None,
    };
    let from = Url::parse(text(replication::PULL)?).map_err(|_| invalid(replication::PULL))?;
    Ok(Wish {
        key: key.into_owned(),
        version: version.ok_or_else(|| invalid(replication::VERSION))?,
        etag,
        from,
    })
}

/// Answers a pull: the version, if it is the newest of its key; 204 if that is a delete marker, 412 if it is
/// another one.
pub(super) async fn give(
    operations: &Operations,
    req: &S3Request<Body>,
    bucket: &str,
) -> S3Result<S3Response<Body>> {
    Caller::of(&req.extensions)?;
    let parameter = |name: &str| {
        let parts = req.uri.query().unwrap_or_default().split('&');
        let value = parts.filter_map(|part| part.split_once('=')).find(|(known, _)| *known == name);
        value.and_then(|(_, value)| decode(value, true))
    };
    let invalid = || s3_error!(InvalidArgument, "A pull names a key and a version.");
    let version = parameter(replication::PULL_VERSION).and_then(|text| VersionId::parse(&text));
    let (version, key) = version.zip(parameter(replication::PULL_KEY)).ok_or_else(invalid)?;
    names::check_key(&key)?;
    for _ in 0..MAX_LOOKUPS {
        let newest = operations.commit.store().version(bucket, &key, None).map_err(errors::of_store)?;
        let Some(newest) = newest.filter(|newest| newest.object.version == version) else {
            return Err(S3ErrorCode::PreconditionFailed.into());
        };
        if newest.marker {
            let mut answer = S3Response::new(Body::empty());
            answer.status = Some(StatusCode::NO_CONTENT);
            return Ok(answer);
        }
        let object = newest.object;
        let body = match read(operations, &object, 0..object.size).await {
            Err(StoreError::Gone) => continue,
            other => other.map_err(errors::of_store)?,
        };
        let mut answer = S3Response::new(body);
        let meta = ObjectMeta { body: BodyRef::Empty, ..ObjectMeta::clone(&object.meta) };
        let mut about = Vec::new();
        encode_object(&meta, &mut about);
        for (name, value) in [
            (CONTENT_LENGTH, object.size.to_string()),
            (ETAG, format!("\"{}\"", object.etag)),
            (HeaderName::from_static(replication::OBJECT), BASE64.encode(about)),
        ] {
            let value =
                HeaderValue::from_str(&value).map_err(|_| S3Error::from(S3ErrorCode::InternalError))?;
            answer.headers.insert(name, value);
        }
        return Ok(answer);
    }
    Err(errors::of_store(StoreError::Gone))
}
