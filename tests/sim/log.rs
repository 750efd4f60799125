//! The journal alone, after every power cut of many short lives: appends, rolls, recycling, stops, kills.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidings::journal::{Durable, Journal, Opened, RecordView, Sink};

use crate::disk::{Mark, Op, SimDisk};
use crate::power::Power;
use crate::rules::{Told, after, check, options, record};
use crate::{kills, sane, scale, seed};

/// Where the journal is.
pub fn dir() -> PathBuf {
    PathBuf::from("/data/journal")
}

/// Notes on the trace what the writer calls durable, when it does.
pub struct Notes(pub Arc<SimDisk>);

impl Sink<u64> for Notes {
    fn publish(&self, batch: Vec<Durable<u64>>) {
        for d in batch {
            let (epoch, offset) = (d.position.epoch, d.position.offset);
            self.0.mark(Mark::Durable { n: d.item, epoch, offset });
        }
    }
}

/// Opens and starts the journal of a disk.
pub fn start(disk: &Arc<SimDisk>, proven: u64) -> Result<Journal<u64>, String> {
    let opened = Opened::open(disk.disk(), options(&dir()), proven).map_err(|e| e.to_string())?;
    // What readers can see from now on must never go, whether its caller was answered or not.
    let mut reader = opened.reader::<u64>(opened.first());
    let give = |view: &RecordView<'_>| {
        let n = u64::from_le_bytes(view.meta.try_into().expect("a meta of ours"));
        disk.mark(Mark::Durable { n, epoch: view.epoch, offset: view.offset });
    };
    while reader.read_batch(give).map_err(|e| e.to_string())? {}
    opened.start(Arc::new(Notes(Arc::clone(disk)))).map_err(|e| e.to_string())
}

/// One or several changes at once; the offsets they were given.
pub fn append(disk: &SimDisk, journal: &Journal<u64>, changes: &[u64]) -> Vec<Result<u64, String>> {
    changes.iter().for_each(|n| disk.mark(Mark::Begun(*n)));
    let all = futures_util::future::join_all(changes.iter().map(|n| journal.append(record(*n))));
    block_on(all)
}

/// Runs a future that needs no runtime.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(future)
}

/// A short life of a journal, drawn from `seed`: at most six things that its callers do. Gives the disk with
/// its trace.
fn live(seed: u64) -> Arc<SimDisk> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut disk = Arc::new(SimDisk::new(Path::new("/data")));
    let mut journal = start(&disk, 0).expect("an empty disk opens");
    let mut next = seed * 1_000;
    let mut end = 1;
    for _ in 0..6 {
        match rng.u8(0..10) {
            0..6 => {
                let some = if rng.u8(0..4) == 0 { rng.u64(2..5) } else { 1 };
                let changes: Vec<_> = (next..next + some).collect();
                next += some;
                for given in append(&disk, &journal, &changes) {
                    end = end.max(given.expect("the disk is sound") + 1);
                }
            }
            6 | 7 => {
                let floor = if rng.bool() { end } else { rng.u64(1..=end) };
                disk.mark(Mark::Floor(floor));
                journal.trim(floor);
            }
            8 => {
                journal.stop();
                journal = start(&disk, end).expect("opens after a stop");
            }
            _ => {
                // The process dies in the middle of whatever its threads do.
                disk = Arc::new(disk.kill());
                journal.stop();
                journal = start(&disk, end).expect("opens after a kill");
            }
        }
    }
    if rng.bool() {
        journal.stop();
    } else {
        // Dies later than whatever it was doing.
        disk = Arc::new(disk.kill());
        drop(journal);
    }
    disk
}

/// What a run of the enumeration saw.
#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    lives: u64,
    states: u64,
    /// States in which a recovery was cut, and those after which the journal went on.
    deeper: u64,
    went_on: u64,
}

/// Checks every image of a trace. `depth`: how many power cuts in a row, the later ones during recovery, on a
/// sample.
fn cut_everywhere(
    disk: &SimDisk,
    seed: u64,
    told: Told,
    per_place: usize,
    depth: usize,
    seen: &mut Seen,
) -> Result<(), String> {
    let mut power = Power::new(disk.start(), seed, per_place);
    let mut told = told;
    let mut failed = None;
    let trace = disk.trace();
    for (at, op) in trace.iter().chain([&Op::Mark(Mark::Floor(0))]).enumerate() {
        // The states before a call, with everything that callers were told by then. After the last one, too.
        if !matches!(op, Op::Mark(_)) || at == trace.len() {
            power.images(|image| {
                seen.states += 1;
                seen.deeper += u64::from(depth < DEPTH);
                let state = seen.states;
                if failed.is_none() {
                    failed = one(image, seed, &told, state, depth, seen).err().map(|why| (at, why));
                }
            });
        }
        if let Some((at, why)) = failed.take() {
            let from = at.saturating_sub(12);
            let near: Vec<_> = trace[from..at].iter().map(brief).collect();
            return Err(format!("seed {seed}, cut before call {at}: {why}\n  {}", near.join("\n  ")));
        }
        power.pass(op);
        if let Op::Mark(mark) = op {
            told.pass(mark);
        }
    }
    Ok(())
}

