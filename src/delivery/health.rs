//! Whether a target takes events: open, or closed (Down, Faulted) with one probe at a time.
//!
//! Must never know keys' queues or timers: it is told what happened and says what may be sent.

use tokio::time::Instant;

use super::{Backoff, DOWN_AFTER_KEYS, TargetState};

/// What the lane knows about the far side as a whole.
#[derive(Debug, Default)]
pub(super) struct Health {
    closed: Option<Closed>,
    /// Distinct keys that failed since the last success, by hash; at most [`DOWN_AFTER_KEYS`].
    streak: Vec<u64>,
}

/// The target takes nothing: everything waits for one successful probe.
#[derive(Debug)]
pub(super) struct Closed {
    /// True if only a person can mend it.
    pub(super) faulted: bool,
    /// Probes that failed in a row.
    failures: u32,
    /// No probe before this moment.
    pub(super) probe_at: Instant,
    /// The slot of the probe that is out.
    probe: Option<u64>,
}

impl Health {
    /// The state to show when the connection is up.
    pub(super) fn state(&self) -> TargetState {
        match &self.closed {
            None => TargetState::Up,
            Some(Closed { faulted: true, .. }) => TargetState::Faulted,
            Some(_) => TargetState::Down,
        }
    }

    /// The target's closure, if it is closed.
    pub(super) fn closed(&self) -> Option<&Closed> {
        self.closed.as_ref()
    }

    /// True if the target is closed.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.is_some()
    }

    /// A success: the streak ends. True if the target was closed and is open now.
    pub(super) fn succeeded(&mut self) -> bool {
        self.streak.clear();
        self.closed.take().is_some()
    }

    /// One key failed. If that put the target Down, returns the keys that failed, by hash.
    pub(super) fn key_failed(&mut self, hash: u64, probe_at: Instant) -> Option<Vec<u64>> {
        if self.is_closed() || self.streak.contains(&hash) {
            return None;
        }
        self.streak.push(hash);
        if self.streak.len() < DOWN_AFTER_KEYS {
            return None;
        }
        let streak = std::mem::take(&mut self.streak);
        self.close(false, probe_at);
        Some(streak)
    }

    /// The far side as a whole takes nothing. Keeps a probe that is out and the pace reached so far.
    pub(super) fn close(&mut self, faulted: bool, probe_at: Instant) {
        self.streak.clear();
        match &mut self.closed {
            Some(closed) => closed.faulted = faulted,
            None => self.closed = Some(Closed { faulted, failures: 1, probe_at, probe: None }),
        }
    }

    /// A probe left.
    pub(super) fn probing(&mut self, slot: u64) {
        if let Some(closed) = &mut self.closed {
            debug_assert!(closed.probe.is_none(), "two probes out");
            closed.probe = Some(slot);
        }
    }

    /// The attempt in `slot` did not succeed. If it was the probe, the next one waits for the pace's next
    /// step. True if it was the probe.
    pub(super) fn probe_failed(
        &mut self,
        slot: u64,
        now: Instant,
        pace: &Backoff,
        rng: &mut fastrand::Rng,
    ) -> bool {
        match &mut self.closed {
            Some(closed) if closed.probe == Some(slot) => {
                closed.probe = None;
                closed.failures = closed.failures.saturating_add(1);
                closed.probe_at = now + pace.delay(closed.failures, rng);
                true
            }
            _ => false,
        }
    }

    /// The probe has no verdict (it was throttled): the next one may leave at once, as far as this goes.
    pub(super) fn probe_undecided(&mut self, slot: u64) {
        if let Some(closed) = &mut self.closed
            && closed.probe == Some(slot)
        {
            closed.probe = None;
        }
    }

    /// A fresh connection, or an operator: try now.
    pub(super) fn probe_now(&mut self, now: Instant) {
        if let Some(closed) = &mut self.closed {
            closed.probe_at = closed.probe_at.min(now);
        }
    }
}
