//! AWS Signature Version 4 for S3: from the parts of a request to the headers or the query that authenticate
//! it.
//!
//! Must never read the clock or do IO, and must never print the secret.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use hmac::{Hmac, Mac};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

type HmacSha256 = Hmac<Sha256>;

/// The `x-amz-content-sha256` of a body whose bytes the signature does not cover.
pub const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// Signs for one access key in one region. The key of the day is derived once and kept.
pub struct Signer {
    access_key: String,
    secret_key: SecretString,
    region: String,
    day: ArcSwapOption<DayKey>,
}

/// The signing key of one day, with both HMAC pads already hashed.
struct DayKey {
    date: String,
    mac: HmacSha256,
}

/// What a signature covers.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// The method in upper case.
    pub method: &'a str,
    /// The path as it is sent, percent-encoded: [`encode_path`].
    pub path: &'a str,
    /// The query as it is sent, encoded and sorted: [`canonical_query`].
    pub query: &'a str,
    /// The headers to sign, `host` among them: lower-case names, any order.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body's SHA-256 in lower-case hex, or one of the words that stand for it.
    pub payload: &'a str,
}

/// A signature and what goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The value of the `authorization` header.
    pub authorization: String,
    /// The signature alone, in lower-case hex: the seed of a chunked body's signatures.
    pub signature: String,
}

impl Signer {
    /// A signer of S3 requests.
    pub fn new(region: &str, access_key: &str, secret_key: &str) -> Self {
        Self {
            access_key: access_key.to_owned(),
            secret_key: SecretString::from(secret_key.to_owned()),
            region: region.to_owned(),
            day: ArcSwapOption::empty(),
        }
    }

    /// Signs in the header. `parts.headers` must hold `x-amz-date` with [`amz_date`] of the same moment, as
    /// it is sent.
    pub fn sign(&self, parts: &Parts<'_>, at: Timestamp) -> Signed {
        let names = sorted(parts.headers);
        let date = amz_date(at);
        let signature = self.signature(parts, &names, &date);
        let mut authorization = String::with_capacity(256);
        authorization.push_str("AWS4-HMAC-SHA256 Credential=");
        authorization.push_str(&self.access_key);
        authorization.push('/');
        authorization.push_str(&self.scope(&date[..8]));
        authorization.push_str(", SignedHeaders=");
        authorization.push_str(&signed_names(&names));
        authorization.push_str(", Signature=");
        authorization.push_str(&signature);
        Signed { authorization, signature }
    }

    /// Signs in the query: returns the whole canonical query with `X-Amz-Signature` last. `query` holds the
    /// request's own parameters, decoded; `expires` is in seconds.
    pub fn presign(&self, parts: &Parts<'_>, query: &[(&str, &str)], expires: u64, at: Timestamp) -> String {
        let names = sorted(parts.headers);
        let date = amz_date(at);
        let credential = format!("{}/{}", self.access_key, self.scope(&date[..8]));
        let (expires, signed) = (expires.to_string(), signed_names(&names));
        let mut all = query.to_vec();
        all.extend([
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-Credential", &credential),
            ("X-Amz-Date", &date),
            ("X-Amz-Expires", &expires),
            ("X-Amz-SignedHeaders", &signed),
        ]);
        let query = canonical_query(&all);
        let signature = self.signature(&Parts { query: &query, ..*parts }, &names, &date);
        format!("{query}&X-Amz-Signature={signature}")
    }

    /// The signature of any text by the key of this moment's day, in lower-case hex: chunks and trailers are
    /// signed so.
    pub fn sign_text(&self, text: &str, at: Timestamp) -> String {
        let mut mac = self.day_key(&amz_date(at)[..8]);
        mac.update(text.as_bytes());
        hex::encode(mac.finalize().into_bytes())
    }

    /// What a request's credential is on a day (`YYYYMMDD`).
    pub fn credential(&self, day: &str) -> String {
        format!("{}/{}", self.access_key, self.scope(day))
    }

