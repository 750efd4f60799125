//! The entries of one lane by key: a queue per key, one entry of a key in flight, thousands of keys in
//! flight.
//!
//! ```text
//!            ┌───────────── next entry ◄── delivered ─┐
//!   take ──► ready ──► in flight ──► (outcome) ───────┤
//!              ▲                                      ├─ retry ──► delayed ─┐
//!              └───────────── due, released ◄─────────┴─ hold  ──► held   ──┘
//! ```
//!
//! A key is known by a 64-bit hash of bucket and key: two keys that collide are served as one, in order,
//! which is slower and never wrong. Entries of one key form a list through the slots, so that a key costs no
//! allocation; all delayed keys share one heap, and the lane one timer.
//!
//! Must never let two entries of one key be in flight, nor forget an entry that was not delivered.

mod ask;
mod hash;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use tokio::time::Instant;

use hash::{Hashed, key_hash};

use super::slots::{NONE, SlotRef, Slots};
use crate::queue::Stored;

/// Where a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Its first entry may be sent.
    Ready,
    /// Its first entry is out.
    InFlight,
    /// Its first entry failed and waits for its moment.
    Delayed,
    /// Its first entry cannot be delivered until something is mended.
    Held,
}

#[derive(Debug)]
struct Key {
    hash: u64,
    head: u32,
    tail: u32,
    entries: u32,
    phase: Phase,
    /// Failed attempts in a row of its first entry.
    failures: u32,
    /// How often its first entry was rejected.
    rejections: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Timer {
    due: Instant,
    key: u32,
}

/// All entries of one lane, by key.
#[derive(Debug, Default)]
pub(super) struct Keys {
    slots: Slots,
    keys: Vec<Key>,
    free: Vec<u32>,
    by_hash: HashMap<u64, u32, BuildHasherDefault<Hashed>>,
    ready: VecDeque<u32>,
    /// One per delayed key and per held key that is tried slowly; left only through it, or by all at once.
    timers: BinaryHeap<Reverse<Timer>>,
    /// Entries by the phase of their key, and keys by phase.
    entries: [usize; 4],
    by_phase: [usize; 4],
}

impl Keys {
    /// Adds an entry at the end of its key.
    pub(super) fn take(&mut self, stored: Arc<Stored>) {
        let hash = key_hash(&stored);
        if let Some(&key) = self.by_hash.get(&hash) {
            let slot = self.slots.insert(stored, key);
            self.slots.strip(slot, 0);
            let at = &mut self.keys[key as usize];
            at.entries += 1;
            self.entries[at.phase as usize] += 1;
            let tail = std::mem::replace(&mut at.tail, slot);
            self.slots.at_mut(tail as usize).next = slot;
        } else {
            let key = self.free.pop().unwrap_or(self.keys.len() as u32);
            let head = self.slots.insert(stored, key);
            let phase = Phase::Ready;
            let new = Key { hash, head, tail: head, entries: 1, phase, failures: 0, rejections: 0 };
            match self.keys.get_mut(key as usize) {
                Some(at) => *at = new,
                None => self.keys.push(new),
            }
            self.by_hash.insert(hash, key);
            self.entries[phase as usize] += 1;
            self.by_phase[phase as usize] += 1;
            self.ready.push_back(key);
        }
    }

    /// The next key's first entry leaves: it is in flight from now on.
    pub(super) fn start(&mut self) -> Option<SlotRef> {
        let key = self.ready.pop_front()?;
        Some(self.launch(key))
    }

    /// The first entry of one key leaves, if it may.
    pub(super) fn start_key_of(&mut self, stored: &Stored) -> Option<SlotRef> {
        let key = *self.by_hash.get(&key_hash(stored))?;
        if self.keys[key as usize].phase != Phase::Ready {
            return None;
        }
        self.ready.retain(|ready| *ready != key);
        Some(self.launch(key))
    }

    /// The entry to probe a closed target with: of a key that is ready first, else of the one that waits
    /// longest.
    pub(super) fn start_probe(&mut self) -> Option<SlotRef> {
        if let Some(slot) = self.start() {
            return Some(slot);
        }
        let Reverse(timer) = self.timers.pop()?;
        Some(self.launch(timer.key))
    }

    /// True if there is an entry to probe with.
    pub(super) fn can_probe(&self) -> bool {
        !self.ready.is_empty() || !self.timers.is_empty()
    }

    /// It did not leave after all: it is the next one again, and this was no attempt.
    pub(super) fn unstart(&mut self, slot: SlotRef) {
        self.slots.at_mut(slot.index()).attempt -= 1;
        self.put_back(slot);
    }

