//! Dead letters over the whole stack: power cuts, kills, failing calls and deliberate faults.
//!
//! What was called a dead letter is one after any cut and is never sent again; what was not is sent, or a
//! dead letter; and the books balance. Must never learn from the product what to expect: what was told stands
//! on the trace.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use tidings::queue::dead::{DeadLetters, Filter, Letter, News, Selection};
use tidings::queue::{Column, Reader, Stored};

use crate::disk::{Call, Fault, Mark, Op, SimDisk};
use crate::power::Power;
use crate::rules::after;
use crate::stack::{NEVER, Stack, TARGET, change, empty};
use crate::{kills, sane, scale, seed};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

const PATIENCE: Duration = Duration::from_secs(20);

/// A target that rejects every third change.
fn is_rejected(n: u64) -> bool {
    n.is_multiple_of(3)
}

fn letter(stored: &Stored) -> Letter {
    let letter = Letter::of(stored, TARGET).expect("an entry for the target");
    Letter { class: "http_4xx".into(), text: "no".into(), attempts: 1, ..letter }
}

/// Stack, reader and letters of one process.
struct Life {
    disk: Arc<SimDisk>,
    stack: Stack,
    reader: Box<dyn Reader>,
    dead: DeadLetters,
}

impl Life {
    async fn open(disk: &Arc<SimDisk>) -> Result<Self, String> {
        let stack = Stack::open(disk, NEVER).await?;
        let reader = match stack.reader().await {
            Ok(reader) => reader,
            Err(why) => {
                stack.stop().await;
                return Err(why);
            }
        };
        let dead = reader.dead_letters().ok_or("no dead letters")?;
        Ok(Self { disk: Arc::clone(disk), stack, reader, dead })
    }

    /// Takes what there is up to change `last`; delivers it, or buries it and waits until it is told so.
    async fn take(&mut self, last: u64) -> Result<Vec<u64>, String> {
        let mut came = Vec::new();
        while !came.contains(&last) {
            let next = tokio::time::timeout(PATIENCE, self.reader.next(8)).await;
            let entries = next.map_err(|_| format!("{last} never comes"))?.map_err(|e| e.to_string())?;
            for stored in &entries {
                came.push(change(stored));
                if is_rejected(change(stored)) {
                    self.bury(stored).await?;
                } else {
                    self.disk.mark(Mark::Delivered(change(stored)));
                    self.reader.settle(&[(stored.position.offset, Column::Delivered)]);
                }
            }
        }
        Ok(came)
    }

    async fn bury(&mut self, stored: &Stored) -> Result<(), String> {
        self.dead.bury(letter(stored));
        let told = async {
            let mut news = Vec::new();
            while !news.iter().any(|n| matches!(n, News::Buried(o) if *o == stored.position.offset)) {
                self.dead.arrived().await;
                self.dead.news(&mut news);
            }
        };
        tokio::time::timeout(PATIENCE, told).await.map_err(|_| "it is never buried".to_owned())?;
        self.disk.mark(Mark::Buried(change(stored)));
        Ok(())
    }

    /// The changes whose letters are there, with their offsets.
    async fn letters(&self) -> Result<Vec<(u64, u64)>, String> {
        let mut page = self.dead.page(Filter::default(), 0, 1_000).await;
        if page.is_err() && self.disk.fired() > 0 {
            // Whoever reads is told of a failing call, and asks again.
            page = self.dead.page(Filter::default(), 0, 1_000).await;
        }
        let page = page.map_err(|e| e.to_string())?;
        Ok(page.letters.iter().map(|l| (change(&l.stored()), l.position.offset)).collect())
    }

    async fn purge(&self) -> Result<(), String> {
        for (n, _) in self.letters().await? {
            self.disk.mark(Mark::Purging(n));
        }
        self.dead.purge(Selection::Fitting(Filter::default())).await.map_err(|e| e.to_string())?;
        self.check_books()
    }

    /// The far side takes the first letter.
    async fn replay(&self) -> Result<(), String> {
        let Some((n, offset)) = self.letters().await?.first().copied() else { return Ok(()) };
        self.disk.mark(Mark::Delivered(n));
        self.dead.replayed(offset);
        self.dead.quiesce().await;
        self.check_books()
    }

