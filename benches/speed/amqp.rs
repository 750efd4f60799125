//! RabbitMQ as the measurements see it: a quorum queue, how much it holds, and a bare pipelined publisher.
//!
//! Must never use the product's code.

use anyhow::{Result, ensure};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use tidings::encode::Binding;
use tidings_amqp::AmqpOptions;
use tidings_connector::Message;

use crate::far::{Far, every_event};

/// A queue of one measurement.
pub(crate) struct Queue {
    name: String,
    address: String,
    connection: Connection,
}

impl Queue {
    /// Makes a quorum queue that nobody else has.
    pub(crate) async fn create(address: &str) -> Result<Self> {
        let name = format!("tidings-speed-{}", uuid::Uuid::now_v7().simple());
        let uri = format!("amqp://guest:guest@{address}/%2f");
        let connection = Connection::connect(&uri, ConnectionProperties::default()).await?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let channel = connection.create_channel().await?;
        channel.queue_declare(name.as_str().into(), durable, arguments).await?;
        Ok(Self { name, address: address.to_owned(), connection })
    }
}

impl Far for Queue {
    const BINDING: Binding = Binding::Amqp;

    fn target(&self, name: &str) -> String {
        let (address, queue) = (&self.address, &self.name);
        format!(
            "[target.{name}.connector.amqp]\nurl = \"amqp://{address}/%2f\"\nrouting_key = {queue:?}\n{}",
            every_event(name)
        )
    }

    async fn arrived(&self) -> Result<u64> {
        let channel = self.connection.create_channel().await?;
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let queue = channel.queue_declare(self.name.as_str().into(), passive, FieldTable::default()).await?;
        channel.close(200, "OK".into()).await?;
        Ok(u64::from(queue.message_count()))
    }

    async fn publish(&self, messages: Vec<Message>) -> Result<()> {
        let channel = self.connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let window = AmqpOptions::default().max_in_flight;
        let mut flights = FuturesUnordered::new();
        for message in messages {
            if flights.len() >= window
                && let Some(done) = flights.next().await
            {
                acknowledged(&done?)?;
            }
            flights.push(send(&channel, &self.name, message));
        }
        while let Some(done) = flights.next().await {
            acknowledged(&done?)?;
        }
        Ok(())
    }

    async fn remove(self) -> Result<()> {
        let channel = self.connection.create_channel().await?;
        channel.queue_delete(self.name.as_str().into(), QueueDeleteOptions::default()).await?;
        self.connection.close(200, "OK".into()).await?;
        Ok(())
    }
}

fn acknowledged(confirmation: &Confirmation) -> Result<()> {
    ensure!(matches!(confirmation, Confirmation::Ack(None)), "not acknowledged");
    Ok(())
}

/// One message as the connector sends it: persistent, mandatory, with its id.
async fn send(channel: &Channel, queue: &str, message: Message) -> lapin::Result<Confirmation> {
    let mut table = FieldTable::default();
    let mut properties =
        BasicProperties::default().with_delivery_mode(2).with_message_id(ShortString::from(&*message.id));
    for header in &message.headers {
        if header.name == "content-type" {
            properties = properties.with_content_type(ShortString::from(&*header.value));
        } else {
            let value = AMQPValue::LongString(LongString::from(header.value.as_bytes()));
            table.insert(ShortString::from(header.name), value);
        }
    }
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let properties = properties.with_headers(table);
    channel.basic_publish("".into(), queue.into(), options, &message.payload, properties).await?.await
}
