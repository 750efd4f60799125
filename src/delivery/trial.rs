//! Whose fault rejections are: the events', or the target's.
//!
//! A bad deploy answers 400 to everything. So a rejected entry is not believed at once: it waits until the
//! target took an event after it, with no more than half of the latest keys rejected, or until nothing else
//! was heard for a while. More than half of 100 distinct keys rejected is a storm, a fault of the target,
//! and so are as many in a row as put it Down; then nothing that waits is a dead letter. After a storm,
//! whatever was rejected in it is heard again only once it is plainly over: at most a quarter of the latest
//! keys. What is unclear for too long by then is a fault again. What remains: of a storm slower than the
//! patience, fewer entries than put the target Down, between two successes.
//!
//! Must never hold an entry: it counts keys.

use std::collections::VecDeque;

/// So many distinct keys, the latest ones, are looked at.
const KEYS: usize = 100;
/// Fewer say nothing.
const LEAST: usize = 10;

/// What became of the latest keys. It costs nothing while nothing is rejected.
#[derive(Debug, Default)]
pub(super) struct Trial {
    /// Keys by hash, and whether their latest entry was rejected, oldest first.
    latest: VecDeque<(u64, bool)>,
    rejected: usize,
    successes: u64,
    /// Rejections since the last success.
    in_a_row: usize,
    /// There was a storm, and it is not plainly over.
    aftermath: bool,
}

impl Trial {
    /// An entry of this key was delivered.
    pub(super) fn delivered(&mut self, hash: u64) {
        self.successes += 1;
        self.in_a_row = 0;
        if self.rejected > 0 {
            self.note(hash, false);
        }
    }

    /// An entry of this key was rejected.
    pub(super) fn rejected(&mut self, hash: u64) {
        self.in_a_row += 1;
        self.note(hash, true);
    }

    /// The target was closed. True if that is a storm: at least half of what closed it were rejections.
    pub(super) fn closed_after(&mut self, failures: usize) -> bool {
        let storm = self.in_a_row * 2 >= failures;
        self.aftermath |= storm;
        storm
    }

    /// A number that rises with every success.
    pub(super) fn successes(&self) -> u64 {
        self.successes
    }

    /// True if the target takes enough of the latest keys for a rejection to be the event's own.
    pub(super) fn blames_events(&self) -> bool {
        let share = if self.aftermath { 4 } else { 2 };
        self.rejected * share <= self.latest.len()
    }

    /// True if enough is known for that.
    pub(super) fn knows_enough(&self) -> bool {
        self.latest.len() >= LEAST
    }

    /// True if nothing may be believed without enough of both: there is a storm, or was one.
    pub(super) fn is_open(&self) -> bool {
        self.aftermath || self.is_storm()
    }

    /// True if it is a fault of the target.
    pub(super) fn is_storm(&self) -> bool {
        self.latest.len() >= KEYS && self.rejected * 2 > self.latest.len()
    }

    fn note(&mut self, hash: u64, rejected: bool) {
        if let Some(at) = self.latest.iter().position(|(known, _)| *known == hash) {
            self.forget(at);
        } else if self.latest.len() == KEYS {
            self.forget(0);
        }
        self.latest.push_back((hash, rejected));
        self.rejected += usize::from(rejected);
        if self.rejected == 0 {
            self.latest.clear();
        }
        if self.rejected * 4 <= self.latest.len() && (self.latest.is_empty() || self.latest.len() == KEYS) {
            self.aftermath = false;
        }
    }

    fn forget(&mut self, at: usize) {
        if let Some((_, rejected)) = self.latest.remove(at) {
            self.rejected -= usize::from(rejected);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_half_of_a_hundred_distinct_keys_is_a_storm() {
        let mut trial = Trial::default();
        for n in 0..49 {
            trial.rejected(n);
            trial.rejected(n);
            trial.delivered(1_000 + n);
        }
        assert!(trial.blames_events() && !trial.is_storm(), "half is not more than half");
        trial.rejected(2_000);
        assert!(!trial.blames_events() && !trial.is_storm(), "99 keys");
        trial.rejected(2_001);
        assert!(trial.is_storm() && trial.closed_after(2));
        trial.delivered(2_001);
        trial.delivered(2_002);
        assert!(!trial.is_storm(), "a key counts by its latest entry");
        for n in 0..40 {
            trial.delivered(5_000 + n);
        }
        assert!(!trial.blames_events(), "after a storm, a third is too many");
        for n in 0..200 {
            trial.delivered(5_000 + n);
        }
        assert!(trial.latest.is_empty(), "nothing is kept while nothing is rejected");
        assert!(trial.blames_events() && !trial.closed_after(16));
    }
}
