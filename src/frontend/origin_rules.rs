//! `?origin` of a bucket, as both families ask for it: put, shown as it was put, taken away. The library's
//! router does not know it.
//!
//! Must never be called before `routes.rs` let the caller in: a document may hold what an origin wants to see
//! of whoever asks it.

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use s3s::{Body, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use tidings_origin::{MAX_DOCUMENT_BYTES, RuleError, Rules};

use super::buckets::{existing, set};
use super::operations::Operations;
use crate::queue::Setting;

/// Sets a bucket's origin in place of any before.
pub(super) async fn put(
    operations: &Operations,
    mut req: S3Request<Body>,
    bucket: &str,
) -> S3Result<S3Response<Body>> {
    existing(operations, &req, bucket)?;
    let document = read(std::mem::take(&mut req.input)).await?;
    Rules::parse(&document, operations.pulls.allow_private()).map_err(refused)?;
    set(operations, bucket, Setting::Origin, Some(Bytes::from(document))).await?;
    Ok(S3Response::new(Body::empty()))
}

/// Shows it as it was put.
pub(super) fn get(
    operations: &Operations,
    req: &S3Request<Body>,
    bucket: &str,
) -> S3Result<S3Response<Body>> {
    let found = existing(operations, req, bucket)?;
    let value = found.setting(Setting::Origin).ok_or_else(not_set)?;
    let mut answer = S3Response::new(Body::from(value.clone()));
    answer.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    Ok(answer)
}

/// Takes it away.
pub(super) async fn delete(
    operations: &Operations,
    req: &S3Request<Body>,
    bucket: &str,
) -> S3Result<S3Response<Body>> {
    existing(operations, req, bucket)?;
    set(operations, bucket, Setting::Origin, None).await?;
    let mut answer = S3Response::new(Body::empty());
    answer.status = Some(StatusCode::NO_CONTENT);
    Ok(answer)
}

async fn read(mut body: Body) -> S3Result<String> {
    let mut bytes = BytesMut::new();
    while let Some(data) = body.next().await {
        let data = data.map_err(|_| S3ErrorCode::IncompleteBody)?;
        if bytes.len() + data.len() > MAX_DOCUMENT_BYTES {
            return Err(S3ErrorCode::MaxMessageLengthExceeded.into());
        }
        bytes.extend_from_slice(&data);
    }
    String::from_utf8(bytes.into()).map_err(|_| S3ErrorCode::MalformedXML.into())
}

fn refused(error: RuleError) -> S3Error {
    match error {
        RuleError::Malformed => S3ErrorCode::MalformedXML.into(),
        RuleError::Invalid(why) => s3_error!(InvalidArgument, "The origin is not valid: {why}."),
        RuleError::NotImplemented(what) => s3_error!(NotImplemented, "Not implemented: {what}."),
    }
}

fn not_set() -> S3Error {
    let code = S3ErrorCode::Custom("OriginConfigurationNotFoundError".into());
    let mut error = S3Error::with_message(code, "The bucket has no origin.");
    error.set_status_code(StatusCode::NOT_FOUND);
    error
}
