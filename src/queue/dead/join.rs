//! Log and row, joined at open: what the row does not know yet, and what the log does not know any more.
//!
//! Must never let an offset be sent that is in the log, and never let a letter be missing without saying so.

use std::collections::BTreeMap;

use super::{Carried, Gone, Opened};
use crate::fail;
use crate::queue::progress::Row;

/// Dead letters by where they are: the columns of the books that come from the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::queue) struct Counts {
    pub(in crate::queue) dead: u64,
    pub(in crate::queue) purged: u64,
    pub(in crate::queue) replayed: u64,
    pub(in crate::queue) lost: u64,
}

/// What a reader must know of its dead letters.
#[derive(Debug, Default)]
pub(in crate::queue) struct Joined {
    pub(in crate::queue) counts: Counts,
    /// Settled offsets at or above the row's position, and what they cost: to be passed over.
    pub(in crate::queue) ahead: BTreeMap<u64, u32>,
    /// Letters that the row says were settled, and that are not in the log.
    pub(in crate::queue) missing: u64,
}

impl Opened {
    /// How many offsets below `position` a reader without a row finds settled here.
    pub(in crate::queue) fn settled_below(&self, position: u64) -> u64 {
        let below = self.index.offsets().filter(|offset| *offset < position).count() as u64;
        below + self.file.carried.total()
    }

    /// Joins the log with the row that was found: holes that are in the log are none any more.
    pub(in crate::queue) fn join(&mut self, row: &mut Row) -> Joined {
        let is_hole = |offset: &u64| row.holes.contains(*offset);
        let passed = |offset: &u64| *offset < row.position && !is_hole(offset);
        let known = self.index.offsets().filter(passed).count() as u64 + self.file.carried.total();
        let missing = row.totals.dead_lettered.saturating_sub(known);
        // The row that had passed them is lost: they are counted anew.
        self.forget_carried(known.saturating_sub(row.totals.dead_lettered));
        let mut ahead = BTreeMap::new();
        if !fail::mutant("dead-letter-sent-again") {
            let (index, totals) = (&self.index, &mut row.totals);
            row.holes.retain(|hole| {
                let settled =
                    index.letters.contains_key(&hole.offset) || index.gone.contains_key(&hole.offset);
                if settled {
                    totals.dead_lettered += 1;
                    totals.settled_bytes += u64::from(hole.bytes);
                }
                !settled
            });
            ahead.extend(index.entries().filter(|(offset, _)| *offset >= row.position));
        }
        Joined { counts: self.counts(), ahead, missing }
    }

    fn counts(&self) -> Counts {
        let carried = self.file.carried;
        Counts {
            dead: self.index.letters.len() as u64,
            purged: carried.purged + self.index.gone_by(Gone::Purged),
            replayed: carried.replayed + self.index.gone_by(Gone::Replayed),
            lost: carried.lost,
        }
    }

    fn forget_carried(&mut self, mut count: u64) {
        let Carried { purged, replayed, lost } = &mut self.file.carried;
        for column in [replayed, purged, lost] {
            let taken = count.min(*column);
            (*column, count) = (*column - taken, count - taken);
        }
    }
}
