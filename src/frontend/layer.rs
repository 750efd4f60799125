//! One request, in this order: an id, the guard, the watched body, the verifier and the operation, a complete answer.
//!
//! Must never let a request reach the verifier unguarded, and never answer without a request id.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::FutureExt;
use http::header::{HeaderName, HeaderValue, SERVER};
use http::request::Parts;
use http::{Extensions, Method, Request};
use hyper::body::{Body as _, Incoming};
use s3s::service::S3Service;
use s3s::{Body, HttpResponse};

use super::context::RequestContext;
use super::digest::{Declared, DocumentHash};
use super::errors;
use super::guard::{self, Payload, Rules};
use super::inbound::Inbound;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");
const HOST_ID: HeaderName = HeaderName::from_static("x-amz-id-2");
const NAME: HeaderValue = HeaderValue::from_static("tidings");

/// What every request passes.
pub(super) struct Layer {
    service: S3Service,
    rules: Rules,
    idle: Duration,
    /// Names this process in answers, as S3's second id names the host.
    host_id: HeaderValue,
}

impl Layer {
    /// A layer before `service`; a body may stand still for `idle`.
    pub(super) fn new(service: S3Service, rules: Rules, idle: Duration) -> Self {
        let id = format!("{:032X}", fastrand::u128(..));
        let host_id = HeaderValue::from_str(&id).expect("hex digits are a header value");
        Self { service, rules, idle, host_id }
    }

    /// Answers one request from `peer`.
    pub(super) async fn answer(&self, request: Request<Incoming>, peer: IpAddr) -> HttpResponse {
        let started = std::time::Instant::now();
        let (parts, body) = request.into_parts();
        let mut id = String::with_capacity(16);
        let _ = write!(id, "{:016X}", fastrand::u64(..));
        let path = parts.uri.path().to_owned();
        let bare = parts.method == Method::HEAD;
        let method = parts.method.clone();
        let id: Arc<str> = id.into();
        let answered = AssertUnwindSafe(self.guarded(parts, body, peer, &id, &path)).catch_unwind().await;
        let mut response = answered.unwrap_or_else(|_| {
            tracing::error!(request = %id, %method, "a request's handler panicked");
            errors::internal(&path, &id, bare)
        });
        let headers = response.headers_mut();
        if let Ok(id) = HeaderValue::from_str(&id) {
            headers.insert(REQUEST_ID, id);
        }
        headers.insert(HOST_ID, self.host_id.clone());
        headers.insert(SERVER, NAME);
        let status = response.status();
        if status.is_server_error() {
            tracing::warn!(request = %id, %method, %status, "a request failed");
        } else {
            tracing::debug!(request = %id, %method, %status, took = ?started.elapsed(), "request");
        }
        response
    }

    async fn guarded(
        &self,
        parts: Parts,
        body: Incoming,
        peer: IpAddr,
        id: &Arc<str>,
        path: &str,
    ) -> HttpResponse {
        let bare = parts.method == Method::HEAD;
        let now = jiff::Timestamp::now().as_second();
        let claim = match guard::check(&parts, &self.rules, is_local(peer), now) {
            Ok(claim) => claim,
            Err(refusal) => {
                tracing::debug!(request = %id, ?refusal, "refused");
                return errors::refused(&refusal, path, id, bare);
            }
        };
        // No handler sees the bytes of a POSTed document, so its checksums are compared on the way.
        let document = match parts.method == Method::POST && !matches!(claim.payload, Payload::Chunked { .. })
        {
            false => None,
            true => match Declared::of(&parts.headers) {
                Ok(declared) => Some(declared).filter(|d| !d.is_empty()).map(DocumentHash::new),
                Err(error) => {
                    let error = error.to_http_response();
                    return error.map_or_else(
                        |_| errors::internal(path, id, bare),
                        |answer| errors::complete(answer, None, path, id, bare),
                    );
                }
            },
        };
        let context = Arc::new(RequestContext { id: Arc::clone(id), peer, claim, fault: OnceLock::new() });
        let body = match body.is_end_stream() && document.is_none() {
            true => Body::empty(),
            false => Body::http_body(Inbound::new(body, Arc::clone(&context), self.idle, document)),
        };
        let mut request = Request::from_parts(parts, body);
        // Whatever came with the request, only our own context goes on.
        *request.extensions_mut() = Extensions::new();
        request.extensions_mut().insert(Arc::clone(&context));
        match self.service.call(request).await {
            Ok(answer) if answer.status().as_u16() < 300 => answer,
            Ok(answer) => errors::complete(answer, context.fault.get().copied(), path, id, bare),
            Err(_) => errors::internal(path, id, bare),
        }
    }
}

/// True for a peer on this machine: what it sends crosses no wire.
fn is_local(peer: IpAddr) -> bool {
    peer.to_canonical().is_loopback()
}
