//! A message in the protocol's form: persistent, mandatory, with the event's id as its own.
//!
//! Must never hand the library what it, or the protocol, cannot carry.

use std::sync::Arc;

use lapin::message::BasicReturnMessage;
use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Error};
use tidings_connector::{Cause, ErrorClass, Message};

/// The largest payload that is sent: what RabbitMQ 4 takes unless it is told otherwise.
const MAX_PAYLOAD_BYTES: usize = 16 << 20;

/// Bytes of a frame that properties other than headers need, at most.
const PROPERTIES_BYTES: usize = 1_024;

/// A persistent message survives the broker's restart in a durable queue.
const PERSISTENT: u8 = 2;

/// A message that can be published.
pub(crate) struct Written {
    message: Message,
    key: ShortString,
    properties: BasicProperties,
}

impl Written {
    /// `frame_max`: the longest frame that the broker takes, in bytes; 0 for no bound. `Err`: why the message
    /// can never be published.
    pub(crate) fn new(message: Message, frame_max: u32) -> Result<Self, Cause> {
        let headers: usize = message.headers.iter().map(|h| h.name.len() + h.value.len() + 6).sum();
        let frame = if frame_max == 0 { usize::MAX } else { frame_max as usize };
        if message.payload.len() > MAX_PAYLOAD_BYTES || headers + PROPERTIES_BYTES > frame {
            return Err(Cause::new(ErrorClass::TooLarge, "the message is larger than the broker takes"));
        }
        let mut table = FieldTable::default();
        let mut properties = BasicProperties::default()
            .with_delivery_mode(PERSISTENT)
            .with_message_id(short("event id", &message.id)?);
        for header in &message.headers {
            if header.name == "content-type" {
                properties = properties.with_content_type(short("content type", &header.value)?);
            } else {
                let value = AMQPValue::LongString(LongString::from(header.value.as_bytes()));
                table.insert(short("header's name", header.name)?, value);
            }
        }
        let key = short("routing key", &message.destination)?;
        Ok(Self { message, key, properties: properties.with_headers(table) })
    }

    /// The event's id.
    pub(crate) fn id(&self) -> &Arc<str> {
        &self.message.id
    }
}

fn short(what: &str, text: &str) -> Result<ShortString, Cause> {
    ShortString::try_new(text).map_err(|_| {
        let text = format!("the {what} is {} bytes long; AMQP allows 255", text.len());
        Cause::new(ErrorClass::Encode, &text)
    })
}

/// The broker's answer as the library hands it over: whether it took the message, and the id of the message
/// that came back with the answer; empty if it has none, which none of ours is. Whose the return is, only its
/// id says.
pub(crate) type Answered = (bool, Option<Box<str>>);

/// Publishes one message and waits for the broker's answer.
pub(crate) async fn send(
    channel: &Channel,
    exchange: ShortString,
    written: Written,
) -> Result<Answered, Error> {
    let Written { message, key, properties } = written;
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let confirm = channel.basic_publish(exchange, key, options, &message.payload, properties).await?;
    // The answer may take long; the payload is not needed any more.
    drop(message);
    let (acked, returned) = match confirm.await? {
        Confirmation::Ack(returned) => (true, returned),
        Confirmation::Nack(returned) => (false, returned),
        // Only on a channel without confirmations, which is none of ours.
        Confirmation::NotRequested => (false, None),
    };
    let id = |message: BasicReturnMessage| {
        message.properties.message_id().as_ref().map_or("", ShortString::as_str).into()
    };
    Ok((acked, returned.map(id)))
}

#[cfg(test)]
mod tests {
    use tidings_connector::Header;

    use super::*;

    fn message() -> Message {
        Message {
            id: "00000000-0000-7000-8000-000000000000".into(),
            key: "bucket/key".into(),
            payload: "{}".into(),
            headers: vec![Header { name: "content-type", value: "application/json".into() }],
            destination: "key".into(),
        }
    }

    #[test]
    fn a_message_is_persistent_and_has_the_events_id() {
        let written = Written::new(message(), 131_072).unwrap_or_else(|why| panic!("{why:?}"));
        assert_eq!(written.properties.delivery_mode(), &Some(2));
        assert_eq!(written.properties.message_id().as_ref().map(ShortString::as_str), Some(&*message().id));
        let content_type = written.properties.content_type().as_ref().map(ShortString::as_str);
        assert_eq!(content_type, Some("application/json"));
    }

    #[test]
    fn what_cannot_travel_is_refused() {
        type Change = fn(&mut Message);
        let cases: [(ErrorClass, u32, Change); 5] = [
            (ErrorClass::TooLarge, 0, |m| m.payload = vec![0; (16 << 20) + 1].into()),
            (ErrorClass::TooLarge, 4_096, |m| {
                m.headers.push(Header { name: "x-long", value: "v".repeat(3_500).into() });
            }),
            (ErrorClass::Encode, 0, |m| m.destination = "k".repeat(256).into()),
            (ErrorClass::Encode, 0, |m| m.id = "i".repeat(256).into()),
            (ErrorClass::Encode, 0, |m| m.headers[0].value = "t".repeat(256).into()),
        ];
        for (class, frame_max, change) in cases {
            assert!(Written::new(message(), frame_max).is_ok());
            let mut message = message();
            change(&mut message);
            let refused = Written::new(message, frame_max).err().map(|why| why.class);
            assert_eq!(refused, Some(class));
        }
    }
}
