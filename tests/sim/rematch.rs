//! Rematches: power is lost while a target goes over what it was never given, the process dies, and an
//! operator goes back once more.
//!
//! Must never expect of one replay what another one was asked for: what was asked and told is noted on the
//! trace.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tidings::config;
use tidings::event::EventSet;
use tidings::queue::{Column, Reader};
use tidings::rules::RuleSet;

use crate::disk::{Mark, Op, SimDisk};
use crate::power::Power;
use crate::rules::after;
use crate::stack::{NEVER, Stack, TARGET, change, drain, empty, options};
use crate::{sane, scale, seed};

/// The change that comes last in every judgement.
const PROBE: u64 = 900_000_000;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// What an operator asked for. Its number on the trace: `Purging` when it was asked, `Floor` when it was
/// told.
#[derive(Debug, Clone, Copy)]
struct Ask {
    from: u64,
    rematch: bool,
}

/// What was done, beside the trace.
#[derive(Default)]
struct Script {
    /// The key of each change, and whether the target was given it when it happened.
    plan: BTreeMap<u64, (String, bool)>,
    asks: Vec<Ask>,
}

/// What was so before a cut.
#[derive(Debug, Clone, Default)]
struct Known {
    /// Durable changes by offset.
    durable: BTreeMap<u64, u64>,
    begun: BTreeSet<u64>,
    /// Deliveries, and how many of them were made before each telling.
    delivered: Vec<u64>,
    told: Vec<usize>,
    asked: usize,
}

impl Known {
    fn pass(&mut self, op: &Op) {
        match op {
            Op::Mark(Mark::Begun(n)) => drop(self.begun.insert(*n)),
            Op::Mark(Mark::Durable { n, offset, .. }) => drop(self.durable.insert(*offset, *n)),
            Op::Mark(Mark::Delivered(n)) => self.delivered.push(*n),
            Op::Mark(Mark::Purging(_)) => self.asked += 1,
            Op::Mark(Mark::Floor(_)) => self.told.push(self.delivered.len()),
            _ => {}
        }
    }
}

/// A stack whose log is kept, and whose rules of now match everything.
async fn open(disk: &Arc<SimDisk>) -> Result<Stack, String> {
    let mut options = options(1 << 20);
    // The log keeps what an operator may want to see again.
    (options.journal.retain_bytes, options.journal.retain_age) = (1 << 30, Duration::from_secs(3_600));
    let stack = Stack::open_with(disk, NEVER, options).await?;
    stack.queue.rematch_by(Arc::new(|target, _| (target == TARGET).then(|| "today".into())));
    Ok(stack)
}

fn mine_only() -> RuleSet {
    let rule = config::Rule {
        name: "mine".into(),
        bucket: "*".into(),
        events: EventSet::parse("s3:ObjectCreated:*").expect("a known name"),
        prefix: "mine".to_owned(),
        suffix: String::new(),
    };
    RuleSet::build(&[(TARGET, vec![rule])])
}

/// One server's life and the next one's.
struct Life {
    disk: Arc<SimDisk>,
    stack: Stack,
    reader: Box<dyn Reader>,
    rng: fastrand::Rng,
    script: Script,
    n: u64,
    /// Taken and not delivered, in the order taken: offset and change.
    waiting: Vec<(u64, u64)>,
}

impl Life {
    async fn put(&mut self, kind: &str, everything: bool) -> Result<u64, String> {
        self.n += 1;
        let key = format!("{kind}-{}", self.rng.u8(0..2));
        self.script.plan.insert(self.n, (key.clone(), everything || kind == "mine"));
        self.stack.put(&key, self.n).await.map_err(|e| e.to_string())
    }

