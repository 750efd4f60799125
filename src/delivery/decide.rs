//! One decision per outcome: what becomes of an entry, its key and its target.
//!
//! Must never settle on anything but Delivered of the current attempt, and must never drop an entry; what can
//! never be accepted goes to `letters.rs`.

use std::sync::Arc;
use std::time::Duration;

use tidings_connector::{Cause, ErrorClass, Outcome, Scope, Settlement};
use tokio::time::Instant;

use super::lane::Lane;
use super::slots::SlotRef;
use super::status::{GONE, LastError};
use super::{RETRY_AFTER_CAP, THROTTLE_CAP, THROTTLE_FLOOR};
use crate::fail;
use crate::queue::Column;

/// A held entry that was rejected so often stays so: before that, it may have been rejected with everything
/// else.
const REJECTIONS: u32 = 2;

/// The outcome as it is; a test build can be made to take silence for success.
fn mutated(outcome: Outcome) -> Outcome {
    match &outcome {
        Outcome::Retry { why, .. }
            if why.class == ErrorClass::Unknown && fail::mutant("unknown-as-delivered") =>
        {
            Outcome::Delivered
        }
        _ => outcome,
    }
}

impl Lane {
    /// Takes every answer that arrived and decides on each.
    pub(super) fn take_answers(&mut self, now: Instant) {
        let mut arrived = std::mem::take(&mut self.arrived);
        self.inbox.drain(&mut arrived);
        if !arrived.is_empty() {
            let mut settled = std::mem::take(&mut self.settled);
            self.repeated += self.decide(&mut arrived, &mut settled, now);
            self.settled = settled;
            if !self.settled.is_empty() || self.repeated > 0 {
                self.settle_by.get_or_insert(now + self.patience);
            }
        }
        self.arrived = arrived;
    }

    /// Decides on every answer. Adds what was delivered to `settled`, by offset; returns how many late
    /// answers said that their event arrived, which makes its current attempt a repetition.
    fn decide(
        &mut self,
        arrived: &mut Vec<Settlement>,
        settled: &mut Vec<(u64, Column)>,
        now: Instant,
    ) -> u64 {
        let unix_ms = (self.ambient.unix_ms)();
        let mut repeated = 0;
        for settlement in arrived.drain(..) {
            let (ticket, mut slot) = (settlement.ticket, SlotRef(settlement.ticket.slot));
            let mut late =
                ticket.incarnation != self.incarnation || !self.keys.is_current(slot, ticket.attempt);
            if late && fail::mutant("late-receipt-settles") {
                let there = self.keys.out().into_iter().find(|out| out.index() == slot.index());
                (slot, late) = (there.unwrap_or(slot), there.is_none());
            }
            if late {
                self.view.counters.late_receipts += 1;
                repeated += u64::from(settlement.outcome == Outcome::Delivered);
                continue;
            }
            let (flight, bytes) = self.keys.flight(slot);
            self.bytes_out -= bytes;
            let sent_at = self.flights.answered(flight).unwrap_or(now);
            let counters = &mut self.view.counters;
            counters.attempts.count(&settlement.outcome);
            counters.attempt_seconds.observe_duration(now.saturating_duration_since(sent_at));
            match mutated(settlement.outcome) {
                Outcome::Delivered => {
                    self.letters.trial.delivered(self.keys.hash(slot));
                    let stored = self.keys.delivered(slot);
                    let replay = self.replay_delivered(stored.position.offset);
                    self.letters.forget_appeal(stored.position.offset);
                    let counters = &mut self.view.counters;
                    if !replay && !fail::mutant("progress-before-ack") {
                        settled.push((stored.position.offset, Column::Delivered));
                    }
                    if let Some(event) = stored.entry.event.as_ref().filter(|_| !replay) {
                        let took_ms = unix_ms.saturating_sub(event.time_us / 1_000).max(0);
                        counters
                            .end_to_end_seconds
                            .observe_duration(Duration::from_millis(took_ms.unsigned_abs()));
                    }
                    self.succeeded(unix_ms);
                }
                Outcome::Retry { after, why } => self.retry(slot, after, why, now),
                Outcome::Throttled { until, why } => self.throttle(slot, until.into(), why, now),
                Outcome::Rejected { why } => self.reject(slot, why, now),
                Outcome::Faulted { scope: Scope::Destination, why } => self.destination_fault(slot, why, now),
                Outcome::Faulted { scope: Scope::Target, why } => self.target_fault(slot, why, now),
                Outcome::Faulted { scope: Scope::Gone, why } => self.gone(slot, why, now),
            }
        }
        repeated
    }

