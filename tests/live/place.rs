//! A place at a real broker to which the product delivers, and what an independent consumer finds there.
//!
//! Must never use the product's code to read what the product wrote.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use async_trait::async_trait;

use crate::checker::{Delivery, Kind};

/// A fresh place that nobody else has. One implementation for each broker: `kafka.rs` is the model.
#[async_trait]
pub(crate) trait Place: Send + Sync {
    /// The broker's name for `brokers kill NAME`.
    fn broker(&self) -> &'static str;

    /// `[target.live.connector.KIND]` with its keys: TOML that makes the product deliver here.
    fn connector(&self) -> String;

    /// Everything that arrived since the place was made, repeats included, in order within a partition, up to
    /// what is there now.
    async fn read_all(&self) -> Vec<Delivery>;
}

/// What one message says, which holds one S3 event record.
pub(crate) fn delivery(partition: i32, payload: &[u8]) -> Delivery {
    let text = String::from_utf8_lossy(payload);
    let event: serde_json::Value = serde_json::from_slice(payload).unwrap_or_else(|e| panic!("{e}: {text}"));
    let records = event["Records"].as_array().unwrap_or_else(|| panic!("no Records: {text}"));
    assert_eq!(records.len(), 1, "one record a message: {text}");
    let record = &records[0];
    let string = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let object = &record["s3"]["object"];
    let name = record["s3"]["bucket"]["name"].as_str().unwrap_or_default();
    let key: Arc<str> = format!("{name}/{}", decode(object["key"].as_str().unwrap_or_default())).into();
    let kind = match record["eventName"].as_str().unwrap_or_default() {
        "ObjectCreated:Put" => Kind::Put,
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

/// A record as the product writes it, for tests of consumers: `seq` is in every part of it.
pub(crate) fn record(seq: u32, bucket: &str, encoded_key: &str) -> String {
    format!(
        r#"{{"Records":[{{"eventName":"ObjectCreated:Put",
        "responseElements":{{"x-amz-request-id":"R{seq}"}},
        "s3":{{"bucket":{{"name":"{bucket}"}},"object":{{"key":"{encoded_key}","size":{seq},"eTag":"e{seq}",
        "sequencer":"{seq:04}"}}}},"tidings":{{"eventId":"id{seq}"}}}}]}}"#
    )
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
