//! Signatures as Tencent Cloud's API has them (`TC3-HMAC-SHA256`): what a head claims, and whether a secret
//! made it.
//!
//! They cover the body, the time, the host and the content's type, and of the other headers those that the
//! client chose; its SDKs choose no other. Must never look at the clock, take a body that nobody signed, or
//! tell which part of a signature is wrong.

use hmac::{Hmac, Mac as _};
use http::HeaderMap;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use sha2::{Digest as _, Sha256};

use super::answer::Refusal;

/// How far a request's time may be from ours, in seconds.
pub(super) const MAX_SKEW_S: u64 = 300;
/// Headers that one signature may cover.
const MAX_SIGNED: usize = 32;
const SCHEME: &str = "TC3-HMAC-SHA256";
const SERVICE: &str = "scf";
const END: &str = "tc3_request";

/// What a head says about its signature.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Claim {
    /// Whose secret made it.
    pub(super) access_key: String,
    timestamp: String,
    seconds: i64,
    date: String,
    signed: Vec<String>,
    signature: [u8; 32],
}

/// The one value of a header; none: it is missing, is there twice, or is no text.
pub(super) fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut all = headers.get_all(name).iter();
    let (only, None) = (all.next()?, all.next()) else { return None };
    only.to_str().ok()
}

fn malformed(what: &str) -> Refusal {
    Refusal::new("AuthFailure.InvalidAuthorization", what)
}

impl Claim {
    /// Reads a head. Nothing in it is proven yet.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let text = only(headers, AUTHORIZATION.as_str())
            .ok_or_else(|| malformed("the request needs one `Authorization` header"))?;
        let fields = text.strip_prefix(SCHEME).and_then(|rest| rest.strip_prefix(' '));
        let fields = fields.ok_or_else(|| malformed("the signature must be TC3-HMAC-SHA256"))?;
        let (mut credential, mut signed, mut signature) = (None, None, None);
        for field in fields.split(',') {
            let (name, value) = field.trim().split_once('=').unwrap_or_default();
            let place = match name {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut signed,
                "Signature" => &mut signature,
                _ => return Err(malformed("`Authorization` has a field that nobody knows")),
            };
            if place.replace(value).is_some() {
                return Err(malformed("`Authorization` has a field twice"));
            }
        }
        let missing = || malformed("`Authorization` needs Credential, SignedHeaders and Signature");
        let (access_key, date) = scope(credential.ok_or_else(missing)?)?;
        let signed = signed_headers(headers, signed.ok_or_else(missing)?)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(signature.ok_or_else(missing)?, &mut bytes)
            .map_err(|_| malformed("the signature must be 64 hexadecimal digits"))?;
        if headers.contains_key("x-tc-token") {
            let why = "there are no temporary credentials here: sign without a token";
            return Err(Refusal::new("AuthFailure.TokenFailure", why));
        }
        if headers.contains_key("x-tc-content-sha256") {
            return Err(malformed("the body must be signed: X-TC-Content-SHA256 is not taken"));
        }
        let (timestamp, seconds) = time(headers, date)?;
        let (access_key, date) = (access_key.to_owned(), date.to_owned());
        Ok(Self { access_key, timestamp, seconds, date, signed, signature: bytes })
    }

    /// Refuses a request that was signed too long ago, or too far ahead.
    pub(super) fn fresh(&self, now_s: i64) -> Result<(), Refusal> {
        match now_s.abs_diff(self.seconds) <= MAX_SKEW_S {
            true => Ok(()),
            false => Err(Refusal::new(
                "AuthFailure.SignatureExpire",
                format!("X-TC-Timestamp is more than {MAX_SKEW_S} s from the server's time, {now_s}"),
            )),
        }
    }

    /// True if `secret` signed this head with this body. How far a wrong signature fits does not show in the
    /// time it takes.
    pub(super) fn is_by(&self, secret: &str, headers: &HeaderMap, body: &[u8]) -> bool {
        let body = hex::encode(Sha256::digest(body));
        // The scheme says lower case; the vendor's own SDK for Python signs values as they are.
        [true, false].into_iter().any(|lower| self.fits(secret, headers, &body, lower))
    }

    fn fits(&self, secret: &str, headers: &HeaderMap, body: &str, lower: bool) -> bool {
        let mut canonical = String::from("POST\n/\n\n");
        for name in &self.signed {
            let value = only(headers, name).unwrap_or_default().trim();
            let value = if lower { value.to_lowercase() } else { value.to_owned() };
            canonical.extend([name, ":", &value, "\n"]);
        }
        canonical.extend(["\n", &self.signed.join(";"), "\n", body]);
        let Self { timestamp, date, .. } = self;
        let canonical = hex::encode(Sha256::digest(canonical));
        let text = format!("{SCHEME}\n{timestamp}\n{date}/{SERVICE}/{END}\n{canonical}");
        let of_date = mac(format!("TC3{secret}").as_bytes(), date);
        let of_service = mac(&of_date.finalize().into_bytes(), SERVICE);
        let key = mac(&of_service.finalize().into_bytes(), END).finalize().into_bytes();
        mac(&key, &text).verify_slice(&self.signature).is_ok()
    }
}

fn mac(key: &[u8], text: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    mac.update(text.as_bytes());
    mac
}

/// Access key and date of `KEY/DATE/scf/tc3_request`.
fn scope(credential: &str) -> Result<(&str, &str), Refusal> {
    let parts: Vec<_> = credential.split('/').collect();
    let [key, date, service, end] = parts[..] else {
        return Err(malformed("the credential must be KEY/DATE/scf/tc3_request"));
    };
    if service != SERVICE || end != END {
        return Err(malformed("the credential is for another service: it must be KEY/DATE/scf/tc3_request"));
    }
    Ok((key, date))
}

/// The headers that a signature covers: those without which a request could be taken elsewhere among them.
fn signed_headers(headers: &HeaderMap, listed: &str) -> Result<Vec<String>, Refusal> {
    let names: Vec<_> = listed.split(';').collect();
    if names.len() > MAX_SIGNED {
        return Err(malformed("the signature covers too many headers"));
    }
    for (at, name) in names.iter().enumerate() {
        let lower = !name.bytes().any(|b| b.is_ascii_uppercase());
        if !lower || names[..at].contains(name) || only(headers, name).is_none() {
            return Err(malformed("each signed header must be there once, in lower case"));
        }
    }
    for needed in [HOST, CONTENT_TYPE] {
        if !names.contains(&needed.as_str()) {
            return Err(malformed(&format!("the signature must cover the header `{needed}`")));
        }
    }
    Ok(names.into_iter().map(str::to_owned).collect())
}

/// When a request was signed: the text, and seconds since the Unix epoch. It must be of the credential's day.
fn time(headers: &HeaderMap, date: &str) -> Result<(String, i64), Refusal> {
    let wrong =
        || malformed("X-TC-Timestamp must be seconds since 1970, of the day that the credential names");
    let text = only(headers, "x-tc-timestamp").filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    let text = text.ok_or_else(wrong)?;
    let seconds: i64 = text.parse().map_err(|_| wrong())?;
    let day = jiff::Timestamp::from_second(seconds).map_err(|_| wrong())?.strftime("%Y-%m-%d").to_string();
    if day == date { Ok((text.to_owned(), seconds)) } else { Err(wrong()) }
}
