//! Headers of a request as operations see them: what is kept with an object, and what nobody may ignore.
//!
//! Must never drop a header that changes what the client asked for: a header that an operation does not know
//! is refused.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::{HeaderMap, HeaderName, HeaderValue};
use s3s::{S3Error, S3ErrorCode, s3_error};

use super::checksum::Algorithm;
use super::{classes, tags};
use crate::queue::TAGS;

/// The largest sum of names and values of a client's own metadata, in bytes.
const MAX_USER_METADATA: usize = 2048;
/// The largest sum of the values of the other kept headers, in bytes.
const MAX_SYSTEM_METADATA: usize = 4096;

const USER_METADATA: &str = "x-amz-meta-";

/// The names of the kept headers beside `x-amz-meta-*`, shared by all objects.
static SYSTEM_METADATA: LazyLock<[Arc<str>; 6]> = LazyLock::new(|| {
    let names = [
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-type",
        "expires",
    ];
    names.map(Arc::from)
});

/// Headers as an object keeps them: lower-case names and values.
pub(super) type Kept = Vec<(Arc<str>, Arc<str>)>;

/// The headers of a request that makes an object, beside its metadata: each is kept with the object.
pub(super) const OF_NEW_OBJECT: [&str; 3] = [USER_METADATA, classes::HEADER, TAGS];

/// All that is kept of a request with its object: metadata, storage class, tags; sorted.
pub(super) fn kept(headers: &HeaderMap) -> Result<Kept, S3Error> {
    let mut kept = metadata(headers)?;
    kept.extend(classes::wanted(headers)?);
    let tags = tags::of_headers(headers)?;
    if !tags.is_empty() {
        kept.push((TAGS.into(), tags));
    }
    kept.sort_unstable();
    Ok(kept)
}

/// The headers of an object's metadata: lower-case names, sorted.
pub(super) fn metadata(headers: &HeaderMap) -> Result<Kept, S3Error> {
    let mut kept = Kept::new();
    let (mut system, mut user) = (0, 0);
    for (name, value) in headers {
        let name = name.as_str();
        if let Some(own) = name.strip_prefix(USER_METADATA) {
            let value = text_of(value)?;
            user += own.len() + value.len();
            kept.push((name.into(), value.into()));
        } else if let Some(shared) = SYSTEM_METADATA.iter().find(|known| &***known == name) {
            let value = text_of(value)?;
            system += value.len();
            let value: Arc<str> = match name {
                "content-encoding" => without_aws_chunked(value).into(),
                _ => value.into(),
            };
            if !value.is_empty() {
                kept.push((Arc::clone(shared), value));
            }
        }
    }
    if system > MAX_SYSTEM_METADATA || user > MAX_USER_METADATA {
        return Err(S3Error::from(S3ErrorCode::MetadataTooLarge));
    }
    kept.sort_unstable();
    Ok(kept)
}

/// Gives kept headers back. A checksum goes out only where the client asked for it and got the whole object.
pub(super) fn give_back(kept: &[(Arc<str>, Arc<str>)], checksums: bool, into: &mut HeaderMap) {
    for (name, value) in kept {
        let checksum = Algorithm::is_header(name);
        if checksum && !checksums {
            continue;
        }
        if **name == *TAGS {
            into.insert("x-amz-tagging-count", tags::count(value).into());
            continue;
        }
        // Both were headers when they came; what cannot be one is left out rather than failing the read.
        let kept_sum_is_composite = value.contains('-');
        let value = if name.starts_with(USER_METADATA) { in_ascii(value) } else { Cow::Borrowed(&**value) };
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value.as_bytes())) {
            into.insert(name, value);
        }
        if checksum {
            // `SUM-N` is made of the checksums of N parts.
            let kind = if kept_sum_is_composite { "COMPOSITE" } else { "FULL_OBJECT" };
            into.insert("x-amz-checksum-type", HeaderValue::from_static(kind));
        }
    }
}

/// A client's own value as S3 gives it back: as it came if it is ASCII, else as RFC 2047 writes it.
fn in_ascii(value: &str) -> Cow<'_, str> {
    if value.is_ascii() {
        Cow::Borrowed(value)
    } else {
        format!("=?UTF-8?B?{}?=", BASE64.encode(value)).into()
    }
}

/// Refuses every `x-amz-*` header that neither the protocol nor the operation knows.
pub(super) fn only_known(headers: &HeaderMap, operation: &[&str]) -> Result<(), S3Error> {
    for (name, value) in headers {
        let name = name.as_str();
        if !name.starts_with("x-amz-") || is_protocol(name) || operation.contains(&name) {
            continue;
        }
        let only_default = |default: &[&str]| value.to_str().is_ok_and(|value| default.contains(&value));
        let harmless = match name {
            // There are no lists: what these two ask for is what everybody gets.
            "x-amz-acl" if only_default(&["private", "bucket-owner-full-control"]) => true,
            "x-amz-acl" => return Err(S3ErrorCode::AccessControlListNotSupported.into()),
            _ if name.starts_with("x-amz-grant-") => {
                return Err(S3ErrorCode::AccessControlListNotSupported.into());
            }
            classes::HEADER => only_default(&["STANDARD"]),
            // Some clients say what is so anyhow.
            "x-amz-bucket-object-lock-enabled" => only_default(&["false", "False"]),
            _ => name.starts_with(USER_METADATA) && operation.contains(&USER_METADATA),
        };
        if !harmless {
            return Err(s3_error!(NotImplemented, "Not implemented: the header {name}"));
        }
    }
    Ok(())
}

