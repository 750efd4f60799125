//! One signed request for one change: what it says, and what its answer means.
//!
//! Must never follow a redirect, sign a URL for more than one version, or keep more of an answer than its
//! code.

use std::time::Duration;

use http::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use reqwest::{Client, redirect};
use secrecy::ExposeSecret as _;
use tidings_common::{Url, Verdict, nobody};
use tidings_connector::{Cause, ErrorClass, Fault, Message, Outcome, Report, Scope};

use crate::error::{answered, silence};
use crate::record::Change;
use crate::sign::{Parts, Signer, amz_date, canonical_query, encode_path, payload_hash};
use crate::{ETAG, KEY, PULL, PULL_ACCESS_KEY, PULL_KEY, PULL_VERSION, ReplicationConfig, VERSION};

/// How long a pull may wait to begin, in seconds. The peer begins at once.
const PULL_EXPIRES: u64 = 60;
/// No answer's document is longer, in bytes.
const ANSWER_BYTES: usize = 16 << 10;

/// What every request needs, as the files were when it was made.
pub(crate) struct Sender {
    client: Client,
    endpoint: Url,
    own_endpoint: Url,
    timeout: Duration,
    signer: Signer,
    pulls: Signer,
}

/// What a peer says to a request for nothing.
pub(crate) enum Asked {
    /// It takes the credential.
    LetIn,
    /// It knows the credential, which may not replicate, or not into every bucket.
    Refused,
}

