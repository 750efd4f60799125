//! Restores of archived objects: rows that name their object by its offset, so that what takes its place is
//! never restored, and timers in the order in which they are due.
//!
//! A timer goes with the change that says what was due before. One whose object went first stays until it is
//! due: whoever ends it finds nothing to restore. Must never show a restore of another object.

mod rows;

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use self::rows::{DUE_BYTES, due_bytes, key_of_change, restore_key, timer_key, timer_of};
pub(super) use self::rows::{add_all, due_of, restore_of, restore_row};
use super::apply::Shared;
use super::index::{Batch, Index, Reads as _, Snapshot, Space};
use super::overlay::Overlay;
use super::row::damaged;
use crate::queue::{Restore, Stored};
use crate::store::{DueRestore, StoreError};

/// How often timers are looked at again that changed meanwhile. Who ends one asks again under its key's lock.
const MAX_LOOKS: usize = 8;

/// Whether any object may be restored: if none is, nobody looks for it.
#[derive(Default)]
pub(super) struct Restored(AtomicBool);

impl Restored {
    /// As an index says.
    pub(super) fn look(&self, index: &dyn Index) -> Result<(), StoreError> {
        if index.len(Space::Restores)? > 0 || index.len(Space::RestoreTimers)? > 0 {
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

impl Overlay {
    /// What stands beside objects, as an index says.
    pub(super) fn look(&self, index: &dyn Index) -> Result<(), StoreError> {
        self.tagged.look(index)?;
        self.restored.look(index)
    }
}

/// Changes of restores that are not in the index yet: the newest of each.
#[derive(Default)]
pub(super) struct RestoreChanges {
    /// By index key.
    newest: HashMap<Vec<u8>, Arc<Stored>>,
    /// Keys of timers.
    due: BTreeSet<Vec<u8>>,
}

impl RestoreChanges {
    /// Adds a change; false if it is none of a restore.
    pub(super) fn add(&mut self, stored: &Arc<Stored>) -> bool {
        let Some(change) = restore_of(&stored.entry.change) else { return false };
        let key = key_of_change(change);
        if let Some(timer) = timer_of(change, &key) {
            self.due.insert(timer);
        }
        if let Some(before) = self.newest.insert(key, stored.clone()) {
            self.forget_timer(&before, stored);
        }
        true
    }

    /// The index shows this change now.
    pub(super) fn forget(&mut self, applied: &Stored) {
        let Some(change) = restore_of(&applied.entry.change) else { return };
        let key = key_of_change(change);
        if self.newest.get(&key).is_some_and(|stored| stored.position.offset <= applied.position.offset)
            && let Some(before) = self.newest.remove(&key)
            && let Some(timer) = restore_of(&before.entry.change).and_then(|change| timer_of(change, &key))
        {
            self.due.remove(&timer);
        }
    }

    /// Removes the timer of a change that another one took the place of, unless that has the same.
    fn forget_timer(&mut self, before: &Stored, by: &Stored) {
        let timer = |stored: &Stored| {
            let change = restore_of(&stored.entry.change)?;
            timer_of(change, &key_of_change(change))
        };
        if let Some(gone) = timer(before).filter(|gone| timer(by).as_ref() != Some(gone)) {
            self.due.remove(&gone);
        }
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<Arc<Stored>> {
        self.newest.get(key).cloned()
    }

    /// Keys of timers behind `after` and up to `until`, the first `max`.
    pub(super) fn due(&self, after: Bound<&[u8]>, until: &[u8], max: usize) -> Vec<Vec<u8>> {
        let timers = self.due.range::<[u8], _>((after, Bound::Excluded(until)));
        timers.take(max).cloned().collect()
    }
}

/// Says whether any object is restored, and remembers it for readers: entries that are replayed were never
/// published.
pub(super) fn noted(overlay: &Overlay, batch: &Batch) -> bool {
    if batch.touches(Space::Restores) {
        overlay.restored.note();
    }
    overlay.restored.any()
}

impl Shared {
    /// See [`crate::store::Restores::restore`].
    pub(super) fn restore(&self, bucket: &str, key: &str, of: u64) -> Result<Option<Restore>, StoreError> {
        if self.overlay.restored.any() {
            let key = restore_key(bucket, key, of);
            if let Some(stored) = self.overlay.restore(&key) {
                return Ok(restore_of(&stored.entry.change).and_then(|change| change.now.clone()));
            }
            if let Some(row) = self.index.get(Space::Restores, &key)? {
                return restore_row(&key, &row).map(Some);
            }
        }
        self.unread.check_absence()?;
        Ok(None)
    }

    /// See [`crate::store::Restores::due_restores`].
    pub(super) fn due_restores(
        &self,
        after: Option<&DueRestore>,
        until_us: i64,
        max: usize,
    ) -> Result<Vec<DueRestore>, StoreError> {
        if !self.overlay.restored.any() {
            return Ok(Vec::new());
        }
        let after = after.map(|due| timer_key(due.due_us, &restore_key(&due.bucket, &due.key, due.of)));
        let after = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        // Above every time, where there is no next one.
        let until =
            until_us.checked_add(1).map_or(vec![u8::MAX; DUE_BYTES + 1], |end| due_bytes(end).to_vec());
        if matches!(after, Bound::Excluded(after) if *after >= *until) {
            return Ok(Vec::new());
        }
        let mut timers = BTreeSet::new();
        for _ in 0..MAX_LOOKS {
            timers = self.overlay.due_restores(after, &until, max).into_iter().collect();
            let before = self.index.read()?;
            self.add_timers(&*before, after, &until, max, &mut timers)?;
            // What left the overlay meanwhile may be newer than a row of before.
            if self.index.applied_next() == before.applied_next()? {
                break;
            }
        }
        let due = timers.into_iter().take(max).map(|timer| due_of(&timer).ok_or_else(|| damaged(&timer)));
        due.collect()
    }

    /// Adds the timers of the index, but those that changed since.
    fn add_timers(
        &self,
        before: &dyn Snapshot,
        after: Bound<&[u8]>,
        until: &[u8],
        max: usize,
        timers: &mut BTreeSet<Vec<u8>>,
    ) -> Result<(), StoreError> {
        let mut rows = 0;
        before.scan(Space::RestoreTimers, after, Some(until), &mut |timer, _| {
            // What the overlay has is newer.
            if self.overlay.restore(timer.get(DUE_BYTES..).unwrap_or_default()).is_none() {
                timers.insert(timer.to_vec());
                rows += 1;
            }
            Ok(rows < max)
        })
    }
}
