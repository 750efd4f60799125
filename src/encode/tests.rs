//! Encodings against golden files, against a JSON parser, and against what S3 consumers compute from them.
//!
//! `UPDATE_GOLDEN=1 cargo test encode` rewrites `tests/golden/`; read the difference before committing it.

use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::Value;
use tidings_connector::{ErrorClass, Place, Template};

use super::*;
use crate::event::Position;

const RULE: &str = "orders-1";

fn encoder(destination: Option<&str>) -> Encoder {
    let template = destination.map(|t| Template::parse(t, Place::KafkaTopic).expect("valid template"));
    Encoder::new(Encoding::S3, "ap-guangzhou", "1250000000", template.as_ref())
}

fn record(message: &Message) -> Value {
    let mut body: Value = serde_json::from_slice(&message.payload).expect("the payload is JSON");
    let records = body["Records"].as_array_mut().expect("a list of records");
    assert_eq!(records.len(), 1);
    records.remove(0)
}

/// What consumers do with a key: form decoding.
fn form_decode(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let hex = std::str::from_utf8(&tail[..2]).expect("two digits");
                bytes.push(u8::from_str_radix(hex, 16).expect("hexadecimal"));
                rest = &tail[2..];
            }
            other => bytes.push(*other),
        }
    }
    String::from_utf8(bytes).expect("keys are UTF-8")
}

fn golden_name(kind: EventKind) -> String {
    kind.s3_short().replace(':', "-")
}

#[test]
fn s3_records_equal_their_golden_files() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/s3");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some_and(|v| v == "1");
    for kind in EventKind::ALL {
        let stored = sample(*kind, "orders-2026", "in/red flower é.jpg");
        let message = encoder(None).message(&stored, RULE).expect("encodes");
        let path = folder.join(format!("{}.json", golden_name(*kind)));
        if update {
            std::fs::write(&path, &message.payload).expect("golden file written");
        }
        let golden = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert_eq!(
            String::from_utf8_lossy(&message.payload),
            String::from_utf8_lossy(&golden),
            "{} differs",
            path.display()
        );
    }
    let files = std::fs::read_dir(&folder).expect("golden folder").count();
    assert_eq!(files, EventKind::ALL.len(), "a golden file belongs to no kind");
}

#[test]
fn records_hold_what_s3_consumers_read() {
    let put = encoder(None).message(&sample(EventKind::CreatedPut, "b", "k"), RULE).expect("encodes");
    let put = record(&put);
    assert_eq!(put["eventVersion"], "2.1");
    assert_eq!(put["eventSource"], "aws:s3");
    assert_eq!(put["eventName"], "ObjectCreated:Put");
    assert_eq!(put["eventTime"], "2026-01-02T03:04:05.678Z");
    assert_eq!(put["s3"]["configurationId"], RULE);
    assert_eq!(put["s3"]["bucket"]["arn"], "arn:aws:s3:::b");
    assert_eq!(put["s3"]["object"]["size"], 1024);
    assert_eq!(put["s3"]["object"]["sequencer"], "00000001000000000000002A");
    assert!(put["s3"]["object"].get("versionId").is_none());
    assert!(put.get("glacierEventData").is_none());

    let marker = encoder(None).message(&sample(EventKind::RemovedMarker, "b", "k"), RULE).expect("encodes");
    let marker = record(&marker);
    assert_eq!(marker["eventName"], "ObjectRemoved:DeleteMarkerCreated");
    assert!(marker["s3"]["object"].get("size").is_none());
    assert!(marker["s3"]["object"].get("eTag").is_none());
    assert!(marker["s3"]["object"]["versionId"].is_string());

    let copy =
        encoder(None).message(&sample(EventKind::CreatedReplication, "b", "k"), RULE).expect("encodes");
    assert_eq!(record(&copy)["eventVersion"], "2.2");
}

