//! Restores of archived objects through power cuts, kills and clocks that jump: each that was acknowledged is
//! done exactly once, unless its object went first, and none is done before its time.
//!
//! Must never ask the product what to expect: the log itself is read from its beginning and judged.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tidings::commit::{Asked, CommitError, NewBody, PutObject, WantedRestore};
use tidings::event::EventKind;
use tidings::queue::{Column, Stored, Tier};
use tidings::store::{Restores as _, Store as _};

use crate::cuts::{runtime, until};
use crate::disk::{Mark, Op, SimDisk};
use crate::power::Power;
use crate::rules::{NOW_US, after, body};
use crate::stack::{BUCKET, NEVER, OFTEN, Pace, Stack, Story, change, empty, request};
use crate::{kills, sane, scale, seed};

/// How long a restore takes.
const TAKES: Duration = Duration::from_secs(3_600);
const HOUR: i64 = 3_600_000_000;
/// Where every life's clock begins.
const START: i64 = 1_700_000_000_000_000;
/// Stops all clocks but one: they are process-wide.
static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

impl Stack {
    /// PUT of change `n` as an archived object, noted on the trace.
    async fn put_archived(&self, key: &str, n: u64) -> Result<u64, CommitError> {
        self.disk.mark(Mark::Begun(n));
        let permit = self.commit.reserve(body(n).len()).await?;
        let class = vec![("x-amz-storage-class".into(), "ARCHIVE".into())];
        let put = self.new_object(key, n, NewBody::Inline(body(n)), request(n));
        let position = self.commit.put_object(permit, PutObject { headers: class, ..put }).await?.position;
        self.disk.mark(Mark::Durable { n, epoch: position.epoch, offset: position.offset });
        Ok(position.offset)
    }

    /// A restore of the object under `key` as change `n`, noted on the trace if it begins.
    async fn restore(&self, key: &str, n: u64) -> Result<(), CommitError> {
        self.disk.mark(Mark::Begun(n));
        let object = self.store.object(BUCKET, key)?.expect("it is there");
        let permit = self.commit.reserve_restore(BUCKET, key).await?;
        let (class, tier, request) = ("ARCHIVE".into(), Tier::Standard, request(n));
        let wanted = WantedRestore { class, tier, takes: TAKES, days: 1, request };
        if self.commit.restore_object(permit, &object, wanted).await? == Asked::Begun {
            let offset = self.queue.stat().durable_end - 1;
            self.disk.mark(Mark::Durable { n, epoch: self.queue.epoch(), offset });
        }
        Ok(())
    }
}

/// Sixteen steps over two keys: objects come and go, are restored, the clock jumps, the server stops, dies or
/// goes on.
fn live(seed: u64, pace: Pace) -> Arc<SimDisk> {
    let (mut rng, mut disk) = (fastrand::Rng::with_seed(seed), empty());
    NOW_US.store(START, Ordering::SeqCst);
    runtime().block_on(async {
        let mut stack = Stack::open(&disk, pace).await.expect("an empty disk opens");
        for n in 1..17 {
            let key = format!("key-{}", rng.u8(0..2));
            let there = stack.get(&key).await.expect("reads").is_some();
            match rng.u8(0..10) {
                0 if there => {
                    stack.delete(&key, n).await.expect("the disk is sound");
                }
                1..=5 if there => {
                    // Refused while one is running: that is no change.
                    let _ = stack.restore(&key, n).await;
                }
                0..=6 => {
                    stack.put_archived(&key, n).await.expect("the disk is sound");
                }
                _ => {
                    let hours = [-1, 1, 2, 60][rng.usize(0..4)];
                    let now = NOW_US.fetch_add(hours * HOUR, Ordering::SeqCst) + hours * HOUR;
                    stack.commit.end_due_restores(now).await.expect("the disk is sound");
                }
            }
            match rng.u8(0..6) {
                0 => {
                    if rng.bool() {
                        stack.stop().await;
                    } else {
                        disk = Arc::new(disk.kill());
                        stack.stop().await;
                    }
                    stack = Stack::open(&disk, pace).await.expect("opens again");
                }
                1 if pace.0.is_zero() => {
                    let end = stack.queue.stat().durable_end;
                    until("a checkpoint", || stack.store.checkpoint_next() >= end).await;
                }
                _ => {}
            }
        }
        stack.stop().await;
    });
    disk
}

/// Opens what a power cut left, lets all the time in the world pass, and judges the log.
fn judge(disk: &Arc<SimDisk>, story: &Story) -> Result<(), String> {
    let judged = async {
        let stack = Stack::open(disk, NEVER).await?;
        let result = judge_open(&stack, story).await;
        stack.stop().await;
        result
    };
    runtime()
        .block_on(async { tokio::time::timeout(Duration::from_secs(20), judged).await })
        .unwrap_or_else(|_| Err("it hangs".to_owned()))
}

