//! The entries of one lane: a queue per key, one entry of a key in flight, thousands of keys in flight.
//!
//! ```text
//!            ┌───────────── next entry ◄── delivered ─┐
//!   take ──► ready ──► in flight ──► (outcome) ───────┤
//!              ▲                                      ├─ retry ──► delayed ─┐
//!              └───────────── due, released ◄─────────┴─ hold  ──► held   ──┘
//! ```
//!
//! A key is known by a 64-bit hash of bucket and key: two keys that collide are served as one, in order, which is
//! slower and never wrong. Entries of one key form a list through the slots, so that a key costs no allocation; all
//! delayed keys share one heap, and the lane one timer.
//!
//! Must never let two entries of one key be in flight, nor forget an entry that was not delivered.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, DefaultHasher, Hasher};
use std::sync::Arc;

use tokio::time::Instant;

use crate::queue::Stored;

/// Ends a list of slots.
const NONE: u32 = u32::MAX;
/// What an entry costs beside its texts and body: the structures and their allocations.
const FIXED_WEIGHT: usize = 640;
/// The order log is swept when it is this much longer than twice the live entries.
const SWEEP_SLACK: usize = 1_024;

/// Where a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its first entry may be sent.
    Ready,
    /// Its first entry is out.
    InFlight,
    /// Its first entry failed and waits for its moment.
    Delayed,
    /// Its first entry cannot be delivered until something is mended.
    Held,
}

/// A handle to an entry of the lane: the slot's number, and its generation in the upper half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SlotRef(pub(super) u64);

#[derive(Debug)]
struct Slot {
    stored: Option<Arc<Stored>>,
    generation: u32,
    key: u32,
    next: u32,
    attempt: u32,
    /// The batch it left with, and the payload bytes that it has out.
    flight: u64,
    bytes: usize,
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
    /// Tells a live timer from one that was overtaken.
    timer: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Timer {
    due: Instant,
    key: u32,
    serial: u32,
}

/// Passes a hash through: keys are hashed once, with SipHash.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        debug_assert!(false, "only u64 keys are hashed here");
        self.0 = bytes.len() as u64;
    }
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// All entries of one lane, by key.
#[derive(Debug, Default)]
pub(super) struct Keys {
    slots: Vec<Slot>,
    free_slots: Vec<u32>,
    keys: Vec<Key>,
    free_keys: Vec<u32>,
    by_hash: HashMap<u64, u32, BuildHasherDefault<Hashed>>,
    ready: VecDeque<u32>,
    timers: BinaryHeap<Reverse<Timer>>,
    /// Entries by the phase of their key, and keys by phase.
    entries: [usize; 4],
    by_phase: [usize; 4],
    /// Every entry in the order taken, settled ones swept from the front.
    order: VecDeque<SlotRef>,
    weight: usize,
    total: usize,
}

impl Keys {
    /// Adds an entry at the end of its key.
    pub(super) fn take(&mut self, stored: Arc<Stored>) {
        let hash = key_hash(&stored);
        self.weight += weight(&stored);
        self.total += 1;
        let slot = self.new_slot(stored);
        match self.by_hash.get(&hash) {
            Some(&key) => {
                let at = &mut self.keys[key as usize];
                let tail = std::mem::replace(&mut at.tail, slot);
                at.entries += 1;
                self.entries[at.phase as usize] += 1;
                self.slots[tail as usize].next = slot;
                self.slots[slot as usize].key = key;
            }
            None => {
                let key = self.new_key(hash, slot);
                self.slots[slot as usize].key = key;
                self.ready.push_back(key);
            }
        }
        self.order.push_back(self.reference(slot));
        if self.order.len() > 2 * self.total + SWEEP_SLACK {
            let slots = &self.slots;
            self.order.retain(|r| live(slots, *r));
        }
    }

    /// The next key's first entry leaves: it is in flight from now on.
    pub(super) fn start(&mut self) -> Option<SlotRef> {
        let key = self.ready.pop_front()?;
        Some(self.launch(key))
    }

    /// The entry to probe a closed target with: one that never failed first, else the one that waits longest.
    pub(super) fn start_probe(&mut self) -> Option<SlotRef> {
        if let Some(slot) = self.start() {
            return Some(slot);
        }
        self.sweep_timers();
        let Reverse(timer) = self.timers.pop()?;
        Some(self.launch(timer.key))
    }

    /// True if there is an entry to probe with.
    pub(super) fn can_probe(&mut self) -> bool {
        self.sweep_timers();
        !self.ready.is_empty() || !self.timers.is_empty()
    }

    /// It did not leave after all: it is the next one again, and this was no attempt.
    pub(super) fn unstart(&mut self, slot: SlotRef) {
        self.slots[index(slot)].attempt -= 1;
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
        self.set_phase(key, Phase::Delayed);
        self.set_timer(key, due);
    }

