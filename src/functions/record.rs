//! One function as it is written down.
//!
//! Must never show a value of its environment: who prints one prints a [`super::FunctionView`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::code::Handler;
use super::spec::{Runtime, Settings};

/// The only format of records.
pub(super) const FORMAT: u32 = 1;
/// Versions of one function's code that are kept.
pub(super) const MAX_VERSIONS: usize = 10;

/// One function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    pub(super) format: u32,
    /// Its name.
    pub name: String,
    /// When it was made, RFC 3339 in UTC.
    pub created: String,
    /// When it was changed last.
    pub updated: String,
    /// Raised by every change.
    pub revision: u64,
    /// Everything but its code.
    pub settings: Settings,
    /// Which version of its code runs.
    pub current: u32,
    /// Its code, the latest last.
    pub versions: Vec<Version>,
    /// Events to try it with, by name.
    #[serde(default)]
    pub tests: BTreeMap<String, serde_json::Value>,
}

/// One version of a function's code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// From 1; never given twice.
    pub number: u32,
    /// The hash of its files.
    pub hash: String,
    /// Bytes of all files.
    pub bytes: u64,
    /// When it was handed in.
    pub time: String,
}

impl Record {
    /// The code that runs.
    pub fn version(&self) -> Option<&Version> {
        self.versions.iter().find(|version| version.number == self.current)
    }

    /// Whether it can be put in force: a record may be older than a rule, or somebody's work.
    ///
    /// # Errors
    /// Why not, for people.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.settings.elsewhere.is_some() {
            return Ok(());
        }
        if self.version().is_none() {
            return Err(format!("it has no version {} of its code, which should run", self.current));
        }
        match self.settings.runtime {
            Runtime::Custom => Ok(()),
            _ => Handler::parse(&self.settings.handler).map(drop).map_err(|e| e.to_string()),
        }
    }

    /// The names of all code that is kept of it.
    pub(super) fn hashes(&self) -> Vec<String> {
        self.versions.iter().map(|version| version.hash.clone()).collect()
    }

    /// A function that is made now.
    pub(super) fn new(name: &str, settings: Settings, code: Version, now: &str) -> Self {
        Self {
            format: FORMAT,
            name: name.to_owned(),
            created: now.to_owned(),
            updated: now.to_owned(),
            revision: 1,
            settings,
            current: code.number,
            versions: vec![code],
            tests: BTreeMap::new(),
        }
    }

    /// A function that is made now and runs elsewhere: it has no code here.
    pub(super) fn elsewhere(name: &str, settings: Settings, now: &str) -> Self {
        let none = Version { number: 0, hash: String::new(), bytes: 0, time: String::new() };
        Self { versions: Vec::new(), ..Self::new(name, settings, none, now) }
    }

    /// The same code again is the same version.
    pub(super) fn take_code(&mut self, hash: String, bytes: u64, now: &str) {
        if let Some(known) = self.versions.iter().find(|version| version.hash == hash) {
            self.current = known.number;
            return;
        }
        let number = self.versions.iter().map(|version| version.number).max().unwrap_or(0) + 1;
        self.versions.push(Version { number, hash, bytes, time: now.to_owned() });
        self.current = number;
        if self.versions.len() > MAX_VERSIONS {
            self.versions.remove(0);
        }
    }
}
