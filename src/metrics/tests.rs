//! The table against what a scrape really shows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use tidings_connector::{Cause, ErrorClass, Outcome, Scope};

use super::*;
use crate::queue::Books;

fn target(name: &str) -> TargetSnapshot {
    TargetSnapshot::new(name.into(), "kafka".into(), TargetState::Up)
}

fn snapshot(targets: Vec<TargetSnapshot>) -> Snapshot {
    Snapshot {
        now_us: 2_000_000_000,
        targets,
        queue: QueueSnapshot::default(),
        store: StoreSnapshot::default(),
        config: ConfigSnapshot::default(),
    }
}

/// Metric name (of the family, without histogram suffixes) → its samples as (labels, value).
type Samples = BTreeMap<String, Vec<(BTreeMap<String, String>, f64)>>;

struct Scraped {
    help: BTreeMap<String, String>,
    kinds: BTreeMap<String, String>,
    samples: Samples,
}

fn parse(text: &str) -> Scraped {
    let mut scraped = Scraped { help: BTreeMap::new(), kinds: BTreeMap::new(), samples: BTreeMap::new() };
    for line in text.lines().filter(|l| !l.is_empty()) {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help text");
            assert!(scraped.help.insert(name.into(), help.into()).is_none(), "{name} is described twice");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert!(scraped.kinds.insert(name.into(), kind.into()).is_none(), "{name} is typed twice");
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let labels = labels.strip_suffix('}').expect("closed labels");
            let labels = labels.split(',').filter(|l| !l.is_empty()).map(|l| {
                let (label, value) = l.split_once('=').expect("a label");
                (label.to_owned(), value.trim_matches('"').to_owned())
            });
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .filter_map(|suffix| name.strip_suffix(suffix))
                .find(|base| scraped.kinds.get(*base).is_some_and(|k| k == "histogram"))
                .unwrap_or(name);
            let value = value.parse().expect("a number");
            scraped.samples.entry(family.into()).or_default().push((labels.collect(), value));
        }
    }
    scraped
}

fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|l| l.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no series {series} in\n{text}")).parse().expect("a number")
}

#[test]
fn the_table_and_a_first_scrape_agree() {
    let metrics = Metrics::default();
    let scraped = parse(&metrics.scrape(&snapshot(vec![target("orders")])));
    let names: BTreeSet<String> = TABLE.iter().map(|s| s.name.to_owned()).collect();
    assert_eq!(names.len(), TABLE.len(), "a name stands twice in the table");
    assert_eq!(scraped.kinds.keys().cloned().collect::<BTreeSet<_>>(), names);
    assert_eq!(scraped.samples.keys().cloned().collect::<BTreeSet<_>>(), names);
    for spec in TABLE {
        assert!(spec.name.starts_with("tidings_") && spec.help.ends_with('.'), "{}", spec.name);
        assert_eq!(scraped.help.get(spec.name).map(String::as_str), Some(spec.help));
        let counts = spec.kind == Kind::Counter;
        assert_eq!(scraped.kinds[spec.name] == "counter", counts, "{}", spec.name);
        assert_eq!(spec.name.ends_with("_total"), counts, "{}", spec.name);
        // Every combination of closed values is there from the first scrape on.
        let expected: usize = spec
            .labels
            .iter()
            .filter(|l| **l != "kind")
            .map(|l| values(spec.name, l).map_or(1, |v| v.len()))
            .product();
        let samples = &scraped.samples[spec.name];
        if spec.kind == Kind::Histogram {
            let les = samples.iter().filter_map(|(labels, _)| labels.get("le")).collect::<BTreeSet<_>>();
            assert!(les.len() > 10 && les.contains(&"+Inf".to_owned()), "{} {les:?}", spec.name);
            assert_eq!(samples.len(), expected * (les.len() + 2), "{}", spec.name);
        } else {
            assert_eq!(samples.len(), expected, "{}", spec.name);
        }
        for (labels, number) in samples {
            for (label, text) in labels.iter().filter(|(l, _)| *l != "le") {
                assert!(spec.labels.contains(&label.as_str()), "{} has label {label}", spec.name);
                let known = values(spec.name, label).is_none_or(|v| v.contains(&text.as_str()));
                assert!(known, "{}: {label}={text}", spec.name);
            }
            let one = matches!(spec.name, "tidings_build_info" | "tidings_target_info" | "tidings_target_up")
                || labels.get("state").is_some_and(|s| s == "up");
            assert_eq!(*number, f64::from(u8::from(one)), "{} {labels:?}", spec.name);
        }
    }
}

