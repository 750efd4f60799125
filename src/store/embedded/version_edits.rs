//! From changes of one key with versions to edits: what is current, what stands behind it, what goes.
//!
//! Must never let go of the bytes of a version that stays, whichever table its row is in.

use std::ops::Bound;

use super::build::Stays;
use super::index::{Batch, Snapshot, Space, Visit, end_of_prefix};
use super::row::{self, BodyPlace};
use super::version_rows::{identity, move_object, name_key, offset_in, split_version_key, version_key};
use super::versions::{KeyDelta, is_marker, named_elsewhere, version_of};
use crate::event::VersionId;
use crate::queue::Stored;
use crate::store::StoreError;

/// Fills a batch with what changes do to the versions of keys.
pub(super) struct VersionEdits<'a> {
    /// The index before the batch.
    pub(super) before: &'a dyn Snapshot,
    pub(super) batch: &'a mut Batch,
    /// Versions that only change their space: whoever is told that their old rows are gone must not think
    /// that
    /// they are.
    pub(super) stays: &'a mut Stays,
}

/// The current object's row before the batch.
struct Top {
    row: Vec<u8>,
    version: VersionId,
    offset: u64,
}

impl VersionEdits<'_> {
    /// Adds the edits of one key. `places` says where the body of each version is that the delta adds.
    pub(super) fn add(
        &mut self,
        key: &[u8],
        delta: &KeyDelta,
        places: &[BodyPlace],
    ) -> Result<(), StoreError> {
        if delta.clears {
            self.clear(key)?;
        }
        let found = if delta.resets { None } else { self.before.get(Space::Objects, key)? };
        let top = found.and_then(|row| {
            let Some(found) = identity(key, &row) else {
                tracing::error!("the row of an object is damaged; it does not stay as a version");
                return None;
            };
            Some(Top { row, version: found.version, offset: found.offset })
        });
        let top = top.filter(|top| !delta.takes(top.version));
        let gone = self.remove_older(key, delta)?;
        for stored in &delta.added {
            if let Some(name) = named_elsewhere(stored) {
                let offset = stored.position.offset.to_le_bytes();
                self.batch.put(Space::Names, &name_key(key, name), |out| out.extend_from_slice(&offset));
            }
        }
        let Some((newest, older)) = delta.added.split_last() else {
            return if top.is_some() { Ok(()) } else { self.promote(key, delta, &gone) };
        };
        if let Some(top) = top {
            self.step_back(key, &top);
        }
        for (stored, place) in older.iter().zip(places) {
            self.put_older(key, stored, *place);
        }
        let place = *places.last().expect("one place for each version");
        if is_marker(newest) {
            self.put_older(key, newest, place);
            self.batch.remove(Space::Objects, key);
        } else {
            self.batch.put(Space::Objects, key, |out| row::put_object(out, key, newest, place));
        }
        Ok(())
    }

    /// Removes every version that is not current, of a key that lost them all.
    fn clear(&mut self, key: &[u8]) -> Result<(), StoreError> {
        let mut all = Vec::new();
        self.visit_older(key, &mut |version, _| {
            all.push(version.to_vec());
            Ok(true)
        })?;
        all.iter().for_each(|version| self.batch.remove(Space::Versions, version));
        self.batch.remove(Space::Nulls, key);
        let mut names = Vec::new();
        self.visit(Space::Names, key, &mut |name, _| {
            names.push(name.to_vec());
            Ok(true)
        })?;
        names.iter().for_each(|name| self.batch.remove(Space::Names, name));
        Ok(())
    }

    fn visit_older(&self, key: &[u8], visit: &mut Visit<'_>) -> Result<(), StoreError> {
        self.visit(Space::Versions, key, visit)
    }

    fn visit(&self, space: Space, key: &[u8], visit: &mut Visit<'_>) -> Result<(), StoreError> {
        let mut prefix = key.to_vec();
        prefix.push(0);
        let to = end_of_prefix(&prefix);
        self.before.scan(space, Bound::Included(&prefix), to.as_deref(), visit)
    }

    /// Where the key's null version stands behind the current one.
    fn null_at(&self, key: &[u8]) -> Result<Option<u64>, StoreError> {
        Ok(self.before.get(Space::Nulls, key)?.and_then(offset_in))
    }

    /// Takes away what goes of the versions behind the current one; gives their offsets.
    fn remove_older(&mut self, key: &[u8], delta: &KeyDelta) -> Result<Vec<u64>, StoreError> {
        let mut gone = Vec::with_capacity(delta.removed.len());
        for name in &delta.removed {
            let at = name_key(key, *name);
            let elsewhere = self.before.get(Space::Names, &at)?.and_then(offset_in);
            if elsewhere.is_some() {
                self.batch.remove(Space::Names, &at);
            }
            gone.push(elsewhere.unwrap_or(name.offset));
        }
        if delta.null_gone
            && let Some(at) = self.null_at(key)?
        {
            gone.push(at);
            self.batch.remove(Space::Nulls, key);
        }
        gone.iter().for_each(|offset| self.batch.remove(Space::Versions, &version_key(key, *offset)));
        Ok(gone)
    }

    /// The current object is not the newest any more.
    fn step_back(&mut self, key: &[u8], top: &Top) {
        let version = version_key(key, top.offset);
        self.stays.insert((key.into(), top.offset));
        self.batch.put(Space::Versions, &version, |out| move_object(out, key, &version, &top.row));
        if top.version == VersionId::Null {
            self.point_to_null(key, top.offset);
        }
    }

    fn put_older(&mut self, key: &[u8], stored: &Stored, place: BodyPlace) {
        let version = version_key(key, stored.position.offset);
        self.batch.put(Space::Versions, &version, |out| row::put_object(out, &version, stored, place));
        if version_of(stored) == VersionId::Null {
            self.point_to_null(key, stored.position.offset);
        }
    }

    fn point_to_null(&mut self, key: &[u8], offset: u64) {
        self.batch.put(Space::Nulls, key, |out| out.extend_from_slice(&offset.to_le_bytes()));
    }

    /// Makes the newest version that is left the current object, unless it is a delete marker. One that is
    /// damaged is current too: an older one in its place would be a wrong answer.
    fn promote(&mut self, key: &[u8], delta: &KeyDelta, gone: &[u64]) -> Result<(), StoreError> {
        self.batch.remove(Space::Objects, key);
        if delta.resets {
            return Ok(());
        }
        let mut next = None;
        self.visit_older(key, &mut |version, row| {
            let offset = split_version_key(version).map(|(_, offset)| offset);
            if offset.is_some_and(|offset| gone.contains(&offset)) {
                return Ok(true);
            }
            let marker = identity(version, row).is_some_and(|found| found.marker);
            next = offset.filter(|_| !marker).map(|offset| (offset, version.to_vec(), row.to_vec()));
            Ok(false)
        })?;
        let Some((offset, version, row)) = next else { return Ok(()) };
        self.batch.put(Space::Objects, key, |out| move_object(out, &version, key, &row));
        self.batch.remove(Space::Versions, &version);
        self.stays.insert((key.into(), offset));
        if self.null_at(key)? == Some(offset) {
            self.batch.remove(Space::Nulls, key);
        }
        Ok(())
    }
}
