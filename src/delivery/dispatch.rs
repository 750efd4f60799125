//! Sending: which entries leave now, as one batch per connection's turn, within everybody's limits.
//!
//! Must never send two entries of one key at once, more than one probe to a closed target, nor anything while
//! a gate is shut.

use std::panic::AssertUnwindSafe;

use tidings_connector::{Cause, Delivery, ErrorClass, Limits, Message, Receipt, Ticket};
use tokio::time::Instant;

use super::lane::Lane;
use super::link::Connection;
use super::slots::SlotRef;
use crate::fail;
use crate::queue::Column;

impl Lane {
    /// Sends as much as may be sent now.
    pub(super) fn dispatch(&mut self, now: Instant) {
        self.blocked = false;
        self.view.in_flight_limit = 0;
        loop {
            let Connection::Up(link) = &self.connection else { return };
            let Some(limits) = link.limits() else {
                let cause = Cause::new(ErrorClass::Connect, "the connector can deliver nothing any more");
                return self.lose_connection(&cause, 0, now);
            };
            self.view.in_flight_limit = limits.in_flight.max(1);
            let has_room = link.has_room();
            let quota = self.quota(limits, now);
            if quota == 0 {
                return;
            }
            if !has_room {
                self.blocked = true;
                return;
            }
            let batch = self.fill(quota, limits, now);
            if batch.is_empty() {
                return;
            }
            if let Connection::Up(link) = &self.connection {
                link.hand_over(batch);
                fail::point("target.sent");
            }
        }
    }

    /// True if a closed target may be probed as soon as its moment comes.
    pub(super) fn can_send_probe(&self) -> bool {
        let connected = matches!(self.connection, Connection::Up(_));
        connected && self.may_send() && self.out() == 0 && self.keys.can_probe() && !self.lacks_replays()
    }

    /// How many messages may leave now.
    fn quota(&mut self, limits: Limits, now: Instant) -> usize {
        if !self.may_send() {
            return 0;
        }
        let paced = self.rate.as_ref().map_or(usize::MAX, |r| r.available(now));
        if let Some(closed) = self.health.closed() {
            let due = closed.probe_at <= now;
            return usize::from(due && paced > 0 && self.can_send_probe());
        }
        let free = limits.in_flight.max(1).saturating_sub(self.out());
        free.min(limits.batch.max(1)).min(paced).min(self.keys.ready())
    }

    /// Makes a batch of at most `quota` messages.
    fn fill(&mut self, quota: usize, limits: Limits, now: Instant) -> Vec<Delivery> {
        let mut batch = Vec::with_capacity(quota);
        let flight = self.flights.next();
        let unix_ms = (self.ambient.unix_ms)();
        while batch.len() < quota {
            let full = self.bytes_out >= limits.bytes && self.out() > 0;
            let probing = self.health.is_closed();
            let slot = match () {
                () if full => None,
                () if self.letters.blocked.is_some() => self.start_replay(),
                () if probing => self.keys.start_probe(),
                () => self.keys.start(),
            };
            let Some(slot) = slot else { break };
            let message = match self.message(slot) {
                Ok(message) => message,
                Err(cause) => {
                    self.cannot_encode(slot, cause, now);
                    continue;
                }
            };
            let bytes = message.size();
            // A message above the limit travels alone; the connector says what it thinks of it.
            if self.bytes_out + bytes > limits.bytes && self.out() > 1 {
                self.keys.unstart(slot);
                break;
            }
            self.bytes_out += bytes;
            self.keys.set_flight(slot, flight, bytes);
            self.keys.note_first(slot, unix_ms);
            if probing {
                self.health.probing(slot.0);
            }
            let attempt = self.keys.attempt(slot);
            if attempt <= 1 && fail::mutant("progress-before-ack") {
                self.settled.push((self.keys.stored(slot).position.offset, Column::Delivered));
                self.settle_by.get_or_insert(now);
            }
            let ticket = Ticket { incarnation: self.incarnation, slot: slot.0, attempt };
            batch.push(Delivery { message, attempt, receipt: Receipt::new(ticket, &self.inbox) });
        }
        if !batch.is_empty() {
            self.flights.leave(batch.len(), now);
            if let Some(rate) = &mut self.rate {
                rate.spend(batch.len(), now);
            }
        }
        batch
    }

    /// The message of an entry, or why there can be none.
    fn message(&self, slot: SlotRef) -> Result<Message, Cause> {
        let stored = self.keys.stored(slot);
        let Some(rule) = stored.rule_for(self.number) else {
            return Err(Cause::new(ErrorClass::Encode, "the entry is not for this target"));
        };
        let mut message = std::panic::catch_unwind(AssertUnwindSafe(|| (self.encode)(stored, rule)))
            .unwrap_or_else(|_| Err(Cause::new(ErrorClass::Encode, "the encoder panicked on this event")))?;
        self.letters.replays.mark(stored, &mut message);
        self.mark_repeat(stored, &mut message);
        Ok(message)
    }
}
