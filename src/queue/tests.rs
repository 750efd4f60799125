//! The embedded queue over real files: what readers get and what the books say, through compaction, damage
//! and a full log.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use super::embedded::{EmbeddedQueue, Options};
use super::*;
use crate::event::{Event, EventKind, RequestInfo};
use crate::journal::{self, Damage, OsDisk};

pub(super) const SEGMENT: u64 = 512 << 10;
pub(super) const WAIT: Duration = Duration::from_secs(60);

struct NoStore;

impl Publish for NoStore {
    fn publish(&self, _: &[Arc<Stored>]) {}
}

fn random(b: &mut [u8]) -> std::io::Result<()> {
    getrandom::fill(b).map_err(|e| std::io::Error::other(e.to_string()))
}

/// How long a test that expects space waits for it; the others ask what is refused, and refused is at once.
pub(super) const PATIENT: Duration = WAIT;
pub(super) const PROMPT: Duration = Duration::from_millis(50);

pub(super) fn options(dir: &Path, segments: u64, reserve_timeout: Duration) -> Options {
    Options {
        journal: journal::Options {
            dir: dir.join("journal"),
            segment_bytes: SEGMENT,
            max_bytes: segments * SEGMENT,
            retain_bytes: 0,
            retain_age: Duration::ZERO,
            first_epoch: 1,
            clock: || 1_000_000,
            random,
            observer: Arc::new(|_| {}),
        },
        progress_dir: dir.join("progress"),
        overlay_bytes: 1 << 30,
        tail_bytes: 64 << 10,
        reserve_timeout,
    }
}

/// A queue with readers of targets 1 to `targets`, all of them in the registry since the beginning.
fn open(dir: &Path, segments: u64, applied: u64, targets: u32) -> Arc<EmbeddedQueue> {
    open_with(options(dir, segments, PATIENT), applied, targets)
}

pub(super) fn open_with(options: Options, applied: u64, targets: u32) -> Arc<EmbeddedQueue> {
    open_over(Arc::new(OsDisk), options, applied, targets)
}

pub(super) fn open_over(
    disk: Arc<dyn journal::Disk>,
    options: Options,
    applied: u64,
    targets: u32,
) -> Arc<EmbeddedQueue> {
    let queue = EmbeddedQueue::open(disk, options, applied, Arc::new(NoStore));
    let queue = queue.expect("opens");
    for target in 1..=targets {
        queue.add_reader(TargetNo(target), 1).expect("added");
    }
    queue.readers_complete();
    Arc::new(queue)
}

pub(super) fn entry(n: u64, targets: &[u32]) -> Entry {
    let event = Event {
        id: Uuid::from_u128(u128::from(n)),
        kind: EventKind::CreatedPut,
        time_us: 5,
        bucket: "bucket".into(),
        key: format!("key-{}", n % 97).into(),
        version: None,
        size: 1_000,
        etag: "etag".into(),
        request: RequestInfo { id: "id".into(), source_ip: None, principal: "me".into(), hops: 0 },
    };
    let deliver = |t: &u32| DeliveryTo { target: TargetNo(*t), rule: "rule".into() };
    let meta = ObjectMeta {
        body: BodyRef::Inline { crc32c: journal::crc32c(&[7; 1_000]) },
        ..ObjectMeta::default()
    };
    let deliveries = targets.iter().map(deliver).collect();
    Entry { change: Change::PutObject(meta), event: Some(event), deliveries, shed: Vec::new() }
}

/// Appends many entries; `to` says for whom each is.
pub(super) async fn append(
    queue: &Arc<EmbeddedQueue>,
    numbers: std::ops::Range<u64>,
    to: fn(u64) -> &'static [u32],
) -> Vec<u64> {
    let mut offsets = Vec::new();
    for n in numbers.clone().step_by(256) {
        let tasks: Vec<_> = (n..numbers.end.min(n + 256))
            .map(|n| {
                let queue = Arc::clone(queue);
                tokio::spawn(async move {
                    let permit = queue.reserve(1_000).await.expect("space");
                    let body = Bytes::from_static(&[7; 1_000]);
                    queue.append(permit, entry(n, to(n)), body).await.expect("appended").offset
                })
            })
            .collect();
        for task in tasks {
            offsets.push(task.await.expect("ran"));
        }
    }
    offsets
}

