//! The one path from a verified request to a durable entry.
//!
//! ```text
//! permit → body → key lock → preconditions → rules, budgets → append (durable, published) → unlock → answer
//! ```
//!
//! From the lock to the unlock no closing connection can cancel it. Must never answer before
//! the append did, and once a record was handed over must never remove its body nor say that there is no
//! space.

mod bodies;
mod buckets;
mod conditions;
mod detached;
mod error;
mod expire;
mod in_use;
mod noted;
mod only_if;
mod open_uploads;
mod own_rules;
mod quota;
mod remove;
mod replica;
mod restore;
mod tags;
mod timers;
mod uploads;

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{Mutex as AsyncMutex, RwLock as AsyncRwLock};
use uuid::Uuid;

use self::bodies::Bodies;
pub use self::bodies::BodySpace;
pub use self::conditions::Conditions;
use self::detached::Detached;
pub use self::error::CommitError;
pub use self::expire::REMEMBERED;
use self::in_use::{InUse, Ruled};
pub use self::noted::{Noted, Observer};
use self::only_if::Watched;
pub use self::only_if::{KeyWatch, OnlyIf};
use self::open_uploads::OpenUploads;
use self::own_rules::Named;
pub use self::own_rules::{Announce, NamedBy};
use self::quota::Counts;
pub use self::quota::{Quota, Usage};
pub use self::remove::Removed;
pub use self::replica::Replica;
pub use self::restore::{Asked, WantedRestore};
use self::timers::Timers;
pub use self::timers::{LOOK_AGAIN, RestoresEnded};
pub use self::uploads::{BeginUpload, CompleteUpload, Completion, PutPart};
use crate::config::Budget;
use crate::event::{Event, EventKind, Position, RequestInfo, Version, VersionId};
use crate::fail;
use crate::queue::{
    BodyRef, Change, Entry, ObjectMeta, Pause, Permit, Queue, Setting, TargetNo, UploadId, key_hash,
};
use crate::rules::{Matched, RuleSet};
use crate::store::{BlobHandle, Bucket, Store, StoreError};

/// Locks over all keys: two keys that share one merely wait for each other.
const KEY_STRIPES: usize = 4_096;
/// Locks over all buckets.
const BUCKET_STRIPES: usize = 256;
/// Locks over all uploads.
const UPLOAD_STRIPES: usize = 256;

/// The commit path, shared by every request.
pub struct Commit {
    inner: Arc<Inner>,
}

struct Inner {
    queue: Arc<dyn Queue>,
    store: Arc<dyn Store>,
    rules: InUse,
    keys: Vec<AsyncMutex<()>>,
    buckets: Vec<AsyncRwLock<()>>,
    uploads: Vec<AsyncRwLock<()>>,
    open_uploads: OpenUploads,
    bodies: Bodies,
    clock: fn() -> i64,
    random: Mutex<fastrand::Rng>,
    counts: Counts,
    named: Named,
    timers: Timers,
    watched: Watched,
    observer: Observer,
}

/// One PUT whose body is complete and verified.
#[derive(Debug)]
pub struct PutObject {
    /// The bucket's name.
    pub bucket: Arc<str>,
    /// The object's key.
    pub key: Arc<str>,
    /// Which of the created kinds.
    pub kind: EventKind,
    /// Bytes of the body.
    pub size: u64,
    /// The ETag without quotes.
    pub etag: Arc<str>,
    /// CRC-64/XZ of the body.
    pub crc64: u64,
    /// Metadata headers to give back.
    pub headers: Vec<(Arc<str>, Arc<str>)>,
    /// The bytes.
    pub body: NewBody,
    /// What must hold for the object that is there now.
    pub conditions: Conditions,
    /// Who asks.
    pub request: RequestInfo,
}

/// The bytes of a new object.
#[derive(Debug)]
pub enum NewBody {
    /// In memory, to travel in the record.
    Inline(Bytes),
    /// In a durable file of their own.
    Blob(BlobHandle),
}

/// A durable change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Where its entry stands.
    pub position: Position,
    /// When, in microseconds since the Unix epoch.
    pub time_us: i64,
    /// The version that it made or removed; none in a bucket that never had versioning.
    pub version: Option<VersionId>,
}

/// An entry that its targets' budgets took, and the rules that named them: in use until it is appended.
struct Admitted {
    entry: Entry,
    _under: Arc<Ruled>,
}

