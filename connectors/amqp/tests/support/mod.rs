//! What the tests against a broker share: configurations, a wire that can be held and cut, and reading a
//! queue.
//!
//! Must never use the connector's own code to read back.

#![allow(missing_docs, unreachable_pub, dead_code, clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::StreamExt as _;
use lapin::options::{BasicConsumeOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties};
use tidings_amqp::{AmqpConfig, AmqpOptions};
use tidings_connector::Span;
use tidings_connector::contract::Arrived;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// How long a reader waits for what the publisher was told has arrived.
const READ: Duration = Duration::from_secs(30);

/// How long the queue must stay silent before it is believed to be empty.
const SILENCE: Duration = Duration::from_millis(200);

/// The address of the broker that tests use.
pub fn broker() -> SocketAddr {
    let address = std::env::var("TIDINGS_TEST_AMQP")
        .expect("set TIDINGS_TEST_AMQP to the address of a running broker, such as 127.0.0.1:5672");
    address.parse().expect("TIDINGS_TEST_AMQP is an IP address and a port")
}

/// A name that no other test uses: `base` and a bucket's name, which a template renders.
pub fn fresh(base: &str) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    #[expect(clippy::disallowed_methods, reason = "a name that no earlier run used")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    format!("{base}.{now}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

pub fn options(address: SocketAddr, exchange: &str, routing_key: &str) -> AmqpOptions {
    AmqpOptions {
        url: format!("amqp://{address}/%2f"),
        exchange: exchange.to_owned(),
        routing_key: routing_key.to_owned(),
        connect_timeout: Span(Duration::from_secs(4)),
        ..AmqpOptions::default()
    }
}

pub fn config(address: SocketAddr, exchange: &str, routing_key: &str) -> AmqpConfig {
    options(address, exchange, routing_key).checked("contract").unwrap()
}

/// An address that was free a moment ago.
pub fn nowhere() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A channel of the test's own.
pub async fn channel() -> (Connection, Channel) {
    let uri = format!("amqp://guest:guest@{}/%2f", broker());
    let connection = Connection::connect(&uri, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

pub async fn declare(queue: &str, kind: &str) {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString(kind.into()));
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let (_connection, channel) = channel().await;
    channel.queue_declare(queue.into(), durable, arguments).await.unwrap();
}

/// Takes everything out of the queue once `count` arrived.
pub async fn read(queue: &str, count: usize) -> Vec<Arrived> {
    let (_connection, channel) = channel().await;
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let mut messages =
        channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await.unwrap();
    let mut arrived = Vec::new();
    loop {
        let patience = if arrived.len() < count { READ } else { SILENCE };
        let Ok(Some(message)) = tokio::time::timeout(patience, messages.next()).await else { break };
        let message = message.unwrap();
        assert_eq!(message.properties.delivery_mode(), &Some(2), "a message that does not survive a restart");
        let properties = &message.properties;
        let mut headers: Vec<(String, Bytes)> = Vec::new();
        if let Some(content_type) = properties.content_type() {
            headers.push(("content-type".to_owned(), content_type.as_str().to_owned().into()));
        }
        for (name, value) in properties.headers().as_ref().unwrap().inner() {
            let AMQPValue::LongString(value) = value else { panic!("{value:?}") };
            headers.push((name.as_str().to_owned(), value.as_bytes().to_vec().into()));
        }
        let id = headers.iter().find(|(name, _)| name == "x-event-id").map(|(_, value)| value.clone());
        assert_eq!(properties.message_id().as_ref().map(|id| id.as_str().as_bytes()), id.as_deref());
        arrived.push(Arrived { key: None, payload: message.data.clone().into(), headers });
    }
    arrived
}

/// How the wire behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    /// Both ways.
    Open,
    /// Towards the broker only.
    Held,
}

/// A wire to the broker that can be held and cut.
pub struct Wire {
    address: SocketAddr,
    broker: SocketAddr,
    mood: watch::Sender<Mood>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

impl Wire {
    pub fn new(broker: SocketAddr) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let wire =
            Self { address, broker, mood: watch::Sender::new(Mood::Open), accepting: Mutex::default() };
        wire.start();
        wire
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Holds the broker's answers, or lets them go.
    pub fn hold(&self, held: bool) {
        self.mood.send_replace(if held { Mood::Held } else { Mood::Open });
    }

    /// Breaks every connection, and refuses new ones.
    pub async fn stop(&self) {
        let accepting = self.accepting.lock().unwrap().take();
        if let Some(accepting) = accepting {
            accepting.abort();
            let _ = accepting.await;
        }
    }

    pub fn start(&self) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(self.address).unwrap();
        let listener = socket.listen(128).unwrap();
        let (broker, mood) = (self.broker, self.mood.subscribe());
        *self.accepting.lock().unwrap() = Some(tokio::spawn(accept(listener, broker, mood)));
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if let Some(accepting) = self.accepting.lock().unwrap().take() {
            accepting.abort();
        }
    }
}

/// Serves until it is dropped; its connections end with it.
async fn accept(listener: TcpListener, broker: SocketAddr, mood: watch::Receiver<Mood>) {
    let mut open = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let mood = mood.clone();
        open.spawn(async move {
            let Ok(far) = TcpStream::connect(broker).await else { return };
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_far, mut to_far) = far.into_split();
            tokio::select! {
                _ = tokio::io::copy(&mut from_client, &mut to_far) => {}
                () = relay(&mut from_far, &mut to_client, mood) => {}
            }
        });
    }
}

async fn relay(
    from: &mut tokio::net::tcp::OwnedReadHalf,
    to: &mut tokio::net::tcp::OwnedWriteHalf,
    mut mood: watch::Receiver<Mood>,
) {
    let mut bytes = vec![0; 64 << 10];
    loop {
        let Ok(read) = from.read(&mut bytes).await else { return };
        if read == 0 || mood.wait_for(|mood| *mood == Mood::Open).await.is_err() {
            return;
        }
        if to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}
