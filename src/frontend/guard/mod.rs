//! The guard: decides from a request's head alone whether it may go on to signature verification.
//!
//! The verifier behind it checks only what the client *declares* signed, takes several algorithms and forgives much.
//! Everything it would forgive is refused here. Must never read a body, a clock or a secret: pure, so that every rule
//! is a test. What it returns is a *claim*; only a verified signature makes a principal of it (`auth.rs`).

mod query;
mod scope;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap};
use http::request::Parts;
use http::{Method, StatusCode};

pub(crate) use query::Query;
use scope::{Authorization, parse_date};

/// Signed dates may be this far from our clock, in seconds, either way.
const MAX_SKEW: i64 = 15 * 60;
/// The longest life of a presigned URL, in seconds: 7 days.
const MAX_EXPIRES: u32 = 7 * 24 * 3600;
/// More signed header names than this are nobody's honest request.
const MAX_SIGNED_HEADERS: usize = 128;
/// Header names with this prefix are ours; no client may send one.
const RESERVED_PREFIX: &str = "x-tidings-";
/// The `x-amz-*` headers that need no signature: what each says is proven elsewhere (by the payload's place in the
/// signature, by the chunks' signatures, by the length and the checksums of the body).
const UNSIGNED_BY_CUSTOM: [&str; 4] =
    ["x-amz-content-sha256", "x-amz-decoded-content-length", "x-amz-trailer", "x-amz-checksum-algorithm"];

/// What a request says about itself, in a form that may be verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    /// Who it says it is.
    pub(crate) access_key: Arc<str>,
    /// How its body is protected.
    pub(crate) payload: Payload,
    /// Bytes of the object or document it says it carries, without any chunk framing.
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
}

