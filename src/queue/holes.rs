//! The unsettled offsets below a reader's position, up to a million of them: 24 bytes each.
//!
//! The oldest ones are frozen in pieces that never change, beside one bit each that says whether it is still
//! open; only the newest ones are a list. So a row that is written five times a second repeats the bits and
//! the list, and not a million offsets. Must never lose a hole that nobody settled, nor settle one twice.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::fail;

/// One unsettled offset below the position, and the hash of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    /// Its offset.
    pub offset: u64,
    /// [`crate::queue::Stored::key_hash`] of its entry.
    pub key: u64,
    /// What it costs the target's budget.
    pub bytes: u32,
}

/// Holes in one frozen piece, at most. Twice as many may be listed before the oldest ones are frozen: more
/// than a lane has in flight. Unit tests see pieces sooner.
pub(super) const PIECE: usize = if cfg!(test) { 64 } else { 32_768 };
/// Settled ones that the list may keep beside as many as are open.
const SLACK: usize = 1_024;

/// Holes in one piece now: the simulator's lives are short.
fn piece() -> usize {
    if fail::small() { 2 } else { PIECE }
}

/// Holes that were written down once and never change, in offset order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frozen {
    /// Never used twice by one reader.
    pub(super) id: u64,
    pub(super) holes: Box<[Hole]>,
}

/// Frozen holes, and which of them are still open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) frozen: Arc<Frozen>,
    /// A bit for each hole, the first one lowest.
    pub(super) open: Box<[u64]>,
    left: usize,
}

impl Piece {
    fn new(id: u64, holes: Vec<Hole>) -> Self {
        let mut open = vec![u64::MAX; holes.len().div_ceil(64)].into_boxed_slice();
        if let (Some(last), used @ 1..) = (open.last_mut(), holes.len() % 64) {
            *last = (1 << used) - 1;
        }
        let left = holes.len();
        Self { frozen: Arc::new(Frozen { id, holes: holes.into() }), open, left }
    }

    /// As a row says it. None if the bits do not fit the holes.
    pub(super) fn of_row(frozen: Arc<Frozen>, open: Box<[u64]>) -> Option<Self> {
        let left = open.iter().map(|bits| bits.count_ones() as usize).sum();
        let fits = open.len() == frozen.holes.len().div_ceil(64) && left <= frozen.holes.len();
        let beyond = frozen.holes.len() % 64;
        let clean = beyond == 0 || open.last().is_none_or(|bits| bits >> beyond == 0);
        (fits && clean).then_some(Self { frozen, open, left })
    }

    fn at(&self, offset: u64) -> Option<usize> {
        let at = self.frozen.holes.binary_search_by_key(&offset, |h| h.offset).ok()?;
        (self.open[at / 64] >> (at % 64) & 1 == 1).then_some(at)
    }

    fn close(&mut self, offset: u64) -> Option<Hole> {
        let at = self.at(offset)?;
        self.open[at / 64] &= !(1 << (at % 64));
        self.left -= 1;
        Some(self.frozen.holes[at])
    }

    fn last(&self) -> u64 {
        self.frozen.holes.last().map_or(0, |h| h.offset)
    }

    fn iter(&self) -> impl Iterator<Item = Hole> + '_ {
        let bits = self.open.iter().enumerate().filter(|(_, bits)| **bits != 0);
        bits.flat_map(move |(word, bits)| {
            let mut bits = *bits;
            std::iter::from_fn(move || {
                let bit = (bits != 0).then(|| bits.trailing_zeros() as usize)?;
                bits &= bits - 1;
                Some(self.frozen.holes[word * 64 + bit])
            })
        })
    }
}

/// The holes at one moment, as a row keeps them: in offset order, the pieces before the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct HoleSet {
    pub(super) pieces: Vec<Piece>,
    pub(super) others: Vec<Hole>,
}

