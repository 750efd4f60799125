//! Budgets over the real queue: what is charged is what is not settled, whatever happens, and a full target
//! is nobody else's business.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::config::{self, WhenFull};
use crate::queue::BudgetView;
use crate::queue::embedded::EmbeddedQueue;
use crate::queue::tests::{PATIENT, SEGMENT, WAIT, entry, open_with, options};
use crate::queue::{Column, Queue as _, Reader, TargetNo};

const REFUSES: u32 = 1;
const SHEDS: u32 = 2;
const OTHER: u32 = 3;

/// Three targets: one that refuses, one that sheds, one without a bound worth the name.
fn open(dir: &Path, max_backlog: u64) -> Arc<EmbeddedQueue> {
    let queue = open_with(options(dir, 60, PATIENT), 1, 3);
    for (target, max_backlog, when_full) in [
        (REFUSES, max_backlog, WhenFull::Refuse),
        (SHEDS, max_backlog, WhenFull::Shed),
        (OTHER, 1 << 40, WhenFull::Refuse),
    ] {
        let progress = queue.add_reader(TargetNo(target), 1).expect("known");
        progress.budget().set(&format!("target-{target}").into(), config::Budget { max_backlog, when_full });
    }
    queue
}

fn budget(queue: &EmbeddedQueue, target: u32) -> BudgetView {
    queue.add_reader(TargetNo(target), 1).expect("known").budget().view()
}

/// What a change made of it: its offset and who shed it.
async fn change(queue: &EmbeddedQueue, n: u64, targets: &[u32]) -> Result<(u64, Vec<u32>), OverBudget> {
    let mut permit = queue.reserve(1_000).await.expect("space");
    let mut entry = entry(n, targets);
    queue.admit(&mut permit, &mut entry, &[])?;
    let shed = entry.shed.iter().map(|d| d.target.0).collect();
    let body = Bytes::from_static(&[7; 1_000]);
    Ok((queue.append(permit, entry, body).await.expect("appended").offset, shed))
}

