//! Copies, the older listing, response overrides and conditional writes, over the real store.

use http::Method;

use super::multipart::text;
use super::real::Real;
use super::support::{assert_complete_error, told};
use crate::client::Response;
use crate::event::EventKind;

impl Real {
    async fn copy(&self, to: &str, source: &str, headers: &[(&str, &str)]) -> Response {
        let headers = [headers, &[("x-amz-copy-source", source)]].concat();
        self.ask(Method::PUT, to, &[], &headers, "").await
    }

    async fn read(&self, path: &str) -> Response {
        self.ask(Method::GET, path, &[], &[], "").await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_has_its_own_bytes_event_and_chosen_headers() {
    let real = Real::with_bucket().await;
    real.running.client.create_bucket("other").await.expect("answered");
    let headers = [("content-type", "image/png"), ("x-amz-meta-a", "1")];
    let large: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    for (what, body) in [("empty", vec![]), ("small", b"hello".to_vec()), ("large", large)] {
        let put = real.running.client.put_with("bucket", "a key+1", body.clone(), &headers).await;
        assert_eq!(put.expect("answered").status, 200);
        let made = real.copy("/other/copy", "/bucket/a%20key%2B1", &[]).await;
        assert_eq!(made.status, 200, "{what}: {made:?}");
        let event = real.events().pop().expect("an event");
        assert_eq!((event.kind, &*event.bucket, &*event.key), (EventKind::CreatedCopy, "other", "copy"));
        assert_eq!((event.size, &*event.etag), (body.len() as u64, text(&made, "ETag").trim_matches('"')));
        // The source may go: nothing is shared.
        real.running.client.delete("bucket", "a key+1").await.expect("answered");
        real.checkpointed().await;
        let got = real.read("/other/copy").await;
        assert!(got.body == body, "{what}");
        assert_eq!((got.header("content-type"), got.header("x-amz-meta-a")), (Some("image/png"), Some("1")));
    }
    let directive = ("x-amz-metadata-directive", "REPLACE");
    let made = real.copy("/other/copy", "other/copy", &[directive, ("x-amz-meta-b", "2")]).await;
    assert_eq!(made.status, 200, "onto itself: {made:?}");
    let got = real.read("/other/copy").await;
    assert_eq!((got.header("x-amz-meta-a"), got.header("x-amz-meta-b")), (None, Some("2")));
    assert_eq!(got.body.len(), 300_000);
    let events = real.events().len();
    for (what, to, source, headers, code) in [
        ("onto itself unchanged", "/other/copy", "other/copy", &[][..], (400, "InvalidRequest")),
        ("no source", "/other/copy", "bucket/none", &[], (404, "NoSuchKey")),
        ("no source bucket", "/other/copy", "nobucket/none", &[], (404, "NoSuchBucket")),
        ("no bucket", "/nobucket/copy", "other/copy", &[], (404, "NoSuchBucket")),
        ("not a source", "/other/copy", "nonsense", &[], (400, "InvalidArgument")),
        ("a version that is not ours", "/other/x", "other/copy?versionId=abc", &[], (400, "InvalidArgument")),
        (
            "directive",
            "/other/x",
            "other/copy",
            &[("x-amz-metadata-directive", "KEEP")],
            (400, "InvalidArgument"),
        ),
        (
            "a match",
            "/other/x",
            "other/copy",
            &[("x-amz-copy-source-if-match", "\"00\"")],
            (412, "PreconditionFailed"),
        ),
        (
            "a condition of the target",
            "/other/copy",
            "bucket/none",
            &[("if-none-match", "*")],
            (412, "PreconditionFailed"),
        ),
    ] {
        let refused = real.copy(to, source, headers).await;
        assert_eq!(told(&refused), code, "{what}");
        assert_complete_error(&refused);
    }
    let etag = got.header("etag").expect("an ETag");
    let refused = real.copy("/other/x", "other/copy", &[("x-amz-copy-source-if-none-match", etag)]).await;
    assert_eq!(told(&refused), (412, "PreconditionFailed"));
    let made = real.copy("/other/x", "other/copy", &[("x-amz-copy-source-if-match", etag)]).await;
    assert_eq!(made.status, 200);
    assert_eq!(real.events().len(), events + 1, "refused copies are no events");
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_may_be_copied_too() {
    let real = Real::with_bucket().await;
    let body: Vec<u8> = (0..200_000_u32).map(|n| (n % 241) as u8).collect();
    real.running.client.put("bucket", "source", body.clone()).await.expect("answered");
    let id = real.begin("key", &[]).await;
    let copy = async |number: &str, range: &str| {
        let query = [("partNumber", number), ("uploadId", &id)];
        let source = ("x-amz-copy-source", "bucket/source");
        let headers = [source, ("x-amz-copy-source-range", range)];
        let headers = if range.is_empty() { &headers[..1] } else { &headers[..] };
        real.ask(Method::PUT, "/bucket/key", &query, headers, "").await
    };
    let mut list = String::new();
    for (number, range) in [("1", "bytes=0-99999"), ("2", ""), ("3", "bytes=199999-199999")] {
        let made = copy(number, range).await;
        assert_eq!(made.status, 200, "{made:?}");
        let etag = text(&made, "ETag");
        list += &format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>");
    }
    for range in ["bytes=0-200000", "bytes=5-4", "bytes=5-", "bytes=-5", "5-6", "bytes=0-1,3-4", "bytes=+1-2"]
    {
        let refused = copy("4", range).await;
        let expected =
            if range == "bytes=0-200000" { (416, "InvalidRange") } else { (400, "InvalidArgument") };
        assert_eq!(told(&refused), expected, "{range}");
    }
    let list = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
    let done = real.ask(Method::POST, "/bucket/key", &[("uploadId", &id)], &[], list).await;
    assert_eq!(done.status, 200, "{done:?}");
    let whole = [&body[..100_000], &body, &body[199_999..]].concat();
    assert!(real.read("/bucket/key").await.body == whole);
    // A copy of an object of parts is an object of one piece.
    let made = real.copy("/bucket/flat", "bucket/key", &[]).await;
    assert_eq!(made.status, 200, "{made:?}");
    assert!(real.read("/bucket/flat").await.body == whole);
    assert!(!text(&made, "ETag").contains('-'));
    let kinds: Vec<_> = real.events().iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::CreatedPut, EventKind::CreatedMultipart, EventKind::CreatedCopy]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_older_listing_has_pages_too() {
    let real = Real::with_bucket().await;
    for key in ["a/1", "a/2", "b", "c/1", "d e"] {
        real.running.client.put("bucket", key, "x").await.expect("answered");
    }
    for (delimiter, expected) in
        [("", &["a/1", "a/2", "b", "c/1", "d%20e"][..]), ("/", &["a/", "b", "c/", "d%20e"])]
    {
        for size in ["1", "2", "1000"] {
            let (mut marker, mut seen) = (String::new(), Vec::new());
            loop {
                let query = [
                    ("delimiter", delimiter),
                    ("marker", &marker),
                    ("max-keys", size),
                    ("encoding-type", "url"),
                ];
                let page = real.ask(Method::GET, "/bucket", &query, &[], "").await;
                let body = String::from_utf8(page.body.to_vec()).expect("UTF-8");
                let mut found: Vec<_> = ["<Key>", "<CommonPrefixes><Prefix>"]
                    .iter()
                    .flat_map(|tag| body.split(tag).skip(1))
                    .map(|rest| rest.split('<').next().unwrap_or_default().to_owned())
                    .collect();
                found.sort();
                seen.extend(found);
                if text(&page, "IsTruncated") == "false" {
                    break;
                }
                marker = text(&page, "NextMarker").replace("%20", " ");
            }
            assert_eq!(seen, expected, "{delimiter:?}, {size} a page");
        }
    }
    // A marker within a prefix does not hide what follows it there.
    let query = [("delimiter", "/"), ("marker", "a/1")];
    let page = real.ask(Method::GET, "/bucket", &query, &[], "").await;
    assert!(std::str::from_utf8(&page.body).expect("UTF-8").contains("<Prefix>a/</Prefix>"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_may_choose_headers_of_its_answer() {
    let real = Real::with_bucket().await;
    real.running.client.put_with("bucket", "key", "x", &[("content-type", "a/b")]).await.expect("answered");
    let query = [
        ("response-content-type", "text/html"),
        ("response-content-disposition", "attachment; filename=\"x.txt\""),
        ("response-expires", "Thu, 01 Dec 1994 16:00:00 GMT"),
        ("response-cache-control", "no-cache"),
    ];
    let got = real.ask(Method::GET, "/bucket/key", &query, &[], "").await;
    assert_eq!(got.status, 200, "{got:?}");
    assert_eq!(got.header("content-type"), Some("text/html"));
    assert_eq!(got.header("content-disposition"), Some("attachment; filename=\"x.txt\""));
    assert_eq!(got.header("expires"), Some("Thu, 01 Dec 1994 16:00:00 GMT"));
    assert_eq!(got.header("cache-control"), Some("no-cache"));
    let bad = real.ask(Method::GET, "/bucket/key", &[("response-content-type", "a\nb")], &[], "").await;
    assert_eq!(bad.status, 400, "{bad:?}");
    assert_eq!(real.read("/bucket/key").await.header("content-type"), Some("a/b"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_about_an_object_that_is_not_there_says_so() {
    let real = Real::with_bucket().await;
    let client = &real.running.client;
    let refused = client.put_with("bucket", "key", "x", &[("if-match", "\"00\"")]).await.expect("answered");
    assert_eq!(told(&refused), (404, "NoSuchKey"));
    let made = client.put_with("bucket", "key", "x", &[("if-none-match", "*")]).await.expect("answered");
    assert_eq!(made.status, 200);
    let refused = client.put_with("bucket", "key", "y", &[("if-none-match", "*")]).await.expect("answered");
    assert_eq!(told(&refused), (412, "PreconditionFailed"));
    let etag = made.header("etag").expect("an ETag");
    let made = client.put_with("bucket", "key", "y", &[("if-match", etag)]).await.expect("answered");
    assert_eq!(made.status, 200);
    assert_eq!(real.events().len(), 2);
}
