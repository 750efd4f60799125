//! What fuzzers call: each parser of what strangers send, with what must be true of it for any bytes.
//!
//! Must never be part of a product: the feature `fuzzing` brings it, and `fuzz/` alone asks for that.

use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderName, HeaderValue, Request};
use s3s::dto;
use s3s::xml::{Deserialize, Deserializer};

use super::chunks::Chunks;
use super::context::BodyFault;
use super::forms;
use super::guard::{self, Claim, Payload, Refusal, Rules, decode};

/// 2026-11-23T04:00:00Z, the moment of every request.
const NOW: i64 = 1_795_406_400;

/// A request's head, line by line: method and target, then headers. What the guard lets pass must say who
/// asks, and must not depend on what it was asked before.
pub fn head(bytes: &[u8]) {
    let Some(request) = request_of(bytes) else { return };
    let (parts, ()) = request.into_parts();
    let rules = Rules { region: "ap-guangzhou".into(), unsigned_bodies: bytes.len().is_multiple_of(2) };
    let judge = || -> Result<Claim, Refusal> { guard::check(&parts, &rules, false, NOW) };
    let first = judge();
    if let Ok(claim) = &first {
        assert!(!claim.access_key.is_empty(), "a claim names its key");
        let chunked = matches!(claim.payload, Payload::Chunked { .. });
        assert!(!chunked || claim.length.is_some(), "a chunked body has a length");
    }
    assert_eq!(first.is_ok(), judge().is_ok(), "one head, one judgement");
    let _ = guard::is_form(&parts);
}

fn request_of(bytes: &[u8]) -> Option<Request<()>> {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let mut words = lines.next()?.splitn(2, |byte| *byte == b' ');
    let (method, target) = (words.next()?, words.next()?);
    let mut request = Request::builder().method(method).uri(target);
    for line in lines {
        let mut halves = line.splitn(2, |byte| *byte == b':');
        let (name, value) = (halves.next()?, halves.next()?);
        let (name, value) = (HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?);
        request = request.header(name, value);
    }
    request.body(()).ok()
}

/// Percent-decoding: what comes out is never longer, and a text without escapes is itself.
pub fn query(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for plus_is_space in [false, true] {
        let Some(decoded) = decode(text, plus_is_space) else { continue };
        assert!(decoded.len() <= text.len());
        let plain = !(text.contains('%') || plus_is_space && text.contains('+'));
        assert!(!plain || decoded == text, "nothing to decode");
    }
    let target = format!("/bucket/key?{text}");
    let _ = Request::builder().uri(target).body(()).map(|request| {
        let rules = Rules { region: "ap-guangzhou".into(), unsigned_bodies: false };
        guard::check(&request.into_parts().0, &rules, true, NOW).is_ok()
    });
}

/// A body in `aws-chunked` framing: cut into other pieces it means the same, and never more than declared.
pub fn chunks(bytes: &[u8]) {
    let [signed, length, piece, body @ ..] = bytes else { return };
    let (signed, length, piece) = (signed & 1 == 1, u64::from(*length), usize::from(*piece).max(1));
    let read = |size: usize| -> Result<Vec<u8>, BodyFault> {
        let (mut chunks, mut out) = (Chunks::new(signed, length), VecDeque::new());
        for piece in body.chunks(size) {
            chunks.feed(Bytes::copy_from_slice(piece), &mut out)?;
        }
        chunks.end()?;
        Ok(out.into_iter().flatten().collect())
    };
    let (whole, cut) = (read(body.len().max(1)), read(piece));
    assert_eq!(whole.is_ok(), cut.is_ok(), "its pieces do not matter");
    if let (Ok(whole), Ok(cut)) = (whole, cut) {
        assert_eq!(whole, cut);
    }
}

/// A form: cut into other pieces it has the same fields, or none.
pub fn form(bytes: &[u8]) {
    let [piece, body @ ..] = bytes else { return };
    let read = |size: usize| {
        let pieces: Vec<_> = body.chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        futures_util::FutureExt::now_or_never(forms::fuzzing(stream::iter(pieces)))
            .expect("nothing here waits")
    };
    assert_eq!(read(body.len().max(1)), read(usize::from(*piece).max(1)), "its pieces do not matter");
}

/// Every document that a request may carry; the first byte says which.
pub fn xml(bytes: &[u8]) {
    fn read<T: for<'xml> Deserialize<'xml>>(xml: &[u8]) {
        let mut reader = Deserializer::new(xml);
        let _ = T::deserialize(&mut reader).and_then(|_| reader.expect_eof());
    }
    let [which, xml @ ..] = bytes else { return };
    match which % 7 {
        0 => read::<dto::Delete>(xml),
        1 => read::<dto::CompletedMultipartUpload>(xml),
        2 => read::<dto::CreateBucketConfiguration>(xml),
        3 => read::<dto::VersioningConfiguration>(xml),
        4 => read::<dto::Tagging>(xml),
        5 => read::<dto::CORSConfiguration>(xml),
        _ => read::<dto::NotificationConfiguration>(xml),
    }
}
