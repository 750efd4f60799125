//! The guard: decides from a request's head alone whether it may go on to signature verification.
//!
//! The verifier behind it checks only what the client *declares* signed, takes several algorithms and
//! forgives much. Everything it would forgive is refused here. Must never read a body, a clock or a secret:
//! pure, so that every rule is a test. What it returns is a *claim*; only a verified signature makes a
//! principal of it (`auth.rs`).

mod head;
mod query;
mod refusal;
mod scope;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use http::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};
use http::request::Parts;

use head::{
    check_headers, check_method, check_path, check_signed_headers, header, is_sha256, length_in,
    payload_in_header,
};
use query::Query;
pub(crate) use query::{decode, unknown_to};
pub(crate) use refusal::Refusal;
use scope::{Authorization, parse_date};

/// Signed dates may be this far from our clock, in seconds, either way.
const MAX_SKEW: i64 = 15 * 60;
/// The longest life of a presigned URL, in seconds: 7 days.
const MAX_EXPIRES: u32 = 7 * 24 * 3600;

/// What a request says about itself, in a form that may be verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    /// Who it says it is.
    pub(crate) access_key: Arc<str>,
    /// How its body is protected.
    pub(crate) payload: Payload,
    /// Bytes of the object or document it says it carries, without any chunk framing; none: it does not say.
    pub(crate) length: Option<u64>,
}

/// How a body is protected and framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Payload {
    /// Not covered by the signature: presigned URLs, and callers on this machine.
    Unsigned,
    /// Its SHA-256 is in the signature.
    Hashed,
    /// `aws-chunked`.
    Chunked {
        /// Each chunk carries a signature.
        signed: bool,
        /// Checksums follow the last chunk.
        trailer: bool,
    },
}

/// What the guard measures requests against.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// The region that requests must be signed for.
    pub(crate) region: String,
    /// Bodies that nothing signs are taken from other machines too.
    pub(crate) unsigned_bodies: bool,
}

/// Checks one request's head. `local` is true if the peer is on this machine; `now` is in seconds since the
/// Unix epoch.
pub(crate) fn check(parts: &Parts, rules: &Rules, local: bool, now: i64) -> Result<Claim, Refusal> {
    let headers = &parts.headers;
    check_path(parts.uri.path())?;
    check_headers(headers)?;
    let query = Query::parse(parts.uri.query().unwrap_or_default())?;
    let (access_key, payload) = match (headers.get(AUTHORIZATION), query.is_signed()) {
        (None, false) => return Err(Refusal::Denied("Anonymous requests are not allowed.")),
        (Some(_), true) => {
            return Err(Refusal::Invalid("Sign the request in its header or in its query, not in both."));
        }
        (Some(value), false) => {
            let text = value.to_str().map_err(|_| Refusal::Malformed("Not a SigV4 authorization header."))?;
            signed_in_header(text, headers, rules, local, now)?
        }
        (None, true) => signed_in_query(&query, headers, rules, now)?,
    };
    if query.has("X-Amz-Security-Token") || headers.contains_key("x-amz-security-token") {
        return Err(Refusal::Token);
    }
    check_method(parts, &query)?;
    let length = match payload {
        Payload::Chunked { .. } => {
            Some(length_in(headers, "x-amz-decoded-content-length")?.ok_or(Refusal::NoLength)?)
        }
        Payload::Unsigned | Payload::Hashed => {
            let declared = length_in(headers, CONTENT_LENGTH.as_str())?;
            // Without a length and without chunks HTTP means that there is no body.
            declared.or((!headers.contains_key(TRANSFER_ENCODING)).then_some(0))
        }
    };
    Ok(Claim { access_key: access_key.into(), payload, length })
}

fn signed_in_header<'a>(
    text: &'a str,
    headers: &HeaderMap,
    rules: &Rules,
    local: bool,
    now: i64,
) -> Result<(&'a str, Payload), Refusal> {
    let authorization = Authorization::parse(text)?;
    let date = header(headers, "x-amz-date")?.ok_or(Refusal::Denied("The x-amz-date header is missing."))?;
    let at = parse_date(date).ok_or(Refusal::Denied("The x-amz-date header is not a date."))?;
    authorization.credential.check(date, rules)?;
    if (now - at).abs() > MAX_SKEW {
        return Err(Refusal::Skewed);
    }
    check_signed_headers(authorization.signed_headers, headers)?;
    let payload = payload_in_header(headers, local || rules.unsigned_bodies)?;
    Ok((authorization.credential.access_key, payload))
}

fn signed_in_query<'a>(
    query: &'a Query<'_>,
    headers: &HeaderMap,
    rules: &Rules,
    now: i64,
) -> Result<(&'a str, Payload), Refusal> {
    let presigned = query.presigned()?;
    let at = parse_date(presigned.date).ok_or(Refusal::Malformed("X-Amz-Date is not a date."))?;
    presigned.credential.check(presigned.date, rules)?;
    let expires = presigned.expires.parse::<u32>().ok();
    let expires = expires
        .filter(|e| (1..=MAX_EXPIRES).contains(e) && presigned.expires.bytes().all(|b| b.is_ascii_digit()))
        .ok_or(Refusal::Malformed("X-Amz-Expires must be 1 to 604800 seconds."))?;
    if at - now > MAX_SKEW {
        return Err(Refusal::Skewed);
    }
    if now > at + i64::from(expires) {
        return Err(Refusal::Denied("Request has expired"));
    }
    check_signed_headers(presigned.signed_headers, headers)?;
    let payload = match header(headers, "x-amz-content-sha256")? {
        None | Some("UNSIGNED-PAYLOAD") => Payload::Unsigned,
        // The verifier compares it with the body; nobody signed it, so it proves no more than a checksum.
        Some(hash) if is_sha256(hash) => Payload::Hashed,
        Some(_) => {
            return Err(Refusal::Denied("A presigned URL cannot carry a chunked or otherwise signed body."));
        }
    };
    Ok((presigned.credential.access_key, payload))
}