async fn judge_open(stack: &Stack, story: &Story) -> Result<(), String> {
    // Long after everything: first all are done, then they expire.
    for days in [1_000, 2_000] {
        let now = START + days * 24 * HOUR;
        NOW_US.store(now, Ordering::SeqCst);
        let ended = stack.commit.end_due_restores(now).await.map_err(|e| e.to_string())?;
        if ended.waiting > 0 {
            return Err(format!("{ended:?}"));
        }
    }
    let left = stack.store.due_restores(None, i64::MAX, 10).map_err(|e| e.to_string())?;
    if !left.is_empty() {
        return Err(format!("still due: {left:?}"));
    }
    let probe = 900_000_000;
    stack.put("probe", probe).await.map_err(|e| format!("a change is refused: {e}"))?;
    let (mut reader, mut log) = (stack.reader().await?, BTreeMap::<u64, Arc<Stored>>::new());
    while log.values().all(|stored| change(stored) != probe) {
        let entries = reader.next(64).await.map_err(|e| format!("the reader: {e}"))?;
        let settled: Vec<_> = entries.iter().map(|s| (s.position.offset, Column::Delivered)).collect();
        log.extend(entries.into_iter().map(|stored| (stored.position.offset, stored)));
        reader.settle(&settled);
    }
    judge_log(log.values(), story)?;
    for key in ["key-0", "key-1"] {
        let Some(object) = stack.store.object(BUCKET, key).map_err(|e| e.to_string())? else { continue };
        let left = stack.store.restore(BUCKET, key, object.offset).map_err(|e| e.to_string())?;
        if left.is_some() {
            return Err(format!("{key} is restored for ever: {left:?}"));
        }
    }
    Ok(())
}

/// Every event that was ever durable, in order.
fn judge_log<'a>(log: impl Iterator<Item = &'a Arc<Stored>>, story: &Story) -> Result<(), String> {
    let mut running: HashMap<String, (u64, i64)> = HashMap::new();
    let mut seen = BTreeSet::new();
    for stored in log {
        let (event, n) = (stored.entry.event.as_ref().expect("an event"), change(stored));
        let key = event.key.to_string();
        match event.kind {
            EventKind::RestorePost => {
                seen.insert(n);
                if let Some(before) = running.insert(key, (n, event.time_us)) {
                    return Err(format!("{n} began while {before:?} was running"));
                }
            }
            EventKind::RestoreCompleted => match running.remove(&key) {
                Some((began, at)) if began == n && event.time_us >= at + HOUR => {}
                other => return Err(format!("{n} was done at {}, running was {other:?}", event.time_us)),
            },
            _ => {
                seen.insert(n);
                running.remove(&key);
            }
        }
    }
    if !running.is_empty() {
        return Err(format!("never done: {running:?}"));
    }
    match story.acknowledged.values().map(|(n, _)| *n).find(|n| !seen.contains(n)) {
        Some(n) => Err(format!("P1: {n} was acknowledged and is not there")),
        None => Ok(()),
    }
}

/// Judges states of some lives; gives how many.
fn judge_lives(lives: std::ops::Range<u64>, per_life: f64) -> Result<usize, String> {
    let mut judged = 0;
    for seed in lives {
        let mut told = Story::default();
        let disk = live(seed, if seed % 2 == 0 { OFTEN } else { NEVER });
        let trace = disk.trace();
        let places = trace.iter().filter(|op| !matches!(op, Op::Mark(_))).count();
        let mut rng = fastrand::Rng::with_seed(seed);
        let share = per_life / (places.max(1) * 3) as f64;
        let mut power = Power::new(disk.start(), seed, 3);
        let mut images = Vec::new();
        for op in &trace {
            if !matches!(op, Op::Mark(_)) && rng.f64() <= share {
                power.images(|image| images.push((image, told.clone())));
            }
            power.pass(op);
            told.pass(op);
        }
        power.images(|image| images.push((image, told.clone())));
        judged += images.len();
        for (at, (image, told)) in images.into_iter().enumerate() {
            judge(&after(image), &told).map_err(|why| format!("seed {seed}, image {at}: {why}"))?;
        }
    }
    Ok(judged)
}

#[test]
fn every_restore_is_done_once_whatever_the_power_and_the_clock_do() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let _sane = sane();
    let began = std::time::Instant::now();
    let (first, lives) = (seed() * 100, 12 * scale());
    println!("TIDINGS_SEED={}, lives {first}..{}", seed(), first + lives);
    let judged = judge_lives(first..first + lives, 40.0).unwrap_or_else(|why| panic!("{why}"));
    println!("{lives} lives in {:?}", began.elapsed());
    crate::judged("restores and their timers", judged);
    assert!(judged > 200);
}

#[test]
fn mutants_of_restores_are_noticed() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for mutant in ["restore-timer-lost", "restore-done-twice", "restore-outlives-its-object"] {
        kills(mutant, || judge_lives(700..706, 12.0).map(|_| ()));
    }
}
