//! Tests of the embedded store over a queue that is a list in memory and a disk that can be full.
//!
//! Must never sleep: every wait ends with the event that it waits for.

mod crash;
mod faults;
mod index_crash;
mod model;
mod reads;
mod restores;
mod scrub;
mod space;
mod verify;
mod versions;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use crc_fast::crc32_iscsi as crc32c;
use futures_util::TryStreamExt as _;
use uuid::Uuid;

use super::{EmbeddedStore, Tuning};
use crate::event::{Event, EventKind, Position, RequestInfo};
use crate::journal::disk::{Disk, DiskFile, OsDisk};
use crate::queue::{BodyRef, Change, Entry, Feed, ObjectMeta, Publish, ReadError, Stored};
use crate::store::{Object, Store, StoreError};

/// No wait of a test takes longer, unless what it waits for never comes.
const DEADLINE: Duration = Duration::from_secs(60);

/// A queue that keeps every entry, as long as the test runs.
#[derive(Default)]
struct Log {
    state: Mutex<LogState>,
    changed: Condvar,
    publisher: Mutex<Option<Arc<dyn Publish>>>,
}

#[derive(Default)]
struct LogState {
    entries: Vec<Arc<Stored>>,
    charged: u64,
    checkpointed: u64,
    stalled: bool,
    /// The entry at this offset cannot be read.
    damaged: Option<u64>,
    /// The feed passes offsets that compaction left out: it gives nothing, once.
    gap: bool,
    /// Bytes of bodies given to the store and not applied yet: the most there ever were.
    given: usize,
    most_given: usize,
    /// Asked when a checkpoint is reported.
    on_checkpoint: Option<Box<dyn FnMut() + Send>>,
    /// What the feed says of segments that no checkpoint covers.
    segments: usize,
}

impl Log {
    fn state(&self) -> MutexGuard<'_, LogState> {
        self.state.lock().unwrap()
    }

    /// Makes one entry durable, as the journal's writer does: published first, then in the log.
    fn push(&self, change: Change, event: Option<Event>, body: Bytes) -> u64 {
        self.push_batch(vec![(change, event, body)])
    }

    fn push_batch(&self, batch: Vec<(Change, Option<Event>, Bytes)>) -> u64 {
        let publisher = self.publisher.lock().unwrap();
        let mut offset = self.state().entries.len() as u64 + 1;
        let mut stored = Vec::new();
        for (change, event, body) in batch {
            let position = Position { epoch: 1, offset };
            let entry = Entry { change, event, deliveries: Vec::new(), shed: Vec::new() };
            let charge = body.len() as u32 + 100;
            stored.push(Arc::new(Stored { position, entry, body, bare: 0, charge }));
            offset += 1;
        }
        if let Some(publisher) = &*publisher {
            publisher.publish(&stored);
        }
        let mut state = self.state();
        state.charged += stored.iter().map(|s| u64::from(s.charge)).sum::<u64>();
        state.entries.extend(stored);
        self.changed.notify_all();
        offset - 1
    }

    fn put(&self, key: &str, body: impl Into<Bytes>) -> u64 {
        let body = body.into();
        let put = put_of(key, &body);
        self.push(put.0, put.1, body)
    }

    fn delete(&self, key: &str) -> u64 {
        self.push(Change::DeleteObject, Some(event(EventKind::RemovedDelete, key, 0)), Bytes::new())
    }

    fn put_blob(&self, key: &str, name: &Arc<str>, crc32c: u32, size: u64) -> u64 {
        let meta = ObjectMeta { body: BodyRef::Blob { name: name.clone(), crc32c }, ..ObjectMeta::default() };
        self.push(Change::PutObject(meta), Some(event(EventKind::CreatedPut, key, size)), Bytes::new())
    }

    /// Waits until `done` says so, woken by everything that the store tells the queue.
    fn wait_until(&self, what: &str, mut done: impl FnMut(&LogState) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        let mut state = self.state();
        while !done(&state) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "never came: {what}");
            state = self.changed.wait_timeout(state, left).unwrap().0;
        }
    }

    fn wait_applied(&self) {
        self.wait_until("everything applied", |s| s.charged == 0);
    }

    fn wait_checkpointed(&self, next: u64) {
        self.wait_until("checkpoint", |s| s.checkpointed >= next);
    }
}

