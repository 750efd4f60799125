//! Journal, queue, index and packs together, as the server runs them: PUT, overwrite, DELETE, a target that
//! settles.
//!
//! Must never learn from the product what to expect: acknowledgements and what the far side got are noted on
//! the trace, at the moment in which they happened.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt as _;
use tidings::commit::{Commit, CommitError, Conditions, NewBody, PutObject};
use tidings::config;
use tidings::event::{EventKind, EventSet, RequestInfo, VersionId};
use tidings::queue::embedded::{EmbeddedQueue, Options};
use tidings::queue::{Column, Permit, Progress, Queue as _, Reader, Setting, Stored, TargetNo};
use tidings::rules::RuleSet;
use tidings::store::{EmbeddedStore, Object, Store as _, Versioning};

use crate::disk::{Mark, Op, SimDisk};
use crate::rules::{self, body};

/// The one target.
pub const TARGET: TargetNo = TargetNo(1);
pub const BUCKET: &str = "bucket";

/// A server without its listeners.
pub struct Stack {
    pub disk: Arc<SimDisk>,
    pub store: Arc<EmbeddedStore>,
    pub queue: Arc<EmbeddedQueue>,
    pub commit: Commit,
    pub progress: Arc<Progress>,
}

/// The data directory.
pub fn data() -> PathBuf {
    PathBuf::from("/root/data")
}

/// An empty disk with a data directory.
pub fn empty() -> Arc<SimDisk> {
    Arc::new(SimDisk::new(&data()))
}

/// How often the index is made durable.
#[derive(Clone, Copy)]
pub struct Pace(pub Duration);

/// After every batch.
pub const OFTEN: Pace = Pace(Duration::ZERO);
/// Only at the stop.
pub const NEVER: Pace = Pace(Duration::from_secs(3_600));

pub fn options(tail_bytes: u64) -> Options {
    Options {
        journal: rules::options(&data().join("journal")),
        progress_dir: data().join("progress"),
        overlay_bytes: 1 << 20,
        tail_bytes,
        reserve_timeout: Duration::from_secs(5),
    }
}

impl Stack {
    /// Opens, recovers, registers the target if need be. Inside a runtime.
    pub async fn open(disk: &Arc<SimDisk>, pace: Pace) -> Result<Self, String> {
        Self::open_with(disk, pace, options(1 << 20)).await
    }

    pub async fn open_with_tail(disk: &Arc<SimDisk>, pace: Pace, tail_bytes: u64) -> Result<Self, String> {
        Self::open_with(disk, pace, options(tail_bytes)).await
    }

    /// Store and queue as the server opens them, before the targets are known.
    pub fn open_unregistered(
        disk: &Arc<SimDisk>,
        pace: Pace,
    ) -> Result<(Arc<EmbeddedStore>, Arc<EmbeddedQueue>), String> {
        Self::open_parts(disk.disk(), pace, options(1 << 20))
    }

    /// Over something that stands between server and disk; changes that find no space are refused soon.
    pub async fn open_over(
        disk: &Arc<SimDisk>,
        over: Arc<dyn tidings::journal::Disk>,
        pace: Pace,
    ) -> Result<Self, String> {
        let options = Options { reserve_timeout: Duration::from_millis(50), ..options(1 << 20) };
        Self::open_on(disk, over, pace, options).await
    }

    fn open_parts(
        disk: Arc<dyn tidings::journal::Disk>,
        pace: Pace,
        options: Options,
    ) -> Result<(Arc<EmbeddedStore>, Arc<EmbeddedQueue>), String> {
        let config = config::Store {
            max_bytes: None,
            inline_bytes: 64 << 10,
            max_object_bytes: 1 << 30,
            index_cache_bytes: 1 << 20,
            checkpoint_interval: pace.0,
            min_part_bytes: 0,
            upload_expiry: Duration::from_secs(3_600),
            reclaim_rate: 1 << 30,
            scrub_rate: 0,
        };
        let store = EmbeddedStore::open(Arc::clone(&disk), &data(), &config);
        let store = store.map_err(|e| format!("store: {e}"))?;
        let queue = EmbeddedQueue::open(disk, options, store.checkpoint_next(), store.publisher())
            .map_err(|e| format!("queue: {e}"))?;
        store.start(queue.feed(store.checkpoint_next())).map_err(|e| format!("index: {e}"))?;
        Ok((store, Arc::new(queue)))
    }

