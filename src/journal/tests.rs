//! The journal over real files: order, recovery, damage, recycling.

mod compaction;
mod damage;

use std::path::Path;
use std::sync::Mutex;

use super::*;

const SEGMENT: u64 = 256 << 10;

#[derive(Default)]
struct Seen(Mutex<Vec<(u64, u64)>>);

impl Sink<u64> for Seen {
    fn publish(&self, batch: Vec<Durable<u64>>) {
        lock(&self.0).extend(batch.iter().map(|d| (d.position.offset, d.item)));
    }
}

fn options(dir: &Path) -> Options {
    Options {
        dir: dir.to_owned(),
        segment_bytes: SEGMENT,
        max_bytes: 64 * SEGMENT,
        retain_bytes: 0,
        retain_age: Duration::ZERO,
        first_epoch: 1,
        clock: || 1_000_000,
        random: |b| getrandom::fill(b).map_err(|e| io::Error::other(e.to_string())),
        observer: Arc::new(|_| {}),
    }
}

fn open(dir: &Path) -> (Journal<u64>, Arc<Seen>, Report) {
    try_open(dir, 0).expect("opens")
}

fn try_open(dir: &Path, proven: u64) -> Result<(Journal<u64>, Arc<Seen>, Report), OpenError> {
    let opened = Opened::open(Arc::new(OsDisk), options(dir), proven)?;
    let report = opened.report().clone();
    let seen = Arc::new(Seen::default());
    let journal = opened.start(Arc::clone(&seen) as Arc<dyn Sink<u64>>).expect("starts");
    Ok((journal, seen, report))
}

fn record(n: u64, body: usize) -> NewRecord<u64> {
    let body = bytes::Bytes::from(vec![n as u8 | 0x80; body]);
    let meta = format!("record {n}").into_bytes();
    NewRecord { kind: 1, labels: vec![7, 100 + (n % 3) as u32], meta, body_crc: crc32c(&body), body, item: n }
}

/// What so many records without bodies come to, of those that `of` picks.
fn total(numbers: std::ops::Range<u64>, of: fn(u64) -> bool) -> Total {
    let of = numbers.filter(|n| of(*n)).map(|n| Total { count: 1, bytes: record(n, 0).bare_len() as u64 });
    of.fold(Total::default(), Total::plus)
}

async fn append(journal: &Journal<u64>, n: u64, body: usize) -> u64 {
    journal.append(record(n, body)).await.expect("appended")
}

fn read_all(journal: &Journal<u64>, from: u64) -> Vec<(u64, String, usize)> {
    let mut reader = journal.reader(from);
    let mut all = Vec::new();
    let give = |v: &RecordView<'_>, all: &mut Vec<_>| {
        all.push((v.offset, String::from_utf8_lossy(v.meta).into_owned(), v.body.len()));
    };
    while reader.read_batch(|v| give(v, &mut all)).expect("readable") {}
    all
}

