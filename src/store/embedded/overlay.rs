//! The overlay: changes that are durable and not in the index yet.
//!
//! Must never lose an entry before the index shows it, and must never be slow: the journal's writer thread
//! publishes here, with one lock per batch.

use std::collections::HashMap;
use std::collections::btree_map::{BTreeMap, Entry};
use std::ops::Bound;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use super::bucket_cache::BucketCache;
use super::buckets::{BucketDelta, bucket_of};
use super::restores::{RestoreChanges, Restored};
use super::signal::Signal;
use super::tags::{TagChanges, Tagged};
use super::targets::{TargetDelta, target_of};
use super::upload_overlay::{UploadDelta, upload_of};
use super::versions::{Pending, key_of};
use crate::queue::{Publish, Stored, TargetNo, UploadId};

/// Entries removed under one lock, so that the writer thread never waits long.
const REMOVE_RUN: usize = 256;

/// Changes that are durable and not in the index yet.
#[derive(Default)]
pub(super) struct Overlay {
    state: RwLock<State>,
    pub(super) known_buckets: BucketCache,
    signal: Mutex<Signal>,
    wake: Condvar,
    pub(super) tagged: Tagged,
    pub(super) restored: Restored,
}

#[derive(Default)]
struct State {
    /// Bucket, zero byte, key → what changed.
    objects: BTreeMap<Box<[u8]>, Pending>,
    buckets: HashMap<Arc<str>, BucketDelta>,
    targets: BTreeMap<TargetNo, TargetDelta>,
    uploads: BTreeMap<UploadId, UploadDelta>,
    tags: TagChanges,
    restores: RestoreChanges,
}

impl Overlay {
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The changes of an object that are not in the index yet.
    pub(super) fn object(&self, key: &[u8]) -> Option<Pending> {
        self.read().objects.get(key).cloned()
    }

    /// The first `max` changed objects from `from` to below `to`, in key order.
    pub(super) fn range(
        &self,
        from: Bound<&[u8]>,
        to: Option<&[u8]>,
        max: usize,
    ) -> Vec<(Box<[u8]>, Pending)> {
        if let (Bound::Included(from) | Bound::Excluded(from), Some(to)) = (from, to)
            && from >= to
        {
            return Vec::new();
        }
        let to = to.map_or(Bound::Unbounded, Bound::Excluded);
        let state = self.read();
        let found = state.objects.range::<[u8], _>((from, to)).take(max);
        found.map(|(key, pending)| (key.clone(), pending.clone())).collect()
    }

    /// What changed about a bucket.
    pub(super) fn bucket(&self, name: &str) -> Option<BucketDelta> {
        self.read().buckets.get(name).cloned()
    }

    /// What changed about every changed bucket.
    pub(super) fn buckets(&self) -> Vec<(Arc<str>, BucketDelta)> {
        self.read().buckets.iter().map(|(name, delta)| (name.clone(), delta.clone())).collect()
    }

    /// The newest tags under this index key.
    pub(super) fn tags(&self, key: &[u8]) -> Option<Arc<Stored>> {
        self.read().tags.get(key)
    }

    /// The newest change of the restore under this index key.
    pub(super) fn restore(&self, key: &[u8]) -> Option<Arc<Stored>> {
        self.read().restores.get(key)
    }

    /// Keys of timers of changed restores, in order.
    pub(super) fn due_restores(&self, after: Bound<&[u8]>, until: &[u8], max: usize) -> Vec<Vec<u8>> {
        self.read().restores.due(after, until, max)
    }

    /// What changed about every changed target.
    pub(super) fn targets(&self) -> BTreeMap<TargetNo, TargetDelta> {
        self.read().targets.clone()
    }

    /// What changed about one upload.
    pub(super) fn upload(&self, id: UploadId) -> Option<UploadDelta> {
        self.read().uploads.get(&id).cloned()
    }

    /// What changed about every changed upload, without its parts.
    pub(super) fn uploads(&self) -> Vec<(UploadId, UploadDelta)> {
        self.read().uploads.iter().map(|(id, delta)| (*id, delta.without_parts())).collect()
    }

    /// The index shows these entries now: forgets each unless a later change took its place.
    pub(super) fn remove(&self, applied: &[Arc<Stored>]) {
        for run in applied.chunks(REMOVE_RUN) {
            let keys: Vec<_> = run.iter().map(|stored| (key_of(stored), stored)).collect();
            let mut state = self.write();
            for (key, stored) in keys {
                state.remove(key.as_deref(), stored);
            }
        }
        let mut signal = self.signal();
        if let Some(last) = applied.last() {
            signal.applied = last.position.offset + 1;
        }
        let bytes: u64 = applied.iter().map(|s| u64::from(s.charge)).sum();
        signal.bytes = signal.bytes.saturating_sub(bytes);
    }

