//! Every metric of tidings: name, type, labels and help, in one table.
//!
//! Must never hold a label whose values a client can choose: no bucket, key, address or id. The values of
//! every label except `target` and `version` are listed in `labels.rs`.

use tidings_connector::ErrorClass;

use super::labels::{
    AttemptResult, LimitReached, LossReason, OriginResult, RefuseReason, Stage, TargetState, Undelivered,
    WriteResult,
};

/// One metric.
#[derive(Debug)]
pub struct Spec {
    /// Which row of the table it is.
    pub(super) row: Row,
    /// The whole name, with the prefix `tidings_` and its unit.
    pub name: &'static str,
    /// What kind of number it is.
    pub kind: Kind,
    /// Its labels, in order.
    pub labels: &'static [&'static str],
    /// One sentence for people.
    pub help: &'static str,
}

/// What kind of number a metric is, as Prometheus names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows: since the start of the process, or, where the help says so, across restarts.
    Counter,
    /// Sampled as things happen, into buckets.
    Histogram,
    /// A state, read at scrape time: it can never freeze when the loop it describes is dead.
    Gauge,
}

/// From 0.1 ms to 1 s.
pub(super) const SYNC_SECONDS: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];
/// From 1 ms to 1 min.
pub(super) const ATTEMPT_SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// From 3 ms to a day: retries make the tail heavy, and a bound too low would hide every retried event.
pub(super) const END_TO_END_SECONDS: &[f64] = &[
    0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3600.0, 10800.0, 43200.0,
    86400.0,
];
/// From 1 to 4,096 entries.
pub(super) const BATCH_ENTRIES: &[f64] =
    &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0];

macro_rules! table {
    ($($row:ident: $kind:expr, $name:literal, $labels:expr, $help:literal;)+) => {
        /// The rows of [`TABLE`]: an exhaustive match over them forgets none.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Row { $($row),+ }

        /// Every metric, in the order in which people look at them.
        pub static TABLE: &[Spec] = &[$(Spec {
            row: Row::$row,
            name: concat!("tidings_", $name),
            kind: $kind,
            labels: &$labels,
            help: $help,
        }),+];
    };
}