#[test]
fn the_message_names_its_event_its_order_key_and_its_destination() {
    let stored = sample(EventKind::RemovedDelete, "b", "a key/é");
    let message = encoder(Some("objects.{bucket}")).message(&stored, RULE).expect("encodes");
    assert_eq!(&message.key[..], "b/a key/é".as_bytes());
    assert_eq!(&*message.destination, "objects.b");
    let header = |name| message.headers.iter().find(|h| h.name == name).map(|h| &*h.value);
    assert_eq!(header("content-type"), Some("application/json"));
    assert_eq!(header("tidings-event"), Some("cos:ObjectRemove:Delete"));
    assert_eq!(header("tidings-sequencer"), Some("00000001000000000000002A"));
    assert_eq!(header("tidings-event-id"), Some(&*message.id));
    assert_eq!(record(&message)["tidings"]["eventId"], *message.id);
    assert_eq!(record(&message)["s3"]["object"]["sequencer"], *header("tidings-sequencer").expect("present"));

    let fixed = encoder(Some("objects")).message(&stored, RULE).expect("encodes");
    assert_eq!(&*fixed.destination, "objects");
    assert_eq!(&*encoder(None).message(&stored, RULE).expect("encodes").destination, "");
}

#[test]
fn what_cannot_be_encoded_is_a_cause_of_that_class() {
    let mut stored = sample(EventKind::CreatedPut, &"b".repeat(250), "k");
    let long = encoder(Some("{bucket}")).message(&stored, RULE).expect_err("longer than a topic");
    assert_eq!(long.class, ErrorClass::Encode);
    assert!(long.text.contains("{bucket}") && long.text.contains("250"), "{}", long.text);
    stored.entry.event = None;
    let none = encoder(None).message(&stored, RULE).expect_err("no event");
    assert_eq!(none.class, ErrorClass::Encode);
}

proptest! {
    #[test]
    fn any_text_anywhere_parses_and_comes_back(
        bucket in any::<String>(),
        key in any::<String>(),
        rule in any::<String>(),
        etag in any::<String>(),
        version in any::<Option<String>>(),
        request in any::<String>(),
        principal in any::<String>(),
        region in any::<String>(),
        owner in any::<String>(),
        size in any::<u64>(),
        time_us in any::<i64>(),
        (epoch, offset) in any::<(u32, u64)>(),
        kind in proptest::sample::select(EventKind::ALL),
    ) {
        let mut stored = sample(kind, &bucket, &key);
        stored.position = Position { epoch, offset };
        let event = stored.entry.event.as_mut().expect("a sample has one");
        event.size = size;
        event.time_us = time_us;
        event.etag = etag.as_str().into();
        event.version = version.as_deref().map(Into::into);
        event.request.id = request.as_str().into();
        event.request.principal = principal.as_str().into();
        let encoder = Encoder::new(Encoding::S3, &region, &owner, None);
        let message = encoder.message(&stored, &rule).expect("encodes");
        let record = record(&message);
        let (s3, object) = (&record["s3"], &record["s3"]["object"]);
        prop_assert_eq!(&record["awsRegion"], &region);
        prop_assert_eq!(&record["userIdentity"]["principalId"], &principal);
        prop_assert_eq!(&record["responseElements"]["x-amz-request-id"], &request);
        prop_assert_eq!(&s3["configurationId"], &rule);
        prop_assert_eq!(&s3["bucket"]["name"], &bucket);
        prop_assert_eq!(&s3["bucket"]["ownerIdentity"]["principalId"], &owner);
        prop_assert_eq!(s3["bucket"]["arn"].as_str(), Some(&*format!("arn:aws:s3:::{bucket}")));
        prop_assert_eq!(form_decode(object["key"].as_str().expect("text")), key);
        prop_assert_eq!(object["sequencer"].as_str(), Some(&*stored.position.sequencer()));
        prop_assert_eq!(object.get("versionId").and_then(Value::as_str), version.as_deref());
        prop_assert_eq!(object.get("size").and_then(Value::as_u64), (!kind.is_removal()).then_some(size));
        let tag = (!kind.is_removal()).then_some(etag.as_str());
        prop_assert_eq!(object.get("eTag").and_then(Value::as_str), tag);
        prop_assert_eq!(record["eventTime"].as_str().map(str::len), Some(24));
    }
}
