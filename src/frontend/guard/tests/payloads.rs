//! Bodies: how they are told, and by whom unsigned ones are taken.

use super::*;

/// A1, A2, A9: every payload is one that we know.
#[test]
fn payloads_are_known() {
    let chunked = |value: &str, trailer: bool| {
        let signed = format!("{SIGNED};x-amz-trailer");
        let head = Head::signed().set("x-amz-content-sha256", value).set("x-amz-decoded-content-length", "5");
        match trailer {
            true => head
                .set("x-amz-trailer", "x-amz-checksum-crc32")
                .auth(&authorization(&scope("20261123"), &signed)),
            false => head,
        }
    };
    let cases = [
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", false, true),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", true, true),
        ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", true, false),
    ];
    for (value, trailer, signed) in cases {
        let claim = chunked(value, trailer).check().expect(value);
        assert_eq!((claim.payload, claim.length), (Payload::Chunked { signed, trailer }, Some(5)));
        assert_eq!(chunked(value, !trailer).refusal(), (400, "InvalidRequest"), "{value}");
        let bare = chunked(value, trailer).without("x-amz-decoded-content-length");
        assert_eq!(bare.refusal(), (411, "MissingContentLength"), "{value}");
        let query = Head::presigned().method("PUT").set("x-amz-content-sha256", value);
        assert_eq!(query.refusal(), (403, "AccessDenied"), "{value} in a presigned URL");
    }
    for value in [
        "",
        "UNSIGNED",
        "unsigned-payload",
        "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD",
        "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER",
        "STREAMING-AWS4-HMAC-SHA256-EVENTS",
        &EMPTY.to_uppercase(),
        &EMPTY[1..],
    ] {
        let head = Head::signed().set("x-amz-content-sha256", value);
        assert_eq!(head.refusal(), (400, "InvalidArgument"), "{value}");
        let query = Head::presigned().set("x-amz-content-sha256", value);
        assert_eq!(query.refusal(), (403, "AccessDenied"), "{value}");
    }
    assert_eq!(Head::signed().without("x-amz-content-sha256").refusal(), (400, "InvalidRequest"));
    for length in ["+5", "0x5", " 5", "5,5", "-1", "99999999999999999999", ""] {
        let head = Head::signed().set("content-length", length);
        assert_eq!(head.refusal(), (400, "InvalidArgument"), "{length:?}");
    }
}

/// A9: over a wire without TLS, somebody must have signed the body.
#[test]
fn unsigned_bodies_come_from_this_machine_only() {
    let unsigned = Head::signed().set("x-amz-content-sha256", "UNSIGNED-PAYLOAD");
    let signed = format!("{SIGNED};x-amz-trailer");
    let trailer = Head::signed()
        .set("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
        .set("x-amz-decoded-content-length", "5")
        .set("x-amz-trailer", "x-amz-checksum-crc32")
        .auth(&authorization(&scope("20261123"), &signed));
    for head in [unsigned, trailer] {
        assert!(head.check_at(true, NOW).is_ok());
        assert!(matches!(head.check_at(false, NOW), Err(Refusal::Denied(_))));
        assert!(head.check_by(&Rules { unsigned_bodies: true, ..rules() }, false, NOW).is_ok());
    }
    assert!(Head::signed().check_at(false, NOW).is_ok());
    assert!(Head::presigned().check_at(false, NOW).is_ok(), "the holder of a URL is trusted with the body");
}
