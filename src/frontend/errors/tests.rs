//! The error answers' tests.

use super::*;
use crate::commit::CommitError;

fn about(resource: &str) -> About<'_> {
    About { resource, request_id: "00FF", family: Family::S3, bare: false }
}

fn text(response: HttpResponse) -> String {
    let bytes = response.into_body().bytes().expect("in memory");
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[test]
fn every_error_has_its_four_elements() {
    let bare = S3Error::from(S3ErrorCode::NoSuchKey).to_http_response().expect("writable");
    let got = complete(bare, None, about("/b/<k>&"));
    assert_eq!(got.status(), StatusCode::NOT_FOUND);
    assert_eq!(
        text(got),
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NoSuchKey</Code>\
         <Message>The specified key does not exist.</Message><Resource>/b/&lt;k&gt;&amp;</Resource>\
         <RequestId>00FF</RequestId></Error>"
    );
    let told = S3Error::with_message(S3ErrorCode::InvalidArgument, "a < b & \"c\"");
    let got = text(complete(told.to_http_response().expect("writable"), None, about("/")));
    assert!(got.contains("<Message>a &lt; b &amp; &quot;c&quot;</Message>"), "{got}");
    assert!(text(internal(about("/x"))).contains("<RequestId>00FF</RequestId>"));
    assert!(text(internal(About { bare: true, ..about("/x") })).is_empty());
}

#[test]
fn a_body_fault_is_the_reason() {
    let vague = S3Error::from(S3ErrorCode::InternalError).to_http_response().expect("writable");
    let got = complete(vague, Some(BodyFault::Digest), about("/b"));
    assert_eq!(got.status(), StatusCode::BAD_REQUEST);
    assert!(text(got).contains("<Code>BadDigest</Code>"));
}

#[test]
fn no_space_says_when_to_come_back() {
    let answer = of_commit(CommitError::Full(crate::queue::Full {
        reason: crate::queue::FullReason::Log,
        why: "log".into(),
    }));
    let answer = answer.to_http_response().expect("writable");
    let answer = complete(answer, None, about("/b/k"));
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers().get("retry-after"), Some(&HeaderValue::from_static("1")));
    assert!(text(answer).contains("<Code>SlowDown</Code>"));
}

#[test]
fn what_is_not_known_is_not_called_absent() {
    let answer = of_store(StoreError::Unread).to_http_response().expect("writable");
    let answer = complete(answer, None, about("/b/k"));
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(text(answer).contains("<Code>ServiceUnavailable</Code>"));
}

#[test]
fn long_and_odd_resources_stay_within_xml() {
    let long = "é".repeat(MAX_RESOURCE);
    let got = text(internal(about(&long)));
    assert!(got.len() < MAX_RESOURCE + 400);
    let got = text(internal(about("/\u{1}\u{0}")));
    assert!(got.contains("<Resource>/\u{FFFD}\u{FFFD}</Resource>"), "{got}");
}

#[test]
fn cos_is_told_in_its_own_words() {
    let cos = |code: S3ErrorCode| {
        let answer = S3Error::from(code).to_http_response().expect("writable");
        text(complete(answer, None, About { family: Family::Cos, ..about("/k") }))
    };
    let got = cos(S3ErrorCode::KeyTooLongError);
    assert!(
        got.contains("<Code>KeyTooLong</Code><Message>The key is longer than 1024 bytes.</Message>"),
        "{got}"
    );
    let trace = format!("<RequestId>00FF</RequestId><TraceId>{}</TraceId></Error>", trace_of("00FF"));
    assert!(got.ends_with(&trace), "{got}");
    assert!(cos(S3ErrorCode::NoSuchKey).contains("<Code>NoSuchKey</Code>"));
}
