//! Requests that are answered before their body was read: what clients see, and how much is read for them.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::{Running, read_all};

const MIB: usize = 1 << 20;

/// The head and the error document of one answer.
pub(super) async fn answer(socket: &mut TcpStream) -> String {
    let mut got = Vec::new();
    while !got.ends_with(b"</Error>") {
        let mut byte = [0];
        socket.read_exact(&mut byte).await.expect("an answer");
        got.push(byte[0]);
    }
    String::from_utf8(got).expect("text")
}

fn head(running: &Running, more: &str) -> Vec<u8> {
    running.raw_head("PUT", "/nowhere/key", "UNSIGNED-PAYLOAD", more)
}

/// As clients do that look for an answer only when all is sent.
#[tokio::test]
async fn a_client_that_sends_all_of_its_body_sees_why_it_was_refused() {
    let running = Running::with_bucket().await;
    let mut socket = running.raw(b"").await;
    let unsigned = b"PUT /bucket/key HTTP/1.1\r\nhost: h\r\ncontent-length: 7340032\r\n\r\n";
    let refused_by_guard = (unsigned.to_vec(), "403 Forbidden");
    let refused_by_handler = (head(&running, "content-length: 7340032\r\n"), "404 Not Found");
    for (head, status) in [refused_by_guard, refused_by_handler] {
        socket.write_all(&head).await.expect("open");
        socket.write_all(&vec![7; 7 * MIB]).await.expect("nobody closes while it is sent");
        let text = answer(&mut socket).await;
        assert!(text.starts_with(&format!("HTTP/1.1 {status}")), "{text}");
    }
    // What follows on the same connection is no rest of a body.
    let mut next = running.raw_head("PUT", "/bucket/key", "UNSIGNED-PAYLOAD", "content-length: 2\r\n");
    next.extend_from_slice(b"ok");
    socket.write_all(&next).await.expect("open");
    let mut line = [0; 15];
    socket.read_exact(&mut line).await.expect("an answer");
    assert_eq!(&line, b"HTTP/1.1 200 OK");
    assert_eq!(running.memory.events().len(), 1);
}

#[tokio::test]
async fn nobody_is_asked_for_a_body_that_is_refused() {
    let running = Running::with_bucket().await;
    let head = head(&running, "content-length: 1048576\r\nexpect: 100-continue\r\n");
    let text = read_all(running.raw(&head).await).await;
    assert!(text.starts_with("HTTP/1.1 404 Not Found"), "{text}");
    assert!(text.ends_with("</Error>"), "closed: the client may send the body or not: {text}");
}

#[tokio::test]
async fn a_body_too_large_to_be_thrown_away_closes_the_connection() {
    let running = Running::with_bucket().await;
    let text = read_all(running.raw(&head(&running, "content-length: 16777217\r\n")).await).await;
    assert!(text.contains("<Code>EntityTooLarge</Code>"), "{text}");
    // One that does not say how large it is, is read that far.
    let unsigned = b"PUT /bucket/key HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut socket = running.raw(unsigned).await;
    let mut chunk = format!("{MIB:x}\r\n").into_bytes();
    chunk.extend_from_slice(&vec![7; MIB]);
    chunk.extend_from_slice(b"\r\n");
    let mut sent = 0;
    while socket.write_all(&chunk).await.is_ok() {
        sent += 1;
        assert!(sent < 64, "it reads for ever");
    }
    assert!(sent >= 16, "closed after {sent} MiB");
}

#[tokio::test]
async fn a_rest_that_does_not_come_holds_no_connection() {
    let running = Running::with_bucket().await;
    let unsigned = b"PUT /bucket/key HTTP/1.1\r\nhost: h\r\ncontent-length: 100\r\n\r\n";
    let mut socket = running.raw(unsigned).await;
    assert!(answer(&mut socket).await.starts_with("HTTP/1.1 403 Forbidden"));
    // From here on time passes as soon as everybody waits.
    tokio::time::pause();
    let mut byte = [0];
    let closed = tokio::time::timeout(std::time::Duration::from_secs(6), socket.read(&mut byte)).await;
    assert!(matches!(closed, Ok(Ok(0) | Err(_))), "{closed:?}");
}
