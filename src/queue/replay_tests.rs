//! Replays that are broken off: by the lane that takes the place of another, and by the end of the process.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::super::dispatcher::Routes;
use super::super::embedded::EmbeddedQueue;
use super::super::tests::{append, open_over, open_with, retaining, settle, take};
use super::super::{Queue as _, Reader, TargetNo, dead};
use super::*;
use crate::journal::{self, Disk, DiskFile, OsDisk};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_goes_back_beyond_where_it_was_and_is_replaced_takes_nothing_twice() {
    let dir = tempfile::tempdir().expect("a directory");
    let queue = open_with(retaining(dir.path()), 1, 1);
    append(&queue, 0..1_000, |_| &[1]).await;
    let mut one = queue.open(TargetNo(1), 0).await.expect("opened");
    let mine = take(&mut one, 1_000).await;
    settle(&mut one, &mine);
    one.rewind(mine[500], false).await.expect("it is all there");
    append(&queue, 1_000..1_100, |_| &[1]).await;
    // One repetition is not delivered; the reader comes to what is new, and one of that is a dead letter.
    let again = take(&mut one, 600).await;
    assert_eq!(again[..500], mine[500..]);
    let new = &again[500..];
    let (stuck, open, dead) = (mine[600], new[40], new[50]);
    let settled: Vec<_> = again.iter().copied().filter(|o| ![stuck, open, dead].contains(o)).collect();
    settle(&mut one, &settled);
    bury(&queue, one.as_ref(), dead).await;
    one.flush().await.expect("durable");
    let books = one.progress().books();
    assert_eq!((books.imbalance(), books.matched, books.backlog, books.dead_lettered), (0, 1_100, 1, 1));
    // Killed here, the next process goes over the same: everything up to where the row says it was.
    let row = one.progress().row(queue.stat().durable_end);
    let routes = Routes::new(row.position);
    let killed = Progress::new(TargetNo(1), &row, journal::Total::default(), 0, &routes);
    assert_eq!(killed.replaying(), Some(Rewound { from: stuck, until: new[99] + 1, rematch: false }));
    drop(one);

    let expected: Vec<_> = (stuck..=new[99]).filter(|o| *o != dead).collect();
    let mut one = queue.open(TargetNo(1), 0).await.expect("opened by the next lane");
    assert_eq!(take(&mut one, expected.len()).await, expected);
    assert_eq!(one.progress().replay_of(open), None);
    let books = one.progress().books();
    assert_eq!((books.imbalance(), books.backlog, books.delivered), (0, 1, 1_098));
    one.flush().await.expect("durable");
    drop(one);
    queue.stop();
    drop(queue);

    let queue = open_with(retaining(dir.path()), 1_101, 1);
    let mut one = queue.open(TargetNo(1), 0).await.expect("opened by the next process");
    let again = take(&mut one, expected.len()).await;
    assert_eq!(again, expected);
    settle(&mut one, &again);
    let books = one.progress().books();
    assert_eq!((books.imbalance(), books.delivered, books.dead_lettered, books.backlog), (0, 1_099, 1, 0));
    assert_eq!(one.progress().replaying(), None);
    queue.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_purged_does_not_come_back_when_the_dead_letters_are_written_anew() {
    let dir = tempfile::tempdir().expect("a directory");
    let queue = open_with(retaining(dir.path()), 1, 1);
    append(&queue, 0..100, |_| &[1]).await;
    let mut one = queue.open(TargetNo(1), 0).await.expect("opened");
    let mine = take(&mut one, 100).await;
    let letters = queue.dead_letters(TargetNo(1)).expect("added");
    // So much that a purge leaves a file which is mostly waste.
    for stored in one.lookup().read(&mine[..50]).await.expect("read") {
        let letter = dead::Letter::of(&stored, TargetNo(1)).expect("an event");
        letters.bury(dead::Letter { text: "x".repeat(60_000).into(), ..letter });
    }
    while letters.status().letters < 50 {
        letters.arrived().await;
    }
    settle(&mut one, &mine[50..]);
    one.flush().await.expect("durable");
    letters.purge(dead::Selection::Fitting(dead::Filter::default())).await.expect("purged");
    letters.quiesce().await;
    let file = dir.path().join("dead-letters/00000001.dead");
    assert!(file.metadata().expect("there").len() < 100_000, "it was not written anew");
    one.rewind(mine[0], false).await.expect("it is all there");
    assert_eq!(take(&mut one, 50).await, mine[50..], "purged is for good");
    queue.stop();
}

/// Makes an entry that the reader took a dead letter.
async fn bury(queue: &EmbeddedQueue, one: &dyn Reader, offset: u64) {
    let letters = queue.dead_letters(TargetNo(1)).expect("added");
    let stored = one.lookup().read(&[offset]).await.expect("read");
    letters.bury(dead::Letter::of(&stored[0], TargetNo(1)).expect("an event"));
    let mut news = Vec::new();
    while news.is_empty() {
        letters.arrived().await;
        letters.news(&mut news);
    }
}

/// The operating system's disk, which has no space for progress while it is told so.
#[derive(Clone, Default)]
struct Full(Arc<AtomicBool>);

struct FullFile(Arc<dyn DiskFile>, Option<Full>);

impl Full {
    fn wrap(&self, path: &Path, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        let is_row = path.components().any(|part| part.as_os_str() == "progress");
        Arc::new(FullFile(file, is_row.then(|| self.clone())))
    }
}

impl Disk for Full {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.wrap(path, OsDisk.create(path)?))
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.wrap(path, OsDisk.open(path)?))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        OsDisk.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        OsDisk.sync_dir(dir)
    }
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        OsDisk.create_dir_all(dir)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        OsDisk.list(dir)
    }
}

