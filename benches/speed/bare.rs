//! What a lane is measured against: the loop without a lane that reads segments, encodes and produces to
//! Kafka, and the messages that bare publishers of the other far sides send.
//!
//! Must never use other settings of a client than the product's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use bytes::Bytes;
use rdkafka::ClientContext;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};
use tidings::config::{Config, Encoding};
use tidings::encode::{Binding, Encoder, Origin};
use tidings::journal::{self, Durable, Journal, Opened, OsDisk, ReadError, Sink};
use tidings::queue::{Entry, Stored, decode};
use tidings_connector::Message;

use crate::backlog::{journal_options, load};
use crate::machine;
use crate::server::Home;

/// Messages that the loop has outstanding: what the connector's window is.
const OUTSTANDING: u64 = 65_536;

struct Nowhere;

impl Sink<()> for Nowhere {
    fn publish(&self, _: Vec<Durable<()>>) {}
}

/// Counts what was acknowledged and what was not.
#[derive(Clone, Default)]
struct Count(Arc<(AtomicU64, AtomicU64)>);

impl ClientContext for Count {}

impl ProducerContext for Count {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let counter = if result.is_ok() { &self.0.0 } else { &self.0.1 };
        counter.fetch_add(1, Ordering::Release);
    }
}

/// Gives every entry of a log to `each`, in its order.
fn read_all(
    config: &Config,
    mut each: impl FnMut(tidings::event::Position, Entry) -> Result<()>,
) -> Result<()> {
    let opened = Opened::open(Arc::new(OsDisk), journal_options(config), 0)?;
    let journal: Journal<()> = opened.start(Arc::new(Nowhere))?;
    let mut reader = journal.reader(journal.stat().first);
    let mut batch = Vec::new();
    loop {
        let more = reader.read_batch(|view| {
            batch.push(decode(view.meta, view.labels()).map(|entry| (journal::position(view), entry)));
        });
        match more {
            Ok(true) => {}
            Ok(false) => break,
            Err(ReadError::Io(e)) => return Err(e.into()),
            Err(e) => return Err(e.into()),
        }
        for entry in batch.drain(..) {
            let (position, entry) = entry?;
            each(position, entry)?;
        }
    }
    journal.stop();
    Ok(())
}

fn encoder(config: &Config, binding: Binding) -> Encoder {
    let (region, appid) = (&*config.server.region, &*config.account.appid);
    let origin = Origin { region, appid, domain: None, target: "reference" };
    Encoder::new(Encoding::S3, binding, origin, None)
}

/// The message of an entry; `None`: it is for no target.
fn message(encoder: &Encoder, position: tidings::event::Position, entry: Entry) -> Result<Option<Message>> {
    let Some(rule) = entry.deliveries.first().map(|d| Arc::clone(&d.rule)) else { return Ok(None) };
    let stored = Stored { position, entry, body: Bytes::new(), bare: 0, charge: 0 };
    encoder.message(&stored, &rule).map(Some).map_err(|e| anyhow!("{}", e.text))
}

/// Every message of a backlog, ready to be sent.
pub(crate) fn messages(home: &Home, binding: Binding) -> Result<Vec<Message>> {
    let config = load(&home.config())?;
    let encoder = encoder(&config, binding);
    let mut messages = Vec::new();
    read_all(&config, |position, entry| {
        messages.extend(message(&encoder, position, entry)?);
        Ok(())
    })?;
    Ok(messages)
}

/// Reads segments, decodes, encodes and produces, with the product's producer settings and without a lane:
/// events a second until all are acknowledged.
pub(crate) fn without_a_lane(home: &Home, broker: &str, topic: &str) -> Result<f64> {
    let config = load(&home.config())?;
    let options = tidings_kafka::KafkaOptions {
        brokers: vec![broker.to_owned()],
        topic: topic.to_owned(),
        ..tidings_kafka::KafkaOptions::default()
    };
    let client = options.checked("reference").map_err(anyhow::Error::msg)?.client()?;
    let count = Count::default();
    let producer = ThreadedProducer::from_config_and_context(&client, count.clone())?;
    let encoder = encoder(&config, Binding::Kafka);
    let begin = Instant::now();
    let mut sent = 0;
    read_all(&config, |position, entry| {
        let Some(message) = message(&encoder, position, entry)? else { return Ok(()) };
        produce(&producer, &count, topic, sent, &message)?;
        sent += 1;
        Ok(())
    })?;
    producer.flush(Duration::from_secs(60))?;
    let (acked, failed) = (count.0.0.load(Ordering::Acquire), count.0.1.load(Ordering::Acquire));
    ensure!(acked == sent && failed == 0, "{acked} of {sent} acknowledged");
    Ok(sent as f64 / begin.elapsed().as_secs_f64())
}

fn produce(
    producer: &ThreadedProducer<Count>,
    count: &Count,
    topic: &str,
    sent: u64,
    message: &Message,
) -> Result<()> {
    while sent - count.0.0.load(Ordering::Acquire) >= OUTSTANDING {
        machine::pause(Duration::from_millis(1));
    }
    let headers = message.headers.iter().fold(OwnedHeaders::new_with_capacity(4), |headers, h| {
        headers.insert(Header { key: h.name, value: Some(h.value.as_bytes()) })
    });
    let record: BaseRecord<'_, [u8], [u8]> =
        BaseRecord::to(topic).key(&message.key[..]).payload(&message.payload[..]).headers(headers);
    let mut record = Some(record);
    while let Some(next) = record.take() {
        match producer.send(next) {
            Ok(()) => {}
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                machine::pause(Duration::from_millis(1));
                record = Some(back);
            }
            Err((e, _)) => return Err(e.into()),
        }
    }
    Ok(())
}
