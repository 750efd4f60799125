//! Damage: found, named to the offset, never skipped silently, and given up only when an operator says so.

use super::*;

fn random(b: &mut [u8]) -> io::Result<()> {
    getrandom::fill(b).map_err(|e| io::Error::other(e.to_string()))
}

/// Reads from `from` until the end or the damage.
fn read_until(journal: &Journal<u64>, from: u64) -> (Vec<u64>, Option<(u64, u64)>) {
    let mut reader = journal.reader(from);
    let mut offsets = Vec::new();
    loop {
        match reader.read_batch(|v| offsets.push(v.offset)) {
            Ok(true) => {}
            Ok(false) => return (offsets, None),
            Err(ReadError::Lost { from, to }) => return (offsets, Some((from, to))),
            Err(e) => panic!("{e}"),
        }
    }
}

fn named(damage: &[Damage]) -> Vec<(u64, u64)> {
    damage.iter().filter(|d| d.offsets() > 0).map(|d| (d.from, d.to)).collect()
}

/// Accepts everything that is damaged; no reader has a row.
fn accept(dir: &Path, proven: u64, range: (u64, u64)) -> Result<Loss, RepairError> {
    let mut repair = Repair::begin(&OsDisk, dir, proven, range, 5)?;
    repair.mend(&BTreeMap::new(), 5, random)?;
    repair.done(BTreeMap::new())
}

