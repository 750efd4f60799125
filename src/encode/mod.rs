//! Encodings: how an entry becomes the message that a target gets.
//!
//! Must never look anything up: a message is made of the entry, the rule's name and the target's
//! configuration, so that every attempt within one configuration epoch sends the same bytes. No generic JSON
//! values on this path.
//!
//! Whatever the encoding, a message says which event it is: header `tidings-event-id` (the same at every
//! attempt, target and replay), header `tidings-sequencer` (compares bytewise; larger is newer within one
//! object) and header `tidings-event` (the name in COS's family).

mod json;
mod s3;
mod sample;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use tidings_connector::{Cause, ErrorClass, Header, Message, Template};

use crate::config::Encoding;
use crate::event::EventKind;
use crate::queue::Stored;

pub use sample::sample;

/// Turns entries into messages for one target. Cheap to share; holds no state between messages.
#[derive(Debug, Clone)]
pub struct Encoder {
    encoding: Encoding,
    region: Arc<str>,
    owner: Arc<str>,
    destination: Destination,
    content_type: Arc<str>,
    /// Event names by `EventKind::code`, so that no message allocates its own.
    names: Arc<[Arc<str>]>,
}

/// The destination, rendered once where it does not depend on the event.
#[derive(Debug, Clone)]
enum Destination {
    Fixed(Arc<str>),
    PerEvent(Template),
}

impl Encoder {
    /// An encoder for one target. `region` is `server.region`, `owner` the account's appid; `destination` is
    /// the connector's template, `None` where the connector has a fixed destination.
    pub fn new(encoding: Encoding, region: &str, owner: &str, destination: Option<&Template>) -> Self {
        let destination = match destination {
            None => Destination::Fixed("".into()),
            Some(template) if template.is_fixed() => match template.render("", "") {
                Ok(text) => Destination::Fixed(text.into()),
                // Cannot happen: a fixed template was rendered when it was parsed. If it does, each message
                // says so.
                Err(_) => Destination::PerEvent(template.clone()),
            },
            Some(template) => Destination::PerEvent(template.clone()),
        };
        let codes = EventKind::ALL.iter().map(|kind| kind.code()).max().map_or(0, usize::from);
        let mut names: Vec<Arc<str>> = vec!["".into(); codes + 1];
        for kind in EventKind::ALL {
            names[usize::from(kind.code())] = kind.cos_name().into();
        }
        Self {
            encoding,
            region: region.into(),
            owner: owner.into(),
            destination,
            content_type: match encoding {
                Encoding::S3 => "application/json".into(),
            },
            names: names.into(),
        }
    }

    /// The message for one entry, under the rule that matched it.
    ///
    /// # Errors
    /// A cause of class `encode` when this entry can never become a message for this target: its destination
    /// cannot be rendered, or it is not an event. The caller treats it as `Rejected`.
    pub fn message(&self, stored: &Stored, rule: &str) -> Result<Message, Cause> {
        let event = stored.entry.event.as_ref().ok_or_else(|| {
            Cause::new(ErrorClass::Encode, &format!("entry {} has no event", stored.position.offset))
        })?;
        let destination = match &self.destination {
            Destination::Fixed(text) => Arc::clone(text),
            Destination::PerEvent(template) => template
                .render(&event.bucket, event.kind.s3_short())
                .map_err(|e| {
                    Cause::new(ErrorClass::Encode, &format!("destination `{}`: {e}", template.source()))
                })?
                .into(),
        };
        let mut id = [0; uuid::fmt::Hyphenated::LENGTH];
        let id: Arc<str> = (&*event.id.hyphenated().encode_lower(&mut id)).into();
        let sequencer: Arc<str> = stored.position.sequencer().into();
        let mut payload = Vec::with_capacity(s3::capacity(event, rule));
        match self.encoding {
            Encoding::S3 => {
                let fixed = s3::Fixed { region: &self.region, owner: &self.owner };
                s3::write(&mut payload, fixed, event, &sequencer, rule);
            }
        }
        let mut key = Vec::with_capacity(event.bucket.len() + 1 + event.key.len());
        key.extend_from_slice(event.bucket.as_bytes());
        key.push(b'/');
        key.extend_from_slice(event.key.as_bytes());
        let headers = vec![
            Header { name: "content-type", value: Arc::clone(&self.content_type) },
            Header { name: "tidings-event-id", value: Arc::clone(&id) },
            Header { name: "tidings-sequencer", value: sequencer },
            Header { name: "tidings-event", value: Arc::clone(&self.names[usize::from(event.kind.code())]) },
        ];
        Ok(Message { id, key: Bytes::from(key), payload: Bytes::from(payload), headers, destination })
    }
}
