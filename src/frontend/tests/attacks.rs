//! Attacks on authentication over the wire: each ends in a refusal, without an event or a change.

use http::Method;

use super::support::{ACCESS_KEY, OTHER_KEY, REGION, Running, SECRET, assert_complete_error, read_all, told};
use crate::client::Client;
use crate::client::sign::payload_hash;

/// The routes that change something.
const WRITES: [(Method, &str, &str); 6] = [
    (Method::PUT, "/bucket/key", ""),
    (Method::DELETE, "/bucket/key", ""),
    (Method::POST, "/bucket", "delete"),
    (Method::PUT, "/other-bucket", ""),
    (Method::DELETE, "/bucket", ""),
    (Method::PUT, "/bucket/key", "x-id=PutObject"),
];

fn with_query(target: &str, query: &str) -> String {
    if query.is_empty() { target.to_owned() } else { format!("{target}?{query}") }
}

/// A1, A2: the payload's name opens no door.
#[tokio::test]
async fn a_garbage_signature_is_refused_on_every_write() {
    let running = Running::with_bucket().await;
    let garbage = "0".repeat(64);
    for (method, path, query) in WRITES {
        for payload in [
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
            "UNSIGNED-PAYLOAD",
            &payload_hash(b"x"),
        ] {
            let mut more = vec![("x-amz-decoded-content-length", "1")];
            if payload.ends_with("TRAILER") {
                more.push(("x-amz-trailer", "x-amz-checksum-crc32"));
            }
            let pairs: Vec<_> =
                query.split_terminator('&').map(|q| q.split_once('=').unwrap_or((q, ""))).collect();
            let (mut headers, signed, _) = running.sign(method.as_str(), path, &pairs, payload, &more);
            for (_, value) in &mut headers {
                *value = value.replace(&signed.signature, &garbage);
            }
            let answer = running.send(method.clone(), &with_query(path, query), &headers, "x").await;
            assert_eq!(told(&answer), (403, "SignatureDoesNotMatch"), "{method} {path}?{query} {payload}");
            assert_complete_error(&answer);
            assert!(
                !String::from_utf8_lossy(&answer.body).contains(&signed.signature),
                "the right one is told"
            );
        }
        // The credential in the query, nothing in the header.
        let credential = format!("X-Amz-Credential={ACCESS_KEY}%2F20260101%2F{REGION}%2Fs3%2Faws4_request");
        let target = match query {
            "" => format!("{path}?{credential}"),
            query => format!("{path}?{query}&{credential}"),
        };
        let headers =
            [("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"), ("content-length", "1")];
        let headers = headers.map(|(n, v)| (n.to_owned(), v.to_owned()));
        let answer = running.send(method.clone(), &target, &headers, "x").await;
        assert!(matches!(answer.status.as_u16(), 400 | 403), "{method} {target}: {answer:?}");
    }
    running.nothing_happened().await;
    assert!(running.client.create_bucket("other-bucket").await.expect("answered").status.is_success());
}

/// A4: nobody is nobody, on every route and method.
#[tokio::test]
async fn anonymous_requests_are_refused() {
    let running = Running::with_bucket().await;
    for method in ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "BREW"] {
        for target in
            ["/", "/bucket", "/bucket/key", "/bucket?delete", "/bucket?list-type=2", "/../", "/%2e%2e/x"]
        {
            let method = Method::from_bytes(method.as_bytes()).expect("a method");
            let answer = running.send(method.clone(), target, &[], "").await;
            assert_eq!(answer.status, 403, "{method} {target}");
            if method != Method::HEAD {
                assert_complete_error(&answer);
            }
        }
    }
    // A form carries its signature in its fields.
    let form = [("content-type".to_owned(), "multipart/form-data; boundary=x".to_owned())];
    let fields = ["key", "file"]
        .map(|name| format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\nkey\r\n"));
    let answer = running.send(Method::POST, "/bucket", &form, fields.concat() + "--x--").await;
    assert_eq!(told(&answer), (403, "AccessDenied"));
    running.nothing_happened().await;
}

