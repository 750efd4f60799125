//! Answers in groups, for the observer.
//!
//! Must never keep a group from one look at the answers to the next.

use std::sync::Arc;
use std::time::Duration;

use tidings_connector::Outcome;

use super::Observer;

/// Groups what is alike before the observer hears of it: a batch leaves at one moment, and much of it comes
/// back at another.
pub(super) struct Tally {
    observer: Arc<dyn Observer>,
    attempts: (Duration, u64),
    end_to_end: (Duration, u64),
}

impl Tally {
    pub(super) fn new(observer: Arc<dyn Observer>) -> Self {
        Self { observer, attempts: (Duration::ZERO, 0), end_to_end: (Duration::ZERO, 0) }
    }

    pub(super) fn attempt(&mut self, outcome: &Outcome, took: Duration) {
        if *outcome != Outcome::Delivered {
            return self.observer.attempts(outcome, took, 1);
        }
        if took != self.attempts.0 {
            self.tell_attempts();
            self.attempts.0 = took;
        }
        self.attempts.1 += 1;
    }

    pub(super) fn delivered(&mut self, took: Duration) {
        if took != self.end_to_end.0 {
            self.tell_end_to_end();
            self.end_to_end.0 = took;
        }
        self.end_to_end.1 += 1;
    }

    fn tell_attempts(&mut self) {
        if self.attempts.1 > 0 {
            self.observer.attempts(&Outcome::Delivered, self.attempts.0, self.attempts.1);
            self.attempts.1 = 0;
        }
    }

    fn tell_end_to_end(&mut self) {
        if self.end_to_end.1 > 0 {
            self.observer.end_to_end(self.end_to_end.0, self.end_to_end.1);
            self.end_to_end.1 = 0;
        }
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.tell_attempts();
        self.tell_end_to_end();
    }
}