    fn signal(&self) -> MutexGuard<'_, Signal> {
        self.signal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something waits for the index, the time is over, or the store stops. True if something
    /// waits.
    pub(super) fn wait_for_any(&self, time: Duration) -> bool {
        let idle = |s: &mut Signal| !s.stop && s.waiting() == 0;
        let waited = self.wake.wait_timeout_while(self.signal(), time, idle);
        waited.unwrap_or_else(PoisonError::into_inner).0.waiting() > 0
    }

    /// Waits until a full batch waits for the index, the time is over, or the store stops.
    pub(super) fn wait_for_batch(&self, time: Duration) {
        let short = |s: &mut Signal| !s.stop && !s.is_full();
        drop(self.wake.wait_timeout_while(self.signal(), time, short));
    }

    /// Waits for the time to be over or the store to stop. True if it stops.
    pub(super) fn pause(&self, time: Duration) -> bool {
        let waited = self.wake.wait_timeout_while(self.signal(), time, |s| !s.stop);
        waited.unwrap_or_else(PoisonError::into_inner).0.stop
    }

    /// How much may wait for the index, in bytes of the overlay's budget.
    pub(super) fn set_budget(&self, bytes: u64) {
        self.signal().set_budget(bytes);
    }

    /// Tells the index thread to stop.
    pub(super) fn stop(&self) {
        self.signal().stop = true;
        self.wake.notify_all();
    }

    /// True once the store stops.
    pub(super) fn stopping(&self) -> bool {
        self.signal().stop
    }
}

impl State {
    fn remove(&mut self, key: Option<&[u8]>, stored: &Stored) {
        let offset = stored.position.offset;
        if let Some(id) = upload_of(&stored.entry.change)
            && self.uploads.get_mut(&id).is_some_and(|delta| delta.forget(stored))
        {
            self.uploads.remove(&id);
        }
        if let Some(key) = key {
            if self.objects.get_mut(key).is_some_and(|pending| pending.forget(offset)) {
                self.objects.remove(key);
            }
        } else if let Some(name) = bucket_of(&stored.entry.change) {
            if self.buckets.get(name).is_some_and(|delta| delta.offset <= offset) {
                self.buckets.remove(name);
            }
        } else if let Some(target) = target_of(&stored.entry.change)
            && self.targets.get(&target).is_some_and(|delta| delta.offset <= offset)
        {
            self.targets.remove(&target);
        }
        self.tags.forget(stored);
        self.restores.forget(stored);
    }
}

impl Publish for Overlay {
    fn publish(&self, batch: &[Arc<Stored>]) {
        // Keys are built before the lock: readers wait for the insertions only.
        let keys: Vec<_> = batch.iter().map(|stored| key_of(stored)).collect();
        let mut state = self.write();
        let mut bucket_changed = false;
        for (key, stored) in keys.into_iter().zip(batch) {
            if let Some(id) = upload_of(&stored.entry.change) {
                state.uploads.entry(id).or_default().add(stored);
            }
            if let Some(key) = key {
                match state.objects.entry(key) {
                    Entry::Vacant(free) => drop(free.insert(Pending::new(stored))),
                    Entry::Occupied(mut pending) => pending.get_mut().add(stored),
                }
            } else if let Some(name) = bucket_of(&stored.entry.change) {
                state.buckets.entry(name.clone()).or_default().add(stored);
                bucket_changed = true;
            } else if let Some(target) = target_of(&stored.entry.change) {
                state.targets.entry(target).or_default().add(stored);
            } else if state.tags.add(stored) {
                self.tagged.note();
            } else if state.restores.add(stored) {
                self.restored.note();
            }
        }
        drop(state);
        if bucket_changed {
            self.known_buckets.changed();
        }
        let Some(last) = batch.last() else { return };
        let mut signal = self.signal();
        let (was_idle, was_full) = (signal.waiting() == 0, signal.is_full());
        signal.published = last.position.offset + 1;
        signal.bytes += batch.iter().map(|s| u64::from(s.charge)).sum::<u64>();
        if was_idle || (!was_full && signal.is_full()) {
            drop(signal);
            self.wake.notify_all();
        }
    }
}