impl DiskFile for FullFile {
    fn write_at(&self, data: &[u8], at: u64) -> io::Result<()> {
        match &self.1 {
            Some(full) if full.0.load(Ordering::SeqCst) => Err(io::ErrorKind::StorageFull.into()),
            _ => self.0.write_at(data, at),
        }
    }
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.0.read_at(buf, at)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
}

/// No row can say that it goes back: then it does not, and gives what comes next, once there is space and
/// before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_cannot_go_back_durably_goes_on_where_it_was() {
    let (dir, full) = (tempfile::tempdir().expect("a directory"), Full::default());
    let queue = open_over(Arc::new(full.clone()), retaining(dir.path()), 1, 1);
    append(&queue, 0..100, |_| &[1]).await;
    let mut one = queue.open(TargetNo(1), 0).await.expect("opened");
    let mine = take(&mut one, 100).await;
    let (open, rest) = mine.split_last().expect("100");
    settle(&mut one, rest);
    one.flush().await.expect("durable");
    // Attached, with something in its inbox.
    let waiting = append(&queue, 100..103, |_| &[1]).await;
    full.0.store(true, Ordering::SeqCst);
    for rematch in [false, true] {
        let refused = one.rewind(mine[10], rematch).await;
        assert!(matches!(refused, Err(RewindError::NotDurable(_))), "{refused:?}");
        assert_eq!(one.progress().replaying(), None);
    }
    let more = append(&queue, 103..110, |_| &[1]).await;
    let mut next = [waiting, more].concat();
    next.sort_unstable();
    assert_eq!(take(&mut one, 10).await, next, "nothing was given again");
    settle(&mut one, &[&[*open], &next[..4]].concat());
    let books = one.progress().books();
    assert_eq!((books.imbalance(), books.delivered, books.repeated), (0, 104, 0), "{books:?}");
    // Going back once more while it goes back: it stays where the first one had brought it.
    full.0.store(false, Ordering::SeqCst);
    one.rewind(mine[10], false).await.expect("there is space again");
    assert_eq!(take(&mut one, 5).await, mine[10..15]);
    settle(&mut one, &mine[10..15]);
    full.0.store(true, Ordering::SeqCst);
    one.rewind(mine[0], false).await.expect_err("no space");
    assert_eq!(one.progress().replaying().map(|r| r.from), Some(mine[15]));
    full.0.store(false, Ordering::SeqCst);
    assert_eq!(take(&mut one, 85).await, mine[15..]);
    queue.stop();
}
