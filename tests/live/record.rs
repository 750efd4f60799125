//! An S3 event record as any consumer reads it.
//!
//! Must never use the product's code to read what the product wrote.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::checker::{Delivery, Kind};

/// What one message says. `message_key`: its order key, where the protocol carries one; `partition`: the
/// sequence in which it stood.
pub(crate) fn parse(payload: &[u8], message_key: Option<&[u8]>, partition: i32) -> Delivery {
    let text = String::from_utf8_lossy(payload);
    let event: serde_json::Value = serde_json::from_slice(payload).unwrap_or_else(|e| panic!("{e}: {text}"));
    let records = event["Records"].as_array().unwrap_or_else(|| panic!("no Records: {text}"));
    assert_eq!(records.len(), 1, "one record a message: {text}");
    let record = &records[0];
    let string = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let object = &record["s3"]["object"];
    let name = record["s3"]["bucket"]["name"].as_str().unwrap_or_default();
    let key: Arc<str> = format!("{name}/{}", decode(object["key"].as_str().unwrap_or_default())).into();
    // A consumer that partitions or compacts by key must be able to trust it.
    if let Some(message_key) = message_key {
        assert_eq!(message_key, key.as_bytes(), "the message's key: {text}");
    }
    // An object of parts says so by its ETag, and its event by its name.
    let parts = object["eTag"].as_str().is_some_and(|etag| etag.contains('-'));
    let kind = match record["eventName"].as_str().unwrap_or_default() {
        "ObjectCreated:Put" if !parts => Kind::Put,
        "ObjectCreated:CompleteMultipartUpload" if parts => Kind::Put,
        "ObjectRemoved:Delete" => Kind::Delete,
        other => Kind::Other(other.to_owned()),
    };
    let mut digest = DefaultHasher::new();
    payload.hash(&mut digest);
    Delivery {
        partition,
        key,
        event_id: string(&record["tidings"]["eventId"]).unwrap_or_else(|| panic!("no event id: {text}")),
        sequencer: string(&object["sequencer"]).unwrap_or_else(|| panic!("no sequencer: {text}")),
        kind,
        etag: string(&object["eTag"]),
        size: object["size"].as_u64(),
        request_id: string(&record["responseElements"]["x-amz-request-id"]),
        digest: digest.finish(),
    }
}

/// S3's own encoding of keys in events: percent and `+`.
fn decode(key: &str) -> String {
    let mut bytes = key.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [bytes.next().unwrap_or(b'?'), bytes.next().unwrap_or(b'?')];
                hex::decode(digits).unwrap_or_else(|e| panic!("{key}: {e}"))[0]
            }
            other => other,
        });
    }
    String::from_utf8(out).unwrap_or_else(|e| panic!("{key}: {e}"))
}
