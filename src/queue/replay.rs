//! Seeing again what was settled: a reader goes back within what the log still has.
//!
//! The row keeps the position and the holes from before; beside them it says from where to where entries
//! are given again. Below that position an entry that is no hole counts as repeated once it is delivered,
//! costs no budget, and is passed over if it is a dead letter. Must never give anything again before the
//! row that says so is synced, nor take a repetition for a delivery.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::dead;
use super::embedded::{EmbeddedQueue, Inner};
use super::entry::{Stored, TargetNo};
use super::error::{RewindError, Rewound};
use super::progress::{Progress, State};
use crate::fail;

/// What a row says about a reader that goes over entries again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReplayRow {
    /// Everything below was given again and delivered, or is a hole.
    pub(super) next: u64,
    /// The position from before: below it, what is no hole is a repetition.
    pub(super) until: u64,
    /// How often the reader has gone back so far.
    pub(super) serial: u64,
    /// Below this it also gives what the rules of now match: the end of the log when it was asked for; 0:
    /// nothing.
    pub(super) rematch: u64,
}

/// Why an entry is given that is no hole, and not for the first time or not by its label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Given {
    /// It was settled before.
    Again,
    /// It was not for the target when it happened.
    Rematched,
}

/// How far a reader goes back that has not done so yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Back {
    pub(super) from: u64,
    pub(super) rematch: bool,
}

/// A reader as it was before it went back.
struct Before {
    from: u64,
    replay: Option<Replay>,
}

/// A reader that goes over entries again.
#[derive(Debug)]
pub(super) struct Replay {
    until: u64,
    serial: u64,
    /// As in its row: at or above the position from before too, since what was not for the target there
    /// will not come by itself.
    rematch: u64,
    /// Given and not delivered, beside the holes.
    pub(super) out: BTreeMap<u64, Given>,
    /// Dead letters: they are sent again on their own.
    dead: HashMap<u64, u32>,
}

impl Replay {
    /// As a row says it.
    pub(super) fn of_row(row: ReplayRow) -> Self {
        let ReplayRow { until, serial, rematch, .. } = row;
        Self { until, serial, rematch, out: BTreeMap::new(), dead: HashMap::new() }
    }

    /// Where it has given everything.
    fn end(&self) -> u64 {
        self.until.max(self.rematch)
    }

    /// Whoever had it is gone: what was not delivered is given again by the next one, which goes over
    /// everything below `position` once more: it was taken, some of it above the position from before.
    pub(super) fn give_back(&mut self, position: u64) {
        self.until = self.until.max(position);
        self.out.clear();
    }

    /// A hole became a dead letter meanwhile: nobody else is given it again either.
    pub(super) fn buried(&mut self, offset: u64, bytes: u32) {
        self.dead.insert(offset, bytes);
    }

    /// Why an offset was given that is no hole; it is settled with this.
    pub(super) fn settle(&mut self, offset: u64) -> Option<Given> {
        self.out.remove(&offset)
    }
}

impl State {
    /// The position from before, while a reader goes over entries below it.
    pub(super) fn replays_below(&self) -> Option<u64> {
        self.replay.as_ref().map(|replay| replay.until).filter(|until| self.from < *until)
    }

    /// What a row says of it.
    pub(super) fn replay_row(&self) -> Option<ReplayRow> {
        let replay = self.replay.as_ref()?;
        let Replay { until, serial, rematch, .. } = *replay;
        let next = replay.out.first_key_value().map_or(self.from, |(first, _)| *first).min(replay.end());
        Some(ReplayRow { next, until, serial, rematch })
    }

    /// Ends a replay of which everything is delivered. Its number stays known while the row does.
    pub(super) fn end_replay(&mut self) {
        let done = |replay: &Replay| replay.out.is_empty() && self.from >= replay.end();
        if self.replay.as_ref().is_some_and(done) {
            self.replay = None;
            self.touch();
        }
    }

    /// Below this the reader also gives what the rules of now match, while it goes over entries again.
    pub(super) fn rematches_below(&self) -> Option<u64> {
        self.replay.as_ref().map(|replay| replay.rematch).filter(|below| self.from < *below)
    }

    /// Takes out, of entries that were read, those that are given because an operator goes back. Below the
    /// position from before that is everything: holes are taken already, dead letters are passed over, and
    /// the others are given again. Above it, it is what is `rematched`.
    pub(super) fn note_again(
        &mut self,
        entries: &mut Vec<Arc<Stored>>,
        rematched: &HashSet<u64>,
    ) -> Vec<Arc<Stored>> {
        let going = self.replays_below().is_some() || self.rematches_below().is_some();
        let (holes, Some(replay)) = (&self.holes, self.replay.as_mut().filter(|_| going)) else {
            return Vec::new();
        };
        let at = entries.partition_point(|stored| stored.position.offset < replay.until);
        let mut above = entries.split_off(at);
        let mut again = std::mem::take(entries);
        again.retain(|stored| {
            let offset = stored.position.offset;
            let hole = holes.contains(offset);
            let give = hole || !replay.dead.contains_key(&offset);
            if give && !hole {
                let new = rematched.contains(&offset);
                replay.out.insert(offset, if new { Given::Rematched } else { Given::Again });
            }
            give
        });
        let new: Vec<_> =
            above.extract_if(.., |stored| rematched.contains(&stored.position.offset)).collect();
        replay.out.extend(new.iter().map(|stored| (stored.position.offset, Given::Rematched)));
        again.extend(new);
        *entries = above;
        self.touch();
        again
    }
}

