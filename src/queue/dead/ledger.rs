//! The books behind the dead letters: what is settled because of them.
//!
//! Must never be told of a letter before it is durable.

use std::sync::{Arc, Weak};

use super::Gone;
use crate::queue::embedded::Inner;
use crate::queue::progress::{Column, Progress};

/// Who keeps the books. Called by the worker, one call at a time.
pub trait Ledger: Send + Sync {
    /// These letters are durable: their entries are settled.
    fn buried(&self, offsets: &[u64]);
    /// So many letters are none any more, durably.
    fn gone(&self, count: u64, how: Gone);
    /// An operator accepted that so many letters are lost, durably.
    fn lost(&self, count: u64);
    /// True if the synced row will never ask for this offset again: its mark may be forgotten.
    fn has_passed(&self, offset: u64) -> bool;
    /// Nobody can go back below this offset any more: the log does not have all of it. A mark is kept at and
    /// above it, or a replay of the target would give what was purged.
    fn reach(&self) -> u64 {
        u64::MAX
    }
}

/// The books of one reader of the embedded queue.
pub(in crate::queue) struct ReaderLedger {
    pub(in crate::queue) progress: Arc<Progress>,
    pub(in crate::queue) inner: Weak<Inner>,
}

impl Ledger for ReaderLedger {
    fn buried(&self, offsets: &[u64]) {
        let settled: Vec<_> = offsets.iter().map(|offset| (*offset, Column::DeadLettered)).collect();
        self.progress.settle(&settled);
    }

    fn gone(&self, count: u64, how: Gone) {
        self.progress.dead_letters_gone(count, how);
    }

    fn lost(&self, count: u64) {
        self.progress.dead_letters_lost(count);
    }

    fn reach(&self) -> u64 {
        self.inner.upgrade().map_or(0, |inner| inner.journal.whole_from())
    }

    fn has_passed(&self, offset: u64) -> bool {
        self.inner.upgrade().is_some_and(|inner| inner.synced_past(self.progress.target, offset))
    }
}