    /// The credential scope of a day (`YYYYMMDD`).
    pub fn scope(&self, day: &str) -> String {
        format!("{day}/{}/s3/aws4_request", self.region)
    }

    fn signature(&self, parts: &Parts<'_>, headers: &[(&str, &str)], date: &str) -> String {
        let day = &date[..8];
        let mut mac = self.day_key(day);
        mac.update(b"AWS4-HMAC-SHA256\n");
        mac.update(date.as_bytes());
        mac.update(b"\n");
        mac.update(self.scope(day).as_bytes());
        mac.update(b"\n");
        mac.update(hex::encode(canonical_hash(parts, headers)).as_bytes());
        hex::encode(mac.finalize().into_bytes())
    }

    fn day_key(&self, day: &str) -> HmacSha256 {
        if let Some(kept) = self.day.load().as_deref().filter(|kept| kept.date == day) {
            return kept.mac.clone();
        }
        let step = |key: &[u8], text: &str| {
            let mut mac = keyed(key);
            mac.update(text.as_bytes());
            mac.finalize().into_bytes()
        };
        let first = format!("AWS4{}", self.secret_key.expose_secret());
        let key = step(&step(&step(first.as_bytes(), day), &self.region), "s3");
        let mac = keyed(&step(&key, "aws4_request"));
        self.day.store(Some(Arc::new(DayKey { date: day.to_owned(), mac: mac.clone() })));
        mac
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// The time as `x-amz-date` carries it: `20130524T000000Z`.
pub fn amz_date(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// The SHA-256 of a body in lower-case hex, as `x-amz-content-sha256` carries it.
pub fn payload_hash(body: &[u8]) -> String {
    hex::encode(Sha256::digest(body))
}

/// A path with every byte encoded but the unreserved ones and `/`.
pub fn encode_path(path: &str) -> String {
    let mut out = String::with_capacity(path.len() + 16);
    encode(path, true, &mut out);
    out
}

/// A query from decoded names and values: encoded, sorted by encoded name and then value.
pub fn canonical_query(pairs: &[(&str, &str)]) -> String {
    let encoded = |text: &str| {
        let mut out = String::with_capacity(text.len() + 16);
        encode(text, false, &mut out);
        out
    };
    let mut pairs: Vec<_> = pairs.iter().map(|(name, value)| (encoded(name), encoded(value))).collect();
    pairs.sort();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

fn encode(text: &str, keep_slash: bool, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in text.as_bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            b'/' if keep_slash => out.push('/'),
            _ => {
                out.push('%');
                out.push(char::from(HEX[usize::from(byte >> 4)]));
                out.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
    }
}

fn keyed(key: &[u8]) -> HmacSha256 {
    HmacSha256::new_from_slice(key).expect("HMAC takes keys of every length")
}

/// Sorts by name and keeps the order of equal names.
fn sorted<'a>(headers: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut headers = headers.to_vec();
    headers.sort_by_key(|(name, _)| *name);
    headers
}

fn signed_names(headers: &[(&str, &str)]) -> String {
    let mut names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    names.dedup();
    names.join(";")
}

/// The hash of the canonical request, fed piece by piece.
fn canonical_hash(parts: &Parts<'_>, headers: &[(&str, &str)]) -> impl AsRef<[u8]> + use<> {
    let mut hash = Sha256::new();
    for line in [parts.method, parts.path, parts.query] {
        hash.update(line.as_bytes());
        hash.update(b"\n");
    }
    let mut last = None;
    for &(name, value) in headers {
        match last {
            Some(same) if same == name => hash.update(b","),
            Some(_) => hash.update(format!("\n{name}:").as_bytes()),
            None => hash.update(format!("{name}:").as_bytes()),
        }
        // Runs of spaces count as one; this costs nothing where there are none.
        for (place, word) in value.split_whitespace().enumerate() {
            if place > 0 {
                hash.update(b" ");
            }
            hash.update(word.as_bytes());
        }
        last = Some(name);
    }
    hash.update(format!("\n\n{}\n{}", signed_names(headers), parts.payload).as_bytes());
    hash.finalize()
}