    pub async fn open_with(disk: &Arc<SimDisk>, pace: Pace, options: Options) -> Result<Self, String> {
        Self::open_on(disk, disk.disk(), pace, options).await
    }

    async fn open_on(
        disk: &Arc<SimDisk>,
        over: Arc<dyn tidings::journal::Disk>,
        pace: Pace,
        options: Options,
    ) -> Result<Self, String> {
        let (store, queue) = Self::open_parts(over, pace, options)?;
        let (again, same) = (Arc::clone(&store), Arc::clone(&queue));
        let opened = Self::open_targets(disk, store, queue).await;
        if opened.is_err() {
            let closing = tokio::task::spawn_blocking(move || {
                again.stop();
                same.stop();
            });
            closing.await.expect("no panic while closing");
        }
        opened
    }

    async fn open_targets(
        disk: &Arc<SimDisk>,
        store: Arc<EmbeddedStore>,
        queue: Arc<EmbeddedQueue>,
    ) -> Result<Self, String> {
        // Names that an earlier life gave are not given again.
        let rng = fastrand::Rng::with_seed(queue.stat().durable_end);
        let commit = Commit::new(
            Arc::clone(&queue) as _,
            Arc::clone(&store) as _,
            || rules::NOW_US.load(Ordering::SeqCst),
            rng,
        );
        let known = store.targets().map_err(|e| e.to_string())?;
        let since = match known.first() {
            Some(target) => target.since,
            None => commit.register_target(TARGET, "target", "http").await.map_err(|e| e.to_string())?.offset,
        };
        let progress = queue.add_reader(TARGET, since).map_err(|e| e.to_string())?;
        queue.readers_complete();
        let rule = |events: &str| config::Rule {
            name: "all".into(),
            bucket: "*".into(),
            events: EventSet::parse(events).expect("a known name"),
            prefix: String::new(),
            suffix: String::new(),
        };
        let kinds = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:ObjectRestore:*"];
        let rules = kinds.map(rule).to_vec();
        commit.set_rules(RuleSet::build(&[(TARGET, rules)]));
        let stack = Self { disk: Arc::clone(disk), store, queue, commit, progress };
        if stack.store.bucket(BUCKET).map_err(|e| e.to_string())?.is_none() {
            let permit = stack.commit.reserve(0).await.map_err(|e| e.to_string())?;
            stack.commit.create_bucket(permit, BUCKET, request(0)).await.map_err(|e| e.to_string())?;
        }
        Ok(stack)
    }

    /// PUT of change `n` with its body in the record, noted on the trace.
    pub async fn put(&self, key: &str, n: u64) -> Result<u64, CommitError> {
        self.disk.mark(Mark::Begun(n));
        let permit = self.commit.reserve(body(n).len()).await?;
        self.put_as(key, n, permit, NewBody::Inline(body(n))).await
    }

    /// The same with its body in a file of its own.
    pub async fn put_blob(&self, key: &str, n: u64) -> Result<u64, CommitError> {
        self.disk.mark(Mark::Begun(n));
        let permit = self.commit.reserve(0).await?;
        let blob = self.blob(body(n)).await?;
        self.put_as(key, n, permit, NewBody::Blob(blob)).await
    }

    /// PUT of change `n` in a bucket with versions, noted on the trace; gives its version.
    pub async fn put_version(&self, key: &str, n: u64, large: bool) -> Result<VersionId, CommitError> {
        let offset = if large { self.put_blob(key, n).await? } else { self.put(key, n).await? };
        assert_eq!(self.newest(key)?.offset, offset, "nobody else changes it");
        Ok(self.newest(key)?.version)
    }

    /// The newest version of a key, which must be there.
    pub fn newest(&self, key: &str) -> Result<Object, CommitError> {
        Ok(self.store.version(BUCKET, key, None)?.expect("it was put").object)
    }

