//! The checker's own tests: a good run passes, and each way of breaking it is named.
//!
//! Must hold at least one broken run per property: a checker that accepts everything would pass every other
//! test.

use std::sync::Arc;
use std::time::Duration;

use crate::checker::Property::*;
use crate::checker::*;

/// A run under construction: client operations with explicit ticks, and deliveries with explicit sequencers.
#[derive(Default)]
struct Story {
    ops: Vec<Op>,
    deliveries: Vec<Delivery>,
    listing: Option<Vec<Listed>>,
    books: Option<Books>,
    max_duplicates: usize,
    stages: Vec<Stage>,
    said: Vec<(String, String)>,
}

/// Ticks between call and return.
type Span = (u64, u64);

impl Story {
    fn op(&mut self, key: &str, action: Action, span: Span, outcome: Outcome) -> u64 {
        let id = self.ops.len() as u64;
        let (invoked, returned) = (span.0, if outcome == Outcome::Info { TICK_NEVER } else { span.1 });
        let request_id = (outcome == Outcome::Ok).then(|| format!("R{id}"));
        self.ops.push(Op { id, key: key.into(), action, invoked, returned, outcome, request_id });
        id
    }

    fn put(&mut self, key: &str, span: Span, outcome: Outcome) -> u64 {
        let etag = format!("e{}", self.ops.len());
        self.op(key, Action::Put { etag, size: 7 }, span, outcome)
    }

    fn delete(&mut self, key: &str, span: Span, outcome: Outcome) -> u64 {
        self.op(key, Action::Delete, span, outcome)
    }

    /// A GET that found what operation `put` had put, or nothing.
    fn read(&mut self, key: &str, span: Span, put: Option<u64>) {
        let found = put.map(|id| Found { etag: format!("e{id}"), size: 7, intact: true });
        self.op(key, Action::Read { found }, span, Outcome::Ok);
    }

    /// The event of an operation arrives.
    fn event(&mut self, op: u64, seq: u64) -> &mut Delivery {
        let op = &self.ops[op as usize];
        let (kind, etag, size) = match &op.action {
            Action::Put { etag, size } => (Kind::Put, Some(etag.clone()), Some(*size)),
            _ => (Kind::Delete, None, None),
        };
        self.deliveries.push(Delivery {
            partition: 0,
            key: Arc::clone(&op.key),
            event_id: format!("id{}", op.id),
            sequencer: format!("{seq:024X}"),
            kind,
            etag,
            size,
            request_id: op.request_id.clone().or(Some(format!("unseen{}", op.id))),
            digest: op.id,
        });
        self.deliveries.last_mut().expect("just pushed")
    }

    fn list(&mut self, puts: &[u64]) {
        let listed = puts.iter().map(|id| {
            let key = Arc::clone(&self.ops[*id as usize].key);
            Listed { key, etag: format!("e{id}"), size: 7 }
        });
        self.listing = Some(listed.collect());
    }

    fn report(&self) -> Report {
        check(&Run {
            ops: &self.ops,
            deliveries: &self.deliveries,
            listing: self.listing.as_deref(),
            books: self.books,
            matches: &|key| key.starts_with("b/"),
            max_duplicates: self.max_duplicates,
            around: Around {
                stages: &self.stages,
                said: &self.said,
                planted: &[("a secret", "correct horse".into()), ("a body", "bytes of a body".into())],
            },
        })
    }

    #[track_caller]
    fn passes(&self) {
        let report = self.report();
        assert!(report.violations.is_empty(), "{report}");
    }

    /// Exactly this property is violated, once.
    #[track_caller]
    fn fails(&self, property: Property) {
        let report = self.report();
        let found: Vec<_> = report.violations.iter().map(|violation| violation.property).collect();
        assert_eq!(found, [property], "{report}");
    }
}

use Outcome::{Fail, Info, Ok as Acked};

