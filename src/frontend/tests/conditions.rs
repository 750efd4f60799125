//! Conditions and ranges.

use http::Method;

use super::support::{Running, told};
use crate::client::Response;

async fn get(running: &Running, headers: &[(&str, &str)]) -> Response {
    let request = running.client.request(Method::GET, "/bucket/key", &[], headers, "".into());
    request.await.expect("answered")
}

#[tokio::test]
async fn ranges_are_exact() {
    let running = Running::with_bucket().await;
    running.client.put("bucket", "key", "0123456789").await.expect("answered");
    for (range, body, content_range) in [
        ("bytes=0-0", "0", "bytes 0-0/10"),
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=7-99", "789", "bytes 7-9/10"),
        ("bytes=-3", "789", "bytes 7-9/10"),
        ("bytes=-99", "0123456789", "bytes 0-9/10"),
    ] {
        let got = get(&running, &[("range", range)]).await;
        assert_eq!((got.status.as_u16(), &got.body[..]), (206, body.as_bytes()), "{range}");
        assert_eq!(got.header("content-range"), Some(content_range), "{range}");
        assert_eq!(got.header("content-length"), Some(body.len().to_string().as_str()), "{range}");
    }
    for range in ["bytes=10-", "bytes=99-100", "bytes=-0"] {
        let got = get(&running, &[("range", range)]).await;
        assert_eq!(told(&got), (416, "InvalidRange"), "{range}");
        assert_eq!(got.header("content-range"), Some("bytes */10"), "{range}");
    }
    // A47: not a single range.
    let bomb = format!("bytes={}", (0..1000).map(|n| format!("{n}-{n}")).collect::<Vec<_>>().join(","));
    for range in ["bytes=4-2", "bytes=0-1,3-4", "lines=1-2", "bytes=a-b", &bomb] {
        assert_eq!(get(&running, &[("range", range)]).await.status, 400, "{range:.20}");
    }
    running.client.put("bucket", "key", "").await.expect("answered");
    assert_eq!(told(&get(&running, &[("range", "bytes=0-")]).await), (416, "InvalidRange"));
    assert_eq!(told(&get(&running, &[("range", "bytes=-1")]).await), (416, "InvalidRange"));
}

#[tokio::test]
async fn a_large_object_is_read_in_parts() {
    let running = Running::with_bucket().await;
    let body: Vec<u8> = (0..300_000u32).flat_map(|n| n.to_le_bytes()).collect();
    let put = running.client.put("bucket", "key", body.clone()).await.expect("answered");
    assert_eq!(put.status, 200, "{put:?}");
    assert_eq!(running.memory.stray_blobs(), 0, "the record has it");
    assert!(get(&running, &[]).await.body == body, "all of it");
    let part = get(&running, &[("range", "bytes=100000-900000")]).await;
    assert!(part.body == body[100_000..=900_000], "a part of it");
}

#[tokio::test]
async fn reads_obey_their_conditions() {
    let running = Running::with_bucket().await;
    let put = running.client.put("bucket", "key", "hello").await.expect("answered");
    let etag = format!("\"{}\"", put.etag().expect("an ETag"));
    let (past, future) = ("Thu, 01 Jan 1998 00:00:00 GMT", "Thu, 01 Jan 2099 00:00:00 GMT");
    for (headers, status) in [
        (vec![("if-match", etag.as_str())], 200),
        (vec![("if-match", "*")], 200),
        (vec![("if-match", "\"other\"")], 412),
        (vec![("if-none-match", etag.as_str())], 304),
        (vec![("if-none-match", "\"other\"")], 200),
        (vec![("if-modified-since", past)], 200),
        (vec![("if-modified-since", future)], 304),
        (vec![("if-unmodified-since", past)], 412),
        (vec![("if-unmodified-since", future)], 200),
        // An ETag condition makes the time beside it void.
        (vec![("if-match", etag.as_str()), ("if-unmodified-since", past)], 200),
        (vec![("if-none-match", "\"other\""), ("if-modified-since", future)], 200),
    ] {
        let got = get(&running, &headers).await;
        assert_eq!(got.status.as_u16(), status, "{headers:?}");
        if status == 304 {
            assert!(got.body.is_empty());
            assert_eq!(got.header("etag"), Some(etag.as_str()));
        }
    }
}

#[tokio::test]
async fn writes_obey_their_conditions() {
    let running = Running::with_bucket().await;
    let create = [("if-none-match", "*")];
    let first = running.put_with(b"one", &create).await;
    assert_eq!(first.status, 200);
    assert_eq!(told(&running.put_with(b"two", &create).await), (412, "PreconditionFailed"));
    let etag = format!("\"{}\"", first.etag().expect("an ETag"));
    assert_eq!(
        told(&running.put_with(b"two", &[("if-match", "\"other\"")]).await),
        (412, "PreconditionFailed")
    );
    assert_eq!(running.put_with(b"two", &[("if-match", &etag)]).await.status, 200);
    assert_eq!(running.memory.events().len(), 2);
    for header in ["if-unmodified-since", "if-modified-since"] {
        let answer = running.put_with(b"x", &[(header, "Thu, 01 Jan 1998 00:00:00 GMT")]).await;
        assert_eq!(told(&answer), (501, "NotImplemented"), "{header}");
    }
    let condition = [("if-match", etag.as_str())];
    let deleted = running.client.request(Method::DELETE, "/bucket/key", &[], &condition, "".into()).await;
    let deleted = deleted.expect("answered");
    assert_eq!(told(&deleted), (412, "PreconditionFailed"), "a condition is never ignored");
    // Several ETags, or a weak one, could be taken for one that nothing matches.
    for list in [format!("{etag}, \"other\""), format!("W/{etag}")] {
        let answer = running.put_with(b"x", &[("if-none-match", &list)]).await;
        assert_eq!(told(&answer), (501, "NotImplemented"), "{list}");
    }
    assert_eq!(running.memory.events().len(), 2);
}
