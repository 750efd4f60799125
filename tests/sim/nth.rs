//! Single calls that fail while the log is compacted, while space of packs is won back and while holes are
//! frozen: the first, the second … until a life needs no more.
//!
//! Must never ask the product what to expect: what clients were told is on the trace.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use tidings::fail;
use tidings::queue::{Column, Reader};
use tidings::store::Status;

use crate::cuts::{runtime, until};
use crate::disk::{Call, Fault, Mark, Op, SimDisk};
use crate::rules::after;
use crate::sane;
use crate::stack::{NEVER, OFTEN, Pace, Stack, Story, change, empty, judge};

const CALLS: [Call; 9] = [
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
/// A life with a failing disk may take so long.
const LIFE: Duration = Duration::from_secs(60);
/// Changes at most, whatever did not happen by then.
const MOST: u64 = 1_500;

/// What a life is about: on which files its calls fail, and when it has done what it is for.
#[derive(Clone, Copy)]
struct About {
    files: &'static str,
    pace: Pace,
    /// Keys that it works on; what is delivered of them and what is held.
    keys: u64,
    held: fn(u64) -> bool,
    done: fn(&SimDisk) -> bool,
}

fn created(disk: &SimDisk, part: &str) -> bool {
    disk.see(|trace| {
        let is = |op: &Op| matches!(op, Op::Create { path, .. } if path.to_string_lossy().contains(part));
        trace.iter().any(is)
    })
}

fn pack_removed(disk: &SimDisk) -> bool {
    disk.see(|trace| {
        let is = |op: &Op| matches!(op, Op::Remove { path } if path.to_string_lossy().ends_with(".pack"));
        trace.iter().any(is)
    })
}

/// The first event is held for ever, and what follows fills segments until they are compacted around it.
const COMPACTION: About = About {
    files: "compacted",
    pace: OFTEN,
    keys: 5,
    held: |n| n == 1,
    done: |d| created(d, "compacted.tmp"),
};
/// Few objects are written again and again, until a pack is emptied.
const RECLAIM: About = About { files: "/packs/", pace: OFTEN, keys: 3, held: |_| false, done: pack_removed };
/// Most events are held, until their holes are frozen into a file.
const PIECES: About = About {
    files: ".h",
    pace: NEVER,
    keys: 7,
    held: |n| !n.is_multiple_of(4),
    done: |d| created(d, "/progress/00000001.h"),
};

/// Takes what there is up to change `last`, and settles what is not held.
async fn take(disk: &SimDisk, reader: &mut Box<dyn Reader>, last: u64, about: About) -> Result<(), String> {
    let mut newest = 0;
    while newest < last {
        let entries = reader.next(64).await.map_err(|e| format!("the reader: {e}"))?;
        let mut settled = Vec::new();
        for stored in &entries {
            newest = newest.max(change(stored));
            if !(about.held)(change(stored)) {
                disk.mark(Mark::Delivered(change(stored)));
                settled.push((stored.position.offset, Column::Delivered));
            }
        }
        reader.settle(&settled);
    }
    Ok(())
}

/// Changes until what the life is about has happened, and a few more.
async fn work(stack: &Stack, story: &mut Story, about: About) -> Result<(), String> {
    let mut reader = stack.reader().await?;
    let mut more = 40;
    for n in 1..MOST {
        // What is held is of a key of its own: the others go on.
        let key = if (about.held)(n) { "held".to_owned() } else { format!("key-{}", n % about.keys) };
        story.plan.insert(n, (key.clone(), false));
        stack.put(&key, n).await.map_err(|e| e.to_string())?;
        take(&stack.disk, &mut reader, n, about).await?;
        if n % 16 == 0 {
            reader.flush().await.map_err(|e| e.to_string())?;
            let end = stack.queue.stat().durable_end;
            until("the index", || stack.store.applied_next() >= end || stack.disk.fired() > 0).await;
        }
        more -= i32::from((about.done)(&stack.disk) || stack.disk.fired() > 0);
        if more == 0 {
            return Ok(());
        }
    }
    Err("it never happened: the test says nothing".to_owned())
}

async fn live(disk: &Arc<SimDisk>, story: &mut Story, about: About) -> Result<(), String> {
    let stack = Stack::open(disk, about.pace).await?;
    // What the server would end for ends a life.
    let (mut journal, mut progress) = stack.queue.failed();
    let mut status = stack.store.status();
    let result = tokio::select! {
        result = work(&stack, story, about) => result,
        _ = journal.wait_for(Option::is_some) => Err("the journal failed".to_owned()),
        _ = progress.wait_for(Option::is_some) => Err("progress or dispatching failed".to_owned()),
        _ = status.wait_for(|s| matches!(s, Status::Failed(_))) => Err("the index failed".to_owned()),
    };
    stack.stop().await;
    result
}

/// The first, second, third … call of a kind fails, once; gives how many runs met one.
fn fail_each(call: Call, error: ErrorKind, about: About) -> Result<u64, String> {
    let (mut nth, mut next, mut met) = (1, 2, 0);
    loop {
        let which = format!("{call:?} number {nth} on {} fails with {error:?}", about.files);
        let disk = empty();
        let mut story = Story::default();
        disk.fail(Some(Fault { call, nth, times: 1, error, on: about.files }));
        let runtime = runtime();
        let lived =
            runtime.block_on(async { tokio::time::timeout(LIFE, live(&disk, &mut story, about)).await });
        let lived = lived.map_err(|_| format!("{which}: it hangs"))?;
        let disk = Arc::new(disk.kill());
        drop(runtime);
        let fired = disk.fired();
        disk.fail(None);
        disk.see(|trace| trace.iter().for_each(|op| story.pass(op)));
        let judged = judge(&after(disk.cached()), &story);
        judged.map_err(|why| format!("{which} ({lived:?}): {why}"))?;
        if fired == 0 {
            lived.map_err(|why| format!("{}: nothing failed, and yet: {why}", about.files))?;
            return Ok(met);
        }
        met += 1;
        // All of the first ones, then wider apart.
        (nth, next) = if nth < 6 || crate::scale() > 1 { (nth + 1, nth + 2) } else { (next, nth + next) };
    }
}

fn fail_all(about: About) {
    let _sane = sane();
    fail::set_small();
    let mut runs = 0;
    for error in [ErrorKind::Other, ErrorKind::StorageFull] {
        for call in CALLS {
            let met = fail_each(call, error, about).unwrap_or_else(|why| panic!("{why}"));
            println!("{} {call:?} {error:?}: {met} runs", about.files);
            runs += met;
        }
    }
    println!("figure: failed_calls={runs} ({})", about.files);
    assert!(runs > 4, "{}: hardly a call failed", about.files);
}

#[test]
fn no_failing_call_of_a_compaction_costs_anything() {
    fail_all(COMPACTION);
}

#[test]
fn no_failing_call_while_space_is_won_back_costs_anything() {
    fail_all(RECLAIM);
}

#[test]
fn no_failing_call_while_holes_are_frozen_costs_anything() {
    fail_all(PIECES);
}
