//! GetObjectAttributes: what was asked for, and nothing else.

use http::Method;

use super::multipart::text;
use super::real::Real;
use super::support::{assert_complete_error, told};
use crate::client::Response;

async fn ask(real: &Real, key: &str, attributes: &str, more: &[(&str, &str)]) -> Response {
    let mut headers = vec![("x-amz-object-attributes", attributes)];
    headers.extend_from_slice(more);
    real.ask(Method::GET, &format!("/bucket/{key}"), &[("attributes", "")], &headers, "").await
}

fn body(response: &Response) -> &str {
    assert_eq!(response.status, 200, "{response:?}");
    std::str::from_utf8(&response.body).expect("UTF-8")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_tells_what_is_asked_of_it() {
    let real = Real::with_bucket().await;
    let headers = [("x-amz-checksum-crc32", "y/Q5Jg=="), ("x-amz-storage-class", "STANDARD_IA")];
    let put = real.ask(Method::PUT, "/bucket/key", &[], &headers, "123456789").await;
    assert_eq!(put.status, 200, "{put:?}");
    let all = ask(&real, "key", "ETag,Checksum, ObjectParts,ObjectSize,StorageClass", &[]).await;
    assert_eq!(text(&all, "ChecksumCRC32"), "y/Q5Jg==");
    assert_eq!(text(&all, "ChecksumType"), "FULL_OBJECT");
    assert_eq!((text(&all, "ObjectSize"), text(&all, "StorageClass")), ("9".into(), "STANDARD_IA".into()));
    assert_eq!(text(&all, "ETag").trim_matches('"'), put.header("etag").expect("one").trim_matches('"'));
    assert!(!body(&all).contains("ObjectParts"), "it came in one piece");
    assert!(all.header("last-modified").is_some() && all.header("x-amz-version-id").is_none());
    let one = ask(&real, "key", "ObjectSize", &[]).await;
    let said = body(&one).matches("</").count();
    assert_eq!(said, 2, "the root and one attribute: {}", body(&one));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_parts_lists_them_in_pages() {
    let real = Real::with_bucket().await;
    let id = real.begin("key", &[("x-amz-checksum-algorithm", "CRC32")]).await;
    let parts: Vec<_> = [2, 3, 9].map(|n| (n, vec![n as u8; 1024 * n as usize])).into();
    let list = real.parts("key", &id, &parts).await;
    let done = real.complete("key", &id, &list).await;
    assert_eq!(done.status, 200, "{done:?}");
    let first = ask(&real, "key", "ObjectParts,Checksum", &[("x-amz-max-parts", "2")]).await;
    assert_eq!((text(&first, "PartsCount"), text(&first, "IsTruncated")), ("3".into(), "true".into()));
    assert_eq!((text(&first, "PartNumber"), text(&first, "Size")), ("2".into(), "2048".into()));
    assert_eq!(
        (body(&first).matches("<Part>").count(), text(&first, "ChecksumType")),
        (2, "COMPOSITE".into())
    );
    assert_eq!(text(&done, "ChecksumCRC32"), text(&first, "ChecksumCRC32") + "-3");
    let next = text(&first, "NextPartNumberMarker");
    assert_eq!(next, "3");
    let last = ask(&real, "key", "ObjectParts", &[("x-amz-part-number-marker", &next)]).await;
    assert_eq!((text(&last, "PartNumber"), text(&last, "IsTruncated")), ("9".into(), "false".into()));
    assert_eq!(body(&last).matches("<Part>").count(), 1);
    let none = ask(&real, "key", "ObjectParts", &[("x-amz-part-number-marker", "9999")]).await;
    assert_eq!((body(&none).matches("<Part>").count(), text(&none, "PartsCount")), (0, "3".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_questions_are_refused() {
    let real = Real::with_bucket().await;
    real.running.client.put("bucket", "key", "x").await.expect("answered");
    for (key, attributes, more, expected) in [
        ("key", "Colour", &[][..], (400, "InvalidArgument")),
        ("key", "ETag,,Colour", &[], (400, "InvalidArgument")),
        ("key", " ", &[], (400, "InvalidArgument")),
        ("key", "ObjectParts", &[("x-amz-max-parts", "-1")], (400, "InvalidArgument")),
        ("key", "ObjectParts", &[("x-amz-part-number-marker", "-1")], (400, "InvalidArgument")),
        ("none", "ETag", &[], (404, "NoSuchKey")),
    ] {
        let answer = ask(&real, key, attributes, more).await;
        assert_eq!(told(&answer), expected, "{key} {attributes} {more:?}");
        assert_complete_error(&answer);
    }
    let named = [("attributes", ""), ("versionId", "none-of-ours")];
    let headers = [("x-amz-object-attributes", "ETag")];
    let answer = real.ask(Method::GET, "/bucket/key", &named, &headers, "").await;
    assert_eq!(told(&answer), (400, "InvalidArgument"));
}
