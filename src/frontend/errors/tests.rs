//! The error answers' tests.

use super::*;
use crate::commit::CommitError;

fn text(response: HttpResponse) -> String {
    let bytes = response.into_body().bytes().expect("in memory");
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[test]
fn every_error_has_its_four_elements() {
    let bare = S3Error::from(S3ErrorCode::NoSuchKey).to_http_response().expect("writable");
    let got = complete(bare, None, "/b/<k>&", "00FF", false);
    assert_eq!(got.status(), StatusCode::NOT_FOUND);
    assert_eq!(
        text(got),
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NoSuchKey</Code>\
         <Message>The specified key does not exist.</Message><Resource>/b/&lt;k&gt;&amp;</Resource>\
         <RequestId>00FF</RequestId></Error>"
    );
    let told = S3Error::with_message(S3ErrorCode::InvalidArgument, "a < b & \"c\"");
    let got = text(complete(told.to_http_response().expect("writable"), None, "/", "1", false));
    assert!(got.contains("<Message>a &lt; b &amp; &quot;c&quot;</Message>"), "{got}");
    assert!(text(internal("/x", "9", false)).contains("<RequestId>9</RequestId>"));
    assert!(text(internal("/x", "9", true)).is_empty());
}

#[test]
fn a_body_fault_is_the_reason() {
    let vague = S3Error::from(S3ErrorCode::InternalError).to_http_response().expect("writable");
    let got = complete(vague, Some(BodyFault::Digest), "/b", "1", false);
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
    let answer = complete(answer, None, "/b/k", "1", false);
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers().get("retry-after"), Some(&HeaderValue::from_static("1")));
    assert!(text(answer).contains("<Code>SlowDown</Code>"));
}

#[test]
fn what_is_not_known_is_not_called_absent() {
    let answer = of_store(StoreError::Unread).to_http_response().expect("writable");
    let answer = complete(answer, None, "/b/k", "1", false);
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(text(answer).contains("<Code>ServiceUnavailable</Code>"));
}

#[test]
fn long_and_odd_resources_stay_within_xml() {
    let long = "é".repeat(MAX_RESOURCE);
    let got = text(internal(&long, "1", false));
    assert!(got.len() < MAX_RESOURCE + 400);
    let got = text(internal("/\u{1}\u{0}", "1", false));
    assert!(got.contains("<Resource>/\u{FFFD}\u{FFFD}</Resource>"), "{got}");
}
