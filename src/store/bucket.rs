//! A bucket as the store shows it, with its settings.
//!
//! Must never know what a setting's value means.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::event::Version;
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

/// What becomes of objects that are overwritten or deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Versioning {
    /// They are gone. Nobody ever wanted anything else of this bucket.
    #[default]
    Never,
    /// They stay as versions; what is new has a name of its own.
    Enabled,
    /// They stay; what is new is the null version, in place of an earlier one.
    Suspended,
}

impl Versioning {
    /// The value of [`Setting::Versioning`].
    pub fn value(self) -> Option<Bytes> {
        match self {
            Versioning::Never => None,
            Versioning::Enabled => Some(Bytes::from_static(b"enabled")),
            Versioning::Suspended => Some(Bytes::from_static(b"suspended")),
        }
    }

    /// Which version a new object, or a delete marker, is.
    pub fn of_new(self) -> Option<Version> {
        match self {
            Versioning::Never => None,
            Versioning::Enabled => Some(Version::Own),
            Versioning::Suspended => Some(Version::NULL),
        }
    }
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

    /// What becomes of its overwritten and deleted objects.
    pub fn versioning(&self) -> Versioning {
        match self.setting(Setting::Versioning).map(|value| &value[..]) {
            None => Versioning::Never,
            Some(b"suspended") => Versioning::Suspended,
            // Of whatever a newer tidings may have set, nothing is thrown away.
            Some(_) => Versioning::Enabled,
        }
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
