//! What browsers are told: preflights, which come without a signature, and the headers that let a page see an
//! answer.
//!
//! Must never tell anybody without a signature more than a rule says, not even that a bucket is there.

use std::sync::Arc;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS as ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS as ALLOW_HEADERS,
    ACCESS_CONTROL_ALLOW_METHODS as ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN as ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS as EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE as MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS as REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD as REQUEST_METHOD, HOST,
    HeaderMap, HeaderValue, ORIGIN, VARY,
};
use http::{Method, StatusCode, Uri};
use s3s::{Body, HttpResponse};

use super::cors::{Rule, Rules, joined};
use super::errors::{About, Document};
use super::guard::decode;
use super::hosts::Hosts;
use super::parsed::Parsed;
use crate::commit::Commit;
use crate::queue::Setting;

/// More headers than this in one preflight are nobody's honest question.
const MAX_ASKED: usize = 128;
/// What caches must tell apart.
const VARIES: HeaderValue =
    HeaderValue::from_static("Origin, Access-Control-Request-Headers, Access-Control-Request-Method");

/// Why a preflight gets no for an answer: status, code, message.
type No = (StatusCode, &'static str, &'static str);

/// True for a browser's question whether it may send a request. Everything else needs a signature.
pub(super) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::OPTIONS && headers.contains_key(ORIGIN) && headers.contains_key(REQUEST_METHOD)
}

/// The rules of all buckets, parsed once.
pub(super) struct Origins {
    commit: Arc<Commit>,
    hosts: Arc<Hosts>,
    rules: Parsed<Rules>,
}

impl Origins {
    pub(super) fn new(commit: Arc<Commit>, hosts: Arc<Hosts>) -> Self {
        Self { commit, hosts, rules: Parsed::new(Setting::Cors, Rules::of_setting) }
    }

    /// Answers a preflight.
    pub(super) fn preflight(&self, uri: &Uri, headers: &HeaderMap, about: About<'_>) -> HttpResponse {
        match self.allowed(uri, headers) {
            Ok(headers) => {
                let mut response = HttpResponse::new(Body::empty());
                *response.headers_mut() = headers;
                response
            }
            Err((status, code, message)) => {
                let document = Document { code, message: message.into(), about, region: None };
                document.response(status, HeaderMap::new())
            }
        }
    }

    fn allowed(&self, uri: &Uri, headers: &HeaderMap) -> Result<HeaderMap, No> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let (origin, method) = (text(ORIGIN).unwrap_or_default(), text(REQUEST_METHOD).unwrap_or_default());
        let no_rules =
            (StatusCode::FORBIDDEN, "AccessForbidden", "CORSResponse: CORS is not enabled for this bucket.");
        let rules = self.rules(uri, headers.get(HOST)).ok_or(no_rules)?;
        let asked = text(REQUEST_HEADERS).unwrap_or_default();
        let names = asked.split(',').map(|name| name.trim().to_ascii_lowercase());
        let names: Vec<_> = names.filter(|name| !name.is_empty()).take(MAX_ASKED + 1).collect();
        let found = rules.find(origin, method, &names).filter(|_| names.len() <= MAX_ASKED);
        let (rule, origin) = found.ok_or((
            StatusCode::FORBIDDEN,
            "AccessForbidden",
            "CORSResponse: This CORS request is not allowed. This is usually because the evalution of \
             Origin, request method / Access-Control-Request-Method or Access-Control-Request-Headers are \
             not whitelisted by the resource's CORS spec.",
        ))?;
        let mut answer = HeaderMap::new();
        allow(rule, origin, &mut answer);
        if let Some(names) = joined(&names) {
            answer.insert(ALLOW_HEADERS, names);
        }
        if let Some(age) = rule.max_age {
            answer.insert(MAX_AGE, age.into());
        }
        Ok(answer)
    }

    /// Adds to an answer what lets a page of the request's origin see it.
    pub(super) fn answer(&self, method: &Method, uri: &Uri, asking: &Asking, answer: &mut HeaderMap) {
        // Without an origin only caches need to know that the answer would be another one with it.
        if asking.origin.is_none() && !matches!(*method, Method::GET | Method::HEAD) {
            return;
        }
        let Some(rules) = self.rules(uri, asking.host.as_ref()) else { return };
        answer.insert(VARY, VARIES);
        let Some(origin) = asking.origin.as_ref().and_then(|origin| origin.to_str().ok()) else { return };
        if let Some((rule, origin)) = rules.find(origin, method.as_str(), &[]) {
            allow(rule, origin, answer);
        }
    }

    /// The rules of the bucket that a request names.
    fn rules(&self, uri: &Uri, host: Option<&HeaderValue>) -> Option<Arc<Rules>> {
        let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
        let name = match self.hosts.bucket(host) {
            Some(name) => name,
            None => decode(uri.path().trim_start_matches('/').split('/').next()?, false)?.into_owned(),
        };
        if name.is_empty() {
            return None;
        }
        let bucket = self.commit.store().bucket(&name).ok().flatten()?;
        self.rules.of(&bucket)
    }
}

/// What of a request's head its answer to a browser depends on.
pub(super) struct Asking {
    host: Option<HeaderValue>,
    origin: Option<HeaderValue>,
}

impl Asking {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        Self { host: headers.get(HOST).cloned(), origin: headers.get(ORIGIN).cloned() }
    }
}

fn allow(rule: &Rule, origin: &str, answer: &mut HeaderMap) {
    let Ok(value) = HeaderValue::from_str(origin) else { return };
    answer.insert(ALLOW_ORIGIN, value);
    if origin != "*" {
        answer.insert(ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    if let Some(methods) = joined(&rule.methods) {
        answer.insert(ALLOW_METHODS, methods);
    }
    if let Some(exposed) = joined(&rule.exposed) {
        answer.insert(EXPOSE_HEADERS, exposed);
    }
    answer.insert(VARY, VARIES);
}
