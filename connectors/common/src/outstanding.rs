//! What one connection has outstanding: receipts by token. The token travels through the client library, or
//! to the far side and back, so that nothing either of them forgets can take a receipt with it.
//!
//! Whatever is left here settles as Retry when the connection goes. Must never settle anything as delivered
//! that was not told so.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tidings_connector::{Outcome, Receipt};
use tokio::sync::Notify;

use crate::window_full;

/// In how many rounds the time for an answer is counted: it is between so many and one more.
pub const ROUNDS: u32 = 4;

/// Slot in the low half, generation in the high one: a late answer cannot settle a later attempt.
pub type Token = u64;

/// What one connector has outstanding, each attempt with something to know it by.
pub struct Outstanding<T> {
    slots: Mutex<Slots<T>>,
    bound: usize,
    /// Told when the first one enters.
    filled: Notify,
    /// Told when the last one leaves.
    emptied: Notify,
}

struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    round: u32,
    /// The round of the last answer.
    answered: u32,
    /// Set once, when the connection is given up: nothing enters any more, and whatever tries meets this.
    ended: Option<Outcome>,
}

struct Slot<T> {
    generation: u32,
    round: u32,
    held: Option<(Receipt, T)>,
}

impl<T> Outstanding<T> {
    /// Room for `bound` receipts.
    pub fn new(bound: usize) -> Self {
        let slots = Slots { slots: Vec::new(), free: Vec::new(), round: 0, answered: 0, ended: None };
        Self { slots: Mutex::new(slots), bound, filled: Notify::new(), emptied: Notify::new() }
    }

    /// Gives every receipt a token, in order, under one lock. `None`: it got none and is settled.
    pub fn put_all(&self, receipts: impl IntoIterator<Item = (Receipt, T)>) -> Vec<Option<Token>> {
        let mut refused = Vec::new();
        let (tokens, why) = {
            let mut slots = self.lock();
            let was_empty = slots.is_empty();
            let put = |held| slots.put(held, self.bound).map_err(|receipt| refused.push(receipt)).ok();
            let tokens = receipts.into_iter().map(put).collect();
            if was_empty && !slots.is_empty() {
                self.filled.notify_one();
            }
            (tokens, slots.ended.clone())
        };
        for receipt in refused {
            receipt.settle(why.clone().unwrap_or_else(window_full), None);
        }
        tokens
    }

    /// Settles one attempt. The token of an earlier one is passed over.
    pub fn settle(&self, token: Token, outcome: Outcome) {
        let receipt = {
            let mut slots = self.lock();
            slots.answered = slots.round;
            let receipt = slots.take(token);
            self.tell_if_empty(&slots);
            receipt
        };
        if let Some(receipt) = receipt {
            receipt.settle(outcome, None);
        }
    }

    /// Settles many attempts under one lock.
    pub fn settle_all(&self, answers: impl IntoIterator<Item = (Token, Outcome)>) {
        let settled: Vec<_> = {
            let mut slots = self.lock();
            slots.answered = slots.round;
            let take = |(token, outcome)| Some((slots.take(token)?, outcome));
            let settled = answers.into_iter().filter_map(take).collect();
            self.tell_if_empty(&slots);
            settled
        };
        for (receipt, outcome) in settled {
            receipt.settle(outcome, None);
        }
    }

    /// Settles every attempt that is known by something wanted.
    pub fn settle_where(&self, wanted: impl Fn(&T) -> bool, outcome: &Outcome) {
        self.settle_slots(|_, known| wanted(known), outcome, |_| ());
    }

    /// Settles everything and lets nothing in any more: what tries meets the first end's outcome.
    pub fn end(&self, outcome: &Outcome) {
        let first = |slots: &mut Slots<T>| {
            slots.ended.get_or_insert_with(|| outcome.clone());
        };
        self.settle_slots(|_, _| true, outcome, first);
        self.emptied.notify_one();
    }

    /// Counts one round, and settles what has waited for longer than [`ROUNDS`]. False: nothing at all was
    /// answered for as long.
    pub fn count_round(&self, late: &Outcome) -> bool {
        let now = {
            let mut slots = self.lock();
            slots.round = slots.round.wrapping_add(1);
            let now = slots.round;
            if !slots.slots.iter().any(|slot| slot.held.is_some() && slot.is_late(now)) {
                return true;
            }
            if now.wrapping_sub(slots.answered) > ROUNDS {
                return false;
            }
            now
        };
        self.settle_slots(|slot, _| slot.is_late(now), late, |_| ());
        true
    }

    /// True if nothing is out.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Why nothing enters any more, if that is so.
    pub fn ended(&self) -> Option<Outcome> {
        self.lock().ended.clone()
    }

    /// Waits until something enters where nothing was.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Waits until nothing is left.
    pub async fn emptied(&self) {
        while !self.is_empty() {
            self.emptied.notified().await;
        }
    }

    fn settle_slots(
        &self,
        wanted: impl Fn(&Slot<T>, &T) -> bool,
        outcome: &Outcome,
        first: impl FnOnce(&mut Slots<T>),
    ) {
        let taken = {
            let mut slots = self.lock();
            first(&mut slots);
            let taken = slots.take_where(wanted);
            self.tell_if_empty(&slots);
            taken
        };
        for receipt in taken {
            receipt.settle(outcome.clone(), None);
        }
    }

    fn tell_if_empty(&self, slots: &Slots<T>) {
        if slots.is_empty() {
            self.emptied.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slots<T>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Slot<T> {
    fn is_late(&self, now: u32) -> bool {
        now.wrapping_sub(self.round) > ROUNDS
    }
}

impl<T> Slots<T> {
    fn is_empty(&self) -> bool {
        self.free.len() == self.slots.len()
    }

    /// The receipt comes back if there is no room, or nothing enters any more.
    fn put(&mut self, held: (Receipt, T), bound: usize) -> Result<Token, Receipt> {
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

    fn take(&mut self, token: Token) -> Option<Receipt> {
        let slot = self.slots.get_mut(token as u32 as usize)?;
        if slot.generation != (token >> 32) as u32 {
            return None;
        }
        let (receipt, _) = slot.held.take()?;
        self.free.push(token as u32);
        Some(receipt)
    }

    fn take_where(&mut self, wanted: impl Fn(&Slot<T>, &T) -> bool) -> Vec<Receipt> {
        let mut taken = Vec::new();
        for (at, slot) in self.slots.iter_mut().enumerate() {
            if slot.held.as_ref().is_some_and(|(_, known)| wanted(slot, known)) {
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
