//! What the library's router does not know, or knows by another document: COS's own form of `?notification`,
//! `?origin`, and what passes between two servers.
//!
//! Must never answer before the gate has let the caller in, by the row of the operation that it stands for.

use std::sync::Arc;

use async_trait::async_trait;
use http::header::HOST;
use http::{Extensions, HeaderMap, Method, Uri};
use s3s::path::{S3Path, parse_path_style, parse_virtual_hosted_style};
use s3s::route::S3Route;
use s3s::{Body, S3ErrorCode, S3Request, S3Response, S3Result};
use tidings_origin::MAX_DOCUMENT_BYTES;

use super::auth::{Gate, MAX_XML_BYTES};
use super::context::RequestContext;
use super::family::Family;
use super::guard::decode;
use super::hosts::{Hosts, Named};
use super::operations::Operations;
use super::{notification, origin_rules, replica};

/// Operations of our own.
pub(super) struct Routes {
    pub(super) operations: Operations,
    pub(super) gate: Gate,
    pub(super) hosts: Arc<Hosts>,
}

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    PutNotification,
    GetNotification,
    PutOrigin,
    GetOrigin,
    DeleteOrigin,
    Replicate,
    PullReplica,
}

impl Route {
    /// Its row in the table of scopes.
    fn operation(self) -> &'static str {
        match self {
            Route::PutNotification => "PutBucketNotificationConfiguration",
            Route::GetNotification => "GetBucketNotificationConfiguration",
            Route::PutOrigin => "PutBucketOrigin",
            Route::GetOrigin => "GetBucketOrigin",
            Route::DeleteOrigin => "DeleteBucketOrigin",
            Route::Replicate => "ReplicateObject",
            Route::PullReplica => "PullReplica",
        }
    }

    /// The largest document that it may bring, in bytes.
    fn document(self) -> usize {
        match self {
            Route::PutNotification | Route::GetNotification => MAX_XML_BYTES,
            Route::Replicate | Route::PullReplica => 0,
            Route::PutOrigin | Route::GetOrigin | Route::DeleteOrigin => MAX_DOCUMENT_BYTES,
        }
    }
}

/// Their rows in the table of scopes.
#[cfg(test)]
pub(super) fn operations() -> impl Iterator<Item = &'static str> {
    use Route::{
        DeleteOrigin, GetNotification, GetOrigin, PullReplica, PutNotification, PutOrigin, Replicate,
    };
    let all = [PutNotification, GetNotification, PutOrigin, GetOrigin, DeleteOrigin, Replicate, PullReplica];
    all.into_iter().map(Route::operation)
}

impl Routes {
    /// The path that the library reads too.
    fn path(&self, uri: &Uri, headers: &HeaderMap) -> Option<S3Path> {
        let path = decode(uri.path(), false)?;
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        match self.hosts.named(host) {
            Named::Bucket(bucket) => parse_virtual_hosted_style(Some(&bucket), &path).ok(),
            Named::Ours | Named::Unknown => parse_path_style(&path).ok(),
            Named::Elsewhere => None,
        }
    }

    /// The operation of a request, and its bucket.
    fn of(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Option<(Route, S3Path)> {
        let family = extensions.get::<Arc<RequestContext>>()?.family;
        let query = uri.query().unwrap_or_default();
        let asks = |name: &str| {
            query.split('&').any(|part| part.split_once('=').map_or(part, |(before, _)| before) == name)
        };
        let route = match *method {
            Method::PUT if asks("origin") => Route::PutOrigin,
            Method::GET if asks("origin") => Route::GetOrigin,
            Method::DELETE if asks("origin") => Route::DeleteOrigin,
            Method::PUT if query.is_empty() && headers.contains_key(tidings_replication::KEY) => {
                Route::Replicate
            }
            Method::GET if asks(tidings_replication::PULL_VERSION) => Route::PullReplica,
            Method::PUT if family == Family::Cos && asks("notification") => Route::PutNotification,
            Method::GET if family == Family::Cos && asks("notification") => Route::GetNotification,
            _ => return None,
        };
        let path = self.path(uri, headers)?;
        path.as_bucket()?;
        Some((route, path))
    }

    fn of_request(&self, req: &S3Request<Body>) -> S3Result<(Route, S3Path)> {
        let found = self.of(&req.method, &req.uri, &req.headers, &req.extensions);
        found.ok_or_else(|| S3ErrorCode::NotImplemented.into())
    }
}

#[async_trait]
impl S3Route for Routes {
    fn is_match(&self, method: &Method, uri: &Uri, headers: &HeaderMap, extensions: &mut Extensions) -> bool {
        self.of(method, uri, headers, extensions).is_some()
    }

    async fn check_access(&self, req: &mut S3Request<Body>) -> S3Result<()> {
        let (route, path) = self.of_request(req)?;
        let principal = self.gate.admit_route(req, (route.operation(), route.document()), &path)?;
        req.extensions.insert(principal);
        Ok(())
    }

    async fn call(&self, req: S3Request<Body>) -> S3Result<S3Response<Body>> {
        let (route, path) = self.of_request(&req)?;
        let bucket = path.as_bucket().ok_or(S3ErrorCode::NotImplemented)?;
        match route {
            Route::PutNotification => notification::cos::put(&self.operations, req, bucket).await,
            Route::GetNotification => notification::cos::get(&self.operations, bucket),
            Route::PutOrigin => origin_rules::put(&self.operations, req, bucket).await,
            Route::GetOrigin => origin_rules::get(&self.operations, &req, bucket),
            Route::DeleteOrigin => origin_rules::delete(&self.operations, &req, bucket).await,
            Route::Replicate => replica::take(&self.operations, &req, bucket).await,
            Route::PullReplica => replica::give(&self.operations, &req, bucket).await,
        }
    }
}
