//! What a target may owe: the bytes of what was accepted for it and is not settled, wherever they lie.
//!
//! Charged before the append, given back when an entry is settled; after a restart it is what the log counted
//! less what the row settled. Must never refuse a change for a target that the change is not for, and never
//! let a charge that was not appended stay.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::{self, WhenFull};

/// Percentages of a budget that people are told of.
pub const LEVELS: [u8; 4] = [50, 80, 95, 100];
/// A level is left only once the charge is so many percent below it, so that nothing flutters.
const SLACK: u64 = 5;

/// One target's budget.
#[derive(Debug)]
pub struct Budget {
    pub(super) charged: AtomicU64,
    max: AtomicU64,
    sheds: AtomicBool,
    /// The highest of [`LEVELS`] that was reached and not left; 0 below all of them.
    level: AtomicU8,
    name: Mutex<Arc<str>>,
}

/// A budget at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct BudgetView {
    /// Bytes accepted and not settled.
    pub charged: u64,
    /// How many there may be; none for a target without a bound.
    pub max_backlog: Option<u64>,
    /// What happens at the bound.
    pub when_full: WhenFull,
    /// The highest of 50, 80, 95 and 100 percent that was reached and not left; 0 below all of them.
    pub level: u8,
}

/// A target's budget is full and its policy refuses: nothing happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "target `{target}` has {charged} bytes undelivered and may have {max} (its max_backlog); changes that it \
     would get are refused until it has caught up"
)]
pub struct OverBudget {
    /// The target's name.
    pub target: Arc<str>,
    /// Bytes accepted for it and not settled.
    pub charged: u64,
    /// How many there may be.
    pub max: u64,
}

impl Budget {
    /// Nothing is bounded until a policy is set.
    pub(super) fn new(charged: u64) -> Self {
        Self {
            charged: AtomicU64::new(charged),
            max: AtomicU64::new(u64::MAX),
            sheds: AtomicBool::new(false),
            level: AtomicU8::new(0),
            name: Mutex::new("".into()),
        }
    }

    /// From now on these bounds hold; what was accepted stays accepted. `name` is for people.
    pub fn set(&self, name: &Arc<str>, policy: config::Budget) {
        *self.name.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(name);
        self.sheds.store(policy.when_full == WhenFull::Shed, Ordering::Release);
        if self.max.swap(policy.max_backlog, Ordering::AcqRel) != policy.max_backlog {
            self.level.store(0, Ordering::Release);
        }
        self.note_level(self.charged.load(Ordering::Acquire));
    }

    /// The budget now.
    pub fn view(&self) -> BudgetView {
        let max = self.max.load(Ordering::Acquire);
        BudgetView {
            charged: self.charged.load(Ordering::Acquire),
            max_backlog: (max != u64::MAX).then_some(max),
            when_full: if self.sheds() { WhenFull::Shed } else { WhenFull::Refuse },
            level: self.level.load(Ordering::Acquire),
        }
    }

    pub(super) fn sheds(&self) -> bool {
        self.sheds.load(Ordering::Acquire)
    }

    /// Charges `bytes` if they fit.
    pub(super) fn charge(&self, bytes: u64) -> bool {
        let max = self.max.load(Ordering::Acquire);
        let fits = |charged: u64| charged.checked_add(bytes).filter(|sum| *sum <= max);
        let charged = self.charged.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits);
        if let Ok(before) = charged {
            self.note_level(before + bytes);
        } else {
            self.note_level(max);
        }
        charged.is_ok()
    }

    /// Charges `bytes` whatever is charged already.
    pub(super) fn force(&self, bytes: u64) {
        let before = self.charged.fetch_add(bytes, Ordering::AcqRel);
        self.note_level(before + bytes);
    }

    /// What was charged is settled, or was never appended.
    pub(super) fn give_back(&self, bytes: u64) {
        if bytes == 0 {
            return;
        }
        let less = |charged: u64| Some(charged.saturating_sub(bytes));
        let before = self.charged.fetch_update(Ordering::AcqRel, Ordering::Acquire, less).unwrap_or(0);
        self.note_level(before.saturating_sub(bytes));
    }

    /// Says once that a level was reached, or left.
    fn note_level(&self, charged: u64) {
        let (max, shown) = (self.max.load(Ordering::Acquire), self.level.load(Ordering::Acquire));
        // In a lane that keeps up this is all that an event costs.
        if shown == 0 && charged < max / 2 {
            return;
        }
        let percent = percent_of(charged, max);
        let reached = LEVELS.iter().rev().find(|l| percent >= u64::from(**l)).copied().unwrap_or(0);
        let left = percent + SLACK <= u64::from(shown);
        let level = if reached > shown || left { reached } else { return };
        if self.level.compare_exchange(shown, level, Ordering::AcqRel, Ordering::Acquire).is_err() {
            return;
        }
        let name = Arc::clone(&self.name.lock().unwrap_or_else(PoisonError::into_inner));
        let then = if self.sheds() { "its events are shed" } else { "changes that it would get are refused" };
        match level {
            100 => tracing::error!(target_name = %name, charged, max, "its budget is full: {then}"),
            0 => {
                tracing::info!(target_name = %name, charged, max, "less than half of its budget is used")
            }
            _ => {
                tracing::warn!(target_name = %name, charged, max, "{level} % of its budget are used")
            }
        }
    }

    pub(super) fn full(&self) -> OverBudget {
        OverBudget {
            target: Arc::clone(&self.name.lock().unwrap_or_else(PoisonError::into_inner)),
            charged: self.charged.load(Ordering::Acquire),
            max: self.max.load(Ordering::Acquire),
        }
    }
}

/// `part` of `whole` in percent, rounded down, so that 100 means full.
pub(super) fn percent_of(part: u64, whole: u64) -> u64 {
    u64::try_from(u128::from(part) * 100 / u128::from(whole.max(1))).unwrap_or(u64::MAX)
}
