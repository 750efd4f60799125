//! What a q-sign signature covers: headers and parameters as they are signed.
//!
//! The lists must name all that decides what is done: the host, every `x-cos-*` header, every parameter. Must
//! never leave out of the text what a list names, nor take what none names and what changes the request.

use http::Method;
use http::header::{HOST, HeaderMap};

use super::FIELDS;
use crate::frontend::guard::Refusal;
use crate::frontend::guard::query::Query;

/// More names than this in a list are nobody's honest signature.
const MAX_LISTED: usize = 128;
/// Says that a client tries again; means nothing else, and is added to requests that are signed already.
const RETRY: &str = "x-cos-sdk-retry";

/// The names of a list: as signing writes them, each once.
pub(super) fn listed(list: &str) -> Result<Vec<&str>, Refusal> {
    let malformed = || Refusal::Malformed("q-header-list or q-url-param-list is malformed.");
    if list.is_empty() {
        return Ok(Vec::new());
    }
    let mut names: Vec<&str> = list.split(';').take(MAX_LISTED + 1).collect();
    let is_written = |b: u8| {
        let plain = b.is_ascii_lowercase() || b.is_ascii_digit();
        plain || matches!(b, b'-' | b'_' | b'.' | b'~' | b'%')
    };
    names.sort_unstable();
    let twice = names.windows(2).any(|pair| pair[0] == pair[1]);
    let odd = names.iter().any(|name| name.is_empty() || !name.bytes().all(is_written));
    match twice || odd || names.len() > MAX_LISTED {
        true => Err(malformed()),
        false => Ok(names),
    }
}

/// The parameters as they are signed. All are, but those with which anybody may turn a page of a list.
pub(super) fn signed_parameters(
    list: &[&str],
    query: &Query<'_>,
    method: &Method,
    path: &str,
) -> Result<String, Refusal> {
    let mut signed = Vec::with_capacity(list.len());
    for (name, value) in query.pairs().filter(|(name, _)| !FIELDS.contains(name)) {
        let key = encode(name.as_bytes()).to_ascii_lowercase();
        if list.binary_search(&key.as_str()).is_ok() {
            signed.push((key, encode(value.as_bytes())));
            continue;
        }
        let turns_a_page = *method == Method::GET && path == "/" && matches!(name, "marker" | "max-keys");
        if !turns_a_page {
            return Err(Refusal::Denied("There were query parameters in the request which were not signed."));
        }
    }
    signed.sort_unstable();
    if signed.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err(Refusal::Invalid("Two query parameters differ in their case alone."));
    }
    if signed.len() != list.len() {
        return Err(Refusal::BadSignature);
    }
    Ok(signed.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&"))
}

/// The headers as they are signed, by name. The host is, and so is every `x-cos-*`.
pub(super) fn signed_headers(list: &[&str], headers: &HeaderMap) -> Result<Vec<(String, String)>, Refusal> {
    let mut signed: Vec<(String, String)> = Vec::with_capacity(list.len());
    for (name, value) in headers {
        let key = encode(name.as_str().as_bytes()).to_ascii_lowercase();
        if list.binary_search(&key.as_str()).is_ok() {
            if signed.iter().any(|(known, _)| *known == key) {
                return Err(Refusal::Invalid("A signed header came twice."));
            }
            signed.push((key, encode(value.as_bytes())));
        } else if *name == HOST {
            return Err(Refusal::Denied("The host header must be signed."));
        } else if name.as_str().starts_with("x-cos-") && name.as_str() != RETRY {
            return Err(Refusal::Denied("There were headers present in the request which were not signed."));
        }
    }
    // What was signed and did not come was taken away.
    if signed.len() != list.len() {
        return Err(Refusal::BadSignature);
    }
    signed.sort_unstable();
    Ok(signed)
}

/// Everything percent-encoded but `A-Za-z0-9-_.~`.
pub(super) fn encode(bytes: &[u8]) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => {
                out.push('%');
                out.push(char::from(HEX[usize::from(byte >> 4)]));
                out.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
    }
    out
}
