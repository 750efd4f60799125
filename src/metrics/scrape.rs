//! What a scrape reads at its own moment: states, ages and books, from one snapshot.
//!
//! Must never keep anything between scrapes: a target that is gone from the snapshot is gone from the answer.

use std::fmt::Write as _;
use std::sync::Arc;

use super::table::{self, Kind, Spec, TargetState, Undelivered};
use crate::queue::Books;

/// Everything that a scrape shows beside counters and histograms, taken at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Now, in microseconds since the Unix epoch.
    pub now_us: i64,
    /// Every registered target, also removed and paused ones.
    pub targets: Vec<TargetSnapshot>,
    /// The queue.
    pub queue: QueueSnapshot,
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
    /// When the oldest of them was written, in microseconds since the Unix epoch.
    pub oldest_dead_letter_us: Option<i64>,
}

/// The queue at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct QueueSnapshot {
    /// Disk that the log takes, in bytes.
    pub bytes: u64,
    /// Disk that it may take, in bytes.
    pub limit_bytes: u64,
}

/// The configuration at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConfigSnapshot {
    /// True if the configuration that was read last is the one that runs.
    pub last_reload_ok: bool,
    /// When the running one was read, in microseconds since the Unix epoch.
    pub last_success_us: i64,
}

/// How an event can leave a lane, in the order of [`deliveries`].
pub(super) const OUTCOMES: &[&str] =
    &["delivered", "dead_lettered", "purged", "forgotten", "quarantined", "shed"];

/// The columns of the books, in the order of [`columns`].
pub(super) const COLUMNS: &[&str] = &[
    "matched",
    "delivered",
    "backlog",
    "held",
    "dead_lettered",
    "purged",
    "forgotten",
    "quarantined",
    "shed",
    "repeated",
];

fn deliveries(b: &Books) -> [u64; 6] {
    [b.delivered, b.dead_lettered, b.purged, b.forgotten, b.quarantined, b.shed]
}

fn columns(b: &Books) -> [u64; 10] {
    [
        b.matched,
        b.delivered,
        b.backlog,
        b.held,
        b.dead_lettered,
        b.purged,
        b.forgotten,
        b.quarantined,
        b.shed,
        b.repeated,
    ]
}

impl TargetSnapshot {
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

    /// Seconds since the oldest undelivered event was committed; 0 if there is none.
    pub fn oldest_undelivered_age_seconds(&self, now_us: i64) -> f64 {
        age(now_us, self.oldest_undelivered_us)
    }
}

fn seconds(us: i64) -> f64 {
    us as f64 / 1e6
}

/// Never negative: a clock that was set back must not look like the future.
fn age(now_us: i64, since_us: Option<i64>) -> f64 {
    since_us.map_or(0.0, |since| seconds(now_us.saturating_sub(since).max(0)))
}

/// Appends every metric that is read at scrape time.
pub(super) fn write(out: &mut String, snapshot: &Snapshot, version: &str) {
    let now = snapshot.now_us;
    let targets = &snapshot.targets;
    let per_target = |out: &mut String, spec: &Spec, value: &dyn Fn(&TargetSnapshot) -> f64| {
        head(out, spec);
        for target in targets {
            sample(out, spec, &[&target.name], value(target));
        }
    };
    per_target(out, &table::OLDEST_AGE, &|t| t.oldest_undelivered_age_seconds(now));
    per_target(out, &table::TARGET_UP, &|t| f64::from(u8::from(t.is_up())));
    per_target(out, &table::LAST_SUCCESS, &|t| t.last_success_us.map_or(0.0, seconds));
    per_target(out, &table::IN_FLIGHT, &|t| t.in_flight as f64);
    per_target(out, &table::CONCURRENCY_LIMIT, &|t| t.in_flight_limit as f64);
    per_target(out, &table::BOOKS_IMBALANCE, &|t| t.books.imbalance() as f64);
    per_target(out, &table::DEAD_LETTERS, &|t| t.dead_letters as f64);
    per_target(out, &table::DEAD_LETTER_AGE, &|t| age(now, t.oldest_dead_letter_us));
    head(out, &table::TARGET_INFO);
    for target in targets {
        sample(out, &table::TARGET_INFO, &[&target.name, &target.kind], 1.0);
    }
    by_state(out, targets);
    by_column(out, targets);
    let single = |out: &mut String, spec: &Spec, value: f64| {
        head(out, spec);
        sample(out, spec, &[], value);
    };
    single(out, &table::QUEUE_BYTES, snapshot.queue.bytes as f64);
    single(out, &table::QUEUE_LIMIT, snapshot.queue.limit_bytes as f64);
    single(out, &table::RELOAD_OK, f64::from(u8::from(snapshot.config.last_reload_ok)));
    single(out, &table::RELOAD_TIME, seconds(snapshot.config.last_success_us));
    head(out, &table::BUILD_INFO);
    sample(out, &table::BUILD_INFO, &[version], 1.0);
}

fn by_state(out: &mut String, targets: &[TargetSnapshot]) {
    head(out, &table::UNDELIVERED);
    for target in targets {
        for state in Undelivered::ALL {
            let value = target.undelivered(*state) as f64;
            sample(out, &table::UNDELIVERED, &[&target.name, state.label()], value);
        }
    }
    head(out, &table::CIRCUIT_STATE);
    for target in targets {
        for state in TargetState::ALL {
            let value = f64::from(u8::from(target.state == *state));
            sample(out, &table::CIRCUIT_STATE, &[&target.name, state.label()], value);
        }
    }
}

fn by_column(out: &mut String, targets: &[TargetSnapshot]) {
    head(out, &table::DELIVERIES);
    for target in targets {
        for (outcome, value) in OUTCOMES.iter().zip(deliveries(&target.books)) {
            sample(out, &table::DELIVERIES, &[&target.name, outcome], value as f64);
        }
    }
    head(out, &table::BOOKS);
    for target in targets {
        for (column, value) in COLUMNS.iter().zip(columns(&target.books)) {
            sample(out, &table::BOOKS, &[&target.name, column], value as f64);
        }
    }
}

fn head(out: &mut String, spec: &Spec) {
    let kind = match spec.kind {
        Kind::Gauge => "gauge",
        Kind::Counter | Kind::BookedCounter => "counter",
        Kind::Histogram(_) => "histogram",
    };
    let _ = writeln!(out, "# HELP {} {}\n# TYPE {} {kind}", spec.name, spec.help, spec.name);
}

/// One line; `values` belong to the metric's labels, in order.
fn sample(out: &mut String, spec: &Spec, values: &[&str], value: f64) {
    debug_assert_eq!(spec.labels.len(), values.len(), "{} needs a value per label", spec.name);
    out.push_str(spec.name);
    for (at, (label, text)) in spec.labels.iter().zip(values).enumerate() {
        out.push_str(if at == 0 { "{" } else { "," });
        out.push_str(label);
        out.push_str("=\"");
        for c in text.chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                '"' => out.push_str("\\\""),
                '\n' => out.push_str("\\n"),
                other => out.push(other),
            }
        }
        out.push('"');
    }
    if !values.is_empty() {
        out.push('}');
    }
    let _ = writeln!(out, " {value}");
}