/// The verifier's hole: a header that nobody signed turned a presigned PUT into a copy.
#[tokio::test]
async fn unsigned_headers_change_nothing() {
    let running = Running::with_bucket().await;
    running.client.put("bucket", "secret", "top").await.expect("answered");
    let url = running.client.presign(&Method::PUT, "bucket", "key", 60);
    let target = url.split_once(&running.address.to_string()).expect("a URL").1;
    for (name, value) in [
        ("x-amz-copy-source", "/bucket/secret"),
        ("x-amz-meta-a", "b"),
        ("x-amz-acl", "private"),
        ("x-tidings-hops", "0"),
    ] {
        let headers = [(name.to_owned(), value.to_owned())];
        let answer = running.send(Method::PUT, target, &headers, "x").await;
        assert_eq!(told(&answer), (403, "AccessDenied"), "{name}");
        let (mut headers, ..) = running.sign("PUT", "/bucket/key", &[], &payload_hash(b"x"), &[]);
        headers.push((name.to_owned(), value.to_owned()));
        let answer = running.send(Method::PUT, "/bucket/key", &headers, "x").await;
        assert_eq!(told(&answer), (403, "AccessDenied"), "{name}");
    }
    assert_eq!(running.memory.events().len(), 1);
    let put = running.send(Method::PUT, target, &[], "x").await;
    assert_eq!(put.status, 200, "without them the URL is good: {put:?}");
}

#[tokio::test]
async fn presigned_urls_do_what_they_say_and_no_more() {
    let running = Running::with_bucket().await;
    running.client.put("bucket", "key", "hello").await.expect("answered");
    let target = |method: &Method, key: &str| {
        let url = running.client.presign(method, "bucket", key, 60);
        url.split_once(&running.address.to_string()).expect("a URL").1.to_owned()
    };
    let get = target(&Method::GET, "key");
    let answer = running.send(Method::GET, &get, &[], "").await;
    assert_eq!(&answer.body[..], b"hello");
    for (method, target) in [
        (Method::DELETE, get.clone()),
        (Method::PUT, get.clone()),
        (Method::GET, get.replace("/key?", "/other?")),
        (Method::GET, get.replace("X-Amz-Expires=60", "X-Amz-Expires=61")),
        (Method::GET, get.replace("X-Amz-SignedHeaders=host", "X-Amz-SignedHeaders=host%3Brange")),
        (Method::GET, format!("{get}&response-content-type=text%2Fhtml")),
    ] {
        let answer = running.send(method.clone(), &target, &[], "").await;
        assert_eq!(told(&answer), (403, "SignatureDoesNotMatch"), "{method} {target}");
    }
    assert_eq!(running.memory.events().len(), 1);
    let put = target(&Method::PUT, "key");
    let wrong = [("x-amz-content-sha256".to_owned(), payload_hash(b"other"))];
    let answer = running.send(Method::PUT, &put, &wrong, "body").await;
    assert_eq!(told(&answer), (400, "XAmzContentSHA256Mismatch"));
    assert_eq!(running.memory.events().len(), 1);
}

/// A12, A15: keys that do not exist, secrets that are not theirs.
#[tokio::test]
async fn only_the_right_secret_opens() {
    let running = Running::with_bucket().await;
    let endpoint = format!("http://{}", running.address);
    for (key, secret, code) in [
        ("AKIDNOBODY", SECRET, "InvalidAccessKeyId"),
        (OTHER_KEY, SECRET, "SignatureDoesNotMatch"),
        (ACCESS_KEY, "guess", "SignatureDoesNotMatch"),
        (ACCESS_KEY, "", "SignatureDoesNotMatch"),
        ("akidexample", SECRET, "InvalidAccessKeyId"),
    ] {
        let client = Client::new(&endpoint, REGION, key, secret).expect("a client");
        let answer = client.put("bucket", "key", "x").await.expect("answered");
        assert_eq!(told(&answer), (403, code), "{key}");
        assert_complete_error(&answer);
    }
    let elsewhere = Client::new(&endpoint, "us-east-1", ACCESS_KEY, SECRET).expect("a client");
    let answer = elsewhere.put("bucket", "key", "x").await.expect("answered");
    assert_eq!(told(&answer), (400, "AuthorizationHeaderMalformed"));
    assert!(String::from_utf8_lossy(&answer.body).contains("<Region>ap-guangzhou</Region>"));
    running.nothing_happened().await;
}

