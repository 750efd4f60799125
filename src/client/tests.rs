//! The client's tests: known answers for the signature, and what a local server gets and answers.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::sign::{Parts, Signer, amz_date, canonical_query, encode_path, payload_hash};
use super::*;
use http::StatusCode;

/// The worked examples of Amazon's S3 documentation: the same key pair, day and bucket in all of them.
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const HOST_NAME: &str = "examplebucket.s3.amazonaws.com";
const NO_BODY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn example() -> (Signer, Timestamp) {
    let at = "2013-05-24T00:00:00Z".parse().expect("a timestamp");
    (Signer::new("us-east-1", "AKIAIOSFODNN7EXAMPLE", SECRET), at)
}

fn example_signature(method: &str, path: &str, query: &str, headers: &[(&str, &str)], body: &str) -> String {
    let (signer, at) = example();
    let mut all =
        vec![("x-amz-date", "20130524T000000Z"), ("host", HOST_NAME), ("x-amz-content-sha256", body)];
    all.extend_from_slice(headers);
    let parts = Parts { method, path, query, headers: &all, payload: body };
    signer.sign(&parts, at).signature
}

#[test]
fn header_signatures_equal_the_published_ones() {
    let get = example_signature("GET", "/test.txt", "", &[("range", "bytes=0-9")], NO_BODY);
    assert_eq!(get, "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");

    let body = payload_hash(b"Welcome to Amazon S3.");
    let extra = [("x-amz-storage-class", "REDUCED_REDUNDANCY"), ("date", "Fri, 24 May 2013 00:00:00 GMT")];
    let put = example_signature("PUT", &encode_path("/test$file.text"), "", &extra, &body);
    assert_eq!(put, "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");

    let lifecycle = example_signature("GET", "/", &canonical_query(&[("lifecycle", "")]), &[], NO_BODY);
    assert_eq!(lifecycle, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");

    let list = canonical_query(&[("prefix", "J"), ("max-keys", "2")]);
    let list = example_signature("GET", "/", &list, &[], NO_BODY);
    assert_eq!(list, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

#[test]
fn the_authorization_header_has_the_published_form() {
    let (signer, at) = example();
    let headers =
        [("x-amz-date", "20130524T000000Z"), ("x-amz-content-sha256", NO_BODY), ("host", HOST_NAME)];
    let parts = Parts { method: "GET", path: "/", query: "lifecycle=", headers: &headers, payload: NO_BODY };
    let expected = "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, \
                    SignedHeaders=host;x-amz-content-sha256;x-amz-date, \
                    Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543";
    assert_eq!(signer.sign(&parts, at).authorization, expected);
    assert!(!format!("{signer:?}").contains(SECRET));
}

#[test]
fn a_presigned_query_equals_the_published_one() {
    let (signer, at) = example();
    let headers = [("host", HOST_NAME)];
    let parts = Parts {
        method: "GET",
        path: "/test.txt",
        query: "",
        headers: &headers,
        payload: sign::UNSIGNED_PAYLOAD,
    };
    let query = signer.presign(&parts, &[], 86_400, at);
    let expected = "X-Amz-Algorithm=AWS4-HMAC-SHA256\
                    &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
                    &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
                    &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
    assert_eq!(query, expected);
}

#[test]
fn the_signing_key_follows_the_day() {
    let (signer, at) = example();
    let first = signer.sign_text("x", at);
    let next = signer.sign_text("x", at + jiff::SignedDuration::from_hours(24));
    assert_ne!(first, next);
    assert_eq!(first, signer.sign_text("x", at), "coming back to a day gives its key again");
}

#[test]
fn paths_and_queries_are_encoded_once_and_sorted() {
    assert_eq!(encode_path("/b/a b+c/é%/~.-_=&?#"), "/b/a%20b%2Bc/%C3%A9%25/~.-_%3D%26%3F%23");
    assert_eq!(canonical_query(&[("b", "2"), ("a-", "/"), ("a", "z"), ("a", "y")]), "a=y&a=z&a-=%2F&b=2");
    assert_eq!(amz_date("2026-11-23T04:05:06.9Z".parse().expect("a timestamp")), "20261123T040506Z");
}

#[test]
fn equal_headers_join_and_runs_of_spaces_count_as_one() {
    let (signer, at) = example();
    let sign = |headers: &[(&str, &str)]| {
        let parts = Parts { method: "GET", path: "/", query: "", headers, payload: NO_BODY };
        signer.sign(&parts, at)
    };
    let apart = sign(&[("x-a", " one  two "), ("x-a", "three"), ("host", "h")]);
    let joined = sign(&[("host", "h"), ("x-a", "one two,three")]);
    assert_eq!(apart, joined);
}

#[test]
fn listings_are_read_with_encoded_and_escaped_names() {
    let xml = |encoding: &str, key: &str| {
        format!(
            "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3\"><Name>b</Name>{encoding}\
             <KeyCount>1</KeyCount><Contents><Key>{key}</Key><ETag>&quot;e1&quot;</ETag>\
             <Size>7</Size></Contents>\
             <CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes>\
             <NextContinuationToken>t&amp;1</NextContinuationToken></ListBucketResult>"
        )
    };
    let key = |encoding, key| {
        let page = Listing::parse(xml(encoding, key).as_bytes()).expect("a listing");
        assert_eq!(page.prefixes, ["p/"]);
        assert_eq!(page.next.as_deref(), Some("t&1"));
        assert_eq!((page.objects[0].size, page.objects[0].etag.as_str()), (7, "e1"));
        page.objects[0].key.clone()
    };
    assert_eq!(key("<EncodingType>url</EncodingType>", "a+%2B%C3%A9/%0A"), "a +é/\n");
    assert_eq!(key("", "a+%2B&lt;&#xe9;&#10;&amp;amp;"), "a+%2B<é\n&amp;");
    assert_eq!(Listing::parse(b"<Error><Code>NoSuchBucket</Code></Error>"), None);
    assert_eq!(Listing::parse(xml("", "k").replace("<Size>7", "<Size>x").as_bytes()), None);
}

/// A server of one connection that reads a request's head and body and then writes `answer`, or closes.
async fn serve_once(answer: &'static str) -> (SocketAddr, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let task = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.expect("a connection");
        let mut got = Vec::new();
        while !got.ends_with(b"body") {
            let mut part = [0; 4096];
            let n = socket.read(&mut part).await.expect("readable");
            assert!(n > 0, "the client hung up early");
            got.extend_from_slice(&part[..n]);
        }
        socket.write_all(answer.as_bytes()).await.expect("writable");
        String::from_utf8(got).expect("text")
    });
    (address, task)
}

fn client(address: SocketAddr) -> Client {
    Client::new(&format!("http://{address}"), "r", "AK", "SK").expect("a client")
}

#[tokio::test]
async fn odd_keys_reach_the_wire_unchanged_and_signed() {
    let (address, server) =
        serve_once("HTTP/1.1 200 OK\r\nETag: \"abc\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .await;
    let headers = [("content-type", "text/x"), ("x-amz-meta-a", "é  é")];
    let answer = client(address).put_with("b", "a/../%2e/é +", "body", &headers).await.expect("answered");
    assert_eq!((answer.status, answer.etag()), (StatusCode::OK, Some("abc")));

    let got = server.await.expect("the server");
    assert!(got.starts_with("PUT /b/a/../%252e/%C3%A9%20%2B HTTP/1.1\r\n"), "{got}");
    let header = |name: &str| {
        let line = got.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}: ")));
        line.map(|line| line[name.len() + 2..].to_owned()).unwrap_or_else(|| panic!("no {name} in {got}"))
    };
    // The signature covers exactly what arrived.
    let date = header("x-amz-date");
    let hash = payload_hash(b"body");
    assert_eq!(header("x-amz-content-sha256"), hash);
    let host = address.to_string();
    let all = [
        ("host", host.as_str()),
        ("x-amz-date", &date),
        ("x-amz-content-sha256", &hash),
        ("content-type", "text/x"),
        ("x-amz-meta-a", "é  é"),
    ];
    let parts =
        Parts { method: "PUT", path: "/b/a/../%252e/%C3%A9%20%2B", query: "", headers: &all, payload: &hash };
    let at = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", &date)
        .and_then(|time| time.to_zoned(jiff::tz::TimeZone::UTC))
        .expect("a date")
        .timestamp();
    assert_eq!(header("authorization"), Signer::new("r", "AK", "SK").sign(&parts, at).authorization);
    assert_eq!(header("host"), host);
}

#[tokio::test]
async fn an_error_answer_is_an_answer() {
    let (address, _server) = serve_once(
        "HTTP/1.1 503 Slow Down\r\nContent-Length: 35\r\n\r\n<Error><Code>SlowDown</Code></Error>",
    )
    .await;
    let answer = client(address).put("b", "k", "body").await.expect("answered");
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.error_code(), Some("SlowDown"));
}

