//! A bucket's rules of replication: which of its objects go to which bucket of which peer.
//!
//! Must never match what another server replicated here: the caller asks only for what a client did.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::notification::Unreadable;
use super::{Matched, RuleSet};
use crate::config::Rule;
use crate::event::{EventKind, EventSet};

/// What a client does to an object that makes a version which travels.
const CREATED: &str = "cos:ObjectCreated:*";
/// The same of delete markers.
const MARKED: &str = "cos:ObjectRemove:DeleteMarkerCreated";

/// All of them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Replication {
    /// `Role` as it was put: kept, and shown.
    #[serde(rename = "o")]
    pub role: String,
    /// The rules, in the order in which they were put.
    #[serde(rename = "r")]
    pub rules: Vec<ReplicationRule>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicationRule {
    /// Its name, unique in the bucket.
    #[serde(rename = "i")]
    pub id: String,
    /// It matches something.
    #[serde(rename = "e")]
    pub enabled: bool,
    /// Only keys that begin so.
    #[serde(rename = "p")]
    pub prefix: String,
    /// The prefix was put into a `Filter`, as S3's later documents have it.
    #[serde(rename = "f")]
    pub filter: bool,
    /// `Priority` as it was put.
    #[serde(rename = "n")]
    pub priority: Option<i32>,
    /// Delete markers travel too.
    #[serde(rename = "m")]
    pub markers: bool,
    /// The destination as it was written.
    #[serde(rename = "d")]
    pub destination: String,
    /// The bucket that it means.
    #[serde(rename = "b")]
    pub bucket: String,
    /// The name of the target that replicates there.
    #[serde(rename = "t")]
    pub target: String,
}

impl RuleSet {
    /// Adds those who get a replica of what a client did to this key, by the bucket's rules of replication,
    /// which are in `setting`: they never keep a change from being made either.
    pub fn replicated(
        &self,
        (bucket, setting): (&str, &Bytes),
        key: &str,
        kind: EventKind,
        matched: &mut Matched,
    ) -> Result<(), Unreadable> {
        let before = matched.deliveries.len();
        let rules = self.replication.of_replication(bucket, setting, &self.names)?;
        rules.add(key.as_bytes(), kind, &mut matched.deliveries);
        matched.shedding.extend(matched.deliveries[before..].iter().map(|delivery| delivery.target));
        Ok(())
    }
}

impl Replication {
    /// The rules of a setting.
    pub fn of_setting(value: &[u8]) -> Result<Self, Unreadable> {
        serde_json::from_slice(value).map_err(|_| Unreadable)
    }

    /// The value of the setting.
    pub fn setting(&self) -> Bytes {
        serde_json::to_vec(self).expect("texts and numbers alone are JSON").into()
    }
}

impl ReplicationRule {
    /// As the matcher takes it.
    pub(super) fn to_match(&self) -> Rule {
        let of = |name| EventSet::parse(name).unwrap_or_default();
        let events = if self.markers { of(CREATED).union(of(MARKED)) } else { of(CREATED) };
        let (name, prefix) = (self.bucket.as_str().into(), self.prefix.clone());
        Rule { name, bucket: String::new(), events, prefix, suffix: String::new() }
    }
}
