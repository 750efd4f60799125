//! A rate limit that costs one comparison per batch: the moment at which the next event would be due at a
//! steady pace.
//!
//! Must never hold a timer of its own: the lane asks when to come back.

use std::time::Duration;

use tokio::time::Instant;

/// How far the pace may run ahead: a tenth of a second's events may leave at once.
const BURST: Duration = Duration::from_millis(100);

/// At most so many events per second, in bursts of at most a tenth of a second's events (at least one event).
#[derive(Debug)]
pub(super) struct Rate {
    per_event: Duration,
    burst: Duration,
    /// When the next event would be due if all so far had left at a steady pace.
    due: Option<Instant>,
}

impl Rate {
    /// `per_second` of 0 is treated as 1: a limit slows down, it never stops.
    pub(super) fn new(per_second: u32) -> Self {
        let per_event = Duration::from_secs(1) / per_second.max(1);
        Self { per_event, burst: BURST.max(per_event), due: None }
    }

    /// How many events may leave now.
    pub(super) fn available(&self, now: Instant) -> usize {
        let ahead = self.due.unwrap_or(now).saturating_duration_since(now);
        let free = self.burst.saturating_sub(ahead).as_nanos() / self.per_event.as_nanos().max(1);
        usize::try_from(free).unwrap_or(usize::MAX)
    }

    /// Counts events that left.
    pub(super) fn spend(&mut self, events: usize, now: Instant) {
        let spent = self.per_event.saturating_mul(u32::try_from(events).unwrap_or(u32::MAX));
        self.due = Some(self.due.unwrap_or(now).max(now) + spent);
    }

    /// When at least one event may leave.
    pub(super) fn next_at(&self, now: Instant) -> Instant {
        let due = self.due.unwrap_or(now);
        (due + self.per_event).checked_sub(self.burst).unwrap_or(now).max(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_its_pace_and_never_stops() {
        for per_second in [1, 7, 1_000, 150_000] {
            let mut rate = Rate::new(per_second);
            let start = Instant::now();
            let (mut now, mut sent) = (start, 0u64);
            while now < start + Duration::from_secs(10) {
                let free = rate.available(now);
                assert!(free > 0, "the promised moment was too early at {per_second}/s");
                rate.spend(free, now);
                sent += free as u64;
                assert!(rate.next_at(now) > now);
                now = rate.next_at(now);
            }
            let exact = u64::from(per_second) * 10;
            // A tenth of a second's burst, and what whole nanoseconds round away.
            assert!(sent >= exact && sent <= exact + exact / 98 + 1, "{per_second}/s gave {sent} in 10 s");
        }
    }
}