impl HoleSet {
    pub(super) fn iter(&self) -> impl Iterator<Item = Hole> + '_ {
        self.pieces.iter().flat_map(Piece::iter).chain(self.others.iter().copied())
    }

    pub(super) fn len(&self) -> usize {
        self.pieces.iter().map(|p| p.left).sum::<usize>() + self.others.len()
    }

    /// The lowest open offset.
    pub(super) fn first(&self) -> Option<u64> {
        self.iter().next().map(|h| h.offset)
    }

    pub(super) fn contains(&self, offset: u64) -> bool {
        let at = self.pieces.partition_point(|p| p.last() < offset);
        self.pieces.get(at).is_some_and(|p| p.at(offset).is_some())
            || self.others.binary_search_by_key(&offset, |h| h.offset).is_ok()
    }
}

impl HoleSet {
    /// Closes every hole that is not to be kept.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&Hole) -> bool) {
        for piece in &mut self.pieces {
            let going: Vec<_> = piece.iter().filter(|hole| !keep(hole)).map(|hole| hole.offset).collect();
            going.into_iter().for_each(|offset| _ = piece.close(offset));
        }
        self.pieces.retain(|piece| piece.left > 0);
        self.others.retain(keep);
    }
}

impl FromIterator<Hole> for HoleSet {
    /// From holes in offset order.
    fn from_iter<T: IntoIterator<Item = Hole>>(holes: T) -> Self {
        Self { pieces: Vec::new(), others: holes.into_iter().collect() }
    }
}

/// The holes of a reader as they come and go.
#[derive(Debug, Default)]
pub(super) struct Holes {
    pieces: Vec<Piece>,
    /// Above the pieces; settled ones stay until what is before them is settled.
    list: VecDeque<(Hole, bool)>,
    open: usize,
    /// Of those in the list.
    listed: usize,
    /// The id of the next piece.
    next_id: u64,
}

impl Holes {
    /// As a row says. Pieces that are frozen from now on have ids from `next_id` on.
    pub(super) fn new(set: &HoleSet, next_id: u64) -> Self {
        let above = set.pieces.iter().map(|p| p.frozen.id + 1).max().unwrap_or(1);
        Self {
            pieces: set.pieces.clone(),
            list: set.others.iter().map(|h| (*h, false)).collect(),
            open: set.len(),
            listed: set.others.len(),
            next_id: next_id.max(above),
        }
    }

    /// How many are open.
    pub(super) fn len(&self) -> usize {
        self.open
    }

