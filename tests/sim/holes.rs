//! Rows with many holes: what power cuts leave of their pieces, and what compaction must keep for them.
//!
//! Must never count a hole as delivered: the stuck key's events are taken and left.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tidings::fail;
use tidings::queue::{Column, Reader};

use crate::disk::{Mark, Op, SimDisk};
use crate::power::Power;
use crate::rules::after;
use crate::stack::{NEVER, OFTEN, Stack, Story, change, empty, judge};
use crate::{kills, sane, scale, seed};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// Takes what there is up to change `last`; delivers and settles all but the stuck key's, of which it says
/// the offsets.
async fn take(
    disk: &SimDisk,
    story: &Story,
    reader: &mut Box<dyn Reader>,
    last: u64,
) -> Result<Vec<(u64, u64)>, String> {
    let mut left = Vec::new();
    loop {
        let entries = reader.next(64).await.map_err(|e| format!("the reader: {e}"))?;
        let mut settled = Vec::new();
        let mut came = false;
        for stored in &entries {
            let n = change(stored);
            came |= n == last;
            if story.plan[&n].0 == "stuck" {
                left.push((stored.position.offset, n));
            } else {
                disk.mark(Mark::Delivered(n));
                settled.push((stored.position.offset, Column::Delivered));
            }
        }
        reader.settle(&settled);
        if came {
            return Ok(left);
        }
    }
}

/// A stuck key gets most of what happens; now and then some of it is delivered after all.
fn live(seed: u64) -> Result<(Arc<SimDisk>, Story), String> {
    fail::set_small();
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut disk = empty();
    let mut story = Story::default();
    let mut n = seed * 1_000;
    runtime().block_on(async {
        let mut stack = Stack::open(&disk, NEVER).await?;
        let mut reader = stack.reader().await?;
        let mut held: Vec<(u64, u64)> = Vec::new();
        for _ in 0..5 {
            for _ in 0..rng.u8(2..6) {
                n += 1;
                let key = if rng.u8(0..4) > 0 { "stuck".to_owned() } else { format!("key-{}", rng.u8(0..2)) };
                story.plan.insert(n, (key.clone(), false));
                stack.put(&key, n).await.map_err(|e| e.to_string())?;
            }
            held.extend(take(&disk, &story, &mut reader, n).await?);
            if rng.bool() {
                let healed: Vec<_> = held.drain(..rng.usize(0..=held.len())).collect();
                healed.iter().for_each(|(_, n)| disk.mark(Mark::Delivered(*n)));
                reader.settle(&healed.iter().map(|(o, _)| (*o, Column::Delivered)).collect::<Vec<_>>());
            }
            if rng.u8(0..3) > 0 {
                reader.flush().await.map_err(|e| e.to_string())?;
                // Everything so far but what is held is delivered for good.
                disk.mark(Mark::Floor(n));
            }
            if rng.u8(0..4) == 0 {
                drop(reader);
                if rng.bool() {
                    disk = Arc::new(disk.kill());
                }
                stack.stop().await;
                stack = Stack::open(&disk, NEVER).await?;
                reader = stack.reader().await?;
                held.clear();
                n += 1;
                story.plan.insert(n, ("again".to_owned(), false));
                stack.put("again", n).await.map_err(|e| e.to_string())?;
                held.extend(take(&disk, &story, &mut reader, n).await?);
            }
        }
        drop(reader);
        stack.stop().await;
        Ok::<_, String>(())
    })?;
    Ok((disk, story))
}

/// What was delivered and flushed must not come again: a row that is lost costs no event, and all of this.
fn comes_once(disk: &Arc<SimDisk>, done: &BTreeSet<u64>) -> Result<(), String> {
    let come = async {
        let stack = Stack::open(disk, NEVER).await?;
        stack.put("probe", 900_000_000).await.map_err(|e| e.to_string())?;
        let mut reader = stack.reader().await?;
        let came = crate::stack::drain(disk, &mut reader, 900_000_000).await?;
        drop(reader);
        stack.stop().await;
        match came.iter().find(|n| done.contains(n)) {
            Some(n) => Err(format!("{n} comes again, and its progress was flushed")),
            None => Ok(()),
        }
    };
    runtime()
        .block_on(async { tokio::time::timeout(Duration::from_secs(20), come).await })
        .unwrap_or_else(|_| Err("it hangs".to_owned()))
}

/// Every state around the calls that make rows and pieces, about `states` of them.
fn judge_rows(seed: u64, states: usize) -> Result<usize, String> {
    let (disk, story) = live(seed)?;
    let trace = disk.trace();
    let piece = |op: &Op| match op {
        Op::Create { path, .. } | Op::Remove { path } => path.to_string_lossy().contains(".h"),
        _ => false,
    };
    if !trace.iter().any(piece) {
        return Ok(0);
    }
    let places = trace.iter().filter(|op| !matches!(op, Op::Mark(_))).count();
    let (mut power, mut told) = (Power::new(disk.start(), seed, 8), story.clone());
    let (mut rng, mut done, mut images) = (fastrand::Rng::with_seed(seed), BTreeSet::new(), Vec::new());
    let share = states as f64 / (places * 8) as f64;
    for op in &trace {
        let near = rng.f64() <= share || matches!(op, Op::Remove { .. }) || piece(op);
        if near && !matches!(op, Op::Mark(_)) {
            power.images(|image| images.push((image, told.clone(), done.clone())));
        }
        if let Op::Mark(Mark::Floor(_)) = op {
            done.extend(told.delivered.iter().copied());
        }
        power.pass(op);
        told.pass(op);
    }
    power.images(|image| images.push((image, told.clone(), done.clone())));
    let judged = images.len();
    for (at, (image, told, done)) in images.into_iter().enumerate() {
        let which = |why| format!("seed {seed}, image {at}: {why}");
        comes_once(&after(image.clone()), &done).map_err(which)?;
        judge(&after(image), &told).map_err(which)?;
    }
    Ok(judged)
}

