//! The store: index and body access, for whatever serves reads.
//!
//! Must never make a change durable: every change goes through `commit.rs` and the queue; a store applies.

mod blob;
mod bodies;
mod bucket;
mod embedded;
mod error;
mod finding;
mod restore;
mod upload;
mod version;

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;

pub use blob::{BlobHandle, BlobWriter, blob_name};
pub use bodies::BodyBytes;
pub use bucket::{Bucket, Versioning};
pub use embedded::{EmbeddedStore, Status, checkpoint_end, verify};
pub use error::StoreError;
pub use finding::{Finding, FindingKind, Inspection, Orphan, ScrubStatus};
pub use restore::{DueRestore, Restores};
pub use upload::{Done, Upload, UploadsAfter};
pub use version::{ObjectVersion, VersionsAfter};

use crate::config::Budget;
use crate::event::VersionId;
use crate::queue::{NewPart, ObjectMeta, Pause, Piece, TargetNo, UploadId};

/// Index and body access. At most 14 methods, beside restores. A store that takes no uploads keeps the
/// defaults, which show none; so does one without versions, which shows each object as its only one.
#[async_trait]
pub trait Store: Restores + Send + Sync + 'static {
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

    /// The version of a key with this name; without a name the newest, which may be a delete marker.
    fn version(
        &self,
        bucket: &str,
        key: &str,
        id: Option<VersionId>,
    ) -> Result<Option<ObjectVersion>, StoreError> {
        let object = self.object(bucket, key)?.filter(|_| id.is_none_or(|id| id == VersionId::Null));
        Ok(object.map(ObjectVersion::only))
    }

    /// Every version of every key of a bucket in key order (bytewise), those of a key the newest first, with
    /// `prefix`, from behind `after`, at most `max`.
    fn versions(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&VersionsAfter>,
        max: usize,
    ) -> Result<Vec<ObjectVersion>, StoreError> {
        let objects = self.list(bucket, prefix, after.map(|after| &*after.key), max)?;
        Ok(objects.into_iter().map(ObjectVersion::only).collect())
    }

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

/// The bytes of an object, in order.
pub type BodyStream = BoxStream<'static, Result<Bytes, StoreError>>;

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
    /// Its version's name; the null version in a bucket that never had versioning.
    pub version: VersionId,
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
    /// Whether it is given events.
    pub paused: Pause,
    /// Its budget when it was configured last.
    pub budget: Budget,
    /// Given up by an operator, and how many events it had not got then. Its number and nothing else is kept.
    pub forgotten: Option<u64>,
}

impl RegisteredTarget {
    /// A target as its registration at offset `since` leaves it.
    pub fn new(target: TargetNo, name: &Arc<str>, kind: &Arc<str>, since: u64) -> Self {
        let (name, kind) = (Arc::clone(name), Arc::clone(kind));
        Self { target, name, kind, since, paused: Pause::No, budget: Budget::default(), forgotten: None }
    }
}
