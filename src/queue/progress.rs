//! A reader's progress: position, holes and every column of the books, in one row that is written atomically.
//!
//! Must never know why an entry settled; only that it did, and in which column.

use std::sync::{Mutex, PoisonError};

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

/// One target's books: `matched = delivered + backlog + held + dead_lettered + purged + forgotten + quarantined`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Books {
    /// Events that matched, counted from the log, never from the settle side.
    pub matched: u64,
    /// The far side has them.
    pub delivered: u64,
    /// Durable and not settled, and not held.
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

/// The shared view of one reader's progress.
#[derive(Debug, Default)]
pub struct Progress {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    books: Books,
}

impl Progress {
    /// One consistent snapshot of the books.
    pub fn books(&self) -> Books {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).books
    }

    /// The lane says how many of its unsettled entries belong to stuck keys.
    pub fn set_held(&self, held: u64) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).books.held = held;
    }
}
