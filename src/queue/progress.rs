//! A reader's progress: position, holes and every column of the books.
//!
//! Must never know why an entry settled; only that it did, and in which column. One lock per reader, taken
//! once per batch.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::budget::Budget;
use super::dead::Counts;
use super::dispatcher::Routes;
use super::entry::{Stored, TargetNo};
use super::holes::{Hole, HoleSet, Holes};
use super::oldest::OldestEvent;
use super::replay::{Given, Replay, ReplayRow};
use crate::fail;
use crate::journal::Total;

/// The only ways in which an entry leaves a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Column {
    /// The far side has it.
    Delivered,
    /// It is in the target's dead letters.
    DeadLettered,
    /// An operator purged it.
    Purged,
    /// An operator forgot the target.
    Forgotten,
    /// Its record was damaged, and an operator accepted the loss.
    Quarantined,
}

/// One target's books: `matched = delivered + backlog + held + dead_lettered + purged + forgotten +
/// quarantined`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Books {
    /// Events that matched, counted from the log, never from the settle side.
    pub matched: u64,
    /// The far side has them.
    pub delivered: u64,
    /// Durable and not settled, and not held: in the lane's hands by its own count, or not taken yet.
    pub backlog: u64,
    /// Not settled because their key is stuck.
    pub held: u64,
    /// In the dead letters.
    pub dead_lettered: u64,
    /// Purged by an operator.
    pub purged: u64,
    /// Forgotten by an operator.
    pub forgotten: u64,
    /// Damaged, and the loss accepted by an operator.
    pub quarantined: u64,
    /// Beside the balance: never accepted because the target's budget was full.
    pub shed: u64,
    /// Beside the balance: delivered again.
    pub repeated: u64,
    /// Beside the balance: delivered by a rule that came after the event, since an operator asked.
    pub rematched: u64,
}

impl Books {
    /// What the identity says is missing (positive) or counted twice (negative); 0 when the books balance.
    pub fn imbalance(&self) -> i128 {
        let settled = [
            self.delivered,
            self.backlog,
            self.held,
            self.dead_lettered,
            self.purged,
            self.forgotten,
            self.quarantined,
        ];
        i128::from(self.matched) - settled.iter().map(|n| i128::from(*n)).sum::<i128>()
    }
}

/// Cumulative totals of the books, as a row keeps them. `taken` is everything that ever left the log for the
/// lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Totals {
    pub(super) taken: u64,
    pub(super) delivered: u64,
    pub(super) dead_lettered: u64,
    pub(super) purged: u64,
    pub(super) forgotten: u64,
    pub(super) quarantined: u64,
    pub(super) repeated: u64,
    pub(super) rematched: u64,
    /// Bytes of everything in `taken` …
    pub(super) taken_bytes: u64,
    /// … and of that part of it which is settled.
    pub(super) settled_bytes: u64,
}

impl Totals {
    pub(super) fn taken(&self) -> Total {
        Total { count: self.taken, bytes: self.taken_bytes }
    }
}

/// What a row says about its reader.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Row {
    /// One above the last durable offset when the row was made: proof for recovery.
    pub(super) durable_end: u64,
    /// Everything below is settled or a hole.
    pub(super) position: u64,
    pub(super) totals: Totals,
    pub(super) holes: HoleSet,
    /// The reader goes over entries again.
    pub(super) replay: Option<ReplayRow>,
    /// How often it has gone back.
    pub(super) replays: u64,
}

/// Entries the dispatcher may put into a reader's inbox; beyond it the reader detaches and reads for itself.
pub(super) const INBOX_ENTRIES: usize = 16_384;

/// The shared view of one reader's progress.
#[derive(Debug)]
pub struct Progress {
    pub(super) target: TargetNo,
    /// Counted on the writer thread as records become durable.
    pub(super) matched: AtomicU64,
    /// Counted with it: what was never accepted.
    pub(super) shed: AtomicU64,
    pub(super) budget: Budget,
    /// How far the dispatcher has routed: the position of every attached reader whose inbox is empty.
    pub(super) dispatched: Arc<AtomicU64>,
    state: Mutex<State>,
    looked_up: Mutex<Option<(u64, OldestEvent)>>,
    /// Something is in the inbox, or the reader was detached.
    pub(super) arrived: Notify,
    /// Something was settled.
    settled: Notify,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// Routed here and not taken yet.
    pub(super) inbox: VecDeque<Arc<Stored>>,
    /// The dispatcher routes to the inbox.
    pub(super) attached: bool,
    /// Detached: where to go on reading. Attached: the dispatcher leaves out what is below.
    pub(super) from: u64,
    /// Taken and not settled.
    pub(super) holes: Holes,
    /// The reader goes over entries again, and how often it has gone back so far.
    pub(super) replay: Option<Replay>,
    pub(super) replays: u64,
    pub(super) totals: Totals,
    /// Dead letters by their own log; `totals.dead_lettered` is how many were ever settled as such.
    pub(super) dead: Counts,
    /// Dead letters at or above the position: counted as taken, and passed over when they come.
    pub(super) ahead: BTreeMap<u64, u32>,
    held: u64,
    /// Changed since the last row was made.
    dirty: bool,
    /// Told when a row on disk is not what it would be now.
    rows: Arc<Notify>,
}

