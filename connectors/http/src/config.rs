//! What `[target.NAME.connector.http]` may say, as typed and as checked.
//!
//! Must never hold a value that was not checked here, nor show a URL's query: tokens travel there.

use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;
use tidings_connector::Span;

/// The keys of `[target.NAME.connector.http]` as they were typed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct HttpOptions {
    /// Where to POST: `http://` or `https://`. Required.
    pub url: String,
    /// How long one request may take until status and headers are there, 100 ms to 15 min.
    pub timeout: Span,
    /// How long reaching the receiver may take, TLS included, 100 ms to 60 s.
    pub connect_timeout: Span,
    /// Requests open at once, 1 to 4,096.
    pub max_in_flight: usize,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            url: String::new(),
            timeout: Span(Duration::from_secs(30)),
            connect_timeout: Span(Duration::from_secs(5)),
            max_in_flight: 64,
        }
    }
}

/// A checked HTTP target.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpConfig {
    pub(crate) url: Url,
    pub(crate) timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) max_in_flight: usize,
}

impl HttpOptions {
    /// Checks everything that can be known without asking the receiver. `Err` is one sentence that begins
    /// with the key.
    pub fn checked(self, _target: &str) -> Result<HttpConfig, String> {
        let url = check_url(&self.url)?;
        if !(Duration::from_millis(100)..=Duration::from_secs(900)).contains(&self.timeout.0) {
            return Err("`timeout` must be 100ms to 15m".to_owned());
        }
        if !(Duration::from_millis(100)..=Duration::from_secs(60)).contains(&self.connect_timeout.0) {
            return Err("`connect_timeout` must be 100ms to 60s".to_owned());
        }
        if !(1..=4_096).contains(&self.max_in_flight) {
            return Err("`max_in_flight` must be 1 to 4096".to_owned());
        }
        Ok(HttpConfig {
            url,
            timeout: self.timeout.0,
            connect_timeout: self.connect_timeout.0,
            max_in_flight: self.max_in_flight,
        })
    }
}

fn check_url(url: &str) -> Result<Url, String> {
    if url.is_empty() {
        return Err(
            "`url` is required: name the receiver, such as \"http://127.0.0.1:8080/events\"".to_owned()
        );
    }
    let url = Url::parse(url).map_err(|e| format!("`url` cannot be read: {e}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("`url`: the scheme must be http or https, not `{}`", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("`url` must not carry a user name or password".to_owned());
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("`url` needs a host".to_owned());
    }
    if url.fragment().is_some() {
        return Err("`url` must not carry a fragment (`#`): it would never be sent".to_owned());
    }
    Ok(url)
}

impl HttpConfig {
    /// The receiver for people: scheme, host and port, never path or query.
    pub(crate) fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }
}

impl std::fmt::Debug for HttpConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpConfig")
            .field("url", &self.origin())
            .field("timeout", &self.timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("max_in_flight", &self.max_in_flight)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use tidings_connector::ConnectorConfig as _;

    use super::*;

    fn checked(url: &str) -> Result<HttpConfig, String> {
        HttpOptions { url: url.to_owned(), ..HttpOptions::default() }.checked("t")
    }

    #[test]
    fn urls() {
        for good in ["http://127.0.0.1:8080/event-invoke", "https://example.com", "http://[::1]:9/x?code=1"] {
            assert!(checked(good).is_ok(), "{good}");
        }
        for bad in
            ["", "example.com/x", "ftp://a/b", "http://user@a/", "http://u:p@a/", "http://a/#f", "http://"]
        {
            let said = checked(bad).expect_err(bad);
            assert!(said.starts_with("`url`"), "{bad}: {said}");
        }
    }

    #[test]
    fn bad_values_are_refused_by_name() {
        let with = |change: fn(&mut HttpOptions)| {
            let mut options = HttpOptions { url: "http://127.0.0.1/".to_owned(), ..HttpOptions::default() };
            change(&mut options);
            options.checked("t").expect_err("refused")
        };
        assert!(with(|o| o.timeout = Span(Duration::ZERO)).starts_with("`timeout`"));
        assert!(with(|o| o.connect_timeout = Span(Duration::from_secs(61))).starts_with("`connect_timeout`"));
        assert!(with(|o| o.max_in_flight = 0).starts_with("`max_in_flight`"));
        assert!(with(|o| o.max_in_flight = 4_097).starts_with("`max_in_flight`"));
    }

    #[test]
    fn the_fingerprint_tells_queries_apart_without_showing_them() {
        let of = |url| checked(url).expect("valid").fingerprint();
        assert_ne!(of("http://a/x?code=one"), of("http://a/x?code=two"));
        assert_eq!(of("http://a/x?code=one"), of("http://a/x?code=one"));
        assert!(!of("http://a/x?code=one").contains("one"));
    }
}