/// Why a request goes no further. Each variant is one S3 error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// 403 AccessDenied.
    Denied(&'static str),
    /// 400 InvalidRequest.
    Invalid(&'static str),
    /// 400 InvalidURI.
    BadUri(&'static str),
    /// 400 InvalidArgument.
    BadArgument(&'static str),
    /// 400 AuthorizationHeaderMalformed.
    Malformed(&'static str),
    /// 400 AuthorizationHeaderMalformed, with the region that would be right.
    WrongRegion {
        /// Ours.
        expected: String,
    },
    /// 403 InvalidAccessKeyId.
    UnknownKey,
    /// 403 SignatureDoesNotMatch.
    BadSignature,
    /// 403 RequestTimeTooSkewed.
    Skewed,
    /// 400 InvalidToken.
    Token,
    /// 411 MissingContentLength.
    NoLength,
    /// 405 MethodNotAllowed.
    Method,
    /// 501 NotImplemented.
    NotImplemented(Cow<'static, str>),
}

impl Refusal {
    /// The answer's status, code and message.
    pub(crate) fn answer(&self) -> (StatusCode, &'static str, Cow<'_, str>) {
        use Refusal as R;
        let fixed = Cow::Borrowed;
        match self {
            R::Denied(why) => (StatusCode::FORBIDDEN, "AccessDenied", fixed(why)),
            R::Invalid(why) => (StatusCode::BAD_REQUEST, "InvalidRequest", fixed(why)),
            R::BadUri(why) => (StatusCode::BAD_REQUEST, "InvalidURI", fixed(why)),
            R::BadArgument(why) => (StatusCode::BAD_REQUEST, "InvalidArgument", fixed(why)),
            R::Malformed(why) => (StatusCode::BAD_REQUEST, "AuthorizationHeaderMalformed", fixed(why)),
            R::WrongRegion { expected } => (
                StatusCode::BAD_REQUEST,
                "AuthorizationHeaderMalformed",
                Cow::Owned(format!("The request is signed for another region; this one is '{expected}'.")),
            ),
            R::UnknownKey => (StatusCode::FORBIDDEN, "InvalidAccessKeyId", fixed("No such access key.")),
            R::BadSignature => {
                (StatusCode::FORBIDDEN, "SignatureDoesNotMatch", fixed("The signature does not match."))
            }
            R::Skewed => (
                StatusCode::FORBIDDEN,
                "RequestTimeTooSkewed",
                fixed("The signed date is more than 15 minutes away from the server's clock."),
            ),
            R::Token => (StatusCode::BAD_REQUEST, "InvalidToken", fixed("Session tokens are not supported.")),
            R::NoLength => (
                StatusCode::LENGTH_REQUIRED,
                "MissingContentLength",
                fixed("The length of the body must be declared."),
            ),
            R::Method => (
                StatusCode::METHOD_NOT_ALLOWED,
                "MethodNotAllowed",
                fixed("This method is not allowed here."),
            ),
            R::NotImplemented(what) => (
                StatusCode::NOT_IMPLEMENTED,
                "NotImplemented",
                Cow::Owned(format!("Not implemented: {what}.")),
            ),
        }
    }

    /// The region that a client should sign for, where that is what is wrong.
    pub(crate) fn region(&self) -> Option<&str> {
        match self {
            Refusal::WrongRegion { expected } => Some(expected),
            _ => None,
        }
    }
}

/// Checks one request's head. `local` is true if the peer is on this machine; `now` is in seconds since the Unix epoch.
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
        Payload::Unsigned | Payload::Hashed => length_in(headers, CONTENT_LENGTH.as_str())?,
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
    let payload = payload_in_header(headers, local)?;
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

/// Every value of `x-amz-content-sha256` that we take, and no other.
fn payload_in_header(headers: &HeaderMap, local: bool) -> Result<Payload, Refusal> {
    let value = header(headers, "x-amz-content-sha256")?
        .ok_or(Refusal::Invalid("The x-amz-content-sha256 header is missing."))?;
    let payload = match value {
        hash if is_sha256(hash) => Payload::Hashed,
        "UNSIGNED-PAYLOAD" => Payload::Unsigned,
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER" => Payload::Chunked { signed: false, trailer: true },
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => Payload::Chunked { signed: true, trailer: false },
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => Payload::Chunked { signed: true, trailer: true },
        _ => return Err(Refusal::BadArgument("This x-amz-content-sha256 is not supported.")),
    };
    // Without TLS anybody on the way can replace a body that nothing signs; on this machine there is no way.
    let covered = !matches!(payload, Payload::Unsigned | Payload::Chunked { signed: false, .. });
    if !covered && !local {
        return Err(Refusal::Denied(
            "Over plain HTTP the body must be signed; let the client send its SHA-256, or connect by TLS.",
        ));
    }
    let trailer = matches!(payload, Payload::Chunked { trailer: true, .. });
    if trailer != headers.contains_key("x-amz-trailer") {
        return Err(Refusal::Invalid("x-amz-trailer and x-amz-content-sha256 do not agree."));
    }
    Ok(payload)
}

/// `host` is signed, and so is every `x-amz-*` header but the four that customarily are not.
fn check_signed_headers(signed: &str, headers: &HeaderMap) -> Result<(), Refusal> {
    if signed.split(';').nth(MAX_SIGNED_HEADERS).is_some() {
        return Err(Refusal::Malformed("Too many signed headers."));
    }
    let is_signed = |name: &str| signed.split(';').any(|s| s == name);
    let plain = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic() && b != b',');
    if !signed.split(';').all(plain) {
        return Err(Refusal::Malformed("The list of signed headers is malformed."));
    }
    if !is_signed(HOST.as_str()) {
        return Err(Refusal::Denied("The host header must be signed."));
    }
    for name in headers.keys().map(http::HeaderName::as_str) {
        if name.starts_with("x-amz-") && !UNSIGNED_BY_CUSTOM.contains(&name) && !is_signed(name) {
            return Err(Refusal::Denied("There were headers present in the request which were not signed."));
        }
    }
    Ok(())
}

/// Nothing of ours, nothing twice, and values that the verifier reads as they came.
fn check_headers(headers: &HeaderMap) -> Result<(), Refusal> {
    if !headers.contains_key(HOST) {
        return Err(Refusal::Invalid("The host header is missing."));
    }
    let some_repeat = headers.len() != headers.keys_len();
    for name in headers.keys() {
        let text = name.as_str();
        if text.starts_with(RESERVED_PREFIX) {
            return Err(Refusal::Denied("Headers that begin with x-tidings- are reserved."));
        }
        let ours = text.starts_with("x-amz-") || is_single(text);
        if !ours {
            continue;
        }
        if some_repeat && headers.get_all(name).iter().nth(1).is_some() {
            return Err(Refusal::Invalid("A header that may come only once came twice."));
        }
        if headers.get(name).is_some_and(|value| std::str::from_utf8(value.as_bytes()).is_err()) {
            return Err(Refusal::BadArgument("A header is not valid UTF-8."));
        }
    }
    Ok(())
}

/// Headers beside `x-amz-*` that have one meaning only if they come once.
fn is_single(name: &str) -> bool {
    matches!(
        name,
        "authorization"
            | "host"
            | "date"
            | "range"
            | "expires"
            | "expect"
            | "content-length"
            | "content-type"
            | "content-md5"
            | "content-encoding"
            | "content-language"
            | "content-disposition"
            | "cache-control"
            | "if-match"
            | "if-none-match"
            | "if-modified-since"
            | "if-unmodified-since"
    )
}

/// Percent-encoding must be whole and mean UTF-8 without NUL: signature and routing then read the same key.
fn check_path(path: &str) -> Result<(), Refusal> {
    if !path.starts_with('/') {
        return Err(Refusal::BadUri("The request target must be a path."));
    }
    let decoded = query::decode(path, false).ok_or(Refusal::BadUri("The path is not valid."))?;
    match decoded.contains('\0') {
        true => Err(Refusal::BadUri("The path contains a NUL.")),
        false => Ok(()),
    }
}

fn check_method(parts: &Parts, query: &Query<'_>) -> Result<(), Refusal> {
    match parts.method {
        Method::GET | Method::HEAD => return Ok(()),
        Method::PUT | Method::POST | Method::DELETE => {}
        _ => return Err(Refusal::Method),
    }
    // Unknown parameters of a change are not ignored: `DELETE /bucket?origin` must never delete the bucket.
    if let Some(unknown) = query.first_unknown_of_a_change() {
        let printable = unknown.chars().take(64).filter(|c| !c.is_control()).collect::<String>();
        return Err(Refusal::NotImplemented(format!("the query parameter '{printable}'").into()));
    }
    // The verifier authenticates forms by their fields, past every rule above.
    let form = header(&parts.headers, CONTENT_TYPE.as_str())?.is_some_and(is_multipart);
    match form && parts.method == Method::POST {
        true => Err(Refusal::NotImplemented("POST of a form".into())),
        false => Ok(()),
    }
}

fn is_multipart(content_type: &str) -> bool {
    content_type.trim_start().get(..10).is_some_and(|start| start.eq_ignore_ascii_case("multipart/"))
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Refusal> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let text = std::str::from_utf8(value.as_bytes());
    text.map(Some).map_err(|_| Refusal::BadArgument("A header is not valid UTF-8."))
}

/// A length in plain digits: no sign, no space, nothing that two readers could read differently.
fn length_in(headers: &HeaderMap, name: &str) -> Result<Option<u64>, Refusal> {
    let Some(text) = header(headers, name)? else { return Ok(None) };
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let length = text.parse().ok().filter(|_| digits);
    length.map(Some).ok_or(Refusal::BadArgument("A length is not a number."))
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
