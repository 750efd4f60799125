//! Buckets: their rows, and what the overlay knows about them.
//!
//! Must never give a bucket that was made anew a setting of the one before it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::row::{ROW_VERSION, damaged, open, put_bytes, put_text, seal, take, take_bytes, take_text};
use crate::queue::{Change, Setting, Stored};
use crate::store::{Bucket, StoreError};

/// What is not in the index yet about one bucket.
#[derive(Debug, Clone, Default)]
pub(super) struct BucketDelta {
    /// Made or removed: what the index has does not count any more.
    anew: Option<Option<Bucket>>,
    /// What was set after that.
    settings: BTreeMap<Setting, Option<Bytes>>,
    pub(super) offset: u64,
}

impl BucketDelta {
    /// Adds a later change of the same bucket.
    pub(super) fn add(&mut self, stored: &Stored) {
        let anew = match &stored.entry.change {
            Change::CreateBucket { bucket, time_us, owner } => {
                Some(Bucket::new(bucket.clone(), *time_us, owner.clone()))
            }
            Change::DeleteBucket { .. } => None,
            Change::SetBucketSetting { setting, value, .. } => {
                self.settings.insert(*setting, value.clone());
                self.offset = stored.position.offset;
                return;
            }
            _ => return,
        };
        *self = Self { anew: Some(anew), settings: BTreeMap::new(), offset: stored.position.offset };
    }

    /// True if what the index has counts.
    pub(super) fn needs_base(&self) -> bool {
        self.anew.is_none()
    }

    /// The bucket after these changes, given what the index has.
    pub(super) fn over(&self, base: Option<Bucket>) -> Option<Bucket> {
        let mut bucket = self.anew.clone().unwrap_or(base)?;
        for (setting, value) in &self.settings {
            bucket.set(*setting, value.clone());
        }
        Some(bucket)
    }
}

/// The bucket that a change is about; none for changes of what is in it.
pub(super) fn bucket_of(change: &Change) -> Option<&Arc<str>> {
    match change {
        Change::CreateBucket { bucket, .. }
        | Change::DeleteBucket { bucket }
        | Change::SetBucketSetting { bucket, .. } => Some(bucket),
        _ => None,
    }
}

/// Appends a bucket's row.
pub(super) fn put_bucket(out: &mut Vec<u8>, bucket: &Bucket) {
    let from = out.len();
    out.push(ROW_VERSION);
    out.extend_from_slice(&bucket.created_us.to_le_bytes());
    put_text(out, &bucket.owner);
    for (setting, value) in bucket.settings() {
        out.push(setting.code());
        put_bytes(out, value);
    }
    seal(out, from, bucket.name.as_bytes());
}

/// The bucket of a row.
pub(super) fn bucket(key: &[u8], row: &[u8]) -> Result<Bucket, StoreError> {
    let decode = || {
        let mut rest = open(key, row)?;
        let created_us = i64::from_le_bytes(take(&mut rest)?);
        let owner = take_text(&mut rest)?;
        let mut bucket = Bucket::new(std::str::from_utf8(key).ok()?, created_us, owner);
        while !rest.is_empty() {
            let [code] = take(&mut rest)?;
            let value = Bytes::copy_from_slice(take_bytes(&mut rest)?);
            bucket.set(Setting::from_code(code)?, Some(value));
        }
        Some(bucket)
    };
    decode().ok_or_else(|| damaged(key))
}