#[cfg(test)]
impl Default for Progress {
    fn default() -> Self {
        Self::new(TargetNo(0), &Row::default(), Total::default(), 0, &Routes::new(0))
    }
}

impl Progress {
    /// The progress that `row` says. `matched` and `shed` are the log's own counts.
    pub(super) fn new(target: TargetNo, row: &Row, matched: Total, shed: u64, routes: &Routes) -> Self {
        // Where damage hides records from the count, a row that took more of them knows better.
        let matched = matched.at_least(row.totals.taken());
        let state = State {
            from: row.replay.map_or(row.position, |replay| replay.next),
            // It may have come further: what was taken above is not taken once more.
            replay: row.replay.map(|r| Replay::of_row(ReplayRow { until: r.until.max(row.position), ..r })),
            replays: row.replays,
            holes: Holes::new(&row.holes, 1),
            totals: row.totals,
            dead: Counts { dead: row.totals.dead_lettered, ..Counts::default() },
            // The row is on disk: a reader that began as changed would tell nobody of its first change.
            dirty: false,
            rows: Arc::clone(&routes.rows),
            ..State::default()
        };
        Self {
            target,
            matched: AtomicU64::new(matched.count),
            shed: AtomicU64::new(shed),
            budget: Budget::new(matched.bytes.saturating_sub(row.totals.settled_bytes)),
            dispatched: Arc::clone(&routes.dispatched),
            state: Mutex::new(state),
            looked_up: Mutex::default(),
            arrived: Notify::new(),
            settled: Notify::new(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One consistent snapshot of the books.
    pub fn books(&self) -> Books {
        let state = self.state();
        let t = state.totals;
        // Read under the lock and after the totals: whatever was taken had been counted before.
        let matched = self.matched.load(Ordering::Acquire);
        let open = (matched - t.taken.min(matched)) + state.holes.len() as u64;
        Books {
            matched,
            delivered: t.delivered + state.dead.replayed,
            backlog: open - state.held.min(open),
            held: state.held.min(open),
            dead_lettered: state.dead.dead,
            purged: t.purged + state.dead.purged,
            forgotten: t.forgotten,
            quarantined: t.quarantined + state.dead.lost,
            shed: self.shed.load(Ordering::Acquire),
            repeated: t.repeated,
            rematched: t.rematched,
        }
    }

    pub(super) fn target(&self) -> TargetNo {
        self.target
    }

    /// Counts everything that is not settled as forgotten, and lets go of it.
    pub(super) fn forget(&self) -> Books {
        {
            let mut state = self.state();
            let matched = self.matched.load(Ordering::Acquire);
            let open = matched.saturating_sub(state.totals.taken) + state.holes.len() as u64;
            let (dirty, rows) = (state.dirty, Arc::clone(&state.rows));
            let forgotten = state.totals.forgotten + open + state.dead.dead;
            let totals = Totals { taken: matched, forgotten, ..state.totals };
            let dead = Counts { dead: 0, ..state.dead };
            *state = State { totals, dirty, rows, dead, ..State::default() };
        }
        self.budget.give_back(u64::MAX);
        self.settled.notify_waiters();
        self.books()
    }

    /// What the target may owe, and what it owes.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// The last answer that had to be looked up in the log: the offset asked from, and the time.
    pub(super) fn looked_up(&self) -> MutexGuard<'_, Option<(u64, OldestEvent)>> {
        self.looked_up.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nothing that is durable now is undelivered.
    pub async fn settled(&self) {
        loop {
            let changed = self.settled.notified();
            let books = self.books();
            if books.backlog + books.held == 0 {
                return;
            }
            changed.await;
        }
    }

    /// The lane says how many of its unsettled entries belong to stuck keys.
    pub fn set_held(&self, held: u64) {
        self.state().held = held;
    }

    /// The row as of now. `durable_end` must have been read before.
    pub(super) fn row(&self, durable_end: u64) -> Row {
        let mut state = self.state();
        state.dirty = false;
        let position = state.position(self.dispatched.load(Ordering::Acquire));
        let (totals, holes) = (state.totals_below(position), state.holes.set());
        Row { durable_end, position, totals, holes, replay: state.replay_row(), replays: state.replays }
    }

    /// True if the row on disk is not what it would be now, or its position is more than `slack` offsets
    /// behind.
    pub(super) fn wants_row(&self, row_position: u64, slack: u64) -> bool {
        let routed = self.dispatched.load(Ordering::Acquire);
        let state = self.state();
        state.dirty || (!state.idles_at(routed) && state.position(routed) > row_position + slack)
    }

    /// True if the target needs nothing of the log below `routed`, and its last row says of it all but that:
    /// then that row is as good as one with this position. `routed` must have been read before: whatever was
    /// routed below it is in the reader's hands.
    pub(super) fn idles_at(&self, routed: u64) -> bool {
        self.state().idles_at(routed)
    }

    /// True if everything that ever matched was taken, and nothing is to be given again.
    pub(super) fn took_everything(&self) -> bool {
        let state = self.state();
        state.replay.is_none() && state.totals.taken >= self.matched.load(Ordering::Acquire)
    }

    /// What is taken and not settled, in offset order, as far as it lies below where the reader goes on: the
    /// rest is given on the way.
    pub(super) fn holes(&self) -> Vec<Hole> {
        let state = self.state();
        let end = state.replays_below().map_or(u64::MAX, |_| state.from);
        state.holes.iter().take_while(|hole| hole.offset < end).collect()
    }

    /// The lowest offset that is taken and not settled.
    pub fn first_hole(&self) -> Option<u64> {
        self.state().holes.first()
    }

    /// The reader is gone: nothing more is routed to it, and what was routed is left to the next one.
    pub(super) fn detach(&self) {
        let dispatched = self.dispatched.load(Ordering::Acquire);
        let mut state = self.state();
        let position = state.position(dispatched);
        state.from = state.replay_row().map_or(position, |replay| replay.next);
        state.replay.iter_mut().for_each(|replay| replay.give_back(position));
        state.attached = false;
        state.inbox.clear();
    }

    pub(super) fn settle(&self, settled: &[(u64, Column)]) {
        let freed = self.state().settle(settled);
        self.budget.give_back(freed);
        self.settled.notify_waiters();
    }

    pub(super) fn repeated(&self, count: u64) {
        let mut state = self.state();
        state.totals.repeated += count;
        state.touch();
    }
}

impl State {
    /// The row on disk is not what it would be now.
    pub(super) fn touch(&mut self) {
        if !std::mem::replace(&mut self.dirty, true) {
            self.rows.notify_one();
        }
    }

    fn idles_at(&self, routed: u64) -> bool {
        if fail::mutant("idle-floor-passes-entry") {
            return self.attached;
        }
        let waits_above = self.inbox.front().is_none_or(|first| first.position.offset >= routed);
        let settled = self.holes.len() == 0 && self.ahead.is_empty() && self.replay.is_none();
        self.attached && self.from <= routed && waits_above && settled && !self.dirty
    }

    /// Everything below is taken.
    pub(super) fn position(&self, dispatched: u64) -> u64 {
        match self.inbox.front() {
            _ if self.replays_below().is_some() => self.replays_below().unwrap_or(self.from),
            Some(first) => first.position.offset,
            None if self.attached => dispatched.max(self.from),
            None => self.from,
        }
    }

    /// Moves up to `max` entries from the inbox to the window.
    pub(super) fn take_inbox(&mut self, max: usize) -> Vec<Arc<Stored>> {
        let n = self.inbox.len().min(max);
        let mut taken: Vec<_> = self.inbox.drain(..n).collect();
        if let Some(end) = taken.last().map(|last| last.position.offset + 1) {
            self.leave_out_dead(&mut taken);
            self.note_taken(&taken);
            self.from = self.from.max(end);
        }
        taken
    }

    /// Counts entries that are being handed to the lane as taken.
    pub(super) fn note_taken(&mut self, taken: &[Arc<Stored>]) {
        for stored in taken {
            self.holes.push(Hole {
                offset: stored.position.offset,
                key: stored.key_hash(),
                bytes: stored.bare,
            });
            self.totals.taken_bytes += u64::from(stored.bare);
        }
        self.totals.taken += taken.len() as u64;
        self.touch();
    }

    /// Gives the bytes that were settled.
    fn settle(&mut self, settled: &[(u64, Column)]) -> u64 {
        let mut freed = 0;
        for (offset, column) in settled {
            if let Some(given) = self.replay.as_mut().and_then(|replay| replay.settle(*offset)) {
                let beside = match given {
                    Given::Again => &mut self.totals.repeated,
                    Given::Rematched => &mut self.totals.rematched,
                };
                *beside += u64::from(*column == Column::Delivered);
                continue;
            }
            // Each entry is counted once, whatever the lane says twice.
            let Some(hole) = self.holes.settle(*offset) else {
                debug_assert!(false, "offset {offset} was settled and is not a hole");
                continue;
            };
            freed += u64::from(hole.bytes);
            let t = &mut self.totals;
            let total = match column {
                Column::Delivered => &mut t.delivered,
                Column::DeadLettered => {
                    self.dead.dead += 1;
                    self.replay.iter_mut().for_each(|replay| replay.buried(*offset, hole.bytes));
                    &mut t.dead_lettered
                }
                Column::Purged => &mut t.purged,
                Column::Forgotten => &mut t.forgotten,
                Column::Quarantined => &mut t.quarantined,
            };
            *total += 1;
        }
        self.holes.sweep();
        self.end_replay();
        self.totals.settled_bytes += freed;
        self.touch();
        freed
    }
}
