//! Targets for which nothing comes: they cost no row, and keep nothing of the log but what is theirs.
//!
//! Must never let the log go of an entry that a target took and did not settle, or did not take yet.

use std::sync::Arc;
use std::time::Duration;

use tidings::config;
use tidings::event::EventSet;
use tidings::queue::Column;
use tidings::rules::RuleSet;

use crate::disk::{Op, SimDisk};
use crate::rules::after;
use crate::stack::{NEVER, OFTEN, Stack, TARGET, drain, empty};
use crate::{kills, sane};

const PROBE: u64 = 900_000_000;
const LAST: u64 = 500;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

fn everything() -> config::Rule {
    config::Rule {
        name: "all".into(),
        bucket: "*".into(),
        events: EventSet::parse("s3:ObjectCreated:*").expect("a known name"),
        prefix: String::new(),
        suffix: String::new(),
    }
}

/// Calls that wrote or synced a progress row.
fn row_calls(disk: &SimDisk) -> usize {
    disk.see(|trace| {
        let rows: Vec<usize> = trace
            .iter()
            .filter_map(|op| match op {
                Op::Create { path, node } if path.to_string_lossy().contains("/progress/") => Some(*node),
                _ => None,
            })
            .collect();
        let of_row =
            |op: &&Op| matches!(op, Op::Write { node, .. } | Op::Sync { node } if rows.contains(node));
        trace.iter().filter(of_row).count()
    })
}

/// Three changes for the target, of which it settles `settle`; then many that are for nobody, each with a
/// checkpoint behind it. Gives the disk as a kill leaves it.
async fn live(settle: usize) -> Result<Arc<SimDisk>, String> {
    let disk = empty();
    let stack = Stack::open(&disk, OFTEN).await?;
    let mut reader = stack.reader().await?;
    for n in 1..=3 {
        stack.put(&format!("key-{n}"), n).await.map_err(|e| e.to_string())?;
    }
    let mut taken = Vec::new();
    while taken.len() < settle.max(1) {
        taken.extend(reader.next(settle.max(1) - taken.len()).await.map_err(|e| e.to_string())?);
    }
    let settled: Vec<_> = taken[..settle].iter().map(|s| (s.position.offset, Column::Delivered)).collect();
    reader.settle(&settled);
    reader.flush().await.map_err(|e| e.to_string())?;
    let before = row_calls(&disk);
    stack.commit.set_rules(RuleSet::build(&[]));
    for n in 4..28 {
        stack.put("other", n).await.map_err(|e| e.to_string())?;
        let end = stack.queue.stat().durable_end;
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        let idle = settle == 3;
        // Everything but the segment being written goes, where nobody needs it.
        while stack.store.checkpoint_next() < end
            || (idle && stack.queue.stat().first < end.saturating_sub(12))
        {
            if std::time::Instant::now() > deadline {
                return Err(format!("nothing is trimmed: {:?}", stack.queue.stat()));
            }
            tokio::task::yield_now().await;
        }
    }
    if row_calls(&disk) != before {
        return Err("an idle target's row was written".to_owned());
    }
    if settle == 3 {
        // One more that is for it, and that nobody takes: its row still stands below what the log keeps.
        stack.commit.set_rules(RuleSet::build(&[(TARGET, vec![everything()])]));
        stack.put("key-1", LAST).await.map_err(|e| e.to_string())?;
    }
    let killed = Arc::new(disk.kill());
    drop(reader);
    stack.stop().await;
    Ok(killed)
}

/// What was not settled comes, and the books balance.
async fn goes_on(disk: Arc<SimDisk>, missing: &[u64]) -> Result<(), String> {
    let stack = Stack::open(&after(disk.cached()), NEVER).await?;
    let books = stack.progress.books();
    if books.imbalance() != 0 || books.backlog != missing.len() as u64 {
        return Err(format!("{books:?}, {} are missing", missing.len()));
    }
    stack.put("probe", PROBE).await.map_err(|e| e.to_string())?;
    let mut reader = stack.reader().await?;
    let came = drain(&stack.disk, &mut reader, PROBE).await?;
    let expected: Vec<u64> = missing.iter().copied().chain([PROBE]).collect();
    let books = stack.progress.books();
    drop(reader);
    stack.stop().await;
    match came == expected && books.imbalance() == 0 && books.delivered == books.matched {
        true => Ok(()),
        false => Err(format!("{came:?} came, {expected:?} were to come; {books:?}")),
    }
}

#[test]
fn an_idle_target_costs_no_row_and_keeps_nothing() {
    let _sane = sane();
    runtime().block_on(async {
        let disk = live(3).await.unwrap_or_else(|why| panic!("{why}"));
        goes_on(disk, &[LAST]).await.unwrap_or_else(|why| panic!("{why}"));
    });
}

/// One entry taken and not settled, or two of them in the inbox, while the others go.
fn in_flight() -> Result<(), String> {
    runtime().block_on(async {
        goes_on(live(0).await?, &[1, 2, 3]).await?;
        goes_on(live(1).await?, &[2, 3]).await
    })
}

#[test]
fn mutant_idle_floor_passes_entry() {
    kills("idle-floor-passes-entry", in_flight);
}
