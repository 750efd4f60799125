//! The whole stack after power cuts, kills and deliberate faults.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::disk::{Op, SimDisk};
use crate::power::Power;
use crate::rules::after;
use crate::stack::{NEVER, OFTEN, Pace, Stack, Story, TARGET, data, drain, empty, judge};
use crate::{kills, sane, scale, seed};

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// Waits for something that other threads bring about.
pub async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while !is() {
        assert!(std::time::Instant::now() < deadline, "waited in vain for {what}");
        tokio::task::yield_now().await;
    }
}

/// What clients do, at most six things, over three keys; the target keeps up, or lags, or is away; the server
/// stops, dies or goes on.
fn live(seed: u64, pace: Pace) -> (Arc<SimDisk>, Story) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut disk = empty();
    let mut story = Story::default();
    let runtime = runtime();
    let mut n = seed * 1_000;
    let mut there: std::collections::BTreeSet<String> = std::collections::BTreeSet::new();
    runtime.block_on(async {
        let mut stack = Stack::open(&disk, pace).await.expect("an empty disk opens");
        let mut reader = stack.reader().await.expect("the target is registered");
        for step in 0..6 {
            n += 1;
            let key = format!("key-{}", rng.u8(0..3));
            if rng.u8(0..4) == 0 && there.remove(&key) {
                story.plan.insert(n, (key.clone(), true));
                stack.delete(&key, n).await.expect("the disk is sound");
            } else {
                story.plan.insert(n, (key.clone(), false));
                match n % 3 {
                    0 => stack.put_blob(&key, n).await.expect("the disk is sound"),
                    _ => stack.put(&key, n).await.expect("the disk is sound"),
                };
                there.insert(key);
            }
            if n.is_multiple_of(2) {
                stack.set(n).await.expect("the disk is sound");
            }
            match rng.u8(0..6) {
                0 | 1 => drop(drain(&disk, &mut reader, n).await.expect("delivers")),
                2 => {
                    drain(&disk, &mut reader, n).await.expect("delivers");
                    reader.flush().await.expect("flushes");
                }
                3 if step < 5 => {
                    drop(reader);
                    if rng.bool() {
                        stack.stop().await;
                    } else {
                        disk = Arc::new(disk.kill());
                        stack.stop().await;
                    }
                    stack = Stack::open(&disk, pace).await.expect("opens again");
                    reader = stack.reader().await.expect("the target is registered");
                }
                4 if pace.0.is_zero() => {
                    let end = stack.queue.stat().durable_end;
                    until("a checkpoint", || stack.store.checkpoint_next() >= end).await;
                }
                _ => {}
            }
        }
        drop(reader);
        stack.stop().await;
    });
    (disk, story)
}

/// Judges images of a trace: about `states` of them, spread over its places. `of` says which places count.
pub fn judge_cuts(
    disk: &SimDisk,
    story: &Story,
    seed: u64,
    states: usize,
    of: impl Fn(&Op) -> bool,
) -> Result<usize, String> {
    let trace = disk.trace();
    let places = trace.iter().filter(|op| !matches!(op, Op::Mark(_)) && of(op)).count();
    let mut rng = fastrand::Rng::with_seed(seed);
    let per_place = states.div_ceil(places.max(1)).max(4);
    let share = states as f64 / (places.max(1) * per_place) as f64;
    let mut power = Power::new(disk.start(), seed, per_place);
    let mut told = story.clone();
    let mut images = Vec::new();
    for op in &trace {
        if !matches!(op, Op::Mark(_)) && of(op) && rng.f64() <= share {
            power.images(|image| images.push((image, told.clone())));
        }
        power.pass(op);
        told.pass(op);
    }
    power.images(|image| images.push((image, told.clone())));
    let judged = images.len();
    for (at, (image, told)) in images.into_iter().enumerate() {
        judge(&after(image), &told).map_err(|why| format!("seed {seed}, image {at}: {why}"))?;
    }
    Ok(judged)
}