/// After an accepted loss of `lost` everything else can be read, nothing is damaged, and what follows has a
/// higher epoch.
async fn is_mended(dir: &Path, lost: (u64, u64), end: u64, epoch_before: u32) {
    let found = verify(&OsDisk, dir, 0).expect("verified");
    assert_eq!((found.damage, found.end), (vec![], end));
    assert!(found.accepted.last().expect("recorded").done);
    let (journal, _, report) = open(dir);
    assert_eq!(report.damage, []);
    let (offsets, stopped) = read_until(&journal, 1);
    let expected: Vec<_> = (1..end).filter(|o| *o < lost.0 || *o > lost.1).collect();
    assert_eq!((offsets, stopped), (expected, None));
    assert!(journal.epoch() > epoch_before);
    assert_eq!(append(&journal, 1, 10).await, end);
    journal.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_before_something_synced_is_named_and_stops_readers_until_it_is_accepted() {
    for victim in 0..5 {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, begins) = unclean(dir.path(), 5).await;
        assert_eq!(begins.len(), 5);
        damage(&path, begins[victim] + 1_024, 512);
        let lost = (victim as u64 + 1, victim as u64 + 1);
        for time in 1..=2 {
            // The seal behind the last record proves that it, too, was synced.
            let (journal, _, report) = open(dir.path());
            assert_eq!(named(&report.damage), [lost], "{:?}", report.damage);
            assert_eq!(report.damage[0].at, begins[victim]);
            let (before, stopped) = read_until(&journal, 1);
            assert_eq!((before, stopped), ((1..lost.0).collect(), Some(lost)));
            assert_eq!(read_until(&journal, lost.1 + 1).0, (lost.1 + 1..5 + time).collect::<Vec<_>>());
            assert_eq!(append(&journal, 9, 100).await, 5 + time, "the log goes on behind the damage");
            let verified = verify(&OsDisk, dir.path(), 0).expect("verified");
            assert_eq!(named(&verified.damage), [lost]);
            crash(journal).await;
        }
        let other = accept(dir.path(), 0, (7, 9)).expect_err("another range");
        assert!(matches!(other, RepairError::NotAll(_)), "{other}");
        accept(dir.path(), 0, lost).expect("accepted");
        is_mended(dir.path(), lost, 8, 3).await;
        assert!(matches!(accept(dir.path(), 0, lost), Err(RepairError::Nothing)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unproven_tail_is_dropped_and_a_proven_one_is_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let (path, begins) = unclean(dir.path(), 3).await;
    // The last batch and everything behind it (its seal) is torn: nobody can tell that it was acknowledged …
    damage(&path, begins[2] + 700, (SEGMENT - begins[2] - 700) as usize);
    let kept = tempfile::tempdir().expect("a directory");
    for file in segments(dir.path()) {
        std::fs::copy(&file, kept.path().join(file.file_name().expect("named"))).expect("copied");
    }
    let (journal, _, report) = open(dir.path());
    assert_eq!(report.damage, []);
    assert_eq!(read_all(&journal, 1).len(), 2);
    assert_eq!(append(&journal, 9, 0).await, 3);
    assert_eq!(journal.epoch(), 2, "offset 3 is given again, so the epoch is another one");
    // … unless a row elsewhere names the offset.
    let (journal, _, report) = try_open(kept.path(), 6).expect("opens");
    assert_eq!(named(&report.damage), [(3, 5)]);
    let (before, stopped) = read_until(&journal, 1);
    assert_eq!((before, stopped.map(|(from, _)| from)), (vec![1, 2], Some(3)));
    assert_eq!(append(&journal, 9, 0).await, 6, "above every offset that anything durable names");
    crash(journal).await;
    assert_eq!(named(&try_open(kept.path(), 0).expect("opens").2.damage), [(3, 5)]);
    accept(kept.path(), 0, (3, 5)).expect("accepted");
    is_mended(kept.path(), (3, 5), 7, 3).await;
}

/// A journal of several closed segments, stopped in order: their first offsets, and one above the last.
async fn closed(dir: &Path) -> (Vec<u64>, u64) {
    let (journal, _, _) = open(dir);
    for n in 0..200 {
        append(&journal, n, 8_000).await;
    }
    let firsts = journal.shared.segments.all().iter().map(|s| s.known().first).collect();
    journal.stop();
    (firsts, 201)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_and_unreadable_files_are_named_and_can_be_given_up() {
    type Wreck = (&'static str, fn(&Path));
    let wreck: [Wreck; 4] = [
        ("missing", |path| std::fs::remove_file(path).expect("removed")),
        ("header", |path| damage(path, 16, 8)),
        ("zeroed", |path| damage(path, format::BLOCK, (SEGMENT - format::BLOCK) as usize)),
        ("cut", |path| {
            std::fs::File::options().write(true).open(path).and_then(|f| f.set_len(100)).expect("cut")
        }),
    ];
    for (what, wreck) in wreck {
        let dir = tempfile::tempdir().expect("a directory");
        let (firsts, end) = closed(dir.path()).await;
        wreck(&segments(dir.path())[2]);
        let lost = (firsts[2], firsts[3] - 1);
        let (journal, _, report) = open(dir.path());
        assert_eq!(named(&report.damage), [lost], "{what}: {:?}", report.damage);
        assert_eq!(read_until(&journal, 1), ((1..lost.0).collect(), Some(lost)), "{what}");
        assert_eq!(read_until(&journal, lost.1 + 1).0.len() as u64, end - 1 - lost.1);
        assert_eq!(journal.total_before(7), Total::default());
        journal.stop();
        drop(journal);
        accept(dir.path(), 0, lost).expect("accepted");
        let opened = Opened::open(Arc::new(OsDisk), options(dir.path()), 0).expect("opens");
        assert_eq!(
            opened.totals().get(&7),
            Some(&total(0..200, |_| true)),
            "{what}: what was lost is counted as it was"
        );
        drop(opened);
        is_mended(dir.path(), lost, end, 1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_opening_or_footer_loses_no_record_and_no_count() {
    for (from_end, at) in [(false, format::BLOCK), (true, SEGMENT - format::BLOCK)] {
        let dir = tempfile::tempdir().expect("a directory");
        let (_, end) = closed(dir.path()).await;
        damage(&segments(dir.path())[2], at, 4_096);
        let (journal, _, report) = open(dir.path());
        assert_eq!((named(&report.damage), report.damage.len()), (vec![], usize::from(!from_end)));
        assert_eq!(read_until(&journal, 1), ((1..end).collect(), None));
        journal.stop();
        drop(journal);
        let opened = Opened::open(Arc::new(OsDisk), options(dir.path()), 0).expect("opens");
        assert_eq!(opened.totals().get(&7), Some(&total(0..200, |_| true)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_header_of_a_file_that_stands_ready_loses_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let (path, _) = unclean(dir.path(), 3).await;
    let spare = segments(dir.path()).into_iter().find(|p| *p > path).expect("one stands ready");
    damage(&spare, 0, 64);
    let (journal, _, report) = open(dir.path());
    assert_eq!((named(&report.damage), report.damage.len()), (vec![], 1));
    assert_eq!(read_until(&journal, 1), (vec![1, 2, 3], None));
    for n in 0..100 {
        append(&journal, n, 8_000).await;
    }
    assert_eq!(read_until(&journal, 1).0.len(), 103);
    crash(journal).await;
    assert_eq!(open(dir.path()).2.damage, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_damaged_body_in_a_batch_loses_one_offset_and_stops_a_running_reader() {
    let dir = tempfile::tempdir().expect("a directory");
    let (journal, _, _) = open(dir.path());
    let journal = Arc::new(journal);
    let tasks: Vec<_> = (0..40)
        .map(|n| {
            let journal = Arc::clone(&journal);
            tokio::spawn(async move { append(&journal, n, 2_000).await })
        })
        .collect();
    for task in tasks {
        task.await.expect("ran");
    }
    // The body of offset 20, found by its bytes, and the length of offset 30.
    let segment = journal.shared.segments.all().pop().expect("one");
    // Both may lie in the last batch: `verify` must be able to tell it from one that was never acknowledged.
    sealed(&segment).await;
    let bytes = std::fs::read(&segment.path).expect("readable");
    let place = |offset: u64| {
        let (mut reader, mut meta) = (journal.reader(offset), Vec::new());
        let first = |v: &RecordView<'_>, meta: &mut Vec<u8>| {
            if v.offset == offset {
                *meta = v.meta.to_vec()
            }
        };
        reader.read_batch(|v| first(v, &mut meta)).expect("readable");
        meta.insert(0, 0);
        let at =
            bytes.windows(meta.len() + 1).position(|w| w[..meta.len()] == meta[..] && w[meta.len()] >= 0x80);
        (at.expect("there") + 1) as u64
    };
    let (body, header) = (place(20) + 200, place(30) - 8 - 32);
    damage(&segment.path, body, 1);
    damage(&segment.path, header, 4);
    let mut noticed = journal.damage();
    assert_eq!(read_until(&journal, 1), ((1..20).collect(), Some((20, 20))));
    assert_eq!(named(&noticed.borrow_and_update()), [(20, 20)]);
    assert_eq!(read_until(&journal, 21), ((21..30).collect(), Some((30, 30))));
    assert_eq!(read_until(&journal, 31), ((31..41).collect(), None));
    let verified = verify(&OsDisk, dir.path(), 0).expect("verified");
    assert_eq!(named(&verified.damage), [(20, 20), (30, 30)]);
    assert_eq!(append(&journal, 1, 10).await, 41, "the log goes on");
    journal.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_acceptance_is_refused_at_open_and_finished_by_another_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let (path, begins) = unclean(dir.path(), 4).await;
    damage(&path, begins[1], 100);
    for mended in [false, true] {
        let mut repair = Repair::begin(&OsDisk, dir.path(), 0, (2, 2), 5).expect("begun");
        if mended {
            repair.mend(&BTreeMap::new(), 5, random).expect("mended");
        }
        assert!(matches!(try_open(dir.path(), 0).err(), Some(OpenError::Unfinished)));
    }
    accept(dir.path(), 0, (2, 2)).expect("finished");
    is_mended(dir.path(), (2, 2), 5, 1).await;
}

/// Wherever in its segment the last record lies, up to the last block: damage to it is not taken for a write
/// that was never acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_to_the_last_record_of_a_full_segment_is_named_too() {
    // Seals come between records when the writer finds the time, so where the last one ends is tried.
    for (last, shift) in (14..62).flat_map(|last| [(last, 0), (last, 1)]) {
        let dir = tempfile::tempdir().expect("a directory");
        let (journal, ..) = open(dir.path());
        for n in 1..=last {
            append(&journal, n, if n == 1 { shift * 4_096 } else { 3_000 }).await;
        }
        journal.stop();
        let meta = format!("record {last}").into_bytes();
        let hit = OsDisk.list(dir.path()).expect("listed").into_iter().find_map(|path| {
            let bytes = std::fs::read(&path).expect("readable");
            Some((path, bytes.windows(meta.len()).position(|w| w == meta)?))
        });
        let (path, at) = hit.expect("it was written");
        damage(&path, at as u64, 4);
        let found = verify(&OsDisk, dir.path(), 0).expect("verified");
        assert_eq!(named(&found.damage), [(last, last)], "{last} records, shifted by {shift}");
    }
}

/// What was acknowledged in the segment being written, and is gone with its file: no later batch proves it,
/// but files are made whole before they get their names, and their numbers are dense.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_current_segment_that_is_missing_or_cut_is_damage_until_it_is_accepted() {
    for (records, kept) in [(5, 0), (80, 0), (5, 1), (80, 1), (80, 2), (80, 3), (80, 4)] {
        let dir = tempfile::tempdir().expect("a directory");
        let (journal, ..) = open(dir.path());
        for n in 1..=records {
            append(&journal, n, 8_000).await;
        }
        let current = journal.shared.segments.all().pop().expect("one");
        let (path, first) = (current.path.clone(), current.known().first);
        sealed(&current).await;
        crash(journal).await;
        let half = (current.known().used / 2).next_multiple_of(format::BLOCK);
        match [None, Some(0), Some(10), Some(format::BLOCK), Some(half)][kept] {
            None => std::fs::remove_file(&path).expect("removed"),
            Some(len) => {
                std::fs::File::options().write(true).open(&path).and_then(|f| f.set_len(len)).expect("cut")
            }
        }
        let what = format!("{records} records, wreck {kept}");
        let damaged = verify(&OsDisk, dir.path(), 0).expect("verified").damage;
        let [lost] = named(&damaged)[..] else { panic!("{what}: {damaged:?}") };
        assert!(lost.0 >= first && lost.0 <= records && lost.1 >= records, "{what}: {lost:?} from {first}");
        for _ in 0..2 {
            // Opened and left again, it is as damaged as before.
            let (journal, _, report) = open(dir.path());
            assert_eq!(named(&report.damage), [lost], "{what}");
            assert_eq!(read_until(&journal, 1).0, (1..lost.0).collect::<Vec<_>>(), "{what}");
            crash(journal).await;
        }
        accept(dir.path(), 0, lost).expect("accepted");
        is_mended(dir.path(), lost, lost.1 + 1, 1).await;
    }
}

/// A gap before the last file with records, and one that the log went on behind: what stands behind it is as
/// safe as ever, whatever is proved elsewhere and however long segments are by then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_behind_a_missing_file_is_lost_with_it() {
    for (records, from_end) in [(80, 2), (80, 1)] {
        let dir = tempfile::tempdir().expect("a directory");
        let (journal, ..) = open(dir.path());
        for n in 1..=records {
            append(&journal, n, 8_000).await;
        }
        let all = journal.shared.segments.all();
        let (victim, behind) = (&all[all.len() - from_end], all.get(all.len() + 1 - from_end));
        let first = victim.known().first;
        let behind = behind.map(|s| s.known().first);
        let path = victim.path.clone();
        sealed(&all[all.len() - 1]).await;
        crash(journal).await;
        std::fs::remove_file(&path).expect("removed");
        let mut kept: Vec<_> = behind.map_or(vec![], |behind| (behind..=records).collect());
        let (mut end, mut lost) = (0, None);
        for round in 0..4 {
            let options = Options { segment_bytes: SEGMENT * (1 + round % 2), ..options(dir.path()) };
            let opened = Opened::open(Arc::new(OsDisk), options, end).expect("opens");
            let now = named(&opened.report().damage);
            let [(from, to)] = now[..] else { panic!("{now:?}") };
            assert_eq!(from, first, "{records} {from_end} {round}");
            assert_eq!(*lost.get_or_insert(to), to, "the same as before, round {round}");
            let journal = opened.start(Arc::new(Seen::default()) as Arc<dyn Sink<u64>>).expect("starts");
            assert_eq!(read_until(&journal, to + 1).0, kept, "{from_end}, round {round}");
            for n in 0..40 {
                kept.push(append(&journal, n, 8_000).await);
            }
            end = kept.last().expect("some") + 1;
            sealed(&journal.shared.segments.all().pop().expect("one")).await;
            crash(journal).await;
        }
        let lost = (first, lost.expect("seen"));
        accept(dir.path(), end, lost).expect("accepted");
        let (journal, _, report) = open(dir.path());
        assert_eq!(report.damage, []);
        assert_eq!(read_until(&journal, first).0, kept);
        journal.stop();
    }
}
