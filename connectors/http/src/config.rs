//! What `[target.NAME.connector.http]` may say, as typed and as checked.
//!
//! Must never hold a value that was not checked here, nor show a URL's path or query: tokens travel there.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use reqwest::Url;
use serde::Deserialize;
use tidings_connector::{SecretRef, Span};

use crate::guard::refusal;
use crate::tls;

/// The keys of `[target.NAME.connector.http]` as they were typed. An empty text is a key that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct HttpOptions {
    /// Where to POST: `http://` or `https://`. Required.
    pub url: String,
    /// What kind of receiver it is.
    pub preset: Preset,
    /// How long one request may take until status and headers are there, 100 ms to 15 min.
    pub timeout: Span,
    /// How long reaching the receiver may take, TLS included, 100 ms to 60 s.
    pub connect_timeout: Span,
    /// Requests open at once, 1 to 4,096: fewer while the receiver is pressed.
    pub max_in_flight: usize,
    /// Private and loopback addresses may be called.
    pub allow_private: bool,
    /// Headers of one's own, without secrets.
    pub headers: BTreeMap<String, String>,
    /// The file that holds the value of `Authorization`.
    pub authorization_file: String,
    /// The environment variable that holds it.
    pub authorization_env: String,
    /// The file that holds the secrets of Standard Webhooks; with it every request is signed.
    pub signing_secret_file: String,
    /// The environment variable that holds them.
    pub signing_secret_env: String,
    /// Certificates (PEM) that the receiver's must come from, instead of the system's.
    pub ca_file: String,
    /// Our own certificate (PEM) for receivers that ask for one.
    pub cert_file: String,
    /// Its private key (PEM).
    pub key_file: String,
}

/// What kind of receiver it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// Any receiver of a POST.
    Plain,
    /// A function in a container, called as Tencent SCF calls it.
    Scf,
    /// A receiver of CloudEvents.
    CloudEvents,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            url: String::new(),
            preset: Preset::Plain,
            timeout: Span(Duration::from_secs(30)),
            connect_timeout: Span(Duration::from_secs(5)),
            max_in_flight: 64,
            allow_private: true,
            headers: BTreeMap::new(),
            authorization_file: String::new(),
            authorization_env: String::new(),
            signing_secret_file: String::new(),
            signing_secret_env: String::new(),
            ca_file: String::new(),
            cert_file: String::new(),
            key_file: String::new(),
        }
    }
}

/// A checked HTTP target.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpConfig {
    pub(crate) url: Url,
    pub(crate) preset: Preset,
    pub(crate) timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) max_in_flight: usize,
    pub(crate) allow_private: bool,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) authorization: Option<SecretRef>,
    pub(crate) signing_secret: Option<SecretRef>,
    pub(crate) tls: tls::Files,
    pub(crate) target: String,
    pub(crate) region: String,
    pub(crate) appid: String,
}

impl HttpOptions {
    /// Checks everything that can be known without asking the receiver; files are read. `Err` is one sentence
    /// that begins with the key.
    pub fn checked(self, target: &str) -> Result<HttpConfig, String> {
        let url = check_url(&self.url, self.preset, self.allow_private)?;
        if !(Duration::from_millis(100)..=Duration::from_secs(900)).contains(&self.timeout.0) {
            return Err("`timeout` must be 100ms to 15m".to_owned());
        }
        if !(Duration::from_millis(100)..=Duration::from_secs(60)).contains(&self.connect_timeout.0) {
            return Err("`connect_timeout` must be 100ms to 60s".to_owned());
        }
        if !(1..=4_096).contains(&self.max_in_flight) {
            return Err("`max_in_flight` must be 1 to 4096".to_owned());
        }
        let headers = self.headers.iter().map(|(name, value)| check_header(name, value));
        let headers = headers.collect::<Result<_, _>>().map_err(|why| format!("`headers`: {why}"))?;
        let of = SecretRef::checked;
        let authorization = of("authorization", &self.authorization_file, &self.authorization_env)?;
        let signing_secret = of("signing_secret", &self.signing_secret_file, &self.signing_secret_env)?;
        let path = |text: String| (!text.is_empty()).then(|| PathBuf::from(text));
        let tls = tls::Files { ca: path(self.ca_file), cert: path(self.cert_file), key: path(self.key_file) };
        tls.check(url.scheme() == "https")?;
        let config = HttpConfig {
            url,
            preset: self.preset,
            timeout: self.timeout.0,
            connect_timeout: self.connect_timeout.0,
            max_in_flight: self.max_in_flight,
            allow_private: self.allow_private,
            headers,
            authorization,
            signing_secret,
            tls,
            target: target.to_owned(),
            region: String::new(),
            appid: String::new(),
        };
        config.own_headers()?;
        config.signer()?;
        Ok(config)
    }
}

