//! The Nth call of every kind fails, for every N until a life needs no more: no answer that is not durable,
//! no panic, no healing of what must not heal, and healing of what must.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use tidings::journal::{Journal, Opened};

use crate::disk::{Call, Fault, Mark, Op, SimDisk};
use crate::log::{append, block_on, dir, start};
use crate::power::Power;
use crate::rules::{SEGMENT, Told, after, check, options};
use crate::{kills, sane};

const CALLS: [Call; 10] = [
    Call::Create,
    Call::Open,
    Call::Write,
    Call::ShortWrite,
    Call::Sync,
    Call::Rename,
    Call::Remove,
    Call::SyncDir,
    Call::List,
    Call::Read,
];
/// EIO and ENOSPC, as far as the standard library tells them apart.
const ERRORS: [ErrorKind; 2] = [ErrorKind::Other, ErrorKind::StorageFull];

/// One process after another, each of which may break off: rolls, recycling, a stop, a kill.
fn lives(disk: &Arc<SimDisk>) -> Arc<SimDisk> {
    let mut next = 1;
    let mut end = 1;
    let mut now = Arc::clone(disk);
    for life in 0..3 {
        if let Ok(journal) = start(&now, end) {
            for _ in 0..3 {
                for given in append(&now, &journal, &[next]) {
                    end = given.map_or(end, |offset| offset + 1);
                }
                next += 1;
            }
            now.mark(Mark::Floor(end));
            journal.trim(end);
            for given in append(&now, &journal, &[next, next + 1]) {
                end = given.map_or(end, |offset| end.max(offset + 1));
            }
            next += 2;
            if life != 1 {
                journal.stop();
            }
            now = Arc::new(now.kill());
            journal.stop();
        }
        now = Arc::new(now.kill());
    }
    now
}

/// Everything that was called durable is there after a power cut at the end, whatever of the rest came
/// through.
fn check_end(disk: &SimDisk, seed: u64) -> Result<(), String> {
    let mut told = Told::default();
    let mut power = Power::new(disk.start(), seed, 12);
    for op in disk.trace() {
        power.pass(&op);
        if let Op::Mark(mark) = &op {
            told.pass(mark);
        }
    }
    let mut result = Ok(());
    power.images(|image| {
        if result.is_ok() {
            result = check(&after(image), &dir(), &told, true).map(drop);
        }
    });
    result
}

/// Lets the first, second, third … call of a kind fail; gives how many there were.
fn fail_each(call: Call, error: ErrorKind, times: u64) -> Result<u64, String> {
    for nth in 1.. {
        let disk = Arc::new(SimDisk::new(Path::new("/data")));
        disk.fail(Some(Fault { call, nth, times, error, on: "" }));
        let disk = lives(&disk);
        let fired = disk.fired();
        disk.fail(None);
        let which = format!("{call:?} number {nth} fails with {error:?}");
        // Also without a power cut: the next process opens what the cache shows.
        check_end(&disk, nth).map_err(|why| format!("{which}: after a power cut: {why}"))?;
        let mut told = Told::default();
        disk.see(|trace| {
            for op in trace {
                if let Op::Mark(mark) = op {
                    told.pass(mark);
                }
            }
        });
        check(&disk, &dir(), &told, true).map_err(|why| format!("{which}: {why}"))?;
        if fired == 0 {
            return Ok(nth - 1);
        }
    }
    unreachable!("a life has an end")
}

#[test]
fn no_failing_call_costs_what_was_called_durable() {
    let _sane = sane();
    // Most of the time is spent waiting for the preparing thread to try again.
    let each = CALLS.into_iter().flat_map(|call| ERRORS.map(|error| (call, error)));
    let runs = each.map(|(call, error)| (call, error, std::thread::spawn(move || fail_each(call, error, 1))));
    for (call, error, run) in runs.collect::<Vec<_>>() {
        let calls = run.join().expect("ran").unwrap_or_else(|why| panic!("{why}"));
        println!("{call:?} {error:?}: {calls} calls failed, one at a time");
        assert!(calls > 0, "{call:?} was never called");
    }
}

#[test]
fn mutant_retry_after_failed_fsync() {
    kills("retry-after-failed-fsync", || fail_each(Call::Sync, ErrorKind::Other, 1).map(drop));
}

/// A journal whose active segment is in use.
fn running() -> (Arc<SimDisk>, Journal<u64>) {
    let disk = Arc::new(SimDisk::new(Path::new("/data")));
    let journal = start(&disk, 0).expect("opens");
    append(&disk, &journal, &[4]).remove(0).expect("the disk is sound");
    (disk, journal)
}

#[test]
fn a_failed_write_or_sync_ends_every_answer() {
    let _sane = sane();
    for call in [Call::Write, Call::ShortWrite, Call::Sync] {
        let (disk, journal) = running();
        // The preparing thread's files have other names.
        disk.fail(Some(Fault { call, nth: 1, times: 1, error: ErrorKind::Other, on: "0001.seg" }));
        assert!(append(&disk, &journal, &[4]).remove(0).is_err());
        assert_eq!(disk.fired(), 1, "{call:?}");
        assert!(append(&disk, &journal, &[5]).remove(0).is_err(), "it went on after a failed {call:?}");
        block_on(journal.failed().wait_for(Option::is_some)).expect("alive");
        let synced = |trace: &[Op]| trace.iter().rposition(|op| matches!(op, Op::Sync { node: 0 }));
        let failed = |trace: &[Op]| trace.iter().rposition(|op| matches!(op, Op::SyncFailed { node: 0 }));
        assert!(disk.see(failed).is_none_or(|f| disk.see(synced).is_some_and(|s| s < f)), "synced again");
        journal.stop();
    }
}

/// Changes until the files that stand ready are used up need no space; then they wait, and go on when there
/// is some.
#[test]
fn no_space_for_the_next_segment_heals_without_a_restart() {
    let _sane = sane();
    for call in [Call::Create, Call::Write, Call::ShortWrite, Call::Sync, Call::Rename, Call::SyncDir] {
        let (disk, journal) = running();
        let mut prepared = journal.prepared();
        block_on(prepared.wait_for(|ready| *ready >= 3)).expect("alive");
        let on = if matches!(call, Call::Rename | Call::SyncDir) { "" } else { ".tmp" };
        let error = ErrorKind::StorageFull;
        disk.fail(Some(Fault { call, nth: 1, times: u64::MAX, error, on }));
        let mut n = 1_000;
        while *prepared.borrow_and_update() > 0 {
            append(&disk, &journal, &[n]).remove(0).expect("a prepared file needs no space");
            n += 1;
        }
        assert!(disk.fired() > 0, "{call:?}");
        disk.fail(None);
        let segments = journal.stat().segments;
        while journal.stat().segments < segments + 3 {
            append(&disk, &journal, &[n]).remove(0).expect("there is space again");
            n += 1;
        }
        journal.stop();
        let mut told = Told::default();
        disk.see(|trace| {
            trace.iter().for_each(|op| {
                if let Op::Mark(mark) = op {
                    told.pass(mark)
                }
            });
        });
        check(&disk, &dir(), &told, true).unwrap_or_else(|why| panic!("{call:?}: {why}"));
        let opened = Opened::open(disk.disk(), options(&dir()), 0).expect("opens");
        let most = (told.end() / 2 + 8) * SEGMENT;
        let bytes: usize = disk.cached().files.values().map(|b| b.len()).sum();
        assert!(
            (bytes as u64) < most,
            "{call:?}: {bytes} bytes for {} changes: files were left",
            opened.next()
        );
    }
}
