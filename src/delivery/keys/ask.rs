//! What a lane asks of its keys and notes on its entries: counts, attempts, failures.
//!
//! Must never change where a key stands.

use std::sync::Arc;

use super::{Keys, Phase};
use crate::delivery::slots::SlotRef;
use crate::queue::{OldestEvent, Stored};

impl Keys {
    /// Every entry that is in flight.
    pub(in crate::delivery) fn out(&self) -> Vec<SlotRef> {
        let out = self.keys.iter().filter(|k| k.entries > 0 && k.phase == Phase::InFlight);
        out.map(|k| self.slots.reference(k.head)).collect()
    }

    /// True if this is the attempt that is out now, not an older one.
    pub(in crate::delivery) fn is_current(&self, slot: SlotRef, attempt: u32) -> bool {
        self.slots.is_live(slot) && {
            let at = self.slots.at(slot.index());
            let key = &self.keys[at.key as usize];
            at.attempt == attempt && key.phase == Phase::InFlight && key.head as usize == slot.index()
        }
    }

    /// The entry itself.
    pub(in crate::delivery) fn stored(&self, slot: SlotRef) -> &Arc<Stored> {
        self.slots.stored(slot)
    }

    /// Which attempt it is in, from 1.
    pub(in crate::delivery) fn attempt(&self, slot: SlotRef) -> u32 {
        self.slots.at(slot.index()).attempt
    }

    /// The batch it left with, and the bytes it has out.
    pub(in crate::delivery) fn flight(&self, slot: SlotRef) -> (u64, usize) {
        let at = self.slots.at(slot.index());
        (at.flight, at.bytes)
    }

    /// Notes the batch it leaves with, and the bytes it has out.
    pub(in crate::delivery) fn set_flight(&mut self, slot: SlotRef, flight: u64, bytes: usize) {
        let at = self.slots.at_mut(slot.index());
        (at.flight, at.bytes) = (flight, bytes);
    }

    /// The hash of its key.
    pub(in crate::delivery) fn hash(&self, slot: SlotRef) -> u64 {
        self.keys[self.slots.at(slot.index()).key as usize].hash
    }

    /// Counts one more failure in a row of its key; returns how many that makes.
    pub(in crate::delivery) fn failed(&mut self, slot: SlotRef) -> u32 {
        let key = &mut self.keys[self.slots.at(slot.index()).key as usize];
        key.failures = key.failures.saturating_add(1);
        key.failures
    }

    /// Counts one more rejection of the entry; returns how many that makes.
    pub(in crate::delivery) fn rejected(&mut self, slot: SlotRef) -> u32 {
        let key = &mut self.keys[self.slots.at(slot.index()).key as usize];
        key.rejections = key.rejections.saturating_add(1);
        key.rejections
    }

    /// Notes when it was sent first, in milliseconds since the Unix epoch.
    pub(in crate::delivery) fn note_first(&mut self, slot: SlotRef, unix_ms: i64) {
        self.slots.at_mut(slot.index()).first_unix_ms.get_or_insert(unix_ms);
    }

    /// When it was sent first, as far as that is known.
    pub(in crate::delivery) fn first_unix_ms(&self, slot: SlotRef) -> Option<i64> {
        self.slots.at(slot.index()).first_unix_ms
    }

    /// True if the key of this entry has entries here.
    pub(in crate::delivery) fn knows(&self, stored: &Stored) -> bool {
        self.by_hash.contains_key(&stored.key_hash())
    }

    /// Entries in the lane.
    pub(in crate::delivery) fn len(&self) -> usize {
        self.slots.len() + self.parked()
    }

    /// Entries that are out: one per key in flight.
    pub(in crate::delivery) fn in_flight(&self) -> usize {
        self.by_phase[Phase::InFlight as usize]
    }

    /// Entries of keys that are held.
    pub(in crate::delivery) fn held(&self) -> usize {
        self.entries[Phase::Held as usize]
    }

    /// Entries of keys that wait for their moment or are held, in memory or not.
    pub(in crate::delivery) fn stuck(&self) -> usize {
        self.entries[Phase::Delayed as usize] + self.held()
    }

    /// Keys that may send now.
    pub(in crate::delivery) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// The estimated memory of all entries, in bytes.
    pub(in crate::delivery) fn weight(&self) -> usize {
        self.slots.weight()
    }

    /// The oldest event. None if there is none, or if some are not in memory: then the queue knows which one
    /// is the oldest.
    pub(in crate::delivery) fn oldest(&mut self) -> Option<OldestEvent> {
        if self.unordered {
            return None;
        }
        OldestEvent::of(self.slots.oldest()?)
    }
}
