//! From a COS request to an S3 request: target, headers, parameters.
//!
//! Must never let a header or a parameter through that it does not know: S3 could understand another thing by
//! it, or nothing.

use http::header::{AUTHORIZATION, HOST, HeaderMap, IF_NONE_MATCH};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method};

use crate::frontend::guard::{FIELDS, Refusal, decode};
use crate::frontend::hosts::{Hosts, Named};

const META: &str = "x-cos-meta-";
const GRANT: &str = "x-cos-grant-";

/// How a header's value is translated.
#[derive(Clone, Copy)]
enum Value {
    Same,
    /// `Copy` or `Replaced`.
    Directive,
    /// `HOST/KEY`.
    Source,
    /// `default` is what S3 calls private.
    Acl,
}

/// Every header of COS's that means something here, and what S3 calls it.
const HEADERS: [(&str, &str, Value); 11] = [
    ("x-cos-acl", "x-amz-acl", Value::Acl),
    ("x-cos-copy-source", "x-amz-copy-source", Value::Source),
    ("x-cos-copy-source-if-match", "x-amz-copy-source-if-match", Value::Same),
    ("x-cos-copy-source-if-modified-since", "x-amz-copy-source-if-modified-since", Value::Same),
    ("x-cos-copy-source-if-none-match", "x-amz-copy-source-if-none-match", Value::Same),
    ("x-cos-copy-source-if-unmodified-since", "x-amz-copy-source-if-unmodified-since", Value::Same),
    ("x-cos-copy-source-range", "x-amz-copy-source-range", Value::Same),
    ("x-cos-metadata-directive", "x-amz-metadata-directive", Value::Directive),
    ("x-cos-storage-class", "x-amz-storage-class", Value::Same),
    ("x-cos-tagging", "x-amz-tagging", Value::Same),
    ("x-cos-tagging-directive", "x-amz-tagging-directive", Value::Directive),
];

/// The parameters that a read may carry. S3's router passes over what it does not know, and would answer
/// another question.
const OF_READS: [&str; 43] = [
    "accelerate",
    "acl",
    "continuation-token",
    "cors",
    "delimiter",
    "encoding-type",
    "encryption",
    "fetch-owner",
    "key-marker",
    "lifecycle",
    "list-type",
    "location",
    "logging",
    "marker",
    "max-keys",
    "max-parts",
    "max-uploads",
    "notification",
    "object-lock",
    "origin",
    "part-number-marker",
    "partNumber",
    "policy",
    "prefix",
    "replication",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "retention",
    "start-after",
    "tagging",
    "upload-id-marker",
    "uploadId",
    "uploads",
    "version-id-marker",
    "versionId",
    "versioning",
    "versions",
    "website",
    "requestPayment",
];

/// Translates a verified request in place.
pub(in crate::frontend) fn translate(parts: &mut Parts, hosts: &Hosts) -> Result<(), Refusal> {
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned();
    let of_no_bucket = parts.uri.path() == "/" && hosts.bucket(&host).is_none();
    let query = query(parts, of_no_bucket && parts.method == Method::GET)?;
    forbid_overwrite(parts, &query)?;
    parts.headers.remove(AUTHORIZATION);
    parts.headers = headers(&parts.headers, &host, hosts)?;
    let path = parts.uri.path();
    let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    let target = target.parse::<PathAndQuery>().map_err(|_| Refusal::BadUri("The target is not valid."))?;
    parts.uri = target.into();
    Ok(())
}

/// The query without the signature, in S3's words.
fn query(parts: &Parts, of_service: bool) -> Result<String, Refusal> {
    let is_read = matches!(parts.method, Method::GET | Method::HEAD);
    let mut kept = Vec::new();
    for part in parts.uri.query().unwrap_or_default().split('&').filter(|part| !part.is_empty()) {
        let (raw, value) = part.split_once('=').unwrap_or((part, ""));
        let name = decode(raw, true).ok_or(Refusal::BadUri("The query is not valid."))?;
        match &*name {
            of_signature if FIELDS.contains(&of_signature) => {}
            "marker" | "region" if of_service && value.is_empty() => {}
            "marker" if of_service => kept.push(format!("continuation-token={value}")),
            "max-keys" if of_service => kept.push(format!("max-buckets={value}")),
            "region" if of_service => kept.push(format!("bucket-region={value}")),
            other if is_read && (of_service || !OF_READS.contains(&other)) => {
                let shown: String = other.chars().take(64).filter(|c| !c.is_control()).collect();
                return Err(Refusal::NotImplemented(format!("the query parameter '{shown}'").into()));
            }
            _ => kept.push(part.to_owned()),
        }
    }
    Ok(kept.join("&"))
}

