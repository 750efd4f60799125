//! What answers and events say, in a form that can be compared.
//!
//! Must never judge.

use std::collections::BTreeMap;

use serde_json::Value;

/// One event, of a change or at a target: bucket, key, name, version, request id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Told {
    pub bucket: String,
    pub key: String,
    pub name: &'static str,
    pub version: Option<String>,
    pub request: String,
}

const NAMES: [&str; 5] = [
    "ObjectCreated:Put",
    "ObjectCreated:Copy",
    "ObjectCreated:CompleteMultipartUpload",
    "ObjectRemoved:Delete",
    "ObjectRemoved:DeleteMarkerCreated",
];

/// The sequencer of a record, and what it says.
pub fn of_record(record: &Value) -> (String, Told) {
    let text = |v: &Value| v.as_str().expect("a text").to_owned();
    let object = &record["s3"]["object"];
    let name = text(&record["eventName"]);
    let told = Told {
        bucket: text(&record["s3"]["bucket"]["name"]),
        key: decoded(&text(&object["key"])),
        name: NAMES.into_iter().find(|known| *known == name).expect("an event of ours"),
        version: object.get("versionId").map(text),
        request: text(&record["responseElements"]["x-amz-request-id"]),
    };
    (text(&object["sequencer"]), told)
}

/// Every object's events, in order.
pub fn by_object(all: impl IntoIterator<Item = Told>) -> BTreeMap<(String, String), Vec<Told>> {
    let mut of = BTreeMap::<_, Vec<_>>::new();
    for told in all {
        of.entry((told.bucket.clone(), told.key.clone())).or_default().push(told);
    }
    of
}

/// The key of a record, which is written as in a form.
fn decoded(key: &str) -> String {
    let mut pieces = key.split('%');
    let mut bytes = pieces.next().unwrap_or_default().replace('+', " ").into_bytes();
    for piece in pieces {
        let (hex, rest) = piece.split_at(2);
        bytes.push(u8::from_str_radix(hex, 16).expect("two hex digits"));
        bytes.extend_from_slice(rest.replace('+', " ").as_bytes());
    }
    String::from_utf8(bytes).expect("UTF-8")
}

/// The contents of every element with this name, outermost first, unescaped where they hold no elements.
pub fn elements(xml: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let inner = |rest: &str| rest.split_once(&close).expect("an end").0.to_owned();
    let all = xml.split(&open).skip(1).map(inner);
    let plain = |text: String| match text.contains('<') {
        true => text,
        false => ["&lt;<", "&gt;>", "&quot;\"", "&apos;'", "&amp;&"].iter().fold(text, |text, entity| {
            let (name, char) = entity.split_at(entity.len() - 1);
            text.replace(name, char)
        }),
    };
    all.map(plain).collect()
}

/// The content of the first element with this name.
pub fn element(xml: &str, name: &str) -> Option<String> {
    elements(xml, name).into_iter().next()
}
