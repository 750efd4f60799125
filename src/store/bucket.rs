//! A bucket as the store shows it, with its settings.
//!
//! Must never know what a setting's value means.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::queue::Setting;

/// A bucket. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Its name.
    pub name: Arc<str>,
    /// When it was made, in microseconds since the Unix epoch.
    pub created_us: i64,
    /// The access key that made it.
    pub owner: Arc<str>,
    settings: Arc<BTreeMap<Setting, Bytes>>,
}

impl Bucket {
    /// A bucket without settings, as it is made.
    pub fn new(name: impl Into<Arc<str>>, created_us: i64, owner: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), created_us, owner: owner.into(), settings: Arc::default() }
    }

    /// The value of a setting, if it is set.
    pub fn setting(&self, setting: Setting) -> Option<&Bytes> {
        self.settings.get(&setting)
    }

    /// Everything that is set, by number.
    pub fn settings(&self) -> impl Iterator<Item = (Setting, &Bytes)> {
        self.settings.iter().map(|(setting, value)| (*setting, value))
    }

    /// Sets or takes away a setting.
    pub fn set(&mut self, setting: Setting, value: Option<Bytes>) {
        let settings = Arc::make_mut(&mut self.settings);
        match value {
            Some(value) => drop(settings.insert(setting, value)),
            None => drop(settings.remove(&setting)),
        }
    }
}
