//! What comes back: an answer or the reason for none, and the two kinds of XML that callers read.
//!
//! Must never be used on XML of unknown origin: it reads what S3 servers write, not XML in general.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

/// What the server answered, whatever the status.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The request cannot be made: a bad endpoint, header or path. Nothing was sent.
    #[error("not a request: {0}")]
    Invalid(String),
    /// No connection came up: the request was certainly not applied.
    #[error("not sent: {0}")]
    NotSent(String),
    /// The request, or a part of it, was sent, and no whole answer came back: it may or may not have been
    /// applied.
    #[error("outcome unknown: {0}")]
    Unknown(String),
}

impl Response {
    /// The ETag without quotes, if there is one.
    pub fn etag(&self) -> Option<&str> {
        self.header("etag").map(|etag| etag.trim_matches('"'))
    }

    /// A header as text, if it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The `Code` of an S3 error's XML, if the body is one.
    pub fn error_code(&self) -> Option<&str> {
        element(std::str::from_utf8(&self.body).ok()?, "Code").map(|(code, _)| code)
    }
}

/// One page of ListObjectsV2.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// The objects, in the answer's order.
    pub objects: Vec<Listed>,
    /// The common prefixes.
    pub prefixes: Vec<String>,
    /// Where the next page begins, if this one is not the last.
    pub next: Option<String>,
}

/// One listed object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// The ETag without quotes.
    pub etag: String,
}

impl Listing {
    /// Reads an answer's body; `None` if it is not a listing.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(body).ok()?;
        let (text, _) = element(text, "ListBucketResult")?;
        let encoded = element(text, "EncodingType").is_some_and(|(kind, _)| kind == "url");
        let name = |raw: &str| match encoded {
            true => url_decode(&unescape(raw)),
            false => Some(unescape(raw)),
        };
        let mut listing = Listing::default();
        for item in elements(text, "Contents") {
            listing.objects.push(Listed {
                key: name(element(item, "Key")?.0)?,
                size: element(item, "Size")?.0.parse().ok()?,
                etag: unescape(element(item, "ETag")?.0).trim_matches('"').to_owned(),
            });
        }
        for item in elements(text, "CommonPrefixes") {
            listing.prefixes.push(name(element(item, "Prefix")?.0)?);
        }
        listing.next = element(text, "NextContinuationToken").map(|(token, _)| unescape(token));
        Some(listing)
    }
}

/// The raw content of the first element with this name, and what follows it.
fn element<'a>(text: &'a str, name: &str) -> Option<(&'a str, &'a str)> {
    let mut rest = text;
    loop {
        rest = &rest[rest.find('<')? + 1..];
        let Some(after) = rest.strip_prefix(name) else { continue };
        if !after.starts_with(['>', ' ', '/']) {
            continue;
        }
        let (tag, content) = after.split_once('>')?;
        if tag.ends_with('/') {
            return Some(("", content));
        }
        return content.split_once(&format!("</{name}>"));
    }
}

fn elements<'a>(text: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (content, after) = element(rest, name)?;
        rest = after;
        Some(content)
    })
}

/// Replaces the five named entities and numeric references; anything else stays as it is.
fn unescape(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let decoded = after.split_once(';').and_then(|(name, after)| Some((reference(name)?, after)));
        match decoded {
            Some((c, after)) => {
                out.push(c);
                rest = after;
            }
            None => {
                out.push('&');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

fn reference(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let digits = name.strip_prefix('#')?;
            let code = match digits.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => digits.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}

/// Percent-decoding, with `+` for a space, as `encoding-type=url` has it; `None` if the bytes are not UTF-8.
fn url_decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                hex::decode(digits).ok()?[0]
            }
            other => other,
        });
    }
    String::from_utf8(out).ok()
}

/// The error with its causes: the outermost one alone says little.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
