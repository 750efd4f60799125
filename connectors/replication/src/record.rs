//! What a message says of the change that it is about.
//!
//! Must never take a record for whole that lacks something.

use serde::Deserialize;
use tidings_connector::Message;

/// One change of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change<'a> {
    /// The bucket that it happened in.
    pub(crate) bucket: &'a str,
    /// The object's key.
    pub(crate) key: &'a str,
    /// The bucket of the peer that it goes to.
    pub(crate) to: String,
    /// The name of the version that it made.
    pub(crate) version: String,
    /// The object's ETag; none: the change made a delete marker.
    pub(crate) etag: Option<String>,
}

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "Records")]
    records: Vec<Record>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    event_name: String,
    s3: About,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct About {
    configuration_id: String,
    object: Object,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    version_id: Option<String>,
    e_tag: Option<String>,
}

impl<'a> Change<'a> {
    /// The change of a message in the encoding `s3`. The rule's name is the bucket that it goes to.
    ///
    /// # Errors
    /// One sentence: it is no such message.
    pub(crate) fn of(message: &'a Message) -> Result<Self, String> {
        let whose = std::str::from_utf8(&message.key).ok().and_then(|key| key.split_once('/'));
        let (bucket, key) = whose.ok_or("the event names no object")?;
        let document: Document = serde_json::from_slice(&message.payload)
            .map_err(|_| "the event is not written as S3's records are".to_owned())?;
        let [record]: [Record; 1] =
            document.records.try_into().map_err(|_| "the event is not one record".to_owned())?;
        let Record { event_name, s3: About { configuration_id: to, object } } = record;
        let version = object.version_id.filter(|version| !version.is_empty() && version != "null");
        let version = version.ok_or("the event is of no version: replication needs versioning")?;
        let etag = match event_name.strip_prefix("ObjectCreated:") {
            Some(_) => Some(object.e_tag.filter(|etag| !etag.is_empty()).ok_or("the event has no ETag")?),
            None if event_name == "ObjectRemoved:DeleteMarkerCreated" => None,
            None => return Err("the event is nothing that is replicated".to_owned()),
        };
        Ok(Self { bucket, key, to, version, etag })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(payload: &str) -> Message {
        Message {
            id: "id".into(),
            key: "bucket/a/b".into(),
            payload: payload.to_owned().into(),
            headers: Vec::new(),
            destination: "".into(),
        }
    }

    fn record(name: &str, object: &str) -> String {
        let about = format!("{{\"configurationId\":\"there\",\"object\":{object}}}");
        format!("{{\"Records\":[{{\"eventName\":\"{name}\",\"s3\":{about}}}]}}")
    }

    #[test]
    fn a_record_says_what_goes_where() {
        let put = message(&record("ObjectCreated:Put", r#"{"versionId":"v1","eTag":"e"}"#));
        let change = Change::of(&put).expect("whole");
        assert_eq!((change.bucket, change.key, &*change.to), ("bucket", "a/b", "there"));
        assert_eq!((&*change.version, change.etag.as_deref()), ("v1", Some("e")));
        let marker = message(&record("ObjectRemoved:DeleteMarkerCreated", r#"{"versionId":"v2"}"#));
        assert_eq!(Change::of(&marker).expect("whole").etag, None);
    }

    #[test]
    fn what_lacks_something_is_no_change() {
        for (name, object) in [
            ("ObjectCreated:Put", r#"{"eTag":"e"}"#),
            ("ObjectCreated:Put", r#"{"versionId":"null","eTag":"e"}"#),
            ("ObjectCreated:Put", r#"{"versionId":"v1"}"#),
            ("ObjectRemoved:Delete", r#"{"versionId":"v1"}"#),
            ("ObjectRestore:Post", r#"{"versionId":"v1"}"#),
        ] {
            let message = message(&record(name, object));
            assert!(Change::of(&message).is_err(), "{name} {object}");
        }
        for payload in ["", "{}", r#"{"Records":[]}"#, r#"{"Service":"tidings"}"#] {
            assert!(Change::of(&message(payload)).is_err(), "{payload}");
        }
    }
}
