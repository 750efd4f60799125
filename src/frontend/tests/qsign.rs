//! A client of COS for the tests: signs as the documentation says, and sends.

use http::Method;
use jiff::Timestamp;

use super::real::Real;
use super::support::{ACCESS_KEY, SECRET};
use crate::client::Response;
use crate::client::sign::{canonical_query, encode_path};
use crate::frontend::guard::{hmac_sha1, signing_key};
use sha1::{Digest, Sha1};

/// The host of the tests' bucket.
pub(super) const HOST: &str = "bucket.cos.ap-guangzhou.myqcloud.com";

/// The span of time of a signature made now.
pub(super) fn key_time() -> String {
    let now = Timestamp::now().as_second();
    format!("{};{}", now - 60, now + 600)
}

/// All fields of a signature over these (decoded path and parameters, headers in lower case).
pub(super) fn fields(
    pair: (&str, &str),
    method: &Method,
    path: &str,
    query: &[(&str, &str)],
    headers: &[(&str, &str)],
) -> String {
    let canonical = |pairs: &[(&str, &str)]| {
        let lower: Vec<_> = pairs.iter().map(|(name, value)| (name.to_ascii_lowercase(), *value)).collect();
        let pairs: Vec<_> = lower.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let text = canonical_query(&pairs);
        let names = text.split('&').filter_map(|part| part.split('=').next());
        let list = names.filter(|name| !name.is_empty()).collect::<Vec<_>>().join(";");
        (text, list)
    };
    let ((query, query_list), (headers, header_list)) = (canonical(query), canonical(headers));
    let http = format!("{}\n{path}\n{query}\n{headers}\n", method.as_str().to_lowercase());
    let time = key_time();
    let text = format!("sha1\n{time}\n{}\n", hex::encode(Sha1::digest(http)));
    let signature = hex::encode(hmac_sha1(&signing_key(pair.1, &time), &text));
    format!(
        "q-sign-algorithm=sha1&q-ak={}&q-sign-time={time}&q-key-time={time}&q-header-list={header_list}\
         &q-url-param-list={query_list}&q-signature={signature}",
        pair.0
    )
}

impl Real {
    /// One request, signed in its header, to a host below COS's domain.
    pub(super) async fn cos(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
        body: impl Into<bytes::Bytes>,
    ) -> Response {
        self.cos_as((ACCESS_KEY, SECRET), method, path, query, headers, body).await
    }

    /// The same by another pair of keys.
    pub(super) async fn cos_as(
        &self,
        pair: (&str, &str),
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
        body: impl Into<bytes::Bytes>,
    ) -> Response {
        let headers = [&[("host", HOST)], headers].concat();
        let authorization = fields(pair, &method, path, query, &headers);
        let headers = [&headers[..], &[("authorization", &*authorization)]].concat();
        let headers: Vec<_> = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        self.running.send(method, &target(path, query), &headers, body).await
    }
}

/// A request target.
pub(super) fn target(path: &str, query: &[(&str, &str)]) -> String {
    match query.is_empty() {
        true => encode_path(path),
        false => format!("{}?{}", encode_path(path), canonical_query(query)),
    }
}
