//! One request, in this order: an id, the guard, the watched body, the verifier and the operation, a complete
//! answer.
//!
//! Must never let a request reach the verifier unguarded, and never answer without a request id.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use http::header::{CONNECTION, EXPECT, HeaderValue, SERVER};
use http::request::Parts;
use http::{Extensions, Method, Request, StatusCode, Uri};
use http_body_util::BodyStream;
use hyper::body::{Body as _, Incoming};
use jiff::Timestamp;
use s3s::service::S3Service;
use s3s::{Body, HttpResponse, S3Error, S3Result};

use super::asked::Asked;
use super::auth::Verified;
use super::context::{Document, RequestContext, Status};
use super::digest::{Declared, DocumentHash};
use super::family::Family;
use super::forms::Forms;
use super::guard::{self, Claim, Payload, Refusal, Rules};
use super::hosts::Hosts;
use super::ids::Ids;
use super::inbound::Inbound;
use super::legible::legible;
use super::origins::{Asking, Origins, is_preflight};
use super::peer::{Peer, until_sent};
use super::rest::Rest;
use super::{Ambient, CredentialLookup, auth, cos, errors};

const NAME: HeaderValue = HeaderValue::from_static("tidings");

/// What a layer stands before.
pub(super) struct Behind {
    /// The verifier and the operations.
    pub(super) service: S3Service,
    pub(super) credentials: Arc<dyn CredentialLookup>,
    pub(super) hosts: Arc<Hosts>,
    pub(super) origins: Origins,
    pub(super) forms: Forms,
}

/// What every request passes.
pub(super) struct Layer {
    behind: Behind,
    rules: Rules,
    idle: Duration,
    now: fn() -> Timestamp,
    ids: Ids,
    spelling: cos::Spelling,
}

impl Layer {
    /// A layer; a body may stand still for `idle`.
    pub(super) fn new(behind: Behind, rules: Rules, idle: Duration, ambient: Ambient) -> Self {
        Self {
            behind,
            rules,
            idle,
            now: ambient.now,
            ids: Ids::new(ambient.seed),
            spelling: cos::Spelling::default(),
        }
    }

    /// Answers one request from `peer`.
    pub(super) async fn answer(&self, request: Request<Incoming>, peer: &Arc<Peer>) -> HttpResponse {
        let family = Family::of(request.uri(), request.headers());
        let (id, peer) = (self.ids.next(family, (self.now)().as_second()), Arc::clone(peer));
        let mut asked =
            Asked { id, family, method: request.method().clone(), uri: request.uri().clone(), peer };
        let asking = Asking::of(request.headers());
        let waits = request.headers().contains_key(EXPECT);
        let answered = AssertUnwindSafe(self.guarded(request, &mut asked)).catch_unwind().await;
        let mut response = answered.unwrap_or_else(|_| {
            tracing::error!(request = %asked.id, method = %asked.method, "a request's handler panicked");
            asked.internal()
        });
        let status = response.status();
        let headers = response.headers_mut();
        if asked.family == Family::Cos {
            cos::header_names(headers);
        }
        self.behind.origins.answer(&asked.method, &asked.uri, &asking, headers);
        let failed = status.is_client_error() || status.is_server_error();
        self.ids.answer(asked.family, &asked.id, failed, headers);
        headers.insert(SERVER, NAME);
        if waits && !status.is_success() {
            // Whether the body that the client waits to send still comes is not known: what came next over
            // this connection could be taken for it, and what is behind that for a request.
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if asked.family == Family::Cos {
            self.spelling.apply(&mut response).await;
        }
        // A refusal for want of space, or of an operation, is an answer; this one is a failure.
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::warn!(request = %asked.id, method = %asked.method, "a request failed");
        } else {
            tracing::debug!(request = %asked.id, method = %asked.method, %status, "a request was answered");
        }
        response
    }