    /// DELETE of a version, or without one, as change `n`, noted on the trace. It must make an event.
    pub async fn remove(&self, key: &str, id: Option<VersionId>, n: u64) -> Result<VersionId, CommitError> {
        self.disk.mark(Mark::Begun(n));
        let permit = self.commit.reserve_removal(0).await?;
        let removed =
            self.commit.delete_object(permit, BUCKET, key, id, Conditions::default(), request(n)).await?;
        let offset = self.queue.stat().durable_end - 1;
        self.disk.mark(Mark::Durable { n, epoch: self.queue.epoch(), offset });
        Ok(removed.version.expect("something was removed"))
    }

    /// Sets the bucket's versioning as change `n`, noted on the trace.
    pub async fn versioning(&self, versioning: Versioning, n: u64) -> Result<(), CommitError> {
        self.disk.mark(Mark::Setting { value: n, durable: false });
        let permit = self.commit.reserve(32).await?;
        let value = versioning.value();
        self.commit.set_bucket_setting(permit, BUCKET, Setting::Versioning, value).await?;
        self.disk.mark(Mark::Setting { value: n, durable: true });
        Ok(())
    }

    /// Every version: key, which change made it (none: a delete marker), its name; bodies checked.
    pub async fn versions(&self) -> Result<Vec<(String, Option<u64>, VersionId)>, String> {
        let mut all = Vec::new();
        for found in self.store.versions(BUCKET, "", None, 1_000).map_err(|e| e.to_string())? {
            let made = if found.marker { None } else { Some(self.read(&found.object).await?) };
            all.push((found.object.key.to_string(), made, found.object.version));
        }
        Ok(all)
    }

    async fn put_as(&self, key: &str, n: u64, permit: Permit, new: NewBody) -> Result<u64, CommitError> {
        let put = self.new_object(key, n, new, request(n));
        let position = self.commit.put_object(permit, put).await?.position;
        self.disk.mark(Mark::Durable { n, epoch: position.epoch, offset: position.offset });
        Ok(position.offset)
    }

    /// An object with the bytes of change `of`.
    pub fn new_object(&self, key: &str, of: u64, body: NewBody, request: RequestInfo) -> PutObject {
        PutObject {
            bucket: BUCKET.into(),
            key: key.into(),
            kind: EventKind::CreatedPut,
            size: rules::body(of).len() as u64,
            etag: of.to_string().into(),
            crc64: 0,
            headers: Vec::new(),
            body,
            conditions: Conditions::default(),
            request,
        }
    }

    /// DELETE as change `n`, noted on the trace. The key must be there.
    pub async fn delete(&self, key: &str, n: u64) -> Result<(), CommitError> {
        self.disk.mark(Mark::Begun(n));
        let permit = self.commit.reserve_removal(0).await?;
        self.commit.delete_object(permit, BUCKET, key, None, Conditions::default(), request(n)).await?;
        // Its position is not told; nothing else was committed meanwhile.
        let offset = self.queue.stat().durable_end - 1;
        self.disk.mark(Mark::Durable { n, epoch: self.queue.epoch(), offset });
        Ok(())
    }

    /// Sets a setting of the bucket, noted on the trace. Values must grow.
    pub async fn set(&self, value: u64) -> Result<(), CommitError> {
        self.disk.mark(Mark::Setting { value, durable: false });
        let permit = self.commit.reserve(32).await?;
        let bytes = value.to_string().into();
        self.commit.set_bucket_setting(permit, BUCKET, Setting::Tagging, Some(bytes)).await?;
        self.disk.mark(Mark::Setting { value, durable: true });
        Ok(())
    }

    /// The value that was set last; 0: none.
    fn setting(&self) -> Result<u64, String> {
        let bucket = self.store.bucket(BUCKET).map_err(|e| e.to_string())?;
        let bucket = bucket.ok_or("the bucket is gone")?;
        let Some(value) = bucket.setting(Setting::Tagging) else { return Ok(0) };
        std::str::from_utf8(value).ok().and_then(|v| v.parse().ok()).ok_or("a setting of nobody".to_owned())
    }

