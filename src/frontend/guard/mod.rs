//! The guard: decides from a request's head alone whether it may go on to signature verification.
//!
//! The verifier behind it checks only what the client *declares* signed, takes several algorithms and
//! forgives much. Everything it would forgive is refused here. Must never read a body, a clock or a secret:
//! pure, so that every rule is a test. What it returns is a *claim*; only a verified signature makes a
//! principal of it (`auth.rs`).

mod head;
mod qsign;
mod query;
mod refusal;
mod scope;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use http::Method;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};
use http::request::Parts;

use head::{
    check_authority, check_headers, check_method, check_path, check_signed_headers, header, is_sha256,
    length_in, payload_in_header,
};
use qsign::Fields;
pub(crate) use qsign::{FIELDS, QSign, check_times, hmac_sha1, signing_key};
use query::Query;
pub(crate) use query::{decode, unknown_to};
pub(crate) use refusal::Refusal;
use scope::Authorization;
pub(crate) use scope::{Credential, check_access_key, parse_date};

/// Signed dates may be this far from our clock, in seconds, either way.
pub(crate) const MAX_SKEW: i64 = 15 * 60;
/// The longest life of a presigned URL, in seconds: 7 days.
pub(crate) const MAX_EXPIRES: u32 = 7 * 24 * 3600;

/// Where COS's clients put a session token.
pub(crate) const COS_TOKEN: &str = "x-cos-security-token";

/// What a request says about itself, in a form that may be verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    /// Who it says it is.
    pub(crate) access_key: Arc<str>,
    /// How its body is protected.
    pub(crate) payload: Payload,
    /// Bytes of the object or document it says it carries, without any chunk framing; none: it does not say.
    pub(crate) length: Option<u64>,
    /// The signature by COS's rules, to be verified; none: by AWS's, which the library behind verifies.
    pub(crate) qsign: Option<QSign>,
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
    check_authority(parts)?;
    let query = Query::parse(parts.uri.query().unwrap_or_default())?;
    let (access_key, payload, qsign) = match (headers.get(AUTHORIZATION), query.is_signed()) {
        (None, false) => return Err(Refusal::Denied("Anonymous requests are not allowed.")),
        (Some(_), true) => {
            return Err(Refusal::Invalid("Sign the request in its header or in its query, not in both."));
        }
        (Some(value), false) => {
            let text = value.to_str().map_err(|_| Refusal::Malformed("Not an authorization header."))?;
            match Fields::are_in(text) {
                true => {
                    let unsigned = local || rules.unsigned_bodies;
                    signed_by_cos(&Fields::of_header(text)?, parts, &query, unsigned, now)?
                }
                false => signed_in_header(text, headers, rules, local, now)?,
            }
        }
        (None, true) if query.is_signed_by_cos() => {
            signed_by_cos(&Fields::of_query(&query)?, parts, &query, true, now)?
        }
        (None, true) => signed_in_query(&query, headers, rules, now)?,
    };
    let has_token = |name: &str| query.has(name) || headers.contains_key(name);
    if query.has("X-Amz-Security-Token") || has_token("x-amz-security-token") || has_token(COS_TOKEN) {
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
    Ok(Claim { access_key: access_key.into(), payload, length, qsign })
}

/// True for the head of a form: nothing in it is signed, its fields are.
pub(crate) fn is_form(parts: &Parts) -> bool {
    let content_type = parts.headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let of_query =
        || Query::parse(parts.uri.query().unwrap_or_default()).is_ok_and(|query| !query.is_signed());
    parts.method == Method::POST
        && content_type.is_some_and(head::is_multipart)
        && !parts.headers.contains_key(AUTHORIZATION)
        && of_query()
}

/// Checks the head of a form, and says how many bytes it has.
pub(crate) fn check_form(parts: &Parts) -> Result<u64, Refusal> {
    check_path(parts.uri.path())?;
    check_headers(&parts.headers)?;
    check_authority(parts)?;
    length_in(&parts.headers, CONTENT_LENGTH.as_str())?.ok_or(Refusal::NoLength)
}

/// Who says to have signed, how the body is protected, and what is to be verified of COS's signature.
type Signed<'a> = (&'a str, Payload, Option<QSign>);

/// `unsigned`: bodies that nothing signs are taken.
fn signed_by_cos<'a>(
    fields: &Fields<'a>,
    parts: &Parts,
    query: &Query<'_>,
    unsigned: bool,
    now: i64,
) -> Result<Signed<'a>, Refusal> {
    let of_s3 = |name: &str| name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("x-amz-"));
    let names = parts.headers.keys().map(http::HeaderName::as_str).chain(query.pairs().map(|(name, _)| name));
    if names.into_iter().any(of_s3) {
        return Err(Refusal::Invalid("A request with COS's signature cannot carry names of S3 (x-amz-)."));
    }
    let (access_key, qsign) = fields.check(parts, query, now)?;
    let has_body = matches!(parts.method, Method::PUT | Method::POST);
    if has_body && !unsigned && !fields.covers_body(&parts.headers) {
        return Err(Refusal::Denied(
            "The body must be signed, by its Content-MD5: server.allow_unsigned_payload says who may leave \
             it unsigned.",
        ));
    }
    Ok((access_key, Payload::Unsigned, Some(qsign)))
}

fn signed_in_header<'a>(
    text: &'a str,
    headers: &HeaderMap,
    rules: &Rules,
    local: bool,
    now: i64,
) -> Result<Signed<'a>, Refusal> {
    let authorization = Authorization::parse(text)?;
    let date = header(headers, "x-amz-date")?.ok_or(Refusal::Denied("The x-amz-date header is missing."))?;
    let at = parse_date(date).ok_or(Refusal::Denied("The x-amz-date header is not a date."))?;
    authorization.credential.check(date, rules)?;
    if (now - at).abs() > MAX_SKEW {
        return Err(Refusal::Skewed);
    }
    check_signed_headers(authorization.signed_headers, headers)?;
    let payload = payload_in_header(headers, local || rules.unsigned_bodies)?;
    Ok((authorization.credential.access_key, payload, None))
}

fn signed_in_query<'a>(
    query: &'a Query<'_>,
    headers: &HeaderMap,
    rules: &Rules,
    now: i64,
) -> Result<Signed<'a>, Refusal> {
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
    Ok((presigned.credential.access_key, payload, None))
}
