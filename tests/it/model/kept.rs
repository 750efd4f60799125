//! What a bucket should hold: versions of keys, as the answers to changes named them.
//!
//! Must never know how they are kept, and never make up a version's name.

use std::collections::BTreeMap;

use bytes::Bytes;

/// A bucket's versioning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    #[default]
    Never,
    Enabled,
    Suspended,
}

/// One version of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Its name; none in a bucket that never had versioning.
    pub version: Option<String>,
    /// A delete marker.
    pub marker: bool,
    pub body: Bytes,
    pub tags: BTreeMap<String, String>,
}

impl Made {
    /// A delete marker with this name.
    pub fn marker(version: Option<String>) -> Self {
        Self { version, marker: true, body: Bytes::new(), tags: BTreeMap::new() }
    }

    /// The name in lists, where every version has one.
    pub fn name(&self) -> &str {
        self.version.as_deref().unwrap_or("null")
    }
}

/// What a bucket holds.
#[derive(Debug, Default)]
pub struct Kept {
    pub mode: Mode,
    /// The newest version first; no key without one.
    pub keys: BTreeMap<String, Vec<Made>>,
}

impl Kept {
    /// Enables or suspends versioning. What was there before has a name from then on.
    pub fn switch(&mut self, mode: Mode) {
        self.mode = mode;
        for made in self.keys.values_mut().flatten() {
            made.version.get_or_insert_with(|| "null".to_owned());
        }
    }

    /// The versions of a key, the newest first.
    pub fn versions(&self, key: &str) -> &[Made] {
        self.keys.get(key).map_or(&[], Vec::as_slice)
    }

    /// What a client that names no version gets.
    pub fn current(&self, key: &str) -> Option<&Made> {
        self.versions(key).first().filter(|made| !made.marker)
    }

    /// The version with this name; without a name the current one.
    pub fn version(&self, key: &str, name: Option<&str>) -> Option<&Made> {
        match name {
            None => self.current(key),
            Some(name) => self.versions(key).iter().find(|made| made.name() == name),
        }
    }

    /// A new version, named as it must be in a bucket of this mode.
    pub fn add(&mut self, key: &str, made: Made) {
        let named = match self.mode {
            Mode::Never => made.version.is_none(),
            Mode::Suspended => made.version.as_deref() == Some("null"),
            Mode::Enabled => {
                let fresh = |name: &String| self.versions(key).iter().all(|other| other.name() != name);
                made.version.as_ref().is_some_and(|name| name != "null" && fresh(name))
            }
        };
        assert!(named, "{:?} is no name of a version in a bucket that is {:?}", made.version, self.mode);
        let versions = self.keys.entry(key.to_owned()).or_default();
        match self.mode {
            Mode::Never => versions.clear(),
            Mode::Suspended => versions.retain(|other| other.name() != "null"),
            Mode::Enabled => {}
        }
        versions.insert(0, made);
    }

    /// Takes a version away for good.
    pub fn remove(&mut self, key: &str, name: &str) -> Option<Made> {
        let versions = self.keys.get_mut(key)?;
        let at = versions.iter().position(|made| made.name() == name)?;
        let gone = versions.remove(at);
        if versions.is_empty() {
            self.keys.remove(key);
        }
        Some(gone)
    }

    /// Gives a version other tags.
    pub fn tag(&mut self, key: &str, name: Option<&str>, tags: BTreeMap<String, String>) {
        let name = name.map_or_else(|| self.versions(key)[0].name().to_owned(), str::to_owned);
        let made = self.keys.get_mut(key).into_iter().flatten().find(|made| made.name() == name);
        made.expect("it is there").tags = tags;
    }

    /// Keys and sizes of what a list shows.
    pub fn listed(&self, prefix: &str) -> Vec<(String, u64)> {
        let of_prefix = self.keys.keys().filter(|key| key.starts_with(prefix));
        of_prefix
            .filter_map(|key| self.current(key).map(|made| (key.clone(), made.body.len() as u64)))
            .collect()
    }

    /// What a list of versions shows: those that are objects, or the delete markers. Key, name, newest.
    pub fn listed_versions(&self, prefix: &str, markers: bool) -> Vec<(String, String, bool)> {
        let of_prefix = self.keys.iter().filter(|(key, _)| key.starts_with(prefix));
        of_prefix
            .flat_map(|(key, versions)| {
                versions
                    .iter()
                    .enumerate()
                    .filter(|(_, made)| made.marker == markers)
                    .map(|(at, made)| (key.clone(), made.name().to_owned(), at == 0))
            })
            .collect()
    }
}
