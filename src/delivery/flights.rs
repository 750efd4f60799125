//! The batches that are out, and when they are late.
//!
//! Must never hold a message: it knows when each batch left and how much of it is not answered.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Batches that are out, oldest first: all attempts may take equally long, so that one deadline is enough.
#[derive(Debug, Default)]
pub(super) struct Flights {
    first: u64,
    out: VecDeque<Flight>,
}

#[derive(Debug)]
struct Flight {
    sent_at: Instant,
    outstanding: usize,
}

impl Flights {
    /// The number that the next batch will have.
    pub(super) fn next(&self) -> u64 {
        self.first + self.out.len() as u64
    }

    /// A batch of so many messages leaves.
    pub(super) fn leave(&mut self, messages: usize, now: Instant) {
        self.out.push_back(Flight { sent_at: now, outstanding: messages });
    }

    /// One message of a batch was answered; returns when it left.
    pub(super) fn answered(&mut self, flight: u64) -> Option<Instant> {
        let at = self.out.get_mut(usize::try_from(flight.checked_sub(self.first)?).ok()?)?;
        let sent_at = at.sent_at;
        at.outstanding = at.outstanding.saturating_sub(1);
        while self.out.front().is_some_and(|f| f.outstanding == 0) {
            self.out.pop_front();
            self.first += 1;
        }
        Some(sent_at)
    }

    /// Forgets all batches: their connection is gone.
    pub(super) fn clear(&mut self) {
        self.first += self.out.len() as u64;
        self.out.clear();
    }

    /// When the oldest batch is late.
    pub(super) fn deadline(&self, bound: Duration) -> Option<Instant> {
        self.out.front().map(|f| f.sent_at + bound)
    }

    /// The number above the batches that are late now, if any is.
    pub(super) fn late(&self, now: Instant, bound: Duration) -> Option<u64> {
        let late = self.out.iter().take_while(|f| f.sent_at + bound <= now).count();
        (late > 0).then_some(self.first + late as u64)
    }
}
