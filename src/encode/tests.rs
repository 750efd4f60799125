//! Encodings against golden files, against a JSON parser, and against what S3 consumers compute from them.
//!
//! `UPDATE_GOLDEN=1 cargo test encode` rewrites `tests/golden/`; read the difference before committing it.

use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::Value;
use tidings_connector::{ErrorClass, Place, Template};

use super::*;
use crate::event::{Position, Version, VersionId};

const RULE: &str = "orders-1";
const BUCKET: &str = "orders-2026";

const BINDINGS: &[(Binding, &str)] =
    &[(Binding::Http, "http"), (Binding::Kafka, "kafka"), (Binding::Nats, "nats"), (Binding::Amqp, "amqp")];

const ORIGIN: Origin<'static> =
    Origin { region: "ap-guangzhou", appid: "1250000000", domain: None, target: "orders" };

fn encoder(destination: Option<&str>) -> Encoder {
    let template = destination.map(|t| Template::parse(t, Place::KafkaTopic).expect("valid template"));
    Encoder::new(Encoding::S3, Binding::Kafka, ORIGIN, template.as_ref())
}

fn message(encoding: Encoding, binding: Binding, kind: EventKind, bucket: &str, key: &str) -> Message {
    let encoder = Encoder::new(encoding, binding, ORIGIN, None);
    encoder.message(&sample(kind, bucket, key), RULE).expect("encodes")
}

fn header<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    message.headers.iter().find(|h| h.name == name).map(|h| &*h.value)
}

fn json(message: &Message) -> Value {
    serde_json::from_slice(&message.payload).expect("the payload is JSON")
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

/// Compares with the golden file of each kind in `tests/golden/FOLDER`.
fn compare_with_golden(folder: &str, extension: &str, write: impl Fn(EventKind) -> Vec<u8>) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(folder);
    let update = std::env::var_os("UPDATE_GOLDEN").is_some_and(|v| v == "1");
    for kind in EventKind::ALL {
        let written = write(*kind);
        let path = folder.join(format!("{}.{extension}", golden_name(*kind)));
        if update {
            std::fs::create_dir_all(&folder).expect("golden folder made");
            std::fs::write(&path, &written).expect("golden file written");
        }
        let golden = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let (written, golden) = (String::from_utf8_lossy(&written), String::from_utf8_lossy(&golden));
        assert_eq!(written, golden, "{} differs", path.display());
    }
    let files = std::fs::read_dir(&folder).expect("golden folder").count();
    assert_eq!(files, EventKind::ALL.len(), "a golden file belongs to no kind");
}

#[test]
fn every_payload_equals_its_golden_file() {
    for encoding in Encoding::ALL {
        if *encoding == Encoding::CloudEvents {
            continue;
        }
        compare_with_golden(encoding.name(), "json", |kind| {
            let message = message(*encoding, Binding::Kafka, kind, BUCKET, "in/red flower é.jpg");
            message.payload.to_vec()
        });
    }
}