pub(super) async fn take(reader: &mut Box<dyn Reader>, count: usize) -> Vec<u64> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let next = tokio::time::timeout(WAIT, reader.next(count - taken.len())).await.expect("in time");
        taken.extend(next.expect("readable").iter().map(|s| s.position.offset));
    }
    taken
}

/// As [`take`]; says also what the entries cost the target's budget.
async fn take_owed(reader: &mut Box<dyn Reader>, count: usize) -> (Vec<u64>, u64) {
    let (mut taken, mut owed) = (Vec::new(), 0);
    while taken.len() < count {
        let next = tokio::time::timeout(WAIT, reader.next(count - taken.len())).await.expect("in time");
        for stored in next.expect("readable") {
            taken.push(stored.position.offset);
            owed += u64::from(stored.bare);
        }
    }
    (taken, owed)
}

pub(super) fn settle(reader: &mut Box<dyn Reader>, offsets: &[u64]) {
    let settled: Vec<_> = offsets.iter().map(|o| (*o, Column::Delivered)).collect();
    reader.settle(&settled);
}

/// The store applied everything below `next` and made a checkpoint.
pub(super) fn checkpoint(queue: &EmbeddedQueue, next: u64) {
    queue.feed(next).checkpointed(next);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_target_and_a_stuck_key_keep_their_own_entries_and_not_the_log() {
    let dir = tempfile::tempdir().expect("a directory");
    let queue = open(dir.path(), 40, 1, 3);
    // Target 1 gets everything and is fine but for a stuck key; target 2 gets one in 10,000 and is dead.
    let to = |n: u64| -> &'static [u32] { if n % 10_000 == 5_000 { &[1, 2] } else { &[1] } };
    let mut one = queue.open(TargetNo(1), 0).await.expect("opened");
    let mut stuck = Vec::new();
    let mut written = 0;
    for round in 0..4 {
        append(&queue, round * 10_000..(round + 1) * 10_000, to).await;
        let taken = take(&mut one, 10_000).await;
        let (held, fine): (Vec<_>, Vec<_>) = taken.into_iter().partition(|o| *o % 5_000 == 7);
        stuck.extend(held);
        settle(&mut one, &fine);
        one.flush().await.expect("durable");
        written += 10_000 * 1_400;
        let mut compacted = queue.compacted();
        let before = *compacted.borrow_and_update();
        checkpoint(&queue, queue.stat().durable_end);
        compacted.wait_for(|n| *n > before).await.expect("alive");
    }
    let stat = queue.stat();
    assert_eq!((stat.first, stat.durable_end), (1, 40_001), "nothing was trimmed: both ends are needed");
    assert!(stat.needed_bytes < 12 * SEGMENT, "{stat:?} of {written} bytes written");
    drop(one);
    queue.stop();
    drop(queue);

    let queue = open(dir.path(), 40, 40_001, 3);
    let mut one = queue.open(TargetNo(1), 0).await.expect("opened");
    let mut two = queue.open(TargetNo(2), 0).await.expect("opened");
    assert_eq!(take(&mut one, stuck.len()).await, stuck, "the stuck key's entries, and nothing else");
    assert_eq!(take(&mut two, 4).await.len(), 4);
    for progress in [one.progress(), two.progress()] {
        assert_eq!(progress.books().imbalance(), 0, "{:?}", progress.books());
    }
    assert_eq!((one.progress().books().matched, two.progress().books().matched), (40_000, 4));
    settle(&mut one, &stuck);
    let more = append(&queue, 40_000..40_100, |_| &[1]).await;
    assert_eq!(take(&mut one, 100).await, {
        let mut m = more;
        m.sort_unstable();
        m
    });
    queue.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_accepted_loss_is_counted_as_quarantined_and_the_books_balance() {
    let dir = tempfile::tempdir().expect("a directory");
    let queue = open(dir.path(), 40, 1, 3);
    let offsets = append(&queue, 0..4_000, |n| if n % 2 == 0 { &[1, 2] } else { &[2] }).await;
    let ones: HashSet<u64> = offsets.into_iter().step_by(2).collect();
    let mut one = queue.open(TargetNo(1), 0).await.expect("opened");
    let taken = take(&mut one, 1_000).await;
    // The last hundred taken stay unsettled.
    settle(&mut one, &taken[..900]);
    one.flush().await.expect("durable");
    drop(one);
    queue.stop();
    drop(queue);
    // A whole block in a middle segment, one below target 1's position and one above it.
    let files = segments(&dir.path().join("journal"));
    let hit = taken[950];
    let report = journal::verify(&OsDisk, &dir.path().join("journal"), 0).expect("verified");
    let file = report.files.iter().find(|f| f.first <= hit && hit < f.end).expect("there").file.clone();
    for path in [&dir.path().join("journal").join(&file), files.iter().rev().nth(5).expect("there")] {
        use std::os::unix::fs::FileExt;
        let file = std::fs::File::options().write(true).open(path).expect("opens");
        file.write_all_at(&[0; 200_000], 150_000).expect("written");
    }
    let damage = journal::verify(&OsDisk, &dir.path().join("journal"), 0).expect("verified").damage;
    assert!(damage.len() >= 2, "{damage:?}");
    let within = |o: u64, d: &[Damage]| d.iter().any(|d| d.from <= o && o <= d.to);

    // The server starts, the index is past it; each reader stops where its own next entry may be lost.
    let queue = open(dir.path(), 40, 4_001, 3);
    assert_eq!(queue.damage().borrow().len(), 0, "closed segments are not read at the start");
    let mut two = queue.open(TargetNo(2), 0).await.expect("opened");
    let first = damage.iter().map(|d| d.from).min().expect("some");
    assert_eq!(take(&mut two, first as usize - 1).await, (1..first).collect::<Vec<_>>());
    let stopped = tokio::time::timeout(WAIT, two.next(10)).await.expect("in time");
    assert!(matches!(stopped, Err(ReadError::Corrupt { from, .. }) if from == first), "{stopped:?}");
    assert_eq!(queue.damage().borrow().len(), 1);
    assert_eq!(append(&queue, 4_000..4_001, |_| &[1]).await, [4_001], "changes go on");
    assert_eq!(two.progress().books().imbalance(), 0);
    drop(two);
    queue.stop();
    drop(queue);

    let accept = |range| {
        let (journal, progress) = (dir.path().join("journal"), dir.path().join("progress"));
        repair::accept_loss(&OsDisk, &journal, &progress, range, 4_001, 9, random)
    };
    assert!(accept((first, first)).is_err(), "not all of it");
    let loss = accept((1, 4_000)).expect("accepted");
    let mended = journal::verify(&OsDisk, &dir.path().join("journal"), 0).expect("verified");
    assert_eq!(mended.damage, [], "{damage:?} {:?}", mended.files);
    let queue = open(dir.path(), 40, 4_001, 3);
    for target in [1, 2] {
        let mut reader = queue.open(TargetNo(target), 0).await.expect("opened");
        let before = reader.progress().books();
        let charged = reader.progress().budget().view().charged;
        let (rest, owed) = take_owed(&mut reader, before.backlog as usize).await;
        assert!(rest.iter().all(|o| !within(*o, &damage)));
        settle(&mut reader, &rest);
        let after = reader.progress().budget().view().charged;
        assert_eq!((charged, after), (owed, 0), "target {target}: what is lost is charged no more");
        let books = reader.progress().books();
        assert_eq!((books.imbalance(), books.backlog), (0, 0), "target {target}: {books:?}");
        assert_eq!(books.matched, if target == 1 { 2_001 } else { 4_000 });
        assert_eq!(loss.quarantined.get(&target), Some(&books.quarantined));
        // Exactly those that were lost and not settled before: target 1 has every second one and settled its
        // first 900.
        let lost = (1..=4_000).filter(|o| within(*o, &damage));
        let lost = lost.filter(|o| target == 2 || ones.contains(o) && !taken[..900].contains(o));
        assert_eq!(books.quarantined, lost.count() as u64, "target {target}");
    }
    queue.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_first_file_is_told_to_those_whose_entries_it_held_and_to_nobody_else() {
    let dir = tempfile::tempdir().expect("a directory");
    let queue = open(dir.path(), 40, 1, 2);
    // 256 at a time, in any order among them: none for target 2 can stand in the first file.
    append(&queue, 0..1_000, |n| if n < 512 { &[1] } else { &[1, 2] }).await;
    queue.stop();
    drop(queue);
    std::fs::remove_file(&segments(&dir.path().join("journal"))[0]).expect("removed");
    let queue = open(dir.path(), 40, 1_001, 2);
    let first = queue.stat().first;
    assert!((2..500).contains(&first), "{first}");
    let mut one = queue.open(TargetNo(1), 0).await.expect("opened");
    let told = tokio::time::timeout(WAIT, one.next(10)).await.expect("in time");
    assert!(matches!(told, Err(ReadError::Corrupt { from: 1, to }) if to == first - 1), "{told:?}");
    let mut two = queue.open(TargetNo(2), 0).await.expect("opened");
    assert_eq!(take(&mut two, 488).await.len(), 488);
    for reader in [&one, &two] {
        assert_eq!(reader.progress().books().imbalance(), 0);
    }
    drop((one, two));
    queue.stop();
}

fn segments(dir: &Path) -> Vec<std::path::PathBuf> {
    let all = crate::journal::Disk::list(&OsDisk, dir).expect("listed");
    all.into_iter().filter(|p| p.extension().is_some_and(|e| e == "seg")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_log_refuses_changes_takes_settings_and_heals() {
    let dir = tempfile::tempdir().expect("a directory");
    let queue = open_with(options(dir.path(), 8, PROMPT), 1, 1);
    let mut n = 0;
    let full = loop {
        match queue.reserve(1_000).await {
            Ok(permit) => {
                let body = Bytes::from_static(&[7; 1_000]);
                queue.append(permit, entry(n, &[1]), body).await.expect("appended");
                n += 1;
            }
            // The next segment is being prepared.
            Err(full) if !full.why.contains("queue.max_bytes") => {}
            Err(full) => break full,
        }
    };
    assert_eq!(full.why, "the event log is full: queue.max_bytes is reached");
    let permit = queue.reserve_setting().await.expect("a full log can be administered");
    let change = Change::PauseTarget { target: TargetNo(1), paused: Pause::Operator };
    let setting = Entry { change, event: None, deliveries: vec![], shed: vec![] };
    let paused = queue.append(permit, setting, Bytes::new()).await.expect("appended");
    assert_eq!(paused.offset, n + 1);
    let mut one = queue.open(TargetNo(1), 0).await.expect("opened");
    let taken = take(&mut one, n as usize).await;
    settle(&mut one, &taken);
    one.flush().await.expect("durable");
    queue.reserve(1_000).await.expect_err("the index has no checkpoint yet");
    checkpoint(&queue, n + 2);
    let healed = async { while queue.reserve(1_000).await.is_err() {} };
    tokio::time::timeout(WAIT, healed).await.expect("heals without a restart");
    queue.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_index_cannot_follow_changes_are_refused_and_settings_are_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let queue = open_with(options(dir.path(), 8, PROMPT), 1, 1);
    // Until the first segments stand ready, nothing is accepted anyway.
    while queue.reserve(1).await.is_err() {}
    queue.hold(Some("the index cannot follow".into()));
    assert!(!queue.accepts());
    assert_eq!(queue.reserve(1).await.expect_err("refused").why, "the index cannot follow");
    queue.reserve_setting().await.expect("a setting");
    queue.hold(None);
    queue.reserve(1).await.expect("healed");
    assert!(queue.accepts());
    queue.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_the_entry_does_not_name_is_refused_and_nothing_is_written() {
    let dir = tempfile::tempdir().expect("a directory");
    let queue = open_with(options(dir.path(), 8, PROMPT), 1, 1);
    while queue.reserve(1).await.is_err() {}
    let named = |body| Change::PutObject(ObjectMeta { body, ..ObjectMeta::default() });
    let inline = BodyRef::Inline { crc32c: journal::crc32c(b"another") };
    let blob = BodyRef::Blob { name: "blob".into(), crc32c: 1 };
    for change in [named(BodyRef::Empty), named(inline), named(blob), Change::DeleteObject] {
        let permit = queue.reserve(1_000).await.expect("space");
        let bad = Entry { change, ..entry(0, &[1]) };
        let answer = queue.append(permit, bad, Bytes::from_static(b"body")).await;
        assert!(matches!(answer, Err(AppendError::Refused(_))), "{answer:?}");
    }
    assert_eq!(queue.stat().durable_end, 1, "nothing was written");
    assert_eq!(append(&queue, 0..1, |_| &[1]).await, [1], "and the next one is");
    queue.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_of_few_entries_passes_over_what_is_not_for_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let queue = open(dir.path(), 200, 1, 2);
    let to = |n: u64| -> &'static [u32] { if n % 4_000 == 1_234 { &[1, 2] } else { &[1] } };
    let offsets = append(&queue, 0..20_000, to).await;
    let mine = [1_234, 5_234, 9_234, 13_234, 17_234].map(|n: usize| offsets[n]);
    let near = |next: u64, mine: u64| assert!(next <= mine && next + 256 > mine, "{next} for {mine}");
    // Where it may go on, by what was written in this life: to within one block of the index.
    near(queue.inner.journal.next_with_label(2, 1).expect("there"), mine[0]);
    near(queue.inner.journal.next_with_label(2, mine[0] + 300).expect("there"), mine[1]);
    let mut two = queue.open(TargetNo(2), 0).await.expect("opened");
    assert_eq!(take(&mut two, 5).await, mine);
    drop(two);
    queue.stop();
    drop(queue);

    // A new life knows what the footers say; whoever reads first notes the rest for the others.
    let queue = open(dir.path(), 200, 1, 2);
    assert!(queue.inner.journal.next_with_label(2, 1).expect("there") <= mine[0]);
    let mut one = queue.open(TargetNo(1), 0).await.expect("opened");
    assert_eq!(take(&mut one, 20_000).await, (1..=20_000).collect::<Vec<_>>());
    near(queue.inner.journal.next_with_label(2, mine[1] + 300).expect("there"), mine[2]);
    let mut two = queue.open(TargetNo(2), 0).await.expect("opened");
    assert_eq!(take(&mut two, 5).await, mine);
    for progress in [one.progress(), two.progress()] {
        assert_eq!(progress.books().imbalance(), 0, "{:?}", progress.books());
    }
    queue.stop();
}

/// Everything stays for as long as the test runs.
pub(super) fn retaining(dir: &Path) -> Options {
    let mut options = options(dir, 40, PATIENT);
    (options.journal.retain_bytes, options.journal.retain_age) = (1 << 30, Duration::from_secs(3_600));
    options
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_goes_back_and_counts_what_comes_again_as_repeated() {
    let dir = tempfile::tempdir().expect("a directory");
    let queue = open_with(retaining(dir.path()), 1, 1);
    append(&queue, 0..3_000, |n| if n % 3 == 0 { &[] } else { &[1] }).await;
    let mut one = queue.open(TargetNo(1), 0).await.expect("opened");
    let mine = take(&mut one, 2_000).await;
    let holes = [mine[100], mine[1_900]];
    let settled: Vec<_> = mine.iter().copied().filter(|o| !holes.contains(o)).collect();
    settle(&mut one, &settled);
    one.flush().await.expect("durable");
    checkpoint(&queue, queue.stat().durable_end);
    let too_far = one.rewind(mine[1_999] + 50, false).await;
    assert!(matches!(too_far, Err(RewindError::Nothing { .. })), "{too_far:?}");
    assert!(matches!(one.rewind(0, false).await, Err(RewindError::TooOld { oldest: 1, .. })));

    // The hole below comes first, the one above in its turn; neither is a repetition.
    let rewound = one.rewind(mine[1_000], false).await.expect("it is all there");
    assert_eq!((rewound.from, rewound.until), (mine[1_000], queue.stat().durable_end));
    assert_eq!(queue.stat().floor, holes[0]);
    let expected: Vec<_> = [holes[0]].into_iter().chain(mine[1_000..].iter().copied()).collect();
    let again = take(&mut one, 1_001).await;
    assert_eq!(again, expected);
    assert_eq!(one.progress().replay_of(holes[1]), None);
    assert_eq!(one.progress().replay_of(mine[1_001]), Some(1));
    let books = one.progress().books();
    assert_eq!((books.imbalance(), books.backlog, books.repeated), (0, 2, 0));
    settle(&mut one, &again[..600]);
    one.flush().await.expect("durable");
    drop(one);
    queue.stop();
    drop(queue);

    // Broken off: it goes on where not everything was delivered, and then with what is new.
    let queue = open_with(retaining(dir.path()), 3_001, 1);
    let new = append(&queue, 0..10, |_| &[1]).await;
    let mut one = queue.open(TargetNo(1), 0).await.expect("opened");
    assert_eq!(one.progress().replaying().map(|r| r.from), Some(again[600]));
    let rest = take(&mut one, 401 + 10).await;
    assert_eq!(rest[..401], again[600..]);
    assert_eq!(rest[401..].iter().max(), new.iter().max());
    settle(&mut one, &rest);
    let books = one.progress().books();
    assert_eq!((books.imbalance(), books.delivered, books.repeated), (0, 2_010, 999));
    assert_eq!((books.backlog, one.progress().replaying()), (0, None));
    one.flush().await.expect("durable");
    assert_eq!(queue.stat().floor, 3_001, "only the store's checkpoint holds it now");
    queue.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_goes_back_to_what_compaction_left_out() {
    let dir = tempfile::tempdir().expect("a directory");
    let queue = open(dir.path(), 40, 1, 2);
    let to = |n: u64| -> &'static [u32] { if n % 5_000 == 7 { &[1, 2] } else { &[1] } };
    let mut one = queue.open(TargetNo(1), 0).await.expect("opened");
    for round in 0..3 {
        append(&queue, round * 10_000..(round + 1) * 10_000, to).await;
        let taken = take(&mut one, 10_000).await;
        settle(&mut one, &taken);
        one.flush().await.expect("durable");
        let mut compacted = queue.compacted();
        let before = *compacted.borrow_and_update();
        checkpoint(&queue, queue.stat().durable_end);
        compacted.wait_for(|n| *n > before).await.expect("alive");
    }
    // The last segment may be compacted too, but for what no checkpoint covers.
    append(&queue, 30_000..30_100, to).await;
    let taken = take(&mut one, 100).await;
    settle(&mut one, &taken);
    // Target 2 is dead: its entries are there, and those of target 1 around them are not.
    assert_eq!(queue.stat().first, 1);
    let refused = one.rewind(2, false).await.expect_err("it is not all there");
    let RewindError::TooOld { oldest, .. } = refused else { panic!("{refused}") };
    assert!(refused.to_string().contains(&format!("--from {oldest}")), "{refused}");
    let whole = 30_100 - oldest as usize + 1;
    one.rewind(oldest, false).await.expect("from there on it is");
    assert_eq!(take(&mut one, whole).await, (oldest..=30_100).collect::<Vec<_>>());
    queue.stop();
}