table! {
    OldestAge: Kind::Gauge, "oldest_undelivered_age_seconds", ["target"],
        "Age of the oldest event that the target does not have yet; 0 if it has all.";
    Undelivered: Kind::Gauge, "undelivered_events", ["target", "state"],
        "Events that the target does not have yet, by where they stand.";
    TargetUp: Kind::Gauge, "target_up", ["target"],
        "1 while the target is connected and delivering or ready to.";
    CircuitState: Kind::Gauge, "circuit_state", ["target", "state"],
        "1 for the state in which the target's lane is, 0 for the others.";
    LastSuccess: Kind::Gauge, "target_last_success_timestamp_seconds", ["target"],
        "Unix time of the last delivery; 0 before the first one since the start.";
    TargetInfo: Kind::Gauge, "target_info", ["target", "kind"],
        "Always 1: which kind of connector the target has.";
    Deliveries: Kind::Counter, "deliveries_total", ["target", "outcome"],
        "Events by how they left the target's lane; kept across restarts.";
    Attempts: Kind::Counter, "delivery_attempts_total", ["target", "result"],
        "Attempts to hand one event to the far side, by what came of them.";
    AttemptErrors: Kind::Counter, "attempt_errors_total", ["target", "error_class"],
        "Attempts that did not deliver, by class of error.";
    AttemptDuration: Kind::Histogram, "attempt_duration_seconds", ["target"],
        "From handing an event to the connector to its outcome.";
    EndToEnd: Kind::Histogram, "end_to_end_seconds", ["target"],
        "From the commit of a change to the far side's confirmation.";
    LateReceipts: Kind::Counter, "late_receipts_total", ["target"],
        "Answers to attempts that had been given up: each of them may be a repeated delivery.";
    ConnectionsEnded: Kind::Counter, "connections_ended_total", ["target"],
        "Connections to the far side that were given up, or closed by a pause.";
    InFlight: Kind::Gauge, "in_flight", ["target"],
        "Events handed to the connector and not settled.";
    ConcurrencyLimit: Kind::Gauge, "concurrency_limit", ["target"],
        "How many events the connector may have outstanding now.";
    Books: Kind::Gauge, "books_events", ["target", "column"],
        "The target's books: matched equals the sum of the columns up to quarantined; kept across restarts.";
    BooksImbalance: Kind::Gauge, "books_imbalance_events", ["target"],
        "Matched minus all columns of the books: anything but 0 is a bug.";
    BacklogBytes: Kind::Gauge, "target_backlog_bytes", ["target"],
        "Bytes of events, without bodies, accepted for the target and not settled: what its budget bounds.";
    BacklogLimit: Kind::Gauge, "target_backlog_limit_bytes", ["target"],
        "The target's max_backlog; 0 for one that is no longer configured.";
    BudgetLevel: Kind::Gauge, "target_budget_level_percent", ["target"],
        "The highest of 50, 80, 95 and 100 % of its budget that the target reached and did not leave.";
    DeadLetters: Kind::Gauge, "dead_letter_events", ["target"],
        "Events in the target's dead letters.";
    DeadLetterBytes: Kind::Gauge, "dead_letter_bytes", ["target"],
        "Bytes of the target's dead letters.";
    DeadLetterLimit: Kind::Gauge, "dead_letter_limit_bytes", ["target"],
        "Bytes that they may have before nothing is delivered to the target.";
    DeadLetterAge: Kind::Gauge, "dead_letter_oldest_age_seconds", ["target"],
        "Age of the oldest dead letter; 0 without one.";
    DeadLetterWrites: Kind::Counter, "dead_letter_writes_total", ["target", "result"],
        "Dead letters written, and failures to write one.";
    Accepted: Kind::Counter, "events_accepted_total", [],
        "Changes acknowledged to clients, each durable with its event.";
    Refused: Kind::Counter, "changes_refused_total", ["reason"],
        "Changes answered 503 before anything happened.";
    Limited: Kind::Counter, "requests_limited_total", ["limit"],
        "Requests answered 503, and connections closed, for the sake of a limit.";
    OriginFetches: Kind::Counter, "origin_fetches_total", ["result"],
        "Fetches of objects from origins of buckets, by what came of them.";
    EnqueueSeconds: Kind::Histogram, "enqueue_duration_seconds", ["stage"],
        "Time to make one batch durable, by stage.";
    Batch: Kind::Histogram, "append_batch_entries", [],
        "Entries made durable by one sync.";
    QueueBytes: Kind::Gauge, "queue_bytes", [],
        "Disk that the log takes.";
    QueueLimit: Kind::Gauge, "queue_limit_bytes", [],
        "Disk that the log may take before changes are answered 503.";
    Corrupt: Kind::Counter, "queue_corrupt_records_total", [],
        "Records found damaged although they were durable: must stay 0.";
    Damaged: Kind::Gauge, "queue_damaged_ranges", [],
        "Ranges of the log that were durable and cannot be read, as far as anybody noticed: must be 0.";
    Lost: Kind::Counter, "events_lost_total", ["reason"],
        "Events that a target can never get: their loss was accepted. Kept across restarts: must stay 0.";
    UnsyncedAck: Kind::Counter, "unsynced_ack_total", [],
        "Changes acknowledged before their sync returned: must stay 0.";
    BodyBytes: Kind::Gauge, "store_body_bytes", ["state"],
        "Disk that the bodies of objects take: live is needed, dead will be given back.";
    DamagedObjects: Kind::Gauge, "store_damaged_objects", [],
        "Objects and parts whose bytes were damaged when the scrub looked at them last: must be 0.";
    ScrubbedBytes: Kind::Counter, "store_scrubbed_bytes_total", [],
        "Bytes of bodies that the scrub read.";
    ScrubPasses: Kind::Counter, "store_scrub_passes_total", [],
        "Times that the scrub came to the end.";
    ReloadOk: Kind::Gauge, "config_last_reload_successful", [],
        "1 if the configuration that was read last is the one that runs.";
    ReloadTime: Kind::Gauge, "config_last_reload_success_timestamp_seconds", [],
        "Unix time at which the running configuration was read.";
    BuildInfo: Kind::Gauge, "build_info", ["version"],
        "Always 1: which version runs.";
}

/// The values that a label may have; `None` for names that only operators choose (`target`) and for
/// `version`.
pub fn values(metric: &str, label: &str) -> Option<Vec<&'static str>> {
    fn all<T: Copy>(values: &[T], label: fn(T) -> &'static str) -> Option<Vec<&'static str>> {
        Some(values.iter().map(|v| label(*v)).collect())
    }
    match (metric, label) {
        (_, "stage") => all(Stage::ALL, Stage::label),
        ("tidings_dead_letter_writes_total", "result") => all(WriteResult::ALL, WriteResult::label),
        ("tidings_origin_fetches_total", "result") => all(OriginResult::ALL, OriginResult::label),
        (_, "result") => all(AttemptResult::ALL, AttemptResult::label),
        (_, "error_class") => all(ErrorClass::ALL, ErrorClass::label),
        ("tidings_circuit_state", "state") => all(TargetState::ALL, TargetState::label),
        ("tidings_store_body_bytes", "state") => Some(vec!["live", "dead"]),
        (_, "state") => all(Undelivered::ALL, Undelivered::label),
        ("tidings_events_lost_total", "reason") => all(LossReason::ALL, LossReason::label),
        (_, "reason") => all(RefuseReason::ALL, RefuseReason::label),
        (_, "limit") => all(LimitReached::ALL, LimitReached::label),
        (_, "outcome") => all(super::scrape::OUTCOMES, |o| o.0),
        (_, "column") => all(super::scrape::COLUMNS, |c| c.0),
        (_, "kind") => Some(vec!["kafka", "nats", "amqp", "http"]),
        _ => None,
    }
}
