//! `?origin` of a bucket, as both families ask for it: put, shown as it was put, taken away. The library's
//! router does not know it.
//!
//! Must never reach a bucket before its caller was verified and may do this, by the same gate as everything
//! else: a document may hold what an origin wants to see of whoever asks it.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::header::{CONTENT_TYPE, HOST};
use http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, Uri};
use s3s::route::S3Route;
use s3s::{Body, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use tidings_origin::{MAX_DOCUMENT_BYTES, RuleError, Rules};

use super::auth::Gate;
use super::buckets::{existing, set};
use super::guard::decode;
use super::hosts::Hosts;
use super::operations::Operations;
use crate::queue::Setting;

/// The operations here, by method.
pub(super) const OPERATIONS: [(Method, &str); 3] = [
    (Method::PUT, "PutBucketOrigin"),
    (Method::GET, "GetBucketOrigin"),
    (Method::DELETE, "DeleteBucketOrigin"),
];

/// The route.
pub(super) struct OriginRoute {
    pub(super) operations: Operations,
    pub(super) gate: Gate,
    pub(super) hosts: Arc<Hosts>,
}

fn operation(method: &Method) -> Option<&'static str> {
    OPERATIONS.iter().find(|(of, _)| of == method).map(|(_, name)| *name)
}

#[async_trait]
impl S3Route for OriginRoute {
    fn is_match(&self, method: &Method, uri: &Uri, headers: &HeaderMap, _: &mut Extensions) -> bool {
        let is = |part: &str| part.split_once('=').map_or(part, |(name, _)| name) == "origin";
        operation(method).is_some()
            && uri.query().is_some_and(|query| query.split('&').any(is))
            && self.bucket(uri, headers).is_some()
    }

    async fn check_access(&self, req: &mut S3Request<Body>) -> S3Result<()> {
        let bucket = self.bucket(&req.uri, &req.headers).ok_or(S3ErrorCode::InvalidBucketName)?;
        let operation = operation(&req.method).ok_or(S3ErrorCode::NotImplemented)?;
        self.gate.admit_route(req, operation, "origin", &bucket, MAX_DOCUMENT_BYTES)
    }

    async fn call(&self, mut req: S3Request<Body>) -> S3Result<S3Response<Body>> {
        let bucket = self.bucket(&req.uri, &req.headers).ok_or(S3ErrorCode::InvalidBucketName)?;
        let found = existing(&self.operations, &req, &bucket)?;
        let mut answer = S3Response::new(Body::empty());
        match req.method {
            Method::PUT => {
                let document = read(std::mem::take(&mut req.input)).await?;
                let allow_private = self.operations.pulls.allow_private();
                Rules::parse(&document, allow_private).map_err(refused)?;
                set(&self.operations, &bucket, Setting::Origin, Some(Bytes::from(document))).await?;
            }
            Method::DELETE => {
                set(&self.operations, &bucket, Setting::Origin, None).await?;
                answer.status = Some(StatusCode::NO_CONTENT);
            }
            _ => {
                let value = found.setting(Setting::Origin).ok_or_else(not_set)?;
                answer.output = Body::from(value.clone());
                answer.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
            }
        }
        Ok(answer)
    }
}

impl OriginRoute {
    /// The bucket that a request names, if it names nothing else.
    pub(super) fn bucket(&self, uri: &Uri, headers: &HeaderMap) -> Option<String> {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let bucket = match self.hosts.bucket(host) {
            Some(bucket) => Some(bucket).filter(|_| uri.path() == "/"),
            None => {
                let path = decode(uri.path(), false)?;
                let named = path.strip_prefix('/')?;
                Some(named.strip_suffix('/').unwrap_or(named).to_owned())
            }
        };
        bucket.filter(|bucket| s3s::path::check_bucket_name(bucket))
    }
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
