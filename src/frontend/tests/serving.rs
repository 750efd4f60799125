//! The listener: slow clients, many connections, the end.

use std::time::Duration;

use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::support::{Running, read_all, server_config, told};

/// A44: a head that never ends ends the connection.
#[tokio::test]
async fn slow_heads_are_cut() {
    let mut config = server_config();
    config.header_timeout = Duration::from_millis(50);
    let running = Running::start_with(config).await;
    let socket = running.raw(b"GET / HTTP/1.1\r\nhost: h\r\n").await;
    let text = read_all(socket).await;
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 408"), "{text}");
    // An idle connection waits no longer either.
    assert_eq!(read_all(running.raw(b"").await).await, "");
}

/// A44: a body that stands still ends the request.
#[tokio::test]
async fn still_bodies_are_cut() {
    let mut config = server_config();
    config.idle_timeout = Duration::from_millis(50);
    let running = Running::start_with(config).await;
    running.client.create_bucket("bucket").await.expect("answered");
    for size in [100, 200_000] {
        let head = running.raw_head(
            "PUT",
            "/bucket/key",
            "UNSIGNED-PAYLOAD",
            &format!("content-length: {size}\r\n"),
        );
        let mut socket = running.raw(&head).await;
        socket.write_all(b"some").await.expect("writable");
        let text = read_all(socket).await;
        assert!(text.starts_with("HTTP/1.1 400") && text.contains("RequestTimeout"), "{text}");
    }
    running.nothing_happened().await;
}

#[tokio::test]
async fn connections_beyond_the_bound_wait() {
    let mut config = server_config();
    config.max_connections = 1;
    let running = Running::start_with(config).await;
    let mut first = running.raw(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let mut byte = [0];
    first.read_exact(&mut byte).await.expect("served");
    let mut second = running.raw(b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await;
    let waits = tokio::time::timeout(Duration::from_millis(100), second.read_exact(&mut byte)).await;
    assert!(waits.is_err(), "the second connection was served beside the first");
    drop(first);
    assert!(read_all(second).await.contains("403 Forbidden"));
}

#[tokio::test]
async fn a_stop_lets_running_requests_finish() {
    let mut running = Running::with_bucket().await;
    let head = running.raw_head(
        "PUT",
        "/bucket/key",
        "UNSIGNED-PAYLOAD",
        "content-length: 5\r\nexpect: 100-continue\r\n",
    );
    let mut socket = running.raw(&head).await;
    socket.read_exact(&mut [0; 25]).await.expect("100 Continue");
    running.begin_stop();
    socket.write_all(b"hello").await.expect("writable");
    let text = read_all(socket).await;
    assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");
    assert_eq!(running.memory.events().len(), 1);
    let address = running.address;
    assert_eq!(running.stop().await.cut, 0);
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_stop_cuts_what_outlives_its_deadline() {
    let mut config = server_config();
    config.shutdown_timeout = Duration::from_millis(50);
    let running = Running::start_with(config).await;
    running.client.create_bucket("bucket").await.expect("answered");
    let head = running.raw_head(
        "PUT",
        "/bucket/key",
        "UNSIGNED-PAYLOAD",
        "content-length: 5\r\nexpect: 100-continue\r\n",
    );
    let mut socket = running.raw(&head).await;
    socket.read_exact(&mut [0; 25]).await.expect("100 Continue");
    let memory = std::sync::Arc::clone(&running.memory);
    assert_eq!(running.stop().await.cut, 1);
    assert_eq!(read_all(socket).await, "");
    assert_eq!(memory.events(), []);
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let running = Running::with_bucket().await;
    let (mut ids, mut socket) = (std::collections::HashSet::new(), None);
    for n in 0..50 {
        let key = format!("/bucket/{n}");
        let head = running.raw_head("PUT", &key, "UNSIGNED-PAYLOAD", "content-length: 1\r\n");
        let socket = match &mut socket {
            None => socket.insert(running.raw(&head).await),
            Some(socket) => {
                socket.write_all(&head).await.expect("open");
                socket
            }
        };
        socket.write_all(b"x").await.expect("open");
        let mut got = Vec::new();
        while !got.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).await.expect("an answer");
            got.push(byte[0]);
        }
        let text = String::from_utf8(got).expect("text");
        assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");
        let id = text.lines().find_map(|line| line.strip_prefix("x-amz-request-id: ")).expect("an id");
        assert!(ids.insert(id.to_owned()), "{id} came twice");
    }
    let refused = running.send(Method::GET, "/", &[], "").await;
    assert_eq!(told(&refused), (403, "AccessDenied"));
    assert!(!ids.contains(refused.header("x-amz-request-id").expect("an id")));
}
