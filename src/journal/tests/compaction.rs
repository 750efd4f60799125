//! Compaction: what readers need stays, everything else goes, whatever interrupts it.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// Records of label 500 among those appended by [`fill`]: what a slow reader needs.
const RARE: u32 = 500;

/// Appends `records` with 2 KiB bodies; every thousandth has the rare label.
async fn fill(journal: &Arc<Journal<u64>>, records: u64) -> Vec<u64> {
    let mut rare = Vec::new();
    for chunk in 0..records / 100 {
        let tasks: Vec<_> = (chunk * 100..chunk * 100 + 100)
            .map(|n| {
                let journal = Arc::clone(journal);
                let mut new = record(n, 2_000);
                if n % 1_000 == 500 {
                    new.labels.push(RARE);
                }
                tokio::spawn(async move { (n, journal.append(new).await.expect("appended")) })
            })
            .collect();
        for task in tasks {
            let (n, offset) = task.await.expect("ran");
            rare.extend((n % 1_000 == 500).then_some(offset));
        }
    }
    rare
}

fn need(from: u64, labels: impl IntoIterator<Item = (u32, LabelNeed)>) -> NeededFn {
    let needed = Needed { from, labels: labels.into_iter().collect(), whole: Vec::new() };
    Arc::new(move || Some(needed.clone()))
}

fn start(disk: Arc<dyn Disk>, dir: &Path) -> Arc<Journal<u64>> {
    let options = Options { max_bytes: 24 * SEGMENT, ..options(dir) };
    let opened = Opened::open(disk, options, 0).expect("opens");
    assert_eq!(opened.report().damage, []);
    Arc::new(opened.start(Arc::new(Seen::default())).expect("starts"))
}

/// Waits until compaction has nothing more to do.
async fn compacted(journal: &Journal<u64>) {
    let mut done = journal.compacted();
    done.wait_for(|n| *n > 0).await.expect("alive");
}

fn offsets_of(journal: &Journal<u64>, label: u32) -> Vec<u64> {
    let (mut reader, mut found) = (journal.reader(1), Vec::new());
    while reader
        .read_batch(|v| found.extend(v.labels().any(|l| l == label).then_some(v.offset)))
        .expect("readable")
    {}
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_keeps_its_entries_and_not_the_log() {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = start(Arc::new(OsDisk), dir.path());
    let mut rare = fill(&journal, 2_000).await;
    let before = journal.stat();
    assert!(before.segments > 12, "{before:?}");
    // The slow reader has one of them as a hole and is behind the second; label 7, on every record, is
    // settled.
    let checkpoint = before.durable_end;
    let slow = LabelNeed { from: rare[1], holes: vec![rare[0]].into() };
    let all = LabelNeed { from: checkpoint, holes: Arc::default() };
    journal.compact_by(need(checkpoint, [(RARE, slow.clone()), (7, all.clone())]));
    compacted(&journal).await;
    let after = journal.stat();
    assert!(after.needed_bytes < 5 * SEGMENT, "{before:?} {after:?}");
    assert_eq!((after.first, after.durable_end), (1, 2_001));
    // What is open was not touched; of what was closed only the rare ones are left.
    let closed_end = journal.shared.segments.all()[0].known().end;
    assert!(closed_end > 1_500);
    let kept: Vec<_> = read_all(&journal, 1).into_iter().filter(|(o, ..)| *o < closed_end).collect();
    assert_eq!(kept.iter().map(|(o, ..)| *o).collect::<Vec<_>>(), rare);
    assert!(kept.iter().all(|(_, _, body)| *body == 0), "bodyless");
    assert_eq!(
        journal.shared.segments.all()[0].known().counts[&7].here.count,
        closed_end - 1,
        "the books count all"
    );
    // More of the same joins what was compacted before.
    rare.extend(fill(&journal, 2_000).await);
    journal.compact_by(need(journal.stat().durable_end, [(RARE, slow), (7, all)]));
    let mut done = journal.compacted();
    done.wait_for(|n| *n > 1).await.expect("alive");
    assert_eq!(offsets_of(&journal, RARE), rare);
    journal.stop();
    drop(journal);
    let journal = start(Arc::new(OsDisk), dir.path());
    assert_eq!(offsets_of(&journal, RARE), rare, "over a restart");
    assert_eq!(journal.stat().first, 1);
    // When the slow reader has caught up, everything goes.
    journal.trim(journal.stat().durable_end);
    journal.trimmed().wait_for(|n| *n > 0).await.expect("alive");
    assert!(journal.stat().first > 1_500);
    assert_eq!(journal.total_before(7).count, journal.stat().first - 1);
    journal.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_mostly_needed_or_not_checkpointed_or_not_pressing_stays() {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = start(Arc::new(OsDisk), dir.path());
    fill(&journal, 2_000).await;
    // Until every file stands ready, the list of files changes by itself.
    journal.prepared().wait_for(|ready| *ready >= prepare::READY).await.expect("alive");
    let files = segments(dir.path());
    let asked = Arc::new(AtomicU64::new(0));
    let ask = |needed: Needed| {
        let asked = Arc::clone(&asked);
        journal.compact_by(Arc::new(move || {
            asked.fetch_add(1, Ordering::SeqCst);
            Some(needed.clone())
        }));
    };
    let mut looks = journal.compactor_looks();
    let mut look = async |needed: Needed| {
        let before = *looks.borrow_and_update();
        ask(needed);
        looks.wait_for(|seen| *seen > before).await.expect("alive");
    };
    // The index has not checkpointed anything: nobody may lose a body.
    let nothing = Needed { from: 1, labels: BTreeMap::new(), whole: Vec::new() };
    look(nothing.clone()).await;
    assert_eq!(segments(dir.path()), files);
    assert!(asked.load(Ordering::SeqCst) > 0);
    // Nothing presses: nobody is even asked.
    journal.trim(1_900);
    journal.trimmed().wait_for(|n| *n > 10).await.expect("alive");
    look(nothing.clone()).await;
    let before = asked.load(Ordering::SeqCst);
    look(nothing).await;
    assert_eq!(asked.load(Ordering::SeqCst), before);
    journal.stop();
}

/// A disk that stops working after so many changing calls: as if the process had been killed there.
struct Dying {
    calls: AtomicU64,
    last: AtomicU64,
}

impl Dying {
    fn call(&self) -> io::Result<()> {
        let n = self.calls.fetch_add(1, Ordering::SeqCst);
        if n >= self.last.load(Ordering::SeqCst) { Err(io::Error::other("dead")) } else { Ok(()) }
    }
}

struct DyingDisk(Arc<Dying>);
struct DyingFile(Arc<Dying>, Arc<dyn DiskFile>);

impl Disk for DyingDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.0.call()?;
        Ok(Arc::new(DyingFile(Arc::clone(&self.0), OsDisk.create(path)?)))
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(DyingFile(Arc::clone(&self.0), OsDisk.open(path)?)))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.call()?;
        OsDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.call()?;
        OsDisk.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.call()?;
        OsDisk.sync_dir(dir)
    }
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        OsDisk.create_dir_all(dir)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        OsDisk.list(dir)
    }
}

