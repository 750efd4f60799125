//! What a document says of keys that XML cannot hold as they are.
//!
//! A parser takes a carriage return for a line feed: the key that it reads is another one, and may exist. So
//! it is written as a reference; so is every other control character, which XML 1.0 cannot hold at all, and
//! whoever has such keys asks for `encoding-type=url`, as S3 says. Must never touch a body that is an
//! object's.

use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_TYPE};
use s3s::{Body, HttpResponse};

/// The answer with references for what a parser would change or refuse.
pub(super) fn legible(response: HttpResponse) -> HttpResponse {
    let is_object = response.headers().contains_key(ACCEPT_RANGES);
    let content_type = response.headers().get(CONTENT_TYPE);
    if is_object || content_type.is_none_or(|kind| kind != "application/xml") {
        return response;
    }
    let Some(bytes) = response.body().bytes() else { return response };
    let Some(text) = std::str::from_utf8(&bytes).ok().filter(|text| text.contains(is_special)) else {
        return response;
    };
    let mut written = String::with_capacity(text.len() + 64);
    for c in text.chars() {
        match is_special(c) {
            true => written.push_str(&format!("&#x{:X};", u32::from(c))),
            false => written.push(c),
        }
    }
    let (mut parts, _) = response.into_parts();
    if parts.headers.contains_key(CONTENT_LENGTH) {
        parts.headers.insert(CONTENT_LENGTH, written.len().into());
    }
    HttpResponse::from_parts(parts, Body::from(written))
}

/// Changed by a parser, or not of XML 1.0 (its production 2).
fn is_special(c: char) -> bool {
    matches!(c, '\0'..='\u{8}' | '\u{b}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn answer(kind: &'static str, text: &str) -> HttpResponse {
        let mut response = HttpResponse::new(Body::from(text.to_owned()));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        response.headers_mut().insert(CONTENT_LENGTH, text.len().into());
        response
    }

    fn text(response: &HttpResponse) -> String {
        let bytes = response.body().bytes().expect("in memory");
        assert_eq!(response.headers()[CONTENT_LENGTH], bytes.len().to_string());
        String::from_utf8(bytes.to_vec()).expect("text")
    }

    #[test]
    fn a_key_is_never_read_as_another_one() {
        let listed = "<Key>a\rb</Key>\n<Key>a\nb\t</Key><Key>\u{1}\u{ffff}é</Key>";
        let expected = "<Key>a&#xD;b</Key>\n<Key>a\nb\t</Key><Key>&#x1;&#xFFFF;é</Key>";
        assert_eq!(text(&legible(answer("application/xml", listed))), expected);
        assert_eq!(text(&legible(answer("text/plain", listed))), listed);
        let mut object = answer("application/xml", listed);
        object.headers_mut().insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        assert_eq!(text(&legible(object)), listed);
    }
}
