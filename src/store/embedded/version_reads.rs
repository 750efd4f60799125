//! Reads of versions: overlay first, then index, merged.
//!
//! Must never open an index snapshot before the overlay was looked at. A snapshot may show changes already
//! that
//! were taken from the overlay: those are told by their offsets and not counted twice.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::apply::Shared;
use super::index::{Snapshot, Space, end_of_prefix};
use super::row::{self, object_key};
use super::version_list::{From, List, OfKey};
use super::version_rows::{name_key, offset_in, split_version_key, version_key};
use super::versions::{KeyDelta, Pending, is_marker, version_of};
use crate::event::VersionId;
use crate::queue::{BodyRef, ObjectMeta, Stored};
use crate::store::{Object, ObjectVersion, Place, StoreError, VersionsAfter};

/// Rows of each table that one round of a list takes beyond what the page needs.
const SLACK: usize = 64;

/// The object or the delete marker that a change makes.
pub(super) fn version_made(stored: &Stored) -> Option<ObjectVersion> {
    let event = stored.entry.event.as_ref()?;
    let meta = stored.entry.change.object().cloned().map(Arc::new);
    let place = match meta.as_ref().map(|meta| &meta.body) {
        Some(BodyRef::Blob { .. }) => Place::Blob,
        _ => Place::Memory(stored.body.clone()),
    };
    let object = Object {
        bucket: event.bucket.clone(),
        key: event.key.clone(),
        size: event.size,
        etag: event.etag.clone(),
        modified_us: event.time_us,
        offset: stored.position.offset,
        version: version_of(stored),
        meta: meta.unwrap_or_else(|| Arc::new(ObjectMeta::default())),
        place,
    };
    Some(ObjectVersion { object, marker: is_marker(stored), latest: false })
}

impl Shared {
    /// The version with this name, or the newest; see [`crate::store::Store::version`].
    pub(super) fn version(
        &self,
        bucket: &str,
        key: &str,
        id: Option<VersionId>,
    ) -> Result<Option<ObjectVersion>, StoreError> {
        let (bucket, mut index_key): (Arc<str>, _) = (bucket.into(), Vec::new());
        object_key(&mut index_key, &bucket, key);
        let pending = self.overlay.object(&index_key);
        let before = self.index.read()?;
        let delta = delta_over(pending.as_ref(), &*before)?;
        let newest = newest_of(&*before, &bucket, &index_key, &delta)?;
        let is_newest =
            |v: &ObjectVersion| newest.as_ref().is_some_and(|n| n.object.offset == v.object.offset);
        let found = match id {
            None => newest.clone(),
            Some(id) => named(&*before, &bucket, &index_key, &delta, id)?
                .map(|found| ObjectVersion { latest: is_newest(&found), ..found }),
        };
        let found = self.with_tags(found)?;
        // What the overlay shows is newer than all that was not read.
        match found {
            Some(found) if delta.added.iter().any(|s| s.position.offset == found.object.offset) => {
                Ok(Some(found))
            }
            None if delta.resets => Ok(None),
            found => self.unread.check(&bucket, key, found),
        }
    }

    /// The newest version of a key that was changed lately.
    pub(super) fn newest(
        &self,
        bucket: &Arc<str>,
        index_key: &[u8],
        pending: &Pending,
    ) -> Result<Option<ObjectVersion>, StoreError> {
        self.unread.check_absence()?;
        let before = self.index.read()?;
        let delta = delta_over(Some(pending), &*before)?;
        newest_of(&*before, bucket, index_key, &delta)
    }

    /// Versions in key order; see [`crate::store::Store::versions`].
    pub(super) fn versions(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&VersionsAfter>,
        max: usize,
    ) -> Result<Vec<ObjectVersion>, StoreError> {
        self.unread.check_absence()?;
        let mut first = Vec::new();
        object_key(&mut first, bucket, prefix);
        let mut list = List { bucket: bucket.into(), to: end_of_prefix(&first), found: Vec::new(), max };
        let mut from = From { key: first, behind: None };
        if let Some(after) = after {
            let mut key = Vec::new();
            object_key(&mut key, bucket, &after.key);
            if key >= from.key {
                // No offset is 0: behind it nothing of the key is left.
                from = From { key, behind: Some(after.offset.unwrap_or(0)) };
            }
        }
        while list.found.len() < max {
            match self.list_versions(&mut list, &from)? {
                Some(reached) => from = reached,
                None => break,
            }
        }
        Ok(list.found)
    }