/// Two keys, overwritten and deleted, everything acknowledged, delivered, listed and booked.
fn good() -> Story {
    let mut story = Story::default();
    let a1 = story.put("b/a", (1, 2), Acked);
    let a2 = story.put("b/a", (3, 4), Acked);
    let b1 = story.put("b/b", (1, 5), Acked);
    let b2 = story.delete("b/b", (6, 7), Acked);
    story.delete("b/never", (1, 9), Acked);
    story.put("elsewhere/x", (1, 2), Acked);
    story.read("b/a", (8, 9), Some(a2));
    story.read("b/b", (8, 9), None);
    for (op, seq) in [(a1, 1), (b1, 2), (a2, 3), (b2, 4)] {
        story.event(op, seq);
    }
    story.list(&[a2]);
    story.books = Some(Books { matched: 4, delivered: 4, ..Books::default() });
    story
}

#[test]
fn a_good_run_passes_and_is_counted() {
    let story = good();
    story.passes();
    let report = story.report();
    assert_eq!((report.acknowledged, report.events, report.duplicates(), report.reads), (5, 4, 0, 2));
}

#[test]
fn p1_names_a_missing_put_and_a_missing_delete() {
    let mut story = good();
    (story.listing, story.books) = (None, None);
    let without = |at: usize| {
        let mut deliveries = story.deliveries.clone();
        deliveries.remove(at);
        Story { ops: story.ops[..6].to_vec(), deliveries, ..Story::default() }
    };
    without(0).fails(P1Complete);
    without(2).fails(P1Complete);
    without(3).fails(P1Complete);
}

#[test]
fn p1_excuses_a_delete_only_where_the_key_may_have_been_absent() {
    let mut story = Story::default();
    let put = story.put("b/k", (1, 4), Acked);
    story.delete("b/k", (2, 3), Acked); // while the put was under way: perhaps before it
    story.event(put, 1);
    story.passes();
    story.delete("b/k", (5, 6), Acked); // after the put returned: it removed something
    story.fails(P1Complete);
    story.event(2, 2);
    story.passes();
    story.delete("b/k", (7, 8), Acked); // a second one finds nothing
    story.passes();
}

#[test]
fn p2_names_events_of_refused_operations_and_of_nobody() {
    let mut story = Story::default();
    let refused = story.put("b/k", (1, 2), Fail);
    story.passes();
    story.event(refused, 1);
    story.fails(P2NoPhantom);

    let mut story = good();
    (story.listing, story.books) = (None, None);
    story.event(1, 9).event_id = "other".into();
    story.deliveries.last_mut().expect("one").etag = Some("e99".into());
    story.fails(P2NoPhantom);
}

#[test]
fn p2_names_wrong_keys_sizes_kinds_requests_and_second_events() {
    let broken = |change: &dyn Fn(&mut Story)| {
        let mut story = Story::default();
        let put = story.put("b/k", (1, 2), Acked);
        story.event(put, 1);
        change(&mut story);
        story.report()
    };
    assert!(broken(&|_| {}).violations.is_empty());
    for report in [
        broken(&|story| story.deliveries[0].size = Some(8)),
        broken(&|story| story.deliveries[0].request_id = Some("R9".into())),
        broken(&|story| story.event(0, 2).event_id = "again".into()),
    ] {
        assert_eq!((report.count(P2NoPhantom), report.violations.len()), (1, 1), "{report}");
    }
    // The operation of these is not found, so its event is missing too.
    for report in [
        broken(&|story| story.deliveries[0].key = "b/other".into()),
        broken(&|story| story.deliveries[0].kind = Kind::Other("ObjectCreated:Copy".into())),
    ] {
        assert_eq!((report.count(P2NoPhantom), report.count(P1Complete)), (1, 1), "{report}");
    }
}

#[test]
fn p2_names_a_key_that_no_rule_matches() {
    let mut story = Story::default();
    let put = story.put("elsewhere/k", (1, 2), Acked);
    story.passes();
    story.event(put, 1);
    story.fails(P2NoPhantom);
}

#[test]
fn p2_names_a_removal_of_nothing_and_a_removal_nobody_asked_for() {
    let mut story = Story::default();
    let delete = story.delete("b/k", (1, 2), Acked);
    story.passes();
    story.event(delete, 1);
    story.fails(P2NoPhantom);

    let mut story = Story::default();
    let put = story.put("b/k", (1, 2), Acked);
    story.event(put, 1);
    let delete = story.delete("b/k", (3, 4), Acked);
    story.event(delete, 2);
    story.event(delete, 3).event_id = "again".into();
    let report = story.report();
    assert_eq!(report.count(P2NoPhantom), 2, "a second event, and of nothing: {report}");
}

