//! The store's own reader: everything, with inline bodies, and the overlay budget that it gives back.
//!
//! Must never forget what an entry owes, wherever it was read from: budget that nobody gives back is gone
//! until a restart.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::embedded::{Inner, Item};
use super::entry::Stored;
use super::read::read_log;
use super::tail::Found;
use super::{Feed, ReadError};
use crate::journal::LogReader;

/// Budget of durable entries that the store has not taken yet, by offset: an entry read from disk does not
/// know its own.
#[derive(Default)]
pub(super) struct Charges(Mutex<VecDeque<(u64, u32)>>);

impl Charges {
    pub(super) fn push(&self, batch: &[Arc<Stored>]) {
        let mut charges = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        charges.extend(batch.iter().filter(|s| s.charge > 0).map(|s| (s.position.offset, s.charge)));
    }

    /// Forgets what these entries owe; those that were read from disk get to know it.
    fn settle(&self, entries: &mut [Arc<Stored>]) {
        let mut charges = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for stored in entries {
            let offset = stored.position.offset;
            while charges.front().is_some_and(|(at, _)| *at < offset) {
                charges.pop_front();
            }
            if charges.front().is_none_or(|(at, _)| *at != offset) {
                continue;
            }
            if let (Some((_, charge)), Some(read)) = (charges.pop_front(), Arc::get_mut(stored)) {
                read.charge = charge;
            }
        }
    }
}

/// The store's own reader.
pub(super) struct EmbeddedFeed {
    inner: Arc<Inner>,
    log: LogReader<Item>,
    next: u64,
}

impl EmbeddedFeed {
    pub(super) fn new(inner: Arc<Inner>, from: u64) -> Self {
        let log = inner.journal.reader(from);
        Self { inner, log, next: from }
    }
}

impl Feed for EmbeddedFeed {
    fn next(&mut self, max: usize, wait: Duration) -> Result<Vec<Arc<Stored>>, ReadError> {
        self.log.seek(self.next);
        if !self.log.wait(wait) {
            return if self.log.ended() { Err(ReadError::Closed) } else { Ok(Vec::new()) };
        }
        let mut found = match self.inner.tail.from(self.next, max) {
            Found::Entries(found) => found,
            Found::Nothing => Vec::new(),
            Found::Older => {
                let read = read_log(&mut self.log, max, true)?;
                self.next = read.next;
                read.entries
            }
        };
        if let Some(last) = found.last() {
            self.next = last.position.offset + 1;
            self.inner.charges.settle(&mut found);
        }
        Ok(found)
    }

    fn seek(&mut self, next: u64) {
        self.next = next;
    }

    fn durable_end(&self) -> u64 {
        self.log.durable_end()
    }

    fn applied(&self, charge: u64) {
        self.inner.overlay.add_permits(usize::try_from(charge).unwrap_or(0));
    }

    fn overlay_bytes(&self) -> u64 {
        self.inner.overlay_bytes()
    }

    fn segments_from(&self, next: u64) -> usize {
        self.inner.journal.segments_from(next)
    }

    fn checkpointed(&self, next: u64) {
        self.inner.checkpoint.fetch_max(next, Ordering::AcqRel);
        self.inner.raise_floor();
    }
}
