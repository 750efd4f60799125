//! Metrics: handles that count as things happen, and the text that a scrape gets.
//!
//! Must never register a metric that is not in [`TABLE`], look a handle up on a hot path, or use a
//! process-wide recorder: each [`Metrics`] is one world, so that tests do not see each other.

mod scrape;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use ::metrics::{Counter, Histogram, Key, KeyName, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use tidings_connector::{ErrorClass, Outcome};

pub use scrape::{ConfigSnapshot, QueueSnapshot, Snapshot, TargetSnapshot};
pub use table::{
    AttemptResult, Kind, LossReason, RefuseReason, Spec, Stage, TABLE, TargetState, Undelivered, WriteResult,
    values,
};

/// Histogram samples wait in memory until they are sorted into buckets; this is how long at most.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Every metric of one running tidings.
#[derive(Debug, Clone)]
pub struct Metrics {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
    /// For the journal's writer and reader.
    pub journal: JournalMetrics,
    /// For the frontend and the commit path.
    pub frontend: FrontendMetrics,
}

/// What the journal counts. The default counts nothing.
#[derive(Debug, Clone)]
pub struct JournalMetrics {
    /// Seconds to write one batch.
    pub write_seconds: Histogram,
    /// Seconds of one `fdatasync`.
    pub sync_seconds: Histogram,
    /// Entries in one batch.
    pub batch_entries: Histogram,
    /// Damaged records that were durable.
    pub corrupt_records: Counter,
    /// Acknowledged before the sync returned.
    pub unsynced_acks: Counter,
    lost: [Counter; LossReason::ALL.len()],
}

/// What the frontend counts. The default counts nothing.
#[derive(Debug, Clone)]
pub struct FrontendMetrics {
    /// Changes acknowledged, each with its event.
    pub accepted: Counter,
    refused: [Counter; RefuseReason::ALL.len()],
}

/// What one target's lane counts. The default counts nothing.
#[derive(Debug, Clone)]
pub struct TargetMetrics {
    attempts: [Counter; AttemptResult::ALL.len()],
    errors: [Counter; ErrorClass::ALL.len()],
    attempt_seconds: Histogram,
    end_to_end_seconds: Histogram,
    dead_letter_writes: [Counter; WriteResult::ALL.len()],
}

/// Builds a world of metrics: every metric described, every series without a `target` label at 0.
pub fn install() -> Metrics {
    let mut builder = PrometheusBuilder::new();
    for spec in TABLE {
        if let Kind::Histogram(bounds) = spec.kind {
            builder = builder
                .set_buckets_for_metric(Matcher::Full(spec.name.to_owned()), bounds)
                .expect("every histogram of the table has bounds");
        }
    }
    let recorder = Arc::new(builder.build_recorder());
    for spec in TABLE {
        let (name, help) = (KeyName::from_const_str(spec.name), spec.help.into());
        match spec.kind {
            Kind::Counter => recorder.describe_counter(name, None, help),
            Kind::Histogram(_) => recorder.describe_histogram(name, None, help),
            Kind::BookedCounter | Kind::Gauge => {}
        }
    }
    let handle = recorder.handle();
    let stage = |stage: Stage| histogram(&recorder, &table::ENQUEUE_SECONDS, &[stage.label()]);
    let journal = JournalMetrics {
        write_seconds: stage(Stage::Write),
        sync_seconds: stage(Stage::Sync),
        batch_entries: histogram(&recorder, &table::BATCH, &[]),
        corrupt_records: counter(&recorder, &table::CORRUPT, &[]),
        unsynced_acks: counter(&recorder, &table::UNSYNCED_ACK, &[]),
        lost: std::array::from_fn(|i| counter(&recorder, &table::LOST, &[LossReason::ALL[i].label()])),
    };
    let frontend = FrontendMetrics {
        accepted: counter(&recorder, &table::ACCEPTED, &[]),
        refused: std::array::from_fn(|i| {
            counter(&recorder, &table::REFUSED, &[RefuseReason::ALL[i].label()])
        }),
    };
    Metrics { recorder, handle, journal, frontend }
}

impl Metrics {
    /// The handles of one target, every series at 0 if the target is new. Kept by the lane: not for the hot
    /// path. They count since the start of the process; what must survive a restart is in the books.
    pub fn target(&self, name: &str) -> TargetMetrics {
        let recorder = &self.recorder;
        let count = |spec, value: &'static str| counter(recorder, spec, &[name, value]);
        TargetMetrics {
            attempts: std::array::from_fn(|i| count(&table::ATTEMPTS, AttemptResult::ALL[i].label())),
            errors: std::array::from_fn(|i| count(&table::ATTEMPT_ERRORS, ErrorClass::ALL[i].label())),
            attempt_seconds: histogram(recorder, &table::ATTEMPT_DURATION, &[name]),
            end_to_end_seconds: histogram(recorder, &table::END_TO_END, &[name]),
            dead_letter_writes: std::array::from_fn(|i| {
                count(&table::DEAD_LETTER_WRITES, WriteResult::ALL[i].label())
            }),
        }
    }

