//! Offsets in lists: 12 bytes for each entry that a lane knows by its place alone.
//!
//! Must never know what an offset is of.

use crate::delivery::slots::NONE;

/// Offsets in lists, one list for each key.
#[derive(Debug, Default)]
pub(super) struct Parked {
    offsets: Vec<u64>,
    next: Vec<u32>,
    free: Vec<u32>,
}

/// One key's list. Both ends are [`NONE`] if it is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lot {
    first: u32,
    last: u32,
}

impl Lot {
    pub(super) const EMPTY: Self = Self { first: NONE, last: NONE };

    pub(super) fn is_empty(self) -> bool {
        self.first == NONE
    }
}

impl Parked {
    fn place(&mut self, offset: u64, next: u32) -> u32 {
        match self.free.pop() {
            Some(at) => {
                (self.offsets[at as usize], self.next[at as usize]) = (offset, next);
                at
            }
            None => {
                self.offsets.push(offset);
                self.next.push(next);
                (self.offsets.len() - 1) as u32
            }
        }
    }

    pub(super) fn push_back(&mut self, lot: &mut Lot, offset: u64) {
        let at = self.place(offset, NONE);
        match lot.last {
            NONE => lot.first = at,
            last => self.next[last as usize] = at,
        }
        lot.last = at;
    }

    pub(super) fn push_front(&mut self, lot: &mut Lot, offset: u64) {
        lot.first = self.place(offset, lot.first);
        if lot.last == NONE {
            lot.last = lot.first;
        }
    }

    pub(super) fn pop_front(&mut self, lot: &mut Lot) -> Option<u64> {
        let at = lot.first;
        let offset = self.peek(*lot)?;
        lot.first = self.next[at as usize];
        if lot.first == NONE {
            lot.last = NONE;
        }
        self.free.push(at);
        if self.free.len() == self.offsets.len() {
            // All are gone: so is their memory.
            *self = Self::default();
        }
        Some(offset)
    }

    pub(super) fn peek(&self, lot: Lot) -> Option<u64> {
        self.offsets.get(lot.first as usize).copied()
    }

    pub(super) fn iter(&self, lot: Lot) -> impl Iterator<Item = u64> + '_ {
        let mut at = lot.first;
        std::iter::from_fn(move || {
            let offset = *self.offsets.get(at as usize)?;
            at = self.next[at as usize];
            Some(offset)
        })
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.offsets.len() - self.free.len()
    }

    /// Places kept, used or not.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.offsets.capacity() + self.next.capacity() + self.free.capacity()
    }
}
