//! One rule of a bucket: its words as they were put, and what they mean.
//!
//! Must never change a word: a rule is shown as it was written.

use serde::{Deserialize, Serialize};

use super::arn::Form;
use super::notification::PutRule;
use super::refused::Refused;
use crate::config::Rule;
use crate::event::EventSet;

/// The longest prefix or suffix, in bytes: no key is longer.
const MAX_KEY_BYTES: usize = 1_024;
/// The longest word about a broker, in characters.
const MAX_WORD: usize = 255;

/// One rule, as it was put.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketRule {
    /// Its name, unique in the bucket: `configurationId` in S3 records.
    #[serde(rename = "i")]
    pub id: String,
    /// Where it stands.
    #[serde(rename = "f")]
    pub form: Form,
    /// The destination as it was written.
    #[serde(rename = "a")]
    pub to: String,
    /// The name of the target that it means.
    #[serde(rename = "t")]
    pub target: String,
    /// The names of its events as they were written.
    #[serde(rename = "e")]
    pub events: Vec<String>,
    /// Names and values of its filter as they were written.
    #[serde(rename = "k", default, skip_serializing_if = "Vec::is_empty")]
    pub filter: Vec<(String, String)>,
    /// It matches nothing until it is enabled again.
    #[serde(rename = "d", default, skip_serializing_if = "is_false")]
    pub disabled: bool,
    /// It may match what other rules match.
    #[serde(rename = "o", default, skip_serializing_if = "is_false")]
    pub overlaps: bool,
    /// What COS's document said of the broker.
    #[serde(rename = "b", default, skip_serializing_if = "Broker::is_empty")]
    pub broker: Broker,
}

/// What COS's document says of the broker that has a topic, as it was written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broker {
    /// `KafkaID`: a name for people; kept, and shown.
    #[serde(rename = "i", default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// `Endpoint`: one of the brokers that the target asks first.
    #[serde(rename = "e", default, skip_serializing_if = "String::is_empty")]
    pub endpoint: String,
}

impl Broker {
    /// Nothing was said.
    pub fn is_empty(&self) -> bool {
        self.id.is_empty() && self.endpoint.is_empty()
    }

    /// Text that a person may read, and not more than a name has.
    pub(super) fn check(&self) -> Result<(), Refused> {
        let bad = |text: &str| text.chars().count() > MAX_WORD || text.chars().any(char::is_control);
        if bad(&self.id) || bad(&self.endpoint) { Err(Refused::BadBroker) } else { Ok(()) }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

/// What a rule's words mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Meaning {
    pub(super) events: EventSet,
    pub(super) prefix: String,
    pub(super) suffix: String,
}

impl BucketRule {
    /// True if it is put once more as it is.
    pub(super) fn is(&self, put: &PutRule) -> bool {
        // S3's document cannot say it: a client that puts back what it was shown changes nothing.
        let same_broker = put.broker.as_ref().is_none_or(|broker| *broker == self.broker);
        let words = self.form == put.form && self.to == put.to && same_broker;
        put.id.as_ref() == Some(&self.id) && words && self.events == put.events && self.filter == put.filter
    }

    /// What its words mean.
    pub(super) fn meaning(&self) -> Result<Meaning, Refused> {
        let mut events = EventSet::default();
        for name in &self.events {
            let set = EventSet::parse(name).ok_or_else(|| Refused::UnknownEvent(name.clone()))?;
            events = events.union(set);
        }
        if self.events.is_empty() {
            return Err(Refused::NoEvent);
        }
        let (mut prefix, mut suffix) = (None, None);
        for (name, value) in &self.filter {
            let (place, name) = match name {
                name if name.eq_ignore_ascii_case("prefix") => (&mut prefix, "prefix"),
                name if name.eq_ignore_ascii_case("suffix") => (&mut suffix, "suffix"),
                other => return Err(Refused::FilterName(other.clone())),
            };
            let decoded = decoded(value).ok_or_else(|| Refused::FilterEncoding(value.clone()))?;
            if decoded.len() > MAX_KEY_BYTES || value.len() > 3 * MAX_KEY_BYTES {
                return Err(Refused::FilterTooLong);
            }
            if place.replace(decoded).is_some() {
                return Err(Refused::FilterTwice(name));
            }
        }
        Ok(Meaning { events, prefix: prefix.unwrap_or_default(), suffix: suffix.unwrap_or_default() })
    }

    /// Only keys that begin so, decoded.
    pub fn prefix(&self) -> String {
        self.meaning().map(|meaning| meaning.prefix).unwrap_or_default()
    }

    /// Only keys that end so, decoded.
    pub fn suffix(&self) -> String {
        self.meaning().map(|meaning| meaning.suffix).unwrap_or_default()
    }

    /// As the matcher takes it.
    pub(super) fn to_match(&self) -> Result<Rule, Refused> {
        let Meaning { events, prefix, suffix } = self.meaning()?;
        Ok(Rule { name: self.id.as_str().into(), bucket: String::new(), events, prefix, suffix })
    }
}

impl Meaning {
    /// True if some event of some key is matched by both.
    pub(super) fn meets(&self, other: &Self) -> bool {
        self.events.meets(other.events) && self.shares_keys(other)
    }

    /// True if some key fits both filters.
    pub(super) fn shares_keys(&self, other: &Self) -> bool {
        let prefixes = self.prefix.starts_with(&other.prefix) || other.prefix.starts_with(&self.prefix);
        prefixes && (self.suffix.ends_with(&other.suffix) || other.suffix.ends_with(&self.suffix))
    }
}

/// Decodes percent-encoding, in which `+` is a space. None: a broken escape, or not UTF-8.
pub(super) fn decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        out.push(match byte {
            b'%' => {
                let mut digit = || rest.next().and_then(|b| char::from(b).to_digit(16));
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            b'+' => b' ',
            other => other,
        });
    }
    String::from_utf8(out).ok()
}

/// Text that [`decoded`] gives back.
pub(super) fn encoded(text: &str) -> String {
    text.replace('%', "%25").replace('+', "%2B")
}