#[tokio::test]
async fn a_cut_exchange_is_unknown_and_a_dead_port_is_not_sent() {
    for cut in ["", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"] {
        let (address, server) = serve_once(cut).await;
        let result = client(address).put("b", "k", "body").await;
        assert!(matches!(result, Err(ClientError::Unknown(_))), "{cut:?}: {result:?}");
        server.await.expect("the server");
        // The listener is gone with the task: now nothing can have been sent.
        let result = client(address).put("b", "k", "body").await;
        assert!(matches!(result, Err(ClientError::NotSent(_))), "{result:?}");
    }
}

#[tokio::test]
async fn a_silent_server_is_unknown_after_the_bound() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let client = client(listener.local_addr().expect("bound")).with_timeout(Duration::from_millis(50));
    let result = client.put("b", "k", "body").await;
    assert!(matches!(result, Err(ClientError::Unknown(_))), "{result:?}");
}

#[tokio::test]
async fn nonsense_is_refused_before_anything_is_sent() {
    for endpoint in ["127.0.0.1:9000", "https://h", "http://h/x", "http://"] {
        assert!(matches!(Client::new(endpoint, "r", "a", "s"), Err(ClientError::Invalid(_))), "{endpoint}");
    }
    let client = Client::new("http://127.0.0.1:1/", "r", "a", "s").expect("a client");
    let result = client.put_with("b", "k", "", &[("bad name", "v")]).await;
    assert!(matches!(result, Err(ClientError::Invalid(_))), "{result:?}");
    assert!(
        client.presign(&Method::GET, "b", "k k", 60).starts_with("http://127.0.0.1:1/b/k%20k?X-Amz-Algo")
    );
}
