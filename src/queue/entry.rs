//! The entry: what the queue stores. One durable change, the event it makes, and the targets the event is
//! for.
//!
//! Must never hold an object's inline body (it travels beside the entry) nor anything that only one process
//! knows.

use std::sync::Arc;

use bytes::Bytes;

use super::pause::Pause;
use super::restore::RestoreChange;
use super::setting::Setting;
use super::tags::ObjectTags;
use super::upload::{UploadChange, UploadId};
use crate::config::Budget;
use crate::event::{Event, Position, VersionId};

/// The number of a target in the registry: never reused, so that a re-added name is told from a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetNo(pub u32);

/// One durable change of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What changes in the store.
    pub change: Change,
    /// The event it makes; always present for changes of objects and notices, absent for settings.
    pub event: Option<Event>,
    /// Who gets the event: one delivery per target, decided at commit under the rules of that moment.
    pub deliveries: Vec<DeliveryTo>,
    /// Who would have got it and does not, because their budgets were full: decided at commit too.
    pub shed: Vec<DeliveryTo>,
}

impl Entry {
    /// A change that is no event.
    pub fn setting(change: Change) -> Self {
        Self { change, event: None, deliveries: Vec::new(), shed: Vec::new() }
    }
}

/// One target that gets an event, and the rule that said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryTo {
    /// The target.
    pub target: TargetNo,
    /// The name of the first rule that matched: `configurationId` in S3 records.
    pub rule: Arc<str>,
}

/// What an entry does to the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The event's bucket and key now hold this object.
    PutObject(ObjectMeta),
    /// The event's bucket and key now hold the object that this upload has become; the upload is done.
    CompleteUpload {
        /// The upload.
        upload: UploadId,
        /// The object.
        meta: ObjectMeta,
    },
    /// The event's bucket and key hold nothing any more.
    DeleteObject,
    /// An object has other tags from now on.
    TagObject(Arc<ObjectTags>),
    /// A restore of an archived object began, was done, goes on for longer, or is over. The first two are
    /// events.
    Restore(Arc<RestoreChange>),
    /// Something about an upload that is not an object yet.
    Upload(UploadChange),
    /// Nothing: the entry's event is all there is.
    Notice,
    /// A bucket exists from now on.
    CreateBucket {
        /// Its name.
        bucket: Arc<str>,
        /// When, in microseconds since the Unix epoch.
        time_us: i64,
        /// The access key that made it.
        owner: Arc<str>,
    },
    /// A bucket, which was empty, does not exist any more.
    DeleteBucket {
        /// Its name.
        bucket: Arc<str>,
    },
    /// A bucket's setting has this value from now on.
    SetBucketSetting {
        /// The bucket.
        bucket: Arc<str>,
        /// Which of its settings.
        setting: Setting,
        /// The value, in the form that whoever reads this setting knows; none: it is not set any more.
        value: Option<Bytes>,
    },
    /// A target's name has this number from now on, and its lane starts at this entry's offset.
    RegisterTarget {
        /// The number, one above the highest ever given.
        target: TargetNo,
        /// The name in the configuration.
        name: Arc<str>,
        /// The connector's kind: `kafka`, `nats`, `amqp`, `http`.
        kind: Arc<str>,
    },
    /// A target is paused or resumed.
    PauseTarget {
        /// The target.
        target: TargetNo,
        /// So from now on.
        paused: Pause,
    },
    /// A target's connector and its budget are these from now on: what counts while it is not configured.
    ConfigureTarget {
        /// The target.
        target: TargetNo,
        /// The connector's kind.
        kind: Arc<str>,
        /// Its budget.
        budget: Budget,
    },
    /// An operator gave a target up: nothing is kept for it from now on, and its number is never given again.
    ForgetTarget {
        /// The target.
        target: TargetNo,
        /// How many events it had not got.
        unsettled: u64,
    },
}

