//! The one path from a verified request to a durable entry: a stand-in over memory, for the frontend's own tests.
//!
//! Must never be served: the real path replaces this file.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;

use crate::event::{Event, EventKind, Position, RequestInfo};
use crate::queue::{BodyRef, ObjectMeta, Permit};
use crate::store::{
    BlobHandle, BlobWriter, BodyStream, Bucket, Object, Place, RegisteredTarget, Store, StoreError,
};

/// The commit path.
pub struct Commit {
    memory: Arc<Memory>,
    store: Arc<dyn Store>,
}

/// One PUT.
pub struct PutObject {
    /// Bucket.
    pub bucket: Arc<str>,
    /// Key.
    pub key: Arc<str>,
    /// Which created event.
    pub kind: EventKind,
    /// Bytes.
    pub size: u64,
    /// ETag without quotes.
    pub etag: Arc<str>,
    /// CRC-64/XZ.
    pub crc64: u64,
    /// Headers to give back.
    pub headers: Vec<(Arc<str>, Arc<str>)>,
    /// The body.
    pub body: NewBody,
    /// Preconditions.
    pub conditions: Conditions,
    /// Who asks.
    pub request: RequestInfo,
}

/// The body of a PUT.
pub enum NewBody {
    /// Small.
    Inline(Bytes),
    /// Large.
    Blob(BlobHandle),
}

/// Preconditions: `*` or an ETag without quotes.
#[derive(Debug, Default)]
pub struct Conditions {
    /// If-Match.
    pub if_match: Option<String>,
    /// If-None-Match.
    pub if_none_match: Option<String>,
}

/// What came of a change.
#[derive(Debug)]
pub struct Committed {
    /// Where it stands.
    pub position: Position,
}

/// Why there was no change.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// 503 SlowDown.
    #[error("full: {0}")]
    Full(String),
    /// 404.
    #[error("no such bucket")]
    NoSuchBucket,
    /// 409.
    #[error("bucket exists")]
    BucketExists {
        /// By the same principal.
        mine: bool,
    },
    /// 409.
    #[error("bucket not empty")]
    BucketNotEmpty,
    /// 412.
    #[error("precondition failed")]
    PreconditionFailed,
    /// 500, outcome unknown.
    #[error("outcome unknown: {0}")]
    Unknown(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the stand-in holds; tests look inside.
#[derive(Default)]
pub struct Memory {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    buckets: BTreeMap<String, Bucket>,
    objects: BTreeMap<(String, String), (Object, Bytes)>,
    blobs: BTreeMap<String, Bytes>,
    events: Vec<Event>,
    open_blobs: usize,
    full: bool,
    unknown: bool,
    reserved: usize,
    largest_write: usize,
}

impl Memory {
    fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        f(&mut self.state.lock().expect("no test panics while it holds the state"))
    }

    /// Events so far.
    pub fn events(&self) -> Vec<Event> {
        self.with(|s| s.events.clone())
    }

    /// Blobs that are being written or that nothing names.
    pub fn stray_blobs(&self) -> usize {
        self.with(|s| s.open_blobs)
    }

    /// How often space was reserved.
    pub fn reserved(&self) -> usize {
        self.with(|s| s.reserved)
    }

    /// From now on there is no space.
    pub fn fill(&self) {
        self.with(|s| s.full = true);
    }

    /// From now on every outcome is unknown.
    pub fn lose_answers(&self) {
        self.with(|s| s.unknown = true);
    }
}

