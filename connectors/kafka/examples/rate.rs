//! How fast the connector hands messages to Kafka, beside a bare loop over the same client with the same
//! settings.
//!
//! `rate BROKERS TOPIC [COUNT] [LINGER_MS] [HEADERS]`; the topic must exist. Must never be taken for a lane's
//! rate: nothing is read, encoded or settled here.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::ClientContext;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};
use tidings_connector::{
    ConnectorConfig as _, Delivery, Header, Message, Outcome, Receipt, SettlementInbox, Span, Ticket,
};
use tidings_kafka::{KafkaConfig, KafkaOptions};

/// Messages outstanding at once, in both loops.
const WINDOW: usize = 65_536;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    let number = |n: usize, default| args.get(n).map_or(default, |v| v.parse().expect("a number"));
    let (brokers, topic) = (args[1].clone(), args[2].clone());
    let (count, linger, headers) = (number(3, 500_000), number(4, 1) as u64, number(5, 3));
    let options = KafkaOptions {
        brokers: vec![brokers],
        topic,
        linger: Span(Duration::from_millis(linger)),
        ..KafkaOptions::default()
    };
    let config = options.checked("rate").expect("valid options");
    for round in 0..3 {
        let bare = bare(&config, count, headers);
        let ours = connector(&config, count, headers).await;
        println!("round {round}: bare {bare:.0}/s, connector {ours:.0}/s, ratio {:.2}", ours / bare);
    }
}

fn message(n: usize, headers: usize, topic: &Arc<str>) -> Message {
    let names = ["content-type", "ce-id", "ce-sequence", "ce-type", "ce-source"];
    let headers =
        names.iter().take(headers).map(|name| Header { name, value: "0195b7f0-0000-7000-8000".into() });
    Message {
        id: "0195b7f0-0000-7000-8000-000000000000".into(),
        key: Bytes::from(format!("bucket/in/object-{n}")),
        payload: Bytes::from(format!("{{\"n\":{n},\"filler\":\"{:0>680}\"}}", n * 7_919)),
        headers: headers.collect(),
        destination: Arc::clone(topic),
    }
}

#[derive(Clone, Default)]
struct Counted(Arc<AtomicUsize>);

impl ClientContext for Counted {}

impl ProducerContext for Counted {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, _: usize) {
        assert!(result.is_ok(), "{result:?}");
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[expect(clippy::disallowed_methods, reason = "a bare loop is what is measured")]
fn bare(config: &KafkaConfig, count: usize, headers: usize) -> f64 {
    let topic: Arc<str> = config.destination().expect("a topic").source().into();
    let delivered = Counted::default();
    let producer: ThreadedProducer<Counted> =
        ThreadedProducer::from_config_and_context(&config.client().expect("no secret"), delivered.clone())
            .expect("a producer");
    producer.client().fetch_cluster_id(Duration::from_secs(5)).expect("a broker");
    let started = Instant::now();
    for n in 0..count {
        while n - delivered.0.load(Ordering::Relaxed) >= WINDOW {
            std::thread::sleep(Duration::from_micros(200));
        }
        let message = message(n, headers, &topic);
        let mut record =
            BaseRecord::with_opaque_to(&topic, n).key(&message.key[..]).payload(&message.payload[..]);
        let with = OwnedHeaders::new_with_capacity(headers);
        record.headers = Some(message.headers.iter().fold(with, |headers, h| {
            headers.insert(rdkafka::message::Header { key: h.name, value: Some(h.value.as_bytes()) })
        }));
        producer.send(record).map_err(|(error, _)| error).expect("room in the queue");
    }
    while delivered.0.load(Ordering::Relaxed) < count {
        std::thread::sleep(Duration::from_millis(1));
    }
    count as f64 / started.elapsed().as_secs_f64()
}

async fn connector(config: &KafkaConfig, count: usize, headers: usize) -> f64 {
    let topic: Arc<str> = config.destination().expect("a topic").source().into();
    let connector = config.connect().await.expect("a broker");
    let limits = connector.limits();
    let inbox = SettlementInbox::new();
    let (mut sent, mut settled, mut drained) = (0, 0, Vec::new());
    let started = Instant::now();
    while settled < count {
        let room = limits.in_flight - (sent - settled);
        let next = room.min(limits.batch).min(count - sent);
        if next > 0 && (next == limits.batch || next == count - sent) {
            let batch = (sent..sent + next).map(|n| Delivery {
                message: message(n, headers, &topic),
                attempt: 1,
                receipt: Receipt::new(Ticket { incarnation: 1, slot: n as u64, attempt: 1 }, &inbox),
            });
            connector.deliver(batch.collect()).await;
            sent += next;
        } else {
            inbox.arrived().await;
        }
        inbox.drain(&mut drained);
        assert!(drained.iter().all(|s| s.outcome == Outcome::Delivered), "{:?}", drained.first());
        settled += drained.len();
    }
    let rate = count as f64 / started.elapsed().as_secs_f64();
    connector.close().await;
    rate
}