#[test]
fn p3_allows_repeats_and_names_a_skip() {
    let order = |arrivals: &[u64]| {
        let mut story = Story { max_duplicates: 9, ..Story::default() };
        let puts: Vec<u64> = (0..3).map(|n| story.put("b/k", (n * 2, n * 2 + 1), Acked)).collect();
        for &arrival in arrivals {
            story.event(puts[arrival as usize - 1], arrival);
        }
        story
    };
    order(&[1, 2, 3, 2]).passes();
    order(&[1, 2, 1, 2, 3, 3]).passes();
    order(&[1, 3, 2]).fails(P3Order);
    order(&[2, 1, 3]).fails(P3Order);
    let mut spread = order(&[1, 2, 3]);
    spread.deliveries[2].partition = 1;
    spread.fails(P3Order);
    let mut moved = order(&[1, 2, 3, 3]);
    moved.deliveries[3].partition = 1;
    moved.fails(P3Order);
}

#[test]
fn p4_names_sequencers_against_real_time_and_shared_ones() {
    let mut story = Story::default();
    let first = story.put("b/k", (1, 2), Acked);
    let second = story.put("b/k", (3, 4), Acked);
    story.event(second, 1);
    story.event(first, 2);
    story.fails(P4Sequencer);

    let mut story = Story::default();
    let first = story.put("b/k", (1, 4), Acked);
    let second = story.put("b/k", (2, 3), Acked); // at the same time: either order
    story.event(second, 1);
    story.event(first, 2);
    story.passes();

    let mut story = Story { max_duplicates: 1, ..Story::default() };
    let (a, b) = (story.put("b/a", (1, 2), Acked), story.put("b/b", (1, 2), Acked));
    story.event(a, 1);
    story.event(b, 1);
    story.fails(P4Sequencer);
    story.deliveries[1].sequencer = format!("{:024X}", 2);
    story.passes();
    story.event(b, 3);
    let report = story.report();
    assert_eq!(report.count(P4Sequencer), 1, "a repeat under another sequencer: {report}");
}

#[test]
fn p5_names_changed_repeats_wrong_bytes_and_stale_reads() {
    let mut story = Story { max_duplicates: 1, ..Story::default() };
    let first = story.put("b/k", (1, 2), Acked);
    story.event(first, 1);
    story.event(first, 1);
    story.passes();
    story.deliveries[1].digest = 99;
    story.fails(P5Content);
    story.deliveries.pop();

    let second = story.put("b/k", (3, 6), Acked);
    story.event(second, 2);
    story.read("b/k", (4, 5), Some(first)); // the second put was under way: both are right
    story.read("b/k", (4, 5), Some(second));
    story.passes();
    story.read("b/k", (7, 8), Some(first));
    story.fails(P5Content);
    story.ops.pop();
    story.read("b/k", (7, 8), None);
    story.fails(P5Content);
    story.ops.pop();
    let rotten = Found { etag: format!("e{second}"), size: 7, intact: false };
    story.op("b/k", Action::Read { found: Some(rotten) }, (7, 8), Acked);
    story.fails(P5Content);
}

#[test]
fn unknown_outcomes_may_have_happened_or_not() {
    let mut story = Story::default();
    let put = story.put("b/k", (1, 2), Acked);
    let lost = story.put("b/k", (3, 4), Info);
    let delete = story.delete("b/k", (5, 6), Info);
    story.event(put, 1);
    story.passes();
    story.event(lost, 2);
    story.passes();
    story.event(delete, 3);
    story.passes();
    assert_eq!((story.report().unknown, story.report().unknown_applied), (2, 2));
    // Applied, seen by a reader, and no event: an event was lost, though nobody was promised it.
    story.deliveries.truncate(1);
    story.read("b/k", (7, 8), Some(lost));
    story.fails(P5Content);
    // An unknown operation may take effect late, but never before it was sent.
    let mut story = Story::default();
    let early = story.put("b/k", (1, 2), Acked);
    let late = story.put("b/k", (3, 4), Info);
    story.event(late, 1);
    story.event(early, 2);
    story.fails(P4Sequencer);
}

