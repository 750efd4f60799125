//! What the library's router does not know, or knows by another document: `?origin`, and COS's own form of
//! `?notification`.
//!
//! Must never answer before the gate has let the caller in, by the row of the operation that it stands for.

use std::sync::Arc;

use async_trait::async_trait;
use http::{Extensions, HeaderMap, Method, Uri};
use s3s::route::S3Route;
use s3s::{Body, S3Request, S3Response, S3Result};

use super::context::RequestContext;
use super::family::Family;
use super::notification::cos;
use super::origin_rules::OriginRoute;

const PARAMETER: &str = "notification";
/// The largest document that the gate lets in, in bytes; the operation takes less, and says how much.
const MAX_BYTES: usize = 4 << 20;

/// Operations of our own. Those of `?origin` are all that the others are not.
pub(super) struct Routes(pub(super) OriginRoute);

/// An operation about COS's document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Notification {
    Put,
    Get,
}

impl Notification {
    /// Its row in the table of scopes.
    fn operation(self) -> &'static str {
        match self {
            Notification::Put => "PutBucketNotificationConfiguration",
            Notification::Get => "GetBucketNotificationConfiguration",
        }
    }
}

impl Routes {
    /// What is asked about a bucket's notification configuration in the words of COS, and the bucket.
    fn notification(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Option<(Notification, String)> {
        let family = extensions.get::<Arc<RequestContext>>()?.family;
        let is = |part: &str| part.split_once('=').map_or(part, |(name, _)| name) == PARAMETER;
        if family != Family::Cos || !uri.query()?.split('&').any(is) {
            return None;
        }
        let asked = match *method {
            Method::PUT => Notification::Put,
            Method::GET => Notification::Get,
            _ => return None,
        };
        Some((asked, self.0.bucket(uri, headers)?))
    }

    fn of_request(&self, req: &S3Request<Body>) -> Option<(Notification, String)> {
        self.notification(&req.method, &req.uri, &req.headers, &req.extensions)
    }
}

#[async_trait]
impl S3Route for Routes {
    fn is_match(&self, method: &Method, uri: &Uri, headers: &HeaderMap, extensions: &mut Extensions) -> bool {
        let notification = self.notification(method, uri, headers, extensions).is_some();
        notification || self.0.is_match(method, uri, headers, extensions)
    }

    async fn check_access(&self, req: &mut S3Request<Body>) -> S3Result<()> {
        match self.of_request(req) {
            Some((asked, bucket)) => {
                self.0.gate.admit_route(req, asked.operation(), PARAMETER, &bucket, MAX_BYTES)
            }
            None => self.0.check_access(req).await,
        }
    }

    async fn call(&self, req: S3Request<Body>) -> S3Result<S3Response<Body>> {
        match self.of_request(&req) {
            Some((Notification::Put, bucket)) => cos::put(&self.0.operations, req, &bucket).await,
            Some((Notification::Get, bucket)) => cos::get(&self.0.operations, &bucket),
            None => self.0.call(req).await,
        }
    }
}
