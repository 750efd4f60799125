//! Rot: every sector of every file of a journal, one at a time, zeroed or with one bit flipped. What is
//! damaged is found and named, or nothing of it mattered; nothing is ever skipped in silence.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings::journal::{Journal, LogReader, OpenError, Opened, ReadError, verify};

use crate::disk::{Image, Mark, Op, SimDisk};
use crate::log::{append, block_on, dir, start};
use crate::rules::{body, options};
use crate::sane;

const SECTOR: usize = 512;

/// What a look at a damaged journal says.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// Everything is there, byte for byte.
    Intact,
    /// Refused or stopped, with the first offset that is affected, if it was named.
    Named(Option<u64>),
}

/// Two closed segments that were recycled from earlier ones, an active one, ready files; idle.
fn make(stopped: bool) -> (Image, BTreeMap<u64, u64>) {
    let disk = Arc::new(SimDisk::new(Path::new("/data")));
    let journal = start(&disk, 0).expect("opens");
    let mut all = BTreeMap::new();
    fill(&disk, &journal, 1..15, &mut all);
    // What lies before goes, and its files live again behind.
    let floor = all.len() as u64;
    disk.mark(Mark::Floor(floor));
    let first = journal.stat().first;
    journal.trim(floor);
    let deadline = Instant::now() + Duration::from_secs(10);
    while journal.stat().first == first {
        assert!(Instant::now() < deadline, "nothing was trimmed");
        std::thread::yield_now();
    }
    let mut prepared = journal.prepared();
    fill(&disk, &journal, 15..29, &mut all);
    block_on(prepared.wait_for(|n| *n >= 3)).expect("alive");
    if stopped {
        journal.stop();
    } else {
        // Idle: the writer puts its seal behind the last record.
        while !disk.see(ends_with_a_seal) {
            assert!(Instant::now() < deadline, "no seal was written");
            std::thread::yield_now();
        }
    }
    let first = journal.stat().first;
    let image = disk.cached();
    journal.stop();
    all.retain(|offset, _| *offset >= first);
    (image, all)
}

fn fill(
    disk: &Arc<SimDisk>,
    journal: &Journal<u64>,
    changes: std::ops::Range<u64>,
    all: &mut BTreeMap<u64, u64>,
) {
    for n in changes {
        all.insert(append(disk, journal, &[n]).remove(0).expect("the disk is sound"), n);
    }
}

fn ends_with_a_seal(trace: &[Op]) -> bool {
    let seal = |op: &Op| matches!(op, Op::Write { data, .. } if data.starts_with(b"TIDB") && data[36] == 2);
    let told = |op: &Op| matches!(op, Op::Mark(Mark::Durable { .. }));
    trace.iter().rposition(seal) > trace.iter().rposition(told)
}

fn look(image: Image, all: &BTreeMap<u64, u64>) -> Found {
    let disk = Arc::new(SimDisk::from_image(image));
    let end = all.last_key_value().map_or(1, |(offset, _)| offset + 1);
    let opened = match Opened::open(disk.disk(), options(&dir()), 0) {
        Ok(opened) => opened,
        Err(OpenError::Corrupt { from, .. }) => return Found::Named(Some(from)),
        Err(_) => return Found::Named(None),
    };
    let first = all.first_key_value().map_or(1, |(offset, _)| *offset);
    let (found, error) = read(opened.reader(first));
    if let Some(from) = error {
        assert!(
            found.iter().all(|(offset, n)| all.get(offset) == Some(n)),
            "read another change before the damage"
        );
        return Found::Named(Some(from));
    }
    assert_eq!(found, *all, "something is gone in silence");
    assert_eq!(opened.next(), end, "the end moved in silence");
    Found::Intact
}

/// What a reader gives, and where it stops.
fn read(mut reader: LogReader<u64>) -> (BTreeMap<u64, u64>, Option<u64>) {
    let mut found = BTreeMap::new();
    loop {
        let more = reader.read_batch(|view| {
            let n = u64::from_le_bytes(view.meta.try_into().expect("a meta of ours"));
            assert_eq!(view.body, &body(n)[..], "a damaged body was given out");
            found.insert(view.offset, n);
        });
        match more {
            Ok(true) => {}
            Ok(false) => return (found, None),
            Err(ReadError::Lost { from, .. }) => return (found, Some(from)),
            Err(ReadError::Io(e)) => panic!("{e}"),
        }
    }
}

fn paths(image: &Image) -> Vec<PathBuf> {
    image.files.keys().filter(|p| p.extension().is_some_and(|e| e == "seg")).cloned().collect()
}

