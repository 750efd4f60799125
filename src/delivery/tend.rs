//! What the queue, time and operators bring to a lane, what it shows, and when it wants to be woken.
//!
//! Must never await, except where the lane ends: this is part of its working half.

use std::sync::Arc;
use std::time::Duration;

use tidings_connector::{Cause, ErrorClass};
use tokio::time::{Instant, timeout};

use super::lane::Lane;
use super::link::Connection;
use super::status::TargetState;
use super::target::Stopped;
use super::{CLOSE_BOUND, FLUSH_BOUND, LANE_BYTES, MAX_IN_FLIGHT, TAKE};
use crate::fail;
use crate::queue::dead::Blocked;
use crate::queue::{Pause, ReadError, Reader, Stored};

/// The timer never fires sooner than this after a look, so that no mistake in arming it can become a hot
/// loop.
const TICK: Duration = Duration::from_millis(1);

impl Lane {
    /// How many entries may be taken from the queue now.
    pub(super) fn room(&mut self) -> usize {
        let most = self.target.limits.max_in_flight.clamp(1, MAX_IN_FLIGHT);
        // Keys that do not get on do not use up the room of the others, unless everything is stuck together.
        let kept = self.keys.parked() + self.keys.stuck_in_memory();
        let others = self.keys.in_memory() - self.keys.stuck_in_memory();
        let counted = if self.health.is_closed() { self.keys.len() } else { others };
        let max_held = self.target.limits.max_held;
        let full = kept >= max_held || self.keys.weight() >= LANE_BYTES;
        if full && !self.view.full {
            let target_name = self.shared.name();
            tracing::warn!(
                target_name,
                kept,
                max_held,
                "the lane keeps all it may and reads no further ahead"
            );
        }
        self.view.full = full;
        let idle = self.paused || self.stop_by.is_some() || self.rewinding;
        if full || idle || !self.readable || self.read_at.is_some() {
            return 0;
        }
        let room = most.saturating_sub(counted);
        // A nearly full lane waits until a larger read is worth its while.
        if room < (most / 4).max(1) { 0 } else { room.min(TAKE) }
    }

    /// What a read of the queue gave, or why it gave nothing.
    pub(super) fn take_read(&mut self, read: Result<Vec<Arc<Stored>>, ReadError>, now: Instant) {
        match read {
            Ok(entries) => {
                (self.read_failures, self.view.read_error) = (0, None);
                fail::point("lane.take");
                entries.into_iter().for_each(|stored| self.take_one(stored, now));
                self.restore_late();
                self.repeats = self.shared.progress().replaying().is_some();
            }
            Err(ReadError::Closed) => self.readable = false,
            Err(error) => {
                self.read_failures = self.read_failures.saturating_add(1);
                self.read_at = Some(now + self.pace.delay(self.read_failures, &mut self.rng));
                let target_name = self.shared.name();
                tracing::error!(target_name, %error, "the queue cannot be read; trying again");
                self.view.read_error = Some(error.to_string().into());
            }
        }
    }

    /// Settles what was delivered, in one call.
    pub(super) fn settle(&mut self, reader: &mut dyn Reader) {
        if !self.settled.is_empty() {
            fail::point("target.acked");
            reader.settle(&self.settled);
            self.settled.clear();
        }
        if self.repeated > 0 {
            reader.repeated(std::mem::take(&mut self.repeated));
        }
        self.settle_by = None;
    }

    /// What operators wish.
    pub(super) fn heed_wishes(&mut self, now: Instant) {
        let wish = self.shared.wish();
        (self.paused, self.stop_by) = (wish.paused.is_on(), wish.stop_by);
        let gone = wish.paused == Pause::Gone;
        if std::mem::replace(&mut self.view.gone, gone) && !gone {
            // Somebody says that it is back: of what waits, one event asks.
            let books = self.shared.progress().books();
            if books.backlog + books.held > 0 {
                self.health.close(true, now);
            }
        }
        self.rewinding = self.shared.wants_rewind();
        if wish.releases != self.releases {
            self.releases = wish.releases;
            self.keys.release_all();
            self.health.probe_now(now);
            self.connection_failures = 0;
            (self.read_at, self.loading.at) = (None, None);
            if let Connection::None { retry_at } = &mut self.connection {
                *retry_at = now;
            }
        }
    }

