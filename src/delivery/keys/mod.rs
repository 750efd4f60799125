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
//! allocation; those that are not in memory (`parked.rs`) follow, and a key whose turn comes without an
//! entry in memory is absent until it is read. All delayed keys share one heap, and the lane one timer.
//!
//! Must never let two entries of one key be in flight, nor forget an entry that was not delivered.

mod ask;
mod chosen;
mod hash;
mod lots;
mod parked;
#[cfg(test)]
mod tests;
mod wait;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use tokio::time::Instant;

use hash::Hashed;
use lots::{Lot, Parked};
use parked::Bounds;

use super::slots::{NONE, SlotRef, Slots};
use crate::fail;
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
    /// Its first entry may be sent once it is read again.
    Absent,
}

#[derive(Debug)]
struct Key {
    hash: u64,
    /// The entries in memory, as a list through the slots, and how many they are.
    head: u32,
    tail: u32,
    loaded: u32,
    /// The entries behind them, which are not in memory.
    lot: Lot,
    /// All of them.
    entries: u32,
    phase: Phase,
    /// How often its first entry was sent and when first, while it is not in memory.
    attempts: u32,
    first_unix_ms: Option<i64>,
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
    absent: VecDeque<u32>,
    /// Absent keys whose entries are being read.
    coming: Vec<u32>,
    parked: Parked,
    bounds: Bounds,
    /// An entry was parked since the lane was empty: the order in which entries were taken says nothing now.
    unordered: bool,
    /// One per delayed key and per held key that is tried slowly; left only through it, or by all at once.
    timers: BinaryHeap<Reverse<Timer>>,
    /// Entries by the phase of their key, those of them that are in memory, and keys by phase.
    entries: [usize; 5],
    loaded: [usize; 5],
    by_phase: [usize; 5],
}

impl Keys {
    /// Adds an entry at the end of its key.
    pub(super) fn take(&mut self, stored: Arc<Stored>) {
        let hash = stored.key_hash();
        let known = self.by_hash.get(&hash).copied().filter(|_| !fail::mutant("two-in-flight"));
        let Some(key) = known else {
            let key = self.new_key(hash, Phase::Ready);
            self.append(key, stored);
            self.ready.push_back(key);
            return;
        };
        if self.parks(&self.keys[key as usize]) {
            self.park(key, stored.position.offset);
        } else {
            self.append(key, stored);
            let tail = self.keys[key as usize].tail;
            self.slots.strip(tail, 0);
        }
    }

    fn new_key(&mut self, hash: u64, phase: Phase) -> u32 {
        let key = self.free.pop().unwrap_or(self.keys.len() as u32);
        let new = Key {
            hash,
            head: NONE,
            tail: NONE,
            loaded: 0,
            lot: Lot::EMPTY,
            entries: 0,
            phase,
            attempts: 0,
            first_unix_ms: None,
            failures: 0,
            rejections: 0,
        };
        match self.keys.get_mut(key as usize) {
            Some(at) => *at = new,
            None => self.keys.push(new),
        }
        self.by_hash.insert(hash, key);
        self.by_phase[phase as usize] += 1;
        key
    }

    /// Adds an entry behind those of its key that are in memory; nothing may be parked, or the entry comes
    /// from there.
    fn append(&mut self, key: u32, stored: Arc<Stored>) {
        let slot = self.slots.insert(stored, key);
        let at = &mut self.keys[key as usize];
        match std::mem::replace(&mut at.tail, slot) {
            NONE => at.head = slot,
            tail => self.slots.at_mut(tail as usize).next = slot,
        }
        at.loaded += 1;
        at.entries += 1;
        self.entries[at.phase as usize] += 1;
        self.loaded[at.phase as usize] += 1;
    }

    /// The key's turn has come: it is ready, or absent if its first entry must be read again.
    fn make_ready(&mut self, key: u32) {
        if self.keys[key as usize].loaded == 0 {
            self.set_phase(key, Phase::Absent);
            self.absent.push_back(key);
        } else {
            self.set_phase(key, Phase::Ready);
            self.ready.push_back(key);
        }
    }

    /// The next key's first entry leaves: it is in flight from now on.
    pub(super) fn start(&mut self) -> Option<SlotRef> {
        let key = self.ready.pop_front()?;
        Some(self.launch(key))
    }

    /// The entry to probe a closed target with: of a key that is ready first, else of the one that waits
    /// longest.
    pub(super) fn start_probe(&mut self) -> Option<SlotRef> {
        if let Some(slot) = self.start() {
            return Some(slot);
        }
        let Reverse(timer) = self.timers.pop()?;
        if self.keys[timer.key as usize].loaded == 0 {
            self.make_ready(timer.key);
            return None;
        }
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
        self.unload(key);
    }

    /// It cannot be delivered now: its key is held, until `due` or until it is released.
    pub(super) fn hold(&mut self, slot: SlotRef, due: Option<Instant>) {
        let key = self.key_in_flight(slot);
        self.slots.strip(slot.index() as u32, 0);
        self.set_phase(key, Phase::Held);
        if let Some(due) = due {
            self.set_timer(key, due);
        }
        self.unload(key);
    }

    /// The far side has it: the entry leaves, and its key goes on. Returns the entry.
    pub(super) fn delivered(&mut self, slot: SlotRef) -> Arc<Stored> {
        let key = self.key_in_flight(slot);
        let next = self.slots.at(slot.index()).next;
        let at = &mut self.keys[key as usize];
        at.entries -= 1;
        at.loaded -= 1;
        at.head = next;
        self.entries[at.phase as usize] -= 1;
        self.loaded[at.phase as usize] -= 1;
        if next == NONE {
            assert_eq!(at.loaded, 0, "a key's list ends before its count");
            at.tail = NONE;
        }
        if at.entries == 0 {
            self.by_phase[at.phase as usize] -= 1;
            self.by_hash.remove(&at.hash);
            self.free.push(key);
            self.unordered &= !self.by_hash.is_empty();
        } else {
            (at.failures, at.rejections) = (0, 0);
            self.make_ready(key);
        }
        self.slots.remove(slot)
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
        let (entries, loaded) = (at.entries as usize, at.loaded as usize);
        self.entries[at.phase as usize] -= entries;
        self.loaded[at.phase as usize] -= loaded;
        self.by_phase[at.phase as usize] -= 1;
        self.entries[phase as usize] += entries;
        self.loaded[phase as usize] += loaded;
        self.by_phase[phase as usize] += 1;
        at.phase = phase;
    }
}
