//! Buckets on the commit path: made, set, removed.
//!
//! Each has its bucket's lock alone. Must never change a bucket while a change of an object in it is on its
//! way.

use std::sync::Arc;

use bytes::Bytes;

use super::detached::Detached;
use super::{Commit, CommitError};
use crate::event::RequestInfo;
use crate::queue::{Change, MAX_SETTING_BYTES, Permit, Setting};
use crate::rules::Notification;

impl Commit {
    /// Makes a bucket.
    pub async fn create_bucket(
        &self,
        permit: Permit,
        name: &str,
        request: RequestInfo,
    ) -> Result<(), CommitError> {
        let inner = Arc::clone(&self.inner);
        let bucket: Arc<str> = name.into();
        Detached::new(async move {
            let _bucket = inner.bucket_lock(&bucket).write().await;
            if let Some(existing) = inner.store.bucket(&bucket)? {
                return Err(CommitError::BucketExists { mine: existing.owner == request.principal });
            }
            let change = Change::CreateBucket { bucket, time_us: (inner.clock)(), owner: request.principal };
            inner.append_setting(permit, change).await.map(|_| ())
        })
        .await
    }

    /// Removes an empty bucket.
    pub async fn delete_bucket(
        &self,
        permit: Permit,
        name: &str,
        _request: RequestInfo,
    ) -> Result<(), CommitError> {
        let inner = Arc::clone(&self.inner);
        let bucket: Arc<str> = name.into();
        Detached::new(async move {
            let _bucket = inner.bucket_lock(&bucket).write().await;
            inner.require_bucket(&bucket)?;
            if !inner.store.versions(&bucket, "", None, 1)?.is_empty() {
                return Err(CommitError::BucketNotEmpty);
            }
            inner.end_uploads_of(&bucket).await?;
            inner.counts.forget(&bucket);
            inner.append_setting(permit, Change::DeleteBucket { bucket: Arc::clone(&bucket) }).await?;
            inner.named.note(&bucket, &Notification::default());
            Ok(())
        })
        .await
    }

    /// Sets a bucket's setting, or takes it away. Nothing is written where that changes nothing.
    ///
    /// `permit` must have room for the value. No change of the bucket's objects is on its way meanwhile: each
    /// sees the setting as it was before, or as it is now.
    pub async fn set_bucket_setting(
        &self,
        permit: Permit,
        name: &str,
        setting: Setting,
        value: Option<Bytes>,
    ) -> Result<(), CommitError> {
        if value.as_ref().is_some_and(|value| value.len() > MAX_SETTING_BYTES) {
            return Err(CommitError::SettingTooLarge);
        }
        let inner = Arc::clone(&self.inner);
        let bucket: Arc<str> = name.into();
        Detached::new(async move {
            let _bucket = inner.bucket_lock(&bucket).write().await;
            let now = inner.store.bucket(&bucket)?.ok_or(CommitError::NoSuchBucket)?;
            // Who sets a quota has it counted anew.
            if setting == Setting::Quota {
                inner.counts.forget(&bucket);
            }
            if now.setting(setting) == value.as_ref() {
                return Ok(());
            }
            inner
                .append_setting(permit, Change::SetBucketSetting { bucket, setting, value })
                .await
                .map(|_| ())
        })
        .await
    }
}