    /// Those that are open, in offset order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Hole> + '_ {
        let listed = self.list.iter().filter(|(_, settled)| !settled).map(|(h, _)| *h);
        self.pieces.iter().flat_map(Piece::iter).chain(listed)
    }

    /// The lowest open offset.
    pub(super) fn first(&self) -> Option<u64> {
        self.iter().next().map(|h| h.offset)
    }

    /// Adds a hole above all others.
    pub(super) fn push(&mut self, hole: Hole) {
        debug_assert!(self.list.back().is_none_or(|(h, _)| h.offset < hole.offset), "holes out of order");
        self.list.push_back((hole, false));
        self.listed += 1;
        self.open += 1;
    }

    /// True if the offset is an open hole.
    pub(super) fn contains(&self, offset: u64) -> bool {
        let at = self.pieces.partition_point(|p| p.last() < offset);
        match self.pieces.get(at) {
            Some(piece) => piece.at(offset).is_some(),
            None => self.find(offset).is_some(),
        }
    }

    fn find(&self, offset: u64) -> Option<usize> {
        let at = self.list.binary_search_by_key(&offset, |(h, _)| h.offset).ok()?;
        (!self.list[at].1).then_some(at)
    }

    /// Closes a hole and gives it; none if it was not open.
    pub(super) fn settle(&mut self, offset: u64) -> Option<Hole> {
        let at = self.pieces.partition_point(|p| p.last() < offset);
        let hole = if let Some(piece) = self.pieces.get_mut(at) {
            let hole = piece.close(offset)?;
            if piece.left == 0 {
                self.pieces.remove(at);
            }
            hole
        } else {
            let at = self.find(offset)?;
            self.list[at].1 = true;
            self.listed -= 1;
            self.list[at].0
        };
        self.open -= 1;
        Some(hole)
    }

    /// Lets go of what was settled, once for each batch of settlements.
    pub(super) fn sweep(&mut self) {
        while self.list.front().is_some_and(|(_, settled)| *settled) {
            self.list.pop_front();
        }
        // A stuck key at the front must not keep everything behind it in memory.
        if self.list.len() > 2 * self.listed + SLACK {
            self.list.retain(|(_, settled)| !settled);
        }
    }

    /// The holes as a row keeps them. Freezes the oldest ones of a long list, and joins neighbours of which
    /// little is left.
    pub(super) fn set(&mut self) -> HoleSet {
        while self.listed > 2 * piece() {
            self.freeze();
        }
        if let Some(at) = self.pieces.windows(2).position(|two| two[0].left + two[1].left <= piece() / 2) {
            let both: Vec<_> = self.pieces[at..at + 2].iter().flat_map(Piece::iter).collect();
            let joined = Piece::new(self.id(), both);
            self.pieces.splice(at..at + 2, [joined]);
        }
        let others = self.list.iter().filter(|(_, settled)| !settled).map(|(h, _)| *h).collect();
        HoleSet { pieces: self.pieces.clone(), others }
    }

    fn freeze(&mut self) {
        let mut oldest = Vec::with_capacity(piece());
        while oldest.len() < piece() {
            match self.list.pop_front() {
                Some((hole, false)) => oldest.push(hole),
                Some((_, true)) => {}
                None => break,
            }
        }
        self.listed -= oldest.len();
        self.list.shrink_to(self.list.len() + SLACK);
        let id = self.id();
        self.pieces.push(Piece::new(id, oldest));
    }

    fn id(&mut self) -> u64 {
        let id = self.next_id.max(1);
        self.next_id = id + 1;
        id
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn holes_agree_with_a_plain_set_and_a_row_repeats_little() {
        let mut rng = fastrand::Rng::with_seed(1);
        let (mut holes, mut model) = (Holes::default(), BTreeSet::new());
        let mut next = 0;
        let mut written = Vec::new();
        for round in 0..60 {
            for _ in 0..rng.usize(0..400) {
                next += rng.u64(1..4);
                holes.push(Hole { offset: next, key: next * 3, bytes: 7 });
                model.insert(next);
            }
            // Every seventh is stuck; the others go in any order, and at the end nearly all.
            let keep = if round < 50 { 7 } else { 997 };
            let going: Vec<u64> = model.iter().copied().filter(|o| o % keep != 0 && rng.bool()).collect();
            for offset in going {
                assert_eq!(holes.settle(offset).map(|h| h.offset), Some(offset));
                assert_eq!(holes.settle(offset), None);
                model.remove(&offset);
            }
            holes.sweep();
            let set = holes.set();
            assert!(set.others.len() <= 2 * PIECE);
            assert!(set.iter().map(|h| h.offset).eq(model.iter().copied()), "round {round}");
            assert_eq!((set.len(), holes.len()), (model.len(), model.len()));
            assert_eq!((set.first(), holes.first()), (model.first().copied(), model.first().copied()));
            for probe in next.saturating_sub(900)..next {
                assert_eq!(holes.contains(probe), model.contains(&probe));
                assert_eq!(set.contains(probe), model.contains(&probe));
            }
            written.push(set.pieces.iter().map(|p| p.frozen.id).collect::<BTreeSet<_>>());
            if round % 9 == 0 {
                holes = Holes::new(&set, 0);
            }
        }
        assert!(written.iter().any(|pieces| pieces.len() > 1), "nothing was frozen");
        assert!(written.windows(2).any(|two| two[1].len() < two[0].len()), "nothing was joined");
    }
}
