//! What a scrape reads at its own moment: states, ages and books, from one snapshot.
//!
//! Must never keep anything between scrapes: a target that is gone from the snapshot is gone from the answer.

use std::fmt::Write as _;
use std::sync::Arc;

use tidings_connector::ErrorClass;

use super::table::{
    AttemptResult, Kind, LossReason, RefuseReason, Row, Spec, Stage, TABLE, TargetState, Undelivered,
    WriteResult,
};
use super::{Histogram, Metrics, TargetCounters};
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
}

/// The configuration at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConfigSnapshot {
    /// True if the configuration that was read last is the one that runs.
    pub last_reload_ok: bool,
    /// When the running one was read, in microseconds since the Unix epoch.
    pub last_success_us: i64,
}

/// A column of the books by its name.
pub(super) type Named = (&'static str, fn(&Books) -> u64);

/// How an event can leave a lane.
pub(super) const OUTCOMES: &[Named] = &[
    ("delivered", |b| b.delivered),
    ("dead_lettered", |b| b.dead_lettered),
    ("purged", |b| b.purged),
    ("forgotten", |b| b.forgotten),
    ("quarantined", |b| b.quarantined),
    ("shed", |b| b.shed),
];

/// The columns of the books.
pub(super) const COLUMNS: &[Named] = &[
    ("matched", |b| b.matched),
    ("delivered", |b| b.delivered),
    ("backlog", |b| b.backlog),
    ("held", |b| b.held),
    ("dead_lettered", |b| b.dead_lettered),
    ("purged", |b| b.purged),
    ("forgotten", |b| b.forgotten),
    ("quarantined", |b| b.quarantined),
    ("shed", |b| b.shed),
    ("repeated", |b| b.repeated),
];

impl TargetSnapshot {
    /// A target of which nothing more is known: everything at zero.
    pub fn new(name: Arc<str>, kind: Arc<str>, state: TargetState) -> Self {
        Self {
            name,
            kind,
            state,
            books: Books::default(),
            retrying: 0,
            in_flight: 0,
            in_flight_limit: 0,
            oldest_undelivered_us: None,
            last_success_us: None,
            dead_letters: 0,
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

/// Every row of the table with all its series.
pub(super) fn text(metrics: &Metrics, snapshot: &Snapshot, version: &str) -> String {
    let mut out = String::with_capacity(8 * 1024 * (1 + snapshot.targets.len()));
    for spec in TABLE {
        let kind = match spec.kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Histogram => "histogram",
        };
        let _ = writeln!(out, "# HELP {} {}\n# TYPE {} {kind}", spec.name, spec.help, spec.name);
        samples(&mut Series { out: &mut out, spec }, metrics, snapshot, version);
    }
    out
}

fn samples(out: &mut Series<'_>, metrics: &Metrics, snapshot: &Snapshot, version: &str) {
    let (now, targets) = (snapshot.now_us, &*snapshot.targets);
    let (journal, frontend) = (&metrics.journal, &metrics.frontend);
    let flag = |is: bool| f64::from(u8::from(is));
    match out.spec.row {
        Row::OldestAge => out.targets(targets, |t| t.oldest_undelivered_age_seconds(now)),
        Row::Undelivered => {
            out.each(targets, Undelivered::ALL, Undelivered::label, |t, s| t.undelivered(s) as f64)
        }
        Row::TargetUp => out.targets(targets, |t| flag(t.is_up())),
        Row::CircuitState => {
            out.each(targets, TargetState::ALL, TargetState::label, |t, s| flag(t.state == s))
        }
        Row::LastSuccess => out.targets(targets, |t| t.last_success_us.map_or(0.0, seconds)),
        Row::TargetInfo => targets.iter().for_each(|t| out.one(&[&t.name, &t.kind], 1.0)),
        Row::Deliveries => out.each(targets, OUTCOMES, |o| o.0, |t, o| o.1(&t.books) as f64),
        Row::Attempts => out
            .each(targets, AttemptResult::ALL, AttemptResult::label, |t, r| t.counters.attempts.of(r) as f64),
        Row::AttemptErrors => {
            out.each(targets, ErrorClass::ALL, ErrorClass::label, |t, c| t.counters.errors.of(c) as f64)
        }
        Row::AttemptDuration => out.histograms(targets, |t| &t.counters.attempt_seconds),
        Row::EndToEnd => out.histograms(targets, |t| &t.counters.end_to_end_seconds),
        Row::LateReceipts => out.targets(targets, |t| t.counters.late_receipts as f64),
        Row::ConnectionsEnded => out.targets(targets, |t| t.connections_ended as f64),
        Row::InFlight => out.targets(targets, |t| t.in_flight as f64),
        Row::ConcurrencyLimit => out.targets(targets, |t| t.in_flight_limit as f64),
        Row::Books => out.each(targets, COLUMNS, |c| c.0, |t, c| c.1(&t.books) as f64),
        Row::BooksImbalance => out.targets(targets, |t| t.books.imbalance() as f64),
        Row::DeadLetters => out.targets(targets, |t| t.dead_letters as f64),
        Row::DeadLetterAge => out.targets(targets, |t| age(now, t.oldest_dead_letter_us)),
        Row::DeadLetterWrites => out.each(targets, WriteResult::ALL, WriteResult::label, |t, r| {
            t.dead_letter_writes[r as usize] as f64
        }),
        Row::Accepted => out.one(&[], frontend.accepted.value() as f64),
        Row::Refused => {
            RefuseReason::ALL.iter().for_each(|r| out.one(&[r.label()], frontend.refused_for(*r) as f64));
        }
        Row::EnqueueSeconds => {
            out.histogram(&[Stage::Write.label()], &journal.batches().write_seconds);
            out.histogram(&[Stage::Sync.label()], &journal.batches().sync_seconds);
        }
        Row::Batch => out.histogram(&[], &journal.batches().entries),
        Row::QueueBytes => out.one(&[], snapshot.queue.bytes as f64),
        Row::QueueLimit => out.one(&[], snapshot.queue.limit_bytes as f64),
        Row::Corrupt => out.one(&[], journal.corrupt_records.value() as f64),
        Row::Lost => {
            LossReason::ALL.iter().for_each(|r| out.one(&[r.label()], journal.lost_by(*r) as f64));
        }
        Row::UnsyncedAck => out.one(&[], journal.unsynced_acks.value() as f64),
        Row::ReloadOk => out.one(&[], flag(snapshot.config.last_reload_ok)),
        Row::ReloadTime => out.one(&[], seconds(snapshot.config.last_success_us)),
        Row::BuildInfo => out.one(&[version], 1.0),
    }
}

/// Writes the series of one metric.
struct Series<'a> {
    out: &'a mut String,
    spec: &'static Spec,
}

impl Series<'_> {
    fn targets(&mut self, targets: &[TargetSnapshot], value: impl Fn(&TargetSnapshot) -> f64) {
        targets.iter().for_each(|t| self.one(&[&t.name], value(t)));
    }

    /// One series for each target and each value of the second label.
    fn each<T: Copy>(
        &mut self,
        targets: &[TargetSnapshot],
        all: &[T],
        label: impl Fn(T) -> &'static str,
        value: impl Fn(&TargetSnapshot, T) -> f64,
    ) {
        for target in targets {
            all.iter().for_each(|v| self.one(&[&target.name, label(*v)], value(target, *v)));
        }
    }

    fn histograms(&mut self, targets: &[TargetSnapshot], of: impl Fn(&TargetSnapshot) -> &Histogram) {
        targets.iter().for_each(|t| self.histogram(&[&t.name], of(t)));
    }

    fn one(&mut self, values: &[&str], value: f64) {
        self.line("", values, None, value);
    }

    fn histogram(&mut self, values: &[&str], histogram: &Histogram) {
        for (bound, count) in histogram.cumulative() {
            self.line("_bucket", values, Some(&bound.to_string()), count as f64);
        }
        self.line("_bucket", values, Some("+Inf"), histogram.count() as f64);
        self.line("_sum", values, None, histogram.sum());
        self.line("_count", values, None, histogram.count() as f64);
    }

    /// One line; `values` belong to the metric's labels, in order.
    fn line(&mut self, suffix: &str, values: &[&str], le: Option<&str>, value: f64) {
        let Self { out, spec } = self;
        debug_assert_eq!(spec.labels.len(), values.len(), "{} needs a value per label", spec.name);
        out.push_str(spec.name);
        out.push_str(suffix);
        let labels = spec.labels.iter().copied().zip(values.iter().copied()).chain(le.map(|le| ("le", le)));
        let mut between = "{";
        for (label, text) in labels {
            out.push_str(between);
            between = ",";
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
        if between == "," {
            out.push('}');
        }
        let _ = writeln!(out, " {value}");
    }
}
