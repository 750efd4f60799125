//! COS's request signature (`q-sign`): what it says about itself, and what it covers.
//!
//! The signer chooses what is covered and lists it (`covered.rs`). Must never keep a secret, nor say what the
//! signature should have been: it prepares what [`QSign::is_by`] compares.

mod covered;

use std::fmt;

use hmac::{Hmac, Mac};
use http::header::{HOST, HeaderMap};
use http::request::Parts;
use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq;

use self::covered::{encode, listed, signed_headers, signed_parameters};
use super::head::header;
use super::query::{Query, decode};
use super::scope::check_access_key;
use super::{MAX_EXPIRES, MAX_SKEW, Refusal};
use crate::frontend::hosts::without_port;

/// The longest life of a signature, in seconds: that of a presigned URL, and the minute that clients give
/// away for clocks that differ.
const MAX_LIFE: i64 = MAX_EXPIRES as i64 + 60;
/// What a signature consists of, each once.
pub(crate) const FIELDS: [&str; 7] = [
    "q-sign-algorithm",
    "q-ak",
    "q-sign-time",
    "q-key-time",
    "q-header-list",
    "q-url-param-list",
    "q-signature",
];

/// A signature that may be verified: all its rules hold but the one that needs the secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct QSign {
    key_time: Box<str>,
    signature: [u8; 20],
    /// The SHA-1 of what is signed, for each way in which clients write the host.
    signed: Vec<[u8; 20]>,
}

impl fmt::Debug for QSign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QSign").field("key_time", &self.key_time).finish_non_exhaustive()
    }
}

impl QSign {
    /// True if this secret's owner signed it. Takes as long whatever differs.
    pub(crate) fn is_by(&self, secret: &str) -> bool {
        self.is_of_key(&signing_key(secret, &self.key_time))
    }

    fn is_of_key(&self, key: &str) -> bool {
        let matches = self.signed.iter().map(|hash| {
            let text = format!("sha1\n{}\n{}\n", self.key_time, hex::encode(hash));
            bool::from(hmac_sha1(key, &text).ct_eq(&self.signature))
        });
        matches.fold(false, |any, one| any | one)
    }
}

/// The key of a span of time: lower-case hex, used as text.
pub(crate) fn signing_key(secret: &str, key_time: &str) -> String {
    hex::encode(hmac_sha1(secret, key_time))
}

/// HMAC-SHA1 of two texts.
pub(crate) fn hmac_sha1(key: &str, text: &str) -> [u8; 20] {
    let mut mac = Hmac::<Sha1>::new_from_slice(key.as_bytes()).expect("HMAC takes keys of every length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().into()
}

/// The fields of a signature, in the order of [`FIELDS`].
pub(super) struct Fields<'a>([&'a str; 7]);

impl<'a> Fields<'a> {
    /// True for a header that is signed in this way.
    pub(super) fn are_in(text: &str) -> bool {
        text.trim_start_matches(' ').starts_with("q-sign-algorithm=")
    }

    /// `NAME=VALUE&…`, in any order.
    pub(super) fn of_header(text: &'a str) -> Result<Self, Refusal> {
        let malformed = Refusal::Malformed("The authorization header is malformed.");
        let mut found = [None; 7];
        for piece in text.trim_matches(' ').split('&') {
            let (name, value) = piece.split_once('=').ok_or(malformed.clone())?;
            let at = FIELDS.iter().position(|field| *field == name).ok_or(malformed.clone())?;
            if found[at].replace(value).is_some() {
                return Err(malformed);
            }
        }
        Self::whole(found)
    }

    /// The parameters of a presigned URL.
    pub(super) fn of_query(query: &'a Query<'_>) -> Result<Self, Refusal> {
        query.only_these_authenticate(&FIELDS)?;
        Self::whole(FIELDS.map(|name| query.get(name)))
    }

    fn whole(found: [Option<&'a str>; 7]) -> Result<Self, Refusal> {
        let missing = || Refusal::Malformed("The signature is not complete.");
        let mut fields = [""; 7];
        for (field, found) in fields.iter_mut().zip(found) {
            *field = found.ok_or_else(missing)?;
        }
        match fields[0] == "sha1" {
            true => Ok(Self(fields)),
            false => Err(Refusal::Denied("q-sign-algorithm must be sha1.")),
        }
    }

    /// Holds every rule that needs no secret, and prepares the rest.
    pub(super) fn check(
        &self,
        parts: &Parts,
        query: &Query<'_>,
        now: i64,
    ) -> Result<(&'a str, QSign), Refusal> {
        let [_, access_key, sign_time, key_time, headers, parameters, signature] = self.0;
        check_access_key(access_key)?;
        check_times(sign_time, key_time, now)?;
        let mut bytes = [0; 20];
        let is_lower = signature.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !is_lower || hex::decode_to_slice(signature, &mut bytes).is_err() {
            return Err(Refusal::BadSignature);
        }
        let path = decode(parts.uri.path(), false).ok_or(Refusal::BadUri("The path is not valid."))?;
        let parameters = signed_parameters(&listed(parameters)?, query, &parts.method, &path)?;
        let list = listed(headers)?;
        let headers = signed_headers(&list, &parts.headers)?;
        let host = header(&parts.headers, HOST.as_str())?.unwrap_or_default();
        let method = parts.method.as_str().to_ascii_lowercase();
        let hash = |host: &str| -> [u8; 20] {
            let of_host = |(name, value): &(String, String)| match name == "host" {
                true => format!("host={}", encode(host.as_bytes())),
                false => format!("{name}={value}"),
            };
            let headers = headers.iter().map(of_host).collect::<Vec<_>>().join("&");
            Sha1::digest(format!("{method}\n{path}\n{parameters}\n{headers}\n")).into()
        };
        // Some clients sign the port with the host, some do not.
        let mut signed = vec![hash(host)];
        let bare = without_port(host);
        if bare != host {
            signed.push(hash(bare));
        }
        Ok((access_key, QSign { key_time: key_time.into(), signature: bytes, signed }))
    }

    /// True if the signature covers the body, by its MD5.
    pub(super) fn covers_body(&self, headers: &HeaderMap) -> bool {
        headers.contains_key("content-md5") && self.0[4].split(';').any(|name| name == "content-md5")
    }
}

/// The times are one, whole, not too long and of now.
pub(crate) fn check_times(sign_time: &str, key_time: &str, now: i64) -> Result<(), Refusal> {
    let malformed = Refusal::Malformed("q-sign-time and q-key-time must be one START;END in seconds.");
    let number = |text: &str| {
        let plain = (1..=12).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<i64>().ok().filter(|_| plain)
    };
    let times = key_time.split_once(';').and_then(|(start, end)| Some((number(start)?, number(end)?)));
    let Some((start, end)) = times.filter(|(start, end)| start <= end && sign_time == key_time) else {
        return Err(malformed);
    };
    if end - start > MAX_LIFE {
        return Err(Refusal::Denied("A signature must not be good for more than 7 days."));
    }
    if start - now > MAX_SKEW {
        return Err(Refusal::Skewed);
    }
    if now > end {
        return Err(Refusal::Denied("Request has expired"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