    /// The change that the object under `key` says it is, its body checked.
    pub async fn get(&self, key: &str) -> Result<Option<u64>, String> {
        match self.store.object(BUCKET, key).map_err(|e| e.to_string())? {
            Some(object) => self.read(&object).await.map(Some),
            None => Ok(None),
        }
    }

    async fn read(&self, object: &Object) -> Result<u64, String> {
        let key = &object.key;
        let n: u64 = object.etag.parse().map_err(|_| "an ETag of nobody".to_owned())?;
        let mut stream = self.store.read(object, 0..object.size).await.map_err(|e| format!("{key}: {e}"))?;
        let mut bytes = Vec::new();
        while let Some(part) = stream.next().await {
            bytes.extend_from_slice(&part.map_err(|e| format!("{key}: {e}"))?);
        }
        if bytes == body(n) { Ok(n) } else { Err(format!("{key}: change {n} has another body")) }
    }

    /// The target's reader.
    pub async fn reader(&self) -> Result<Box<dyn Reader>, String> {
        self.queue.open(TARGET, 0).await.map_err(|e| e.to_string())
    }

    /// Ends in order.
    pub async fn stop(self) {
        let closing = tokio::task::spawn_blocking(move || {
            self.store.stop();
            self.queue.stop();
        });
        closing.await.expect("no panic while closing");
    }
}

/// Who asks for change `n`.
pub fn request(n: u64) -> RequestInfo {
    RequestInfo { id: n.to_string().into(), source_ip: None, principal: "me".into(), hops: 0 }
}

/// The change that an event is of.
pub fn change(stored: &Stored) -> u64 {
    let event = stored.entry.event.as_ref().expect("only events have deliveries");
    event.request.id.parse().expect("an id of ours")
}

/// Takes, hands over (noted on the trace), settles; until change `last` came. Gives what came, in order.
pub async fn drain(disk: &SimDisk, reader: &mut Box<dyn Reader>, last: u64) -> Result<Vec<u64>, String> {
    Ok(drain_all(disk, reader, last).await?.0)
}

/// As [`drain`]; says also what the entries that came cost the target's budget, in bytes.
async fn drain_all(
    disk: &SimDisk,
    reader: &mut Box<dyn Reader>,
    last: u64,
) -> Result<(Vec<u64>, u64), String> {
    let (mut came, mut bytes) = (Vec::new(), 0);
    loop {
        let entries = reader.next(64).await.map_err(|e| format!("the reader: {e}"))?;
        for stored in &entries {
            disk.mark(Mark::Delivered(change(stored)));
            came.push(change(stored));
            bytes += u64::from(stored.bare);
        }
        let settled: Vec<_> = entries.iter().map(|s| (s.position.offset, Column::Delivered)).collect();
        reader.settle(&settled);
        if came.contains(&last) {
            return Ok((came, bytes));
        }
    }
}

/// What clients and the far side knew before a cut.
#[derive(Debug, Clone, Default)]
pub struct Story {
    /// What each change does: its key, and whether it removes.
    pub plan: HashMap<u64, (String, bool)>,
    pub begun: Vec<u64>,
    pub acknowledged: BTreeMap<u64, (u64, u32)>,
    pub delivered: Vec<u64>,
    /// The bucket's setting as it was called durable, and as somebody wished it last: values only grow.
    pub setting: u64,
    pub setting_begun: u64,
}

impl Story {
    pub fn pass(&mut self, op: &Op) {
        let Op::Mark(mark) = op else { return };
        match mark {
            Mark::Begun(n) => self.begun.push(*n),
            Mark::Durable { n, epoch, offset } => drop(self.acknowledged.insert(*offset, (*n, *epoch))),
            Mark::Delivered(n) => self.delivered.push(*n),
            Mark::Setting { value, durable: false } => self.setting_begun = *value,
            Mark::Setting { value, durable: true } => self.setting = *value,
            Mark::Floor(_) | Mark::Buried(_) | Mark::Purging(_) => {}
        }
    }

    fn key(&self, n: u64) -> &str {
        &self.plan[&n].0
    }

    fn is_acknowledged(&self, n: u64) -> bool {
        self.acknowledged.values().any(|(m, _)| *m == n)
    }

