//! The frontend over the real store and the real queue in a directory of their own, with every event that was
//! made durable.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::Method;

use super::memory::Memory;
use super::support::{Running, origin_config, server_config, store_config};
use crate::client::Response;
use crate::commit::Commit;
use crate::config;
use crate::event::{Event, Position};
use crate::journal::{self, Disk};
use crate::queue::embedded::{EmbeddedQueue, Options};
use crate::queue::{AppendError, Entry, Full, FullReason, OpenError, Permit, Queue, Reader, TargetNo};
use crate::store::EmbeddedStore;

/// A server without targets.
pub(super) struct Real {
    pub(super) running: Running,
    pub(super) commit: Arc<Commit>,
    pub(super) store: Arc<EmbeddedStore>,
    pub(super) queue: Arc<EmbeddedQueue>,
    events: Arc<Mutex<Vec<Entry>>>,
    clock: fn() -> i64,
    origin: config::Origin,
    /// No change finds space.
    pub(super) full: Arc<AtomicBool>,
    pub(super) dir: tempfile::TempDir,
}

/// The queue, and what went through it.
struct Spy(Arc<EmbeddedQueue>, Arc<Mutex<Vec<Entry>>>, Arc<AtomicBool>);

#[async_trait]
impl Queue for Spy {
    fn partitions(&self) -> u32 {
        1
    }

    async fn reserve(&self, bytes: usize) -> Result<Permit, Full> {
        if self.2.load(Ordering::Acquire) {
            return Err(Full { reason: FullReason::Log, why: "as the test wants it".into() });
        }
        self.0.reserve(bytes).await
    }

    async fn reserve_setting(&self) -> Result<Permit, Full> {
        self.0.reserve_setting().await
    }

    async fn append(&self, permit: Permit, entry: Entry, body: Bytes) -> Result<Position, AppendError> {
        let kept = entry.event.is_some().then(|| entry.clone());
        let position = self.0.append(permit, entry, body).await?;
        self.1.lock().expect("no panic").extend(kept);
        Ok(position)
    }

    async fn open(&self, target: TargetNo, partition: u32) -> Result<Box<dyn Reader>, OpenError> {
        self.0.open(target, partition).await
    }
}

fn open(dir: &Path) -> (Arc<EmbeddedStore>, Arc<EmbeddedQueue>) {
    let disk: Arc<dyn Disk> = Arc::new(journal::OsDisk);
    let options = Options {
        journal: journal::Options {
            dir: dir.join("journal"),
            segment_bytes: 4 << 20,
            max_bytes: 64 << 20,
            retain_bytes: 0,
            retain_age: Duration::ZERO,
            first_epoch: 1,
            clock: || jiff::Timestamp::now().as_microsecond(),
            random: |bytes| getrandom::fill(bytes).map_err(std::io::Error::other),
            observer: Arc::new(|_| {}),
        },
        progress_dir: dir.join("progress"),
        overlay_bytes: 8 << 20,
        tail_bytes: 1 << 20,
        reserve_timeout: Duration::from_secs(5),
    };
    let store = EmbeddedStore::open(Arc::clone(&disk), dir, &store_config()).expect("a store");
    let queue = EmbeddedQueue::open(disk, options, store.checkpoint_next(), store.publisher());
    let queue = Arc::new(queue.expect("a queue"));
    store.start(queue.feed(store.checkpoint_next())).expect("a start");
    queue.readers_complete();
    (store, queue)
}

impl Real {
    /// An empty one with a bucket named `bucket`.
    pub(super) async fn with_bucket() -> Self {
        Self::with_clock(|| jiff::Timestamp::now().as_microsecond()).await
    }

    /// The same whose changes have another clock.
    pub(super) async fn with_clock(clock: fn() -> i64) -> Self {
        Self::new(clock, origin_config()).await
    }

    /// The same with bounds of what is fetched from origins.
    pub(super) async fn with_origin(origin: config::Origin) -> Self {
        Self::new(|| jiff::Timestamp::now().as_microsecond(), origin).await
    }

    async fn new(clock: fn() -> i64, origin: config::Origin) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let real = Self::start(dir, Arc::default(), clock, origin).await;
        let made = real.running.client.create_bucket("bucket").await.expect("answered");
        assert_eq!(made.status, 200, "{made:?}");
        real
    }

    async fn start(
        dir: tempfile::TempDir,
        events: Arc<Mutex<Vec<Entry>>>,
        clock: fn() -> i64,
        origin: config::Origin,
    ) -> Self {
        let (store, queue) = open(dir.path());
        let full = Arc::<AtomicBool>::default();
        let spy = Arc::new(Spy(Arc::clone(&queue), Arc::clone(&events), Arc::clone(&full)));
        let random = fastrand::Rng::with_seed(u64::from(std::process::id()) << 8 | queue.stat().durable_end);
        let commit = Arc::new(Commit::new(spy, Arc::clone(&store) as _, clock, random));
        let memory = Arc::<Memory>::default();
        let limits = config::Limits::default();
        let shared = Arc::clone(&commit);
        let running = Running::start_pulling(server_config(), &limits, &origin, shared, memory).await;
        Self { running, commit, store, queue, events, clock, origin, full, dir }
    }

    /// Stops in order and starts again on the same directory.
    pub(super) async fn restart(self) -> Self {
        let Self { running, commit, store, queue, events, clock, origin, dir, .. } = self;
        running.stop().await;
        drop(commit);
        let closing = tokio::task::spawn_blocking(move || {
            store.stop();
            queue.stop();
        });
        closing.await.expect("no panic");
        Self::start(dir, events, clock, origin).await
    }

    /// Every event, in order.
    pub(super) fn events(&self) -> Vec<Event> {
        self.events.lock().expect("no panic").iter().filter_map(|entry| entry.event.clone()).collect()
    }

    /// The key of every event, and the names of the rules that gave it to somebody, in order.
    pub(super) fn deliveries(&self) -> Vec<(String, Vec<String>)> {
        let of = |entry: &Entry| {
            let key = entry.event.as_ref().map(|event| event.key.to_string()).unwrap_or_default();
            (key, entry.deliveries.iter().map(|to| to.rule.to_string()).collect())
        };
        self.events.lock().expect("no panic").iter().map(of).collect()
    }

    /// Waits until the index shows every change, and a checkpoint every row.
    pub(super) async fn checkpointed(&self) {
        let end = self.queue.stat().durable_end;
        while self.store.checkpoint_next() < end {
            tokio::task::yield_now().await;
        }
    }

    /// How many blob files there are.
    pub(super) fn blob_files(&self) -> usize {
        let Ok(folders) = std::fs::read_dir(self.dir.path().join("blobs")) else { return 0 };
        let files = |folder: std::io::Result<std::fs::DirEntry>| {
            std::fs::read_dir(folder.expect("readable").path()).expect("a folder").count()
        };
        folders.map(files).sum()
    }

    /// One signed request.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Response {
        let client = &self.running.client;
        client.request(method, path, query, headers, body.into()).await.expect("answered")
    }
}