/// A6, A13, A14: what is signed is what is done.
#[tokio::test]
async fn a_signature_covers_what_it_is_used_for() {
    let running = Running::with_bucket().await;
    let (headers, ..) =
        running.sign("PUT", "/bucket/key", &[], &payload_hash(b"x"), &[("x-amz-meta-a", "1")]);
    let changed = |name: &str, value: &str| {
        let mut headers = headers.clone();
        for header in headers.iter_mut().filter(|(n, _)| n == name) {
            header.1 = value.to_owned();
        }
        headers
    };
    for (method, target, headers) in [
        (Method::DELETE, "/bucket/key", headers.clone()),
        (Method::PUT, "/bucket/other", headers.clone()),
        (Method::PUT, "/bucket/key?x-id=PutObject", headers.clone()),
        (Method::PUT, "/bucket/%6bey/", headers.clone()),
        (Method::PUT, "/bucket//key", headers.clone()),
        (Method::PUT, "/bucket/../bucket/key", headers.clone()),
        (Method::PUT, "/bucket/%256bey", headers.clone()),
        (Method::PUT, "/bucket/key", changed("host", "elsewhere:9000")),
        (Method::PUT, "/bucket/key", changed("x-amz-meta-a", "2")),
        (Method::PUT, "/bucket/key", changed("x-amz-content-sha256", &payload_hash(b"y"))),
    ] {
        let body = if headers.iter().any(|(_, v)| *v == payload_hash(b"y")) { "y" } else { "x" };
        let answer = running.send(method.clone(), target, &headers, body).await;
        assert_eq!(told(&answer), (403, "SignatureDoesNotMatch"), "{method} {target}");
    }
    running.nothing_happened().await;
    // Another spelling of the same path is the same path.
    let same = running.send(Method::PUT, "/bucket/%6b%65y", &headers, "x").await;
    assert_eq!(same.status, 200);
    assert_eq!(&*running.memory.events()[0].key, "key");
}

/// A24: no header says where a request comes from.
#[tokio::test]
async fn the_peer_is_the_socket() {
    let running = Running::with_bucket().await;
    let more = [("x-forwarded-for", "8.8.8.8"), ("x-real-ip", "8.8.8.8"), ("forwarded", "for=8.8.8.8")];
    running.put_with(b"x", &more).await;
    assert_eq!(running.memory.events()[0].request.source_ip, Some(running.address.ip()));
}

/// A37: XML that is made to hurt does not.
#[tokio::test]
async fn hostile_xml_is_refused() {
    let running = Running::with_bucket().await;
    running.client.put("bucket", "key", "x").await.expect("answered");
    let entity =
        "<!DOCTYPE d [<!ENTITY e \"key\">]><Delete><Object><Key>&e;</Key></Object></Delete>".to_owned();
    let external = entity.replace("\"key\"", "SYSTEM \"file:///etc/passwd\"");
    let deep = "<a>".repeat(100_000);
    let attributes: String = (0..100_000).map(|n| format!(" a{n}=\"\"")).collect();
    let spaces: String = (0..100_000).map(|n| format!(" xmlns:a{n}=\"u\"")).collect();
    for (name, body) in [
        ("entity", entity),
        ("external entity", external),
        ("deep", format!("<Delete>{deep}")),
        ("attributes", format!("<Delete{attributes}><Object></Object></Delete>")),
        ("namespaces", format!("<Delete{spaces}><Object></Object></Delete>")),
        ("not XML", "\u{0}\u{1}".to_owned()),
        ("empty", String::new()),
        ("too large", format!("<Delete>{}</Delete>", " ".repeat(5 << 20))),
    ] {
        let request = running.client.request(Method::POST, "/bucket", &[("delete", "")], &[], body.into());
        let answer = request.await.expect("answered");
        assert_eq!(answer.status, 400, "{name}: {answer:?}");
        assert_complete_error(&answer);
    }
    assert_eq!(running.memory.events().len(), 1);
}

