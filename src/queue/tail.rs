//! The newest entries, decoded, for every reader that keeps up.
//!
//! Bounded in bytes. Must never hold anything that is not durable: the writer thread pushes after the sync.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

use super::entry::Stored;

/// What an entry costs in memory beside its body: an estimate that errs on the large side.
const ENTRY_BYTES: usize = 1024;

/// The newest entries in offset order, without gaps.
#[derive(Debug)]
pub(super) struct Tail {
    ring: RwLock<Ring>,
    max_bytes: usize,
}

#[derive(Debug, Default)]
struct Ring {
    entries: VecDeque<Arc<Stored>>,
    bytes: usize,
}

/// What the tail can say about an offset.
pub(super) enum Found {
    /// The entries from there on.
    Entries(Vec<Arc<Stored>>),
    /// Nothing there yet.
    Nothing,
    /// Older than what is kept: read the journal.
    Older,
}

impl Tail {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { ring: RwLock::default(), max_bytes }
    }

    /// Appends a durable batch and lets go of the oldest entries beyond the bound.
    pub(super) fn push(&self, batch: &[Arc<Stored>]) {
        let mut dropped = Vec::new();
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        for stored in batch {
            ring.bytes += ENTRY_BYTES + stored.body.len();
            ring.entries.push_back(Arc::clone(stored));
        }
        while ring.bytes > self.max_bytes {
            let Some(oldest) = ring.entries.pop_front() else { break };
            ring.bytes -= ENTRY_BYTES + oldest.body.len();
            dropped.push(oldest);
        }
        drop(ring);
        // Freed outside the lock.
        drop(dropped);
    }

    /// Those of `offsets`, ascending, that are kept here: all from the first one that is.
    pub(super) fn pick(&self, offsets: &[u64]) -> Vec<Arc<Stored>> {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        let Some(first) = ring.entries.front().map(|s| s.position.offset) else { return Vec::new() };
        let at = |offset: &u64| ring.entries.get((*offset - first) as usize).cloned();
        offsets[offsets.partition_point(|o| *o < first)..].iter().map_while(at).collect()
    }

    /// Up to `max` entries from `offset` on.
    pub(super) fn from(&self, offset: u64, max: usize) -> Found {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        let Some(first) = ring.entries.front().map(|s| s.position.offset) else { return Found::Older };
        if offset < first {
            return Found::Older;
        }
        let at = (offset - first) as usize;
        if at >= ring.entries.len() {
            return Found::Nothing;
        }
        Found::Entries(ring.entries.iter().skip(at).take(max).cloned().collect())
    }
}