fn enumerate(seeds: std::ops::Range<u64>, states: usize) -> Result<usize, String> {
    seeds.map(|seed| judge_rows(seed, states)).sum()
}

#[test]
fn rows_with_frozen_holes_survive_power_cuts() {
    let _sane = sane();
    let (first, lives) = (seed() * 100, 8 * scale());
    println!("TIDINGS_SEED={}, lives {first}..{}", seed(), first + lives);
    let began = std::time::Instant::now();
    let halves = [first..first + lives / 2, first + lives / 2..first + lives];
    let runs = halves.map(|seeds| std::thread::spawn(move || enumerate(seeds, 60)));
    let judged: Vec<_> = runs.into_iter().map(|run| run.join().expect("ran")).collect();
    let judged: usize = judged.into_iter().map(|r| r.unwrap_or_else(|why| panic!("{why}"))).sum();
    println!("{lives} lives in {:?}", began.elapsed());
    crate::judged("files of holes", judged);
    assert!(judged > 200, "this run saw too little: {judged}");
}

#[test]
fn mutant_piece_unsynced() {
    kills("piece-unsynced", || enumerate(1..4, 60).map(drop));
}

/// A stuck key's event at the very beginning, and so much after it that its segment is compacted.
fn compacted() -> Result<(), String> {
    let disk = empty();
    let mut story = Story::default();
    runtime().block_on(async {
        let stack = Stack::open(&disk, OFTEN).await?;
        let mut reader = stack.reader().await?;
        let mut done = stack.queue.compacted();
        for n in 1..1_000 {
            let key = if n < 4 { "stuck".to_owned() } else { format!("key-{}", n % 7) };
            story.plan.insert(n, (key.clone(), false));
            stack.put(&key, n).await.map_err(|e| e.to_string())?;
            take(&disk, &story, &mut reader, n).await?;
            if n % 20 == 0 {
                reader.flush().await.map_err(|e| e.to_string())?;
            }
            if *done.borrow_and_update() > 0 && n % 20 == 1 {
                break;
            }
        }
        if *done.borrow() == 0 {
            return Err("nothing was compacted: the test says nothing".to_owned());
        }
        drop(reader);
        stack.stop().await;
        Ok::<_, String>(())
    })?;
    disk.see(|trace| trace.iter().for_each(|op| story.pass(op)));
    judge(&after(disk.cached()), &story)
}

#[test]
fn mutant_hole_forgotten() {
    kills("hole-forgotten", compacted);
}

/// A key's events are delivered, then given again from the first one on; power is lost somewhere.
fn given_again() -> Result<(), String> {
    let disk = empty();
    let mut story = Story::default();
    runtime().block_on(async {
        let stack = Stack::open(&disk, NEVER).await?;
        let mut reader = stack.reader().await?;
        let mut first = 0;
        for n in 1..5 {
            story.plan.insert(n, ("key".to_owned(), false));
            let offset = stack.put("key", n).await.map_err(|e| e.to_string())?;
            first = if n == 1 { offset } else { first };
        }
        crate::stack::drain(&disk, &mut reader, 4).await?;
        reader.flush().await.map_err(|e| e.to_string())?;
        disk.mark(Mark::Floor(4));
        reader.rewind(first, false).await.map_err(|e| e.to_string())?;
        for _ in 0..4 {
            for stored in reader.next(1).await.map_err(|e| e.to_string())? {
                disk.mark(Mark::Delivered(change(&stored)));
                reader.settle(&[(stored.position.offset, Column::Delivered)]);
            }
        }
        drop(reader);
        stack.stop().await;
        Ok::<_, String>(())
    })?;
    let (mut power, mut told, mut images) = (Power::new(disk.start(), 1, 12), story, Vec::new());
    let mut delivered_all = false;
    for op in &disk.trace() {
        // Every call, and every delivery: the far side has it, whatever the disk has.
        if delivered_all {
            power.images(|image| images.push((image, told.clone())));
        }
        delivered_all |= matches!(op, Op::Mark(Mark::Floor(_)));
        power.pass(op);
        told.pass(op);
        if delivered_all && matches!(op, Op::Mark(Mark::Delivered(_))) {
            images.push((power.least(), told.clone()));
        }
    }
    for (at, (image, told)) in images.into_iter().enumerate() {
        runs_forward(&after(image), &told).map_err(|why| format!("image {at}: {why}"))?;
    }
    Ok(())
}

/// Whatever came a second time, the newest one comes last.
fn runs_forward(disk: &Arc<SimDisk>, told: &Story) -> Result<(), String> {
    let run = async {
        let stack = Stack::open(disk, NEVER).await?;
        let mut reader = stack.reader().await?;
        stack.put("probe", 900_000_000).await.map_err(|e| e.to_string())?;
        let came = crate::stack::drain(disk, &mut reader, 900_000_000).await?;
        let books = stack.progress.books();
        drop(reader);
        stack.stop().await;
        let last = told.delivered.iter().chain(&came).rfind(|n| **n < 900_000_000);
        match last {
            _ if books.imbalance() != 0 || books.backlog > 0 => Err(format!("P8: {books:?}")),
            Some(4) => Ok(()),
            other => Err(format!("P3: the far side ends with {other:?}, the newest is 4")),
        }
    };
    runtime()
        .block_on(async { tokio::time::timeout(Duration::from_secs(20), run).await })
        .unwrap_or_else(|_| Err("it hangs".to_owned()))
}

#[test]
fn mutant_replay_before_row() {
    kills("replay-before-row", given_again);
}
