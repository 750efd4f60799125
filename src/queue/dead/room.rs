//! The byte bound: which letters there is room for, and what is said when there is none.
//!
//! Must never drop a letter: it waits, and the target with it.

use std::sync::atomic::Ordering;

use super::record::{self, BATCH_BYTES};
use super::worker::Batch;
use super::{Blocked, News, Shared, State};

impl Shared {
    /// Adds the letters that there is room for.
    pub(super) fn bury_some(&self, state: &mut State, batch: &mut Batch) {
        let max = self.max_bytes.load(Ordering::Relaxed);
        let before = batch.records.len();
        let damaged = matches!(state.blocked, Some(Blocked::Damaged(_)));
        let mut full = false;
        while !damaged && batch.records.len() < BATCH_BYTES {
            let Some(letter) = state.burials.pop_front() else { break };
            if state.index.letters.contains_key(&letter.position.offset) {
                // Settled when it was written.
                state.news.push(News::Buried(letter.position.offset));
                self.arrived.notify_one();
                continue;
            }
            let at = batch.records.len();
            record::put_letter(&letter, &mut batch.records);
            let bytes = state.index.bytes + (batch.records.len() - before) as u64;
            if bytes > max && (state.index.bytes > 0 || at > before) {
                batch.records.truncate(at);
                state.burials.push_front(letter);
                full = true;
                break;
            }
            batch.burials.push(letter);
        }
        if full && !matches!(state.blocked, Some(Blocked::Full(_))) {
            let text = format!(
                "the dead letters have reached dead_letters_max_bytes ({max} bytes): nothing is delivered \
                 until some are purged or replayed (`tidings dlq`), or the bound is raised"
            );
            tracing::error!(target = self.target.0, "{text}");
            self.set_blocked(state, Some(Blocked::Full(text.into())));
        } else if !full && matches!(state.blocked, Some(Blocked::Full(_))) {
            tracing::info!(target = self.target.0, "there is room for dead letters again");
            self.set_blocked(state, None);
        }
    }

    pub(super) fn set_blocked(&self, state: &mut State, blocked: Option<Blocked>) {
        state.blocked = blocked;
        self.arrived.notify_one();
    }
}