fn check_url(url: &str, preset: Preset, allow_private: bool) -> Result<Url, String> {
    if url.is_empty() {
        return Err(
            "`url` is required: name the receiver, such as \"http://127.0.0.1:8080/events\"".to_owned()
        );
    }
    let mut url = Url::parse(url).map_err(|e| format!("`url` cannot be read: {e}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("`url`: the scheme must be http or https, not `{}`", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("`url` must not carry a user name or password: use `authorization_file`".to_owned());
    }
    let Some(host) = url.host_str().filter(|host| !host.is_empty()) else {
        return Err("`url` needs a host".to_owned());
    };
    if url.fragment().is_some() {
        return Err("`url` must not carry a fragment (`#`): it would never be sent".to_owned());
    }
    // The URL's parser has read every way to write an address; a name is judged when it is dialled.
    if let Ok(ip) = host.trim_matches(['[', ']']).parse::<IpAddr>()
        && let Some(why) = refusal(ip, allow_private)
    {
        return Err(format!("`url`: {ip} may not be called: {why}"));
    }
    if preset == Preset::Scf && url.path() == "/" {
        url.set_path("/event-invoke");
    }
    Ok(url)
}

/// Headers that belong to HTTP, to the event or to its signature.
const OURS: &[&str] = &[
    "host",
    "content-",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "accept-encoding",
    "webhook-",
    "ce-",
    "tidings-",
    "x-scf-",
];
/// Headers whose values are secrets.
const SECRET: &[&str] = &["authorization", "proxy-authorization", "cookie"];

fn check_header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    let shown = name.escape_debug();
    let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else {
        return Err(format!("`{shown}` is not a header's name"));
    };
    let lower = header.as_str();
    if SECRET.contains(&lower) {
        return Err(format!("`{shown}` is a secret: use `authorization_file` or `authorization_env`"));
    }
    if OURS.iter().any(|ours| lower == *ours || (ours.ends_with('-') && lower.starts_with(ours))) {
        return Err(format!("`{shown}` cannot be set: tidings or HTTP itself says what it is"));
    }
    let value =
        HeaderValue::from_str(value).map_err(|_| format!("the value of `{shown}` is not ASCII text"))?;
    Ok((header, value))
}

impl HttpConfig {
    /// The same target, of this region and account: functions are told both.
    #[must_use]
    pub fn of_account(self, region: &str, appid: &str) -> Self {
        Self { region: region.to_owned(), appid: appid.to_owned(), ..self }
    }

    /// The receiver for people: scheme, host and port, never path or query.
    pub(crate) fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }
}

impl std::fmt::Debug for HttpConfig {
    /// Shows no value that may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpConfig")
            .field("url", &self.origin())
            .field("preset", &self.preset)
            .field("timeout", &self.timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("max_in_flight", &self.max_in_flight)
            .field("allow_private", &self.allow_private)
            .field("headers", &self.headers.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .field("authorization", &self.authorization)
            .field("signing_secret", &self.signing_secret)
            .field("tls", &self.tls)
            .field("account", &(&self.target, &self.region, &self.appid))
            .finish()
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
