//! What the live tests share: streams, configurations, a link that can be held and cut, and reading back.
//!
//! Must never use the connector's own code to read back, and never touch a stream that it did not make.

#![allow(missing_docs, dead_code, unreachable_pub, clippy::unwrap_used)]

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::jetstream::{self, stream};
use async_nats::{Client, HeaderMap, Subscriber};
use futures_util::StreamExt as _;
use tidings_connector::Span;
use tidings_connector::contract::Arrived;
use tidings_nats::NatsOptions;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The password of the user `tidings` of the test server.
pub const PASSWORD: &str = "test password";
/// The largest message of a test's stream.
pub const STREAM_MAX: i32 = 200_000;
/// How long a reader waits for what was acknowledged already.
const READ: Duration = Duration::from_secs(30);

pub fn server() -> String {
    std::env::var("TIDINGS_TEST_NATS")
        .expect("set TIDINGS_TEST_NATS to the address of a running server, such as 127.0.0.1:4222")
}

pub async fn client() -> Client {
    async_nats::connect(server()).await.unwrap()
}

/// A name that no other test uses.
pub fn fresh(base: &str) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    #[expect(clippy::disallowed_methods, reason = "a name that no earlier run used")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    format!("{base}-{now}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

pub fn stream_of(name: &str, subjects: &[&str]) -> stream::Config {
    stream::Config {
        name: name.to_owned(),
        subjects: subjects.iter().map(|subject| (*subject).to_owned()).collect(),
        max_message_size: STREAM_MAX,
        storage: stream::StorageType::Memory,
        ..stream::Config::default()
    }
}

pub async fn make(client: &Client, config: stream::Config) -> stream::Stream {
    jetstream::new(client.clone()).create_stream(config).await.unwrap()
}

/// A file with a secret.
pub fn secret(text: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(fresh("secret"));
    std::fs::write(&path, text).unwrap();
    path
}

/// Options for the user `tidings`.
pub fn options(server: &str, stream: &str, subject: &str) -> NatsOptions {
    NatsOptions {
        servers: vec![format!("nats://{server}")],
        stream: stream.to_owned(),
        subject: subject.to_owned(),
        username: "tidings".to_owned(),
        password_file: secret(PASSWORD).to_str().unwrap().to_owned(),
        connect_timeout: Span(Duration::from_secs(2)),
        // The contract is that of a fault; the moment before it is its own test.
        leaderless_for: Span(Duration::ZERO),
        ..NatsOptions::default()
    }
}

/// Everything in the stream with this subject, in order.
pub async fn stored(client: &Client, stream: &str, subject: &str) -> Vec<Arrived> {
    let jetstream = jetstream::new(client.clone());
    let stream = jetstream.get_stream(stream).await.unwrap();
    let last = stream.get_info().await.unwrap().state.last_sequence;
    let mut arrived = Vec::new();
    for sequence in 1..=last {
        let message = stream.get_raw_message(sequence).await.unwrap();
        if message.subject.as_str() == subject {
            arrived.push(as_arrived(message.payload, &message.headers));
        }
    }
    arrived
}

/// What a subscriber gets, once it has got `count`.
pub async fn heard(subscriber: &mut Subscriber, count: usize) -> Vec<Arrived> {
    let mut arrived = Vec::new();
    while arrived.len() < count {
        let message = tokio::time::timeout(READ, subscriber.next()).await.expect("in time").unwrap();
        arrived.push(as_arrived(message.payload, &message.headers.unwrap_or_default()));
    }
    arrived
}

fn as_arrived(payload: bytes::Bytes, headers: &HeaderMap) -> Arrived {
    let headers = headers.iter().flat_map(|(name, values)| {
        values.iter().map(|value| (name.to_string(), bytes::Bytes::copy_from_slice(value.as_ref())))
    });
    Arrived { key: None, payload, headers: headers.collect() }
}

/// What a link does with what the server says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Open,
    /// Keeps answers back.
    Held,
    /// Breaks every connection.
    Cut,
}

/// A TCP link to the server that can be held and cut.
pub struct Link {
    pub address: String,
    mode: watch::Sender<Mode>,
}

impl Link {
    pub async fn new(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (mode, seen) = watch::channel(Mode::Open);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                // One that comes while the link is cut is dropped at once.
                if *seen.borrow() != Mode::Cut {
                    tokio::spawn(carry(near, server.clone(), seen.clone()));
                }
            }
        });
        Self { address, mode }
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

async fn carry(near: TcpStream, server: String, mode: watch::Receiver<Mode>) {
    let far = TcpStream::connect(server).await.unwrap();
    let (mut near_read, mut near_write) = near.into_split();
    let (mut far_read, mut far_write) = far.into_split();
    let mut held = mode.clone();
    let answers = async move {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(read @ 1..) = far_read.read(&mut buffer).await {
            held.wait_for(|mode| *mode != Mode::Held).await.unwrap();
            if near_write.write_all(&buffer[..read]).await.is_err() {
                break;
            }
        }
    };
    let requests = async move {
        // Ends when either side does; the other half is dropped with it.
        let _ = tokio::io::copy(&mut near_read, &mut far_write).await;
    };
    let mut cut = mode;
    tokio::select! {
        () = answers => {}
        () = requests => {}
        _ = cut.wait_for(|mode| *mode == Mode::Cut) => {}
    }
}