impl Commit {
    /// A commit path over a queue and the store that applies it.
    pub fn new(
        queue: Arc<dyn Queue>,
        store: Arc<dyn Store>,
        clock: fn() -> i64,
        random: fastrand::Rng,
    ) -> Self {
        let inner = Inner {
            queue,
            store,
            rules: InUse::new(RuleSet::build(&[])),
            keys: (0..KEY_STRIPES).map(|_| AsyncMutex::new(())).collect(),
            buckets: (0..BUCKET_STRIPES).map(|_| AsyncRwLock::new(())).collect(),
            uploads: (0..UPLOAD_STRIPES).map(|_| AsyncRwLock::new(())).collect(),
            open_uploads: OpenUploads::default(),
            bodies: Bodies::default(),
            clock,
            random: Mutex::new(random),
            counts: Counts::default(),
            named: Named::default(),
            timers: Timers::default(),
            watched: Watched::default(),
            observer: Box::new(|_| {}),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The same commit path, before anybody shares it, with somebody who counts.
    pub fn observed_by(mut self, observer: Observer) -> Self {
        Arc::get_mut(&mut self.inner).expect("nobody shares a commit path that is being built").observer =
            observer;
        self
    }

    /// Changes from now on are matched by these rules; what is committed already is not touched.
    pub fn set_rules(&self, rules: RuleSet) {
        self.inner.rules.change(|_| rules);
    }

    /// The same by rules that are made of those of this moment.
    pub fn alter_rules(&self, change: impl FnOnce(&RuleSet) -> RuleSet) {
        self.inner.rules.change(change);
    }

    /// Waits until every change that was matched by earlier rules than those of now is durable, or never will
    /// be: from then on nothing new is for a target that only they named.
    pub async fn earlier_rules_ended(&self) {
        self.inner.rules.earlier_ended().await;
    }

    /// The store behind.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.inner.store
    }

    /// The time, in microseconds since the Unix epoch, as changes have it.
    pub fn now_us(&self) -> i64 {
        (self.inner.clock)()
    }

    /// Takes space for a change with `bytes` of inline body and metadata, before the body is read.
    pub async fn reserve(&self, bytes: usize) -> Result<Permit, CommitError> {
        let reserved = self.inner.queue.reserve(bytes).await;
        Ok(reserved.inspect_err(|full| (self.inner.observer)(Noted::Refused(full.reason)))?)
    }

    /// Takes space for a removal, which is possible where the disk is too full for other changes.
    pub async fn reserve_removal(&self, bytes: usize) -> Result<Permit, CommitError> {
        let reserved = self.inner.queue.reserve_removal(bytes).await;
        Ok(reserved.inspect_err(|full| (self.inner.observer)(Noted::Refused(full.reason)))?)
    }

    /// Makes a new current object.
    pub async fn put_object(&self, permit: Permit, put: PutObject) -> Result<Committed, CommitError> {
        let made = self.put(permit, put, None, None).await?;
        Ok(made.expect("only a replica may be there already"))
    }

    async fn put(
        &self,
        mut permit: Permit,
        put: PutObject,
        only_if: Option<OnlyIf>,
        replica: Option<Replica>,
    ) -> Result<Option<Committed>, CommitError> {
        let inner = Arc::clone(&self.inner);
        Detached::new(async move {
            let within = inner.within(&put.bucket).await?;
            let _key = inner.key_lock(&put.bucket, &put.key).lock().await;
            let version = match &replica {
                None => within.bucket.versioning().of_new(),
                Some(replica) => match inner.place(&within.bucket, &put.key, replica)? {
                    None => return Ok(None),
                    named => named,
                },
            };
            inner.check(&put.bucket, &put.key, &put.conditions)?;
            if only_if.is_some_and(|holds| !holds(&within.bucket)) {
                return Err(CommitError::PreconditionFailed);
            }
            let counted = within.count(&put.key, Some(put.size))?;
            let PutObject { bucket, key, kind, size, etag, crc64, headers, body, request, .. } = put;
            let (body, bytes, blob) = match body {
                NewBody::Inline(bytes) if bytes.is_empty() => (BodyRef::Empty, bytes, None),
                NewBody::Inline(bytes) => {
                    (BodyRef::Inline { crc32c: crate::journal::crc32c(&bytes) }, bytes, None)
                }
                NewBody::Blob(blob) => {
                    let name = Arc::clone(&blob.name);
                    (BodyRef::Blob { name, crc32c: blob.crc32c }, Bytes::new(), Some(blob))
                }
            };
            let event = Event { version, ..inner.event(kind, bucket, key, size, etag, request) };
            let change = Change::PutObject(ObjectMeta { body, crc64, headers });
            let admitted = inner.admit(&within.bucket, &mut permit, change, event)?;
            if let Some(mut blob) = blob {
                // The record is about to be handed over: from here on nothing removes the file.
                blob.keep();
            }
            counted.ended(inner.append_event(permit, admitted, bytes).await).map(Some)
        })
        .await
        .inspect(|_| fail::point("ack.after"))
    }

    /// Gives a target's name its number. The caller makes sure that the number was never given.
    pub async fn register_target(
        &self,
        target: TargetNo,
        name: &str,
        kind: &str,
    ) -> Result<Position, CommitError> {
        let change = Change::RegisterTarget { target, name: name.into(), kind: kind.into() };
        self.setting(change).await
    }

    /// Pauses or resumes a target, durably.
    pub async fn pause_target(&self, target: TargetNo, paused: Pause) -> Result<Position, CommitError> {
        self.setting(Change::PauseTarget { target, paused }).await
    }

    /// Notes durably what a target's connector and its budget are now.
    pub async fn configure_target(
        &self,
        target: TargetNo,
        kind: &str,
        budget: Budget,
    ) -> Result<Position, CommitError> {
        self.setting(Change::ConfigureTarget { target, kind: kind.into(), budget }).await
    }

    /// Gives a target up, durably. The caller makes sure that no rule names it any more.
    pub async fn forget_target(&self, target: TargetNo, unsettled: u64) -> Result<Position, CommitError> {
        self.setting(Change::ForgetTarget { target, unsettled }).await
    }

    async fn setting(&self, change: Change) -> Result<Position, CommitError> {
        let permit = self.inner.queue.reserve_setting().await?;
        let inner = Arc::clone(&self.inner);
        Detached::new(async move { inner.append_setting(permit, change).await }).await
    }
}

impl Inner {
    fn bucket_lock(&self, bucket: &str) -> &AsyncRwLock<()> {
        &self.buckets[(key_hash(bucket, "") % BUCKET_STRIPES as u64) as usize]
    }