impl Change {
    /// The object that the change makes, if it makes one.
    pub fn object(&self) -> Option<&ObjectMeta> {
        match self {
            Change::PutObject(meta) | Change::CompleteUpload { meta, .. } => Some(meta),
            _ => None,
        }
    }

    /// Metadata headers of the object that the change is about, as far as it says them.
    pub fn headers(&self) -> &[(Arc<str>, Arc<str>)] {
        match self {
            Change::Restore(change) => &change.headers,
            _ => self.object().map_or(&[], |meta| &meta.headers),
        }
    }

    /// The checksum that travels with an inline body; none if the change does not name this body. A record
    /// whose body does not fit would be damage from the moment in which it is durable.
    pub(super) fn checked_body(&self, body: &[u8]) -> Option<u32> {
        match self.object().map(|meta| &meta.body) {
            Some(BodyRef::Inline { crc32c } | BodyRef::Manifest { crc32c, .. }) => {
                (crate::journal::crc32c(body) == *crc32c).then_some(*crc32c)
            }
            _ => body.is_empty().then_some(0),
        }
    }
}

/// What the store keeps of an object beside what its event says (size, ETag, time).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObjectMeta {
    /// Where the bytes are.
    pub body: BodyRef,
    /// CRC-64/XZ of the whole body (COS's `x-cos-hash-crc64ecma`).
    pub crc64: u64,
    /// Metadata headers to give back as they came: lower-case names (`content-type`, `cache-control`,
    /// `x-amz-meta-…`), in sorted order.
    pub headers: Vec<(Arc<str>, Arc<str>)>,
}

/// Where an object's bytes are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum BodyRef {
    /// Zero bytes long.
    #[default]
    Empty,
    /// Beside the entry in its record (or, once applied to the index, in a pack file).
    Inline {
        /// CRC-32C of the bytes.
        crc32c: u32,
    },
    /// In a blob file of its own.
    Blob {
        /// The file's random name, 32 hex digits.
        name: Arc<str>,
        /// CRC-32C of the bytes.
        crc32c: u32,
    },
    /// In the blobs of its parts. The manifest that names them is where an inline body would be.
    Manifest {
        /// CRC-32C of the manifest.
        crc32c: u32,
        /// Bytes of the manifest.
        bytes: u32,
        /// How many parts there are.
        parts: u16,
    },
}

/// An entry as it stands in the queue, shared by overlay, index and dispatcher without decoding again.
#[derive(Debug)]
pub struct Stored {
    /// Where it stands.
    pub position: Position,
    /// The entry.
    pub entry: Entry,
    /// The inline body, or the manifest: empty unless the change makes an object with [`BodyRef::Inline`] or
    /// [`BodyRef::Manifest`], and always empty where the reader asked for entries without bodies.
    pub body: Bytes,
    /// Bytes of its record without the inline body: what it costs the budget of each of its targets.
    pub bare: u32,
    /// Bytes of the overlay's budget to give back once the index has applied this entry; 0 for entries read
    /// from disk.
    pub charge: u32,
}

impl Stored {
    /// A stable 64-bit hash of bucket and key; 0 for settings. Equal keys have equal hashes; two keys that
    /// collide merely wait for each other.
    pub fn key_hash(&self) -> u64 {
        self.entry.event.as_ref().map_or(0, |e| key_hash(&e.bucket, &e.key))
    }

    /// The version that its event is about.
    pub fn version(&self) -> Option<VersionId> {
        self.entry.event.as_ref()?.version.map(|version| version.id(self.position))
    }

    /// The rule under which `target` gets this event, if it does.
    pub fn rule_for(&self, target: TargetNo) -> Option<&Arc<str>> {
        self.entry.deliveries.iter().find(|d| d.target == target).map(|d| &d.rule)
    }
}

/// A stable 64-bit hash (FNV-1a) of bucket and key, with a NUL between them.
pub fn key_hash(bucket: &str, key: &str) -> u64 {
    let bytes = bucket.bytes().chain([0]).chain(key.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}