#[test]
fn p6_names_what_does_not_come_back() {
    let within = Duration::from_secs(9);
    let with = |took: Option<u64>| {
        let took = took.map(Duration::from_secs);
        Story { stages: vec![Stage { what: "drained", took, within }], ..good() }
    };
    with(Some(9)).passes();
    with(Some(10)).fails(P6Liveness);
    with(None).fails(P6Liveness);
}

#[test]
fn p7_names_what_the_events_do_not_lead_to() {
    let with = |listed: &[u64]| {
        let mut story = good();
        story.list(listed);
        story.report()
    };
    assert!(with(&[1]).violations.is_empty());
    assert_eq!(with(&[]).count(P7Fold), 1, "the store lost it");
    assert_eq!(with(&[0]).count(P7Fold), 1, "the store holds the older one");
    assert_eq!(with(&[1, 2]).count(P7Fold), 1, "the store kept what was removed");
    assert_eq!(with(&[1, 1]).count(P7Fold), 1, "listed twice");
    // An unknown put that is there without an event.
    let mut story = good();
    let lost = story.put("b/new", (10, 11), Info);
    story.list(&[1, lost]);
    story.fails(P7Fold);
}

#[test]
fn p8_names_books_that_do_not_balance_or_disagree() {
    let with = |books: Books| {
        let mut story = good();
        story.books = Some(books);
        story.report().count(P8Books)
    };
    assert_eq!(with(Books { matched: 4, delivered: 4, ..Books::default() }), 0);
    assert_eq!(with(Books { matched: 5, delivered: 4, ..Books::default() }), 1);
    assert_eq!(with(Books { matched: 4, delivered: 3, backlog: 1, ..Books::default() }), 1);
    assert_eq!(with(Books { matched: 4, delivered: 3, held: 1, ..Books::default() }), 1);
    assert_eq!(with(Books { matched: 4, delivered: 3, set_aside: 1, ..Books::default() }), 1);
    assert_eq!(with(Books { matched: 9, delivered: 4, backlog: 5, ..Books::default() }), 1);
    assert_eq!(with(Books { matched: 4, delivered: 4, shed: 1, ..Books::default() }), 1);
}

#[test]
fn p9_counts_duplicates() {
    let mut story = good();
    story.event(0, 1);
    story.fails(P9Duplicates);
    story.max_duplicates = 1;
    story.passes();
    assert_eq!(story.report().duplicates(), 1);
}

#[test]
fn p10_names_secrets_bodies_and_panics_and_repeats_none_of_them() {
    let with = |text: &str| Story { said: vec![("a log".into(), format!("one\n{text}\nlast"))], ..good() };
    with("nothing of it").passes();
    for (text, what) in [
        ("key=correct horse.", "a secret"),
        ("GET 200 bytes of a body", "a body"),
        ("thread 'lane' panicked at src/x.rs:1:2", "a panic"),
    ] {
        let story = with(text);
        story.fails(P10Quiet);
        let said = story.report().to_string();
        assert!(said.contains(&format!("{what} in a log, line 2")) && !said.contains(text), "{said}");
    }
}

#[test]
fn an_unfinished_operation_is_recorded_as_unknown() {
    let recorder = Recorder::default();
    let key: Arc<str> = "b/k".into();
    let id = recorder.next_id();
    drop(recorder.invoke(id, &key, Action::Delete));
    recorder.invoke(recorder.next_id(), &key, Action::Delete).finish(Outcome::Ok, Some("R".into()));
    recorder.invoke(recorder.next_id(), &key, Action::Read { found: None }).forget();
    let ops = recorder.ops();
    assert_eq!(ops.len(), 2);
    assert_eq!((ops[0].outcome, ops[0].returned), (Outcome::Info, TICK_NEVER));
    assert!(ops[1].invoked > ops[0].invoked && ops[1].returned > ops[1].invoked);
}
