//! One fetch: its hops, and its body piece by piece.
//!
//! Must never take a name's word for its address, nor an address that stands in a URL unjudged.

use std::future::Future;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderValue, LOCATION, TRANSFER_ENCODING};
use reqwest::{Client, Response};
use tidings_common::{Blocked, NEVER_PORTS, Reach, TlsFiles, Url, client, refusal};
use tokio::time::{Instant, timeout, timeout_at};

use crate::{FetchError, Options};

/// Idle connections that are kept for each origin.
const IDLE_CONNECTIONS: usize = 4;
/// More redirects than this lead nowhere.
const MAX_REDIRECTS: usize = 5;

/// Fetches. Made once, used by many at a time.
#[derive(Debug, Clone)]
pub struct Fetcher {
    client: Client,
    options: Options,
}

/// An object of an origin: its headers, and its bytes as they come.
#[derive(Debug)]
pub struct Fetched {
    /// What the origin says of it.
    pub headers: HeaderMap,
    /// Its bytes, if the origin says how many.
    pub length: Option<u64>,
    answer: Response,
    read: u64,
    until: Instant,
    options: Options,
}

impl Fetcher {
    /// Reads the certificates of that file, or those that the system trusts. Blocks.
    ///
    /// # Errors
    /// One sentence: the system trusts nobody, or the library cannot be set up.
    pub fn new(options: Options, ca_file: Option<PathBuf>) -> Result<Self, String> {
        let reach = Reach::Operator { allow_private: options.allow_private };
        let tls = TlsFiles { ca: ca_file, identity: None }.client()?;
        let client = client(reach, tls, options.connect_timeout, IDLE_CONNECTIONS);
        client.map(|client| Self { client, options }).map_err(|e| e.to_string())
    }

    /// Until when a fetch that begins now may take, however many hosts it asks.
    pub fn deadline(&self) -> Instant {
        Instant::now() + self.options.total_timeout
    }

    /// Asks for what is under `url`, with these headers and no others of a client's, and follows redirects if
    /// `follow`. To another host they go without the headers. `until`: the
    /// end of the whole fetch.
    ///
    /// # Errors
    /// [`FetchError`]; no byte of a body was taken.
    pub async fn get(
        &self,
        url: Url,
        headers: &HeaderMap,
        follow: bool,
        until: Instant,
    ) -> Result<Fetched, FetchError> {
        let (mut url, mut headers) = (url, headers.clone());
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        for _ in 0..=MAX_REDIRECTS {
            self.judge(&url)?;
            let answer = self.ask(&url, &headers, until).await?;
            let status = answer.status();
            if status.is_redirection() && follow {
                let next = next_hop(&url, &answer)?;
                if next.origin() != url.origin() {
                    headers.retain_only(&[ACCEPT_ENCODING]);
                }
                url = next;
                continue;
            }
            return match status.as_u16() {
                200 => self.fetched(answer, until),
                404 => Err(FetchError::NotFound),
                other => Err(FetchError::Status(other)),
            };
        }
        Err(FetchError::Failed("the origin redirects again and again".to_owned()))
    }

    /// What can be said against a URL before anybody is asked. Names are judged when they are dialled.
    fn judge(&self, url: &Url) -> Result<(), FetchError> {
        let blocked = |why: String| Err(FetchError::Blocked(why));
        if !matches!(url.scheme(), "http" | "https") {
            return blocked("an origin is called by http or https alone".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return blocked("an origin's address holds a password".to_owned());
        }
        let Some(host) = url.host_str() else { return blocked("an origin has no host".to_owned()) };
        if let Some(port) = url.port().filter(|port| NEVER_PORTS.contains(port)) {
            return blocked(format!("port {port} of an origin may not be called"));
        }
        let ip = host.trim_matches(['[', ']']).parse::<IpAddr>().ok();
        match ip.and_then(|ip| refusal(ip, self.options.allow_private)) {
            Some(why) => blocked(format!("{host} may not be called: {why}")),
            None => Ok(()),
        }
    }

    async fn ask(&self, url: &Url, headers: &HeaderMap, until: Instant) -> Result<Response, FetchError> {
        let within = self.options.connect_timeout + self.options.answer_timeout;
        let until = until.min(Instant::now() + within);
        let request = self.client.get(url.clone()).headers(headers.clone());
        match timeout_at(until, request.send()).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(failed(url, &error)),
            Err(_) => Err(FetchError::Slow("it did not answer")),
        }
    }

