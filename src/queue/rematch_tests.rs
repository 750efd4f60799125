//! Rematching: what comes, in which order, how it counts, and that the log keeps it meanwhile.

use super::super::Queue as _;
use super::super::tests::{append, checkpoint, open_with, options, retaining, settle, take};
use super::*;

/// Today's rules: keys 0 to 9 of 97 are for target 1.
fn few_keys() -> RematchFn {
    Arc::new(|target, event| {
        let number: u64 = event.key.strip_prefix("key-")?.parse().ok()?;
        (target == TargetNo(1) && number < 10).then(|| "new-rule".into())
    })
}

/// Of entries 0 to `count` at these offsets, what target 1 gets in a rematch.
fn expected(offsets: &[u64], labelled: fn(u64) -> bool) -> Vec<u64> {
    let fits = |n: u64| labelled(n) || n % 97 < 10;
    let mut all: Vec<_> = (0..).zip(offsets).filter(|(n, _)| fits(*n)).map(|(_, o)| *o).collect();
    all.sort_unstable();
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rematch_gives_in_log_order_what_the_rules_of_now_match_and_goes_on_after_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let queue = open_with(retaining(dir.path()), 1, 1);
    queue.rematch_by(few_keys());
    let labelled = |n: u64| n.is_multiple_of(3);
    let offsets = append(&queue, 0..3_000, |n| if n % 3 == 0 { &[1] } else { &[] }).await;
    let mut one = queue.open(TargetNo(1), 0).await.expect("opened");
    let mine = take(&mut one, 1_000).await;
    // One stays open: it is a hole, and neither repeated nor rematched.
    let hole = mine[500];
    settle(&mut one, &mine.iter().copied().filter(|o| *o != hole).collect::<Vec<_>>());
    let without = one.rewind(1, false).await.expect("it is all there");
    assert!(!without.rematch);
    assert_eq!(take(&mut one, 1_000).await, mine, "nobody asked for more");
    let rewound = one.rewind(1, true).await.expect("it is all there");
    assert!(rewound.rematch && one.progress().replaying().is_some_and(|r| r.rematch));

    let mut expected = expected(&offsets, labelled);
    expected.retain(|o| *o < rewound.until);
    let new: Vec<u64> = expected.iter().copied().filter(|o| !mine.contains(o)).collect();
    let given = take(&mut one, expected.len()).await;
    assert_eq!(given, expected);
    assert_eq!(one.progress().replay_of(new[0]), Some(2), "marked as a replay");
    let books = one.progress().books();
    assert_eq!((books.matched, books.backlog, books.imbalance()), (1_000, 1, 0), "beside the balance");
    // What a lane keeps by position only is read again by it.
    let wanted = [new[1], mine[9].max(new[2])];
    let again = one.lookup().read(&wanted).await.expect("read");
    assert!(again.iter().map(|s| s.position.offset).eq(wanted));
    assert_eq!(again[0].rule_for(TargetNo(1)).map(|rule| &**rule), Some("new-rule"));
    // The process ends when a part of it is delivered.
    let (first, rest) = given.split_at(given.len() / 2);
    settle(&mut one, first);
    let half = one.progress().books();
    one.flush().await.expect("durable");
    drop(one);
    queue.stop();
    drop(queue);

    let queue = open_with(retaining(dir.path()), 3_001, 1);
    queue.rematch_by(few_keys());
    let mut one = queue.open(TargetNo(1), 0).await.expect("opened");
    assert!(one.progress().replaying().is_some_and(|r| r.rematch && r.from == rest[0]));
    assert_eq!(one.progress().books(), half);
    // What is still open comes first.
    let holes = usize::from(rest.contains(&hole) && hole < rest[0]);
    assert_eq!(take(&mut one, rest.len() + holes).await[holes..], *rest);
    settle(&mut one, rest);
    let books = one.progress().books();
    assert_eq!((books.rematched, books.imbalance()), (new.len() as u64, 0), "{books:?}");
    assert_eq!((books.delivered, books.repeated), (1_000, 999), "{books:?}");
    assert_eq!(one.progress().replaying(), None);
    // Nobody asked any more: what is not for it is not given.
    let later = append(&queue, 3_000..3_010, |n| if n % 3 == 0 { &[1] } else { &[] }).await;
    let (got, want) = (take(&mut one, 4).await, [0, 3, 6, 9].map(|n| later[n]));
    assert!(got.iter().all(|o| want.contains(o)), "{got:?}");
    queue.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compaction_leaves_what_a_rematch_has_not_given_yet() {
    let dir = tempfile::tempdir().expect("a directory");
    let queue = open_with(options(dir.path(), 40, super::super::tests::PATIENT), 1, 1);
    queue.rematch_by(few_keys());
    let sparse: fn(u64) -> &'static [u32] = |n| if n % 50 == 0 { &[1] } else { &[] };
    let mut one = queue.open(TargetNo(1), 0).await.expect("opened");
    let offsets = append(&queue, 0..5_000, sparse).await;
    let mine = take(&mut one, 100).await;
    settle(&mut one, &mine[1..]);
    one.flush().await.expect("durable");
    let rewound = one.rewind(1, true).await.expect("it is all there");
    // The log is pressed from here on: what lies behind is compacted, what is on the way is not.
    append(&queue, 5_000..15_000, sparse).await;
    let mut compacted = queue.compacted();
    let before = *compacted.borrow_and_update();
    checkpoint(&queue, queue.stat().durable_end);
    compacted.wait_for(|n| *n > before).await.expect("alive");
    let mut expected = expected(&offsets, |n| n.is_multiple_of(50));
    expected.retain(|o| *o < rewound.until);
    assert_eq!(take(&mut one, expected.len()).await, expected);
    queue.stop();
}
