//! The guard's checks of path, method and headers.
//!
//! Must never decide who asks: that is the scope's and the query's business.

use http::Method;
use http::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName};
use http::request::Parts;

use super::query::{self, Query};
use super::{Payload, Refusal};

/// More signed header names than this are nobody's honest request.
const MAX_SIGNED_HEADERS: usize = 128;
/// Header names with this prefix are ours; no client may send one.
const RESERVED_PREFIX: &str = "x-tidings-";
/// The `x-amz-*` headers that need no signature: what each says is proven elsewhere (by the payload's place
/// in the signature, by the chunks' signatures, by the length and the checksums of the body).
const UNSIGNED_BY_CUSTOM: [&str; 4] =
    ["x-amz-content-sha256", "x-amz-decoded-content-length", "x-amz-trailer", "x-amz-checksum-algorithm"];

/// Every value of `x-amz-content-sha256` that we take, and no other.
pub(super) fn payload_in_header(headers: &HeaderMap, unsigned: bool) -> Result<Payload, Refusal> {
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
    if !covered && !unsigned {
        return Err(Refusal::Denied(
            "The body must be signed: server.allow_unsigned_payload says who may leave it unsigned.",
        ));
    }
    let trailer = matches!(payload, Payload::Chunked { trailer: true, .. });
    if trailer != headers.contains_key("x-amz-trailer") {
        return Err(Refusal::Invalid("x-amz-trailer and x-amz-content-sha256 do not agree."));
    }
    Ok(payload)
}

/// `host` is signed, and so is every `x-amz-*` and `x-cos-*` header but the four that customarily are not.
pub(super) fn check_signed_headers(signed: &str, headers: &HeaderMap) -> Result<(), Refusal> {
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
        let is_ours = name.starts_with("x-amz-") || name.starts_with("x-cos-");
        if is_ours && !UNSIGNED_BY_CUSTOM.contains(&name) && !is_signed(name) {
            return Err(Refusal::Denied("There were headers present in the request which were not signed."));
        }
    }
    Ok(())
}

/// Nothing of ours, nothing twice, and values that the verifier reads as they came.
pub(super) fn check_headers(headers: &HeaderMap) -> Result<(), Refusal> {
    if !headers.contains_key(HOST) {
        return Err(Refusal::Invalid("The host header is missing."));
    }
    let mut last: Option<&HeaderName> = None;
    for (name, value) in headers {
        let text = name.as_str();
        if text.starts_with(RESERVED_PREFIX) {
            return Err(Refusal::Denied("Headers that begin with x-tidings- are reserved."));
        }
        if !text.starts_with("x-amz-") && !text.starts_with("x-cos-") && !is_single(text) {
            continue;
        }
        // Values of one name come one after the other.
        if last.replace(name) == Some(name) {
            return Err(Refusal::Invalid("A header that may come only once came twice."));
        }
        if std::str::from_utf8(value.as_bytes()).is_err() {
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

/// A target in absolute form, as proxies get it, must name the host that the header names: what is signed and
/// what is routed by is the header.
pub(super) fn check_authority(parts: &Parts) -> Result<(), Refusal> {
    let Some(authority) = parts.uri.authority() else { return Ok(()) };
    let host = header(&parts.headers, HOST.as_str())?.unwrap_or_default();
    match host.eq_ignore_ascii_case(authority.as_str()) {
        true => Ok(()),
        false => Err(Refusal::Invalid("The request target and the host header name two hosts.")),
    }
}

/// Percent-encoding must be whole and mean UTF-8 without NUL: signature and routing then read the same key.
pub(super) fn check_path(path: &str) -> Result<(), Refusal> {
    if !path.starts_with('/') {
        return Err(Refusal::BadUri("The request target must be a path."));
    }
    let decoded = query::decode(path, false).ok_or(Refusal::BadUri("The path is not valid."))?;
    match decoded.contains('\0') {
        true => Err(Refusal::BadUri("The path contains a NUL.")),
        false => Ok(()),
    }
}

pub(super) fn check_method(parts: &Parts, query: &Query<'_>) -> Result<(), Refusal> {
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
        true => Err(Refusal::Invalid("A form is signed in its fields, and nowhere else.")),
        false => Ok(()),
    }
}

pub(super) fn is_multipart(content_type: &str) -> bool {
    content_type.trim_start().get(..10).is_some_and(|start| start.eq_ignore_ascii_case("multipart/"))
}

pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Refusal> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let text = std::str::from_utf8(value.as_bytes());
    text.map(Some).map_err(|_| Refusal::BadArgument("A header is not valid UTF-8."))
}

/// A length in plain digits: no sign, no space, nothing that two readers could read differently.
pub(super) fn length_in(headers: &HeaderMap, name: &str) -> Result<Option<u64>, Refusal> {
    let Some(text) = header(headers, name)? else { return Ok(None) };
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let length = text.parse().ok().filter(|_| digits);
    length.map(Some).ok_or(Refusal::BadArgument("A length is not a number."))
}

pub(super) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