impl Progress {
    /// Which replay an entry is of, if it was settled before and is given again.
    pub fn replay_of(&self, offset: u64) -> Option<u64> {
        let state = self.state();
        state.replay.as_ref().filter(|replay| replay.out.contains_key(&offset)).map(|replay| replay.serial)
    }

    /// From where to where the reader goes over entries again, if it does.
    pub fn replaying(&self) -> Option<Rewound> {
        let row = self.state().replay_row()?;
        Some(Rewound { from: row.next, until: row.until.max(row.rematch), rematch: row.rematch > 0 })
    }

    /// Goes back. `end` is the log's. The row is not durable yet, and nothing may be given before it is.
    fn rewind(
        &self,
        back: Back,
        end: u64,
        dead: HashMap<u64, u32>,
    ) -> Result<(Rewound, Before), RewindError> {
        let from = back.from;
        let dispatched = self.dispatched.load(Ordering::Acquire);
        let mut state = self.state();
        let position = state.position(dispatched);
        if from >= position {
            return Err(RewindError::Nothing { from, position });
        }
        state.replays += 1;
        let rematch = if back.rematch { end.max(position) } else { 0 };
        let replay = Replay { until: position, serial: state.replays, rematch, out: BTreeMap::new(), dead };
        let until = replay.end();
        let going_back = state.replays_below().is_some();
        let before = Before {
            from: if going_back { state.from } else { position },
            replay: state.replay.replace(replay),
        };
        (state.from, state.attached) = (from, false);
        state.touch();
        state.inbox.clear();
        Ok((Rewound { from, until, rematch: back.rematch }, before))
    }

    /// Does not go back after all. Nothing was given since; what was routed to the reader it reads itself.
    fn stay(&self, before: Before) {
        let mut state = self.state();
        (state.from, state.replay) = (before.from, before.replay);
        state.touch();
    }

    /// The dead letters that a replay passes over, read anew at open.
    pub(super) fn pass_over(&self, dead: HashMap<u64, u32>) {
        if let Some(replay) = &mut self.state().replay {
            replay.dead = dead;
        }
    }
}

impl Inner {
    /// Dead letters of a target, sent again or not.
    pub(super) fn dead_offsets(&self, target: TargetNo) -> std::io::Result<HashMap<u64, u32>> {
        dead::offsets(&*self.disk, &dead::dir_beside(&self.options.progress_dir), target)
    }

    /// Takes a reader back, durably. Nothing that it gave may be out.
    pub(super) async fn rewind(
        self: &Arc<Self>,
        progress: &Arc<Progress>,
        back: Back,
    ) -> Result<Rewound, RewindError> {
        let from = back.from;
        let not_durable = |e: String| RewindError::NotDurable(e);
        let (inner, target) = (Arc::clone(self), progress.target);
        self.rewinding().insert(target.0, back);
        let held = tokio::task::spawn_blocking(move || {
            inner.journal.lower(from);
            let oldest = inner.journal.whole_from();
            let time_us = inner.journal.time_before(oldest);
            if from < oldest { Err(RewindError::TooOld { oldest, time_us }) } else { Ok(()) }
        });
        let held = held.await.map_err(|e| not_durable(e.to_string()));
        let rewound = match held.and_then(|held| held) {
            Ok(()) => {
                let dead = self.dead_offsets(target).map_err(|e| not_durable(e.to_string()));
                let end = *self.journal.durable_end().borrow();
                dead.and_then(|dead| progress.rewind(back, end, dead))
            }
            Err(e) => Err(e),
        };
        let rewound = match rewound {
            Ok((rewound, _)) if fail::mutant("replay-before-row") => Ok(rewound),
            Ok((rewound, before)) => match self.flush().await {
                Ok(()) => Ok(rewound),
                Err(e) => {
                    progress.stay(before);
                    Err(not_durable(e.to_string()))
                }
            },
            Err(e) => Err(e),
        };
        if rewound.is_ok() {
            fail::point("replay.synced");
        }
        self.rewinding().remove(&target.0);
        // What was held for it alone may go, if it did not go back.
        self.raise_floor();
        rewound
    }
}

impl EmbeddedQueue {
    /// The first offset that was written at or after this time, in microseconds since the Unix epoch.
    /// Blocks while it reads.
    pub fn offset_at(&self, time_us: i64) -> std::io::Result<u64> {
        self.inner.journal.offset_at(time_us)
    }
}

#[cfg(test)]
#[path = "replay_tests.rs"]
mod tests;
