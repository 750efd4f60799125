//! What both harnesses share: fresh topic names, configurations, and reading a topic from its beginning.
//!
//! Must never use the connector's own code to read back.

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use tidings_connector::contract::{Arrived, Target};
use tidings_connector::{Size, Span};
use tidings_kafka::KafkaOptions;

/// How long a reader waits for what the producer was told has arrived.
const READ: Duration = Duration::from_secs(30);

/// A topic name that no other test uses: `base` and a bucket's name, which a template renders.
pub fn fresh(base: &str) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    #[expect(clippy::disallowed_methods, reason = "a name that no earlier run used")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    format!("{base}.{now}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

pub fn options(brokers: &str, topic: &str) -> KafkaOptions {
    KafkaOptions {
        brokers: brokers.split(',').map(str::to_owned).collect(),
        topic: topic.to_owned(),
        connect_timeout: Span(Duration::from_secs(2)),
        max_bytes: Size(64 << 20),
        ..KafkaOptions::default()
    }
}

/// The target of `topic`, named as it is or through a template with the same base.
pub fn target(topic: String, template: bool, options: impl Fn(&str) -> KafkaOptions) -> Target {
    let base = topic.split_once('.').expect("a fresh name").0;
    let options = if template { options(&format!("{base}.{{bucket}}")) } else { options(&topic) };
    Target { config: Arc::new(options.checked("contract").unwrap()), destination: topic.into() }
}

/// An address that was free a moment ago.
pub fn dead() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// Everything in the topic once it holds at least `count`, partition by partition in order.
pub async fn read(brokers: &str, topic: &str, count: usize) -> Vec<Arrived> {
    let (brokers, topic) = (brokers.to_owned(), topic.to_owned());
    tokio::task::spawn_blocking(move || read_blocking(&brokers, &topic, count)).await.unwrap()
}

fn read_blocking(brokers: &str, topic: &str, count: usize) -> Vec<Arrived> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "contract-reader")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "20")
        .create()
        .unwrap();
    let deadline = Instant::now() + READ;
    let metadata = loop {
        match consumer.fetch_metadata(Some(topic), READ) {
            Ok(metadata) if metadata.topics()[0].error().is_none() => break metadata,
            Ok(metadata) => assert!(Instant::now() < deadline, "{:?}", metadata.topics()[0].error()),
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    };
    let mut assignment = TopicPartitionList::new();
    let mut end = 0;
    for partition in metadata.topics()[0].partitions() {
        assignment.add_partition_offset(topic, partition.id(), Offset::Beginning).unwrap();
        end += consumer.fetch_watermarks(topic, partition.id(), READ).unwrap().1 as usize;
    }
    consumer.assign(&assignment).unwrap();
    let mut arrived = Vec::new();
    while arrived.len() < end.max(count) && Instant::now() < deadline {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message.unwrap();
        let headers =
            message.headers().into_iter().flat_map(|h| h.iter()).map(|header| {
                (header.key.to_owned(), Bytes::copy_from_slice(header.value.unwrap_or_default()))
            });
        arrived.push(Arrived {
            key: message.key().map(Bytes::copy_from_slice),
            payload: Bytes::copy_from_slice(
                message.payload().expect("an empty payload is not a missing one"),
            ),
            headers: headers.collect(),
        });
    }
    arrived
}