#[test]
fn every_damaged_sector_is_found_or_did_not_matter() {
    let _sane = sane();
    for stopped in [false, true] {
        let (image, all) = make(stopped);
        assert_eq!(look(image.clone(), &all), Found::Intact);
        let (mut intact, mut named) = (0, 0);
        for path in paths(&image) {
            let len = image.files[&path].len();
            for at in (0..len).step_by(SECTOR) {
                let sector = &image.files[&path][at..at + SECTOR];
                let zeros = vec![0; SECTOR];
                let mut flipped = sector.to_vec();
                flipped[at / SECTOR * 7 % 48] ^= 1 << (at / SECTOR % 8);
                for damaged in [zeros, flipped] {
                    if damaged == sector {
                        continue;
                    }
                    let mut image = image.clone();
                    let bytes = Arc::make_mut(image.files.get_mut(&path).expect("there"));
                    bytes[at..at + SECTOR].copy_from_slice(&damaged);
                    let found = std::panic::catch_unwind(|| look(image, &all));
                    match found {
                        Ok(Found::Intact) => intact += 1,
                        Ok(Found::Named(_)) => named += 1,
                        Err(_) => panic!("stopped {stopped}: {} at {at}: see above", path.display()),
                    }
                }
            }
        }
        println!("stopped {stopped}: {named} damaged sectors were named, {intact} held nothing that counts");
        assert!(named > 200);
    }
}

/// While it runs: a reader that must go to the disk stops at the damage and names it.
#[test]
fn a_running_reader_stops_at_damage() {
    let _sane = sane();
    let disk = Arc::new(SimDisk::new(Path::new("/data")));
    let journal = start(&disk, 0).expect("opens");
    let mut all = BTreeMap::new();
    for n in 1..20 {
        all.insert(append(&disk, &journal, &[n]).remove(0).expect("the disk is sound"), n);
    }
    let image = disk.cached();
    let mut named = 0;
    for path in paths(&image) {
        for at in (4096..image.files[&path].len()).step_by(8 * SECTOR) {
            let whole = image.files[&path][at..at + SECTOR].to_vec();
            if whole.iter().all(|b| *b == 0) {
                continue;
            }
            disk.damage(&path, |bytes| bytes[at + 100] ^= 4);
            let (found, stopped) = read(journal.reader(1));
            match stopped {
                Some(from) => {
                    named += 1;
                    assert_eq!(from, found.len() as u64 + 1);
                }
                None => assert_eq!(found, all, "{} at {at}", path.display()),
            }
            disk.damage(&path, |bytes| bytes[at..at + SECTOR].copy_from_slice(&whole));
        }
    }
    assert!(named > 20, "{named}");
    assert_eq!(read(journal.reader(1)), (all, None));
    journal.stop();
}

/// Bytes that a record's body has at least, so that a whole sector of it can go.
const LARGE: usize = 2_500;

/// A log with segments of each kind, idle: trimmed a little, so that files live again behind those that were
/// always what they are; two large records at its end.
fn each_kind(disk: &Arc<SimDisk>) -> (Journal<u64>, BTreeMap<u64, u64>) {
    let journal = start(disk, 0).expect("opens");
    let mut all = BTreeMap::new();
    fill(disk, &journal, 1..20, &mut all);
    let floor = all.len() as u64 / 2;
    disk.mark(Mark::Floor(floor));
    let mut trimmed = journal.trimmed();
    journal.trim(floor);
    block_on(trimmed.wait_for(|n| *n > 0)).expect("alive");
    fill(disk, &journal, 20..50, &mut all);
    let large = (50..).filter(|n| (LARGE..9_000).contains(&body(*n).len())).take(3).collect::<Vec<_>>();
    for n in large {
        fill(disk, &journal, n..n + 1, &mut all);
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while !disk.see(ends_with_a_seal) {
        assert!(Instant::now() < deadline, "no seal was written");
        std::thread::yield_now();
    }
    let first = journal.stat().first;
    all.retain(|offset, _| *offset >= first);
    (journal, all)
}

/// Files that had another segment's name before.
fn recycled(disk: &SimDisk) -> Vec<PathBuf> {
    let mut names: BTreeMap<usize, Vec<PathBuf>> = BTreeMap::new();
    disk.see(|trace| {
        for op in trace {
            match op {
                Op::Rename { to, node, .. } if to.extension().is_some_and(|e| e == "seg") => {
                    names.entry(*node).or_default().push(to.clone());
                }
                _ => {}
            }
        }
    });
    names.into_values().filter(|names| names.len() > 1).filter_map(|mut names| names.pop()).collect()
}

/// Where a record is that has a sector in the middle of its body: the file, where its batch begins, and the
/// sector.
fn place_of(image: &Image, n: u64) -> Option<(PathBuf, usize, usize)> {
    let body = body(n);
    if body.len() < LARGE {
        return None;
    }
    image.files.iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "seg")).find_map(
        |(path, bytes)| {
            let at = bytes.windows(64).position(|w| w == &body[..64])?;
            Some((path.clone(), at / 4_096 * 4_096, (at + LARGE / 2).next_multiple_of(SECTOR)))
        },
    )
}

