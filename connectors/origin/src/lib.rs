//! Fetches over HTTP what an origin has, for buckets whose owner names one.
//!
//! Whoever may set a bucket's origin chooses where this server calls: so every address is judged when it is
//! dialled, on every hop. Must never call an address that the guard refuses, send a header that it was not
//! given, decode a body, or take a body for whole that may be cut.

mod ask;
mod fetch;
mod read;
mod rules;
mod xml;

use std::time::Duration;

pub use fetch::{Fetched, Fetcher};
pub use http::HeaderMap;
pub use rules::{File, Kind, MAX_RULES, Protocol, Rule, RuleError, Rules};
pub use tidings_common::Url;
pub use xml::MAX_BYTES as MAX_DOCUMENT_BYTES;

/// How an origin is called.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Private and loopback addresses may be called; link-local and metadata ones never are.
    pub allow_private: bool,
    /// How long reaching one may take, TLS included.
    pub connect_timeout: Duration,
    /// How long its status and headers may take after that.
    pub answer_timeout: Duration,
    /// How long its body may stand still.
    pub idle_timeout: Duration,
    /// How long all of it may take, redirects included.
    pub total_timeout: Duration,
    /// The largest body, in bytes.
    pub max_bytes: u64,
}

/// The address of a peer, as the origin of URLs is written: scheme, host and port.
///
/// # Errors
/// One sentence: it is no such address.
pub fn peer(text: &str) -> Result<String, String> {
    let example = "https://s3.example.com:9000";
    let url = tidings_common::endpoint("pull_from", text, &["http", "https"], example)?;
    match url.path() == "/" && url.query().is_none() {
        true => Ok(url.origin().ascii_serialization()),
        false => Err("`pull_from` must be scheme, host and port alone".to_owned()),
    }
}

/// Why there is nothing to store. The texts name a host and never a path or a query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The origin says that it has no such thing.
    #[error("the origin has no such object")]
    NotFound,
    /// It answered something else than an object.
    #[error("the origin answered {0}")]
    Status(u16),
    /// It may not be called.
    #[error("{0}")]
    Blocked(String),
    /// It could not be asked, or did not answer as HTTP wants it.
    #[error("{0}")]
    Failed(String),
    /// Something took too long.
    #[error("the origin took too long: {0}")]
    Slow(&'static str),
    /// The body is larger than may be.
    #[error("the object of the origin is larger than {0} bytes")]
    TooLarge(u64),
}
