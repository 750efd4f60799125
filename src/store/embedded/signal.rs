//! What the index thread waits for.
//!
//! Must never let it sleep while the overlay fills.

/// Waiting entries that wake the index thread before its waiting time is over …
const WAKE_ENTRIES: u64 = 4096;
/// … and waiting bytes (of the overlay's budget), or a quarter of that budget if it is less.
const WAKE_BYTES: u64 = 8 << 20;

#[derive(Default)]
pub(super) struct Signal {
    /// One above the last published offset.
    pub(super) published: u64,
    /// One above the last offset that the index shows.
    pub(super) applied: u64,
    /// Budget bytes published and not applied: only a hint.
    pub(super) bytes: u64,
    /// So many of them wake the index thread; 0 before it runs.
    wake_bytes: u64,
    pub(super) stop: bool,
}

impl Signal {
    pub(super) fn waiting(&self) -> u64 {
        self.published.saturating_sub(self.applied)
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting() >= WAKE_ENTRIES || self.bytes >= self.wake_bytes
    }

    /// The index thread is woken before so many bytes wait, or changes would wait for its waiting time to be
    /// over.
    pub(super) fn set_budget(&mut self, bytes: u64) {
        self.wake_bytes = WAKE_BYTES.min(bytes / 4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_thread_wakes_long_before_a_small_overlay_is_full() {
        let mut signal = Signal { published: 2, applied: 1, ..Signal::default() };
        for (budget, enough) in [(1 << 20, 256 << 10), (1 << 30, WAKE_BYTES)] {
            signal.set_budget(budget);
            signal.bytes = enough - 1;
            assert!(!signal.is_full(), "of {budget}");
            signal.bytes = enough;
            assert!(signal.is_full(), "of {budget}");
        }
    }
}