    /// The answer to a scrape, in Prometheus' text format 0.0.4.
    pub fn scrape(&self, snapshot: &Snapshot) -> String {
        let mut text = self.handle.render();
        scrape::write(&mut text, snapshot, env!("CARGO_PKG_VERSION"));
        text
    }

    /// Sorts histogram samples into their buckets every 5 s, so that they do not pile up when nobody scrapes.
    /// Runs until it is dropped.
    pub async fn run_upkeep(&self) {
        let mut tick = tokio::time::interval(UPKEEP_INTERVAL);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.handle.run_upkeep();
        }
    }
}

impl JournalMetrics {
    /// Counts acknowledged events that can never be delivered.
    pub fn lost(&self, reason: LossReason, events: u64) {
        self.lost[reason as usize].increment(events);
    }
}

impl FrontendMetrics {
    /// Counts one change answered 503.
    pub fn refused(&self, reason: RefuseReason) {
        self.refused[reason as usize].increment(1);
    }
}

impl TargetMetrics {
    /// Counts one attempt by its outcome. `took` is from handing it over to the outcome.
    pub fn attempt(&self, outcome: &Outcome, took: Duration) {
        let (result, why) = match outcome {
            Outcome::Delivered => (AttemptResult::Ok, None),
            Outcome::Retry { why, .. } => (AttemptResult::Retry, Some(why)),
            Outcome::Throttled { why, .. } => (AttemptResult::Throttled, Some(why)),
            Outcome::Rejected { why } => (AttemptResult::Rejected, Some(why)),
            Outcome::Faulted { why, .. } => (AttemptResult::Faulted, Some(why)),
        };
        self.count(result, why.map(|w| w.class), took);
    }

    /// Counts one attempt that the lane gave up at its deadline.
    pub fn timed_out(&self, took: Duration) {
        self.count(AttemptResult::Timeout, Some(ErrorClass::Timeout), took);
    }

    /// Records how long an event took from its commit to its confirmation.
    pub fn end_to_end(&self, took: Duration) {
        self.end_to_end_seconds.record(took);
    }

    /// Counts one try to write a dead letter.
    pub fn dead_letter_write(&self, result: WriteResult) {
        self.dead_letter_writes[result as usize].increment(1);
    }

    fn count(&self, result: AttemptResult, class: Option<ErrorClass>, took: Duration) {
        self.attempts[result as usize].increment(1);
        self.attempt_seconds.record(took);
        if let Some(class) = class {
            self.errors[class as usize].increment(1);
        }
    }
}

impl Default for JournalMetrics {
    fn default() -> Self {
        Self {
            write_seconds: Histogram::noop(),
            sync_seconds: Histogram::noop(),
            batch_entries: Histogram::noop(),
            corrupt_records: Counter::noop(),
            unsynced_acks: Counter::noop(),
            lost: std::array::from_fn(|_| Counter::noop()),
        }
    }
}

impl Default for FrontendMetrics {
    fn default() -> Self {
        Self { accepted: Counter::noop(), refused: std::array::from_fn(|_| Counter::noop()) }
    }
}

impl Default for TargetMetrics {
    fn default() -> Self {
        Self {
            attempts: std::array::from_fn(|_| Counter::noop()),
            errors: std::array::from_fn(|_| Counter::noop()),
            attempt_seconds: Histogram::noop(),
            end_to_end_seconds: Histogram::noop(),
            dead_letter_writes: std::array::from_fn(|_| Counter::noop()),
        }
    }
}

const METADATA: Metadata<'static> = Metadata::new("tidings", Level::INFO, None);

fn key(spec: &'static Spec, values: &[&str]) -> Key {
    debug_assert_eq!(spec.labels.len(), values.len(), "{} needs a value per label", spec.name);
    let labels: Vec<Label> = spec
        .labels
        .iter()
        .zip(values)
        .map(|(label, value)| Label::new(*label, (*value).to_owned()))
        .collect();
    Key::from_parts(spec.name, labels)
}

fn counter(recorder: &PrometheusRecorder, spec: &'static Spec, values: &[&str]) -> Counter {
    recorder.register_counter(&key(spec, values), &METADATA)
}

fn histogram(recorder: &PrometheusRecorder, spec: &'static Spec, values: &[&str]) -> Histogram {
    recorder.register_histogram(&key(spec, values), &METADATA)
}
