//! What a scrape reads at its own moment: states, ages and books.
//!
//! Must never keep anything between scrapes: a target that is gone from the snapshot is gone from the answer.

use std::sync::Arc;

use super::TargetCounters;
use super::labels::{TargetState, Undelivered, WriteResult};
use crate::queue::{Books, BudgetView};

/// Everything that a scrape shows beside counters and histograms, taken at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Now, in microseconds since the Unix epoch.
    pub now_us: i64,
    /// Every registered target, also removed and paused ones.
    pub targets: Vec<TargetSnapshot>,
    /// The queue.
    pub queue: QueueSnapshot,
    /// The store.
    pub store: StoreSnapshot,
    /// The configuration.
    pub config: ConfigSnapshot,
}

/// One target at one moment.
#[derive(Debug, Clone)]
pub struct TargetSnapshot {
    /// Its name.
    pub name: Arc<str>,
    /// Its connector's kind: `kafka`, `nats`, `amqp` or `http`.
    pub kind: Arc<str>,
    /// How its lane stands.
    pub state: TargetState,
    /// One snapshot of its books.
    pub books: Books,
    /// What it may owe, and what it owes.
    pub budget: BudgetView,
    /// Events waiting in memory for their next attempt.
    pub retrying: u64,
    /// Events handed to the connector and not settled.
    pub in_flight: u64,
    /// How many may be.
    pub in_flight_limit: u64,
    /// The commit time of the oldest event it does not have, in microseconds since the Unix epoch.
    pub oldest_undelivered_us: Option<i64>,
    /// When it last confirmed an event, in microseconds since the Unix epoch.
    pub last_success_us: Option<i64>,
    /// Events in its dead letters.
    pub dead_letters: u64,
    /// Their bytes …
    pub dead_letter_bytes: u64,
    /// … and how many there may be; 0 where nobody says.
    pub dead_letter_limit_bytes: u64,
    /// When the oldest of them was written, in microseconds since the Unix epoch.
    pub oldest_dead_letter_us: Option<i64>,
    /// Tries to write one, by [`WriteResult`].
    pub dead_letter_writes: [u64; WriteResult::ALL.len()],
    /// What its lane counted since the start; zeros without a lane.
    pub counters: TargetCounters,
    /// Connections that were given up, or closed by a pause.
    pub connections_ended: u64,
}

/// The queue at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct QueueSnapshot {
    /// Disk that the log takes, in bytes.
    pub bytes: u64,
    /// Disk that it may take, in bytes.
    pub limit_bytes: u64,
    /// Ranges that were durable and cannot be read.
    pub damaged_ranges: u64,
}

/// The store at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct StoreSnapshot {
    /// Bytes of bodies on the disk that are needed.
    pub live_bytes: u64,
    /// Those that will be given back.
    pub dead_bytes: u64,
    /// Objects and parts that the scrub found damaged when it looked at them last.
    pub damaged: u64,
    /// Bytes that it read since the start.
    pub scrubbed_bytes: u64,
    /// Times that it came to the end since the start.
    pub scrub_passes: u64,
}

/// The configuration at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConfigSnapshot {
    /// True if the configuration that was read last is the one that runs.
    pub last_reload_ok: bool,
    /// When the running one was read, in microseconds since the Unix epoch.
    pub last_success_us: i64,
}

impl TargetSnapshot {
    /// A target of which nothing more is known: everything at zero.
    pub fn new(name: Arc<str>, kind: Arc<str>, state: TargetState) -> Self {
        Self {
            name,
            kind,
            state,
            books: Books::default(),
            budget: BudgetView::default(),
            retrying: 0,
            in_flight: 0,
            in_flight_limit: 0,
            oldest_undelivered_us: None,
            last_success_us: None,
            dead_letters: 0,
            dead_letter_bytes: 0,
            dead_letter_limit_bytes: 0,
            oldest_dead_letter_us: None,
            dead_letter_writes: Default::default(),
            counters: TargetCounters::default(),
            connections_ended: 0,
        }
    }

    /// True while the lane is connected and delivers, or would if there were something.
    pub fn is_up(&self) -> bool {
        matches!(self.state, TargetState::Up | TargetState::Throttled)
    }

    /// Undelivered events by state; the sum is the books' backlog and held.
    pub fn undelivered(&self, state: Undelivered) -> u64 {
        let (backlog, paused) = (self.books.backlog, self.state == TargetState::Paused);
        let in_flight = self.in_flight.min(backlog);
        let retrying = self.retrying.min(backlog - in_flight);
        let waiting = backlog - in_flight - retrying;
        match state {
            Undelivered::InFlight => in_flight,
            Undelivered::Retrying => retrying,
            Undelivered::Held => self.books.held,
            Undelivered::Paused if paused => waiting,
            Undelivered::Ready if !paused => waiting,
            Undelivered::Paused | Undelivered::Ready => 0,
        }
    }

    /// Seconds since the oldest dead letter was written; 0 if there is none.
    pub fn oldest_dead_letter_age_seconds(&self, now_us: i64) -> f64 {
        age(now_us, self.oldest_dead_letter_us)
    }

    /// Seconds since the oldest undelivered event was committed; 0 if there is none.
    pub fn oldest_undelivered_age_seconds(&self, now_us: i64) -> f64 {
        age(now_us, self.oldest_undelivered_us)
    }
}

pub(super) fn seconds(us: i64) -> f64 {
    us as f64 / 1e6
}

/// Never negative: a clock that was set back must not look like the future.
pub(super) fn age(now_us: i64, since_us: Option<i64>) -> f64 {
    since_us.map_or(0.0, |since| seconds(now_us.saturating_sub(since).max(0)))
}
