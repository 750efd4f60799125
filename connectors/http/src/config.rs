//! What `[target.NAME.connector.http]` may say, as typed and as checked.
//!
//! Must never hold a value that was not checked here, nor show a URL's path or query: tokens travel there.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use tidings_common::{Reach, TlsFiles, Url, choice, endpoint, options};
use tidings_connector::{SecretRef, Span};

use crate::Watch;
use crate::sign::Signer;

options! {
    /// The keys of `[target.NAME.connector.http]` as they were typed. An empty text is a key that was left
    /// out.
    pub struct HttpOptions {
        /// Where to POST: `http://` or `https://`. Required.
        url: String,
        /// What kind of receiver it is.
        preset: Preset = Preset::Plain,
        /// How long one request may take until status and headers are there, 100 ms to 15 min.
        timeout: Span = Span(Duration::from_secs(30)) => "100ms" to "15m",
        /// How long reaching the receiver may take, TLS included, 100 ms to 60 s.
        connect_timeout: Span = Span(Duration::from_secs(5)) => "100ms" to "60s",
        /// Requests open at once, 1 to 4,096: fewer while the receiver is pressed.
        max_in_flight: usize = 64 => "1" to "4096",
        /// Private and loopback addresses may be called.
        allow_private: bool = true,
        /// Headers of one's own, without secrets.
        headers: BTreeMap<String, String>,
        /// The file that holds the value of `Authorization`.
        authorization_file: String,
        /// The environment variable that holds it.
        authorization_env: String,
        /// The file that holds the secrets of Standard Webhooks; with it every request is signed.
        signing_secret_file: String,
        /// The environment variable that holds them.
        signing_secret_env: String,
        /// Certificates (PEM) that the receiver's must come from, instead of the system's.
        ca_file: String,
        /// Our own certificate (PEM) for receivers that ask for one.
        cert_file: String,
        /// Its private key (PEM).
        key_file: String,
    }
}

choice! {
    /// What kind of receiver it is.
    pub enum Preset {
        /// Any receiver of a POST.
        Plain = "plain",
        /// A function in a container, called as Tencent SCF calls it.
        Scf = "scf",
        /// A receiver of CloudEvents.
        CloudEvents = "cloudevents",
    }
}

/// A checked HTTP target.
#[derive(Clone)]
pub struct HttpConfig {
    pub(crate) options: HttpOptions,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) authorization: Option<SecretRef>,
    pub(crate) signing_secret: Option<SecretRef>,
    /// Secrets that no file holds, instead.
    pub(crate) own_signer: Option<Signer>,
    pub(crate) reach: Reach,
    pub(crate) watch: Option<Arc<dyn Watch>>,
    pub(crate) tls: TlsFiles,
    pub(crate) target: String,
    pub(crate) region: String,
    pub(crate) appid: String,
}

impl HttpOptions {
    /// Checks everything that can be known without asking the receiver; files are read. `Err` is one sentence
    /// that begins with the key.
    pub fn checked(self, target: &str) -> Result<HttpConfig, String> {
        let allow_private = self.allow_private;
        self.checked_within(target, Reach::Operator { allow_private })
    }

    /// The same, where only some addresses may be called: `allow_private` has no meaning then.
    pub fn checked_within(self, target: &str, reach: Reach) -> Result<HttpConfig, String> {
        let url = check_url(&self, &reach)?;
        self.bounded()?;
        let headers = self.headers.iter().map(|(name, value)| check_header(name, value));
        let headers = headers.collect::<Result<_, _>>().map_err(|why| format!("`headers`: {why}"))?;
        let of = SecretRef::checked;
        let authorization = of("authorization", &self.authorization_file, &self.authorization_env)?;
        let signing_secret = of("signing_secret", &self.signing_secret_file, &self.signing_secret_env)?;
        let unused = (url.scheme() == "http").then_some("needs an https `url`");
        let tls = TlsFiles::checked(&self.ca_file, &self.cert_file, &self.key_file, unused)?;
        tls.verify()?;
        let [target, region, appid] = [target, "", ""].map(str::to_owned);
        let (options, own_signer, watch) = (self, None, None);
        let config = HttpConfig {
            options,
            url,
            headers,
            authorization,
            signing_secret,
            own_signer,
            reach,
            watch,
            tls,
            target,
            region,
            appid,
        };
        config.own_headers()?;
        config.signer()?;
        Ok(config)
    }
}

fn check_url(options: &HttpOptions, reach: &Reach) -> Result<Url, String> {
    let mut url = endpoint("url", &options.url, &["http", "https"], "http://127.0.0.1:8080/events")?;
    // The URL's parser has read every way to write an address; a name is judged when it is dialled.
    let ip = url.host_str().and_then(|host| host.trim_matches(['[', ']']).parse::<IpAddr>().ok());
    if let Some((ip, why)) = ip.and_then(|ip| Some((ip, reach.refusal(ip)?))) {
        return Err(format!("`url`: {ip} may not be called: {why}"));
    }
    if options.preset == Preset::Scf && url.path() == "/" {
        url.set_path("/event-invoke");
    }
    Ok(url)
}

/// Headers that belong to HTTP, to the event or to its signature.
const OURS: &str = "host content- transfer-encoding connection keep-alive te trailer upgrade expect \
                    accept-encoding webhook- ce- tidings- x-scf-";
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
    if OURS.split(' ').any(|ours| lower == ours || (ours.ends_with('-') && lower.starts_with(ours))) {
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

    /// The same target, signing with these secrets of Standard Webhooks, separated by white space.
    ///
    /// # Errors
    /// They are none; said without quoting them.
    pub fn signed_with(self, secrets: &str) -> Result<Self, String> {
        Ok(Self { own_signer: Some(Signer::parse(secrets)?), ..self })
    }

    /// The same target, watched.
    #[must_use]
    pub fn watched(self, watch: Arc<dyn Watch>) -> Self {
        Self { watch: Some(watch), ..self }
    }

    /// The port that is called.
    pub fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or_default()
    }

    /// The receiver for people: scheme, host and port, never path or query.
    pub fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }
}

impl std::fmt::Debug for HttpConfig {
    /// Shows no value that may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpConfig").field("url", &self.origin()).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