    fn fetched(&self, answer: Response, until: Instant) -> Result<Fetched, FetchError> {
        let headers = answer.headers().clone();
        let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        // All of them: of several the library goes by the last one, and by others reads to the very end.
        let mut encodings = headers.get_all(TRANSFER_ENCODING).iter().peekable();
        let chunked = encodings.peek().is_some()
            && encodings.all(|value| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"));
        // A body that ends where the connection does may be cut anywhere.
        if length.is_none() && !chunked {
            return Err(FetchError::Failed("the origin does not say where the body ends".to_owned()));
        }
        if length.is_some_and(|length| length > self.options.max_bytes) {
            return Err(FetchError::TooLarge(self.options.max_bytes));
        }
        Ok(Fetched { headers, length, answer, read: 0, until, options: self.options })
    }
}

impl Fetched {
    /// The next bytes; none: that was all, and it is whole.
    ///
    /// # Errors
    /// [`FetchError`]: what came so far is worth nothing.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        // A client who takes it slowly always finds more: time is looked at first.
        if Instant::now() >= self.until {
            return Err(FetchError::Slow("all of it together"));
        }
        let idle = within(self.options.idle_timeout, self.answer.chunk());
        let chunk = match timeout_at(self.until, idle).await {
            Err(_) => return Err(FetchError::Slow("all of it together")),
            Ok(None) => return Err(FetchError::Slow("its body stood still")),
            Ok(Some(chunk)) => chunk,
        };
        let chunk =
            chunk.map_err(|_| FetchError::Failed("the origin broke off within the body".to_owned()))?;
        let Some(chunk) = chunk else {
            return match self.length {
                Some(length) if length != self.read => {
                    Err(FetchError::Failed("the origin broke off within the body".to_owned()))
                }
                _ => Ok(None),
            };
        };
        self.read += chunk.len() as u64;
        if self.read > self.options.max_bytes {
            return Err(FetchError::TooLarge(self.options.max_bytes));
        }
        Ok(Some(chunk))
    }
}

async fn within<T>(time: Duration, work: impl Future<Output = T>) -> Option<T> {
    timeout(time, work).await.ok()
}

/// Where a redirect leads; from https it never leads back to http.
fn next_hop(from: &Url, answer: &Response) -> Result<Url, FetchError> {
    let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let next = location.and_then(|location| from.join(location).ok());
    let next = next.ok_or_else(|| FetchError::Failed("the origin redirects to no address".to_owned()))?;
    if from.scheme() == "https" && next.scheme() == "http" {
        return Err(FetchError::Blocked("the origin redirects from https to http".to_owned()));
    }
    Ok(next)
}

/// What a request came to, without the path that it asked for.
fn failed(url: &Url, error: &reqwest::Error) -> FetchError {
    let host = url.host_str().unwrap_or_default();
    if error.is_timeout() {
        return FetchError::Slow("it could not be reached");
    }
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if let Some(blocked) = inner.downcast_ref::<Blocked>() {
            return FetchError::Blocked(blocked.to_string());
        }
        if let Some(io) = inner.downcast_ref::<std::io::Error>()
            && let Some(blocked) = io.get_ref().and_then(|inner| inner.downcast_ref::<Blocked>())
        {
            return FetchError::Blocked(blocked.to_string());
        }
        source = inner.source();
    }
    let what = if error.is_connect() { "cannot be reached" } else { "did not answer as HTTP wants it" };
    FetchError::Failed(format!("{host} {what}"))
}

trait RetainOnly {
    fn retain_only(&mut self, names: &[http::HeaderName]);
}

impl RetainOnly for HeaderMap {
    fn retain_only(&mut self, names: &[http::HeaderName]) {
        let kept = names.iter().filter_map(|name| Some((name.clone(), self.get(name)?.clone())));
        *self = kept.collect();
    }
}
