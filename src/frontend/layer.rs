//! One request, in this order: an id, the guard, the watched body, the verifier and the operation, a complete
//! answer.
//!
//! Must never let a request reach the verifier unguarded, and never answer without a request id.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::FutureExt;
use http::header::{HeaderName, HeaderValue, SERVER};
use http::request::Parts;
use http::{Extensions, Method, Request};
use hyper::body::{Body as _, Incoming};
use jiff::Timestamp;
use s3s::service::S3Service;
use s3s::{Body, HttpResponse};

use super::Ambient;
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
    now: fn() -> Timestamp,
    ids: Ids,
    /// Names this process in answers, as S3's second id names the host.
    host_id: HeaderValue,
}

/// Request ids: one mixed counter, so that they look random, never repeat within a run, and cost one
/// addition.
struct Ids {
    seed: u64,
    next: AtomicU64,
}

impl Ids {
    fn new(seed: u64) -> Self {
        Self { seed, next: AtomicU64::new(0) }
    }

    /// 16 upper-case hex digits.
    fn next(&self) -> Arc<str> {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        format!("{:016X}", mix(self.seed.wrapping_add(n))).into()
    }
}

/// A bijection on 64 bits (the finalizer of splitmix64): different numbers stay different.
fn mix(n: u64) -> u64 {
    let n = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    n ^ (n >> 31)
}

impl Layer {
    /// A layer before `service`; a body may stand still for `idle`.
    pub(super) fn new(service: S3Service, rules: Rules, idle: Duration, ambient: Ambient) -> Self {
        let id = format!("{:016X}{:016X}", mix(!ambient.seed), mix(ambient.seed.rotate_left(32)));
        let host_id = HeaderValue::from_str(&id).expect("hex digits are a header value");
        Self { service, rules, idle, now: ambient.now, ids: Ids::new(ambient.seed), host_id }
    }

    /// Answers one request from `peer`.
    pub(super) async fn answer(&self, request: Request<Incoming>, peer: IpAddr) -> HttpResponse {
        let (parts, body) = request.into_parts();
        let id = self.ids.next();
        let path = parts.uri.path().to_owned();
        let bare = parts.method == Method::HEAD;
        let method = parts.method.clone();
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
            tracing::debug!(request = %id, %method, %status, "a request was answered");
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
        let now = (self.now)().as_second();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_sixteen_hex_digits_and_differ() {
        let ids = Ids::new(42);
        let made: std::collections::HashSet<_> = (0..10_000).map(|_| ids.next()).collect();
        assert_eq!(made.len(), 10_000);
        assert!(
            made.iter()
                .all(|id| id.len() == 16 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F')))
        );
    }

    #[test]
    fn only_loopback_is_local() {
        let local = |ip: &str| is_local(ip.parse().expect("an address"));
        assert!(local("127.0.0.1") && local("127.8.8.8") && local("::1") && local("::ffff:127.0.0.1"));
        assert!(!local("10.0.0.1") && !local("::ffff:10.0.0.1") && !local("fe80::1") && !local("0.0.0.0"));
    }
}