/// The bytes of entry `n` for so many targets, from its encoding.
fn bytes_of(n: u64, targets: &[u32]) -> u64 {
    let mut meta = Vec::new();
    codec::encode(&entry(n, targets), &mut meta);
    (32 + 4 * targets.len() + meta.len()) as u64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_target_refuses_its_own_changes_and_no_others() {
    let dir = tempfile::tempdir().expect("a directory");
    let one = bytes_of(0, &[REFUSES, OTHER]);
    let queue = open(dir.path(), one * 3 + 1);
    for n in 0..3 {
        change(&queue, n, &[REFUSES, OTHER]).await.expect("fits");
    }
    let end = queue.stat().durable_end;
    let full = change(&queue, 3, &[OTHER, REFUSES]).await.expect_err("the fourth does not fit");
    assert_eq!(full, OverBudget { target: "target-1".into(), charged: one * 3, max: one * 3 + 1 });
    assert_eq!(queue.stat().durable_end, end, "nothing happened");
    assert_eq!(budget(&queue, OTHER).charged, one * 3, "nor is anything charged for it");
    assert_eq!(budget(&queue, REFUSES).level, 100);
    change(&queue, 4, &[OTHER]).await.expect("another target's change");
    // One settled makes room for one.
    let mut reader = queue.open(TargetNo(REFUSES), 0).await.expect("opens");
    let taken = reader.next(1).await.expect("readable")[0].position.offset;
    reader.settle(&[(taken, Column::Delivered)]);
    change(&queue, 5, &[REFUSES, OTHER]).await.expect("fits again");
    change(&queue, 6, &[REFUSES, OTHER]).await.expect_err("full again");
    // A permit that is not used gives back what was charged to it.
    let mut permit = queue.reserve(1_000).await.expect("space");
    queue.admit(&mut permit, &mut entry(7, &[OTHER]), &[]).expect("no bound");
    drop(permit);
    assert_eq!(budget(&queue, OTHER).charged, one * 4 + bytes_of(4, &[OTHER]));
    queue.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_target_that_may_shed_goes_without_and_is_counted_from_the_log() {
    let dir = tempfile::tempdir().expect("a directory");
    let one = bytes_of(0, &[SHEDS, OTHER]);
    let queue = open(dir.path(), one * 2);
    for n in 0..10 {
        let (_, shed) = change(&queue, n, &[SHEDS, OTHER]).await.expect("nobody refuses");
        assert_eq!(shed, if n < 2 { vec![] } else { vec![SHEDS] });
    }
    let books = |queue: &EmbeddedQueue, target| queue.add_reader(TargetNo(target), 1).expect("known").books();
    for life in 0..2 {
        let (sheds, other) = (books(&queue, SHEDS), books(&queue, OTHER));
        assert_eq!((sheds.matched, sheds.shed, sheds.backlog), (2, 8, 2), "life {life}");
        assert_eq!((other.matched, other.shed, other.backlog), (10, 0, 10), "life {life}");
        assert_eq!((sheds.imbalance(), other.imbalance()), (0, 0));
        queue.stop();
    }
    drop(queue);
    let queue = open(dir.path(), one * 2);
    assert_eq!(books(&queue, SHEDS).shed, 8, "over a restart");
    assert_eq!(
        budget(&queue, SHEDS),
        BudgetView { charged: one * 2, max_backlog: Some(one * 2), when_full: WhenFull::Shed, level: 100 }
    );
    let mut reader = queue.open(TargetNo(SHEDS), 0).await.expect("opens");
    let taken = reader.next(100).await.expect("readable");
    assert_eq!(taken.len(), 2, "what was shed never comes");
    let all: Vec<_> = taken.iter().map(|s| (s.position.offset, Column::Delivered)).collect();
    reader.settle(&all);
    assert_eq!(budget(&queue, SHEDS).charged, 0);
    assert_eq!(change(&queue, 10, &[SHEDS]).await.expect("fits").1, Vec::<u32>::new());
    queue.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn near_the_end_of_the_log_the_largest_sheds_first_and_before_any_change_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    // Room for ten segments beside the two that stand ready; nobody takes anything.
    let queue = open_with(options(dir.path(), 12, Duration::from_millis(50)), 1, 3);
    for target in [REFUSES, SHEDS, OTHER] {
        let when_full = if target == REFUSES { WhenFull::Refuse } else { WhenFull::Shed };
        let policy = config::Budget { max_backlog: 1 << 40, when_full };
        queue.add_reader(TargetNo(target), 1).expect("known").budget().set(&"t".into(), policy);
    }
    let mut first_shed: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
    let mut n = 0;
    loop {
        let Ok(mut permit) = queue.reserve(1_000).await else {
            if queue.stat().blocked.is_some() {
                break;
            }
            continue;
        };
        // The second one gets twice as much as the third.
        let targets: &[u32] = if n % 2 == 0 { &[REFUSES, SHEDS, OTHER] } else { &[REFUSES, SHEDS] };
        let mut entry = entry(n, targets);
        queue.admit(&mut permit, &mut entry, &[]).expect("nobody's own budget is full");
        for delivery in &entry.shed {
            let used = queue.stat().needed_bytes / SEGMENT;
            first_shed.entry(delivery.target.0).or_insert((n, used));
        }
        queue.append(permit, entry, Bytes::from_static(&[7; 1_000])).await.expect("appended");
        n += 1;
    }
    let (large, small) = (first_shed[&SHEDS], first_shed[&OTHER]);
    assert!(!first_shed.contains_key(&REFUSES));
    assert_eq!(large.1, 9, "of ten");
    assert!(large.0 < small.0 && small.0 < n, "{first_shed:?}, refused at {n}");
    queue.stop();
}

/// What the test knows of one target, by offset.
type Owed = BTreeMap<u64, u64>;

/// Random changes, deliveries and restarts: after each step what is charged is what is owed, to the byte.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_charged_is_what_is_not_settled() {
    for seed in 0..6 {
        let dir = tempfile::tempdir().expect("a directory");
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut owed: [Owed; 3] = Default::default();
        let (mut matched, mut shed) = ([0_u64; 3], [0_u64; 3]);
        let mut n = 0;
        for life in 0..4 {
            let queue = open(dir.path(), 6_000);
            let mut readers: Vec<Box<dyn Reader>> = Vec::new();
            let mut held: [Vec<u64>; 3] = Default::default();
            for target in [REFUSES, SHEDS, OTHER] {
                readers.push(queue.open(TargetNo(target), 0).await.expect("opens"));
            }
            for step in 0..120 {
                let t = rng.usize(0..3);
                match rng.u8(0..10) {
                    0..=5 => {
                        let targets: Vec<u32> = (1..=3).filter(|_| rng.bool()).collect();
                        n += 1;
                        let bytes = bytes_of(n, &targets);
                        match change(&queue, n, &targets).await {
                            Ok((offset, left_out)) => {
                                for target in targets {
                                    let at = target as usize - 1;
                                    if left_out.contains(&target) {
                                        shed[at] += 1;
                                    } else {
                                        matched[at] += 1;
                                        owed[at].insert(offset, bytes);
                                    }
                                }
                            }
                            Err(full) => assert_eq!(&*full.target, "target-1"),
                        }
                    }
                    6 | 7 if held[t].len() < owed[t].len() => {
                        let next = tokio::time::timeout(WAIT, readers[t].next(3)).await.expect("in time");
                        held[t].extend(next.expect("readable").iter().map(|s| s.position.offset));
                    }
                    _ if !held[t].is_empty() => {
                        let offset = held[t].swap_remove(rng.usize(0..held[t].len()));
                        readers[t].settle(&[(offset, Column::Delivered)]);
                        owed[t].remove(&offset);
                    }
                    _ => {}
                }
                for (at, owed) in owed.iter().enumerate() {
                    let progress = readers[at].progress();
                    let (view, books) = (progress.budget().view(), progress.books());
                    let at_step = format!("seed {seed}, life {life}, step {step}, target {}", at + 1);
                    assert_eq!(view.charged, owed.values().sum::<u64>(), "{at_step}");
                    assert_eq!((books.imbalance(), books.matched, books.shed), (0, matched[at], shed[at]));
                }
            }
            drop(readers);
            queue.stop();
        }
    }
}

/// Rules that were made through the API never keep a change from being made, whatever their target's policy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_target_that_refuses_sheds_what_only_a_bucket_s_own_rule_names() {
    let dir = tempfile::tempdir().expect("a directory");
    let one = bytes_of(0, &[REFUSES, OTHER]);
    let queue = open(dir.path(), one * 2);
    let own = async |n: u64, shedding: &[u32]| {
        let mut permit = queue.reserve(1_000).await.expect("space");
        let mut entry = entry(n, &[REFUSES, OTHER]);
        let shedding: Vec<_> = shedding.iter().map(|target| TargetNo(*target)).collect();
        queue.admit(&mut permit, &mut entry, &shedding)?;
        let shed: Vec<_> = entry.shed.iter().map(|d| d.target.0).collect();
        queue.append(permit, entry, Bytes::from_static(&[7; 1_000])).await.expect("appended");
        Ok::<_, OverBudget>(shed)
    };
    assert_eq!(own(0, &[REFUSES]).await, Ok(vec![]), "it fits");
    assert_eq!(own(1, &[]).await, Ok(vec![]));
    assert_eq!(own(2, &[REFUSES]).await, Ok(vec![REFUSES]));
    assert_eq!(own(3, &[REFUSES, OTHER]).await, Ok(vec![REFUSES]), "the other has room");
    assert!(own(4, &[OTHER]).await.is_err(), "a rule of the configuration names it too");
    let books = |target| queue.add_reader(TargetNo(target), 1).expect("known").books();
    assert_eq!((books(REFUSES).shed, books(REFUSES).matched, books(OTHER).matched), (2, 2, 4));
    queue.stop();
}