fn one(
    image: crate::disk::Image,
    seed: u64,
    told: &Told,
    state: u64,
    depth: usize,
    seen: &mut Seen,
) -> Result<(), String> {
    let disk = after(image);
    let opened = check(&disk, &dir(), told, state.is_multiple_of(2))?;
    if depth > 1 && state.is_multiple_of(29) {
        cut_everywhere(&disk, seed ^ state, told.clone(), 12, depth - 1, seen)
            .map_err(|why| format!("during recovery: {why}"))?;
    }
    if state.is_multiple_of(31) {
        seen.went_on += 1;
        go_on(opened, &disk, told, state)?;
    }
    Ok(())
}

/// The journal goes on after the cut: appends, stops, and holds everything, the new change included.
fn go_on(opened: Opened, disk: &Arc<SimDisk>, told: &Told, state: u64) -> Result<(), String> {
    let n = 500_000_000 + state;
    let next = opened.next();
    let journal = opened.start(Arc::new(Notes(Arc::clone(disk)))).map_err(|e| e.to_string())?;
    let given = append(disk, &journal, &[n]).remove(0)?;
    if given != next {
        return Err(format!("{next} was to be given, {given} was"));
    }
    journal.stop();
    let mut told = told.clone();
    disk.see(|trace| {
        for op in trace {
            if let Op::Mark(mark) = op {
                told.pass(mark);
            }
        }
    });
    let left = disk.cached();
    let again = check(disk, &dir(), &told, true);
    again.map_err(|why| format!("after going on with {given}: {why}\n{}", outline(&left)))?;
    Ok(())
}

/// The batches of every live file, for people.
pub fn outline(image: &crate::disk::Image) -> String {
    let mut lines = Vec::new();
    for (path, bytes) in &image.files {
        lines.push(format!("  {}: {} bytes", path.display(), bytes.len()));
        for (block, b) in bytes.chunks(4096).enumerate().filter(|(_, b)| b.starts_with(b"TIDB")) {
            let number = |at: usize| u64::from_le_bytes(b[at..at + 8].try_into().expect("eight bytes"));
            let (kind, first, end) = (b[36], number(16), number(48));
            lines.push(format!("    at {}: kind {kind}, {first}..{end}", block * 4096));
        }
    }
    lines.join("\n")
}

/// Power cuts in a row: the first in ordinary work, the others during the recovery before.
const DEPTH: usize = 3;

fn brief(op: &Op) -> String {
    match op {
        Op::Write { node, at, data } => format!("write {node} at {at}, {} bytes", data.len()),
        other => format!("{other:?}"),
    }
}

/// Lives and their cuts, until so many states were seen.
fn enumerate(seeds: std::ops::Range<u64>, per_place: usize, depth: usize) -> Result<Seen, String> {
    let mut seen = Seen::default();
    for seed in seeds {
        let disk = live(seed);
        seen.lives += 1;
        cut_everywhere(&disk, seed, Told::default(), per_place, depth, &mut seen)?;
    }
    Ok(seen)
}

#[test]
fn every_power_cut_leaves_what_was_called_durable() {
    let _sane = sane();
    let (first, lives) = (seed() * 10_000, 84 * scale());
    println!("TIDINGS_SEED={}, lives {first}..{}", seed(), first + lives);
    let began = std::time::Instant::now();
    let half = first + lives / 2;
    let runs = [first..half, half..first + lives]
        .map(|seeds| std::thread::spawn(move || enumerate(seeds, 40, DEPTH)));
    let mut sum = Seen::default();
    for run in runs {
        let seen = run.join().expect("ran").unwrap_or_else(|why| panic!("{why}"));
        sum.lives += seen.lives;
        sum.states += seen.states;
        sum.deeper += seen.deeper;
        sum.went_on += seen.went_on;
    }
    let Seen { deeper, went_on, .. } = sum;
    println!(
        "{lives} lives in {:?}; {deeper} cuts of recoveries, {went_on} times it went on",
        began.elapsed()
    );
    let least = 100_000 * scale() as usize;
    assert!(
        crate::judged("log", sum.states as usize) >= least && sum.deeper > 0 && sum.went_on > 0,
        "this run saw too little: {sum:?}"
    );
}

#[test]
fn mutant_ack_before_sync() {
    kills("ack-before-sync", || enumerate(1..4, 40, DEPTH).map(drop));
}

#[test]
fn mutant_skip_dir_sync() {
    kills("skip-dir-sync", || enumerate(1..8, 40, DEPTH).map(drop));
}

#[test]
fn mutant_shared_block() {
    kills("shared-block", || enumerate(1..4, 40, DEPTH).map(drop));
}