impl Sender {
    /// Reads every file that the configuration names. Blocks.
    pub(crate) fn new(config: &ReplicationConfig) -> Result<Self, Fault> {
        let cannot =
            |class, why: &str| Fault::faulted(class, format!("cannot call {}: {why}", config.endpoint));
        let secret = config.secret.read().map_err(|why| cannot(ErrorClass::Auth, &why))?;
        let mut tls = match config.endpoint.scheme() {
            "https" => config.tls.client().map_err(|why| cannot(ErrorClass::Tls, &why))?,
            // Nobody is trusted, since nobody is asked.
            _ => nobody().map_err(|why| cannot(ErrorClass::Tls, &why))?,
        };
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let client = Client::builder()
            .connect_timeout(config.options.connect_timeout.0)
            .redirect(redirect::Policy::none())
            .referer(false)
            // Where objects go is decided by the configuration file alone, not by the environment.
            .no_proxy()
            .pool_max_idle_per_host(config.options.max_in_flight)
            .user_agent(concat!("tidings/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(tls);
        let pulls = crate::PULL_SECRET.get();
        let pulls = pulls.ok_or_else(|| cannot(ErrorClass::Auth, "nobody here answers pulls"))?;
        Ok(Self {
            client: client.build().map_err(|e| cannot(ErrorClass::Tls, &silence(e).1))?,
            endpoint: config.endpoint.clone(),
            own_endpoint: config.own_endpoint.clone(),
            timeout: config.options.timeout.0,
            signer: Signer::new(&config.options.region, &config.options.access_key, secret.expose_secret()),
            pulls: Signer::new(&config.here, PULL_ACCESS_KEY, pulls),
        })
    }

    /// Tells the peer of one change, and waits until it has it.
    pub(crate) async fn send(&self, message: &Message) -> (Outcome, Option<Report>) {
        let poison = |why: &str| (Outcome::Rejected { why: Cause::new(ErrorClass::Encode, why) }, None);
        let change = match Change::of(message) {
            Ok(change) => change,
            Err(why) => return poison(&why),
        };
        let at = Timestamp::now();
        let (key, pull) = (encode_path(change.key), self.pull_url(&change, at));
        let mut headers = vec![(KEY, key.as_str()), (VERSION, &change.version), (PULL, &pull)];
        headers.extend(change.etag.as_deref().map(|etag| (ETAG, etag)));
        match self.put(&change.to, &headers, at).await {
            Ok((status, code)) => {
                let report = Report { place: Some(status.to_string().into()) };
                (answered(status, &code), Some(report))
            }
            Err((verdict, why)) => (verdict.outcome(true, Scope::Target, &why), None),
        }
    }

    /// Asks for a replica of nothing: harmless, and proves name, address, certificate and credential.
    pub(crate) async fn ask(&self) -> Result<Asked, Fault> {
        let at = Timestamp::now();
        let cannot = |why: String| format!("cannot replicate to {}: {why}", self.endpoint);
        match self.put("tidings-replication-check", &[(KEY, "check")], at).await {
            // Let in, and told that there is nothing to do.
            Ok((400, code)) if code == "InvalidArgument" => Ok(Asked::LetIn),
            Ok((403, code)) if code == "AccessDenied" => Ok(Asked::Refused),
            Ok((status, code)) => {
                let why = cannot(format!("it answers {status} {code}"));
                Err(Verdict::Fault(ErrorClass::Auth).fault(why))
            }
            Err((verdict, why)) => Err(verdict.fault(cannot(why))),
        }
    }

    /// Where the peer gets a version for a minute: signed for it alone.
    fn pull_url(&self, change: &Change<'_>, at: Timestamp) -> String {
        let path = encode_path(&format!("/{}", change.bucket));
        let own = [(PULL_VERSION, change.version.as_str()), (PULL_KEY, change.key)];
        let host = authority(&self.own_endpoint);
        let parts = Parts {
            method: "GET",
            path: &path,
            query: &canonical_query(&own),
            headers: &[("host", &host)],
            payload: crate::sign::UNSIGNED_PAYLOAD,
        };
        let query = self.pulls.presign(&parts, &own, PULL_EXPIRES, at);
        format!("{}://{host}{path}?{query}", self.own_endpoint.scheme())
    }

    /// One request to a bucket of the peer's: its status, and the code of an error.
    async fn put(
        &self,
        bucket: &str,
        headers: &[(&'static str, &str)],
        at: Timestamp,
    ) -> Result<(u16, String), (Verdict, String)> {
        let (path, date, payload) = (encode_path(&format!("/{bucket}")), amz_date(at), payload_hash(b""));
        let host = authority(&self.endpoint);
        let mut signed: Vec<(&str, &str)> = headers.to_vec();
        signed.extend([("host", &*host), ("x-amz-content-sha256", &payload), ("x-amz-date", &date)]);
        let parts = Parts { method: "PUT", path: &path, query: "", headers: &signed, payload: &payload };
        let authorization = self.signer.sign(&parts, at).authorization;
        signed.push(("authorization", &authorization));
        let mut all = HeaderMap::new();
        for (name, value) in signed {
            let value = HeaderValue::from_str(value);
            let value =
                value.map_err(|_| (Verdict::Poison(ErrorClass::Encode), format!("{name} is no header")))?;
            all.insert(HeaderName::from_bytes(name.as_bytes()).expect("names are our own"), value);
        }
        all.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        let url =
            self.endpoint.join(&path).map_err(|e| (Verdict::Poison(ErrorClass::Encode), e.to_string()))?;
        let request = self.client.put(url).headers(all).timeout(self.timeout);
        let mut answer = request.send().await.map_err(silence)?;
        let status = answer.status().as_u16();
        let mut text = Vec::new();
        while status >= 300 && text.len() < ANSWER_BYTES {
            match answer.chunk().await {
                Ok(Some(chunk)) => text.extend_from_slice(&chunk),
                Ok(None) | Err(_) => break,
            }
        }
        Ok((status, code_of(&text)))
    }
}

/// The code in an error's document; empty if there is none that is a plain word.
fn code_of(document: &[u8]) -> String {
    let text = String::from_utf8_lossy(document);
    let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    let code = code.map_or("", |(code, _)| code);
    let plain = code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphanumeric());
    if plain { code.to_owned() } else { String::new() }
}

/// Host and port as a client's `host` header has them.
fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_authorities_are_read_as_they_are_written() {
        assert_eq!(code_of(b"<Error><Code>NoSuchBucket</Code></Error>"), "NoSuchBucket");
        assert_eq!(code_of(b"<Error><Code>No such</Code></Error>"), "");
        assert_eq!(code_of(b"\xff"), "");
        for (url, wanted) in
            [("http://a:80", "a"), ("https://a:9000", "a:9000"), ("http://[::1]:9/", "[::1]:9")]
        {
            assert_eq!(authority(&Url::parse(url).expect("a URL")), wanted);
        }
    }
}
