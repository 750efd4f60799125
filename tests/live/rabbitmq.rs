//! RabbitMQ as the far side: a queue of its own for each test, and an independent consumer.
//!
//! Must never use the product's code to read what the product wrote.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use lapin::options::{BasicConsumeOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties};

use crate::checker::Delivery;
use crate::far::{FarSide, Fault, Raw};
use crate::volume::{asked_to_wait, killed, quiet, stopped};
use crate::{broker, turn};

/// The broker may take this long to give the next message.
const PATIENCE: Duration = Duration::from_secs(30);
/// Under this name, which is no header's, a message says its id.
const ID: &str = "(message-id)";

/// A quorum queue is in its node's list on the disk by then.
const LISTED: Duration = Duration::from_secs(30);
/// Pause between two looks at that list.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A durable queue that nobody else has.
pub(crate) struct Queue {
    name: String,
    quorum: bool,
}

impl Queue {
    /// Makes one; `kind` is `classic` or `quorum`.
    pub(crate) async fn create(test: &str, kind: &str) -> Box<dyn FarSide> {
        let name = format!("tidings-{test}-{}", uuid::Uuid::now_v7().simple());
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString(kind.into()));
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let (_connection, channel) = channel().await;
        channel.queue_declare(name.as_str().into(), durable, arguments).await.expect("a queue");
        Box::new(Self { name, quorum: kind == "quorum" })
    }

    /// Waits until the node's list of quorum queues is on the disk with this one in it. RabbitMQ writes it
    /// half a second after its last change; of a queue that was made within that before a `kill -9`, the next
    /// start knows neither the log nor a leader, and confirms nothing for ever ("leader not known").
    async fn listed(&self) {
        let set = std::env::var("TIDINGS_TEST_BROKERS").expect("who can kill the broker knows where it is");
        let list = "rabbitmq/data/tidings@localhost/quorum/tidings@localhost/names.dets";
        let (list, name) = (std::path::Path::new(&set).join(list), self.name.as_bytes());
        let there = async {
            while !std::fs::read(&list).is_ok_and(|l| l.windows(name.len()).any(|w| w == name)) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let listed = tokio::time::timeout(LISTED, there).await;
        assert!(listed.is_ok(), "{} is not in {} after {LISTED:?}", self.name, list.display());
    }
}

pub(crate) fn address() -> String {
    std::env::var("TIDINGS_TEST_AMQP")
        .expect("live tests need a broker: run `cargo xtask test`, or set TIDINGS_TEST_AMQP=host:port")
}

async fn channel() -> (Connection, Channel) {
    let uri = format!("amqp://guest:guest@{}/%2f", address());
    let connection = Connection::connect(&uri, ConnectionProperties::default()).await.expect("a connection");
    let channel = connection.create_channel().await.expect("a channel");
    (connection, channel)
}

#[async_trait]
impl FarSide for Queue {
    fn connector(&self) -> String {
        let (address, queue) = (address(), &self.name);
        format!("[target.live.connector.amqp]\nurl = \"amqp://{address}/%2f\"\nrouting_key = {queue:?}\n")
    }

    /// Takes everything out: the queue is gone afterwards.
    async fn read_raw(&self) -> Vec<Raw> {
        let (_connection, channel) = channel().await;
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let (name, none) = (self.name.as_str(), FieldTable::default());
        let queue = channel.queue_declare(name.into(), passive, none.clone()).await.expect("the queue");
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let consumer = channel.basic_consume(name.into(), "".into(), options, none).await;
        let (mut messages, count) = (consumer.expect("a consumer"), queue.message_count());
        let mut deliveries = Vec::new();
        for at in 0..count {
            let message = tokio::time::timeout(PATIENCE, messages.next()).await;
            let message = message.unwrap_or_else(|_| panic!("message {at} of {count} did not come"));
            let message = message.expect("more messages").expect("a message");
            let properties = &message.properties;
            let own = [(ID, properties.message_id()), ("content-type", properties.content_type())];
            let own = own
                .into_iter()
                .filter_map(|(name, value)| Some((name.to_owned(), value.as_ref()?.to_string())));
            let table = properties.headers().iter().flat_map(|table| table.inner());
            let table = table.map(|(name, value)| match value {
                AMQPValue::LongString(text) => (name.to_string(), text.to_string()),
                other => panic!("{name} is no text: {other:?}"),
            });
            let headers = own.chain(table).collect();
            deliveries.push(Raw { payload: message.data, headers, key: None, partition: 0 });
        }
        channel.queue_delete(name.into(), QueueDeleteOptions::default()).await.expect("deleted");
        deliveries
    }

    async fn read_all(&self) -> Vec<Delivery> {
        let judged = |raw: Raw| {
            let delivery = raw.record();
            assert_eq!(raw.headers.get(ID), Some(&delivery.event_id), "the message's id: {delivery:?}");
            delivery
        };
        self.read_raw().await.into_iter().map(judged).collect()
    }

    async fn kill(&self) -> Fault {
        if self.quorum {
            self.listed().await;
        }
        broker::kill("rabbitmq").await
    }

    async fn stop(&self) -> Fault {
        broker::stop("rabbitmq").await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_100k_changes_reach_a_classic_queue_once_and_in_order() {
    let _turn = turn().await;
    quiet("classic", Queue::create("classic", "classic").await, 100_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rabbitmq_with_a_classic_queue_killed_in_the_middle_loses_nothing() {
    let _turn = turn().await;
    killed("classic-killed", Queue::create("classic-killed", "classic").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rabbitmq_with_a_classic_queue_that_stands_still_loses_nothing() {
    let _turn = turn().await;
    stopped("classic-stopped", Queue::create("classic-stopped", "classic").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_100k_changes_reach_a_quorum_queue_once_and_in_order() {
    let _turn = turn().await;
    quiet("quorum", Queue::create("quorum", "quorum").await, 100_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rabbitmq_with_a_quorum_queue_killed_in_the_middle_loses_nothing() {
    let _turn = turn().await;
    killed("quorum-killed", Queue::create("quorum-killed", "quorum").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rabbitmq_with_a_quorum_queue_that_stands_still_loses_nothing() {
    let _turn = turn().await;
    stopped("quorum-stopped", Queue::create("quorum-stopped", "quorum").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rabbitmq_without_memory_is_waited_for_and_loses_nothing() {
    let _turn = turn().await;
    let queue = Queue::create("alarm", "quorum").await;
    asked_to_wait("alarm", queue, broker::alarm(), "takes no messages at the moment").await;
}