    fn key_lock(&self, bucket: &str, key: &str) -> &AsyncMutex<()> {
        &self.keys[(key_hash(bucket, key) % KEY_STRIPES as u64) as usize]
    }

    fn upload_lock(&self, id: UploadId) -> &AsyncRwLock<()> {
        // The last byte of an id is random.
        &self.uploads[usize::from(id.0[15]) % UPLOAD_STRIPES]
    }

    fn require_bucket(&self, bucket: &str) -> Result<Bucket, CommitError> {
        self.store.bucket(bucket)?.ok_or(CommitError::NoSuchBucket)
    }

    /// A random v7 UUID.
    fn new_id(&self, time_us: i64) -> Uuid {
        let mut random = [0; 10];
        self.random.lock().unwrap_or_else(PoisonError::into_inner).fill(&mut random);
        let millis = u64::try_from(time_us / 1_000).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }

    fn event(
        &self,
        kind: EventKind,
        bucket: Arc<str>,
        key: Arc<str>,
        size: u64,
        etag: Arc<str>,
        request: RequestInfo,
    ) -> Event {
        let time_us = (self.clock)();
        let id = self.new_id(time_us);
        Event { id, kind, time_us, bucket, key, version: None, size, etag, request }
    }

    /// Matches the rules of this moment, the bucket's own with them, and charges the budgets of those who get
    /// the event. After an error nothing has happened.
    fn admit(
        &self,
        bucket: &Bucket,
        permit: &mut Permit,
        change: Change,
        event: Event,
    ) -> Result<Admitted, CommitError> {
        let under = self.rules.begin();
        let own = bucket.setting(Setting::Notification);
        let matched = under.rules.matched(&event.bucket, own, &event.key, event.kind);
        // Not taken for no rules: somebody waits for these events.
        let unreadable = |e| StoreError::Index(format!("bucket {}: {e}", bucket.name));
        let mut matched = matched.map_err(unreadable)?;
        // A replica has the name that another server gave it, and goes no further.
        if let Some(rules) = bucket.setting(Setting::Replication)
            && event.version == Some(Version::Own)
        {
            let of = (&*event.bucket, rules);
            under.rules.replicated(of, &event.key, event.kind, &mut matched).map_err(unreadable)?;
        }
        let Matched { deliveries, shedding } = matched;
        let mut entry = Entry { change, event: Some(event), deliveries, shed: Vec::new() };
        let admitted = self.queue.admit(permit, &mut entry, &shedding);
        admitted.inspect_err(|_| (self.observer)(Noted::OverBudget))?;
        if let Some(event) = &entry.event {
            self.watched.changes(&event.bucket, &event.key);
        }
        Ok(Admitted { entry, _under: under })
    }

    async fn append_event(
        &self,
        permit: Permit,
        admitted: Admitted,
        body: Bytes,
    ) -> Result<Committed, CommitError> {
        let event = admitted.entry.event.as_ref();
        let (time_us, version) = event.map_or((0, None), |event| (event.time_us, event.version));
        let position = self.queue.append(permit, admitted.entry, body).await?;
        let version = version.map(|version| version.id(position));
        (self.observer)(Noted::Accepted);
        fail::point("ack.before");
        Ok(Committed { position, time_us, version })
    }

    async fn append_setting(&self, permit: Permit, change: Change) -> Result<Position, CommitError> {
        Ok(self.queue.append(permit, Entry::setting(change), Bytes::new()).await?)
    }
}