/// Refuses a request that names another owner than ours.
pub(super) fn expected_owner(headers: &HeaderMap, account: &str) -> Result<(), S3Error> {
    match headers.get("x-amz-expected-bucket-owner") {
        Some(owner) if owner.as_bytes() != account.as_bytes() => {
            Err(S3Error::with_message(S3ErrorCode::AccessDenied, "The bucket has another owner"))
        }
        _ => Ok(()),
    }
}

/// What says how a request is signed, framed and checked: understood before any operation.
fn is_protocol(name: &str) -> bool {
    matches!(
        name,
        "x-amz-date"
            | "x-amz-content-sha256"
            | "x-amz-decoded-content-length"
            | "x-amz-trailer"
            | "x-amz-user-agent"
            | "x-amz-checksum-type"
            | "x-amz-checksum-algorithm"
            | "x-amz-sdk-checksum-algorithm"
            | "x-amz-request-payer"
            | "x-amz-expected-bucket-owner"
    ) || Algorithm::is_header(name)
}

fn text_of(value: &HeaderValue) -> Result<&str, S3Error> {
    let text = std::str::from_utf8(value.as_bytes());
    text.map_err(|_| s3_error!(InvalidArgument, "A header is not valid UTF-8"))
}

/// `aws-chunked` is how the body travelled, not what the object is.
fn without_aws_chunked(value: &str) -> String {
    let kept = value.split(',').map(str::trim).filter(|token| !token.eq_ignore_ascii_case("aws-chunked"));
    kept.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(n, v)| (n.parse().expect("name"), HeaderValue::from_bytes(v.as_bytes()).expect("value")))
            .collect()
    }

    #[test]
    fn metadata_comes_back_as_it_came() {
        let came = headers(&[
            ("x-amz-meta-zoo", "ünïcode  two"),
            ("content-type", "text/plain; charset=utf-8"),
            ("content-encoding", "aws-chunked, gzip"),
            ("x-amz-date", "20260101T000000Z"),
            ("expires", "Thu, 01 Dec 1994 16:00:00 GMT"),
            ("x-amz-meta-a", ""),
        ]);
        let kept = metadata(&came).expect("small");
        let names: Vec<_> = kept.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(
            names,
            [
                ("content-encoding", "gzip"),
                ("content-type", "text/plain; charset=utf-8"),
                ("expires", "Thu, 01 Dec 1994 16:00:00 GMT"),
                ("x-amz-meta-a", ""),
                ("x-amz-meta-zoo", "ünïcode  two"),
            ]
        );
        let mut back = HeaderMap::new();
        give_back(&kept, false, &mut back);
        assert_eq!(back.get("x-amz-meta-a"), came.get("x-amz-meta-a"));
        assert_eq!(back.len(), 5);
        // No header may carry it as it is; who wrote it so gets the same back.
        let encoded = back["x-amz-meta-zoo"].to_str().expect("ASCII");
        assert_eq!(encoded, "=?UTF-8?B?w7xuw69jb2RlICB0d28=?=");
        let again = metadata(&headers(&[("x-amz-meta-zoo", encoded)])).expect("small");
        give_back(&again, false, &mut back);
        assert_eq!(back["x-amz-meta-zoo"], "=?UTF-8?B?w7xuw69jb2RlICB0d28=?=");
        assert!(metadata(&headers(&[("content-encoding", "AWS-chunked")])).expect("small").is_empty());
    }

    #[test]
    fn metadata_is_bounded() {
        let of = |name: &'static str, n: usize| metadata(&headers(&[(name, &"v".repeat(n))]));
        assert!(of("x-amz-meta-a", 2047).is_ok());
        assert!(of("x-amz-meta-a", 2048).is_err());
        assert!(of("content-type", 4096).is_ok());
        assert!(of("content-type", 4097).is_err());
    }

    #[test]
    fn checksums_go_out_on_request_only() {
        let kept: Vec<(Arc<str>, Arc<str>)> = vec![("x-amz-checksum-crc32".into(), "AAAAAA==".into())];
        let mut out = HeaderMap::new();
        give_back(&kept, false, &mut out);
        assert!(out.is_empty());
        give_back(&kept, true, &mut out);
        assert_eq!(out.get("x-amz-checksum-crc32").map(HeaderValue::as_bytes), Some(&b"AAAAAA=="[..]));
    }

    #[test]
    fn unknown_wishes_are_refused() {
        let known = |pairs: &[(&'static str, &str)]| only_known(&headers(pairs), &[USER_METADATA]);
        assert!(known(&[("x-amz-meta-a", "1"), ("x-amz-acl", "private"), ("x-amz-date", "d")]).is_ok());
        assert!(known(&[("x-amz-storage-class", "STANDARD"), ("accept", "*")]).is_ok());
        assert!(known(&[("x-amz-bucket-object-lock-enabled", "false")]).is_ok());
        assert!(only_known(&headers(&[("x-amz-tagging", "a=b")]), &OF_NEW_OBJECT).is_ok());
        for (name, value) in [
            ("x-amz-acl", "public-read"),
            ("x-amz-grant-read", "id=1"),
            ("x-amz-storage-class", "GLACIER"),
            ("x-amz-server-side-encryption", "AES256"),
            ("x-amz-tagging", "a=b"),
            ("x-amz-object-lock-mode", "GOVERNANCE"),
            ("x-amz-bucket-object-lock-enabled", "true"),
            ("x-amz-copy-source", "/b/k"),
            ("x-amz-checksum-xxhash64", "AAAA"),
        ] {
            assert!(known(&[(name, value)]).is_err(), "{name}");
        }
        assert!(only_known(&headers(&[("x-amz-meta-a", "1")]), &[]).is_err());
        assert!(
            expected_owner(&headers(&[("x-amz-expected-bucket-owner", "1250000000")]), "1250000000").is_ok()
        );
        assert!(expected_owner(&headers(&[("x-amz-expected-bucket-owner", "x")]), "1250000000").is_err());
    }
}
