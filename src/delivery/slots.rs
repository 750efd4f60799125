//! The slots in which a lane keeps its entries, and the order in which it took them.
//!
//! Must never know keys' states: it stores, links and counts.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use crate::queue::Stored;

/// Ends a list of slots.
pub(super) const NONE: u32 = u32::MAX;
/// What an entry costs beside its texts and body: the structures and their allocations, in bytes.
const FIXED_WEIGHT: usize = 640;
/// A body up to so many bytes may stay with an entry that is about to leave: copying the entry would cost
/// more.
const BODY_KEPT: usize = 1_024;
/// The order is swept when it is this much longer than twice the live entries.
const SWEEP_SLACK: usize = 1_024;

/// A handle to an entry: the slot's number, and in the upper half its generation, which tells the entry from
/// those that had the slot before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SlotRef(pub(super) u64);

/// One entry, and its place in its key's list.
#[derive(Debug)]
pub(super) struct Slot {
    stored: Option<Arc<Stored>>,
    generation: u32,
    pub(super) key: u32,
    /// The key's next entry.
    pub(super) next: u32,
    /// How often it was sent.
    pub(super) attempt: u32,
    /// When it was sent first, in milliseconds since the Unix epoch.
    pub(super) first_unix_ms: Option<i64>,
    /// The batch it left with, and the payload bytes that it has out.
    pub(super) flight: u64,
    pub(super) bytes: usize,
}

/// Every entry of a lane.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Every entry in the order taken; those that left are swept from the front, or when they are too many.
    order: VecDeque<SlotRef>,
    live: usize,
    weight: usize,
}

impl SlotRef {
    /// The slot's number.
    pub(super) fn index(self) -> usize {
        (self.0 & u64::from(u32::MAX)) as usize
    }
}

impl Slots {
    /// Stores an entry of `key`.
    pub(super) fn insert(&mut self, stored: Arc<Stored>, key: u32) -> u32 {
        self.weight += weight(&stored);
        self.live += 1;
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                let empty = Slot {
                    stored: None,
                    generation: 0,
                    key,
                    next: NONE,
                    attempt: 0,
                    first_unix_ms: None,
                    flight: 0,
                    bytes: 0,
                };
                self.slots.push(empty);
                (self.slots.len() - 1) as u32
            }
        };
        let at = &mut self.slots[index as usize];
        debug_assert!(at.stored.is_none(), "a free slot holds nothing");
        (at.stored, at.key, at.next, at.attempt) = (Some(stored), key, NONE, 0);
        at.first_unix_ms = None;
        self.strip(index, BODY_KEPT);
        self.order.push_back(self.reference(index));
        if self.order.len() > 2 * self.live + SWEEP_SLACK {
            let slots = &self.slots;
            self.order.retain(|slot| is_live(slots, *slot));
        }
        index
    }

    /// Gives an entry away; its handle is void from now on.
    pub(super) fn remove(&mut self, slot: SlotRef) -> Arc<Stored> {
        let at = &mut self.slots[slot.index()];
        at.generation = at.generation.wrapping_add(1);
        let stored = at.stored.take().expect("a referenced slot holds its entry");
        self.free.push(slot.index() as u32);
        self.weight -= weight(&stored);
        self.live -= 1;
        stored
    }

    /// Lets go of an entry's inline body if it is longer than `keep` bytes: no message carries it, and an
    /// entry that waits would pin it in memory.
    pub(super) fn strip(&mut self, index: u32, keep: usize) {
        let at = &mut self.slots[index as usize].stored;
        if let Some(stored) = at.as_ref().filter(|s| s.body.len() > keep) {
            let before = weight(stored);
            let (position, entry, bare) = (stored.position, stored.entry.clone(), stored.bare);
            let stripped = Arc::new(Stored { position, entry, body: Bytes::new(), bare, charge: 0 });
            self.weight = self.weight - before + weight(&stripped);
            *at = Some(stripped);
        }
    }

    /// The slot's list and attempt.
    pub(super) fn at(&self, index: usize) -> &Slot {
        &self.slots[index]
    }

    /// As [`Slots::at`], to change.
    pub(super) fn at_mut(&mut self, index: usize) -> &mut Slot {
        &mut self.slots[index]
    }

    /// The entry itself.
    pub(super) fn stored(&self, slot: SlotRef) -> &Arc<Stored> {
        self.slots[slot.index()].stored.as_ref().expect("a referenced slot holds its entry")
    }

    /// The handle of the entry that is in a slot now.
    pub(super) fn reference(&self, index: u32) -> SlotRef {
        SlotRef(u64::from(self.slots[index as usize].generation) << 32 | u64::from(index))
    }

    /// True if the entry is still in its slot.
    pub(super) fn is_live(&self, slot: SlotRef) -> bool {
        is_live(&self.slots, slot)
    }

    /// The oldest entry.
    pub(super) fn oldest(&mut self) -> Option<&Stored> {
        while self.order.front().is_some_and(|first| !self.is_live(*first)) {
            self.order.pop_front();
        }
        self.order.front().map(|first| self.stored(*first).as_ref())
    }

    /// Places kept for entries and for their order, used or not.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.slots.len() + self.order.len()
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.live
    }

    /// Their estimated memory, in bytes.
    pub(super) fn weight(&self) -> usize {
        self.weight
    }
}

fn is_live(slots: &[Slot], slot: SlotRef) -> bool {
    let at = slots.get(slot.index());
    at.is_some_and(|at| at.stored.is_some() && u64::from(at.generation) == slot.0 >> 32)
}

/// The estimated memory of one entry, in bytes.
fn weight(stored: &Stored) -> usize {
    let texts = stored.entry.event.as_ref().map_or(0, |e| e.bucket.len() + e.key.len());
    let headers = stored
        .entry
        .change
        .object()
        .map_or(0, |meta| meta.headers.iter().map(|(n, v)| n.len() + v.len() + 64).sum());
    FIXED_WEIGHT + texts + headers + stored.body.len()
}