    /// One bounded piece of a list. Gives where it ended, unless that is the end.
    fn list_versions(&self, list: &mut List, from: &From) -> Result<Option<From>, StoreError> {
        let take = (list.max - list.found.len()).saturating_add(SLACK);
        let to = list.to.as_deref();
        let changed = self.overlay.range(Bound::Included(&from.key), to, take);
        let before = self.index.read()?;
        let applied = before.applied_next()?;
        // Each table is known up to where it was read: the list ends at the first of these places.
        let mut end = None::<From>;
        let mut reached = |key: &[u8], behind: u64| {
            let here = From { key: key.to_vec(), behind: Some(behind) };
            if end.as_ref().is_none_or(|end| here.is_before(end)) {
                end = Some(here);
            }
        };
        if let Some((key, _)) = changed.last().filter(|_| changed.len() == take) {
            reached(key, 0);
        }
        let mut keys: BTreeMap<Vec<u8>, OfKey> = BTreeMap::new();
        for (key, pending) in changed {
            keys.entry(key.into_vec()).or_default().delta = pending.delta(applied);
        }
        let mut rows = 0;
        before.scan(Space::Objects, Bound::Included(&from.key), to, &mut |key, row| {
            let found = row::version(&list.bucket, key, key, row)?;
            keys.entry(key.to_vec()).or_default().before.push(found);
            rows += 1;
            if rows == take {
                reached(key, 0);
            }
            Ok(rows < take)
        })?;
        rows = 0;
        let first = match from.behind {
            Some(offset) => version_key(&from.key, offset),
            None => from.key.clone(),
        };
        before.scan(Space::Versions, Bound::Included(&first), to, &mut |key, row| {
            let Some((object, offset)) = split_version_key(key) else { return Ok(true) };
            let found = row::version(&list.bucket, object, key, row)?;
            keys.entry(object.to_vec()).or_default().before.push(found);
            rows += 1;
            if rows == take {
                reached(object, offset);
            }
            Ok(rows < take)
        })?;
        for (key, of_key) in keys {
            list.add(&*before, &key, of_key, from, end.as_ref())?;
        }
        Ok(end)
    }
}

/// What the pending changes do to what the index shows.
fn delta_over(pending: Option<&Pending>, before: &dyn Snapshot) -> Result<KeyDelta, StoreError> {
    let Some(pending) = pending else { return Ok(KeyDelta::default()) };
    Ok(pending.delta(before.applied_next()?))
}

/// The newest version, given what changed since the snapshot.
pub(super) fn newest_of(
    before: &dyn Snapshot,
    bucket: &Arc<str>,
    index_key: &[u8],
    delta: &KeyDelta,
) -> Result<Option<ObjectVersion>, StoreError> {
    let mut newest = delta.added.last().and_then(|stored| version_made(stored));
    if newest.is_none() && !delta.resets {
        let row = before.get(Space::Objects, index_key)?;
        let top = row.map(|row| row::version(bucket, index_key, index_key, &row)).transpose()?;
        newest = top.filter(|top| !delta.takes(top.object.version));
        if newest.is_none() {
            let mut prefix = index_key.to_vec();
            prefix.push(0);
            let to = end_of_prefix(&prefix);
            before.scan(Space::Versions, Bound::Included(&prefix), to.as_deref(), &mut |key, row| {
                let found = row::version(bucket, index_key, key, row)?;
                newest = Some(found).filter(|found| !delta.takes(found.object.version));
                Ok(newest.is_none())
            })?;
        }
    }
    Ok(newest.map(|newest| ObjectVersion { latest: true, ..newest }))
}

/// The version with this name, given what changed since the snapshot.
fn named(
    before: &dyn Snapshot,
    bucket: &Arc<str>,
    index_key: &[u8],
    delta: &KeyDelta,
    id: VersionId,
) -> Result<Option<ObjectVersion>, StoreError> {
    if let Some(stored) = delta.added.iter().find(|stored| version_of(stored) == id) {
        return Ok(version_made(stored));
    }
    if delta.resets {
        return Ok(None);
    }
    let is = |found: &ObjectVersion| found.object.version == id && !delta.takes(id);
    let row = before.get(Space::Objects, index_key)?;
    let top = row.map(|row| row::version(bucket, index_key, index_key, &row)).transpose()?;
    if let Some(top) = top.filter(is) {
        return Ok(Some(top));
    }
    let offset = match id {
        VersionId::At(at) => {
            let row = before.get(Space::Names, &name_key(index_key, at))?;
            Some(row.and_then(offset_in).unwrap_or(at.offset))
        }
        VersionId::Null => before.get(Space::Nulls, index_key)?.and_then(offset_in),
    };
    let Some(offset) = offset else { return Ok(None) };
    let key = version_key(index_key, offset);
    let row = before.get(Space::Versions, &key)?;
    let found = row.map(|row| row::version(bucket, index_key, &key, &row)).transpose()?;
    Ok(found.filter(is))
}
