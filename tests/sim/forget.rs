//! A target that is forgotten while the power may go at any moment.
//!
//! Must never find events that are neither kept nor counted as forgotten, a number that was given twice, nor
//! a target that comes back after somebody was told that it is gone.

use std::sync::Arc;

use tidings::queue::{Column, TargetNo};
use tidings::rules::RuleSet;
use tidings::store::Store as _;

use crate::disk::{Mark, Op, SimDisk};
use crate::power::Power;
use crate::rules::after;
use crate::stack::{NEVER, OFTEN, Pace, Stack, TARGET, empty};
use crate::{sane, seed};

const NEXT: TargetNo = TargetNo(2);
/// The mark of the moment in which an operator is told.
const TOLD: u64 = 1_000;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// Six changes, two of them delivered; the target is taken out and forgotten; its name is registered again.
fn live(pace: Pace) -> Arc<SimDisk> {
    let disk = empty();
    runtime().block_on(async {
        let stack = Stack::open(&disk, pace).await.expect("opens");
        let mut reader = stack.reader().await.expect("registered");
        for n in 1..=6 {
            stack.put(&format!("key-{n}"), n).await.expect("the disk is sound");
        }
        let taken = reader.next(2).await.expect("readable");
        let settled: Vec<_> = taken.iter().map(|s| (s.position.offset, Column::Delivered)).collect();
        reader.settle(&settled);
        reader.flush().await.expect("flushes");
        drop(reader);
        stack.commit.set_rules(RuleSet::build(&[]));
        stack.commit.earlier_rules_ended().await;
        let books = stack.progress.books();
        assert_eq!((books.matched, books.backlog), (6, 4));
        stack.commit.forget_target(TARGET, books.backlog).await.expect("the disk is sound");
        let ended = stack.queue.forget(TARGET).expect("nobody has its reader");
        assert_eq!((ended.forgotten, ended.backlog, ended.imbalance()), (4, 0, 0));
        disk.mark(Mark::Begun(TOLD));
        let since = stack.commit.register_target(NEXT, "target", "http").await.expect("sound").offset;
        stack.queue.add_reader(NEXT, since).expect("added");
        stack.stop().await;
    });
    disk
}

/// Opens what a cut left, as the server does, and judges it. `acknowledged` changes were told to clients.
fn judge(disk: &Arc<SimDisk>, acknowledged: u64, told: bool) -> Result<&'static str, String> {
    runtime().block_on(async {
        let (store, queue) = Stack::open_unregistered(disk, NEVER)?;
        let known = store.targets().map_err(|e| e.to_string())?;
        let mut found = "not registered yet";
        for target in &known {
            if target.forgotten.is_some() {
                queue.forget_leftovers(target.target).map_err(|e| e.to_string())?;
            }
        }
        match known.iter().find(|t| t.target == TARGET).map(|t| (t.since, t.forgotten)) {
            None if acknowledged > 0 => return Err("a registered target is not known any more".into()),
            None => {}
            Some((_, Some(4))) => found = "forgotten",
            Some((_, Some(n))) => return Err(format!("{n} events are counted as forgotten, not 4")),
            Some((_, None)) if told => return Err("it came back".into()),
            Some((since, None)) => {
                found = "kept";
                let progress = queue.add_reader(TARGET, since).map_err(|e| e.to_string())?;
                let books = progress.books();
                if books.imbalance() != 0 || books.delivered > 2 || books.backlog + 2 < acknowledged {
                    return Err(format!("{books:?} after {acknowledged} acknowledged changes"));
                }
            }
        }
        if let Some(next) = known.iter().find(|t| t.target == NEXT) {
            let books = queue.add_reader(NEXT, next.since).map_err(|e| e.to_string())?.books();
            if books.matched != 0 || found != "forgotten" {
                return Err(format!("the next one begins with {books:?} while the first one is {found}"));
            }
        }
        queue.readers_complete();
        let closing = tokio::task::spawn_blocking(move || (store.stop(), queue.stop()));
        closing.await.map_err(|e| e.to_string())?;
        Ok(found)
    })
}

#[test]
fn a_target_is_kept_whole_or_forgotten_whole_wherever_the_power_goes() {
    let _sane = sane();
    for pace in [NEVER, OFTEN] {
        let disk = live(pace);
        let mut power = Power::new(disk.start(), seed(), 4);
        let (mut acknowledged, mut told) = (0, false);
        let mut found = std::collections::BTreeMap::<&str, usize>::new();
        let mut judge_here = |power: &mut Power, acknowledged, told| {
            let mut images = Vec::new();
            power.images(|image| images.push(image));
            for image in images {
                let verdict = judge(&after(image), acknowledged, told);
                *found.entry(verdict.unwrap_or_else(|why| panic!("{why}"))).or_default() += 1;
            }
        };
        for op in disk.trace() {
            if !matches!(op, Op::Mark(_)) {
                judge_here(&mut power, acknowledged, told);
            }
            power.pass(&op);
            match op {
                Op::Mark(Mark::Durable { n, .. }) => acknowledged = acknowledged.max(n),
                Op::Mark(Mark::Begun(TOLD)) => told = true,
                _ => {}
            }
        }
        judge_here(&mut power, acknowledged, told);
        println!("{found:?}");
        crate::judged("targets that are forgotten", found.values().sum());
        assert!(found["kept"] > 3 && found["forgotten"] > 3, "{found:?}");
    }
}