/// One large record for each place of the log that may rot: its offset, and where it is.
fn places(disk: &SimDisk, all: &BTreeMap<u64, u64>) -> Vec<(&'static str, u64, (PathBuf, usize, usize))> {
    let image = disk.cached();
    let again = recycled(disk);
    let found: Vec<_> = all.iter().filter_map(|(offset, n)| Some((*offset, place_of(&image, *n)?))).collect();
    let (last, (current, ..)) = found.last().cloned().expect("the last one is large");
    assert_eq!(Some(&last), all.keys().last());
    let middle = |what, is: &dyn Fn(&PathBuf) -> bool| {
        let those: Vec<_> = found.iter().filter(|(offset, place)| *offset != last && is(&place.0)).collect();
        let (offset, place) = those.get(those.len() / 2).unwrap_or_else(|| panic!("nothing in {what}"));
        (what, *offset, place.clone())
    };
    vec![
        ("the last record of an idle log", last, found.last().expect("one").1.clone()),
        middle("an old segment", &|path| *path != current && !again.contains(path)),
        middle("the current segment", &|path| *path == current),
        middle("a recycled segment", &|path| *path != current && again.contains(path)),
    ]
}

/// A damaged record, with the server stopped in order, killed, and running: each way of looking names it.
#[test]
fn one_bad_sector_in_every_place_is_found_and_named_stopped_killed_and_running() {
    let _sane = sane();
    let disk = Arc::new(SimDisk::new(Path::new("/data")));
    let (journal, all) = each_kind(&disk);
    let first = journal.stat().first;
    let mut cases = Vec::new();
    for (what, offset, (path, begins, sector)) in places(&disk, &all) {
        for (how, at, zero) in
            [("one bit", sector, false), ("a sector", sector, true), ("its first sector", begins, true)]
        {
            cases.push((format!("{how} in {what}"), offset, path.clone(), at, zero));
        }
    }
    let spoil = |bytes: &mut Vec<u8>, at: usize, zero: bool| match zero {
        true => bytes[at..at + SECTOR].fill(0),
        false => bytes[at + 100] ^= 4,
    };
    let named = |disk: &SimDisk| -> Vec<(u64, u64)> {
        let found = verify(disk, &dir(), 0).expect("it looks at every file");
        found.damage.iter().map(|damage| (damage.from, damage.to)).collect()
    };
    for (case, offset, path, at, zero) in &cases {
        let whole = disk.cached().files[path][*at..*at + SECTOR].to_vec();
        disk.damage(path, |bytes| spoil(bytes, *at, *zero));
        assert_eq!(named(&disk), [(*offset, *offset)], "{case}, verified beside a running server");
        let (found, stopped) = read(journal.reader(first));
        assert_eq!(stopped, Some(*offset), "{case}, read while it runs");
        assert!(found.keys().all(|read| read < offset), "{case}: it went on");
        let said = journal.damage();
        assert!(said.borrow().iter().any(|d| (d.from, d.to) == (*offset, *offset)), "{case}: not told");
        assert_eq!(look(disk.cached(), &all), Found::Named(Some(*offset)), "{case}, killed");
        disk.damage(path, |bytes| bytes[*at..*at + SECTOR].copy_from_slice(&whole));
    }
    assert_eq!(read(journal.reader(first)), (all.clone(), None), "mended");
    journal.stop();
    for (case, offset, path, at, zero) in &cases {
        let mut image = disk.cached();
        spoil(Arc::make_mut(image.files.get_mut(path).expect("there")), *at, *zero);
        assert_eq!(named(&SimDisk::from_image(image.clone())), [(*offset, *offset)], "{case}, stopped");
        assert_eq!(look(image, &all), Found::Named(Some(*offset)), "{case}, stopped in order");
    }
    println!("{} cases, each four ways", cases.len());
}