    async fn guarded(&self, request: Request<Incoming>, asked: &mut Asked) -> HttpResponse {
        // Browsers cannot sign it.
        if is_preflight(&asked.method, request.headers()) {
            return self.behind.origins.preflight(request.uri(), request.headers(), asked.about());
        }
        let (parts, body) = request.into_parts();
        if guard::is_form(&parts) {
            let answer = self.form(parts, body, asked).await;
            return answer.unwrap_or_else(|error| asked.error(error));
        }
        let request = Request::from_parts(parts, body);
        let (request, context) = match self.prepare(request, asked) {
            Ok(prepared) => prepared,
            Err(answer) => return *answer,
        };
        match self.behind.service.call(request).await {
            Ok(mut answer) if answer.status().as_u16() < 300 => {
                if let Some(Status(status)) = answer.extensions_mut().remove() {
                    *answer.status_mut() = status;
                }
                let answer = legible(answer);
                let answer = match asked.family {
                    Family::S3 => answer,
                    Family::Cos => cos::answer(answer, context.crc64.get().copied()),
                };
                until_sent(answer, context)
            }
            Ok(answer) => asked.complete(answer, context.fault.get().copied()),
            Err(_) => asked.internal(),
        }
    }

    /// A form names who signed it in its fields, so it is known late whose words its answer speaks.
    async fn form(&self, parts: Parts, body: Incoming, asked: &mut Asked) -> S3Result<HttpResponse> {
        let forms = &self.behind.forms;
        let length = guard::check_form(&parts).map_err(|refusal| refused(&refusal, asked))?;
        let now = (self.now)();
        let claim =
            Claim { access_key: "".into(), payload: Payload::Unsigned, length: Some(length), qsign: None };
        let reading = Arc::new(RequestContext::new(Arc::clone(&asked.id), Arc::clone(&asked.peer), claim));
        let body = Rest::new(body, &parts.headers).of(&reading);
        let body = Inbound::new(body, Arc::clone(&reading), self.idle, None);
        let body = BodyStream::new(body)
            .filter_map(|frame| std::future::ready(frame.map(|frame| frame.into_data().ok()).transpose()));
        let begun = forms.begin(&parts, length, Box::pin(body)).await?;
        if begun.family != asked.family {
            asked.family = begun.family;
            asked.id = self.ids.next(begun.family, now.as_second());
        }
        let (id, peer) = (Arc::clone(&asked.id), Arc::clone(&asked.peer));
        let family = asked.family;
        let context = |claim: Claim| RequestContext::new(id, peer, claim).verified(None, family);
        forms.finish(begun, &self.rules, now, context).await
    }

    /// What the verifier gets: the guarded head, the watched body, and our context. Not async, so that a
    /// request's future, which is copied a few times before it runs, does not carry all of this.
    fn prepare(
        &self,
        request: Request<Incoming>,
        asked: &Asked,
    ) -> Result<(Request<Body>, Arc<RequestContext>), Box<HttpResponse>> {
        let (mut parts, body) = request.into_parts();
        let body = Rest::new(body, &parts.headers);
        let (claim, verified) = self.admit(&mut parts, asked).map_err(|refusal| {
            tracing::debug!(request = %asked.id, ?refusal, "refused");
            Box::new(errors::refused(&refusal, asked.about()))
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
        let seen = document_wanted.then(Document::default);
        let context = RequestContext::new(id, peer, claim).verified(verified, asked.family);
        let context = RequestContext { document: seen, ..context };
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

    /// Guards a head, and brings it into the one form that goes on: a path for a target, S3's words, and a
    /// signature that is verified or that the library verifies.
    fn admit(&self, parts: &mut Parts, asked: &Asked) -> Result<(Claim, Option<Verified>), Refusal> {
        let now = (self.now)().as_second();
        let claim = guard::check(parts, &self.rules, asked.peer.is_private(), now)?;
        let verified = auth::verify(&*self.behind.credentials, &claim)?;
        if verified.is_some() {
            cos::translate(parts, &self.behind.hosts)?;
        }
        if parts.uri.authority().is_some() {
            let target = parts.uri.path_and_query().cloned();
            parts.uri = target.ok_or(Refusal::BadUri("The request target must be a path."))?.into();
        }
        Ok((claim, verified))
    }
}

/// A refusal as what an operation would answer.
fn refused(refusal: &Refusal, asked: &Asked) -> S3Error {
    tracing::debug!(request = %asked.id, ?refusal, "refused");
    refusal.to_error()
}

/// True for the PUT of a document that says what shall be of a bucket or an object.
fn is_setting(method: &Method, uri: &Uri) -> bool {
    let settings = ["tagging", "acl", "cors", "versioning", "notification", "origin", "replication"];
    *method == Method::PUT && names(uri, &settings)
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
