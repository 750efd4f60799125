//! `tidings event sample`: the real program shows an event in every encoding.
//!
//! Must never start a server.

use std::process::Command;

use serde_json::Value;

fn sample(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    let output = command.args(["event", "sample"]).args(arguments).output().expect("started");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).expect("UTF-8"))
}

#[test]
fn every_encoding_is_shown_as_its_protocol_writes_it() {
    for (encoding, protocol, header, value) in [
        ("s3", "kafka", "content-type", "application/json"),
        ("cos", "http", "tidings-event", "cos:ObjectRemove:Delete"),
        ("cloudevents", "http", "ce-subject", "in/a%20cat.jpg"),
        ("cloudevents", "kafka", "ce_subject", "in/a cat.jpg"),
        ("cloudevents", "nats", "ce-datacontenttype", "application/json"),
        ("cloudevents", "amqp", "cloudEvents:subject", "in/a cat.jpg"),
        ("cloudevents-structured", "amqp", "content-type", "application/cloudevents+json"),
    ] {
        let (code, said) = sample(&[
            "s3:ObjectRemoved:Delete",
            "--key=in/a cat.jpg",
            "--json",
            "--encoding",
            encoding,
            "--protocol",
            protocol,
        ]);
        assert_eq!(code, Some(0), "{said}");
        let shown: Value = serde_json::from_str(&said).expect("JSON");
        assert_eq!(shown["headers"][header], value, "{encoding} over {protocol}: {said}");
        let payload = shown["payload"].as_str().expect("text");
        assert!(serde_json::from_str::<Value>(payload).is_ok(), "{payload}");
    }
}

#[test]
fn what_does_not_exist_is_refused_with_what_does() {
    for (arguments, says) in [
        (
            &["cos:ObjectRemove:Delete", "--encoding", "xml"][..],
            "s3, cos, cloudevents, cloudevents-structured",
        ),
        (&["cos:ObjectRemove:Delete", "--protocol", "smtp"], "http, kafka, nats, amqp"),
        (&["cos:ObjectGone"], "cos:ObjectRemove:Delete"),
    ] {
        let (code, said) = sample(arguments);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(says), "{said}");
    }
}