    /// It cannot be delivered now: its key is held, until `due` or until it is released.
    pub(super) fn hold(&mut self, slot: SlotRef, due: Option<Instant>) {
        let key = self.key_in_flight(slot);
        self.set_phase(key, Phase::Held);
        if let Some(due) = due {
            self.set_timer(key, due);
        }
    }

    /// The far side has it: the entry leaves, and its key goes on. Returns the entry.
    pub(super) fn delivered(&mut self, slot: SlotRef) -> Arc<Stored> {
        let key = self.key_in_flight(slot);
        let next = self.slots[index(slot)].next;
        let at = &mut self.keys[key as usize];
        at.entries -= 1;
        self.entries[at.phase as usize] -= 1;
        if next == NONE {
            debug_assert_eq!(at.entries, 0, "a list ends before its count");
            self.by_phase[at.phase as usize] -= 1;
            at.timer = at.timer.wrapping_add(1);
            self.by_hash.remove(&at.hash);
            self.free_keys.push(key);
        } else {
            at.head = next;
            (at.failures, at.rejections) = (0, 0);
            self.set_phase(key, Phase::Ready);
            self.ready.push_back(key);
        }
        let at = &mut self.slots[index(slot)];
        at.generation = at.generation.wrapping_add(1);
        let stored = at.stored.take().expect("a slot in flight holds its entry");
        self.free_slots.push(index(slot) as u32);
        self.weight -= weight(&stored);
        self.total -= 1;
        stored
    }

    /// Keys whose moment has come are ready again.
    pub(super) fn wake_due(&mut self, now: Instant) {
        while let Some(due) = self.next_due() {
            if due > now {
                break;
            }
            let Some(Reverse(timer)) = self.timers.pop() else { break };
            self.set_phase(timer.key, Phase::Ready);
            self.ready.push_back(timer.key);
        }
    }

    /// A held key without a timer, whose entry was rejected fewer than `limit` times, is delayed until `due` instead.
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
    pub(super) fn next_due(&mut self) -> Option<Instant> {
        self.sweep_timers();
        self.timers.peek().map(|Reverse(t)| t.due)
    }

    /// Every entry that is in flight.
    pub(super) fn out(&self) -> Vec<SlotRef> {
        let out = self.keys.iter().filter(|k| k.entries > 0 && k.phase == Phase::InFlight);
        out.map(|k| self.reference(k.head)).collect()
    }

    /// True if this is the attempt that is out now, not an older one.
    pub(super) fn is_current(&self, slot: SlotRef, attempt: u32) -> bool {
        index(slot) < self.slots.len() && live(&self.slots, slot) && {
            let at = &self.slots[index(slot)];
            let key = &self.keys[at.key as usize];
            at.attempt == attempt && key.phase == Phase::InFlight && key.head as usize == index(slot)
        }
    }

    /// The entry itself.
    pub(super) fn stored(&self, slot: SlotRef) -> &Arc<Stored> {
        self.slots[index(slot)].stored.as_ref().expect("a referenced slot holds its entry")
    }

    /// Which attempt it is in, from 1.
    pub(super) fn attempt(&self, slot: SlotRef) -> u32 {
        self.slots[index(slot)].attempt
    }

    /// The batch it left with, and the bytes it has out.
    pub(super) fn flight(&self, slot: SlotRef) -> (u64, usize) {
        (self.slots[index(slot)].flight, self.slots[index(slot)].bytes)
    }

    /// Notes the batch it leaves with, and the bytes it has out.
    pub(super) fn set_flight(&mut self, slot: SlotRef, flight: u64, bytes: usize) {
        let at = &mut self.slots[index(slot)];
        (at.flight, at.bytes) = (flight, bytes);
    }

    /// The hash of its key.
    pub(super) fn hash(&self, slot: SlotRef) -> u64 {
        self.keys[self.slots[index(slot)].key as usize].hash
    }

    /// Counts one more failure in a row of its key; returns how many that makes.
    pub(super) fn failed(&mut self, slot: SlotRef) -> u32 {
        let key = &mut self.keys[self.slots[index(slot)].key as usize];
        key.failures = key.failures.saturating_add(1);
        key.failures
    }

    /// Counts one more rejection of the entry; returns how many that makes.
    pub(super) fn rejected(&mut self, slot: SlotRef) -> u32 {
        let key = &mut self.keys[self.slots[index(slot)].key as usize];
        key.rejections = key.rejections.saturating_add(1);
        key.rejections
    }

    /// Entries in the lane.
    pub(super) fn len(&self) -> usize {
        self.total
    }

    /// Entries that are out: one per key in flight.
    pub(super) fn in_flight(&self) -> usize {
        self.by_phase[Phase::InFlight as usize]
    }

    /// Entries of keys that are held.
    pub(super) fn held(&self) -> usize {
        self.entries[Phase::Held as usize]
    }