#[test]
fn the_whole_stack_survives_power_cuts() {
    let _sane = sane();
    let began = std::time::Instant::now();
    let lives = 24 * scale();
    let first = seed() * 100;
    println!("TIDINGS_SEED={}, lives {first}..{}", seed(), first + lives);
    let halves = [first..first + lives / 2, first + lives / 2..first + lives];
    let runs = halves.map(|seeds| {
        std::thread::spawn(move || {
            let mut judged = 0;
            for seed in seeds {
                let (disk, story) = live(seed, if seed % 2 == 0 { OFTEN } else { NEVER });
                judged += judge_cuts(&disk, &story, seed, 250, |_| true)?;
            }
            Ok::<_, String>(judged)
        })
    });
    let judged: Vec<_> = runs.into_iter().map(|run| run.join().expect("ran")).collect();
    let judged: usize = judged.into_iter().map(|r| r.unwrap_or_else(|why| panic!("{why}"))).sum();
    println!("{lives} lives in {:?}", began.elapsed());
    crate::judged("log, rows, index, packs, blobs", judged);
    assert!(judged > 500);
}

/// The files of a trace whose path contains `part`.
fn nodes(trace: &[Op], part: &str) -> HashSet<usize> {
    let named = trace.iter().filter_map(|op| match op {
        Op::Create { path, node } if path.to_string_lossy().contains(part) => Some(*node),
        _ => None,
    });
    named.collect()
}

/// Puts, everything checkpointed, and power cuts before every sync of a pack and of the index, each of them.
fn around_a_checkpoint() -> Result<(), String> {
    let disk = empty();
    let mut story = Story::default();
    runtime().block_on(async {
        let stack = Stack::open(&disk, OFTEN).await?;
        for n in [3, 7] {
            story.plan.insert(n, (format!("key-{n}"), false));
            let offset = stack.put(&format!("key-{n}"), n).await.map_err(|e| e.to_string())?;
            until("a checkpoint", || stack.store.checkpoint_next() > offset).await;
        }
        stack.stop().await;
        Ok::<_, String>(())
    })?;
    let (packs, index) = disk.see(|trace| (nodes(trace, "/packs/"), nodes(trace, "index.redb")));
    let syncs = |of: &HashSet<usize>| disk.see(|trace| trace.iter().filter(|op| is_sync(op, of)).count());
    let (of_packs, of_index) = (syncs(&packs), syncs(&index));
    if of_packs < 2 || of_index < 2 {
        return Err(format!("{of_packs} syncs of packs and {of_index} of the index say nothing"));
    }
    // So many states that no place is left out.
    let places = of_packs + of_index;
    judge_cuts(&disk, &story, 1, 4 * places, |op| is_sync(op, &packs) || is_sync(op, &index)).map(drop)
}

fn is_sync(op: &Op, of: &HashSet<usize>) -> bool {
    matches!(op, Op::Sync { node } if of.contains(node))
}

#[test]
fn mutant_checkpoint_before_packs_sync() {
    kills("checkpoint-before-packs-sync", around_a_checkpoint);
}

/// A target away: its row is gone (or never was), and every event that waits for it is there.
fn without_a_row() -> Result<(), String> {
    let disk = empty();
    let mut story = Story::default();
    let runtime = runtime();
    runtime.block_on(async {
        let stack = Stack::open(&disk, NEVER).await?;
        for n in 1..4 {
            story.plan.insert(n, ("key".to_owned(), false));
            stack.put("key", n).await.map_err(|e| e.to_string())?;
        }
        stack.stop().await;
        Ok::<_, String>(())
    })?;
    let mut image = disk.cached();
    image.files.retain(|path, _| path.parent() != Some(&data().join("progress")));
    disk.see(|trace| trace.iter().for_each(|op| story.pass(op)));
    judge(&after(image), &story)
}

#[test]
fn mutant_no_row_starts_at_tail() {
    kills("no-row-starts-at-tail", without_a_row);
}

/// What the far side settled is in a row that is written and not synced when the log is trimmed; then power
/// is lost.
fn trimmed_by_a_row() -> Result<(), String> {
    let disk = empty();
    let mut story = Story::default();
    runtime().block_on(async {
        let stack = Stack::open(&disk, OFTEN).await?;
        let mut reader = stack.reader().await?;
        reader.flush().await.map_err(|e| e.to_string())?;
        for n in 1..12 {
            story.plan.insert(n, ("key".to_owned(), false));
            stack.put("key", n).await.map_err(|e| e.to_string())?;
            drain(&disk, &mut reader, n).await?;
            let end = stack.queue.stat().durable_end;
            // The next checkpoint trims what the row lets go; the row itself may be written by then, and not
            // synced.
            until("a checkpoint", || stack.store.checkpoint_next() >= end).await;
        }
        drop(reader);
        stack.stop().await;
        Ok::<_, String>(())
    })?;
    let gone = |op: &Op| match op {
        Op::Rename { to, .. } | Op::Remove { path: to } => to.to_string_lossy().contains("spare"),
        Op::Sync { .. } => true,
        _ => false,
    };
    if !disk.see(|trace| trace.iter().any(|op| matches!(op, Op::Rename { from, .. } if is_segment(from)))) {
        return Err("nothing was trimmed: the test says nothing".to_owned());
    }
    // Only what was not delivered must come; what was delivered may come again, and the reader must go on.
    judge_cuts(&disk, &story, 1, 300, gone).map(drop)
}