impl DiskFile for DyingFile {
    fn write_at(&self, data: &[u8], at: u64) -> io::Result<()> {
        self.0.call()?;
        self.1.write_at(data, at)
    }
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.1.read_at(buf, at)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.0.call()?;
        self.1.sync_data()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.1.set_len(len)
    }
    fn len(&self) -> io::Result<u64> {
        self.1.len()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compaction_that_is_interrupted_anywhere_loses_nothing() {
    let origin = tempfile::tempdir().expect("a directory");
    let journal = start(Arc::new(OsDisk), origin.path());
    let rare = fill(&journal, 2_000).await;
    journal.stop();
    drop(journal);
    let mut interrupted = 0;
    for last in 0.. {
        let dir = tempfile::tempdir().expect("a directory");
        for file in segments(origin.path()) {
            std::fs::copy(&file, dir.path().join(file.file_name().expect("named"))).expect("copied");
        }
        let dying = Arc::new(Dying { calls: AtomicU64::new(0), last: AtomicU64::new(u64::MAX) });
        let journal = start(Arc::new(DyingDisk(Arc::clone(&dying))), dir.path());
        journal.prepared().wait_for(|n| *n >= prepare::READY).await.expect("alive");
        let checkpoint = journal.stat().durable_end;
        dying.last.store(dying.calls.load(Ordering::SeqCst) + last, Ordering::SeqCst);
        let slow = LabelNeed { from: 1, holes: Arc::default() };
        let mut looks = journal.compactor_looks();
        journal.compact_by(need(checkpoint, [(RARE, slow)]));
        looks.wait_for(|n| *n > 0).await.expect("alive");
        assert_eq!(offsets_of(&journal, RARE), rare, "while it runs, after {last} calls");
        let whole = *journal.compacted().borrow() > 0;
        std::mem::forget(journal);
        let journal = start(Arc::new(OsDisk), dir.path());
        assert_eq!(offsets_of(&journal, RARE), rare, "after {last} calls and a restart");
        assert_eq!(journal.stat().durable_end, checkpoint);
        journal.stop();
        if whole {
            break;
        }
        interrupted += 1;
    }
    assert!(interrupted > 8, "{interrupted} interruptions");
}
