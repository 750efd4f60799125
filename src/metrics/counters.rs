//! What is counted as it happens: plain numbers that a lane owns, and shared ones for journal and commit
//! path.
//!
//! Must never lock or allocate where a change is counted, and never know who reads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidings_connector::{ErrorClass, Outcome};

use super::labels::{AttemptResult, LossReason};
use super::table::{ATTEMPT_SECONDS, BATCH_ENTRIES, END_TO_END_SECONDS, SYNC_SECONDS};

/// The most bounds that a histogram has.
const MAX_BOUNDS: usize = 16;

/// Observations in fixed buckets. A plain value: its owner counts, a scrape gets a copy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Histogram {
    bounds: &'static [f64],
    /// Not cumulative; the one after the last bound is above all bounds.
    buckets: [u64; MAX_BOUNDS + 1],
    sum: f64,
}

impl Histogram {
    /// An empty one with these upper bounds, ascending and inclusive, at most 16.
    pub(super) fn new(bounds: &'static [f64]) -> Self {
        assert!(bounds.len() <= MAX_BOUNDS, "the table has no histogram with so many bounds");
        Self { bounds, buckets: [0; MAX_BOUNDS + 1], sum: 0.0 }
    }

    /// Counts one observation.
    pub fn observe(&mut self, value: f64) {
        let bucket = self.bounds.iter().position(|bound| value <= *bound).unwrap_or(self.bounds.len());
        self.buckets[bucket] += 1;
        self.sum += value;
    }

    /// Counts one duration, in seconds.
    pub fn observe_duration(&mut self, took: Duration) {
        self.observe(took.as_secs_f64());
    }

    /// How many observations there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The sum of all observations.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// Every bound with the number of observations up to it.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let counts = self.buckets.iter().scan(0, |sum, n| {
            *sum += n;
            Some(*sum)
        });
        self.bounds.iter().copied().zip(counts)
    }
}

/// What one lane counts since the start of the process. What must survive a restart is in the books.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TargetCounters {
    /// Attempts by result.
    pub attempts: Attempts,
    /// Failed attempts and connections by class.
    pub errors: ErrorCounts,
    /// Answers to attempts that had been given up; they never settle anything.
    pub late_receipts: u64,
    /// From handing over to the outcome.
    pub attempt_seconds: Histogram,
    /// From the event's time to its delivery, to the millisecond.
    pub end_to_end_seconds: Histogram,
}

impl Default for TargetCounters {
    fn default() -> Self {
        Self {
            attempts: Attempts::default(),
            errors: ErrorCounts::default(),
            late_receipts: 0,
            attempt_seconds: Histogram::new(ATTEMPT_SECONDS),
            end_to_end_seconds: Histogram::new(END_TO_END_SECONDS),
        }
    }
}

/// Attempts by result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attempts {
    /// Delivered.
    pub delivered: u64,
    /// Not known to be delivered.
    pub retry: u64,
    /// The far side asked to slow down.
    pub throttled: u64,
    /// The event can never be accepted.
    pub rejected: u64,
    /// The far side takes nothing until somebody mends it.
    pub faulted: u64,
    /// No answer in time.
    pub timeout: u64,
    /// Given up with their connection.
    pub abandoned: u64,
}

impl Attempts {
    /// Counts one answer.
    pub fn count(&mut self, outcome: &Outcome) {
        let counter = match outcome {
            Outcome::Delivered => &mut self.delivered,
            Outcome::Retry { .. } => &mut self.retry,
            Outcome::Throttled { .. } => &mut self.throttled,
            Outcome::Rejected { .. } => &mut self.rejected,
            Outcome::Faulted { .. } => &mut self.faulted,
        };
        *counter += 1;
    }

    pub(super) fn of(&self, result: AttemptResult) -> u64 {
        match result {
            AttemptResult::Ok => self.delivered,
            AttemptResult::Retry => self.retry,
            AttemptResult::Throttled => self.throttled,
            AttemptResult::Rejected => self.rejected,
            AttemptResult::Faulted => self.faulted,
            AttemptResult::Timeout => self.timeout,
            AttemptResult::Abandoned => self.abandoned,
        }
    }
}

/// Failures by class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ErrorCounts([u64; ErrorClass::ALL.len()]);

impl ErrorCounts {
    /// Counts one failure.
    pub fn count(&mut self, class: ErrorClass) {
        self.0[class as usize] += 1;
    }

    pub(super) fn of(&self, class: ErrorClass) -> u64 {
        self.0[class as usize]
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn increment(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(super) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the journal counts.
#[derive(Debug)]
pub struct JournalMetrics {
    batches: Mutex<Batches>,
    /// Damaged records that were durable.
    pub corrupt_records: Counter,
    /// Acknowledged before the sync returned.
    pub unsynced_acks: Counter,
    lost: [Counter; LossReason::ALL.len()],
}

/// The batches that were made durable.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batches {
    pub(super) write_seconds: Histogram,
    pub(super) sync_seconds: Histogram,
    pub(super) entries: Histogram,
}

impl Default for JournalMetrics {
    fn default() -> Self {
        let batches = Batches {
            write_seconds: Histogram::new(SYNC_SECONDS),
            sync_seconds: Histogram::new(SYNC_SECONDS),
            entries: Histogram::new(BATCH_ENTRIES),
        };
        Self {
            batches: Mutex::new(batches),
            corrupt_records: Counter::default(),
            unsynced_acks: Counter::default(),
            lost: Default::default(),
        }
    }
}

impl JournalMetrics {
    /// Counts one batch: how many entries it made durable, how long writing and syncing took. Once per batch.
    pub fn batch(&self, entries: usize, write: Duration, sync: Duration) {
        let mut batches = self.lock();
        batches.entries.observe(entries as f64);
        batches.write_seconds.observe_duration(write);
        batches.sync_seconds.observe_duration(sync);
    }

    /// Counts acknowledged events that can never be delivered.
    pub fn lost(&self, reason: LossReason, events: u64) {
        self.lost[reason as usize].increment(events);
    }

    pub(super) fn batches(&self) -> Batches {
        *self.lock()
    }

    pub(super) fn lost_by(&self, reason: LossReason) -> u64 {
        self.lost[reason as usize].value()
    }

    fn lock(&self) -> MutexGuard<'_, Batches> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