#[test]
fn every_binary_cloudevent_equals_its_golden_file() {
    for (binding, name) in BINDINGS {
        compare_with_golden(&format!("cloudevents/{name}"), "txt", |kind| {
            let message =
                message(Encoding::CloudEvents, *binding, kind, "photos-1250000000", "in/50% red é.jpg");
            let headers = message.headers.iter().map(|h| format!("{}: {}\n", h.name, h.value));
            [headers.collect::<String>().as_bytes(), b"\n", &message.payload].concat()
        });
    }
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
    let header = |name| header(&message, name);
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

#[test]
fn functions_get_what_they_get_from_cos() {
    let handed = |kind, bucket: &str, key: &str| {
        let message = message(Encoding::Cos, Binding::Http, kind, bucket, key);
        json(&message)["Records"][0].clone()
    };
    let put = handed(EventKind::CreatedPut, "photos-1253970026", "in/red flower+é.jpg");
    let (cos, event) = (&put["cos"], &put["event"]);
    assert_eq!(cos["cosNotificationId"], "unkown");
    assert_eq!(
        cos["cosBucket"],
        serde_json::json!({
            "region": "gz", "name": "photos", "appid": "1253970026",
            "s3Region": "ap-guangzhou", "cosRegion": "gz",
        })
    );
    // Handlers strip this prefix once and do not decode the rest.
    assert_eq!(cos["cosObject"]["key"], "/1253970026/photos/in/red flower+é.jpg");
    assert_eq!(
        cos["cosObject"]["url"],
        "http://photos-1253970026.cos.ap-guangzhou.myqcloud.com/in/red%20flower%2B%C3%A9.jpg"
    );
    assert_eq!((&cos["cosObject"]["vid"], &cos["cosObject"]["size"]), (&"".into(), &1024.into()));
    let meta = serde_json::json!({
        "x-cos-request-id": "TDNG0123456789AB", "Content-Type": "image/jpeg", "x-cos-meta-mykey": "myvalue",
    });
    assert_eq!(cos["cosObject"]["meta"], meta);
    assert_eq!(event["eventName"], "cos:ObjectCreated:Put");
    assert_eq!(event["eventTime"], 1_767_323_045);
    assert_eq!(event["eventQueue"], "qcs:0:scf:ap-guangzhou:appid/1250000000:default.orders.$DEFAULT");
    assert_eq!(event["reqid"], 0);
    assert_eq!(
        event["reservedInfo"],
        "eventId=019b7ca9-8f2e-7a10-8123-456789abcdef&sequencer=00000001000000000000002A"
    );
    assert_eq!(event["requestParameters"]["requestSourceIP"], "192.0.2.10");
    let told = event["requestParameters"]["requestHeaders"].to_string();
    assert_eq!(told, r#"{"Authorization":"redacted"}"#);
    assert!(!put.to_string().contains("AKIDEXAMPLE"), "who signed is not handed to functions");

    let gone = handed(EventKind::RemovedDelete, "photos", "k");
    assert_eq!(gone["event"]["eventName"], "cos:ObjectRemove:Delete");
    assert_eq!(gone["cos"]["cosObject"]["key"], "/1250000000/photos/k");
    assert_eq!(gone["cos"]["cosObject"]["size"], 0);
    assert_eq!(gone["cos"]["cosObject"]["meta"]["Content-Type"], "");

    let at_home = Origin { domain: Some("cos.example.com"), region: "eu-x", ..ORIGIN };
    let encoder = Encoder::new(Encoding::Cos, Binding::Http, at_home, None);
    let message = encoder.message(&sample(EventKind::RemovedMarker, "photos", "k"), RULE).expect("encodes");
    let cos = &json(&message)["Records"][0]["cos"];
    assert_eq!(cos["cosObject"]["url"], "http://photos.cos.example.com/k");
    assert_eq!(cos["cosBucket"]["region"], "eu-x");
    assert_ne!(cos["cosObject"]["vid"], "");
}

#[test]
fn a_structured_cloudevent_is_one_object_around_the_s3_record() {
    let kind = EventKind::CreatedPut;
    let whole = message(Encoding::CloudEventsStructured, Binding::Kafka, kind, "b", "k/50%\n");
    assert_eq!(header(&whole, "content-type"), Some("application/cloudevents+json"));
    assert!(whole.headers.iter().all(|h| !h.name.starts_with("ce")), "{:?}", whole.headers);
    let mut event = json(&whole);
    let data = event["data"].take();
    assert_eq!(data, record(&message(Encoding::S3, Binding::Kafka, kind, "b", "k/50%\n")));
    let expected = serde_json::json!({
        "specversion": "1.0", "id": "019b7ca9-8f2e-7a10-8123-456789abcdef", "source": "/ap-guangzhou/b",
        "type": "cos:ObjectCreated:Put", "subject": "k/50%25%0A", "time": "2026-01-02T03:04:05.678Z",
        "sequence": "00000001000000000000002A", "datacontenttype": "application/json", "data": null,
    });
    assert_eq!(event, expected);
}

#[test]
fn an_encoding_has_one_name() {
    for encoding in Encoding::ALL {
        assert_eq!(Encoding::parse(encoding.name()), Some(*encoding));
    }
    assert_eq!(Encoding::parse("S3"), None);
}

/// What readers of CloudEvents do with a value: percent-decoding.
fn percent_decode(text: &str) -> String {
    form_decode(&text.replace('+', "%2B"))
}

proptest! {
    #[test]
    fn any_text_is_legal_in_every_binding_and_comes_back(
        bucket in any::<String>(),
        key in any::<String>(),
        kind in proptest::sample::select(EventKind::ALL),
        (binding, name) in proptest::sample::select(BINDINGS),
    ) {
        let message = message(Encoding::CloudEvents, binding, kind, &bucket, &key);
        let ascii = matches!(binding, Binding::Http | Binding::Nats);
        for Header { name, value } in &message.headers {
            let legal = |c: char| match ascii {
                true => c.is_ascii_graphic() && c != '"',
                false => !c.is_control(),
            };
            prop_assert!(value.chars().all(legal), "{name}: {value:?}");
        }
        let prefix = match name {
            "kafka" => "ce_",
            "amqp" => "cloudEvents:",
            _ => "ce-",
        };
        let attribute = |name: &str| {
            let value = header(&message, &format!("{prefix}{name}")).expect("the attribute is there");
            if ascii { percent_decode(value) } else { value.to_owned() }
        };
        prop_assert_eq!(percent_decode(&attribute("subject")), key.clone());
        prop_assert_eq!(attribute("type"), kind.cos_name());
        let source = attribute("source");
        prop_assert_eq!(percent_decode(source.rsplit_once('/').expect("two segments").1), bucket);
        prop_assert_eq!(attribute("id"), &*message.id);
        prop_assert_eq!(attribute("sequence"), "00000001000000000000002A");
        prop_assert_eq!(form_decode(json(&message)["s3"]["object"]["key"].as_str().expect("text")), key);
    }

    #[test]
    fn any_text_in_the_event_of_cos_parses_and_comes_back(
        bucket in any::<String>(),
        key in any::<String>(),
        value in any::<String>(),
        target in any::<String>(),
        time_us in any::<i64>(),
        kind in proptest::sample::select(EventKind::ALL),
    ) {
        let mut stored = sample(kind, &bucket, &key);
        stored.entry.event.as_mut().expect("a sample has one").time_us = time_us;
        match &mut stored.entry.change {
            Change::PutObject(meta) => meta.headers[1].1 = value.as_str().into(),
            Change::Restore(restore) => Arc::make_mut(restore).headers[1].1 = value.as_str().into(),
            _ => {}
        }
        let origin = Origin { target: &target, ..ORIGIN };
        let encoder = Encoder::new(Encoding::Cos, Binding::Http, origin, None);
        let record = record(&encoder.message(&stored, RULE).expect("encodes"));
        let (cos, event) = (&record["cos"], &record["event"]);
        let of = |name: &str| cos["cosBucket"][name].as_str().expect("text").to_owned();
        let stripped = format!("/{}/{}/{key}", of("appid"), of("name"));
        prop_assert_eq!(cos["cosObject"]["key"].as_str(), Some(&*stripped));
        let host = format!("http://{}-{}.cos.ap-guangzhou.myqcloud.com/", of("name"), of("appid"));
        let path = cos["cosObject"]["url"].as_str().and_then(|url| url.strip_prefix(&*host));
        prop_assert_eq!(percent_decode(path.expect("the host")), key);
        if !kind.is_removal() {
            prop_assert_eq!(cos["cosObject"]["meta"]["x-cos-meta-mykey"].as_str(), Some(&*value));
        }
        prop_assert!(event["eventQueue"].as_str().expect("text").contains(&*target));
        prop_assert!(event["eventTime"].is_u64());
    }

    #[test]
    fn any_text_anywhere_parses_and_comes_back(
        bucket in any::<String>(),
        key in any::<String>(),
        rule in any::<String>(),
        etag in any::<String>(),
        version in 0..4_u8,
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
        let named = VersionId::At(Position { epoch: 9, offset: 3 });
        event.version =
            {
            let all = [None, Some(Version::NULL), Some(Version::Own), Some(Version::Named(named))];
            all[usize::from(version)]
        };
        let own = VersionId::At(Position { epoch, offset });
        let version = [None, Some(VersionId::Null), Some(own), Some(named)][usize::from(version)];
        let version = version.map(|id| id.to_string());
        event.request.id = request.as_str().into();
        event.request.principal = principal.as_str().into();
        let origin = Origin { region: &region, appid: &owner, domain: None, target: "t" };
        let encoder = Encoder::new(Encoding::S3, Binding::Http, origin, None);
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

#[test]
fn a_test_event_is_no_record_and_says_which_event_it_is() {
    let stored = sample(EventKind::CreatedPut, BUCKET, "");
    let event = stored.entry.event.clone().expect("an event");
    let entry = crate::queue::Entry {
        change: crate::queue::Change::Notice,
        event: Some(crate::event::Event { kind: EventKind::Test, size: 0, etag: "".into(), ..event }),
        ..stored.entry.clone()
    };
    let stored = Stored { entry, ..stored };
    let origin = Origin { region: "ap-guangzhou", appid: "1250000000", domain: None, target: "t" };
    for (encoding, name) in [
        (Encoding::S3, "s3:TestEvent"),
        (Encoding::Cos, "cos:TestEvent"),
        (Encoding::CloudEvents, "s3:TestEvent"),
        (Encoding::CloudEventsStructured, "s3:TestEvent"),
    ] {
        let encoder = Encoder::new(encoding, Binding::Http, origin, None);
        let message = encoder.message(&stored, "rule").expect("encodes");
        let header = |name: &str| message.headers.iter().find(|h| h.name == name).map(|h| &*h.value);
        assert_eq!(header("tidings-event"), Some("cos:TestEvent"));
        assert_eq!(header("ce-subject"), None, "it is about no key");
        assert_eq!(header("ce-type").is_some(), encoding == Encoding::CloudEvents);
        let whole: serde_json::Value = serde_json::from_slice(&message.payload).expect("JSON");
        let document = if encoding == Encoding::CloudEventsStructured { &whole["data"] } else { &whole };
        let told = serde_json::json!({
            "Service": "Amazon S3", "Event": name, "Time": "2026-01-02T03:04:05.678Z", "Bucket": BUCKET,
            "RequestId": "TDNG0123456789AB", "HostId": "TDNG0123456789AB",
            "tidings": { "eventId": message.id.to_string(), "sequencer": stored.position.sequencer() },
        });
        assert_eq!(*document, told, "{encoding:?}");
        assert!(whole.get("subject").is_none());
    }
}

#[test]
fn messages_say_how_many_runs_led_to_them() {
    let mut stored = sample(EventKind::CreatedPut, "photos", "cat.jpg");
    let hops = |stored: &Stored| {
        let origin = Origin { region: "r", appid: "1", domain: None, target: "t" };
        let message = Encoder::new(Encoding::Cos, Binding::Http, origin, None).message(stored, "rule");
        let headers = message.expect("a message").headers;
        headers.iter().find(|h| h.name == "tidings-hops").map(|h| h.value.to_string())
    };
    assert_eq!(hops(&stored), None);
    stored.entry.event.as_mut().expect("one").request.hops = 7;
    assert_eq!(hops(&stored).as_deref(), Some("7"));
}
