//! Tags that were set after their object was made: rows of their own, which stand above those that the object
//! was made with. They name it by its offset, so that what takes its place never gets them.
//!
//! Must never show tags of an object that is not the one they were set for.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::apply::Shared;
use super::index::{Batch, Edit, Index, Reads as _, Space};
use super::overlay::Overlay;
use super::row::{ROW_VERSION, damaged, made_at, object_key, open, put_text, seal, take_text};
use crate::queue::{Change, ObjectTags, Stored};
use crate::store::{Object, ObjectVersion, StoreError};

/// How often an object is looked up again that was replaced between its row and its tags.
const MAX_LOOKUPS: usize = 8;

/// Whether any object may have tags that were set after it was made: if none has, nobody looks for them.
#[derive(Default)]
pub(super) struct Tagged(AtomicBool);

impl Tagged {
    /// As an index says.
    pub(super) fn look(&self, index: &dyn Index) -> Result<(), StoreError> {
        if index.len(Space::Tags)? > 0 {
            self.note();
        }
        Ok(())
    }

    pub(super) fn note(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(super) fn any(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Tags that are not in the index yet, by their index keys.
#[derive(Default)]
pub(super) struct TagChanges(HashMap<Vec<u8>, Arc<Stored>>);

impl TagChanges {
    /// Adds a change; false if it is none of tags.
    pub(super) fn add(&mut self, stored: &Arc<Stored>) -> bool {
        let Some(tags) = tags_of(&stored.entry.change) else { return false };
        self.0.insert(key_of_tags(tags), stored.clone());
        true
    }

    /// The index shows this change now.
    pub(super) fn forget(&mut self, applied: &Stored) {
        let Some(tags) = tags_of(&applied.entry.change) else { return };
        let key = key_of_tags(tags);
        if self.0.get(&key).is_some_and(|stored| stored.position.offset <= applied.position.offset) {
            self.0.remove(&key);
        }
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<Arc<Stored>> {
        self.0.get(key).cloned()
    }
}

/// The tags that a change sets.
pub(super) fn tags_of(change: &Change) -> Option<&Arc<ObjectTags>> {
    match change {
        Change::TagObject(tags) => Some(tags),
        _ => None,
    }
}

/// The index key of the tags of the object with this index key that the change at `of` made.
pub(super) fn tags_key(object: &[u8], of: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(object.len() + 9);
    key.extend_from_slice(object);
    key.push(0);
    key.extend_from_slice(&of.to_be_bytes());
    key
}

/// The index key of the tags that a change sets.
pub(super) fn key_of_tags(tags: &ObjectTags) -> Vec<u8> {
    let mut key = Vec::new();
    object_key(&mut key, &tags.bucket, &tags.key);
    tags_key(&key, tags.of)
}

/// Adds the rows of all tags that entries set, but those of objects that did not outlive the batch: `gone`
/// has their index keys and offsets.
pub(super) fn add_all(batch: &mut Batch, fresh: &[Arc<Stored>], gone: &[(Box<[u8]>, u64)]) {
    for tags in fresh.iter().filter_map(|stored| tags_of(&stored.entry.change)) {
        let key = key_of_tags(tags);
        batch.put(Space::Tags, &key, |out| {
            let from = out.len();
            out.push(ROW_VERSION);
            put_text(out, &tags.tags);
            seal(out, from, &key);
        });
    }
    for (object, of) in gone {
        batch.remove(Space::Tags, &tags_key(object, *of));
    }
}

/// Says whether any object has tags that were set after it was made, and remembers it for readers: entries
/// that are replayed were never published.
pub(super) fn noted(overlay: &Overlay, batch: &Batch) -> bool {
    if batch.touches(Space::Tags) {
        overlay.tagged.note();
    }
    overlay.tagged.any()
}

/// Removes what stands in `spaces` beside the version of a row that is replaced; `object` is the index key of
/// its object. A row that only says where its body went is the same version, which keeps it.
pub(super) fn remove_of_row(object: &[u8], edit: &Edit<'_>, spaces: &[Space], batch: &mut Batch) {
    let of = |row| made_at(edit.key, row);
    if let Some(gone) = edit.old.and_then(of)
        && edit.new.and_then(of) != Some(gone)
    {
        let key = tags_key(object, gone);
        spaces.iter().for_each(|space| batch.remove(*space, &key));
    }
}

fn tags_of_row(key: &[u8], row: &[u8]) -> Result<Arc<str>, StoreError> {
    let decode = || {
        let mut rest = open(key, row)?;
        let tags = take_text(&mut rest)?.into();
        rest.is_empty().then_some(tags)
    };
    decode().ok_or_else(|| damaged(key))
}

impl Shared {
    /// The current object under this key, with the tags that it has now.
    pub(super) fn object(&self, bucket: &str, key: &str) -> Result<Option<Object>, StoreError> {
        let mut found = self.untagged(bucket, key)?;
        if !self.overlay.tagged.any() {
            return Ok(found);
        }
        for _ in 0..MAX_LOOKUPS {
            let Some(object) = &mut found else { break };
            if let Some(tags) = self.tags(object)? {
                Arc::make_mut(&mut object.meta).set_tags(tags);
                break;
            }
            // Tags go with their object: none are believed to be there only if it still is.
            let now = self.untagged(bucket, key)?;
            if now.as_ref().is_some_and(|now| now.offset == object.offset) {
                break;
            }
            found = now;
        }
        Ok(found)
    }

    /// A version with the tags that it has now.
    pub(super) fn with_tags(
        &self,
        found: Option<ObjectVersion>,
    ) -> Result<Option<ObjectVersion>, StoreError> {
        let Some(mut found) = found else { return Ok(None) };
        if self.overlay.tagged.any()
            && let Some(tags) = self.tags(&found.object)?
        {
            Arc::make_mut(&mut found.object.meta).set_tags(tags);
        }
        Ok(Some(found))
    }

    /// Tags that were set after the object was made.
    fn tags(&self, object: &Object) -> Result<Option<Arc<str>>, StoreError> {
        let mut key = Vec::new();
        object_key(&mut key, &object.bucket, &object.key);
        let key = tags_key(&key, object.offset);
        if let Some(stored) = self.overlay.tags(&key) {
            return Ok(tags_of(&stored.entry.change).map(|change| change.tags.clone()));
        }
        let row = self.index.get(Space::Tags, &key)?;
        row.map(|row| tags_of_row(&key, &row)).transpose()
    }
}
