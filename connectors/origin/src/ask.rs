//! What an origin is asked for: the URL and the headers that a rule makes of a client's request.
//!
//! Must never let what signs a client's request, or anything else of its credentials, go along.

use std::fmt::Write as _;

use http::{HeaderMap, HeaderName};

use crate::Url;
use crate::rules::{File, Protocol, Rule};

/// Parameters that are ours, in lower case: they sign a request, or say what is asked of us.
const OURS: [&str; 6] = ["x-id", "versionid", "partnumber", "signature", "awsaccesskeyid", "expires"];
/// What parameters of ours begin with.
const OUR_PREFIXES: [&str; 5] = ["x-amz-", "x-cos-", "q-", "response-", "sign"];

impl Rule {
    /// Where an object is at one of the rule's hosts; none: its key cannot be a path. `tls`: the client came
    /// over TLS.
    pub fn url(&self, host: &str, key: &str, query: Option<&str>, tls: bool) -> Option<Url> {
        let scheme = match self.protocol {
            Protocol::Http => "http",
            Protocol::Https => "https",
            Protocol::Follow if tls => "https",
            Protocol::Follow => "http",
        };
        let path = match &self.file {
            File::Fixed(path) => path.clone(),
            File::Key { prefix, suffix } => format!("{prefix}{key}{suffix}"),
        };
        let path = path.strip_prefix('/').unwrap_or(&path);
        // A URL's parser would go up by these, wherever they lead.
        if path.split('/').any(|part| matches!(part, "." | "..")) {
            return None;
        }
        let mut text = format!("{scheme}://{host}/");
        for byte in path.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                    text.push(char::from(byte));
                }
                other => drop(write!(text, "%{other:02X}")),
            }
        }
        let followed = query.filter(|_| self.follow_query).map(without_ours).unwrap_or_default();
        if !followed.is_empty() {
            text.push('?');
            text.push_str(&followed);
        }
        Url::parse(&text).ok()
    }

    /// The headers that go along, of those of a client's request.
    pub fn headers(&self, of_client: &HeaderMap) -> HeaderMap {
        let follows = |name: &HeaderName| self.follow_all_headers || self.follow_headers.contains(name);
        let mut headers: HeaderMap = of_client
            .iter()
            .filter(|(name, _)| follows(name) && may_travel(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        for (name, value) in &self.new_headers {
            headers.insert(name.clone(), value.clone());
        }
        headers
    }
}

fn without_ours(query: &str) -> String {
    let kept = query.split('&').filter(|part| {
        let name = part.split_once('=').map_or(*part, |(name, _)| name).to_ascii_lowercase();
        // An encoded name could be one of ours.
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~'));
        plain
            && !name.is_empty()
            && !OURS.contains(&name.as_str())
            && !OUR_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    });
    kept.collect::<Vec<_>>().join("&")
}

/// False for headers that are between the client and us: credentials, framing, conditions, what signs.
pub(crate) fn may_travel(name: &HeaderName) -> bool {
    const NEVER: [&str; 22] = [
        "authorization",
        "proxy-authorization",
        "proxy-connection",
        "cookie",
        "host",
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "expect",
        "range",
        "if-match",
        "if-none-match",
        "if-modified-since",
        "if-unmodified-since",
        "if-range",
        "accept-encoding",
        "date",
        "forwarded",
        "via",
    ];
    let name = name.as_str();
    let ours = ["content-", "x-amz-", "x-cos-", "x-tidings-", "x-forwarded-", "q-", "sec-"];
    !NEVER.contains(&name) && !ours.iter().any(|prefix| name.starts_with(prefix))
}
