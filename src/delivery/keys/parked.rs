//! Entries that a lane keeps without having them in memory: where they are, in order for each key.
//!
//! A key that is stuck, or that gets more than the far side takes, keeps 12 bytes for each entry here; the
//! entries are read again when their turn comes. Must never change the order of a key: what is parked comes
//! after what is in memory.

use std::sync::Arc;

use super::{Key, Keys, Phase};
use crate::delivery::MAX_IN_FLIGHT;
use crate::delivery::slots::NONE;
use crate::queue::Stored;

/// Entries read again in one go.
const READ_AGAIN: usize = 1_024;

/// How much of keys that do not get on is in memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Entries of one key beyond which what comes for it is parked: a key sends one at a time.
    pub(super) of_key: u32,
    /// Entries of stuck keys, of all keys together, beyond which they are parked.
    pub(super) of_stuck: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self::within(MAX_IN_FLIGHT)
    }
}

impl Bounds {
    /// Those of a lane that keeps so many entries in memory: enough that a read of the log is worth its
    /// while, and little beside what is on its way.
    fn within(max_in_flight: usize) -> Self {
        let of_key = (max_in_flight / 8).clamp(1, 64) as u32;
        Self { of_key, of_stuck: (max_in_flight / 2).min(4_096) }
    }
}

impl Keys {
    /// Those of a lane that keeps at most so many entries in flight or waiting.
    pub(in crate::delivery) fn within(max_in_flight: usize) -> Self {
        Self { bounds: Bounds::within(max_in_flight), ..Self::default() }
    }

    /// Adds an entry that the queue kept from before, unread: where it is and the hash of its key. In offset
    /// order, before anything is taken.
    pub(in crate::delivery) fn restore(&mut self, offset: u64, hash: u64) {
        let key = match self.by_hash.get(&hash) {
            Some(&key) => key,
            None => {
                let key = self.new_key(hash, Phase::Absent);
                self.absent.push_back(key);
                key
            }
        };
        self.park(key, offset);
    }

    /// True if an entry that comes for this key now stays where it is.
    pub(super) fn parks(&self, key: &Key) -> bool {
        let stuck = matches!(key.phase, Phase::Delayed | Phase::Held);
        !key.lot.is_empty()
            || key.loaded >= self.bounds.of_key
            || (stuck && (self.stuck_in_memory() >= self.bounds.of_stuck || key.loaded == 0))
    }

    /// Adds an entry behind all others of its key, without its content.
    pub(super) fn park(&mut self, key: u32, offset: u64) {
        let at = &mut self.keys[key as usize];
        self.parked.push_back(&mut at.lot, offset);
        at.entries += 1;
        self.entries[at.phase as usize] += 1;
        self.unordered = true;
    }

    /// A key became stuck: if too much of stuck keys is in memory, its entries leave it.
    pub(super) fn unload(&mut self, key: u32) {
        if self.stuck_in_memory() <= self.bounds.of_stuck {
            return;
        }
        let at = &mut self.keys[key as usize];
        let head = self.slots.at(at.head as usize);
        (at.attempts, at.first_unix_ms) = (head.attempt, head.first_unix_ms);
        let mut offsets = Vec::with_capacity(at.loaded as usize);
        let mut slot = at.head;
        while slot != NONE {
            let next = self.slots.at(slot as usize).next;
            offsets.push(self.slots.remove(self.slots.reference(slot)).position.offset);
            slot = next;
        }
        for offset in offsets.into_iter().rev() {
            self.parked.push_front(&mut at.lot, offset);
        }
        self.unordered = true;
        self.loaded[at.phase as usize] -= at.loaded as usize;
        (at.head, at.tail, at.loaded) = (NONE, NONE, 0);
    }

    /// Where the entries are whose turn has come and that are not in memory, ascending: at most about `room`.
    /// Empty while those asked for before have not come.
    pub(in crate::delivery) fn wanted(&mut self, room: usize) -> Vec<u64> {
        let mut offsets = Vec::new();
        if !self.coming.is_empty() {
            return offsets;
        }
        let room = room.clamp(1, READ_AGAIN);
        while offsets.len() < room {
            let Some(key) = self.absent.pop_front() else { break };
            let lot = self.keys[key as usize].lot;
            let most = (room - offsets.len()).min(self.bounds.of_key as usize);
            offsets.extend(self.parked.iter(lot).take(most));
            self.coming.push(key);
        }
        offsets.sort_unstable();
        offsets
    }

    /// Some of what was wanted has been read again: in offset order, from the first one on. Keys that got
    /// nothing want it still.
    pub(in crate::delivery) fn came(&mut self, entries: Vec<Arc<Stored>>) {
        for stored in entries {
            let Some(&key) = self.by_hash.get(&stored.key_hash()) else { continue };
            let at = &mut self.keys[key as usize];
            let next = self.parked.peek(at.lot);
            if at.phase != Phase::Absent || next != Some(stored.position.offset) {
                debug_assert!(false, "an entry came that is not its key's next one");
                continue;
            }
            self.parked.pop_front(&mut at.lot);
            at.entries -= 1;
            self.entries[Phase::Absent as usize] -= 1;
            self.append(key, stored);
        }
        for key in std::mem::take(&mut self.coming) {
            let at = &mut self.keys[key as usize];
            if at.loaded == 0 {
                self.absent.push_front(key);
                continue;
            }
            let head = self.slots.at_mut(at.head as usize);
            head.attempt = std::mem::take(&mut at.attempts);
            head.first_unix_ms = at.first_unix_ms.take();
            self.set_phase(key, Phase::Ready);
            self.ready.push_back(key);
        }
    }

    /// The first of what was wanted cannot be read: its key is held until `due`. Returns its hash.
    pub(in crate::delivery) fn unreadable(&mut self, due: tokio::time::Instant) -> Option<u64> {
        let next = |key: &u32| self.parked.peek(self.keys[*key as usize].lot);
        let first = self.coming.iter().copied().min_by_key(next)?;
        self.coming.retain(|key| *key != first);
        self.absent.extend(std::mem::take(&mut self.coming));
        self.set_phase(first, Phase::Held);
        self.set_timer(first, due);
        Some(self.keys[first as usize].hash)
    }

    /// Nothing of what was wanted came, through no fault of its own.
    pub(in crate::delivery) fn did_not_come(&mut self) {
        self.came(Vec::new());
    }

    /// Entries that are not in memory.
    pub(in crate::delivery) fn parked(&self) -> usize {
        self.parked.len()
    }

    /// True if a key's turn has come and its entry is not in memory.
    pub(in crate::delivery) fn has_absent(&self) -> bool {
        !self.absent.is_empty()
    }

    /// Entries of stuck keys that are in memory.
    pub(in crate::delivery) fn stuck_in_memory(&self) -> usize {
        self.loaded[Phase::Delayed as usize] + self.loaded[Phase::Held as usize]
    }

    /// Entries that are in memory.
    pub(in crate::delivery) fn in_memory(&self) -> usize {
        self.slots.len()
    }
}
