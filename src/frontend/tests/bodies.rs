//! Bodies: every framing and checksum that clients use, every way to get one wrong, and nothing left behind.

use bytes::Bytes;
use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::chunked::{Chunker, unsigned};
use super::support::{INLINE, LARGEST, Running, assert_complete_error, read_all, told};
use crate::client::Response;
use crate::client::sign::payload_hash;

const SIGNED_CHUNKS: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
const SIGNED_TRAILER: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER";
const UNSIGNED_TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
const CRC32: &str = "x-amz-checksum-crc32";
/// CRC-32 of "123456789".
const CHECK: &str = "y/Q5Jg==";

/// PUTs a body in signed chunks; `make` gets a chunker that has the seed.
async fn put_signed(
    running: &Running,
    payload: &str,
    length: &str,
    make: impl FnOnce(Chunker<'_>) -> Vec<u8>,
) -> Response {
    let mut more = vec![("x-amz-decoded-content-length", length), ("content-encoding", "aws-chunked")];
    if payload == SIGNED_TRAILER {
        more.push(("x-amz-trailer", CRC32));
    }
    let (headers, signed, at) = running.sign("PUT", "/bucket/key", &[], payload, &more);
    let body = make(Chunker::new(running, at, &signed.signature));
    running.send(Method::PUT, "/bucket/key", &headers, body).await
}

async fn put_unsigned(running: &Running, length: &str, body: Vec<u8>) -> Response {
    let more = [("x-amz-decoded-content-length", length), ("x-amz-trailer", CRC32)];
    let (headers, ..) = running.sign("PUT", "/bucket/key", &[], UNSIGNED_TRAILER, &more);
    running.send(Method::PUT, "/bucket/key", &headers, body).await
}

#[tokio::test]
async fn bodies_on_both_sides_of_every_bound_come_back() {
    let running = Running::with_bucket().await;
    let at = |n: u64| usize::try_from(n).expect("small");
    for size in [0, 1, at(INLINE) - 1, at(INLINE), at(INLINE) + 1, 1 << 20, at(LARGEST)] {
        let body: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
        let put = running.client.put("bucket", "key", body.clone()).await.expect("answered");
        assert_eq!(put.status, 200, "{size}: {put:?}");
        let got = running.client.get("bucket", "key").await.expect("answered");
        assert!(got.body == body, "{size} bytes did not come back");
        let event = running.memory.events().pop().expect("an event");
        assert_eq!(event.size, size as u64);
        assert_eq!(running.memory.stray_blobs(), 0);
    }
    let large = running.client.put("bucket", "key", vec![0; at(LARGEST) + 1]).await.expect("answered");
    assert_eq!(told(&large), (400, "EntityTooLarge"));
    assert_complete_error(&large);
}

#[tokio::test]
async fn chunked_bodies_come_back_without_their_framing() {
    let running = Running::with_bucket().await;
    let large: Vec<u8> = (0..200_000u32).map(|n| (n % 253) as u8).collect();
    let put = put_signed(&running, SIGNED_CHUNKS, "200000", |c| {
        large.chunks(65_536).fold(c, Chunker::chunk).chunk(b"").end()
    })
    .await;
    assert_eq!(put.status, 200, "{put:?}");
    let got = running.client.get("bucket", "key").await.expect("answered");
    assert!(got.body == large);
    assert_eq!(got.header("content-encoding"), None, "aws-chunked is how it travelled");

    let put = put_signed(&running, SIGNED_TRAILER, "9", |c| {
        c.chunk(b"12345").chunk(b"6789").chunk(b"").trailer(CRC32, CHECK).body
    })
    .await;
    assert_eq!((put.status.as_u16(), put.header(CRC32)), (200, Some(CHECK)), "{put:?}");

    let put =
        put_unsigned(&running, "9", unsigned(&[b"123456", b"789"], "x-amz-checksum-crc32:y/Q5Jg==\r\n"))
            .await;
    assert_eq!((put.status.as_u16(), put.header(CRC32)), (200, Some(CHECK)), "{put:?}");
    let mode = [("x-amz-checksum-mode", "ENABLED")];
    let got =
        running.client.request(Method::GET, "/bucket/key", &[], &mode, Bytes::new()).await.expect("answered");
    assert_eq!((&got.body[..], got.header(CRC32)), (&b"123456789"[..], Some(CHECK)));
    assert_eq!(got.header("x-amz-checksum-type"), Some("FULL_OBJECT"));
    assert_eq!(running.client.get("bucket", "key").await.expect("answered").header(CRC32), None);

    // One chunk that is larger than any buffer of ours.
    let huge = vec![b'z'; 3 << 20];
    let sum = crc32(&huge);
    let put = put_unsigned(&running, "3145728", unsigned(&[&huge], &format!("{CRC32}:{sum}\r\n"))).await;
    assert_eq!(put.status, 200, "{put:?}");
    assert!(running.client.get("bucket", "key").await.expect("answered").body == huge);
    assert_eq!(running.memory.events().len(), 4);
}

fn crc32(data: &[u8]) -> String {
    use base64::Engine as _;
    use s3s::crypto::Checksum as _;
    base64::engine::general_purpose::STANDARD.encode(s3s::crypto::Crc32::checksum(data))
}

/// A10: every way to break signed chunks.
#[tokio::test]
async fn broken_signed_chunks_store_nothing() {
    let running = Running::with_bucket().await;
    let flip = |mut body: Vec<u8>, what: &[u8]| {
        let at = body.windows(what.len()).position(|w| w == what).expect("there");
        body[at] ^= 1;
        body
    };
    let whole = |c: Chunker<'_>| c.chunk(b"hello").chunk(b"world").chunk(b"").end();
    let answer = put_signed(&running, SIGNED_CHUNKS, "10", |c| flip(whole(c), b"world")).await;
    assert_eq!(told(&answer), (403, "SignatureDoesNotMatch"), "data changed");
    assert_complete_error(&answer);
    let answer = put_signed(&running, SIGNED_CHUNKS, "10", |c| c.chunk(b"hello").chunk(b"world").body).await;
    assert_eq!(told(&answer), (400, "IncompleteBody"), "no last chunk");
    let answer = put_signed(&running, SIGNED_CHUNKS, "5", |c| c.chunk(b"hello").body).await;
    assert_eq!(told(&answer), (400, "IncompleteBody"), "no last chunk, though the length is right");
    for length in ["9", "11", "0"] {
        let answer = put_signed(&running, SIGNED_CHUNKS, length, whole).await;
        assert_eq!(told(&answer), (400, "IncompleteBody"), "declared {length}");
    }
    let answer = put_signed(&running, SIGNED_CHUNKS, "10", |c| unsigned_like(whole(c))).await;
    assert_eq!(told(&answer), (400, "InvalidRequest"), "no signatures");
    let answer =
        put_signed(&running, SIGNED_CHUNKS, "5", |c| format!("5;{}", "x=y;".repeat(999)).into_bytes_after(c))
            .await;
    assert_eq!(told(&answer), (400, "InvalidRequest"), "a flood of extensions");
    let answer = put_signed(&running, SIGNED_CHUNKS, "99999999", |_| {
        format!("ffffffff;chunk-signature={}\r\n", "a".repeat(64)).into_bytes()
    })
    .await;
    assert_eq!(told(&answer), (400, "EntityTooLarge"), "declared too large");
    let trailer = |value: &'static str| {
        put_signed(&running, SIGNED_TRAILER, "9", move |c| {
            c.chunk(b"123456789").chunk(b"").trailer(CRC32, value).body
        })
    };
    assert_eq!(told(&trailer("AAAAAA==").await), (400, "BadDigest"));
    let answer = put_signed(&running, SIGNED_TRAILER, "9", |c| {
        flip(c.chunk(b"123456789").chunk(b"").trailer(CRC32, CHECK).body, b"y/Q5")
    })
    .await;
    assert_eq!(told(&answer), (403, "SignatureDoesNotMatch"), "the trailer changed");
    let answer = put_signed(&running, SIGNED_TRAILER, "9", |c| c.chunk(b"123456789").chunk(b"").end()).await;
    assert_eq!(told(&answer), (400, "InvalidRequest"), "no trailer");
    running.nothing_happened().await;
}