    /// P3 over everything that ever arrived, and P1 over what was acknowledged.
    pub fn check_deliveries(&self) -> Result<(), String> {
        // Changes are begun one after the other: their numbers are their order.
        let mut furthest: HashMap<&str, u64> = HashMap::new();
        for n in &self.delivered {
            if !self.begun.contains(n) {
                return Err(format!("P2: {n} arrived and was never sent"));
            }
            let far = furthest.entry(self.key(*n)).or_default();
            let skipped = self.acknowledged.values().map(|(m, _)| *m);
            let skipped = skipped.filter(|m| *m > *far && m < n && self.key(*m) == self.key(*n)).count();
            if skipped > 0 {
                return Err(format!("P3: {n} arrived before {skipped} earlier changes of its key"));
            }
            *far = (*far).max(*n);
        }
        match self.acknowledged.values().find(|(n, _)| !self.delivered.contains(n)) {
            Some((n, _)) => {
                let (got, all) = (&self.delivered, self.acknowledged.values().map(|(n, _)| n));
                let all = all.collect::<Vec<_>>();
                Err(format!(
                    "P1: {n} was acknowledged and never arrived; arrived: {got:?}, acknowledged: {all:?}"
                ))
            }
            None => Ok(()),
        }
    }
}

/// Opens what a power cut left and judges it. Ends everything in order.
pub fn judge(disk: &Arc<SimDisk>, story: &Story) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|e| e.to_string())?;
    let judged = async {
        let stack = Stack::open(disk, NEVER).await?;
        let result = judge_open(&stack, story).await;
        stack.stop().await;
        result
    };
    runtime
        .block_on(async { tokio::time::timeout(Duration::from_secs(20), judged).await })
        .unwrap_or_else(|_| Err("it hangs".to_owned()))
}

async fn judge_open(stack: &Stack, story: &Story) -> Result<(), String> {
    let mut keys: Vec<&str> = story.plan.values().map(|(key, _)| key.as_str()).collect();
    keys.sort_unstable();
    keys.dedup();
    for key in keys {
        let of_key = |n: &&u64| story.key(**n) == key;
        let last = story.begun.iter().filter(of_key).filter(|n| story.is_acknowledged(**n)).max();
        let maybe = story.begun.iter().filter(of_key).filter(|n| last.is_none_or(|last| *n >= last));
        let mut legal: Vec<Option<u64>> = maybe.map(|n| (!story.plan[n].1).then_some(*n)).collect();
        if last.is_none() {
            legal.push(None);
        }
        let found = stack.get(key).await?;
        if !legal.contains(&found) {
            return Err(format!("P1: {key} holds {found:?}, legal are {legal:?}"));
        }
    }
    let setting = stack.setting()?;
    if setting < story.setting || setting > story.setting_begun {
        return Err(format!(
            "P1: the setting is {setting}, told {} to {}",
            story.setting, story.setting_begun
        ));
    }
    let probe = 900_000_000;
    let mut story = story.clone();
    story.plan.insert(probe, ("probe".to_owned(), false));
    story.begun.push(probe);
    let offset = stack.put("probe", probe).await.map_err(|e| format!("a change is refused: {e}"))?;
    let epoch = stack.queue.epoch();
    if let Some((offset, (n, before))) =
        story.acknowledged.iter().find(|(o, (_, e))| (epoch, offset) <= (*e, **o))
    {
        return Err(format!("P4: {before}/{offset} was given to {n}, and then {epoch} goes on below it"));
    }
    let mut reader = stack.reader().await?;
    let charged = || stack.progress.budget().view().charged;
    let before = charged();
    let (came, owed) = drain_all(&stack.disk, &mut reader, probe).await?;
    if (before, charged()) != (owed, 0) {
        return Err(format!("P8: {before} bytes were charged for {owed} not settled, {} after", charged()));
    }
    story.delivered.extend(came);
    story.check_deliveries()?;
    let books = stack.progress.books();
    let ever = u64::try_from(story.acknowledged.len()).unwrap_or(0) + 1;
    if books.imbalance() != 0 || books.backlog + books.held != 0 || books.matched < ever {
        return Err(format!("P8: {books:?} after {ever} acknowledged changes"));
    }
    Ok(())
}
