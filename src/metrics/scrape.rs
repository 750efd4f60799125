//! The text that a scrape gets: every row of the table, in its order.
//!
//! Must never show a series that is not a row's.

use std::fmt::Write as _;

use tidings_connector::ErrorClass;

use super::labels::{
    AttemptResult, LimitReached, LossReason, OriginResult, RefuseReason, Stage, TargetState, Undelivered,
    WriteResult,
};
use super::snapshot::{Snapshot, StoreSnapshot, TargetSnapshot, seconds};
use super::table::{Kind, Row, Spec, TABLE};
use super::{Histogram, Metrics};
use crate::queue::Books;

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
    ("rematched", |b| b.rematched),
];

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
        Row::BacklogBytes => out.targets(targets, |t| t.budget.charged as f64),
        Row::BacklogLimit => out.targets(targets, |t| t.budget.max_backlog.map_or(0.0, |max| max as f64)),
        Row::BudgetLevel => out.targets(targets, |t| f64::from(t.budget.level)),
        Row::DeadLetters => out.targets(targets, |t| t.dead_letters as f64),
        Row::DeadLetterBytes => out.targets(targets, |t| t.dead_letter_bytes as f64),
        Row::DeadLetterLimit => out.targets(targets, |t| t.dead_letter_limit_bytes as f64),
        Row::DeadLetterAge => out.targets(targets, |t| t.oldest_dead_letter_age_seconds(now)),
        Row::DeadLetterWrites => out.each(targets, WriteResult::ALL, WriteResult::label, |t, r| {
            t.dead_letter_writes[r as usize] as f64
        }),
        Row::Accepted => out.one(&[], frontend.accepted.value() as f64),
        Row::Refused => out.all(RefuseReason::ALL, RefuseReason::label, |r| frontend.refused_for(r)),
        Row::Limited => out.all(LimitReached::ALL, LimitReached::label, |l| frontend.limited_by(l)),
        Row::OriginFetches => out.all(OriginResult::ALL, OriginResult::label, |r| frontend.pulled_as(r)),
        Row::EnqueueSeconds => {
            out.histogram(&[Stage::Write.label()], &journal.batches().write_seconds);
            out.histogram(&[Stage::Sync.label()], &journal.batches().sync_seconds);
        }
        Row::Batch => out.histogram(&[], &journal.batches().entries),
        Row::QueueBytes => out.one(&[], snapshot.queue.bytes as f64),
        Row::QueueLimit => out.one(&[], snapshot.queue.limit_bytes as f64),
        Row::Damaged => out.one(&[], snapshot.queue.damaged_ranges as f64),
        Row::Corrupt => out.one(&[], journal.corrupt_records.value() as f64),
        Row::Lost => {
            LossReason::ALL.iter().for_each(|r| out.one(&[r.label()], journal.lost_by(*r) as f64));
        }
        Row::UnsyncedAck => out.one(&[], journal.unsynced_acks.value() as f64),
        Row::BodyBytes => out.bodies(&snapshot.store),
        Row::DamagedObjects => out.one(&[], snapshot.store.damaged as f64),
        Row::ScrubbedBytes => out.one(&[], snapshot.store.scrubbed_bytes as f64),
        Row::ScrubPasses => out.one(&[], snapshot.store.scrub_passes as f64),
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
    fn bodies(&mut self, store: &StoreSnapshot) {
        self.one(&["live"], store.live_bytes as f64);
        self.one(&["dead"], store.dead_bytes as f64);
    }

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

    /// One series for each value of the only label.
    fn all<T: Copy>(&mut self, all: &[T], label: impl Fn(T) -> &'static str, value: impl Fn(T) -> u64) {
        all.iter().for_each(|v| self.one(&[label(*v)], value(*v) as f64));
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