    fn succeeded(&mut self, unix_ms: i64) {
        self.connection_failures = 0;
        self.view.last_success_unix_ms = Some(unix_ms);
        if self.health.succeeded() {
            tracing::info!(
                target_name = self.shared.name(),
                "a probe was delivered: the target takes events again"
            );
        }
    }

    /// Only this key waits, unless too many do.
    pub(super) fn retry(&mut self, slot: SlotRef, after: Option<Duration>, why: Cause, now: Instant) {
        let wish = after.unwrap_or_default().min(RETRY_AFTER_CAP);
        if self.is_replay(slot) {
            self.health.probe_failed(slot.0, now, &self.pace, &mut self.rng);
            return self.replay_failed(slot, why, false, now);
        }
        if self.health.is_closed() {
            // This says something about the target, not about the key: the key is tried when the target
            // recovers.
            if self.health.probe_failed(slot.0, now, &self.pace, &mut self.rng) {
                self.health.close(false, now);
            }
            self.keys.delay(slot, now + wish);
        } else {
            let failures = self.keys.failed(slot);
            let wait = self.pace.delay(failures, &mut self.rng).max(wish);
            let hash = self.keys.hash(slot);
            self.keys.delay(slot, now + wait);
            self.count_failure(hash, &why, now);
        }
        self.note(why);
    }

    /// The target is to be left alone for a while; this is no failure.
    fn throttle(&mut self, slot: SlotRef, until: Instant, why: Cause, now: Instant) {
        let until = until.clamp(now + THROTTLE_FLOOR, now + THROTTLE_CAP);
        self.throttled_until = Some(self.throttled_until.map_or(until, |earlier| earlier.max(until)));
        self.health.probe_undecided(slot.0);
        self.keys.put_back(slot);
        self.note(why);
    }

    /// What a template named takes nothing: its keys are held and tried slowly.
    fn destination_fault(&mut self, slot: SlotRef, why: Cause, now: Instant) {
        if self.is_replay(slot) {
            self.health.probe_failed(slot.0, now, &self.pace, &mut self.rng);
            return self.replay_failed(slot, why, false, now);
        }
        if self.health.is_closed() {
            self.health.probe_failed(slot.0, now, &self.pace, &mut self.rng);
            self.keys.delay(slot, now);
        } else {
            let due = now + self.pace.slow(&mut self.rng);
            let hash = self.keys.hash(slot);
            self.hold(slot, Some(due), &why);
            self.count_failure(hash, &why, now);
        }
        self.note(why);
    }

    /// The whole target takes nothing until it is mended.
    fn target_fault(&mut self, slot: SlotRef, why: Cause, now: Instant) {
        self.health.probe_failed(slot.0, now, &self.pace, &mut self.rng);
        self.close(true, &why, now);
        if self.is_replay(slot) {
            return self.replay_failed(slot, why, false, now);
        }
        self.keys.delay(slot, now);
        self.note(why);
    }

    /// The far side asks never to be called again: a fault of the target that only an operator ends.
    fn gone(&mut self, slot: SlotRef, why: Cause, now: Instant) {
        let text = Arc::clone(&why.text);
        self.target_fault(slot, why, now);
        if self.shared.stop_sending() {
            tracing::error!(target_name = self.shared.name(), cause = %text, "{GONE}");
            self.ambient.gone.notify_one();
        }
    }

    /// Counts a key's failure, which may put the target Down. Then what was rejected with all the others
    /// was not to blame: it is tried once more when the target recovers.
    pub(super) fn count_failure(&mut self, hash: u64, why: &Cause, now: Instant) {
        let probe_at = now + self.pace.delay(1, &mut self.rng);
        if let Some(streak) = self.health.key_failed(hash, probe_at) {
            self.letters.storm = self.letters.trial.closed_after(streak.len());
            for hash in streak {
                self.keys.reprieve(hash, REJECTIONS, now);
            }
            self.log_closed(why);
        }
    }

    pub(super) fn close(&mut self, faulted: bool, why: &Cause, now: Instant) {
        if !self.health.is_closed() {
            self.letters.storm = false;
            self.log_closed(why);
        }
        let probe_at = now + self.pace.delay(1, &mut self.rng);
        self.health.close(faulted, probe_at);
    }

    fn log_closed(&self, why: &Cause) {
        tracing::warn!(target_name = self.shared.name(), class = why.class.label(), cause = %why.text,
            "the target takes no events: everything is kept, one probe at a time");
    }

    pub(super) fn note(&mut self, why: Cause) {
        self.view.counters.errors.count(why.class);
        let at_unix_ms = (self.ambient.unix_ms)();
        self.view.last_error = Some(LastError { class: why.class, text: why.text, at_unix_ms });
    }
}