    fn check_books(&self) -> Result<(), String> {
        let books = self.stack.progress.books();
        if books.imbalance() == 0 { Ok(()) } else { Err(format!("P8: {books:?}")) }
    }

    async fn end(self, kill: bool) -> Arc<SimDisk> {
        let disk = if kill { Arc::new(self.disk.kill()) } else { Arc::clone(&self.disk) };
        self.dead.quiesce().await;
        drop(self.reader);
        self.stack.stop().await;
        disk
    }
}

/// Changes, dead letters, purges, replays, restarts and kills. A failing call may end a process early.
fn lives(disk: Arc<SimDisk>, seed: u64) -> Result<Arc<SimDisk>, String> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut disk = disk;
    let mut n = seed * 1_000;
    runtime().block_on(async {
        for _ in 0..3 {
            // A call that fails while it opens ends the process; the next one opens.
            let opened = match Life::open(&disk).await {
                Ok(life) => Ok(life),
                Err(_) if disk.fired() > 0 => {
                    disk = Arc::new(disk.kill());
                    Life::open(&disk).await
                }
                Err(why) => Err(why),
            };
            let mut life = opened?;
            for _ in 0..6 {
                n += 1;
                let key = format!("key-{}", rng.u8(0..3));
                life.stack.put(&key, n).await.map_err(|e| e.to_string())?;
                life.take(n).await?;
                life.check_books()?;
                match rng.u8(0..6) {
                    0 => life.purge().await?,
                    1 => life.replay().await?,
                    2 | 3 => life.reader.flush().await.map_err(|e| e.to_string())?,
                    _ => {}
                }
            }
            let kill = rng.bool();
            disk = life.end(kill).await;
        }
        Ok(disk)
    })
}

/// What was told before a cut.
#[derive(Debug, Clone, Default)]
struct Told {
    acknowledged: BTreeSet<u64>,
    delivered: BTreeSet<u64>,
    buried: BTreeSet<u64>,
    purging: BTreeSet<u64>,
}

impl Told {
    fn pass(&mut self, op: &Op) {
        let Op::Mark(mark) = op else { return };
        match mark {
            Mark::Durable { n, .. } => drop(self.acknowledged.insert(*n)),
            Mark::Delivered(n) => drop(self.delivered.insert(*n)),
            Mark::Buried(n) => drop(self.buried.insert(*n)),
            Mark::Purging(n) => drop(self.purging.insert(*n)),
            Mark::Begun(_) | Mark::Floor(_) | Mark::Setting { .. } => {}
        }
    }
}

/// Opens what is left, lets everything come that will, and judges.
fn judge(disk: &Arc<SimDisk>, told: &Told) -> Result<(), String> {
    runtime().block_on(async {
        let mut life = Life::open(disk).await?;
        if let Some(blocked) = life.dead.blocked() {
            return Err(format!("it does not go on: {}", blocked.text()));
        }
        let probe = 900_000_001;
        life.stack.put("probe", probe).await.map_err(|e| format!("a change is refused: {e}"))?;
        let before: BTreeSet<u64> = life.letters().await?.into_iter().map(|(n, _)| n).collect();
        let came = life.take(probe).await?;
        if let Some(n) = came.iter().find(|n| told.buried.contains(n) || before.contains(n)) {
            return Err(format!("the dead letter of change {n} was sent again"));
        }
        let letters: BTreeSet<u64> = life.letters().await?.into_iter().map(|(n, _)| n).collect();
        for n in &told.acknowledged {
            let has_it = told.delivered.contains(n) || came.contains(n);
            if !has_it && !letters.contains(n) && !told.purging.contains(n) {
                return Err(format!("P1: change {n} was acknowledged, and is nowhere"));
            }
        }
        if let Some(n) = told.buried.difference(&letters).find(|n| {
            // A letter goes only by a wish.
            !told.purging.contains(n) && !told.delivered.contains(n)
        }) {
            return Err(format!("the dead letter of change {n} is gone"));
        }
        let books = life.stack.progress.books();
        if books.imbalance() != 0
            || books.backlog + books.held != 0
            || books.dead_lettered != letters.len() as u64
        {
            return Err(format!("P8: {books:?} with {} letters", letters.len()));
        }
        life.end(false).await;
        Ok(())
    })
}

