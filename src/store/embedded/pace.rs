//! When the index makes a checkpoint: by time, by the log that a restart would have to read again, and by how
//! many entries it would have to apply.
//!
//! Must never be bound by time alone: at full speed ten seconds of entries are longer to apply again than a
//! restart may take.

use std::time::{Duration, Instant};

/// What only tests choose.
pub(super) struct Tuning {
    pub(super) pack_bytes: u64,
    pub(super) linger: Duration,
}

/// Log segments with something that no checkpoint covers, after which one is made.
const SEGMENTS: usize = 16;
/// Entries applied since the last checkpoint after which one is made. A restart applies 70,000 to 100,000 of
/// them a second, into an index of a million rows.
const ENTRIES: u64 = 65_536;

/// The index thread's times.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// How long a batch that is not full waits for more.
    pub(super) linger: Duration,
    /// From one checkpoint to the next.
    pub(super) checkpoint: Duration,
    /// Bytes a second that may be moved out of packs that are mostly dead.
    pub(super) reclaim_rate: u64,
}

/// What happened since the last checkpoint.
#[derive(Debug)]
pub(super) struct Pace {
    interval: Duration,
    last: Instant,
    entries: u64,
}

impl Pace {
    /// Nothing was applied yet.
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, last: Instant::now(), entries: 0 }
    }

    /// So many entries were applied.
    pub(super) fn applied(&mut self, entries: usize) {
        self.entries += entries as u64;
    }

    /// How long until the interval is over.
    pub(super) fn patience(&self) -> Duration {
        self.interval.saturating_sub(self.last.elapsed())
    }

    /// True if a checkpoint does not wait any longer. `segments` hold something that none covers.
    pub(super) fn is_due(&self, segments: usize) -> bool {
        self.patience().is_zero() || self.entries >= ENTRIES || segments > SEGMENTS
    }

    /// A checkpoint was made.
    pub(super) fn checkpointed(&mut self) {
        (self.last, self.entries) = (Instant::now(), 0);
    }
}

/// Bounds how many bytes a second something costs.
#[derive(Debug)]
pub(super) struct Throttle {
    /// Bytes a second; 0: nothing is done at all.
    rate: u64,
    not_before: Instant,
}

impl Throttle {
    /// Free to begin.
    pub(super) fn new(rate: u64) -> Self {
        Self { rate, not_before: Instant::now() }
    }

    /// How long until more may be done; none if nothing ever is.
    pub(super) fn patience(&self) -> Option<Duration> {
        (self.rate != 0).then(|| self.not_before.saturating_duration_since(Instant::now()))
    }

    /// So many bytes were spent just now. What was not spent before is not saved up.
    pub(super) fn spend(&mut self, bytes: u64) {
        let from = self.not_before.max(Instant::now());
        self.not_before = from + Duration::from_micros(bytes.saturating_mul(1_000_000) / self.rate.max(1));
    }

    /// Nothing more for so long.
    pub(super) fn pause(&mut self, time: Duration) {
        self.not_before = Instant::now() + time;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_entries_and_segments_each_make_a_checkpoint_due() {
        let mut pace = Pace::new(Duration::from_secs(3_600));
        assert!(!pace.is_due(SEGMENTS), "nothing happened");
        assert!(pace.is_due(SEGMENTS + 1), "by the log");
        pace.applied(ENTRIES as usize - 1);
        assert!(!pace.is_due(1));
        pace.applied(1);
        assert!(pace.is_due(1), "by entries");
        pace.checkpointed();
        assert!(!pace.is_due(1), "counted anew");
        assert!(Pace::new(Duration::ZERO).is_due(0), "by time");
    }
}