/// The store's reader of a [`Log`].
struct FakeFeed {
    log: Arc<Log>,
    next: u64,
}

impl Feed for FakeFeed {
    fn next(&mut self, max: usize, wait: Duration) -> Result<Vec<Arc<Stored>>, ReadError> {
        let from = self.next as usize - 1;
        let nothing = |s: &mut LogState| s.entries.len() == from && !s.stalled;
        let mut state = self.log.changed.wait_timeout_while(self.log.state(), wait, nothing).unwrap().0;
        if std::mem::take(&mut state.gap) {
            return Ok(Vec::new());
        }
        if state.stalled {
            return Err(ReadError::Corrupt { from: self.next, to: self.next });
        }
        if state.damaged == Some(self.next) {
            return Err(ReadError::Corrupt { from: self.next, to: self.next });
        }
        let whole = |s: &&Arc<Stored>| state.damaged != Some(s.position.offset);
        let taken: Vec<_> = state.entries[from..].iter().take(max).take_while(whole).cloned().collect();
        self.next += taken.len() as u64;
        state.given += taken.iter().map(|s| s.body.len()).sum::<usize>();
        state.most_given = state.most_given.max(state.given);
        Ok(taken)
    }

    fn seek(&mut self, next: u64) {
        self.next = next;
    }

    fn durable_end(&self) -> u64 {
        self.log.state().entries.len() as u64 + 1
    }

    fn applied(&self, charge: u64) {
        let mut state = self.log.state();
        state.charged -= charge;
        state.given = 0;
        drop(state);
        self.log.changed.notify_all();
    }

    fn overlay_bytes(&self) -> u64 {
        64 << 20
    }

    fn segments_from(&self, _: u64) -> usize {
        self.log.state().segments
    }

    fn checkpointed(&self, next: u64) {
        let mut state = self.log.state();
        state.checkpointed = next;
        if let Some(check) = &mut state.on_checkpoint {
            check();
        }
        self.log.changed.notify_all();
    }
}

fn config(checkpoint: Duration) -> crate::config::Store {
    crate::config::Store {
        max_bytes: None,
        inline_bytes: 64 << 10,
        max_object_bytes: 1 << 30,
        index_cache_bytes: 8 << 20,
        checkpoint_interval: checkpoint,
        min_part_bytes: 0,
        upload_expiry: Duration::from_secs(3_600),
        reclaim_rate: 0,
        scrub_rate: 0,
    }
}

/// Opens the store and lets it follow the log.
fn open(log: &Arc<Log>, disk: Arc<dyn Disk>, dir: &Path, checkpoint: Duration) -> Arc<EmbeddedStore> {
    let store = open_only(disk, dir, checkpoint).unwrap();
    start(log, &store);
    store
}

fn open_only(
    disk: Arc<dyn Disk>,
    dir: &Path,
    checkpoint: Duration,
) -> Result<Arc<EmbeddedStore>, StoreError> {
    let tuning = Tuning { pack_bytes: 64 << 10, linger: Duration::ZERO };
    EmbeddedStore::open_with(disk, dir, &config(checkpoint), tuning)
}

/// As [`open`], with space won back from packs as fast as it can be.
fn open_reclaiming(
    log: &Arc<Log>,
    disk: Arc<dyn Disk>,
    dir: &Path,
    checkpoint: Duration,
) -> Arc<EmbeddedStore> {
    let config = crate::config::Store { reclaim_rate: 1 << 40, ..config(checkpoint) };
    let tuning = Tuning { pack_bytes: 64 << 10, linger: Duration::ZERO };
    let store = EmbeddedStore::open_with(disk, dir, &config, tuning).unwrap();
    start(log, &store);
    store
}

