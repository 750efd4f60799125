//! What a reader's progress knows of its dead letters: columns of the books, and offsets to pass over.
//!
//! Must never count a letter in two columns, nor write one into a row whose position has not reached it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::dead::{DeadLetters, Gone, Joined};
use super::embedded::{EmbeddedQueue, Inner};
use super::entry::{Stored, TargetNo};
use super::progress::{Progress, State, Totals};
use crate::journal::Total;

impl Progress {
    /// The same with its dead letters, before anybody else knows it.
    pub(super) fn with_dead(self, joined: &Joined) -> Self {
        let mut state = self.state();
        (state.dead, state.ahead) = (joined.counts, joined.ahead.clone());
        let Total { count, bytes } = state.total_ahead();
        let t = &mut state.totals;
        (t.taken, t.dead_lettered) = (t.taken + count, t.dead_lettered + count);
        (t.taken_bytes, t.settled_bytes) = (t.taken_bytes + bytes, t.settled_bytes + bytes);
        // Where damage hides records from the count, letters that were among them know better.
        self.matched.fetch_max(t.taken, Ordering::AcqRel);
        drop(state);
        self.budget.give_back(bytes);
        self
    }

    /// So many dead letters are none any more.
    pub(super) fn dead_letters_gone(&self, count: u64, how: Gone) {
        let mut state = self.state();
        let dead = &mut state.dead;
        dead.dead -= count.min(dead.dead);
        match how {
            Gone::Purged => dead.purged += count,
            Gone::Replayed => dead.replayed += count,
        }
    }

    /// An operator accepted that so many dead letters are lost.
    pub(super) fn dead_letters_lost(&self, count: u64) {
        self.state().dead.lost += count;
    }
}

impl State {
    /// Leaves out what is a dead letter, and was counted as taken when the log was opened.
    pub(super) fn leave_out_dead(&self, taken: &mut Vec<Arc<Stored>>) {
        if !self.ahead.is_empty() {
            taken.retain(|stored| !self.ahead.contains_key(&stored.position.offset));
        }
    }

    /// The totals of a row with this position: what lies ahead of it is not taken for a row.
    pub(super) fn totals_below(&mut self, position: u64) -> Totals {
        self.ahead = self.ahead.split_off(&position);
        let (mut t, Total { count, bytes }) = (self.totals, self.total_ahead());
        (t.taken, t.dead_lettered) = (t.taken - count, t.dead_lettered - count);
        (t.taken_bytes, t.settled_bytes) = (t.taken_bytes - bytes, t.settled_bytes - bytes);
        t
    }

    fn total_ahead(&self) -> Total {
        let bytes = self.ahead.values().map(|bytes| u64::from(*bytes)).sum();
        Total { count: self.ahead.len() as u64, bytes }
    }
}

impl EmbeddedQueue {
    /// The dead letters of a target that was added.
    pub fn dead_letters(&self, target: TargetNo) -> Option<DeadLetters> {
        self.inner.dead_letters(target)
    }
}

impl Inner {
    pub(super) fn dead_letters(&self, target: TargetNo) -> Option<DeadLetters> {
        self.dead.lock().unwrap_or_else(PoisonError::into_inner).get(&target).cloned()
    }

    pub(super) fn take_dead_letters(&self, target: TargetNo) -> Option<DeadLetters> {
        self.dead.lock().unwrap_or_else(PoisonError::into_inner).remove(&target)
    }
}