#[test]
fn labels_are_closed_or_chosen_by_operators() {
    for spec in TABLE {
        for label in spec.labels {
            let open = values(spec.name, label).is_none();
            assert_eq!(open, matches!(*label, "target" | "version"), "{} {label}", spec.name);
        }
    }
}

#[test]
fn what_is_counted_shows_where_the_table_says() {
    let metrics = Metrics::default();
    metrics.frontend.accepted.increment(3);
    metrics.frontend.refused(RefuseReason::TargetFull);
    metrics.journal.batch(7, Duration::from_micros(10), Duration::from_millis(2));
    metrics.journal.lost(LossReason::Missing, 5);
    metrics.journal.corrupt_records.increment(2);
    metrics.journal.unsynced_acks.increment(4);
    let text = metrics.scrape(&snapshot(vec![]));
    assert_eq!(value(&text, "tidings_events_accepted_total"), 3.0);
    assert_eq!(value(&text, r#"tidings_changes_refused_total{reason="target_full"}"#), 1.0);
    assert_eq!(value(&text, r#"tidings_events_lost_total{reason="missing"}"#), 5.0);
    assert_eq!(value(&text, "tidings_queue_corrupt_records_total"), 2.0);
    assert_eq!(value(&text, "tidings_unsynced_ack_total"), 4.0);
    assert_eq!(value(&text, r#"tidings_enqueue_duration_seconds_bucket{stage="sync",le="0.0025"}"#), 1.0);
    assert_eq!(value(&text, r#"tidings_enqueue_duration_seconds_bucket{stage="sync",le="0.001"}"#), 0.0);
    assert_eq!(value(&text, r#"tidings_enqueue_duration_seconds_bucket{stage="write",le="0.0001"}"#), 1.0);
    assert_eq!(value(&text, r#"tidings_append_batch_entries_bucket{le="4"}"#), 0.0);
    assert_eq!(value(&text, r#"tidings_append_batch_entries_bucket{le="8"}"#), 1.0);
    assert_eq!(value(&text, "tidings_append_batch_entries_sum"), 7.0);
}

#[test]
fn what_a_lane_counted_shows_where_the_table_says() {
    let mut t = target("orders");
    let why = |class| Cause::new(class, "x");
    let attempts = &mut t.counters.attempts;
    attempts.count(&Outcome::Delivered);
    attempts.count(&Outcome::Retry { after: None, why: why(ErrorClass::Connect) });
    attempts.count(&Outcome::Throttled { until: Instant::now(), why: why(ErrorClass::Throttle) });
    attempts.count(&Outcome::Rejected { why: why(ErrorClass::TooLarge) });
    attempts.count(&Outcome::Faulted { scope: Scope::Target, why: why(ErrorClass::Unroutable) });
    (attempts.timeout, attempts.abandoned) = (1, 1);
    ErrorClass::ALL.iter().for_each(|class| t.counters.errors.count(*class));
    t.counters.late_receipts = 6;
    t.connections_ended = 7;
    t.dead_letter_writes[WriteResult::Error as usize] = 8;
    t.counters.attempt_seconds.observe_duration(Duration::from_millis(30));
    t.counters.attempt_seconds.observe_duration(Duration::from_secs(3600));
    t.counters.end_to_end_seconds.observe_duration(Duration::from_secs(20));
    let text = Metrics::default().scrape(&snapshot(vec![target("other"), t]));
    for result in AttemptResult::ALL {
        let series =
            format!(r#"tidings_delivery_attempts_total{{target="orders",result="{}"}}"#, result.label());
        assert_eq!(value(&text, &series), 1.0, "{series}");
        assert_eq!(value(&text, &series.replace("orders", "other")), 0.0, "{series}");
    }
    for class in ErrorClass::ALL {
        let class = class.label();
        let series = format!(r#"tidings_attempt_errors_total{{target="orders",error_class="{class}"}}"#);
        assert_eq!(value(&text, &series), 1.0, "{series}");
    }
    assert_eq!(value(&text, r#"tidings_late_receipts_total{target="orders"}"#), 6.0);
    assert_eq!(value(&text, r#"tidings_connections_ended_total{target="orders"}"#), 7.0);
    assert_eq!(value(&text, r#"tidings_dead_letter_writes_total{target="orders",result="error"}"#), 8.0);
    let bucket = |le| format!(r#"tidings_attempt_duration_seconds_bucket{{target="orders",le="{le}"}}"#);
    assert_eq!([value(&text, &bucket("0.025")), value(&text, &bucket("0.05"))], [0.0, 1.0]);
    assert_eq!([value(&text, &bucket("60")), value(&text, &bucket("+Inf"))], [1.0, 2.0], "above all bounds");
    assert_eq!(value(&text, r#"tidings_attempt_duration_seconds_count{target="orders"}"#), 2.0);
    assert_eq!(value(&text, r#"tidings_attempt_duration_seconds_sum{target="orders"}"#), 3600.03);
    assert_eq!(value(&text, r#"tidings_end_to_end_seconds_bucket{target="orders",le="10"}"#), 0.0);
    assert_eq!(value(&text, r#"tidings_end_to_end_seconds_bucket{target="orders",le="30"}"#), 1.0);
}

#[test]
fn names_cannot_break_the_text() {
    let text = Metrics::default().scrape(&snapshot(vec![target("a\"b\\c\nd")]));
    assert_eq!(value(&text, r#"tidings_target_up{target="a\"b\\c\nd"}"#), 1.0);
}

#[test]
fn ages_grow_although_nothing_reports() {
    let metrics = Metrics::default();
    let mut stuck = snapshot(vec![target("orders")]);
    stuck.targets[0].oldest_undelivered_us = Some(1_999_000_000);
    let series = r#"tidings_oldest_undelivered_age_seconds{target="orders"}"#;
    assert_eq!(value(&metrics.scrape(&stuck), series), 1.0);
    stuck.now_us += 500_000;
    assert_eq!(value(&metrics.scrape(&stuck), series), 1.5);
    stuck.now_us = 0;
    assert_eq!(value(&metrics.scrape(&stuck), series), 0.0, "a clock set back");
}

#[test]
fn undelivered_states_add_up_to_the_books() {
    let mut t = target("orders");
    t.books = Books { matched: 130, delivered: 20, backlog: 100, held: 10, ..Books::default() };
    (t.in_flight, t.retrying) = (30, 5);
    let all = |t: &TargetSnapshot| Undelivered::ALL.map_values(t);
    assert_eq!(all(&t), [65, 5, 30, 10, 0]);
    t.state = TargetState::Paused;
    assert_eq!(all(&t), [0, 5, 30, 10, 65]);
    // The lane's numbers may be newer than the books.
    (t.in_flight, t.retrying) = (90, 50);
    assert_eq!(all(&t), [0, 10, 90, 10, 0]);
    t.in_flight = 120;
    assert_eq!(all(&t), [0, 0, 100, 10, 0]);
    let text = Metrics::default().scrape(&snapshot(vec![t]));
    assert_eq!(value(&text, r#"tidings_books_events{target="orders",column="matched"}"#), 130.0);
    assert_eq!(value(&text, r#"tidings_deliveries_total{target="orders",outcome="delivered"}"#), 20.0);
    assert_eq!(value(&text, r#"tidings_books_imbalance_events{target="orders"}"#), 0.0);
}

trait MapValues {
    fn map_values(&self, t: &TargetSnapshot) -> Vec<u64>;
}

impl MapValues for [Undelivered] {
    fn map_values(&self, t: &TargetSnapshot) -> Vec<u64> {
        self.iter().map(|state| t.undelivered(*state)).collect()
    }
}

#[test]
fn a_target_that_is_gone_leaves_no_state_behind() {
    let metrics = Metrics::default();
    let with = metrics.scrape(&snapshot(vec![target("orders")]));
    let without = metrics.scrape(&snapshot(vec![]));
    assert!(with.contains(r#"tidings_target_up{target="orders"} 1"#));
    assert!(!without.contains("orders"));
}

#[test]
fn two_worlds_do_not_see_each_other() {
    let (one, other) = (Metrics::default(), Metrics::default());
    one.frontend.accepted.increment(1);
    assert_eq!(value(&other.scrape(&snapshot(vec![])), "tidings_events_accepted_total"), 0.0);
}
