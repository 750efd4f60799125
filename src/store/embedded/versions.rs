//! What changes do to the versions of one key, before anybody looks at those that are there already.
//!
//! A bucket that never had versioning has one version of each key: its changes replace whatever is there. In
//! others a change adds a version or a delete marker on top, or takes one version away. What is added is
//! newer
//! than all that was there before. Must never read anything.

use std::sync::Arc;

use super::row::{BlobName, blob_name, object_key};
use crate::event::{EventKind, Position, VersionId};
use crate::queue::{BodyRef, Change, Stored, decode_manifest};

/// What one change does to the versions of its key.
pub(super) enum Effect {
    /// Its object, or nothing, stands in place of all that was there.
    Replaces,
    /// Its object or delete marker comes on top; a null version takes the place of the one before it.
    Adds,
    /// One version goes.
    Removes(VersionId),
}

impl Effect {
    pub(super) fn of(stored: &Stored) -> Self {
        let event = stored.entry.event.as_ref();
        match (event.map(|event| event.kind), stored.version()) {
            (_, None) => Effect::Replaces,
            (Some(EventKind::RemovedDelete), Some(id)) => Effect::Removes(id),
            (_, Some(_)) => Effect::Adds,
        }
    }
}

/// The index key of the object that an entry changes.
pub(super) fn key_of(stored: &Stored) -> Option<Box<[u8]>> {
    let event = match &stored.entry.change {
        Change::PutObject(_) | Change::CompleteUpload { .. } | Change::DeleteObject => {
            stored.entry.event.as_ref()?
        }
        _ => return None,
    };
    let mut key = Vec::new();
    object_key(&mut key, &event.bucket, &event.key);
    Some(key.into_boxed_slice())
}

/// True if a change that adds a version adds a delete marker.
pub(super) fn is_marker(stored: &Stored) -> bool {
    matches!(stored.entry.change, Change::DeleteObject)
}

/// The name of the version that a change makes.
pub(super) fn version_of(stored: &Stored) -> VersionId {
    stored.version().unwrap_or(VersionId::Null)
}

/// The name of the version that a change makes, where another server gave it.
pub(super) fn named_elsewhere(stored: &Stored) -> Option<Position> {
    match stored.version() {
        Some(VersionId::At(at)) if at.offset != stored.position.offset => Some(at),
        _ => None,
    }
}

/// What a run of changes of one key does to its versions.
#[derive(Debug, Default)]
pub(super) struct KeyDelta {
    /// What was there before does not count.
    pub(super) resets: bool,
    /// Before that it had versions: whatever is left of them goes.
    pub(super) clears: bool,
    /// What comes on top, oldest first.
    pub(super) added: Vec<Arc<Stored>>,
    /// Versions that go, of those that were there before.
    pub(super) removed: Vec<Position>,
    /// The null version that was there before goes.
    pub(super) null_gone: bool,
    /// What came and went.
    pub(super) dropped: Vec<Arc<Stored>>,
}

impl KeyDelta {
    /// What these changes do, given in order.
    pub(super) fn of<'a>(changes: impl Iterator<Item = &'a Arc<Stored>>) -> Self {
        let mut delta = Self::default();
        changes.for_each(|stored| delta.add(stored));
        delta
    }

    fn add(&mut self, stored: &Arc<Stored>) {
        match Effect::of(stored) {
            Effect::Replaces => {
                let had = !self.removed.is_empty() || self.null_gone || self.has_versions();
                let mut dropped = std::mem::take(&mut self.dropped);
                dropped.append(&mut self.added);
                *self = Self { resets: true, clears: self.clears || had, dropped, ..Self::default() };
                if !is_marker(stored) {
                    self.added.push(Arc::clone(stored));
                }
            }
            Effect::Adds => {
                if version_of(stored) == VersionId::Null {
                    self.remove(VersionId::Null);
                }
                self.added.push(Arc::clone(stored));
            }
            Effect::Removes(id) => self.remove(id),
        }
    }

    fn has_versions(&self) -> bool {
        self.added.iter().any(|stored| stored.version().is_some())
    }

    fn remove(&mut self, id: VersionId) {
        if let Some(at) = self.added.iter().position(|stored| version_of(stored) == id) {
            self.dropped.push(self.added.remove(at));
            return;
        }
        match id {
            VersionId::Null => self.null_gone = true,
            VersionId::At(at) => self.removed.push(at),
        }
    }

    /// True if a version that was there before is there no more.
    pub(super) fn takes(&self, id: VersionId) -> bool {
        self.resets
            || match id {
                VersionId::Null => self.null_gone,
                VersionId::At(at) => self.removed.contains(&at),
            }
    }
}

/// The changes of one key that the index does not show, in order.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    newest: Arc<Stored>,
    /// Those before it that still matter: none in a bucket that never had versioning.
    earlier: Vec<Arc<Stored>>,
}

/// What the newest changes of a key say of its current object.
pub(super) enum Current {
    /// It is what this change made.
    Is(Arc<Stored>),
    /// There is none.
    Nothing,
    /// What was there before, as far as it is still there.
    Older,
}

impl Pending {
    pub(super) fn new(stored: &Arc<Stored>) -> Self {
        Self { newest: Arc::clone(stored), earlier: Vec::new() }
    }

    /// Adds a later change.
    pub(super) fn add(&mut self, stored: &Arc<Stored>) {
        let before = std::mem::replace(&mut self.newest, Arc::clone(stored));
        match Effect::of(stored) {
            Effect::Replaces => self.earlier.clear(),
            _ => self.earlier.push(before),
        }
    }

    /// The index shows everything up to this offset now. True if nothing is left.
    pub(super) fn forget(&mut self, offset: u64) -> bool {
        if !self.earlier.is_empty() {
            self.earlier.retain(|stored| stored.position.offset > offset);
        }
        self.newest.position.offset <= offset
    }

    /// What the changes from this offset on do.
    pub(super) fn delta(&self, from: u64) -> KeyDelta {
        let all = self.earlier.iter().chain([&self.newest]);
        KeyDelta::of(all.filter(|stored| stored.position.offset >= from))
    }

    pub(super) fn current(&self) -> Current {
        let of = |stored: &Arc<Stored>| match is_marker(stored) {
            true => Current::Nothing,
            false => Current::Is(Arc::clone(stored)),
        };
        if !matches!(Effect::of(&self.newest), Effect::Removes(_)) {
            return of(&self.newest);
        }
        let delta = self.delta(0);
        match delta.added.last() {
            Some(stored) => of(stored),
            None if delta.resets => Current::Nothing,
            None => Current::Older,
        }
    }
}

/// Adds the blobs that a change's object is made of.
pub(super) fn blobs_of(stored: &Stored, out: &mut Vec<BlobName>) {
    match stored.entry.change.object().map(|meta| &meta.body) {
        Some(BodyRef::Blob { name, .. }) => out.extend(blob_name(name)),
        Some(BodyRef::Manifest { .. }) => {
            out.extend(decode_manifest(&stored.body).into_iter().flatten().map(|piece| piece.blob));
        }
        _ => {}
    }
}