    /// Its attempt came to nothing through no fault of its own: it is the next one again.
    pub(super) fn put_back(&mut self, slot: SlotRef) {
        let key = self.key_in_flight(slot);
        self.set_phase(key, Phase::Ready);
        self.ready.push_front(key);
    }

    /// Its attempt failed: its key waits until `due`.
    pub(super) fn delay(&mut self, slot: SlotRef, due: Instant) {
        let key = self.key_in_flight(slot);
        self.slots.strip(slot.index() as u32, 0);
        self.set_phase(key, Phase::Delayed);
        self.set_timer(key, due);
    }

    /// It cannot be delivered now: its key is held, until `due` or until it is released.
    pub(super) fn hold(&mut self, slot: SlotRef, due: Option<Instant>) {
        let key = self.key_in_flight(slot);
        self.slots.strip(slot.index() as u32, 0);
        self.set_phase(key, Phase::Held);
        if let Some(due) = due {
            self.set_timer(key, due);
        }
    }

    /// The far side has it: the entry leaves, and its key goes on. Returns the entry.
    pub(super) fn delivered(&mut self, slot: SlotRef) -> Arc<Stored> {
        let key = self.key_in_flight(slot);
        let next = self.slots.at(slot.index()).next;
        let at = &mut self.keys[key as usize];
        at.entries -= 1;
        self.entries[at.phase as usize] -= 1;
        if next == NONE {
            assert_eq!(at.entries, 0, "a key's list ends before its count");
            self.by_phase[at.phase as usize] -= 1;
            self.by_hash.remove(&at.hash);
            self.free.push(key);
        } else {
            at.head = next;
            (at.failures, at.rejections) = (0, 0);
            self.set_phase(key, Phase::Ready);
            self.ready.push_back(key);
        }
        self.slots.remove(slot)
    }

    /// Keys whose moment has come are ready again.
    pub(super) fn wake_due(&mut self, now: Instant) {
        while self.next_due().is_some_and(|due| due <= now) {
            let Some(Reverse(timer)) = self.timers.pop() else { break };
            self.set_phase(timer.key, Phase::Ready);
            self.ready.push_back(timer.key);
        }
    }

    /// A held key without a timer, whose entry was rejected fewer than `limit` times, is delayed until `due`
    /// instead.
    pub(super) fn reprieve(&mut self, hash: u64, limit: u32, due: Instant) {
        let Some(&key) = self.by_hash.get(&hash) else { return };
        let at = &self.keys[key as usize];
        if at.phase == Phase::Held && (1..limit).contains(&at.rejections) {
            self.set_phase(key, Phase::Delayed);
            self.set_timer(key, due);
        }
    }

    /// Everything that waits or is held may be tried at once.
    pub(super) fn release_all(&mut self) {
        self.timers.clear();
        for key in 0..self.keys.len() as u32 {
            let at = &mut self.keys[key as usize];
            if at.entries > 0 && matches!(at.phase, Phase::Delayed | Phase::Held) {
                (at.failures, at.rejections) = (0, 0);
                self.set_phase(key, Phase::Ready);
                self.ready.push_back(key);
            }
        }
    }

    /// The earliest moment at which a key wants to be tried again.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse(t)| t.due)
    }

    fn launch(&mut self, key: u32) -> SlotRef {
        assert_ne!(self.keys[key as usize].phase, Phase::InFlight, "two entries of one key in flight");
        self.set_phase(key, Phase::InFlight);
        let slot = self.keys[key as usize].head;
        self.slots.at_mut(slot as usize).attempt += 1;
        self.slots.reference(slot)
    }

    /// The key of an entry that is in flight.
    fn key_in_flight(&self, slot: SlotRef) -> u32 {
        let key = self.slots.at(slot.index()).key;
        let at = &self.keys[key as usize];
        let out = at.phase == Phase::InFlight && at.head as usize == slot.index();
        assert!(out, "an outcome without an attempt");
        key
    }

    fn set_phase(&mut self, key: u32, phase: Phase) {
        let at = &mut self.keys[key as usize];
        let entries = at.entries as usize;
        self.entries[at.phase as usize] -= entries;
        self.by_phase[at.phase as usize] -= 1;
        self.entries[phase as usize] += entries;
        self.by_phase[phase as usize] += 1;
        at.phase = phase;
    }

    fn set_timer(&mut self, key: u32, due: Instant) {
        self.timers.push(Reverse(Timer { due, key }));
    }
}