impl Commit {
    /// Over memory.
    pub fn in_memory() -> (Arc<Self>, Arc<Memory>) {
        let memory = Arc::new(Memory::default());
        let store = Arc::new(MemoryStore(Arc::clone(&memory)));
        (Arc::new(Self { memory: Arc::clone(&memory), store }), memory)
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Takes space.
    pub async fn reserve(&self, bytes: usize) -> Result<Permit, CommitError> {
        self.memory.with(|s| {
            s.reserved += 1;
            match s.full {
                true => Err(CommitError::Full("the log is full".into())),
                false => Ok(Permit { bytes: u32::try_from(bytes).unwrap_or(u32::MAX), held: None }),
            }
        })
    }

    /// PUT Object.
    pub async fn put_object(&self, _permit: Permit, put: PutObject) -> Result<Committed, CommitError> {
        if self.memory.with(|s| s.unknown) {
            return Err(CommitError::Unknown("the disk failed".into()));
        }
        self.memory.with(|s| {
            if !s.buckets.contains_key(&*put.bucket) {
                return Err(CommitError::NoSuchBucket);
            }
            let at = (put.bucket.to_string(), put.key.to_string());
            let old = s.objects.get(&at).map(|(o, _)| o.etag.to_string());
            let holds = |want: &str| old.as_deref().is_some_and(|etag| want == "*" || want == etag);
            if put.conditions.if_match.as_deref().is_some_and(|want| !holds(want))
                || put.conditions.if_none_match.as_deref().is_some_and(holds)
            {
                return Err(CommitError::PreconditionFailed);
            }
            let (body, bytes) = match put.body {
                NewBody::Inline(bytes) => (BodyRef::Inline { crc32c: 0 }, bytes),
                NewBody::Blob(mut handle) => {
                    handle.keep();
                    s.open_blobs -= 1;
                    let bytes = s.blobs.get(&*handle.name).cloned().unwrap_or_default();
                    (BodyRef::Blob { name: Arc::clone(&handle.name), crc32c: 0 }, bytes)
                }
            };
            let event = s.event(put.kind, &put.bucket, &put.key, put.size, &put.etag, put.request);
            let object = Object {
                bucket: put.bucket,
                key: put.key,
                size: put.size,
                etag: put.etag,
                modified_us: event.time_us,
                offset: s.events.len() as u64,
                meta: Arc::new(ObjectMeta { body, crc64: put.crc64, headers: put.headers }),
                place: Place::Memory(bytes.clone()),
            };
            s.objects.insert(at, (object, bytes));
            Ok(Committed { position: Position { epoch: 1, offset: s.events.len() as u64 } })
        })
    }

    /// DELETE Object.
    pub async fn delete_object(
        &self,
        _permit: Permit,
        bucket: &str,
        key: &str,
        request: RequestInfo,
    ) -> Result<(), CommitError> {
        self.memory.with(|s| {
            if !s.buckets.contains_key(bucket) {
                return Err(CommitError::NoSuchBucket);
            }
            if s.objects.remove(&(bucket.into(), key.into())).is_some() {
                s.event(EventKind::RemovedDelete, &bucket.into(), &key.into(), 0, &"".into(), request);
            }
            Ok(())
        })
    }

    /// PUT Bucket.
    pub async fn create_bucket(
        &self,
        _permit: Permit,
        name: &str,
        request: RequestInfo,
    ) -> Result<(), CommitError> {
        self.memory.with(|s| {
            if let Some(bucket) = s.buckets.get(name) {
                return Err(CommitError::BucketExists { mine: bucket.owner == request.principal });
            }
            let bucket = Bucket { name: name.into(), created_us: now_us(), owner: request.principal };
            s.buckets.insert(name.into(), bucket);
            Ok(())
        })
    }

    /// DELETE Bucket.
    pub async fn delete_bucket(
        &self,
        _permit: Permit,
        name: &str,
        _request: RequestInfo,
    ) -> Result<(), CommitError> {
        self.memory.with(|s| {
            if !s.buckets.contains_key(name) {
                return Err(CommitError::NoSuchBucket);
            }
            if s.objects.keys().any(|(bucket, _)| bucket == name) {
                return Err(CommitError::BucketNotEmpty);
            }
            s.buckets.remove(name);
            Ok(())
        })
    }
}

fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

impl State {
    fn event(
        &mut self,
        kind: EventKind,
        bucket: &Arc<str>,
        key: &Arc<str>,
        size: u64,
        etag: &Arc<str>,
        request: RequestInfo,
    ) -> Event {
        let event = Event {
            id: uuid::Uuid::now_v7(),
            kind,
            time_us: now_us(),
            bucket: Arc::clone(bucket),
            key: Arc::clone(key),
            version: None,
            size,
            etag: Arc::clone(etag),
            request,
        };
        self.events.push(event.clone());
        event
    }
}

struct MemoryStore(Arc<Memory>);

#[async_trait]
impl Store for MemoryStore {
    fn bucket(&self, name: &str) -> Result<Option<Bucket>, StoreError> {
        Ok(self.0.with(|s| s.buckets.get(name).cloned()))
    }

    fn buckets(&self) -> Result<Vec<Bucket>, StoreError> {
        Ok(self.0.with(|s| s.buckets.values().cloned().collect()))
    }

    fn object(&self, bucket: &str, key: &str) -> Result<Option<Object>, StoreError> {
        Ok(self.0.with(|s| s.objects.get(&(bucket.into(), key.into())).map(|(o, _)| o.clone())))
    }

    fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<Object>, StoreError> {
        Ok(self.0.with(|s| {
            let of_bucket = s.objects.iter().filter(|((b, _), _)| b == bucket);
            let wanted = of_bucket
                .filter(|((_, k), _)| k.starts_with(prefix) && after.is_none_or(|after| k.as_str() > after));
            wanted.take(max).map(|(_, (object, _))| object.clone()).collect()
        }))
    }

    async fn read(&self, object: &Object, range: Range<u64>) -> Result<BodyStream, StoreError> {
        let Place::Memory(bytes) = &object.place else { return Err(StoreError::Gone) };
        let at = |n: u64| usize::try_from(n).expect("an object in memory");
        let bytes = bytes.slice(at(range.start)..at(range.end));
        let pieces: Vec<_> = bytes.chunks(1 << 16).map(|c| Ok(bytes.slice_ref(c))).collect();
        Ok(futures_util::stream::iter(pieces).boxed())
    }

    async fn new_blob(&self) -> Result<Box<dyn BlobWriter>, StoreError> {
        self.0.with(|s| s.open_blobs += 1);
        Ok(Box::new(MemoryBlob { memory: Some(Arc::clone(&self.0)), bytes: BytesMut::new() }))
    }

    fn targets(&self) -> Result<Vec<RegisteredTarget>, StoreError> {
        Ok(Vec::new())
    }
}

struct MemoryBlob {
    memory: Option<Arc<Memory>>,
    bytes: BytesMut,
}

#[async_trait]
impl BlobWriter for MemoryBlob {
    async fn write(&mut self, data: Bytes) -> Result<(), StoreError> {
        if let Some(memory) = &self.memory {
            memory.with(|s| s.largest_write = s.largest_write.max(data.len()));
        }
        self.bytes.extend_from_slice(&data);
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<BlobHandle, StoreError> {
        let memory = self.memory.take().expect("finished once");
        let name = format!("{:032x}", fastrand::u128(..));
        let bytes = std::mem::take(&mut self.bytes).freeze();
        memory.with(|s| s.blobs.insert(name.clone(), bytes));
        let key = name.clone();
        let discard = move || {
            memory.with(|s| {
                s.blobs.remove(&key);
                s.open_blobs -= 1;
            });
        };
        Ok(BlobHandle::new(name.into(), 0, Box::new(discard)))
    }
}

impl Drop for MemoryBlob {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take() {
            memory.with(|s| s.open_blobs -= 1);
        }
    }
}