fn is_segment(path: &std::path::Path) -> bool {
    path.extension().is_some_and(|e| e == "seg")
}

#[test]
fn mutant_trim_unsynced() {
    kills("trim-unsynced", trimmed_by_a_row);
}

/// A restart with a backlog: the index makes checkpoints before the last target was added, and nothing that
/// this target still needs is trimmed.
#[test]
fn a_checkpoint_before_the_targets_are_known_trims_nothing() {
    let _sane = sane();
    let disk = empty();
    runtime().block_on(async {
        let stack = Stack::open(&disk, NEVER).await.expect("opens");
        for n in 1..16 {
            stack.put("key", n).await.expect("the disk is sound");
        }
        // Killed: the index has everything to do again.
        let disk = Arc::new(disk.kill());
        stack.stop().await;
        // As the server starts, up to the moment before the targets are added.
        let stack = Stack::open_unregistered(&disk, OFTEN).expect("opens");
        let end = stack.1.stat().durable_end;
        let first = stack.1.stat().first;
        until("a checkpoint", || stack.0.checkpoint_next() >= end).await;
        assert_eq!(stack.1.stat().floor, 0);
        assert_eq!(stack.1.stat().first, first);
        let progress = stack.1.add_reader(TARGET, 1).expect("added");
        assert_eq!(progress.books().backlog, 15);
        stack.1.readers_complete();
        assert!(stack.1.stat().floor <= 3, "the reader's first event is at 3");
        let (store, queue) = stack;
        tokio::task::spawn_blocking(move || (store.stop(), queue.stop())).await.expect("closed");
    });
}

/// Entries that the index reads from disk give their overlay budget back, like those from memory.
#[test]
fn an_index_that_lagged_gives_all_budget_back() {
    let _sane = sane();
    let disk = empty();
    runtime().block_on(async {
        // Nothing stays in memory: every entry is read from disk. The budget is 1 MiB.
        let stack = Stack::open_with_tail(&disk, NEVER, 0).await.expect("opens");
        for n in 1..160 {
            stack.put(&format!("key-{}", n % 7), n).await.unwrap_or_else(|e| panic!("change {n}: {e}"));
        }
        stack.stop().await;
    });
}

/// The durable end never runs ahead of what readers of the store can see.
fn readable_when_durable() -> Result<(), String> {
    use tidings::journal::{Durable, Opened, Sink};

    struct Published(std::sync::atomic::AtomicU64);
    impl Sink<u64> for Published {
        fn publish(&self, batch: Vec<Durable<u64>>) {
            let last = batch.last().map_or(0, |d| d.position.offset);
            self.0.store(last, std::sync::atomic::Ordering::SeqCst);
        }
    }
    let disk = Arc::new(SimDisk::new(std::path::Path::new("/data")));
    let published = Arc::new(Published(std::sync::atomic::AtomicU64::new(0)));
    let options = crate::rules::options(&crate::log::dir());
    let opened = Opened::open(disk.disk(), options, 0).map_err(|e| e.to_string())?;
    let journal = Arc::new(opened.start(Arc::clone(&published) as _).map_err(|e| e.to_string())?);
    let watcher = std::thread::spawn({
        let (journal, published) = (Arc::clone(&journal), Arc::clone(&published));
        move || {
            let mut reader = journal.reader(1);
            let mut early = 0;
            while reader.position() <= 50 && reader.wait(Duration::from_secs(10)) {
                let end = reader.durable_end();
                early += u64::from(published.0.load(std::sync::atomic::Ordering::SeqCst) < end - 1);
                reader.seek(end);
            }
            early
        }
    });
    for n in 0..50 {
        crate::log::append(&disk, &journal, &[4 * n]).remove(0)?;
    }
    let early = watcher.join().expect("ran");
    journal.stop();
    if early == 0 { Ok(()) } else { Err(format!("{early} times a durable offset could not be read yet")) }
}

#[test]
fn mutant_durable_end_before_overlay() {
    kills("durable-end-before-overlay", readable_when_durable);
}
