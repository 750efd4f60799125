//! The store: index and body access, for whatever serves reads.
//!
//! Must never make a change durable: every change goes through `commit.rs` and the queue; a store applies.

mod bodies;
mod bucket;
mod embedded;
mod error;
mod finding;
mod upload;

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;

pub use bodies::BodyBytes;
pub use bucket::Bucket;
pub use embedded::{EmbeddedStore, Status, verify};
pub use error::StoreError;
pub use finding::{Finding, FindingKind, Inspection, Orphan, ScrubStatus};
pub use upload::{Done, Upload, UploadsAfter};

use crate::config::Budget;
use crate::queue::{NewPart, ObjectMeta, Piece, TargetNo, UploadId};

/// Index and body access. At most 14 methods. A store that takes no uploads keeps the defaults, which show
/// none.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The bucket with this name.
    fn bucket(&self, name: &str) -> Result<Option<Bucket>, StoreError>;

    /// Every bucket, by name.
    fn buckets(&self) -> Result<Vec<Bucket>, StoreError>;

    /// The current object under this key, as of the newest durable change.
    fn object(&self, bucket: &str, key: &str) -> Result<Option<Object>, StoreError>;

    /// Current objects of a bucket in key order (bytewise), from `after` (exclusive), with `prefix`, at most
    /// `max`.
    fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<Object>, StoreError>;

    /// The bytes of an object. A reader whose file is gone looks the row up again by itself.
    async fn read(&self, object: &Object, range: Range<u64>) -> Result<BodyStream, StoreError>;

    /// Starts a blob for a body too large to travel in a record. Invisible until a record names it.
    async fn new_blob(&self) -> Result<Box<dyn BlobWriter>, StoreError>;

    /// The pieces of an object that was uploaded in parts, in order; empty for every other object.
    async fn pieces(&self, _object: &Object) -> Result<Vec<Piece>, StoreError> {
        Ok(Vec::new())
    }

    /// The upload with this id: open, or done and remembered for a while.
    fn upload(&self, _id: UploadId) -> Result<Option<Upload>, StoreError> {
        Ok(None)
    }

    /// Parts of an open upload, by number, from above `after`, at most `max`.
    fn parts(&self, _id: UploadId, _after: u16, _max: usize) -> Result<Vec<Arc<NewPart>>, StoreError> {
        Ok(Vec::new())
    }

    /// Open uploads of a bucket, by key and then by id, at most `max`.
    fn uploads(
        &self,
        _bucket: &str,
        _prefix: &str,
        _after: Option<&UploadsAfter>,
        _max: usize,
    ) -> Result<Vec<Upload>, StoreError> {
        Ok(Vec::new())
    }

    /// Open and remembered uploads that the index shows, oldest first, from above `after`, at most `max`.
    fn oldest_uploads(&self, _after: Option<UploadId>, _max: usize) -> Result<Vec<Upload>, StoreError> {
        Ok(Vec::new())
    }

    /// Every target that was ever registered.
    fn targets(&self) -> Result<Vec<RegisteredTarget>, StoreError>;
}

/// The bytes of a blob's name; none if the text is not one.
pub fn blob_name(text: &str) -> Option<[u8; 16]> {
    let mut name = [0; 16];
    hex::decode_to_slice(text, &mut name).ok().map(|()| name)
}

/// The bytes of an object, in order.
pub type BodyStream = BoxStream<'static, Result<Bytes, StoreError>>;

/// One blob being written. Dropped without `finish`, its file is removed.
#[async_trait]
pub trait BlobWriter: Send {
    /// Appends bytes.
    async fn write(&mut self, data: Bytes) -> Result<(), StoreError>;

    /// Makes the blob durable (file and directory) and returns its random name and the CRC-32C of its bytes.
    /// From here on the caller decides: a record names it, or [`BlobHandle::discard`].
    async fn finish(self: Box<Self>) -> Result<BlobHandle, StoreError>;
}

/// A durable blob that no record names yet.
///
/// Dropped before [`BlobHandle::keep`], its file is removed; after it, nothing removes it.
pub struct BlobHandle {
    /// The random name, 32 hex digits.
    pub name: Arc<str>,
    /// CRC-32C of the bytes.
    pub crc32c: u32,
    discard: Option<Box<dyn FnOnce() + Send>>,
}

impl BlobHandle {
    /// A handle that runs `discard` when dropped unkept.
    pub fn new(name: Arc<str>, crc32c: u32, discard: Box<dyn FnOnce() + Send>) -> Self {
        Self { name, crc32c, discard: Some(discard) }
    }

    /// The record that names the blob is about to be handed to the writer: from here on nothing removes it.
    pub fn keep(&mut self) {
        self.discard = None;
    }
}

impl Drop for BlobHandle {
    fn drop(&mut self) {
        if let Some(discard) = self.discard.take() {
            discard();
        }
    }
}

impl std::fmt::Debug for BlobHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlobHandle").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A current object.
#[derive(Debug, Clone)]
pub struct Object {
    /// Its bucket.
    pub bucket: Arc<str>,
    /// Its key.
    pub key: Arc<str>,
    /// Bytes.
    pub size: u64,
    /// The ETag without quotes.
    pub etag: Arc<str>,
    /// When it was committed, in microseconds since the Unix epoch.
    pub modified_us: i64,
    /// The offset of the change that made it.
    pub offset: u64,
    /// Headers, checksums and where the body is.
    pub meta: Arc<ObjectMeta>,
    /// Where the store finds the bytes; only the store reads it.
    pub(crate) place: Place,
}

/// Where the store finds an object's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// In memory (the body, or the manifest): not applied to the index yet, or empty.
    Memory(Bytes),
    /// In a pack file: the body, or the manifest.
    Pack {
        /// The pack's number.
        pack: u32,
        /// Where the bytes begin.
        at: u64,
    },
    /// In a blob file of its own.
    Blob,
}

/// A target in the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredTarget {
    /// Its number, never reused.
    pub target: TargetNo,
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Its connector's kind.
    pub kind: Arc<str>,
    /// The offset of the entry that registered it: its lane starts there.
    pub since: u64,
    /// Paused by an operator.
    pub paused: bool,
    /// Its budget when it was configured last.
    pub budget: Budget,
    /// Given up by an operator, and how many events it had not got then. Its number and nothing else is kept.
    pub forgotten: Option<u64>,
}

impl RegisteredTarget {
    /// A target as its registration at offset `since` leaves it.
    pub fn new(target: TargetNo, name: &Arc<str>, kind: &Arc<str>, since: u64) -> Self {
        let (name, kind) = (Arc::clone(name), Arc::clone(kind));
        Self { target, name, kind, since, paused: false, budget: Budget::default(), forgotten: None }
    }
}