/// A41, A43: malformed HTTP is refused before it means anything.
#[tokio::test]
async fn malformed_http_is_refused() {
    let running = Running::with_bucket().await;
    let head = |line: &str| format!("GET / HTTP/1.1\r\nhost: h\r\n{line}\r\n\r\n");
    let many: String = (0..200).map(|n| format!("h{n}: v\r\n")).collect();
    for (name, request) in [
        ("two lengths", head("content-length: 1\r\ncontent-length: 2")),
        ("a sign", head("content-length: +5")),
        ("hex", head("content-length: 0x5")),
        ("identity", head("transfer-encoding: chunked, identity")),
        ("folded", head("a: b\r\n c")),
        ("space before the colon", head("host : h")),
        ("NUL", head("a: \0")),
        ("no host", "GET / HTTP/1.1\r\n\r\n".to_owned()),
        ("many headers", head(&many)),
        ("a long header", head(&format!("a: {}", "v".repeat(1 << 20)))),
        ("a long target", format!("GET /{} HTTP/1.1\r\nhost: h\r\n\r\n", "x".repeat(100_000))),
        ("no HTTP", "HELLO\r\n\r\n".to_owned()),
        // A46: the other version of HTTP is not spoken here, nor changed to.
        ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
        (
            "a change to HTTP/2",
            head("connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AA"),
        ),
        ("a tunnel", "CONNECT elsewhere:1 HTTP/1.1\r\nhost: elsewhere:1\r\n\r\n".to_owned()),
        // A47: a list of conditions beyond any head.
        ("many conditions", head(&format!("if-none-match: {}", "\"0\",".repeat(1 << 18)))),
    ] {
        let request = request.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
        let mut socket = tokio::net::TcpStream::connect(running.address).await.expect("connected");
        // The server may close before it has read everything.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut socket, request.as_bytes()).await;
        let text = read_all(socket).await;
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 4"), "{name}: {text:.80}");
    }
    running.nothing_happened().await;
}

/// A45: a body that waits for leave and is refused may come or not. What follows is never taken for it, nor
/// what is in it for a request.
#[tokio::test]
async fn nothing_follows_a_body_that_was_refused_before_it_came() {
    let running = Running::with_bucket().await;
    let refused = running.raw_head(
        "PUT",
        "/nobucket/key",
        &payload_hash(b"x"),
        "expect: 100-continue\r\ncontent-length: 1\r\n",
    );
    let mut socket = running.raw(&refused).await;
    let next = running.raw_head("DELETE", "/bucket/key", &payload_hash(b""), "");
    // The server may have closed already.
    let _ = tokio::io::AsyncWriteExt::write_all(&mut socket, &next).await;
    let text = read_all(socket).await;
    assert_eq!(text.matches("HTTP/1.1 ").count() - text.matches("HTTP/1.1 100").count(), 1, "{text}");
    assert!(text.to_lowercase().contains("connection: close"), "{text}");
}

/// A41, A42: where a length and chunks disagree, what follows is never taken for a request.
#[tokio::test]
async fn nothing_is_smuggled_behind_a_body_with_two_lengths() {
    let running = Running::with_bucket().await;
    running.client.put("bucket", "key", "body").await.expect("answered");
    let hidden = running.raw_head("DELETE", "/bucket/key", &payload_hash(b""), "");
    for lines in [
        "content-length: 4\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 4\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\ncontent-length: 5\r\n",
        "transfer-encoding:\x0bchunked\r\ncontent-length: 5\r\n",
        "transfer-encoding: xchunked\r\ncontent-length: 5\r\n",
    ] {
        let mut bytes = running.raw_head("PUT", "/bucket/other", "UNSIGNED-PAYLOAD", lines);
        bytes.extend_from_slice(b"0\r\n\r\n");
        bytes.extend_from_slice(&hidden);
        let text = read_all(running.raw(&bytes).await).await;
        assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{lines:?}: {text}");
        assert!(text.starts_with("HTTP/1.1 4"), "{lines:?}: {text}");
    }
    assert_eq!(running.memory.events().len(), 1, "only what was asked for in the open");
}