/// What must not be overwritten is, in S3's words, made only if nothing is there.
fn forbid_overwrite(parts: &mut Parts, query: &str) -> Result<(), Refusal> {
    let forbids = match parts.headers.remove("x-cos-forbid-overwrite") {
        None => return Ok(()),
        Some(value) => match value.as_bytes() {
            b"true" => true,
            b"false" => false,
            _ => return Err(Refusal::BadArgument("x-cos-forbid-overwrite must be true or false.")),
        },
    };
    let makes = match parts.method {
        Method::PUT => query.is_empty(),
        Method::POST => query.starts_with("uploadId="),
        _ => false,
    };
    match (forbids, makes) {
        (false, _) => {}
        (true, false) => {
            return Err(Refusal::NotImplemented("the header x-cos-forbid-overwrite of this request".into()));
        }
        (true, true) => {
            if parts.headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*")).is_some() {
                return Err(Refusal::BadArgument("x-cos-forbid-overwrite and If-None-Match say the same."));
            }
        }
    }
    Ok(())
}

/// The headers that a form's fields stand for, in S3's words.
pub(in crate::frontend) fn form_headers(from: &HeaderMap, hosts: &Hosts) -> Result<HeaderMap, Refusal> {
    headers(from, "", hosts)
}

fn headers(from: &HeaderMap, host: &str, hosts: &Hosts) -> Result<HeaderMap, Refusal> {
    let mut to = HeaderMap::with_capacity(from.len());
    for (name, value) in from {
        let text = name.as_str();
        if !text.starts_with("x-cos-") {
            to.append(name.clone(), value.clone());
            continue;
        }
        if text == "x-cos-sdk-retry" {
            continue;
        }
        if let Some((_, known, how)) = HEADERS.iter().find(|(cos, ..)| *cos == text) {
            to.append(HeaderName::from_static(known), self::value(value, *how, host, hosts)?);
        } else if text.starts_with(META) || text.starts_with(GRANT) {
            let name = format!("x-amz-{}", &text["x-cos-".len()..]);
            let name = HeaderName::from_bytes(name.as_bytes());
            to.append(name.map_err(|_| Refusal::BadArgument("A header is not valid."))?, value.clone());
        } else {
            return Err(Refusal::NotImplemented(format!("the header {text}").into()));
        }
    }
    Ok(to)
}

fn value(value: &HeaderValue, how: Value, host: &str, hosts: &Hosts) -> Result<HeaderValue, Refusal> {
    let text = std::str::from_utf8(value.as_bytes());
    let text = text.map_err(|_| Refusal::BadArgument("A header is not valid UTF-8."))?;
    Ok(match how {
        Value::Same => value.clone(),
        Value::Acl if text == "default" => HeaderValue::from_static("private"),
        Value::Acl => value.clone(),
        Value::Directive if text.eq_ignore_ascii_case("Copy") => HeaderValue::from_static("COPY"),
        Value::Directive if text.eq_ignore_ascii_case("Replaced") => HeaderValue::from_static("REPLACE"),
        Value::Directive => return Err(Refusal::BadArgument("A directive must be Copy or Replaced.")),
        Value::Source => {
            let invalid = Refusal::BadArgument("x-cos-copy-source must be HOST/KEY, percent-encoded.");
            let source = source(text, host, hosts).ok_or(invalid.clone())?;
            HeaderValue::from_str(&source).map_err(|_| invalid)?
        }
    })
}

/// `BUCKET/KEY` of `HOST/KEY`, where the host is a bucket's; one of no bucket, ours or the one that the
/// request came to, has the bucket in its path.
fn source(text: &str, host: &str, hosts: &Hosts) -> Option<String> {
    let (of, key) = text.split_once('/')?;
    match hosts.named(of) {
        Named::Bucket(bucket) => Some(format!("{bucket}/{key}")),
        Named::Ours => Some(key.to_owned()),
        Named::Unknown if of.eq_ignore_ascii_case(host) => Some(key.to_owned()),
        Named::Unknown | Named::Elsewhere => None,
    }
}

#[cfg(test)]
mod tests;