trait After {
    fn into_bytes_after(self, _: Chunker<'_>) -> Vec<u8>;
}

impl After for String {
    fn into_bytes_after(self, _: Chunker<'_>) -> Vec<u8> {
        self.into_bytes()
    }
}

/// The same framing without its signatures.
fn unsigned_like(body: Vec<u8>) -> Vec<u8> {
    let text = String::from_utf8(body).expect("text");
    let lines = text.split("\r\n").map(|line| line.split(';').next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\r\n").into_bytes()
}

/// A10: every way to break unsigned chunks with a trailer.
#[tokio::test]
async fn broken_trailers_store_nothing() {
    let running = Running::with_bucket().await;
    let data: [&[u8]; 1] = [b"123456789"];
    let right = format!("{CRC32}:{CHECK}\r\n");
    for (name, body, code) in [
        ("wrong value", unsigned(&data, "x-amz-checksum-crc32:AAAAAA==\r\n"), "BadDigest"),
        ("no trailer", unsigned(&data, ""), "InvalidRequest"),
        ("another", unsigned(&data, "x-amz-checksum-crc32c:y/Q5Jg==\r\n"), "InvalidRequest"),
        ("twice", unsigned(&data, &(right.clone() + &right)), "InvalidRequest"),
        ("one more", unsigned(&data, &(right.clone() + "x-amz-meta-a:b\r\n")), "InvalidRequest"),
        ("no colon", unsigned(&data, "x-amz-checksum-crc32\r\n"), "InvalidRequest"),
        ("too long", unsigned(&data, &"a:b\r\n".repeat(9999)), "InvalidRequest"),
        ("no end", b"9\r\n123456789\r\n".to_vec(), "IncompleteBody"),
        ("short", unsigned(&[b"12345678"], &right), "IncompleteBody"),
        ("long", unsigned(&[b"123456789", b"0"], &right), "IncompleteBody"),
        ("empty", Vec::new(), "IncompleteBody"),
    ] {
        let answer = put_unsigned(&running, "9", body).await;
        assert_eq!(told(&answer), (400, code), "{name}");
    }
    running.nothing_happened().await;
}

/// A9: what is declared is compared.
#[tokio::test]
async fn declared_checksums_are_compared() {
    let running = Running::with_bucket().await;
    let body = b"123456789";
    let right = [
        ("content-md5", "JfnnlDI7RTiF9RgfG2JNCw=="),
        (CRC32, CHECK),
        ("x-amz-checksum-crc32c", "4waSgw=="),
        ("x-amz-checksum-crc64nvme", "rosUhgp5mIg="),
        ("x-amz-checksum-sha1", "98O8HYCOBHMq32eZZczDTKeuNEE="),
        ("x-amz-checksum-sha256", "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU="),
    ];
    for header in right {
        let other = running.put_with(b"123456780", &[header]).await;
        assert_eq!(told(&other), (400, "BadDigest"), "{}", header.0);
        assert_complete_error(&other);
        assert_eq!(told(&running.put_with(body, &[(header.0, "!")]).await).0, 400);
    }
    // The signed hash of other bytes of the same length, small and large.
    for size in [10, 100_000] {
        let (headers, ..) = running.sign("PUT", "/bucket/key", &[], &payload_hash(&vec![1; size]), &[]);
        let answer = running.send(Method::PUT, "/bucket/key", &headers, vec![2; size]).await;
        assert_eq!(told(&answer), (400, "XAmzContentSHA256Mismatch"), "{size}");
    }
    running.nothing_happened().await;
    for header in right {
        let answer = running.put_with(body, &[header]).await;
        assert_eq!(answer.status, 200, "{}: {answer:?}", header.0);
        if header.0 != "content-md5" {
            assert_eq!(answer.header(header.0), Some(header.1));
        }
    }
    assert_eq!(running.memory.events().len(), right.len());
}

/// A45: a body that ends early leaves nothing, small or large, whenever it ends.
#[tokio::test]
async fn a_client_that_leaves_stores_nothing() {
    let running = Running::with_bucket().await;
    for (declared, sent) in [(100, 0), (100, 50), (200_000, 0), (200_000, 150_000)] {
        let head = running.raw_head(
            "PUT",
            "/bucket/key",
            "UNSIGNED-PAYLOAD",
            &format!("content-length: {declared}\r\n"),
        );
        let mut socket = running.raw(&head).await;
        socket.write_all(&vec![b'x'; sent]).await.expect("writable");
        socket.shutdown().await.expect("open");
        let text = read_all(socket).await;
        assert!(text.is_empty() || text.contains("IncompleteBody"), "{declared}/{sent}: {text}");
    }
    running.nothing_happened().await;
}

/// A45: the client waits for 100 Continue, and does not get it where there is no space.
#[tokio::test]
async fn bodies_are_asked_for_only_when_there_is_space() {
    let running = Running::with_bucket().await;
    let head = |running: &Running| {
        running.raw_head(
            "PUT",
            "/bucket/key",
            "UNSIGNED-PAYLOAD",
            "content-length: 5\r\nexpect: 100-continue\r\n",
        )
    };
    let mut socket = running.raw(&head(&running)).await;
    let mut answer = [0; 25];
    socket.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 100 Continue\r\n\r\n");
    drop(socket);
    running.settled().await;
    running.memory.fill();
    let text = read_all(running.raw(&head(&running)).await).await;
    assert!(text.starts_with("HTTP/1.1 503 "), "{text}");
    assert!(text.contains("<Code>SlowDown</Code>") && text.contains("retry-after: 1"), "{text}");
    assert_eq!(running.memory.events(), []);
}

#[tokio::test]
async fn no_space_and_lost_answers_are_told_apart() {
    let running = Running::with_bucket().await;
    running.memory.fill();
    let full = running.put_with(b"x", &[]).await;
    assert_eq!((told(&full), full.header("retry-after")), ((503, "SlowDown"), Some("1")));
    assert_complete_error(&full);
    for answer in [
        running.client.delete("bucket", "key").await.expect("answered"),
        running.client.create_bucket("other").await.expect("answered"),
        running.client.delete_bucket("bucket").await.expect("answered"),
    ] {
        assert_eq!(told(&answer), (503, "SlowDown"));
    }
    let running = Running::with_bucket().await;
    running.memory.lose_answers();
    for size in [1, 100_000] {
        let lost = running.put_with(&vec![0; size], &[]).await;
        assert_eq!(told(&lost), (500, "InternalError"));
        assert!(!String::from_utf8_lossy(&lost.body).contains("disk"), "reasons are for the log");
    }
}

#[tokio::test]
async fn a_body_needs_a_length() {
    let running = Running::with_bucket().await;
    let head = running.raw_head("PUT", "/bucket/key", "UNSIGNED-PAYLOAD", "transfer-encoding: chunked\r\n");
    let mut socket = running.raw(&head).await;
    socket.write_all(b"1\r\nx\r\n0\r\n\r\n").await.expect("writable");
    socket.shutdown().await.expect("open");
    let text = read_all(socket).await;
    assert!(text.starts_with("HTTP/1.1 411 ") && text.contains("MissingContentLength"), "{text}");
    running.nothing_happened().await;
}

#[tokio::test]
async fn wishes_that_we_cannot_grant_store_nothing() {
    let running = Running::with_bucket().await;
    for (name, value) in [
        ("x-amz-server-side-encryption", "AES256"),
        ("x-amz-website-redirect-location", "/x"),
        ("x-amz-write-offset-bytes", "1"),
    ] {
        let answer = running.put_with(b"x", &[(name, value)]).await;
        assert_eq!(told(&answer), (501, "NotImplemented"), "{name}");
    }
    let large = "v".repeat(2048);
    let answer = running.put_with(b"x", &[("x-amz-meta-a", &large)]).await;
    assert_eq!(told(&answer), (400, "MetadataTooLarge"));
    let answer = running.put_with(b"x", &[("x-amz-expected-bucket-owner", "999")]).await;
    assert_eq!(told(&answer), (403, "AccessDenied"));
    let nowhere = running.client.put("nowhere", "key", vec![0; 100_000]).await.expect("answered");
    assert_eq!(told(&nowhere), (404, "NoSuchBucket"));
    running.nothing_happened().await;
    let answer =
        running.put_with(b"x", &[("x-amz-acl", "private"), ("x-amz-storage-class", "STANDARD")]).await;
    assert_eq!(answer.status, 200);
}
