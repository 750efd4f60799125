//! Quotas: how much a bucket may hold.
//!
//! A bucket with a quota is counted: once from the store, alone with the bucket's lock, and from then on by
//! every change under its key's lock, before its record. So the count is exact and no race goes beyond it.
//! Must never go on with a count after an outcome that is not known: it is taken anew.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::RwLockReadGuard;

use super::{Commit, CommitError, Inner, Noted};
use crate::queue::Setting;
use crate::store::{Bucket, StoreError};

/// Objects asked of the store at once while a bucket is counted.
const PAGE: usize = 1_000;
/// No limit, as it is stored.
const NONE: u64 = u64::MAX;

/// How much a bucket may hold; a change that makes it hold less is always possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Bytes of all objects together.
    pub max_bytes: Option<u64>,
    /// Objects.
    pub max_objects: Option<u64>,
}

/// What a bucket holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes of all objects together.
    pub bytes: u64,
    /// Objects.
    pub objects: u64,
}

impl Quota {
    /// The quota of a bucket, if it has one.
    pub fn of(bucket: &Bucket) -> Result<Option<Self>, StoreError> {
        let Some(value) = bucket.setting(Setting::Quota) else { return Ok(None) };
        let numbers = value.split_first_chunk::<8>().and_then(|(bytes, objects)| {
            let objects: [u8; 8] = objects.try_into().ok()?;
            Some((u64::from_le_bytes(*bytes), u64::from_le_bytes(objects)))
        });
        // Not believed to be without limit: whoever set it meant one.
        let (bytes, objects) =
            numbers.ok_or_else(|| StoreError::Index(format!("the quota of {} is damaged", bucket.name)))?;
        let limit = |n| Some(n).filter(|n| *n != NONE);
        Ok(Some(Self { max_bytes: limit(bytes), max_objects: limit(objects) }))
    }

    /// As a bucket's setting has it.
    pub(super) fn setting(self) -> Bytes {
        let of = |limit: Option<u64>| limit.unwrap_or(NONE).to_le_bytes();
        [of(self.max_bytes), of(self.max_objects)].concat().into()
    }

    /// Whether a bucket that held `before` may hold `after`.
    fn allows(self, before: Usage, after: Usage) -> Result<(), CommitError> {
        let over =
            |limit: Option<u64>, before, after| limit.is_some_and(|limit| after > limit && after > before);
        if over(self.max_bytes, before.bytes, after.bytes) {
            return Err(CommitError::QuotaExceeded("bytes"));
        }
        if over(self.max_objects, before.objects, after.objects) {
            return Err(CommitError::QuotaExceeded("objects"));
        }
        Ok(())
    }
}

impl Usage {
    /// One object of this size; none: nothing.
    fn of(size: Option<u64>) -> Self {
        Self { bytes: size.unwrap_or(0), objects: u64::from(size.is_some()) }
    }

    fn and(self, more: Self) -> Self {
        let (bytes, objects) = (self.bytes.saturating_add(more.bytes), self.objects + more.objects);
        Self { bytes, objects }
    }

    fn without(self, less: Self) -> Self {
        let (bytes, objects) =
            (self.bytes.saturating_sub(less.bytes), self.objects.saturating_sub(less.objects));
        Self { bytes, objects }
    }
}

/// What counted buckets hold.
#[derive(Default)]
pub(super) struct Counts(Mutex<HashMap<Arc<str>, Usage>>);

impl Counts {
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Usage>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bucket is not counted any more, or must be counted anew.
    pub(super) fn forget(&self, bucket: &str) {
        self.lock().remove(bucket);
    }

    pub(super) fn get(&self, bucket: &str) -> Option<Usage> {
        self.lock().get(bucket).copied()
    }

    fn set(&self, bucket: &Arc<str>, usage: Usage) {
        self.lock().insert(Arc::clone(bucket), usage);
    }
}

/// A change is within its bucket, whose lock it shares.
pub(super) struct Within<'a> {
    inner: &'a Inner,
    pub(super) bucket: Bucket,
    quota: Option<Quota>,
    _lock: RwLockReadGuard<'a, ()>,
}

