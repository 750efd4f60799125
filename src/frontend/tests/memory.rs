//! A queue and a store in memory beneath the real commit path, with switches for what tests must see happen.
//!
//! Must never be more forgiving than the real ones: what is appended is applied, what is discarded is gone.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;

use crate::commit::Commit;
use crate::event::{Event, Position, VersionId};
use crate::queue::{AppendError, BodyRef, Change, Entry, Full, OpenError, Permit, Queue, Reader, TargetNo};
use crate::store::{
    BlobHandle, BlobWriter, BodyStream, Bucket, Object, Place, RegisteredTarget, Restores, Store, StoreError,
};

/// What is stored, and what tests look at.
#[derive(Default)]
pub(super) struct Memory {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    buckets: BTreeMap<String, Bucket>,
    objects: BTreeMap<(String, String), Object>,
    blobs: BTreeMap<String, Bytes>,
    events: Vec<Event>,
    appended: u64,
    names: u64,
    unnamed_blobs: usize,
    full: bool,
    lost: bool,
    replaced: usize,
    damaged: bool,
    broken: bool,
}

impl Memory {
    /// The real commit path over a fresh memory.
    pub(super) fn commit() -> (Arc<Commit>, Arc<Memory>) {
        let memory = Arc::new(Memory::default());
        let queue = Arc::new(Log(Arc::clone(&memory)));
        let store = Arc::new(Shelf(Arc::clone(&memory)));
        let clock = || jiff::Timestamp::now().as_microsecond();
        (Arc::new(Commit::new(queue, store, clock, fastrand::Rng::with_seed(7))), memory)
    }

    fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        f(&mut self.state.lock().expect("nobody panics while holding the state"))
    }

    /// Everything that happened.
    pub(super) fn events(&self) -> Vec<Event> {
        self.with(|s| s.events.clone())
    }

    /// Blobs that no record names: being written, or left behind.
    pub(super) fn stray_blobs(&self) -> usize {
        self.with(|s| s.unnamed_blobs)
    }

    /// From now on there is no space.
    pub(super) fn fill(&self) {
        self.with(|s| s.full = true);
    }

    /// From now on nobody learns what became of an append.
    pub(super) fn lose_answers(&self) {
        self.with(|s| s.lost = true);
    }

    /// The next `times` reads find that the object was replaced meanwhile.
    pub(super) fn replace_under_readers(&self, times: usize) {
        self.with(|s| s.replaced = times);
    }

    /// From now on the store panics when it is read.
    pub(super) fn break_down(&self) {
        self.with(|s| s.broken = true);
    }

    /// From now on every body is damaged.
    pub(super) fn damage(&self) {
        self.with(|s| s.damaged = true);
    }
}

/// The queue.
struct Log(Arc<Memory>);

#[async_trait]
impl Queue for Log {
    fn partitions(&self) -> u32 {
        1
    }

    async fn reserve(&self, bytes: usize) -> Result<Permit, Full> {
        match self.0.with(|s| s.full) {
            true => Err(Full { reason: crate::queue::FullReason::Log, why: "the log is full".into() }),
            false => Ok(Permit::unbounded(u32::try_from(bytes).expect("a record"))),
        }
    }

    async fn append(&self, permit: Permit, entry: Entry, body: Bytes) -> Result<Position, AppendError> {
        assert!(body.len() <= permit.bytes as usize, "more than was reserved");
        self.0.with(|s| {
            if s.lost {
                return Err(AppendError::Unknown("the disk failed".into()));
            }
            s.appended += 1;
            s.apply(entry, body);
            Ok(Position { epoch: 1, offset: s.appended })
        })
    }

    async fn open(&self, target: TargetNo, _partition: u32) -> Result<Box<dyn Reader>, OpenError> {
        Err(OpenError::Unregistered(target))
    }
}

