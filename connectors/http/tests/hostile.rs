//! Receivers that mean harm: whatever they send instead of an answer, the attempt ends and the event is tried
//! again.
//!
//! Must never use an HTTP server: what is sent here is no HTTP, or too much of it.

#![allow(clippy::unwrap_used)]

mod receiver;

use std::sync::Arc;
use std::time::Duration;

use receiver::{Receiver, attempt};
use tidings_connector::contract::Target;
use tidings_connector::{Cause, ErrorClass, Outcome, Span};
use tidings_http::HttpOptions;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A receiver that does not answer costs this long.
const TIMEOUT: Duration = Duration::from_millis(400);

fn target(url: &str) -> Target {
    let options = HttpOptions { url: url.to_owned(), timeout: Span(TIMEOUT), ..HttpOptions::default() };
    Target { config: Arc::new(options.checked("t").unwrap()), destination: "".into() }
}

/// What a receiver does with a connection on which a request arrived.
#[derive(Clone, Copy)]
enum Harm {
    /// Sends this and closes.
    Once(&'static str),
    /// Sends this and keeps the connection open, in silence.
    Hang(&'static str),
    /// Sends the first and then the second for ever, as fast as it is taken.
    Flood(&'static str, &'static str),
    /// Sends the first, and then the second byte by byte, slowly.
    Drip(&'static str, &'static str),
}

async fn serve(harm: Harm, mut socket: TcpStream) -> std::io::Result<()> {
    let mut request = [0; 4_096];
    // The dial of `connect` says nothing, and gets nothing.
    if socket.read(&mut request).await? == 0 {
        return Ok(());
    }
    match harm {
        Harm::Once(text) => socket.write_all(text.as_bytes()).await,
        Harm::Hang(text) => {
            socket.write_all(text.as_bytes()).await?;
            std::future::pending().await
        }
        Harm::Flood(head, more) => {
            socket.write_all(head.as_bytes()).await?;
            loop {
                socket.write_all(more.repeat(1_000).as_bytes()).await?;
            }
        }
        Harm::Drip(head, more) => {
            socket.write_all(head.as_bytes()).await?;
            let mut pace = tokio::time::interval(TIMEOUT / 40);
            for byte in more.bytes().cycle() {
                pace.tick().await;
                socket.write_all(&[byte]).await?;
            }
            Ok(())
        }
    }
}

/// A receiver with this behaviour, and its URL.
async fn harmful(harm: Harm) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(harm, socket));
        }
    });
    (url, task)
}

async fn outcome(harm: Harm) -> Outcome {
    let (url, task) = harmful(harm).await;
    let outcome = attempt(&target(&url), 1).await.remove(0);
    task.abort();
    outcome
}

async fn cause(harm: Harm) -> Cause {
    match outcome(harm).await {
        Outcome::Retry { after: None, why } => why,
        other => panic!("no answer came, and yet {other:?}"),
    }
}

#[tokio::test]
async fn what_is_no_answer_is_tried_again() {
    for text in [
        "",
        "\u{16}\u{3}\u{1}\u{2}",
        "SSH-2.0-OpenSSH_9.6\r\n",
        "hello\r\n\r\n",
        "HTTP/1.1",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\ncontent-le",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 ABC OK\r\n\r\n",
        "HTTP/9.9 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\na\u{0}b: c\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx",
        "HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
    ] {
        assert_eq!(cause(Harm::Once(text)).await.class, ErrorClass::Connect, "{text:?}");
    }
}

#[tokio::test]
async fn silence_ends_with_the_timeout() {
    for text in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 103 Early Hints\r\n\r\n"] {
        assert_eq!(cause(Harm::Hang(text)).await.class, ErrorClass::Timeout, "{text:?}");
    }
}

#[tokio::test]
async fn drops_of_an_answer_end_with_the_timeout() {
    for (head, more) in [("", "HTTP/1.1 200 OK and so on"), ("HTTP/1.1 200 OK\r\n", "x-slow: ly\r\n")] {
        assert_eq!(cause(Harm::Drip(head, more)).await.class, ErrorClass::Timeout, "{more:?}");
    }
}

#[tokio::test]
async fn floods_end() {
    for (head, more) in [
        ("HTTP/1.1 200 OK\r\n", "x-more: of it\r\n"),
        ("HTTP/1.1 200 OK\r\nx-long: ", "and longer "),
        ("HTTP/1.1 200 ", "O"),
        ("", "HTTP/1.1 100 Continue\r\n\r\n"),
        ("", "HTTP/1.1 102 Processing\r\nx-more: of it\r\n\r\n"),
        ("", "\r\n"),
    ] {
        let class = cause(Harm::Flood(head, more)).await.class;
        assert!(matches!(class, ErrorClass::Connect | ErrorClass::Timeout), "{more:?}: {class:?}");
    }
}

#[tokio::test]
async fn another_protocol_is_not_an_answer() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n";
    assert_eq!(cause(Harm::Hang(switch)).await.class, ErrorClass::Unknown);
}

#[tokio::test]
async fn a_body_that_never_ends_changes_no_answer() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n";
    assert_eq!(outcome(Harm::Flood(head, "body")).await, Outcome::Delivered);
    assert_eq!(outcome(Harm::Drip(head, "body")).await, Outcome::Delivered);
    assert_eq!(outcome(Harm::Once(head)).await, Outcome::Delivered);
    let chunked = "HTTP/1.1 503 No\r\ntransfer-encoding: chunked\r\n\r\n";
    let outcome = outcome(Harm::Flood(chunked, "not a chunk")).await;
    assert!(
        matches!(&outcome, Outcome::Retry { why, .. } if why.class == ErrorClass::Http5xx),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn an_endless_answer_is_let_go() {
    let receiver = Receiver::new();
    let outcomes = attempt(&target(&format!("http://{}/endless", receiver.address())), 1).await;
    assert_eq!(outcomes, [Outcome::Delivered]);
    // What sockets buffer is poured too; reading on until the time bound would be many times as much.
    let poured = receiver.poured();
    assert!(poured < 16 << 20, "{poured} bytes of the answer were taken");
}

#[tokio::test]
async fn what_a_receiver_says_is_repeated_nowhere() {
    let echo =
        "HTTP/1.1 418 planted-reason\r\nx-echo: planted-header\r\ncontent-length: 12\r\n\r\nplanted-body";
    let said = format!("{:?}", outcome(Harm::Once(echo)).await);
    assert!(!said.contains("planted"), "{said}");
}