    /// Entries of keys that wait for their moment or are held.
    pub(super) fn stuck(&self) -> usize {
        self.entries[Phase::Delayed as usize] + self.held()
    }

    /// Keys that may send now.
    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// The estimated memory of all entries, in bytes.
    pub(super) fn weight(&self) -> usize {
        self.weight
    }

    /// The event time of the oldest entry, in microseconds since the Unix epoch.
    pub(super) fn oldest_us(&mut self) -> Option<i64> {
        while let Some(first) = self.order.front() {
            if live(&self.slots, *first) {
                let stored = self.stored(*first);
                return stored.entry.event.as_ref().map(|e| e.time_us);
            }
            self.order.pop_front();
        }
        None
    }

    /// How many timers exist: live ones and overtaken ones not yet swept.
    #[cfg(test)]
    pub(super) fn timers(&self) -> usize {
        self.timers.len()
    }

    fn launch(&mut self, key: u32) -> SlotRef {
        debug_assert_ne!(self.keys[key as usize].phase, Phase::InFlight, "two entries of one key in flight");
        self.set_phase(key, Phase::InFlight);
        let slot = self.keys[key as usize].head;
        self.slots[slot as usize].attempt += 1;
        self.reference(slot)
    }

    /// The key of an entry that is in flight.
    fn key_in_flight(&self, slot: SlotRef) -> u32 {
        let key = self.slots[index(slot)].key;
        let at = &self.keys[key as usize];
        assert!(
            at.phase == Phase::InFlight && at.head as usize == index(slot),
            "an outcome without an attempt"
        );
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
        // Whatever timer the key had belongs to the phase it leaves.
        at.timer = at.timer.wrapping_add(1);
    }

    fn set_timer(&mut self, key: u32, due: Instant) {
        self.timers.push(Reverse(Timer { due, key, serial: self.keys[key as usize].timer }));
    }

    fn sweep_timers(&mut self) {
        while let Some(Reverse(t)) = self.timers.peek() {
            if self.keys[t.key as usize].timer == t.serial {
                break;
            }
            self.timers.pop();
        }
    }

    fn new_slot(&mut self, stored: Arc<Stored>) -> u32 {
        if let Some(slot) = self.free_slots.pop() {
            let at = &mut self.slots[slot as usize];
            (at.stored, at.next, at.attempt) = (Some(stored), NONE, 0);
            return slot;
        }
        let stored = Some(stored);
        self.slots.push(Slot {
            stored,
            generation: 0,
            key: NONE,
            next: NONE,
            attempt: 0,
            flight: 0,
            bytes: 0,
        });
        (self.slots.len() - 1) as u32
    }

    fn new_key(&mut self, hash: u64, slot: u32) -> u32 {
        let timer = self.free_keys.last().map_or(0, |k| self.keys[*k as usize].timer);
        let phase = Phase::Ready;
        let new = Key { hash, head: slot, tail: slot, entries: 1, phase, failures: 0, rejections: 0, timer };
        let key = match self.free_keys.pop() {
            Some(key) => {
                self.keys[key as usize] = new;
                key
            }
            None => {
                self.keys.push(new);
                (self.keys.len() - 1) as u32
            }
        };
        self.by_hash.insert(hash, key);
        self.entries[phase as usize] += 1;
        self.by_phase[phase as usize] += 1;
        key
    }

    fn reference(&self, slot: u32) -> SlotRef {
        SlotRef(u64::from(self.slots[slot as usize].generation) << 32 | u64::from(slot))
    }
}

fn index(slot: SlotRef) -> usize {
    (slot.0 & u64::from(u32::MAX)) as usize
}

fn live(slots: &[Slot], slot: SlotRef) -> bool {
    let at = &slots[index(slot)];
    at.stored.is_some() && u64::from(at.generation) == slot.0 >> 32
}

/// The hash by which a key is known: of bucket and key, or of the offset where there is no event (which is a bug).
fn key_hash(stored: &Stored) -> u64 {
    let mut hasher = DefaultHasher::new();
    match &stored.entry.event {
        Some(event) => {
            hasher.write(event.bucket.as_bytes());
            hasher.write_u8(0xff);
            hasher.write(event.key.as_bytes());
        }
        None => hasher.write_u64(stored.position.offset),
    }
    hasher.finish()
}

/// The estimated memory of one entry, in bytes.
fn weight(stored: &Stored) -> usize {
    let texts = stored.entry.event.as_ref().map_or(0, |e| e.bucket.len() + e.key.len());
    let headers = match &stored.entry.change {
        crate::queue::Change::PutObject(meta) => {
            meta.headers.iter().map(|(n, v)| n.len() + v.len() + 64).sum()
        }
        _ => 0,
    };
    FIXED_WEIGHT + texts + headers + stored.body.len()
}
