//! Names, headers and bodies that would mean more than they should elsewhere: here they are what they are, or
//! refused, and what is refused has done nothing.
//!
//! Must never leave a protocol out where both have the thing.

use bytes::Bytes;
use http::Method;

use super::qsign::{HOST, fields, target};
use super::real::Real;
use super::support::{ACCESS_KEY, Running, SECRET, assert_complete_error, told};
use crate::client::Response;

/// A22, A30: names that no bucket may have; some of them are buckets of the server's own elsewhere.
const NO_BUCKETS: [&str; 17] = [
    ".sys",
    "_admin",
    ".tidings",
    ".minio.sys",
    "..",
    "%2e%2e",
    "a..b",
    "Upper",
    "xn--a",
    "192.168.0.1",
    "ab",
    "a_b",
    "-ab",
    "ab-",
    "sthree-a",
    "a-s3alias",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];

/// A request to a host below COS's domain, for a bucket of any name.
async fn by_cos(real: &Real, bucket: &str, method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
    let host = HOST.replacen("bucket", bucket, 1);
    let headers = [&[("host", &*host)], headers].concat();
    let authorization = fields((ACCESS_KEY, SECRET), &method, path, &[], &headers);
    let headers = [&headers[..], &[("authorization", &*authorization)]].concat();
    let headers: Vec<_> = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    real.running.send(method, &target(path, &[]), &headers, "x").await
}

#[tokio::test]
async fn no_bucket_has_a_name_of_the_servers_own() {
    let real = Real::with_bucket().await;
    let end = real.queue.stat().durable_end;
    for name in NO_BUCKETS {
        for path in [format!("/{name}"), format!("/{name}/key")] {
            let answer = real.ask(Method::PUT, &path, &[], &[], "x").await;
            let known = matches!(told(&answer), (400 | 403, _) | (404, "NoSuchBucket"));
            assert!(known, "{path}: {answer:?}");
            assert_complete_error(&answer);
            let form = [("content-type".to_owned(), "multipart/form-data; boundary=x".to_owned())];
            let body = "--x\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nkey\r\n--x--";
            let posted = real.running.send(Method::POST, &format!("/{name}"), &form, body).await;
            assert!(matches!(posted.status.as_u16(), 400 | 403), "{name}: {posted:?}");
        }
        for path in ["/", "/key"] {
            let answer = by_cos(&real, name, Method::PUT, path, &[]).await;
            assert!(matches!(answer.status.as_u16(), 400 | 403 | 404), "{name}{path}, by COS: {answer:?}");
        }
    }
    assert_eq!(real.queue.stat().durable_end, end, "something was made");
}

/// A28, by COS's rules: keys are stored exactly.
#[tokio::test]
async fn odd_keys_are_stored_exactly_by_cos_too() {
    let real = Real::with_bucket().await;
    let keys =
        ["..", "../../up", "a/../../b", "a//b", "/abs", "a\nb", "C:\\x", "%41", "e\u{301}", "é", "$JS.>"];
    for (n, key) in keys.iter().enumerate() {
        let put = real.cos(Method::PUT, &format!("/{key}"), &[], &[], n.to_string()).await;
        assert_eq!(put.status, 200, "{key:?}: {put:?}");
    }
    for (n, key) in keys.iter().enumerate() {
        let got = real.running.client.get("bucket", key).await.expect("answered");
        assert_eq!(&got.body[..], n.to_string().as_bytes(), "{key:?}");
    }
    let events: Vec<_> = real.events().iter().map(|event| event.key.to_string()).collect();
    assert_eq!(events, keys);
}

/// A31: no header makes more of an upload than an object.
#[tokio::test]
async fn an_archive_is_an_object() {
    let running = Running::with_bucket().await;
    // One entry, `../victim/obj`, as tar writes it.
    let mut tar = vec![0; 2048];
    tar[..13].copy_from_slice(b"../victim/obj");
    tar[124..135].copy_from_slice(b"00000000001");
    tar[257..262].copy_from_slice(b"ustar");
    for name in [
        "x-amz-meta-snowball-auto-extract",
        "x-amz-meta-minio-snowball-prefix",
        "x-minio-extract",
        "x-archive-auto-extract",
    ] {
        let put = running.put_with(&tar, &[(name, "true")]).await;
        assert_eq!(put.status, 200, "{name}: {put:?}");
        let got = running.client.get("bucket", "key").await.expect("answered");
        assert!(got.body == tar, "{name}: it was unpacked");
    }
    assert!(running.memory.events().iter().all(|event| &*event.key == "key"));
}

/// A40: what is compressed is not decompressed, neither a document nor an object.
#[tokio::test]
async fn nothing_is_decompressed() {
    let running = Running::with_bucket().await;
    // `<Delete><Object><Key>key</Key></Object></Delete>`, by gzip.
    let gzip = hex::decode(
        "1f8b0800000000000203b37149cd492d49b5b3f14fca4a4d2eb1b3f14eadb4cb4eadb4d107316cf461c2fa5075004d5c41\
         fb30000000",
    );
    let gzip = Bytes::from(gzip.expect("hexadecimal"));
    let put = running.put_with(&gzip, &[("content-encoding", "gzip")]).await;
    assert_eq!(put.status, 200, "{put:?}");
    let got = running.client.get("bucket", "key").await.expect("answered");
    assert_eq!((&got.body, got.header("content-encoding")), (&gzip, Some("gzip")));
    let headers = [("content-encoding", "gzip")];
    let client = &running.client;
    for (method, path, query) in [
        (Method::POST, "/bucket", "delete"),
        (Method::PUT, "/bucket", "versioning"),
        (Method::PUT, "/bucket", "notification"),
        (Method::PUT, "/bucket", "origin"),
    ] {
        let query = [(query, "")];
        let answer = client.request(method, path, &query, &headers, gzip.clone()).await.expect("answered");
        assert_eq!(answer.status, 400, "{query:?}: {answer:?}");
        assert_complete_error(&answer);
    }
    assert_eq!(running.memory.events().len(), 1);
}

/// A49: what a request chooses of its answer's headers stays one header.
#[tokio::test]
async fn no_header_comes_from_a_value() {
    let running = Running::with_bucket().await;
    let path = "/bucket/key";
    running.client.put("bucket", "key", "x").await.expect("answered");
    let injected = ["a\r\nset-cookie: b", "a\nset-cookie: b", "a\r\n\r\n<script>", "a\0b"];
    for name in [
        "response-content-disposition",
        "response-content-type",
        "response-cache-control",
        "response-content-language",
        "response-content-encoding",
        "response-expires",
    ] {
        for value in injected {
            let query = [(name, value)];
            let got = running.client.request(Method::GET, path, &query, &[], Bytes::new()).await;
            let got = got.expect("answered");
            assert_eq!(got.status, 400, "{name} {value:?}: {got:?}");
            assert_eq!(got.header("set-cookie"), None, "{name} {value:?}");
        }
    }
    // What would break a header line is not a header of a request either.
    for line in ["x-amz-meta-a: b\rset-cookie: c", "x-amz-meta-a: b\0c"] {
        let head =
            running.raw_head("GET", path, &crate::client::sign::payload_hash(b""), &format!("{line}\r\n"));
        let text = super::support::read_all(running.raw(&head).await).await;
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 4"), "{line:?}: {text}");
    }
    assert_eq!(running.memory.events().len(), 1);
}