    /// Everything that time brings: deadlines, due keys, connecting, and the end of what a paused lane does
    /// not need.
    pub(super) fn tend(&mut self, now: Instant) {
        let bound = self.target.limits.attempt_timeout;
        if let Some(late) = self.flights.late(now, bound) {
            let cause = Cause::new(ErrorClass::Timeout, "no answer within the attempt's deadline");
            self.lose_connection(&cause, late, now);
        }
        self.throttled_until = self.throttled_until.filter(|until| *until > now);
        self.read_at = self.read_at.filter(|at| *at > now);
        self.loading.at = self.loading.at.filter(|at| *at > now);
        if !self.health.is_closed() {
            self.keys.wake_due(now);
        }
        if self.stop_by.is_some() {
            return;
        }
        match &self.connection {
            Connection::None { retry_at } if !self.paused && *retry_at <= now => {
                self.connection = Connection::start(&self.target.connector, bound);
            }
            Connection::Connecting(_) | Connection::Up(_) if self.paused && self.out() == 0 => {
                let none = Connection::None { retry_at: now };
                std::mem::replace(&mut self.connection, none).close();
                self.incarnation += 1;
                self.unconnected = TargetState::Connecting;
            }
            _ => {}
        }
    }

    /// True if nothing forbids sending, as far as operators and throttles are concerned.
    pub(super) fn may_send(&self) -> bool {
        // Where dead letters are full, those that are sent again make room.
        let blocked = !matches!(self.letters.blocked, None | Some(Blocked::Full(_)));
        !self.paused
            && self.stop_by.is_none()
            && !self.rewinding
            && self.throttled_until.is_none()
            && !blocked
    }

    /// Sets the one timer to the earliest moment at which something is to do.
    pub(super) fn arm(&mut self, now: Instant) {
        let mut next: Option<Instant> = None;
        let mut at = |moment: Option<Instant>| next = [next, moment].into_iter().flatten().min();
        at(self.stop_by);
        at(self.settle_by);
        at(self.flights.deadline(self.target.limits.attempt_timeout));
        at(self.throttled_until);
        at(self.read_at);
        at(self.loading.at);
        at(self.letters.next_due());
        at(self.letters.replays.next_due(now));
        if !self.paused && self.stop_by.is_none() {
            if let Connection::None { retry_at } = self.connection {
                at(Some(retry_at));
            }
            let paced = self.rate.as_ref().map_or(now, |rate| rate.next_at(now));
            match self.health.closed().map(|closed| closed.probe_at) {
                None => {
                    at(self.keys.next_due());
                    let waits = paced > now && self.keys.ready() > 0;
                    at(Some(paced).filter(|_| waits && matches!(self.connection, Connection::Up(_))));
                }
                Some(probe_at) if !self.blocked && self.can_send_probe() => at(Some(probe_at.max(paced))),
                Some(_) => {}
            }
        }
        // Armed too early costs one idle look; arming anew for every batch would cost more.
        if let Some(next) = next.map(|next| next.max(now + TICK))
            && self.armed.is_none_or(|armed| next < armed)
        {
            self.timer.as_mut().reset(next);
            self.armed = Some(next);
        }
    }

    /// Shows the lane as it is now.
    pub(super) fn show(&mut self) {
        let state = match &self.connection {
            _ if self.view.gone => TargetState::Faulted,
            _ if self.paused => TargetState::Paused,
            _ if self.letters.blocked.is_some() => TargetState::Faulted,
            Connection::Up(_) => self.health.state(),
            _ if self.unconnected != TargetState::Connecting => self.unconnected,
            _ if self.health.is_closed() => self.health.state(),
            _ => TargetState::Connecting,
        };
        if state != self.view.state {
            let (from, to) = (self.view.state.label(), state.label());
            tracing::info!(target_name = self.shared.name(), from, to, "the target's state changed");
            (self.view.state, self.view.since_unix_ms) = (state, (self.ambient.unix_ms)());
        }
        let (out, held) = (self.out(), self.keys.held());
        self.view.blocked = self.letters.blocked.as_ref().map(|b| Arc::clone(b.text()));
        self.view.throttled = self.throttled_until.is_some();
        self.view.in_flight = out;
        self.view.held = held;
        self.view.waiting = self.keys.len() - out - held;
        self.view.retrying = self.keys.stuck() - held;
        self.view.oldest_undelivered_us = self.keys.oldest_us();
        self.view.incarnation = self.incarnation;
        if self.shown_held != Some(held) {
            self.shown_held = Some(held);
            self.shared.progress().set_held(held as u64);
        }
        let view = &self.view;
        self.shared.show(|shown| shown.clone_from(view));
    }

    /// Gives up what is still out, makes the progress durable and lets go of the far side.
    pub(super) async fn wind_up(mut self, reader: &mut dyn Reader) -> Stopped {
        let abandoned = self.out();
        if let Some(dead) = &self.letters.dead {
            let _ = timeout(FLUSH_BOUND, dead.quiesce()).await;
        }
        self.shared.progress().set_held(0);
        let none = Connection::None { retry_at: (self.ambient.now)() };
        let closing = std::mem::replace(&mut self.connection, none).close();
        let not_durable = match timeout(FLUSH_BOUND, reader.flush()).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("the progress was not durable in time".to_owned()),
        };
        if let Some(closing) = closing {
            let _ = timeout(2 * CLOSE_BOUND, closing).await;
        }
        Stopped { abandoned, not_durable }
    }
}
