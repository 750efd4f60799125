//! A list of versions being filled: places in it, and what is there of one key between two of them.
//!
//! Must never skip or repeat a version between two rounds.

use std::sync::Arc;

use super::index::Snapshot;
use super::version_reads::{newest_of, version_made};
use super::versions::KeyDelta;
use crate::store::{ObjectVersion, StoreError};

/// A place in a list of versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct From {
    /// This index key of an object, or a later one …
    pub(super) key: Vec<u8>,
    /// … and of this one what is behind the version made at this offset; none: all of it.
    pub(super) behind: Option<u64>,
}

impl From {
    /// True if a version comes behind this place.
    pub(super) fn is_passed_by(&self, key: &[u8], offset: u64) -> bool {
        key > &*self.key || (key == &*self.key && self.behind.is_none_or(|behind| offset < behind))
    }

    pub(super) fn is_before(&self, other: &From) -> bool {
        (&self.key, self.behind.map(|behind| !behind)) < (&other.key, other.behind.map(|behind| !behind))
    }
}

/// What is known of one key.
#[derive(Default)]
pub(super) struct OfKey {
    pub(super) delta: KeyDelta,
    /// What the index shows, the newest first.
    pub(super) before: Vec<ObjectVersion>,
}

/// An answer being filled.
pub(super) struct List {
    pub(super) bucket: Arc<str>,
    pub(super) to: Option<Vec<u8>>,
    pub(super) found: Vec<ObjectVersion>,
    pub(super) max: usize,
}

impl List {
    /// Adds what is there of one key between two places.
    pub(super) fn add(
        &mut self,
        before: &dyn Snapshot,
        key: &[u8],
        of_key: OfKey,
        from: &From,
        end: Option<&From>,
    ) -> Result<(), StoreError> {
        let OfKey { delta, before: older } = of_key;
        let added = delta.added.iter().rev().filter_map(|stored| version_made(stored));
        let older = older.into_iter().filter(|v| !delta.takes(v.object.version));
        let mut all = added.chain(older).peekable();
        // Of the key that the list goes on with, the newest may have been left out.
        let newest = match key == from.key && from.behind.is_some() {
            true => newest_of(before, &self.bucket, key, &delta)?.map(|newest| newest.object.offset),
            false => all.peek().map(|newest| newest.object.offset),
        };
        for found in all {
            let offset = found.object.offset;
            let is_told = end.is_none_or(|end| !end.is_passed_by(key, offset));
            if is_told && from.is_passed_by(key, offset) && self.found.len() < self.max {
                self.found.push(ObjectVersion { latest: newest == Some(offset), ..found });
            }
        }
        Ok(())
    }
}
