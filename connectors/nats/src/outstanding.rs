//! What one connection has outstanding: receipts by token, which travels as the last part of the reply's
//! subject.
//!
//! Whatever is left here settles as Retry when the connection goes. Must never settle anything as delivered
//! that was not told so.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidings_connector::{Outcome, Receipt, Scope};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::error::{Met, outcome};
use crate::leaderless::Leaderless;

/// In how many rounds the time for an answer is counted: it is between so many and one more.
pub(crate) const ROUNDS: u32 = 4;

/// What a silent attempt is told, for people.
pub(crate) const SILENCE: &str = "no acknowledgement from NATS in time";

/// Slot in the low half, generation in the high one: a late answer cannot settle a later attempt.
pub(crate) type Token = u64;

/// What one connector has outstanding.
pub(crate) struct Outstanding {
    slots: Mutex<Slots>,
    bound: usize,
    subject_scope: Scope,
    /// So long a subject without a taker may be leaderless only.
    leaderless_for: Duration,
    /// Told when the first one enters.
    filled: Notify,
    /// Told when the last one leaves.
    emptied: Notify,
}

#[derive(Default)]
struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
    leaderless: Leaderless,
    round: u32,
    /// The round of the last answer.
    answered: u32,
    /// Set once, when the connection is given up: nothing enters any more, and whatever tries meets this.
    ended: Option<Outcome>,
}

struct Slot {
    generation: u32,
    round: u32,
    held: Option<(Receipt, Arc<str>)>,
}

impl Outstanding {
    /// Room for `bound` receipts. `subject_scope`: what a fault of a subject affects.
    pub(crate) fn new(bound: usize, subject_scope: Scope, leaderless_for: Duration) -> Arc<Self> {
        let (filled, emptied) = (Notify::new(), Notify::new());
        Arc::new(Self { slots: Mutex::default(), bound, subject_scope, leaderless_for, filled, emptied })
    }

    /// Gives every receipt a token, in order, under one lock. `None`: it got none and is settled.
    pub(crate) fn put_all(&self, receipts: impl Iterator<Item = (Receipt, Arc<str>)>) -> Vec<Option<Token>> {
        let mut refused = Vec::new();
        let (tokens, why) = {
            let mut slots = self.lock();
            let was_empty = slots.is_empty();
            let tokens = receipts.map(|held| slots.put(held, self.bound).map_err(|r| refused.push(r)).ok());
            let tokens = tokens.collect();
            if was_empty && !slots.is_empty() {
                self.filled.notify_one();
            }
            (tokens, slots.ended.clone())
        };
        let full =
            || outcome(Met::Full, self.subject_scope, "more messages than the connector's window holds");
        for receipt in refused {
            receipt.settle(why.clone().unwrap_or_else(full), None);
        }
        tokens
    }

    /// Settles attempts as the table says. Tokens of earlier attempts are passed over.
    pub(crate) fn settle(&self, answers: Vec<(Token, Met, String)>, now: Instant) {
        let taken: Vec<_> = {
            let mut slots = self.lock();
            slots.answered = slots.round;
            let taken = answers.into_iter().filter_map(|(token, met, text)| {
                let (receipt, subject) = slots.take(token)?;
                let met = slots.leaderless.judge(&subject, met, now, self.leaderless_for);
                Some((receipt, met, text))
            });
            let taken = taken.collect();
            self.tell_if_empty(&slots);
            taken
        };
        for (receipt, met, text) in taken {
            receipt.settle(outcome(met, self.subject_scope, &text), None);
        }
    }

    /// Settles everything that goes to `subject`.
    pub(crate) fn settle_subject(&self, subject: &str, met: Met, text: &str) {
        let taken = {
            let mut slots = self.lock();
            let taken = slots.take_where(|_, to| to == subject);
            self.tell_if_empty(&slots);
            taken
        };
        for receipt in taken {
            receipt.settle(outcome(met, self.subject_scope, text), None);
        }
    }

    /// Settles everything and lets nothing in any more.
    pub(crate) fn close(&self, outcome: &Outcome) {
        let taken = {
            let mut slots = self.lock();
            slots.ended.get_or_insert_with(|| outcome.clone());
            slots.take_where(|_, _| true)
        };
        for receipt in taken {
            receipt.settle(outcome.clone(), None);
        }
        self.emptied.notify_one();
    }

    /// The same, for a connection that cannot be relied on any more.
    pub(crate) fn give_up(&self, met: Met, text: &str) {
        self.close(&outcome(met, Scope::Target, text));
    }

    /// Counts one round, and settles what has waited for longer than [`ROUNDS`] as Retry: somebody who is no
    /// stream may listen to its subject. False: nothing at all was answered for as long.
    pub(crate) fn count_round(&self) -> bool {
        let late = {
            let mut slots = self.lock();
            slots.round = slots.round.wrapping_add(1);
            let now = slots.round;
            let late = |slot: &Slot| now.wrapping_sub(slot.round) > ROUNDS;
            if !slots.slots.iter().any(|slot| slot.held.is_some() && late(slot)) {
                return true;
            }
            if now.wrapping_sub(slots.answered) > ROUNDS {
                return false;
            }
            let taken = slots.take_where(|slot, _| late(slot));
            self.tell_if_empty(&slots);
            taken
        };
        for receipt in late {
            receipt.settle(outcome(Met::Silent, self.subject_scope, SILENCE), None);
        }
        true
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Why nothing enters any more, if that is so.
    pub(crate) fn ended(&self) -> Option<Outcome> {
        self.lock().ended.clone()
    }

    /// Waits until something enters where nothing was.
    pub(crate) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Waits until nothing is left.
    pub(crate) async fn emptied(&self) {
        while !self.is_empty() {
            self.emptied.notified().await;
        }
    }

    fn tell_if_empty(&self, slots: &Slots) {
        if slots.is_empty() {
            self.emptied.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slots {
    fn is_empty(&self) -> bool {
        self.free.len() == self.slots.len()
    }

    /// The receipt comes back if there is no room, or nothing enters any more.
    fn put(&mut self, held: (Receipt, Arc<str>), bound: usize) -> Result<Token, Receipt> {
        if self.ended.is_some() || self.free.is_empty() && self.slots.len() >= bound {
            return Err(held.0);
        }
        let at = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, round: 0, held: None });
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[at as usize];
        slot.generation = slot.generation.wrapping_add(1);
        slot.round = self.round;
        slot.held = Some(held);
        Ok(u64::from(slot.generation) << 32 | u64::from(at))
    }

    fn take(&mut self, token: Token) -> Option<(Receipt, Arc<str>)> {
        let slot = self.slots.get_mut(token as u32 as usize)?;
        if slot.generation != (token >> 32) as u32 {
            return None;
        }
        let held = slot.held.take()?;
        self.free.push(token as u32);
        Some(held)
    }

    fn take_where(&mut self, wanted: impl Fn(&Slot, &str) -> bool) -> Vec<Receipt> {
        let mut taken = Vec::new();
        for (at, slot) in self.slots.iter_mut().enumerate() {
            if slot.held.as_ref().is_some_and(|(_, to)| wanted(slot, to)) {
                taken.extend(slot.held.take().map(|(receipt, _)| receipt));
                self.free.push(at as u32);
            }
        }
        taken
    }
}

#[cfg(test)]
#[path = "outstanding_tests.rs"]
mod tests;