/// Judges about `states` images of what a power cut may leave, all over the trace.
fn judge_cuts(disk: &SimDisk, seed: u64, states: usize) -> Result<usize, String> {
    let trace = disk.trace();
    let places = trace.iter().filter(|op| !matches!(op, Op::Mark(_))).count().max(1);
    let per_place = 6;
    let share = states as f64 / (places * per_place) as f64;
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut power = Power::new(disk.start(), seed, per_place);
    let (mut told, mut images) = (Told::default(), Vec::new());
    for op in &trace {
        if !matches!(op, Op::Mark(_)) && rng.f64() <= share {
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
fn dead_letters_survive_power_cuts() {
    let _sane = sane();
    let first = seed() * 50 + 7;
    println!("TIDINGS_SEED={}, lives from {first}", seed());
    let halves = [0, 1].map(|half| {
        std::thread::spawn(move || {
            let mut judged = 0;
            for life in 0..4 * scale() {
                let seed = first + 2 * life + half;
                let disk = lives(empty(), seed)?;
                judged += judge_cuts(&disk, seed, 150)?;
            }
            Ok::<_, String>(judged)
        })
    });
    let judged: Vec<_> = halves.into_iter().map(|half| half.join().expect("ran")).collect();
    let judged: usize = judged.into_iter().map(|r| r.unwrap_or_else(|why| panic!("{why}"))).sum();
    crate::judged("dead letters", judged);
    assert!(judged > 300);
}

/// The Nth call of a kind on the dead letters fails, for every N until a life needs no more.
fn fail_each(call: Call, error: ErrorKind) -> Result<u64, String> {
    for nth in 1.. {
        let disk = empty();
        disk.fail(Some(Fault { call, nth, times: 1, error, on: "dead-letters" }));
        let which = format!("{call:?} number {nth} fails with {error:?}");
        let disk = lives(disk, 11).map_err(|why| format!("{which}: {why}"))?;
        let fired = disk.fired();
        disk.fail(None);
        let mut told = Told::default();
        let mut power = Power::new(disk.start(), nth, 6);
        for op in disk.trace() {
            power.pass(&op);
            told.pass(&op);
        }
        let mut result = Ok(());
        power.images(|image| {
            if result.is_ok() {
                result = judge(&after(image), &told).map_err(|why| format!("{which}: after a cut: {why}"));
            }
        });
        result?;
        judge(&after(disk.cached()), &told).map_err(|why| format!("{which}: {why}"))?;
        if fired == 0 {
            return Ok(nth - 1);
        }
    }
    unreachable!("a life has an end")
}

#[test]
fn no_failing_call_costs_a_dead_letter() {
    let _sane = sane();
    let calls = [
        Call::Create,
        Call::Open,
        Call::Write,
        Call::ShortWrite,
        Call::Sync,
        Call::Rename,
        Call::Remove,
        Call::SyncDir,
        Call::Read,
    ];
    let each =
        calls.into_iter().flat_map(|call| [ErrorKind::Other, ErrorKind::StorageFull].map(|e| (call, e)));
    let runs = each.map(|(call, error)| (call, error, std::thread::spawn(move || fail_each(call, error))));
    for (call, error, run) in runs.collect::<Vec<_>>() {
        let calls = run.join().expect("ran").unwrap_or_else(|why| panic!("{why}"));
        println!("{call:?} {error:?}: {calls} calls failed, one at a time");
        assert!(calls > 0, "{call:?} was never called");
    }
}

/// A few letters, each settled in a synced row; then power is lost.
fn settled_in_a_row() -> Result<(), String> {
    let disk = empty();
    runtime().block_on(async {
        let mut life = Life::open(&disk).await?;
        for n in [3, 6, 9] {
            life.stack.put("key", n).await.map_err(|e| e.to_string())?;
            life.take(n).await?;
            life.reader.flush().await.map_err(|e| e.to_string())?;
        }
        // No end in order: nothing more is synced.
        life.end(true).await;
        Ok::<_, String>(())
    })?;
    judge_cuts(&disk, 1, 400).map(drop)
}

#[test]
fn mutant_dead_letter_without_sync() {
    kills("dead-letter-without-sync", settled_in_a_row);
}

#[test]
fn mutant_dead_letter_sent_again() {
    kills("dead-letter-sent-again", settled_in_a_row);
}
