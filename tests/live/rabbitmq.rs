//! A RabbitMQ queue as a far side.
//!
//! Must never use the product's code to read what the product wrote.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use lapin::options::{BasicConsumeOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties};

use crate::broker::{self, RABBITMQ};
use crate::checker::Delivery;
use crate::consumer::{Far, parse};

/// The broker may take this long to give the next message.
const PATIENCE: Duration = Duration::from_secs(30);

/// A durable queue that nobody else has.
pub(crate) struct Queue(String);

impl Queue {
    /// Makes one; `kind` is `classic` or `quorum`.
    pub(crate) async fn create(test: &str, kind: &str) -> Self {
        let name = format!("tidings-{test}-{}", uuid::Uuid::now_v7().simple());
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString(kind.into()));
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let (_connection, channel) = channel().await;
        channel.queue_declare(name.as_str().into(), durable, arguments).await.expect("a queue");
        Self(name)
    }
}

async fn channel() -> (Connection, Channel) {
    let uri = format!("amqp://guest:guest@{}/%2f", broker::address(RABBITMQ));
    let connection = Connection::connect(&uri, ConnectionProperties::default()).await.expect("a connection");
    let channel = connection.create_channel().await.expect("a channel");
    (connection, channel)
}

#[async_trait]
impl Far for Queue {
    fn broker(&self) -> &'static str {
        RABBITMQ
    }

    fn connector(&self) -> String {
        let (address, queue) = (broker::address(RABBITMQ), &self.0);
        format!("[target.live.connector.amqp]\nurl = \"amqp://{address}/%2f\"\nrouting_key = {queue:?}\n")
    }

    /// Takes everything out: the queue is gone afterwards.
    async fn read_all(&self) -> Vec<Delivery> {
        let (_connection, channel) = channel().await;
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let queue = channel.queue_declare(self.0.as_str().into(), passive, FieldTable::default()).await;
        let count = queue.expect("the queue").message_count();
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let (name, none) = (self.0.as_str(), FieldTable::default());
        let mut messages =
            channel.basic_consume(name.into(), "".into(), options, none).await.expect("a consumer");
        let mut deliveries = Vec::new();
        for at in 0..count {
            let message = tokio::time::timeout(PATIENCE, messages.next()).await;
            let message = message.unwrap_or_else(|_| panic!("message {at} of {count} did not come"));
            let message = message.expect("more messages").expect("a message");
            let delivery = parse(0, &message.data);
            let id = message.properties.message_id().as_ref().map(|id| id.as_str());
            assert_eq!(id, Some(&*delivery.event_id), "the message's id: {delivery:?}");
            deliveries.push(delivery);
        }
        let delete = QueueDeleteOptions::default();
        channel.queue_delete(name.into(), delete).await.expect("the queue is deleted");
        deliveries
    }
}