    /// Takes until something says that it is enough, then delivers some, each key in order.
    async fn take(&mut self, enough: impl Fn(&[(u64, u64)]) -> bool, all: bool) -> Result<(), String> {
        let mut taken: Vec<(u64, u64)> = Vec::new();
        while !enough(&taken) {
            let most = self.rng.usize(1..4);
            let entries = self.reader.next(most).await.map_err(|e| format!("the reader: {e}"))?;
            taken.extend(entries.iter().map(|stored| (stored.position.offset, change(stored))));
        }
        self.waiting.append(&mut taken);
        let (mut settled, mut stuck) = (Vec::new(), HashSet::new());
        for (offset, n) in std::mem::take(&mut self.waiting) {
            let key = &self.script.plan[&n].0;
            if stuck.contains(key) || (!all && self.rng.u8(0..3) == 0) {
                stuck.insert(key.clone());
                self.waiting.push((offset, n));
            } else {
                self.disk.mark(Mark::Delivered(n));
                settled.push((offset, Column::Delivered));
            }
        }
        self.reader.settle(&settled);
        if self.rng.bool() {
            self.reader.flush().await.map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    /// An operator goes back; then some of it is taken.
    async fn go_back(&mut self, from: u64, rematch: bool) -> Result<(), String> {
        self.disk.mark(Mark::Purging(0));
        self.script.asks.push(Ask { from, rematch });
        self.reader.rewind(from, rematch).await.map_err(|e| e.to_string())?;
        self.disk.mark(Mark::Floor(0));
        // Holes are given once more; what was only rematched is not asked for any more.
        self.waiting.clear();
        let some = self.rng.usize(1..=self.script.plan.len());
        let last = self.put("mine", true).await?;
        self.take(|taken| taken.len() >= some || taken.iter().any(|(offset, _)| *offset == last), false).await
    }

    /// The process ends, with or without a word; the next one takes everything and delivers some of it.
    async fn restart(mut self) -> Result<Self, String> {
        let end = self.rng.bool();
        drop(self.reader);
        if end {
            self.disk = Arc::new(self.disk.kill());
        }
        self.stack.stop().await;
        let stack = open(&self.disk).await?;
        let reader = stack.reader().await?;
        let mut next = Self { stack, reader, waiting: Vec::new(), ..self };
        let last = next.put("mine", true).await?;
        next.take(|taken| taken.iter().any(|(offset, _)| *offset == last), false).await?;
        Ok(next)
    }
}

fn live(seed: u64) -> Result<(Arc<SimDisk>, Script), String> {
    let disk = empty();
    runtime().block_on(async {
        let stack = open(&disk).await?;
        let reader = stack.reader().await?;
        let rng = fastrand::Rng::with_seed(seed);
        let (script, n) = (Script::default(), seed * 1_000);
        let mut life = Life { disk: Arc::clone(&disk), stack, reader, rng, script, n, waiting: Vec::new() };
        life.stack.commit.set_rules(mine_only());
        let first = life.put("mine", false).await?;
        for _ in 0..life.rng.u8(3..8) {
            let kind = if life.rng.bool() { "mine" } else { "other" };
            life.put(kind, false).await?;
        }
        let last = life.put("mine", false).await?;
        life.take(|taken| taken.iter().any(|(offset, _)| *offset == last), true).await?;
        life.reader.flush().await.map_err(|e| e.to_string())?;
        // It may be behind: some of this it was not given, and has not come to.
        for _ in 0..life.rng.u8(0..5) {
            let kind = if life.rng.bool() { "mine" } else { "other" };
            life.put(kind, false).await?;
        }
        // From here on the target is for everything.
        life.stack.commit.set_rules(everything());
        life.go_back(first, true).await?;
        for _ in 0..life.rng.u8(0..3) {
            life = life.restart().await?;
        }
        if life.rng.u8(0..3) > 0 {
            let (from, rematch) = (first + life.rng.u64(0..4), life.rng.bool());
            life.go_back(from, rematch).await?;
            if life.rng.bool() {
                life = life.restart().await?;
            }
        }
        let Life { disk, stack, reader, script, .. } = life;
        let killed = Arc::new(disk.kill());
        drop(reader);
        stack.stop().await;
        Ok((killed, script))
    })
}

fn everything() -> RuleSet {
    let rule = config::Rule {
        name: "all".into(),
        bucket: "*".into(),
        events: EventSet::parse("s3:ObjectCreated:*").expect("a known name"),
        prefix: String::new(),
        suffix: String::new(),
    };
    RuleSet::build(&[(TARGET, vec![rule])])
}

/// Since an operator was told: everything that he asked for came, each key in order; nothing else came that
/// nobody was given before.
fn as_asked(script: &Script, known: &Known, ask: Option<Ask>, since: &[u64]) -> Result<(), String> {
    let offset_of: BTreeMap<u64, u64> = known.durable.iter().map(|(offset, n)| (*n, *offset)).collect();
    let wanted = |n: &u64| {
        let labelled = script.plan[n].1;
        match (ask, offset_of.get(n)) {
            (Some(ask), Some(offset)) => *offset >= ask.from && (labelled || ask.rematch),
            // Nobody was told that it is durable: it may come.
            _ => false,
        }
    };
    let mut came = HashSet::new();
    for n in since.iter().filter(|n| **n != PROBE) {
        let (key, labelled) = &script.plan[n];
        if !labelled && offset_of.contains_key(n) && !wanted(n) {
            return Err(format!("P2: {n} came, and nobody asked for it ({ask:?})"));
        }
        let before = known.durable.values().filter(|m| *m < n && script.plan[m].0 == *key && wanted(m));
        if let Some(skipped) = before.into_iter().find(|m| !came.contains(m)).filter(|_| wanted(n)) {
            return Err(format!("P3: {n} came before {skipped} of its key; since {ask:?}: {since:?}"));
        }
        came.insert(n);
    }
    match known.durable.values().filter(|n| wanted(n)).find(|n| !came.contains(n)) {
        Some(n) => Err(format!("P1: {n} was asked for ({ask:?}) and did not come; {since:?} came")),
        None => Ok(()),
    }
}

/// Opens what a cut left, takes everything, and judges it.
fn judge(disk: &Arc<SimDisk>, script: &Script, known: &Known) -> Result<(), String> {
    let run = async {
        let stack = open(disk).await?;
        stack.put("probe", PROBE).await.map_err(|e| e.to_string())?;
        let mut reader = stack.reader().await?;
        let after = drain(disk, &mut reader, PROBE).await?;
        let (books, left) = (stack.progress.books(), stack.progress.replaying());
        drop(reader);
        stack.stop().await;
        Ok::<_, String>((after, books, left))
    };
    let ran = runtime().block_on(async { tokio::time::timeout(Duration::from_secs(20), run).await });
    let (after, books, left) = ran.unwrap_or_else(|_| Err("it hangs".to_owned()))?;
    if books.imbalance() != 0 || books.backlog > 0 || left.is_some() {
        return Err(format!("P8: {books:?}, {left:?}"));
    }
    let ever: HashSet<u64> = known.delivered.iter().chain(&after).copied().collect();
    if let Some(n) = known.durable.values().find(|n| script.plan[n].1 && !ever.contains(n)) {
        return Err(format!("P1: {n} was for the target and never came"));
    }
    let told = known.told.len();
    let since: Vec<u64> = match known.told.last() {
        Some(at) => known.delivered[*at..].iter().chain(&after).copied().collect(),
        None => after.clone(),
    };
    let ask = told.checked_sub(1).map(|at| script.asks[at]);
    let judged = as_asked(script, known, ask, &since);
    if known.asked == told {
        return judged;
    }
    // Nobody was told: it went back, or it did not.
    judged.or_else(|why| {
        let gone_back = as_asked(script, known, Some(script.asks[told]), &after);
        gone_back.map_err(|other| format!("{why}; had it gone back: {other}"))
    })
}

/// Every state around rows and deliveries, about `states` of them.
fn judge_cuts(seed: u64, states: usize) -> Result<usize, String> {
    let (disk, script) = live(seed)?;
    let trace = disk.trace();
    let (mut power, mut known) = (Power::new(disk.start(), seed, 6), Known::default());
    let (mut rng, mut images) = (fastrand::Rng::with_seed(seed), Vec::new());
    let share = states as f64 / trace.len() as f64;
    for op in &trace {
        let near = matches!(op, Op::Mark(Mark::Purging(_) | Mark::Floor(_)));
        if near || rng.f64() <= share {
            power.images(|image| images.push((image, known.clone())));
        }
        power.pass(op);
        known.pass(op);
        if matches!(op, Op::Mark(Mark::Delivered(_))) && rng.f64() <= share {
            images.push((power.least(), known.clone()));
        }
    }
    images.push((disk.cached(), known.clone()));
    let judged = images.len();
    for (at, (image, known)) in images.into_iter().enumerate() {
        judge(&after(image), &script, &known).map_err(|why| format!("seed {seed}, image {at}: {why}"))?;
    }
    Ok(judged)
}

#[test]
fn a_rematch_survives_power_cuts_kills_and_the_next_replay() {
    let _sane = sane();
    let (first, lives) = (seed() * 100, 12 * scale());
    println!("TIDINGS_SEED={}, lives {first}..{}", seed(), first + lives);
    let began = std::time::Instant::now();
    let halves = [first..first + lives / 2, first + lives / 2..first + lives];
    let runs = halves.map(|seeds| {
        std::thread::spawn(move || seeds.map(|seed| judge_cuts(seed, 40)).sum::<Result<usize, String>>())
    });
    let judged: Vec<_> = runs.into_iter().map(|run| run.join().expect("ran")).collect();
    let judged: usize = judged.into_iter().map(|r| r.unwrap_or_else(|why| panic!("{why}"))).sum();
    println!("{lives} lives in {:?}", began.elapsed());
    crate::judged("rows that go back", judged);
    assert!(judged > 300, "this run saw too little: {judged}");
}
