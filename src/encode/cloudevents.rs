//! CloudEvents 1.0: the attributes of an event, beside its data (binary mode) or around it (structured mode).
//!
//! Must never write a value that the attribute's type or the protocol does not allow, and must never hold a
//! second form of the data: it is the S3 event record.
//!
//! What is decided here:
//! - `type` is the event's name in COS's family (`cos:ObjectCreated:Put`), as rules and headers have it.
//! - `source` is `/REGION/BUCKET`; `id` is the event id, so that (source, id) is the same at every attempt.
//! - `subject` is the key. `%` and what no attribute may hold (controls, noncharacters) are written `%XX`:
//!   decoding once gives the key, and two keys never have one subject. What is about no key has none.
//! - `sequence` is the sequencer: it compares bytewise within one object.
//! - Header names follow each protocol's binding. The one for NATS calls the data's type
//!   `ce-datacontenttype`; its libraries read `content-type`: both are there. No binding exists for AMQP
//!   0-9-1: names and plain values are those of the one for AMQP 1.0.

use std::sync::Arc;

use tidings_connector::Header;

use super::json;
use super::percent::{Keep, encoded, push};
use super::{Binding, JSON};
use crate::event::{Event, EventKind};

/// Bytes around the data in structured mode, rounded up.
pub(super) const AROUND_BYTES: usize = 512;

/// The header names of one binding.
struct Names {
    specversion: &'static str,
    id: &'static str,
    source: &'static str,
    kind: &'static str,
    subject: &'static str,
    time: &'static str,
    sequence: &'static str,
    data_type: Option<&'static str>,
    /// True if values are percent-encoded, false if they are UTF-8 as it is.
    escaped: bool,
}

macro_rules! names {
    ($prefix:literal, $data_type:expr, $escaped:literal) => {
        Names {
            specversion: concat!($prefix, "specversion"),
            id: concat!($prefix, "id"),
            source: concat!($prefix, "source"),
            kind: concat!($prefix, "type"),
            subject: concat!($prefix, "subject"),
            time: concat!($prefix, "time"),
            sequence: concat!($prefix, "sequence"),
            data_type: $data_type,
            escaped: $escaped,
        }
    };
}

static HTTP: Names = names!("ce-", None, true);
static KAFKA: Names = names!("ce_", None, false);
static NATS: Names = names!("ce-", Some("ce-datacontenttype"), true);
static AMQP: Names = names!("cloudEvents:", None, false);

/// The attributes of one event.
pub(super) struct Attributes<'a> {
    pub(super) id: &'a Arc<str>,
    /// The event's name in COS's family.
    pub(super) kind: &'a Arc<str>,
    pub(super) sequence: &'a Arc<str>,
    source: String,
    /// None: it is about no key.
    subject: Option<String>,
    time: String,
}

impl<'a> Attributes<'a> {
    pub(super) fn of(
        event: &Event,
        region: &str,
        id: &'a Arc<str>,
        kind: &'a Arc<str>,
        sequence: &'a Arc<str>,
    ) -> Self {
        let mut source = String::with_capacity(2 + region.len() + event.bucket.len());
        for segment in [region, &*event.bucket] {
            source.push('/');
            push(&mut source, segment, Keep::Segment);
        }
        let mut time = String::with_capacity(24);
        json::time_text(event.time_us, |ascii| time.push(char::from(ascii)));
        let subject = (event.kind != EventKind::Test).then(|| encoded(&event.key, Keep::Attribute));
        Self { id, kind, sequence, source, subject, time }
    }

    /// Appends the attributes as headers: binary mode.
    pub(super) fn headers(self, binding: Binding, version: &Arc<str>, out: &mut Vec<Header>) {
        let names = match binding {
            Binding::Http => &HTTP,
            Binding::Kafka => &KAFKA,
            Binding::Nats => &NATS,
            Binding::Amqp => &AMQP,
        };
        let subject = self.subject.map(|subject| match names.escaped {
            true => encoded(&subject, Keep::HeaderValue),
            false => subject,
        });
        // Only the subject holds clients' bytes; the others are printable ASCII without `%`, except a
        // source, whose `%` stands for itself.
        let source = match names.escaped && self.source.contains('%') {
            true => encoded(&self.source, Keep::HeaderValue),
            false => self.source,
        };
        let mut header = |name, value| out.push(Header { name, value });
        header(names.specversion, Arc::clone(version));
        header(names.id, Arc::clone(self.id));
        header(names.source, source.into());
        header(names.kind, Arc::clone(self.kind));
        if let Some(subject) = subject {
            header(names.subject, subject.into());
        }
        header(names.time, self.time.into());
        header(names.sequence, Arc::clone(self.sequence));
        if let Some(name) = names.data_type {
            header(name, JSON.into());
        }
    }

    /// Appends the whole event: structured mode. `data` appends the data.
    pub(super) fn around(&self, out: &mut Vec<u8>, data: impl FnOnce(&mut Vec<u8>)) {
        let mut member = |name: &str, value: &str| {
            out.extend_from_slice(name.as_bytes());
            json::string(out, value);
        };
        member(r#"{"specversion":"1.0","id":"#, self.id);
        member(r#","source":"#, &self.source);
        member(r#","type":"#, self.kind);
        if let Some(subject) = &self.subject {
            member(r#","subject":"#, subject);
        }
        member(r#","time":"#, &self.time);
        member(r#","sequence":"#, self.sequence);
        member(r#","datacontenttype":"#, JSON);
        out.extend_from_slice(br#","data":"#);
        data(out);
        out.push(b'}');
    }
}
