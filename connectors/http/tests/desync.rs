//! Receivers that answer at the wrong moment: twice, before they read, or in an older protocol. No event may
//! take an answer that was given to another one.
//!
//! Must never use an HTTP server: none would do this.

#![allow(clippy::unwrap_used)]

mod receiver;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use receiver::attempt;
use tidings_connector::contract::{Driver, Target, message, messages};
use tidings_connector::{ErrorClass, Outcome, Span};
use tidings_http::HttpOptions;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// One round is one event behind another.
const ROUNDS: usize = 60;
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

fn target(url: &str, max_in_flight: usize) -> Target {
    let timeout = Span(Duration::from_millis(400));
    let options = HttpOptions { url: url.to_owned(), timeout, max_in_flight, ..HttpOptions::default() };
    Target { config: Arc::new(options.checked("t").unwrap()), destination: "".into() }
}

/// The payload of a request that is sent whole.
async fn request(socket: &mut TcpStream) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let mut payload = vec![0; length.and_then(|length| length.trim().parse().ok()).unwrap_or(0)];
    socket.read_exact(&mut payload).await?;
    Ok(String::from_utf8_lossy(&payload).into_owned())
}

/// Takes one request of each connection, answers it with `first`, and with `more` a little later if there is
/// any; takes nothing else. Gives the URL and what was taken.
async fn answering(first: &'static str, more: &'static str) -> (String, Arc<Mutex<BTreeSet<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let taken = Arc::new(Mutex::new(BTreeSet::new()));
    let all = Arc::clone(&taken);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let all = Arc::clone(&all);
            tokio::spawn(async move {
                let payload = request(&mut socket).await?;
                all.lock().unwrap().insert(payload);
                socket.write_all(first.as_bytes()).await?;
                if !more.is_empty() {
                    tokio::task::yield_now().await;
                    socket.write_all(more.as_bytes()).await?;
                }
                // Whatever comes now is taken by nobody.
                let mut rest = Vec::new();
                socket.read_to_end(&mut rest).await
            });
        }
    });
    (url, taken)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_too_many_is_no_answer_to_the_next_event() {
    let twice: &'static str =
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    for (first, more) in [(twice, ""), (OK, OK)] {
        let (url, taken) = answering(first, more).await;
        let target = target(&url, 1);
        let connector = target.config.connect().await.unwrap();
        let mut driver = Driver::new();
        for round in 0..ROUNDS {
            let pair = [0, 1].map(|n| message(&target, &format!("object-{round}"), 2 * round + n));
            for message in &pair {
                let outcomes = driver.attempt(&*connector, std::slice::from_ref(message)).await;
                let payload = String::from_utf8_lossy(&message.payload).into_owned();
                let got = taken.lock().unwrap().contains(&payload);
                assert!(got || outcomes[0] != Outcome::Delivered, "{payload} is delivered; nobody took it");
            }
        }
        connector.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_before_the_request_was_read_is_an_answer_to_it_alone() {
    for (answer, wanted) in [(OK, None), ("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n", Some(()))] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut some = [0; 16];
                    socket.read_exact(&mut some).await?;
                    socket.write_all(answer.as_bytes()).await?;
                    std::future::pending::<std::io::Result<()>>().await
                });
            }
        });
        let target = target(&url, 1);
        let mut large = messages(&target, 3);
        large.iter_mut().for_each(|message| message.payload = vec![b'x'; 8 << 20].into());
        let connector = target.config.connect().await.unwrap();
        for message in &large {
            // Told by its status, or given up: never waited for without an end.
            let outcome = Driver::new().attempt(&*connector, std::slice::from_ref(message)).await.remove(0);
            match (&outcome, wanted) {
                (Outcome::Delivered, None) | (Outcome::Throttled { .. }, Some(())) => {}
                (Outcome::Retry { .. }, _) => {}
                _ => panic!("{outcome:?}"),
            }
        }
        connector.close().await;
    }
}

#[tokio::test]
async fn an_older_protocol_is_understood() {
    let (url, taken) = answering("HTTP/1.0 200 OK\r\n\r\n", "").await;
    assert_eq!(attempt(&target(&url, 4), 2).await, [Outcome::Delivered, Outcome::Delivered]);
    assert_eq!(taken.lock().unwrap().len(), 2, "a connection for each");
    let (url, _) = answering("HTTP/1.0 500 No\r\n\r\n", "").await;
    let outcome = attempt(&target(&url, 4), 1).await.remove(0);
    let is = matches!(&outcome, Outcome::Retry { why, .. } if why.class == ErrorClass::Http5xx);
    assert!(is, "{outcome:?}");
}
