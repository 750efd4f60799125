//! One decision per outcome: what becomes of an entry, its key and its target.
//!
//! Must never settle on anything but Delivered of the current attempt, and must never drop an entry.

use std::time::Duration;

use tidings_connector::{Cause, Connector, ErrorClass, Fault, Outcome, Scope, Settlement};
use tokio::task::JoinError;
use tokio::time::Instant;

use super::keys::SlotRef;
use super::lane::Lane;
use super::link::{ConnectError, Connection, Link};
use super::status::{LastError, TargetState};
use super::{RETRY_AFTER_CAP, THROTTLE_CAP, THROTTLE_FLOOR};
use crate::queue::Column;

/// An entry rejected so often is held for good: before that, it may have been rejected with everything else.
const REJECTIONS: u32 = 2;

impl Lane {
    /// Decides on every answer. Adds what was delivered to `settled`, by offset; returns how many late answers said
    /// that their event arrived, which makes its current attempt a repetition.
    pub(super) fn decide(
        &mut self,
        arrived: &mut Vec<Settlement>,
        settled: &mut Vec<(u64, Column)>,
        now: Instant,
    ) -> u64 {
        let unix_ms = (self.ambient.unix_ms)();
        let mut repeated = 0;
        for settlement in arrived.drain(..) {
            let (ticket, slot) = (settlement.ticket, SlotRef(settlement.ticket.slot));
            if ticket.incarnation != self.incarnation || !self.keys.is_current(slot, ticket.attempt) {
                self.view.counters.late_receipts += 1;
                repeated += u64::from(settlement.outcome == Outcome::Delivered);
                continue;
            }
            self.view.counters.attempts.count(&settlement.outcome);
            let (flight, bytes) = self.keys.flight(slot);
            self.bytes_out -= bytes;
            let sent_at = self.flights.answered(flight);
            match settlement.outcome {
                Outcome::Delivered => {
                    let stored = self.keys.delivered(slot);
                    settled.push((stored.position.offset, Column::Delivered));
                    if let Some(sent_at) = sent_at {
                        self.view
                            .counters
                            .attempt_seconds
                            .observe_duration(now.saturating_duration_since(sent_at));
                    }
                    if let Some(event) = &stored.entry.event {
                        let late_us = unix_ms.saturating_mul(1_000).saturating_sub(event.time_us).max(0);
                        self.view
                            .counters
                            .end_to_end_seconds
                            .observe_duration(Duration::from_micros(late_us.unsigned_abs()));
                    }
                    self.succeeded(unix_ms);
                }
                Outcome::Retry { after, why } => self.retry(slot, after, why, now),
                Outcome::Throttled { until, why } => self.throttle(slot, until.into(), why, now),
                Outcome::Rejected { why } => self.reject(slot, why, now),
                Outcome::Faulted { scope: Scope::Destination, why } => self.destination_fault(slot, why, now),
                Outcome::Faulted { scope: Scope::Target, why } => self.target_fault(slot, why, now),
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
    fn retry(&mut self, slot: SlotRef, after: Option<Duration>, why: Cause, now: Instant) {
        let wish = after.unwrap_or_default().min(RETRY_AFTER_CAP);
        if self.health.is_closed() {
            // This says something about the target, not about the key: the key is tried when the target recovers.
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

    /// The event can never be accepted: its key is held. Where everything is rejected, it is not the event's fault.
    fn reject(&mut self, slot: SlotRef, why: Cause, now: Instant) {
        if self.health.is_closed() {
            let probe = self.health.probe_failed(slot.0, now, &self.pace, &mut self.rng);
            if probe || self.keys.rejected(slot) < REJECTIONS {
                self.keys.delay(slot, now);
            } else {
                self.hold(slot, None, &why);
            }
        } else {
            let hash = self.keys.hash(slot);
            self.keys.rejected(slot);
            self.hold(slot, None, &why);
            self.count_failure(hash, &why, now);
        }
        self.note(why);
    }

    /// What a template named takes nothing: its keys are held and tried slowly.
    fn destination_fault(&mut self, slot: SlotRef, why: Cause, now: Instant) {
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
        self.keys.delay(slot, now);
        self.note(why);
    }

    /// The encoder refused: held without a word from the target.
    pub(super) fn cannot_encode(&mut self, slot: SlotRef, why: Cause) {
        self.view.counters.attempts.rejected += 1;
        self.hold(slot, None, &why);
        self.note(why);
    }

    fn hold(&mut self, slot: SlotRef, due: Option<Instant>, why: &Cause) {
        if self.keys.held() == 0 {
            let offset = self.keys.stored(slot).position.offset;
            tracing::warn!(target_name = self.shared.name(), offset, class = why.class.label(), cause = %why.text,
                "an event cannot be delivered: its key is held");
        }
        self.keys.hold(slot, due);
    }

    /// Counts a key's failure, which may put the target Down. Then what was rejected with all the others was not to
    /// blame: it is tried once more when the target recovers.
    fn count_failure(&mut self, hash: u64, why: &Cause, now: Instant) {
        let probe_at = now + self.pace.delay(1, &mut self.rng);
        if let Some(streak) = self.health.key_failed(hash, probe_at) {
            for hash in streak {
                self.keys.reprieve(hash, REJECTIONS, now);
            }
            self.log_closed(why);
        }
    }

    fn close(&mut self, faulted: bool, why: &Cause, now: Instant) {
        if !self.health.is_closed() {
            self.log_closed(why);
        }
        let probe_at = now + self.pace.delay(1, &mut self.rng);
        self.health.close(faulted, probe_at);
    }

    fn log_closed(&self, why: &Cause) {
        tracing::warn!(target_name = self.shared.name(), class = why.class.label(), cause = %why.text,
            "the target takes no events: everything is kept, one probe at a time");
    }

    fn note(&mut self, why: Cause) {
        self.view.counters.errors.count(why.class);
        let at_unix_ms = (self.ambient.unix_ms)();
        self.view.last_error = Some(LastError { class: why.class, text: why.text, at_unix_ms });
    }

    /// An attempt to connect ended.
    pub(super) fn connected(
        &mut self,
        result: Result<Result<Box<dyn Connector>, ConnectError>, JoinError>,
        now: Instant,
    ) {
        let fault = match result {
            Ok(Ok(connector)) => {
                self.unconnected = TargetState::Connecting;
                self.connection = Connection::Up(Link::new(connector));
                self.health.probe_now(now);
                return;
            }
            Ok(Err(ConnectError::Fault(fault))) => fault,
            Ok(Err(ConnectError::Late)) => Fault::retry(ErrorClass::Timeout, "connecting took too long"),
            Err(_) => Fault::retry(ErrorClass::Unknown, "the connector panicked while connecting"),
        };
        self.connection_failures = self.connection_failures.saturating_add(1);
        let wait = self.pace.delay(self.connection_failures, &mut self.rng);
        let retry_at = match &fault.outcome {
            Outcome::Retry { after: Some(after), .. } => now + wait.max((*after).min(RETRY_AFTER_CAP)),
            Outcome::Throttled { until, .. } => {
                Instant::from(*until).clamp(now + wait, now + THROTTLE_CAP.max(wait))
            }
            // The others make no sense here; they are retried like anything unknown.
            Outcome::Retry { after: None, .. } | Outcome::Delivered | Outcome::Rejected { .. } => now + wait,
            Outcome::Faulted { .. } => now + wait,
        };
        let faulted = matches!(fault.outcome, Outcome::Faulted { .. });
        let state = if faulted { TargetState::Faulted } else { TargetState::Down };
        if self.unconnected != state {
            tracing::warn!(
                target_name = self.shared.name(),
                state = state.label(),
                "cannot connect: {}",
                fault.message
            );
        }
        self.unconnected = state;
        self.connection = Connection::None { retry_at };
        self.note(match fault.outcome {
            Outcome::Retry { why, .. }
            | Outcome::Throttled { why, .. }
            | Outcome::Rejected { why }
            | Outcome::Faulted { why, .. } => why,
            Outcome::Delivered => Cause::new(ErrorClass::Unknown, &fault.message),
        });
    }

    /// The connection is given up. What it had out is unknown, hence sent again: batches below `late` missed their
    /// deadline, which is their failure; the others are only abandoned. Answers of this incarnation are late from now on.
    pub(super) fn lose_connection(&mut self, why: &Cause, late: u64, now: Instant) {
        self.connection_failures = self.connection_failures.saturating_add(1);
        let retry_at = now + self.pace.delay(self.connection_failures, &mut self.rng);
        std::mem::replace(&mut self.connection, Connection::None { retry_at }).abandon();
        self.incarnation += 1;
        self.flights.clear();
        self.bytes_out = 0;
        tracing::warn!(target_name = self.shared.name(), class = why.class.label(), cause = %why.text,
            "the connection is given up; what was out is sent again");
        for slot in self.keys.out() {
            if self.keys.flight(slot).0 < late {
                self.view.counters.attempts.timeout += 1;
                self.retry(slot, None, why.clone(), now);
            } else {
                self.view.counters.attempts.abandoned += 1;
                self.health.probe_failed(slot.0, now, &self.pace, &mut self.rng);
                self.keys.put_back(slot);
            }
        }
        self.note(why.clone());
    }
}