impl State {
    fn apply(&mut self, entry: Entry, body: Bytes) {
        let version = entry.event.as_ref().and_then(|event| event.version);
        assert!(version.is_none(), "it has no versions");
        match (entry.change, &entry.event) {
            (Change::PutObject(meta), Some(event)) => {
                let bytes = match &meta.body {
                    BodyRef::Blob { name, .. } => {
                        self.unnamed_blobs -= 1;
                        self.blobs.get(&**name).cloned().expect("a record names a finished blob")
                    }
                    _ => body,
                };
                let object = Object {
                    bucket: Arc::clone(&event.bucket),
                    key: Arc::clone(&event.key),
                    size: event.size,
                    etag: Arc::clone(&event.etag),
                    modified_us: event.time_us,
                    offset: self.appended,
                    version: VersionId::Null,
                    meta: Arc::new(meta),
                    place: Place::Memory(bytes),
                };
                self.objects.insert((event.bucket.to_string(), event.key.to_string()), object);
            }
            (Change::DeleteObject, Some(event)) => {
                self.objects.remove(&(event.bucket.to_string(), event.key.to_string()));
            }
            (Change::TagObject(tags), _) => {
                let at = (tags.bucket.to_string(), tags.key.to_string());
                let object = self.objects.get_mut(&at).filter(|object| object.offset == tags.of);
                Arc::make_mut(&mut object.expect("there").meta).set_tags(tags.tags.clone());
            }
            (Change::CreateBucket { bucket, time_us, owner }, _) => {
                let name = bucket.to_string();
                self.buckets.insert(name, Bucket::new(bucket, time_us, owner));
            }
            (Change::SetBucketSetting { bucket, setting, value }, _) => {
                self.buckets.get_mut(&*bucket).expect("a bucket that is there").set(setting, value);
            }
            (Change::DeleteBucket { bucket }, _) => drop(self.buckets.remove(&*bucket)),
            _ => {}
        }
        self.events.extend(entry.event);
    }
}

/// The store.
struct Shelf(Arc<Memory>);

impl Restores for Shelf {}

#[async_trait]
impl Store for Shelf {
    fn bucket(&self, name: &str) -> Result<Option<Bucket>, StoreError> {
        Ok(self.0.with(|s| s.buckets.get(name).cloned()))
    }

    fn buckets(&self) -> Result<Vec<Bucket>, StoreError> {
        Ok(self.0.with(|s| s.buckets.values().cloned().collect()))
    }

    fn object(&self, bucket: &str, key: &str) -> Result<Option<Object>, StoreError> {
        Ok(self.0.with(|s| s.objects.get(&(bucket.into(), key.into())).cloned()))
    }

    fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<Object>, StoreError> {
        let wanted = |(b, k): &(String, String)| {
            b == bucket && k.starts_with(prefix) && after.is_none_or(|after| k.as_str() > after)
        };
        Ok(self.0.with(|s| {
            let found = s.objects.iter().filter(|(at, _)| wanted(at)).take(max);
            found.map(|(_, object)| object.clone()).collect()
        }))
    }

    async fn read(&self, object: &Object, range: Range<u64>) -> Result<BodyStream, StoreError> {
        assert!(!self.0.with(|s| s.broken), "a bug, as asked for");
        let replaced = self.0.with(|s| {
            let replaced = s.replaced > 0;
            s.replaced = s.replaced.saturating_sub(1);
            replaced
        });
        let Place::Memory(bytes) = &object.place else { return Err(StoreError::Gone) };
        if replaced {
            return Err(StoreError::Gone);
        }
        if self.0.with(|s| s.damaged) {
            let (bucket, key) = (Arc::clone(&object.bucket), Arc::clone(&object.key));
            let damaged = StoreError::Damaged { bucket, key, what: "checksum".into() };
            return Ok(futures_util::stream::iter([Err(damaged)]).boxed());
        }
        let at = |n: u64| usize::try_from(n).expect("an object in memory");
        let bytes = bytes.slice(at(range.start)..at(range.end));
        let pieces: Vec<_> = bytes.chunks(1 << 16).map(|c| Ok(bytes.slice_ref(c))).collect();
        Ok(futures_util::stream::iter(pieces).boxed())
    }

    async fn new_blob(&self) -> Result<Box<dyn BlobWriter>, StoreError> {
        self.0.with(|s| s.unnamed_blobs += 1);
        Ok(Box::new(Blob { memory: Some(Arc::clone(&self.0)), bytes: BytesMut::new() }))
    }

    fn targets(&self) -> Result<Vec<RegisteredTarget>, StoreError> {
        Ok(Vec::new())
    }
}

/// A blob being written.
struct Blob {
    memory: Option<Arc<Memory>>,
    bytes: BytesMut,
}

#[async_trait]
impl BlobWriter for Blob {
    async fn write(&mut self, data: Bytes) -> Result<(), StoreError> {
        assert!(data.len() <= 1 << 20, "a frame of {} bytes: memory is not bounded", data.len());
        self.bytes.extend_from_slice(&data);
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<BlobHandle, StoreError> {
        let memory = self.memory.take().expect("finished once");
        let bytes = std::mem::take(&mut self.bytes).freeze();
        let name = memory.with(|s| {
            s.names += 1;
            let name = format!("{:032x}", s.names);
            s.blobs.insert(name.clone(), bytes);
            name
        });
        let key = name.clone();
        let discard = move || {
            memory.with(|s| {
                s.blobs.remove(&key);
                s.unnamed_blobs -= 1;
            });
        };
        Ok(BlobHandle::new(name.into(), 0, Box::new(discard)))
    }
}

impl Drop for Blob {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take() {
            memory.with(|s| s.unnamed_blobs -= 1);
        }
    }
}
