//! One request, in this order: an id, the guard, the watched body, the verifier and the operation, a complete
//! answer.
//!
//! Must never let a request reach the verifier unguarded, and never answer without a request id.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use http::header::{HeaderName, HeaderValue, SERVER};
use http::{Extensions, Method, Request, StatusCode, Uri};
use hyper::body::{Body as _, Incoming};
use jiff::Timestamp;
use s3s::service::S3Service;
use s3s::{Body, HttpResponse, S3Error};

use super::Ambient;
use super::context::{BodyFault, Document, RequestContext, Status};
use super::digest::{Declared, DocumentHash};
use super::errors;
use super::guard::{self, Payload, Rules};
use super::inbound::Inbound;
use super::origins::{Asking, Origins, is_preflight};
use super::peer::{Peer, until_sent};
use super::rest::Rest;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");
const HOST_ID: HeaderName = HeaderName::from_static("x-amz-id-2");
const NAME: HeaderValue = HeaderValue::from_static("tidings");

/// What every request passes.
pub(super) struct Layer {
    service: S3Service,
    rules: Rules,
    origins: Origins,
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
    pub(super) fn new(
        service: S3Service,
        rules: Rules,
        origins: Origins,
        idle: Duration,
        ambient: Ambient,
    ) -> Self {
        let id = format!("{:016X}{:016X}", mix(!ambient.seed), mix(ambient.seed.rotate_left(32)));
        let host_id = HeaderValue::from_str(&id).expect("hex digits are a header value");
        Self { service, rules, origins, idle, now: ambient.now, ids: Ids::new(ambient.seed), host_id }
    }

    /// Answers one request from `peer`.
    pub(super) async fn answer(&self, request: Request<Incoming>, peer: &Arc<Peer>) -> HttpResponse {
        let (id, peer) = (self.ids.next(), Arc::clone(peer));
        let asked = Asked { id, method: request.method().clone(), uri: request.uri().clone(), peer };
        let asking = Asking::of(request.headers());
        let answered = AssertUnwindSafe(self.guarded(request, &asked)).catch_unwind().await;
        let mut response = answered.unwrap_or_else(|_| {
            tracing::error!(request = %asked.id, method = %asked.method, "a request's handler panicked");
            asked.internal()
        });
        let headers = response.headers_mut();
        self.origins.answer(&asked.method, &asked.uri, &asking, headers);
        if let Ok(id) = HeaderValue::from_str(&asked.id) {
            headers.insert(REQUEST_ID, id);
        }
        headers.insert(HOST_ID, self.host_id.clone());
        headers.insert(SERVER, NAME);
        let status = response.status();
        // A refusal for want of space, or of an operation, is an answer; this one is a failure.
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::warn!(request = %asked.id, method = %asked.method, "a request failed");
        } else {
            tracing::debug!(request = %asked.id, method = %asked.method, %status, "a request was answered");
        }
        response
    }

    async fn guarded(&self, request: Request<Incoming>, asked: &Asked) -> HttpResponse {
        // Browsers cannot sign it.
        if is_preflight(&asked.method, request.headers()) {
            return self.origins.preflight(request.uri(), request.headers(), &asked.id);
        }
        let (request, context) = match self.prepare(request, asked) {
            Ok(prepared) => prepared,
            Err(answer) => return *answer,
        };
        match self.service.call(request).await {
            Ok(mut answer) if answer.status().as_u16() < 300 => {
                if let Some(Status(status)) = answer.extensions_mut().remove() {
                    *answer.status_mut() = status;
                }
                until_sent(answer, context)
            }
            Ok(answer) => asked.complete(answer, context.fault.get().copied()),
            Err(_) => asked.internal(),
        }
    }

    /// What the verifier gets: the guarded head, the watched body, and our context. Not async, so that a
    /// request's future, which is copied a few times before it runs, does not carry all of this.
    fn prepare(
        &self,
        request: Request<Incoming>,
        asked: &Asked,
    ) -> Result<(Request<Body>, Arc<RequestContext>), Box<HttpResponse>> {
        let (parts, body) = request.into_parts();
        let body = Rest::new(body, &parts.headers);
        let now = (self.now)().as_second();
        let claim = guard::check(&parts, &self.rules, asked.peer.is_private(), now).map_err(|refusal| {
            tracing::debug!(request = %asked.id, ?refusal, "refused");
            Box::new(errors::refused(&refusal, asked.uri.path(), &asked.id, asked.bare()))
        })?;
        // No handler sees the bytes of a document, so its checksums are compared on the way.
        let is_document = parts.method == Method::POST || is_setting(&parts.method, &parts.uri);
        let declared = match is_document && !matches!(claim.payload, Payload::Chunked { .. }) {
            true if is_about_upload(&parts.uri) => {
                Declared::of_document(&parts.headers).map_err(|error| Box::new(asked.error(error)))?
            }
            true => Declared::of(&parts.headers).map_err(|error| Box::new(asked.error(error)))?,
            false => Declared::default(),
        };
        let document = (!declared.is_empty()).then(|| DocumentHash::new(declared));
        let (id, peer) = (Arc::clone(&asked.id), Arc::clone(&asked.peer));
        let document_wanted = is_document && names(&parts.uri, &["restore"]);
        let document_seen = document_wanted.then(Document::default);
        let context = RequestContext { document: document_seen, ..RequestContext::new(id, peer, claim) };
        let context = Arc::new(context);
        let body = match body.is_end_stream() && document.is_none() {
            true => Body::empty(),
            false => {
                let body = body.of(&context);
                Body::http_body(Inbound::new(body, Arc::clone(&context), self.idle, document))
            }
        };
        let mut request = Request::from_parts(parts, body);
        // Whatever came with the request, only our own context goes on.
        *request.extensions_mut() = Extensions::new();
        request.extensions_mut().insert(Arc::clone(&context));
        Ok((request, context))
    }
}

/// What an answer needs to know of its request.
struct Asked {
    id: Arc<str>,
    method: Method,
    uri: Uri,
    peer: Arc<Peer>,
}

impl Asked {
    /// True if the answer has no body.
    fn bare(&self) -> bool {
        self.method == Method::HEAD
    }

    fn internal(&self) -> HttpResponse {
        errors::internal(self.uri.path(), &self.id, self.bare())
    }

    fn complete(&self, answer: HttpResponse, fault: Option<BodyFault>) -> HttpResponse {
        errors::complete(answer, fault, self.uri.path(), &self.id, self.bare())
    }

    fn error(&self, error: S3Error) -> HttpResponse {
        error.to_http_response().map_or_else(|_| self.internal(), |answer| self.complete(answer, None))
    }
}

/// True for the PUT of a document that says what shall be of a bucket or an object.
fn is_setting(method: &Method, uri: &Uri) -> bool {
    *method == Method::PUT && names(uri, &["tagging", "acl", "cors", "versioning", "notification"])
}

/// True if checksum headers are those of the object that an upload will be.
fn is_about_upload(uri: &Uri) -> bool {
    names(uri, &["uploads", "uploadId"])
}

/// True if the query has any of these parameters.
fn names(uri: &Uri, parameters: &[&str]) -> bool {
    let name = |part: &'_ str| parameters.contains(&part.split_once('=').map_or(part, |(name, _)| name));
    uri.query().is_some_and(|query| query.split('&').any(name))
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
}
