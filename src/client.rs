//! A small S3 client over plain HTTP/1.1: for `tidings demo`, the load generator and the tests.
//!
//! Must never retry and never guess: an answer is an answer whatever its status, and everything else says
//! whether the request may have been applied. Not built on a URL type: those rewrite keys such as `a/../b`.

mod answer;
pub use tidings_replication::sign;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST, HeaderName, HeaderValue};
use http::{Method, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use jiff::Timestamp;

use answer::with_causes;
pub use answer::{ClientError, Listed, Listing, Response};
use sign::{Parts, Signer};

/// A connection may take this long to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// One exchange, from the first byte sent to the last byte read, may take this long unless said otherwise.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(60);
/// An idle connection is kept this long: less than servers keep theirs, so that a reused one is rarely dead.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// An answer's body may have this many bytes.
const MAX_ANSWER_BYTES: usize = 1 << 30;

/// A request's body.
pub type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// An S3 client for one endpoint, region and key pair. Clones share connections and the signing key.
#[derive(Debug, Clone)]
pub struct Client {
    http: Http<HttpConnector, Body>,
    authority: Arc<str>,
    signer: Arc<Signer>,
    timeout: Duration,
}

impl Client {
    /// A client for `endpoint`, such as `http://127.0.0.1:9000`. Connects when first used.
    pub fn new(
        endpoint: &str,
        region: &str,
        access_key: &str,
        secret_key: &str,
    ) -> Result<Self, ClientError> {
        let authority = endpoint
            .strip_prefix("http://")
            .map(|rest| rest.trim_end_matches('/'))
            .filter(|rest| !rest.contains('/') && rest.parse::<http::uri::Authority>().is_ok())
            .ok_or_else(|| ClientError::Invalid(format!("`{endpoint}` is not http://HOST:PORT")))?;
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let http = Http::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Ok(Self {
            http,
            authority: authority.into(),
            signer: Arc::new(Signer::new(region, access_key, secret_key)),
            timeout: EXCHANGE_TIMEOUT,
        })
    }

    /// The same client with another bound on one exchange.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// `HOST:PORT` as the `host` header carries it.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The signer, for callers that sign something by themselves.
    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// PUT Object.
    pub async fn put(
        &self,
        bucket: &str,
        key: &str,
        body: impl Into<Bytes>,
    ) -> Result<Response, ClientError> {
        self.put_with(bucket, key, body, &[]).await
    }

    /// PUT Object with more headers (`content-type`, `x-amz-meta-…`, `if-none-match` …), signed too.
    pub async fn put_with(
        &self,
        bucket: &str,
        key: &str,
        body: impl Into<Bytes>,
        headers: &[(&str, &str)],
    ) -> Result<Response, ClientError> {
        self.request(Method::PUT, &object_path(bucket, key), &[], headers, body.into()).await
    }

    /// GET Object.
    pub async fn get(&self, bucket: &str, key: &str) -> Result<Response, ClientError> {
        self.request(Method::GET, &object_path(bucket, key), &[], &[], Bytes::new()).await
    }

    /// HEAD Object.
    pub async fn head(&self, bucket: &str, key: &str) -> Result<Response, ClientError> {
        self.request(Method::HEAD, &object_path(bucket, key), &[], &[], Bytes::new()).await
    }

    /// DELETE Object.
    pub async fn delete(&self, bucket: &str, key: &str) -> Result<Response, ClientError> {
        self.request(Method::DELETE, &object_path(bucket, key), &[], &[], Bytes::new()).await
    }

    /// PUT Bucket.
    pub async fn create_bucket(&self, bucket: &str) -> Result<Response, ClientError> {
        self.request(Method::PUT, &format!("/{bucket}"), &[], &[], Bytes::new()).await
    }

    /// DELETE Bucket.
    pub async fn delete_bucket(&self, bucket: &str) -> Result<Response, ClientError> {
        self.request(Method::DELETE, &format!("/{bucket}"), &[], &[], Bytes::new()).await
    }

    /// One page of GET Bucket (List Objects) Version 2. `query` adds parameters such as `prefix`,
    /// `delimiter`, `start-after`, `max-keys` and `continuation-token`; [`Listing::parse`] reads the body.
    pub async fn list_v2(&self, bucket: &str, query: &[(&str, &str)]) -> Result<Response, ClientError> {
        let mut all = vec![("list-type", "2"), ("encoding-type", "url")];
        all.extend_from_slice(query);
        self.request(Method::GET, &format!("/{bucket}"), &all, &[], Bytes::new()).await
    }

    /// A URL that does `method` on the object, without further headers, for `expires` seconds from now.
    pub fn presign(&self, method: &Method, bucket: &str, key: &str, expires: u64) -> String {
        let path = sign::encode_path(&object_path(bucket, key));
        let parts = Parts {
            method: method.as_str(),
            path: &path,
            query: "",
            headers: &[("host", &self.authority)],
            payload: sign::UNSIGNED_PAYLOAD,
        };
        let query = self.signer.presign(&parts, &[], expires, Timestamp::now());
        format!("http://{}{path}?{query}", self.authority)
    }

    /// Any request, signed in the header. `path` and `query` are decoded; header names are lower case; all
    /// are signed.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Response, ClientError> {
        let at = Timestamp::now();
        let (path, query) = (sign::encode_path(path), sign::canonical_query(query));
        let (date, payload) = (sign::amz_date(at), sign::payload_hash(&body));
        let mut signed: Vec<(&str, &str)> = Vec::with_capacity(headers.len() + 3);
        signed.push(("host", &self.authority));
        signed.push(("x-amz-content-sha256", &payload));
        signed.push(("x-amz-date", &date));
        signed.extend_from_slice(headers);
        let parts = Parts {
            method: method.as_str(),
            path: &path,
            query: &query,
            headers: &signed,
            payload: &payload,
        };
        let authorization = self.signer.sign(&parts, at).authorization;
        signed.push(("authorization", &authorization));
        // An empty PUT says so: without a length it would have no body at all.
        if body.is_empty() && (method == Method::PUT || method == Method::POST) {
            signed.push(("content-length", "0"));
        }
        let target = if query.is_empty() { path } else { format!("{path}?{query}") };
        self.send(method, &target, &signed, body).await
    }

    /// A request exactly as given, signed or not: `target` is an encoded path with its query. A `host` header
    /// is added if `headers` has none.
    pub async fn send(
        &self,
        method: Method,
        target: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Response, ClientError> {
        let body = Full::new(body.into()).map_err(|never| match never {}).boxed_unsync();
        self.send_body(method, target, headers, body).await
    }

    /// [`Client::send`] with a body that is made while it is sent; without a `content-length` header it goes
    /// chunked.
    pub async fn send_body(
        &self,
        method: Method,
        target: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> Result<Response, ClientError> {
        let invalid = |what: &dyn std::fmt::Display| ClientError::Invalid(what.to_string());
        let uri = format!("http://{}{target}", self.authority).parse::<Uri>().map_err(|e| invalid(&e))?;
        let mut request = http::Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|e| invalid(&e))?;
            let mut value = HeaderValue::from_bytes(value.as_bytes()).map_err(|e| invalid(&e))?;
            value.set_sensitive(name == AUTHORIZATION);
            request.headers_mut().append(name, value);
        }
        if !request.headers().contains_key(HOST) {
            let host = HeaderValue::from_str(&self.authority).map_err(|e| invalid(&e))?;
            request.headers_mut().insert(HOST, host);
        }
        self.exchange(request).await
    }

    async fn exchange(&self, request: http::Request<Body>) -> Result<Response, ClientError> {
        let exchange = async {
            let answer = self.http.request(request).await.map_err(|error| match error.is_connect() {
                true => ClientError::NotSent(with_causes(&error)),
                false => ClientError::Unknown(with_causes(&error)),
            })?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
            let body = body.map_err(|error| ClientError::Unknown(with_causes(&*error)))?.to_bytes();
            Ok(Response { status: head.status, headers: head.headers, body })
        };
        let late = || ClientError::Unknown(format!("no answer within {:?}", self.timeout));
        tokio::time::timeout(self.timeout, exchange).await.unwrap_or_else(|_| Err(late()))
    }
}

fn object_path(bucket: &str, key: &str) -> String {
    format!("/{bucket}/{key}")
}