/// Leaves everything as a killed process would, once the threads have nothing more to do.
async fn crash(journal: Journal<u64>) {
    let mut prepared = journal.prepared();
    prepared.wait_for(|ready| *ready >= prepare::READY).await.expect("alive");
    std::mem::forget(journal);
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    OsDisk.list(dir).expect("listed").into_iter().filter(|p| segment::number_of(p).is_some()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_footer_has_room_for_whatever_labels_a_batch_brings() {
    let dir = tempfile::tempdir().expect("a directory");
    let (journal, ..) = open(dir.path());
    let journal = Arc::new(journal);
    // Thousands of labels at once, each for the first time, in records that fill segments to the brim.
    let tasks: Vec<_> = (0..600_u64)
        .map(|n| {
            let journal = Arc::clone(&journal);
            let labels = (0..3).map(|i| (n * 3 + i) as u32).collect();
            tokio::spawn(async move { journal.append(NewRecord { labels, ..record(n, 900) }).await })
        })
        .collect();
    for task in tasks {
        task.await.expect("ran").expect("appended");
    }
    assert!(segments(dir.path()).len() > 3, "it rolled");
    for file in segments(dir.path()) {
        assert_eq!(
            std::fs::metadata(&file).expect("there").len(),
            SEGMENT,
            "nothing was written beyond the end"
        );
    }
    journal.stop();
    drop(journal);
    let opened = Opened::open(Arc::new(OsDisk), options(dir.path()), 0).expect("opens");
    assert_eq!(opened.report().damage, []);
    assert_eq!(opened.totals().len(), 1_800);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_follow_file_order_and_survive_clean_and_unclean_stops() {
    let dir = tempfile::tempdir().expect("a directory");
    let (journal, seen, report) = open(dir.path());
    assert_eq!(report, Report::default());
    let journal = Arc::new(journal);
    let tasks: Vec<_> = (0..2_000)
        .map(|n| {
            let journal = Arc::clone(&journal);
            tokio::spawn(async move { (n, append(&journal, n, 100).await) })
        })
        .collect();
    let mut by_offset = Vec::new();
    for task in tasks {
        let (n, offset) = task.await.expect("ran");
        by_offset.push((offset, n));
    }
    by_offset.sort_unstable();
    assert_eq!(by_offset, *lock(&seen.0), "the sink saw what the callers were told, in offset order");
    assert_eq!(by_offset[0].0, 1);
    journal.stop();
    drop(journal);

    let (journal, _, report) = open(dir.path());
    assert!(report.clean);
    assert_eq!(journal.epoch(), 1);
    let all = read_all(&journal, 1);
    let expected: Vec<_> = by_offset.iter().map(|(o, n)| (*o, format!("record {n}"), 100)).collect();
    assert_eq!(all, expected);
    assert_eq!(append(&journal, 5, 0).await, 2_001);
    // Not stopped: the next start finds an unclean tail, copies it and raises the epoch.
    crash(journal).await;
    let (journal, _, report) = open(dir.path());
    assert!(!report.clean && report.copied > 0);
    assert_eq!(journal.epoch(), 2);
    assert_eq!(read_all(&journal, 2_000).len(), 2);
    assert_eq!(append(&journal, 6, 10).await, 2_002);
    let stat = journal.stat();
    assert_eq!((stat.first, stat.durable_end), (1, 2_003));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_per_label_survive_rolls_recycling_and_restarts() {
    let dir = tempfile::tempdir().expect("a directory");
    let (journal, _, _) = open(dir.path());
    for n in 0..300 {
        append(&journal, n, 8_000).await;
    }
    assert!(segments(dir.path()).len() > 8, "it rolled");
    let first_before = journal.stat().first;
    journal.trim(250);
    journal.trimmed().wait_for(|n| *n > 0).await.expect("alive");
    assert!(journal.stat().first > first_before);
    journal.stop();
    drop(journal);
    let opened = Opened::open(Arc::new(OsDisk), options(dir.path()), 0).expect("opens");
    assert_eq!(opened.totals().get(&7), Some(&total(0..300, |_| true)));
    assert_eq!(opened.totals().get(&100), Some(&total(0..300, |n| n % 3 == 0)));
    assert_eq!(opened.next(), 301);
}

/// Waits for the seal behind the last record: only with it the file itself says that it was synced.
async fn sealed(segment: &Arc<segment::Segment>) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let mut cursor = segment::BatchCursor::start(Arc::clone(segment));
        let mut last = None;
        while let segment::Step::Batch(header, _) = cursor.step().expect("readable") {
            last = Some(header.kind);
        }
        // Where a seal finds no room any more, the footer of the closed file says as much.
        if matches!(last, Some(format::BatchKind::Seal | format::BatchKind::Footer)) {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "the log is never sealed");
        tokio::task::yield_now().await;
    }
}

/// Appends a few records one by one and stops without closing; gives the live file and where its batches
/// begin.
async fn unclean(dir: &Path, records: u64) -> (PathBuf, Vec<u64>) {
    let (journal, _, _) = open(dir);
    for n in 0..records {
        append(&journal, n, 6_000).await;
    }
    let segment = journal.shared.segments.all().pop().expect("one");
    sealed(&segment).await;
    crash(journal).await;
    let mut cursor = segment::BatchCursor::start(Arc::clone(&segment));
    let mut begins = Vec::new();
    loop {
        let at = cursor.pos;
        match cursor.step().expect("readable") {
            segment::Step::Batch(h, _) if h.kind == format::BatchKind::Records => begins.push(at),
            segment::Step::Batch(..) => {}
            segment::Step::Nothing => break,
        }
    }
    (segment.path.clone(), begins)
}

fn damage(path: &Path, at: u64, len: usize) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::options().write(true).open(path).expect("opens");
    file.write_all_at(&vec![0; len], at).expect("written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_full_of_forged_records_is_only_a_body() {
    let dir = tempfile::tempdir().expect("a directory");
    let (journal, _, _) = open(dir.path());
    // A forger knows the format but not the id: whole blocks of batches under a guessed one.
    let id = format::SegmentId::new([0; 16]);
    let mut forged = vec![0; format::BATCH_HEADER];
    let view = RecordView {
        offset: 2,
        epoch: 1,
        kind: 1,
        bodyless: false,
        labels: &[],
        meta: b"forged",
        body: &[],
        body_crc: crc32c(&[]),
    };
    view.encode_into(&id, &mut forged);
    let payload = (forged.len() - format::BATCH_HEADER) as u32;
    let header = format::BatchHeader {
        kind: format::BatchKind::Records,
        payload,
        count: 1,
        first: 2,
        end: 3,
        synced_through: 99,
        epoch: 1,
        time_us: 0,
    };
    header.encode_into(&id, &mut forged);
    forged.resize(format::BLOCK as usize, 0);
    let body = bytes::Bytes::from(forged.repeat(8));
    let mut new = record(0, 0);
    new.body_crc = crc32c(&body);
    new.body = body;
    journal.append(new).await.expect("appended");
    let segment = journal.shared.segments.all().pop().expect("one");
    crash(journal).await;
    // Tear the real batch's header: what follows are the forged ones.
    damage(&segment.path, 2 * format::BLOCK, 4);
    damage(&segment.path, 2 * format::BLOCK + 9 * format::BLOCK, 8_192);
    let (journal, _, _) = open(dir.path());
    assert_eq!(read_all(&journal, 1), vec![]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_budget_prepares_nothing_and_heals_when_trimmed() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = Options { max_bytes: 6 * SEGMENT, ..options(dir.path()) };
    let opened = Opened::open(Arc::new(OsDisk), options, 0).expect("opens");
    let journal: Journal<u64> = opened.start(Arc::new(Seen::default())).expect("starts");
    let (mut prepared, mut blocked) = (journal.prepared(), journal.blocked());
    let mut n = 0;
    loop {
        // As a change does: nothing is handed over while fewer than two files stand ready.
        tokio::select! {
            biased;
            ready = prepared.wait_for(|ready| *ready >= 2) => drop(ready.expect("alive")),
            why = blocked.wait_for(Option::is_some) => {
                assert_eq!(why.expect("alive").as_deref(), Some("queue.max_bytes is reached"));
                break;
            }
        }
        append(&journal, n, 60_000).await;
        n += 1;
    }
    assert!(journal.stat().bytes <= 6 * SEGMENT);
    journal.trim(n);
    journal.trimmed().wait_for(|n| *n > 0).await.expect("alive");
    prepared.wait_for(|ready| *ready >= 3).await.expect("alive");
    assert!(journal.stat().first > 1);
    journal.stop();
}
