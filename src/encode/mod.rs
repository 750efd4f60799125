//! Encodings: how an entry becomes the message that a target gets.
//!
//! Must never look anything up: a message is made of the entry, the rule's name and the target's
//! configuration, so that every attempt within one configuration epoch sends the same bytes. No generic JSON
//! values on this path.
//!
//! Whatever the encoding, a message says which event it is: header `tidings-event-id` (the same at every
//! attempt, target and replay), header `tidings-sequencer` (compares bytewise; larger is newer within one
//! object) and header `tidings-event` (the name in COS's family). Where runs of functions led to the event,
//! header `tidings-hops` says how many.

mod cloudevents;
mod cos;
mod json;
mod percent;
mod s3;
mod sample;
mod test_event;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use tidings_connector::{Cause, ErrorClass, Header, Message, Template};

use crate::config::Encoding;
use crate::event::{Event, EventKind};
use crate::fail;
use crate::queue::{Change, Stored};

pub use sample::sample;

/// The media type of every payload and of a CloudEvent's data, except a structured CloudEvent.
const JSON: &str = "application/json";

/// Turns entries into messages for one target. Cheap to share; holds no state between messages.
#[derive(Debug, Clone)]
pub struct Encoder {
    encoding: Encoding,
    binding: Binding,
    region: Arc<str>,
    appid: Arc<str>,
    domain: Option<Arc<str>>,
    target: Arc<str>,
    destination: Destination,
    content_type: Arc<str>,
    /// CloudEvents' `specversion`.
    version: Arc<str>,
    /// Event names by `EventKind::code`, so that no message allocates its own.
    names: Arc<[Arc<str>]>,
}

/// How a protocol writes an event's attributes in its headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// HTTP.
    Http,
    /// Kafka.
    Kafka,
    /// NATS.
    Nats,
    /// AMQP 0-9-1.
    Amqp,
}

/// What events say of where they come from and whom they are for.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// `server.region`.
    pub region: &'a str,
    /// `account.appid`, which owns every bucket.
    pub appid: &'a str,
    /// `server.domain`.
    pub domain: Option<&'a str>,
    /// The target's name.
    pub target: &'a str,
}

/// The destination, rendered once where it does not depend on the event.
#[derive(Debug, Clone)]
enum Destination {
    Fixed(Arc<str>),
    PerEvent(Template),
}

impl Encoder {
    /// An encoder for one target; `destination` is the connector's template, `None` where the connector has a
    /// fixed destination.
    pub fn new(
        encoding: Encoding,
        binding: Binding,
        origin: Origin<'_>,
        destination: Option<&Template>,
    ) -> Self {
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
        let kinds = || EventKind::ALL.iter().chain(&[EventKind::Test]);
        let codes = kinds().map(|kind| kind.code()).max().map_or(0, usize::from);
        let mut names: Vec<Arc<str>> = vec!["".into(); codes + 1];
        for kind in kinds() {
            names[usize::from(kind.code())] = kind.cos_name().into();
        }
        let content_type = match encoding {
            Encoding::S3 | Encoding::Cos | Encoding::CloudEvents => JSON,
            Encoding::CloudEventsStructured => "application/cloudevents+json",
        };
        Self {
            encoding,
            binding,
            region: origin.region.into(),
            appid: origin.appid.into(),
            domain: origin.domain.map(Into::into),
            target: origin.target.into(),
            destination,
            content_type: content_type.into(),
            version: "1.0".into(),
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
        let sequencer: Arc<str> = match fail::mutant("sequencer-from-the-clock") {
            false => stored.position.sequencer().into(),
            true => format!("{:024X}", event.time_us).into(),
        };
        let name = &self.names[usize::from(event.kind.code())];
        let mut headers = Vec::with_capacity(12);
        headers.extend([
            Header { name: "content-type", value: Arc::clone(&self.content_type) },
            Header { name: "tidings-event-id", value: Arc::clone(&id) },
            Header { name: "tidings-sequencer", value: Arc::clone(&sequencer) },
            Header { name: "tidings-event", value: Arc::clone(name) },
        ]);
        if event.request.hops > 0 {
            headers.push(Header { name: "tidings-hops", value: event.request.hops.to_string().into() });
        }
        let payload = self.payload(stored, event, rule, &id, &sequencer, &mut headers);
        let mut key = Vec::with_capacity(event.bucket.len() + 1 + event.key.len());
        key.extend_from_slice(event.bucket.as_bytes());
        key.push(b'/');
        key.extend_from_slice(event.key.as_bytes());
        Ok(Message { id, key: Bytes::from(key), payload: Bytes::from(payload), headers, destination })
    }

    /// The payload in this target's encoding, and the headers that go with it.
    fn payload(
        &self,
        stored: &Stored,
        event: &Event,
        rule: &str,
        id: &Arc<str>,
        sequencer: &Arc<str>,
        headers: &mut Vec<Header>,
    ) -> Vec<u8> {
        if event.kind == EventKind::Test {
            return self.test_payload(event, id, sequencer, headers);
        }
        let mut out;
        let version = stored.version().map(|version| version.to_string());
        let restore = match &stored.entry.change {
            Change::Restore(change) => change.now.as_ref(),
            _ => None,
        };
        let (region, owner, version_id) = (&*self.region, &*self.appid, version.as_deref());
        let fixed = s3::Fixed { region, owner, version: version_id, restore };
        let name = &self.names[usize::from(event.kind.code())];
        let attributes = || cloudevents::Attributes::of(event, &self.region, id, name, sequencer);
        match self.encoding {
            Encoding::S3 => {
                out = Vec::with_capacity(s3::capacity(event, rule));
                s3::write(&mut out, fixed, event, sequencer, rule);
            }
            Encoding::Cos => {
                let fixed = cos::Fixed {
                    region: &self.region,
                    appid: &self.appid,
                    domain: self.domain.as_deref(),
                    target: &self.target,
                    version: version.as_deref(),
                };
                out = Vec::with_capacity(cos::capacity(event));
                cos::write(&mut out, fixed, &stored.entry, event, id, sequencer);
            }
            Encoding::CloudEvents => {
                out = Vec::with_capacity(s3::capacity(event, rule));
                s3::record(&mut out, fixed, event, sequencer, rule);
                attributes().headers(self.binding, &self.version, headers);
            }
            Encoding::CloudEventsStructured => {
                out = Vec::with_capacity(s3::capacity(event, rule) + cloudevents::AROUND_BYTES);
                attributes().around(&mut out, |out| s3::record(out, fixed, event, sequencer, rule));
            }
        }
        out
    }

    /// The payload of a test event: one document, in whatever is around it.
    fn test_payload(
        &self,
        event: &Event,
        id: &Arc<str>,
        sequencer: &Arc<str>,
        headers: &mut Vec<Header>,
    ) -> Vec<u8> {
        let name = &self.names[usize::from(event.kind.code())];
        let attributes = || cloudevents::Attributes::of(event, &self.region, id, name, sequencer);
        let mut out = Vec::with_capacity(test_event::capacity(event) + cloudevents::AROUND_BYTES);
        let write = |out: &mut Vec<u8>, name: &str| test_event::write(out, event, name, id, sequencer);
        match self.encoding {
            Encoding::Cos => write(&mut out, event.kind.cos_name()),
            Encoding::S3 => write(&mut out, event.kind.s3_name()),
            Encoding::CloudEvents => {
                write(&mut out, event.kind.s3_name());
                attributes().headers(self.binding, &self.version, headers);
            }
            Encoding::CloudEventsStructured => {
                attributes().around(&mut out, |out| write(out, event.kind.s3_name()));
            }
        }
        out
    }
}
