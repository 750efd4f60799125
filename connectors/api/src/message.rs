//! What a connector sends: bytes, a key, headers and a destination, already rendered.
//!
//! Must never know what an event is: encodings live on the other side of the seam.

use std::sync::Arc;

use bytes::Bytes;

/// One message, ready to send.
#[derive(Debug, Clone)]
pub struct Message {
    /// The event id, a UUID in lower-case text: the same at every attempt and at every target.
    pub id: Arc<str>,
    /// The order key, `bucket/key` in UTF-8. Messages of one key are never outstanding together.
    pub key: Bytes,
    /// The encoded event.
    pub payload: Bytes,
    /// Headers in sending order. Names fit the protocol; values are UTF-8 without control characters.
    pub headers: Vec<Header>,
    /// The rendered topic, subject or routing key; empty where the connector has a fixed destination.
    pub destination: Arc<str>,
}

/// One header of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Printable ASCII: lower-case tokens, except AMQP's own names (`cloudEvents:id`).
    pub name: &'static str,
    /// UTF-8 without control characters.
    pub value: Arc<str>,
}

impl Message {
    /// Bytes this message occupies in buffers: key, payload and headers.
    pub fn size(&self) -> usize {
        let headers: usize = self.headers.iter().map(|h| h.name.len() + h.value.len()).sum();
        self.key.len() + self.payload.len() + headers
    }
}
