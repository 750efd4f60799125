//! Tags of objects: from a request to their one kept form, and back.
//!
//! Must never let through what S3 would not: whoever reads tags later trusts them.

use std::sync::Arc;

use http::HeaderMap;
use s3s::dto::Tag;
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

use super::guard::decode;
use crate::queue::TAGS;

/// The most tags of an object.
const MAX_TAGS: usize = 10;
/// The longest key of a tag, in characters.
const MAX_KEY: usize = 128;
/// The longest value of a tag, in characters.
const MAX_VALUE: usize = 256;
/// Keys that begin so are the provider's.
const RESERVED: &str = "aws:";

/// The tags in a request's header, in their kept form; empty: none.
pub(super) fn of_headers(headers: &HeaderMap) -> S3Result<Arc<str>> {
    let Some(value) = headers.get(TAGS) else { return Ok("".into()) };
    let malformed = || {
        s3_error!(
            InvalidArgument,
            "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters \
             without tag name duplicates."
        )
    };
    let text = value.to_str().map_err(|_| malformed())?;
    let mut tags: Vec<(String, String)> = Vec::new();
    for part in text.split('&').filter(|part| !part.is_empty()) {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let (Some(key), Some(value)) = (decode(key, true), decode(value, true)) else {
            return Err(malformed());
        };
        if tags.iter().any(|(known, _)| *known == key) {
            return Err(malformed());
        }
        tags.push((key.into_owned(), value.into_owned()));
    }
    kept(&tags, MAX_TAGS)
}

/// The tags of a document, in their kept form; empty: none.
pub(super) fn of_document(tags: Vec<Tag>, most: usize) -> S3Result<Arc<str>> {
    let pair = |tag: Tag| Some((tag.key?, tag.value.unwrap_or_default()));
    let tags: Option<Vec<_>> = tags.into_iter().map(pair).collect();
    kept(&tags.ok_or(S3ErrorCode::MalformedXML)?, most)
}

/// The kept form: `key=value` between `&`, with those three and `%` percent-encoded.
fn kept(tags: &[(String, String)], most: usize) -> S3Result<Arc<str>> {
    if tags.len() > most {
        let text = format!("There may not be more than {most} tags");
        let mut error = S3Error::with_message(S3ErrorCode::Custom("BadRequest".into()), text);
        error.set_status_code(http::StatusCode::BAD_REQUEST);
        return Err(error);
    }
    let mut out = String::new();
    for (at, (key, value)) in tags.iter().enumerate() {
        if key.is_empty() || key.chars().count() > MAX_KEY || !key.chars().all(is_allowed) {
            return Err(s3_error!(InvalidTag, "The TagKey you have provided is invalid"));
        }
        if key.starts_with(RESERVED) {
            return Err(s3_error!(InvalidTag, "Keys of tags must not begin with aws:"));
        }
        if value.chars().count() > MAX_VALUE || !value.chars().all(is_allowed) {
            return Err(s3_error!(InvalidTag, "The TagValue you have provided is invalid"));
        }
        if tags[..at].iter().any(|(known, _)| known == key) {
            return Err(s3_error!(InvalidTag, "Cannot provide multiple Tags with the same key"));
        }
        if at > 0 {
            out.push('&');
        }
        escape(key, &mut out);
        out.push('=');
        escape(value, &mut out);
    }
    Ok(out.into())
}

/// Letters, digits and spaces of any script, and a few signs.
fn is_allowed(c: char) -> bool {
    c.is_alphanumeric() || (c.is_whitespace() && !c.is_control()) || "+-=._:/@".contains(c)
}

fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '%' => out.push_str("%25"),
            '&' => out.push_str("%26"),
            '=' => out.push_str("%3D"),
            other => out.push(other),
        }
    }
}

/// The tags of a kept form.
pub(super) fn of_kept(kept: &str) -> Vec<Tag> {
    let tag = |part: &str| {
        let (key, value) = part.split_once('=')?;
        let text = |part| decode(part, false).map(|text| text.into_owned());
        Some(Tag { key: Some(text(key)?), value: Some(text(value)?) })
    };
    kept.split('&').filter_map(tag).collect()
}

/// How many tags a kept form has.
pub(super) fn count(kept: &str) -> usize {
    kept.split('&').filter(|part| !part.is_empty()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str) -> S3Result<Arc<str>> {
        of_headers(&HeaderMap::from_iter([(TAGS.parse().expect("a name"), text.parse().expect("a value"))]))
    }

    fn pairs(kept: &str) -> Vec<(String, String)> {
        of_kept(kept).into_iter().map(|tag| (tag.key.expect("a key"), tag.value.expect("a value"))).collect()
    }

    #[test]
    fn tags_come_back_as_they_came() {
        let kept = header("a=1&gr%C3%B6%C3%9Fe=very+large&empty=&bare&k%3D%2F=v%3D%3Dw").expect("allowed");
        let told = pairs(&kept);
        let told: Vec<_> = told.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let wanted = [("a", "1"), ("größe", "very large"), ("empty", ""), ("bare", ""), ("k=/", "v==w")];
        assert_eq!(told, wanted);
        assert_eq!((count(&kept), count("")), (5, 0));
        assert_eq!(pairs(""), []);
    }

    #[test]
    fn what_is_no_tag_is_refused() {
        let many = |n: usize| (0..n).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join("&");
        assert!(
            header(&many(10)).is_ok() && header(&format!("{}={}", "k".repeat(128), "v".repeat(256))).is_ok()
        );
        let (long_key, long_value) = (format!("{}=v", "k".repeat(129)), format!("k={}", "v".repeat(257)));
        for (text, code) in [
            (many(11).as_str(), "BadRequest"),
            (&long_key, "InvalidTag"),
            (&long_value, "InvalidTag"),
            ("=v", "InvalidTag"),
            ("a%00=v", "InvalidTag"),
            ("a=%0A", "InvalidTag"),
            ("a=v%26w", "InvalidTag"),
            ("aws:mine=1", "InvalidTag"),
            ("a=1&a=2", "InvalidArgument"),
            ("a=%zz", "InvalidArgument"),
            ("a=%ff", "InvalidArgument"),
        ] {
            assert_eq!(header(text).expect_err(text).code().as_str(), code, "{text}");
        }
        let twice = vec![Tag { key: Some("a".into()), value: None }; 2];
        assert_eq!(of_document(twice, 10).expect_err("twice").code().as_str(), "InvalidTag");
        assert!(of_document(vec![Tag { key: None, value: None }], 10).is_err());
    }
}
