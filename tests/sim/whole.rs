//! The whole stack on a disk that fails single calls, on one that rots, and through power cuts around a
//! compaction.
//!
//! Must never ask the product what to expect: what clients were told is on the trace.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tidings::queue::Column;
use tidings::store::Status;

use crate::cuts::{judge_cuts, runtime, until};
use crate::disk::{Call, Fault, Op, SimDisk};
use crate::rules::after;
use crate::stack::{NEVER, OFTEN, Stack, Story, change, drain, empty, judge};
use crate::{sane, scale};

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
const LIFE: Duration = Duration::from_secs(30);

/// Two lives: inline and large bodies, an overwrite, a removal, deliveries, a checkpoint. Whatever fails is
/// an error to its caller, and nothing more is expected of it.
async fn lives(disk: &Arc<SimDisk>, story: &mut Story) -> Result<(), String> {
    for life in 0..2 {
        let stack = Stack::open_over(disk, disk.disk(), OFTEN).await?;
        // What the server would end for ends a life.
        let (mut journal, mut progress) = stack.queue.failed();
        let mut status = stack.store.status();
        let result = tokio::select! {
            result = one_life(&stack, life * 10, story) => result,
            _ = journal.wait_for(Option::is_some) => Err("the journal failed".to_owned()),
            _ = progress.wait_for(Option::is_some) => Err("progress or dispatching failed".to_owned()),
            _ = status.wait_for(|s| matches!(s, Status::Failed(_))) => Err("the index failed".to_owned()),
        };
        stack.stop().await;
        result?;
    }
    Ok(())
}

async fn one_life(stack: &Stack, from: u64, story: &mut Story) -> Result<(), String> {
    let mut reader = stack.reader().await?;
    for step in 1..6 {
        let (n, key) = (from + step, format!("key-{}", step % 3));
        story.plan.insert(n, (key.clone(), step == 4));
        let done = match step {
            2 => stack.put_blob(&key, n).await.map(drop),
            4 => stack.delete(&key, n).await,
            _ => stack.put(&key, n).await.map(drop),
        };
        done.map_err(|e| e.to_string())?;
        drain(&stack.disk, &mut reader, n).await?;
    }
    reader.flush().await.map_err(|e| e.to_string())
}

/// The first, second, third, fifth, eighth … call of a kind fails, once; gives how many runs met one.
fn fail_some(call: Call, error: ErrorKind) -> Result<u64, String> {
    let (mut nth, mut next, mut met) = (1, 2, 0);
    loop {
        let which = format!("{call:?} number {nth} fails with {error:?}");
        let disk = empty();
        let mut story = Story::default();
        disk.fail(Some(Fault { call, nth, times: 1, error, on: "" }));
        let runtime = runtime();
        let lived = runtime.block_on(async { tokio::time::timeout(LIFE, lives(&disk, &mut story)).await });
        let lived = lived.map_err(|_| format!("{which}: it hangs"))?;
        // Whatever still runs must not touch the disk that the next process finds.
        let disk = Arc::new(disk.kill());
        drop(runtime);
        let fired = disk.fired();
        disk.fail(None);
        disk.see(|trace| trace.iter().for_each(|op| story.pass(op)));
        let next_one = judge(&after(disk.cached()), &story);
        next_one.map_err(|why| format!("{which} ({lived:?}): {why}"))?;
        if fired == 0 {
            lived.map_err(|why| format!("nothing failed, and yet: {why}"))?;
            return Ok(met);
        }
        met += 1;
        (nth, next) = if scale() > 1 { (nth + 1, next) } else { (next, nth + next) };
    }
}

#[test]
fn no_failing_call_costs_the_whole_stack_what_was_acknowledged() {
    let _sane = sane();
    for error in [ErrorKind::Other, ErrorKind::StorageFull] {
        let runs = CALLS.map(|call| (call, std::thread::spawn(move || fail_some(call, error))));
        for (call, run) in runs {
            let met = run.join().expect("ran").unwrap_or_else(|why| panic!("{why}"));
            println!("{call:?} {error:?}: {met} runs");
            assert!(met > 0, "{call:?} was never called");
        }
    }
}

/// Changes whose events nobody took yet, applied and checkpointed or not, on a disk that then rots.
fn undelivered(often: bool) -> (Arc<SimDisk>, Story) {
    let disk = empty();
    let mut story = Story::default();
    runtime().block_on(async {
        let stack = Stack::open(&disk, if often { OFTEN } else { NEVER }).await.expect("opens");
        for n in 1..13 {
            let key = format!("key-{}", n % 7);
            story.plan.insert(n, (key.clone(), false));
            stack.put(&key, n).await.expect("the disk is sound");
        }
        if often {
            let end = stack.queue.stat().durable_end;
            until("a checkpoint", || stack.store.checkpoint_next() >= end).await;
        }
        // Something durable must prove that all of it was: an entry is taken, and the row names the end.
        let mut reader = stack.reader().await.expect("opens");
        reader.next(1).await.expect("the disk is sound");
        reader.flush().await.expect("the disk is sound");
        // Killed: the index that made no checkpoint has everything to do again.
        let killed = Arc::new(disk.kill());
        stack.stop().await;
        killed.see(|trace| trace.iter().for_each(|op| story.pass(op)));
        (killed, story)
    })
}