/// The count of a change that is on its way. Dropped, it is as if the change had not been asked for.
pub(super) struct Counted<'a> {
    counts: Option<&'a Counts>,
    bucket: Arc<str>,
    /// What it takes away, and what it brings.
    back: (Usage, Usage),
}

impl Inner {
    /// Shares the bucket's lock, once the bucket is counted if it has a quota.
    pub(super) async fn within(&self, bucket: &str) -> Result<Within<'_>, CommitError> {
        loop {
            let lock = self.bucket_lock(bucket).read().await;
            let found = self.store.bucket(bucket)?.ok_or(CommitError::NoSuchBucket)?;
            let quota = Quota::of(&found)?;
            if quota.is_none() || self.counts.get(bucket).is_some() {
                return Ok(Within { inner: self, bucket: found, quota, _lock: lock });
            }
            drop(lock);
            self.count(bucket).await?;
        }
    }

    /// Counts a bucket, alone with it.
    async fn count(&self, bucket: &str) -> Result<(), CommitError> {
        let _alone = self.bucket_lock(bucket).write().await;
        if self.counts.get(bucket).is_some() {
            return Ok(());
        }
        let (mut usage, mut after) = (Usage::default(), None::<Arc<str>>);
        loop {
            let page = self.store.list(bucket, "", after.as_deref(), PAGE)?;
            usage = page.iter().fold(usage, |usage, object| usage.and(Usage::of(Some(object.size))));
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(Arc::clone(&last.key)),
                _ => break,
            }
            tokio::task::yield_now().await;
        }
        self.counts.set(&bucket.into(), usage);
        Ok(())
    }
}

impl<'a> Within<'a> {
    /// Counts an object of `size` bytes under `key`, whose lock the caller has, in place of what is there;
    /// none: what is there goes. Nothing is read where nothing is counted.
    pub(super) fn count(&self, key: &str, size: Option<u64>) -> Result<Counted<'a>, CommitError> {
        let bucket = Arc::clone(&self.bucket.name);
        let Some(quota) = self.quota else {
            return Ok(Counted { counts: None, bucket, back: Default::default() });
        };
        let there = self.inner.store.object(&bucket, key)?;
        let (gone, new) = (Usage::of(there.map(|object| object.size)), Usage::of(size));
        let mut counts = self.inner.counts.lock();
        // Forgotten by a change that ended badly: until somebody counts anew, nobody knows.
        let before = *counts.get(&bucket).ok_or(CommitError::Uncounted)?;
        let after = before.without(gone).and(new);
        quota.allows(before, after).inspect_err(|_| (self.inner.observer)(Noted::OverQuota))?;
        counts.insert(Arc::clone(&bucket), after);
        Ok(Counted { counts: Some(&self.inner.counts), bucket, back: (gone, new) })
    }
}

impl Counted<'_> {
    /// What became of the record. Where nobody knows, the bucket is counted anew.
    pub(super) fn ended<T, E>(mut self, result: Result<T, E>) -> Result<T, E> {
        if let Some(counts) = self.counts.take()
            && result.is_err()
        {
            counts.forget(&self.bucket);
        }
        result
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let Some(counts) = self.counts else { return };
        let (gone, new) = self.back;
        if let Some(usage) = counts.lock().get_mut(&self.bucket) {
            *usage = usage.and(gone).without(new);
        }
    }
}

impl Commit {
    /// Sets how much a bucket may hold; none: as much as there is room for. A bucket that holds more already
    /// keeps it, and takes only what makes it hold less.
    pub async fn set_quota(&self, bucket: &str, quota: Option<Quota>) -> Result<(), CommitError> {
        let permit = self.inner.queue.reserve_setting().await?;
        self.set_bucket_setting(permit, bucket, Setting::Quota, quota.map(Quota::setting)).await
    }

    /// What a bucket with a quota holds; none if it has none.
    pub async fn usage(&self, bucket: &str) -> Result<Option<Usage>, CommitError> {
        let within = self.inner.within(bucket).await?;
        Ok(within.quota.and_then(|_| self.inner.counts.get(bucket)))
    }
}
