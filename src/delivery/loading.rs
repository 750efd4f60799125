//! Entries that a lane keeps without their content: what it finds at its start, and reading them again.
//!
//! One read at a time, beside the read of what is new, since a stuck key must not wait behind a target that
//! is idle. Must never let anything new be sent before every hole of the row is known.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::time::Instant;

use super::lane::Lane;
use super::{MAX_IN_FLIGHT, TAKE};
use crate::fail;
use crate::queue::{Column, Hole, Lookup, ReadError, Reader, Stored};

/// Entries being read again.
type Coming = Pin<Box<dyn Future<Output = Result<Vec<Arc<Stored>>, ReadError>> + Send>>;

/// How a lane reads entries again.
pub(super) struct Loading {
    lookup: Arc<dyn Lookup>,
    coming: Option<Coming>,
    failures: u32,
    /// What a deliberate fault forgets at first.
    late: Vec<Hole>,
    /// Nothing is read before this moment, after a failure.
    pub(super) at: Option<Instant>,
}

impl Loading {
    pub(super) fn new(reader: &dyn Reader) -> Self {
        Self { lookup: reader.lookup(), coming: None, failures: 0, late: Vec::new(), at: None }
    }

    /// True while a read is under way.
    pub(super) fn is_coming(&self) -> bool {
        self.coming.is_some()
    }

    /// Nobody waits for what is being read any more.
    pub(super) fn forget(&mut self) {
        self.coming = None;
    }

    /// Waits for the read that is under way; for ever without one. Cancel safe: it goes on with the next
    /// call.
    pub(super) async fn came(&mut self) -> Result<Vec<Arc<Stored>>, ReadError> {
        let Some(coming) = &mut self.coming else { return std::future::pending().await };
        let came = coming.await;
        self.coming = None;
        came
    }
}

impl Lane {
    /// Takes over every hole that the row says, by where it is and the hash of its key.
    pub(super) fn restore(&mut self, reader: &mut dyn Reader) {
        let holes = reader.take_holes();
        if fail::mutant("hole-hashes-late") {
            self.loading.late = holes;
        } else {
            self.restore_all(holes);
        }
    }

    fn restore_all(&mut self, holes: Vec<Hole>) {
        for hole in holes {
            self.keys.restore(hole.offset, hole.key);
        }
    }

    /// Takes an entry: who gets it was decided when its change was made. A deliberate fault asks again.
    pub(super) fn take_one(&mut self, stored: Arc<Stored>, now: Instant) {
        if fail::mutant("rules-matched-at-delivery") {
            let rule = stored.rule_for(self.number);
            if !self.target.rules.iter().any(|today| Some(&today.name) == rule) {
                self.settled.push((stored.position.offset, Column::Delivered));
                self.settle_by.get_or_insert(now);
                return;
            }
        }
        self.keys.take(stored);
    }

    /// Something new was taken: a deliberate fault remembers only now what was there before.
    pub(super) fn restore_late(&mut self) {
        let late = std::mem::take(&mut self.loading.late);
        self.restore_all(late);
    }

    /// Begins to read entries whose turn has come, if there are some and none is being read.
    pub(super) fn begin_loading(&mut self) {
        let loading = &mut self.loading;
        if loading.is_coming() || loading.at.is_some() || !self.keys.has_absent() {
            return;
        }
        if self.paused || self.stop_by.is_some() || !self.readable || self.rewinding {
            return;
        }
        let most = self.target.limits.max_in_flight.clamp(1, MAX_IN_FLIGHT);
        let waiting = self.keys.in_memory() - self.keys.stuck_in_memory();
        let offsets = self.keys.wanted(most.saturating_sub(waiting).min(TAKE));
        if !offsets.is_empty() {
            let lookup = Arc::clone(&loading.lookup);
            loading.coming = Some(Box::pin(async move { lookup.read(&offsets).await }));
        }
    }

    /// What such a read gave, or why it gave nothing.
    pub(super) fn take_loaded(&mut self, came: Result<Vec<Arc<Stored>>, ReadError>, now: Instant) {
        let error = match came {
            Ok(entries) => {
                (self.loading.failures, self.view.lookup_error) = (0, None);
                return self.keys.came(entries);
            }
            Err(error) => error,
        };
        let target_name = self.shared.name();
        if let ReadError::Corrupt { .. } = error {
            // Only the key that it belongs to waits for an operator.
            let due = now + self.pace.slow(&mut self.rng);
            self.keys.unreadable(due);
            tracing::error!(target_name, %error, "an entry cannot be read again; its key is held");
        } else {
            self.keys.did_not_come();
            self.loading.failures = self.loading.failures.saturating_add(1);
            self.loading.at = Some(now + self.pace.delay(self.loading.failures, &mut self.rng));
            tracing::error!(target_name, %error, "entries cannot be read again; trying again");
        }
        self.view.lookup_error = Some(error.to_string().into());
    }
}
