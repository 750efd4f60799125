//! Events to try functions with: every kind, as COS hands it to a function, as an S3 record and as a
//! CloudEvent.
//!
//! Must never differ from what a target gets: they are made by the encodings themselves.

use bytes::Bytes;
use serde::Serialize;

use crate::config::Encoding;
use crate::encode::{Binding, Encoder, Origin, sample};
use crate::event::EventKind;

/// What a template's name ends with, and its kind.
const KINDS: &[(&str, EventKind)] = &[
    ("put", EventKind::CreatedPut),
    ("post", EventKind::CreatedPost),
    ("copy", EventKind::CreatedCopy),
    ("multipart", EventKind::CreatedMultipart),
    ("origin", EventKind::CreatedOrigin),
    ("replication", EventKind::CreatedReplication),
    ("delete", EventKind::RemovedDelete),
    ("delete-marker", EventKind::RemovedMarker),
    ("restore", EventKind::RestorePost),
    ("restore-completed", EventKind::RestoreCompleted),
];
/// What it begins with, and its encoding.
const FAMILIES: &[(&str, Encoding)] =
    &[("cos", Encoding::Cos), ("s3", Encoding::S3), ("cloudevents", Encoding::CloudEventsStructured)];

/// One template, for people and programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TemplateView {
    /// Its name.
    pub name: String,
    /// What it is.
    pub description: String,
}

/// Every event template.
pub fn events() -> Vec<TemplateView> {
    let all = FAMILIES.iter().flat_map(|(family, encoding)| {
        KINDS.iter().map(move |(word, kind)| TemplateView {
            name: format!("{family}-{word}"),
            description: match encoding {
                Encoding::S3 => kind.s3_name().to_owned(),
                _ => kind.cos_name().to_owned(),
            },
        })
    });
    all.collect()
}

/// The event of a template, if there is one of this name.
pub fn event(name: &str, region: &str, appid: &str) -> Option<Bytes> {
    let (family, word) = name.split_once('-')?;
    let (_, encoding) = FAMILIES.iter().find(|(known, _)| *known == family)?;
    let (_, kind) = KINDS.iter().find(|(known, _)| *known == word)?;
    let origin = Origin { region, appid, domain: None, target: "template" };
    let encoder = Encoder::new(*encoding, Binding::Http, origin, None);
    let message = encoder.message(&sample(*kind, "photos", "in/cat.jpg"), "template").ok()?;
    Some(message.payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_json_of_its_kind() {
        let all = events();
        assert_eq!(all.len(), 3 * EventKind::ALL.len());
        for template in all {
            let event = event(&template.name, "ap-guangzhou", "1250000000").expect("there");
            let value: serde_json::Value = serde_json::from_slice(&event).expect("JSON");
            if template.name.starts_with("cos-") {
                assert_eq!(value["Records"][0]["event"]["eventName"], template.description);
                assert_eq!(value["Records"][0]["cos"]["cosObject"]["key"], "/1250000000/photos/in/cat.jpg");
            }
        }
        assert_eq!(event("cos-nothing", "r", "1"), None);
        assert_eq!(event("put", "r", "1"), None);
    }
}