/// Opens a rotten disk: what it says must be true or an error, and what it does not deliver an error too.
/// True if anything was an error.
async fn tells_no_lies(disk: &Arc<SimDisk>) -> Result<bool, String> {
    let Ok(stack) = Stack::open_over(disk, disk.disk(), NEVER).await else { return Ok(true) };
    let mut noticed = !stack.queue.damage().borrow().is_empty();
    for key in 0..7 {
        // Twelve changes over seven keys, the later one counts.
        let newest = if key == 0 {
            7
        } else if key < 6 {
            key + 7
        } else {
            6
        };
        match stack.get(&format!("key-{key}")).await {
            Ok(found) if found == Some(newest) => {}
            // An applied row, and the damaged record may have replaced it: nobody can know.
            Ok(Some(older)) if older % 7 == key && noticed => {}
            Ok(found) => return Err(format!("key-{key} holds {found:?} and not {newest}")),
            Err(_) => noticed = true,
        }
    }
    let mut came = Vec::new();
    if let Ok(mut reader) = stack.reader().await {
        while came.last() != Some(&12) {
            let next = tokio::time::timeout(Duration::from_secs(5), reader.next(3)).await;
            let Ok(entries) = next.map_err(|_| "the reader waits for ever".to_owned())? else {
                noticed = true;
                break;
            };
            came.extend(entries.iter().map(|stored| change(stored)));
            let settled: Vec<_> = entries.iter().map(|s| (s.position.offset, Column::Delivered)).collect();
            reader.settle(&settled);
        }
    }
    if came.iter().zip(1..).any(|(came, n)| *came != n) {
        return Err(format!("{came:?} was delivered"));
    }
    stack.stop().await;
    Ok(noticed)
}

#[test]
fn rot_in_log_rows_and_packs_is_an_error_and_never_a_wrong_answer() {
    let _sane = sane();
    let runtime = runtime();
    let mut rng = fastrand::Rng::with_seed(crate::seed());
    for often in [true, false] {
        let (disk, _) = undelivered(often);
        let image = disk.cached();
        let rots = |path: &Path| {
            path.components()
                .any(|c| ["journal", "progress", "packs"].map(Some).contains(&c.as_os_str().to_str()))
        };
        let (mut noticed, mut runs) = (0, 0);
        for (path, bytes) in image.files.iter().filter(|(path, bytes)| rots(path) && !bytes.is_empty()) {
            for _ in 0..12 * scale() {
                let bad = after(image.clone());
                // Where something stands: most of a segment is zeros that nobody reads.
                let used: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
                let at = used[rng.usize(0..used.len())];
                bad.damage(path, |bytes| bytes[at] ^= 1 << rng.u8(0..8));
                let told = runtime.block_on(tells_no_lies(&bad));
                let told = told.unwrap_or_else(|why| panic!("{} at byte {at}: {why}", path.display()));
                noticed += u32::from(told);
                runs += 1;
            }
        }
        println!("{noticed} of {runs} flipped bits were noticed; the others are in nobody's way");
        assert!(noticed > 10, "{noticed} of {runs}");
    }
}

/// A stuck event at the beginning of a long log, which is compacted around it.
#[test]
fn power_cuts_around_a_compaction_lose_nothing() {
    let _sane = sane();
    let disk = empty();
    let mut story = Story::default();
    runtime().block_on(async {
        let stack = Stack::open(&disk, OFTEN).await.expect("opens");
        let mut reader = stack.reader().await.expect("opens");
        let mut compacted = stack.queue.compacted();
        let mut n = 0;
        while *compacted.borrow_and_update() == 0 {
            n += 1;
            let key = format!("key-{}", n % 5);
            story.plan.insert(n, (key.clone(), false));
            stack.put(&key, n).await.expect("the disk is sound");
            let entries = reader.next(64).await.expect("reads");
            // The first event is held for ever.
            let settled =
                entries.iter().filter(|s| change(s) > 1).map(|s| (s.position.offset, Column::Delivered));
            let settled: Vec<_> = settled.collect();
            entries.iter().for_each(|s| disk.mark(crate::disk::Mark::Delivered(change(s))));
            reader.settle(&settled);
            if n % 16 == 0 {
                reader.flush().await.expect("flushes");
                let end = stack.queue.stat().durable_end;
                until("a checkpoint", || stack.store.checkpoint_next() >= end).await;
            }
            assert!(n < 2_000, "nothing was compacted");
        }
        drop(reader);
        let disk = disk.kill();
        stack.stop().await;
        drop(disk);
    });
    // The first one was handed over and not settled: it may come again, and must.
    let around = |op: &Op| match op {
        Op::Rename { to, .. } | Op::Remove { path: to } => {
            to.extension().is_some_and(|e| e == "seg" || e == "tmp")
        }
        Op::Create { path, .. } => path.ends_with("compacted.tmp"),
        _ => false,
    };
    let compacted = disk.see(|trace| {
        trace.iter().any(|op| matches!(op, Op::Create { path, .. } if path.ends_with("compacted.tmp")))
    });
    assert!(compacted, "it proves nothing");
    let judged = judge_cuts(&disk, &story, 1, 120, around).unwrap_or_else(|why| panic!("{why}"));
    crate::judged("compaction", judged);
}
