//! Connections that were made, refused or lost, and what that means for what was out.
//!
//! Must never take a lost connection for an answer: what it had out is unknown, hence sent again.

use tidings_connector::{Cause, Connector, ErrorClass, Fault, Outcome};
use tokio::task::JoinError;
use tokio::time::Instant;

use super::lane::Lane;
use super::link::{ConnectError, Connection, Link};
use super::status::TargetState;
use super::{RETRY_AFTER_CAP, THROTTLE_CAP};
use crate::fail;
use crate::queue::Column;

impl Lane {
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

    /// The connection is given up. What it had out is unknown, hence sent again: batches below `late` missed
    /// their deadline, which is their failure; the others are only abandoned. Answers of this incarnation are
    /// late from now on.
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
            if self.letters.has(slot) {
                continue;
            }
            if self.keys.flight(slot).0 < late {
                self.view.counters.attempts.timeout += 1;
                self.view.counters.attempt_seconds.observe_duration(self.target.limits.attempt_timeout);
                if fail::mutant("timeout-as-delivered") {
                    let stored = self.keys.delivered(slot);
                    self.settled.push((stored.position.offset, Column::Delivered));
                    self.settle_by.get_or_insert(now);
                    continue;
                }
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