fn start(log: &Arc<Log>, store: &EmbeddedStore) {
    *log.publisher.lock().unwrap() = Some(store.publisher());
    let next = store.checkpoint_next();
    // What this run applies again was charged again.
    let again = log.state().entries[next as usize - 1..].iter().map(|s| u64::from(s.charge)).sum();
    log.state().charged = again;
    store.start(Box::new(FakeFeed { log: log.clone(), next })).unwrap();
}

const NEVER: Duration = Duration::from_secs(3600);
const ALWAYS: Duration = Duration::ZERO;

fn os() -> Arc<dyn Disk> {
    Arc::new(OsDisk)
}

fn event(kind: EventKind, key: &str, size: u64) -> Event {
    Event {
        id: Uuid::nil(),
        kind,
        time_us: 1_700_000_000_000_000,
        bucket: "b".into(),
        key: key.into(),
        version: None,
        size,
        etag: "00112233445566778899aabbccddeeff".into(),
        request: RequestInfo { id: "r".into(), source_ip: None, principal: "p".into(), hops: 0 },
    }
}

fn put_of(key: &str, body: &Bytes) -> (Change, Option<Event>, Bytes) {
    let place = if body.is_empty() { BodyRef::Empty } else { BodyRef::Inline { crc32c: crc32c(body) } };
    let headers = vec![("content-type".into(), "text/plain".into())];
    let meta = ObjectMeta { body: place, crc64: 7, headers };
    let size = body.len() as u64;
    (Change::PutObject(meta), Some(event(EventKind::CreatedPut, key, size)), body.clone())
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

async fn body(store: &EmbeddedStore, object: &Object) -> Result<Vec<u8>, StoreError> {
    part(store, object, 0..object.size).await
}

async fn part(
    store: &EmbeddedStore,
    object: &Object,
    range: std::ops::Range<u64>,
) -> Result<Vec<u8>, StoreError> {
    let stream = store.read(object, range).await?;
    stream
        .try_fold(Vec::new(), |mut all, run| async move {
            all.extend_from_slice(&run);
            Ok(all)
        })
        .await
}

/// The operating system's disk, with a switch that fills it, the names of files that were written and not
/// synced, and a gate that lets nobody change a file while it is closed.
#[derive(Default, Clone)]
struct TestDisk {
    full: Arc<AtomicBool>,
    unsynced: Arc<Mutex<BTreeSet<PathBuf>>>,
    gate: Arc<RwLock<()>>,
}

struct TestFile {
    inner: Arc<dyn DiskFile>,
    path: PathBuf,
    disk: TestDisk,
}

impl TestDisk {
    fn wrap(&self, path: &Path, inner: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(TestFile { inner, path: path.into(), disk: self.clone() })
    }
}

impl Disk for TestDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let _open = self.gate.read().unwrap();
        let file = OsDisk.create(path)?;
        self.unsynced.lock().unwrap().insert(path.parent().unwrap().into());
        Ok(self.wrap(path, file))
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.wrap(path, OsDisk.open(path)?))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let _open = self.gate.read().unwrap();
        self.unsynced.lock().unwrap().insert(to.parent().unwrap().into());
        OsDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        let _open = self.gate.read().unwrap();
        OsDisk.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.unsynced.lock().unwrap().remove(dir);
        OsDisk.sync_dir(dir)
    }
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        OsDisk.create_dir_all(dir)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        OsDisk.list(dir)
    }
}

impl DiskFile for TestFile {
    fn write_at(&self, data: &[u8], at: u64) -> io::Result<()> {
        let _open = self.disk.gate.read().unwrap();
        if self.disk.full.load(Ordering::Acquire) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.disk.unsynced.lock().unwrap().insert(self.path.clone());
        self.inner.write_at(data, at)
    }
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.inner.read_at(buf, at)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.inner.sync_data()?;
        self.disk.unsynced.lock().unwrap().remove(&self.path);
        Ok(())
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        let _open = self.disk.gate.read().unwrap();
        self.inner.set_len(len)
    }
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
}
