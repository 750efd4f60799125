//! Buckets for operators: what they may hold, and what they hold.
//!
//! Must never set a quota but through the commit path.

use super::Parts;
use crate::admin::{BucketView, ChangeError, QuotaWish, rfc3339};
use crate::commit::{CommitError, Quota};
use crate::store::{Bucket, Store as _};

impl Parts {
    /// Every bucket, by name.
    pub(super) async fn bucket_views(&self) -> Result<Vec<BucketView>, ChangeError> {
        let buckets = self.store.buckets().map_err(|e| of_commit(e.into()))?;
        let mut views = Vec::with_capacity(buckets.len());
        for bucket in buckets {
            match self.bucket_view(&bucket).await {
                // Removed since they were listed.
                Err(ChangeError::NoSuchBucket) => {}
                view => views.push(view?),
            }
        }
        Ok(views)
    }

    /// Sets a bucket's quota, durably, and shows what the bucket is now.
    pub(super) async fn limit_bucket(&self, name: &str, wish: QuotaWish) -> Result<BucketView, ChangeError> {
        let quota = match wish {
            QuotaWish::Unlimited => None,
            QuotaWish::Limits { max_bytes, max_objects } => Some(Quota { max_bytes, max_objects }),
        };
        self.commit.set_quota(name, quota).await.map_err(of_commit)?;
        let bucket = self.store.bucket(name).map_err(|e| of_commit(e.into()))?;
        self.bucket_view(&bucket.ok_or(ChangeError::NoSuchBucket)?).await
    }

    async fn bucket_view(&self, bucket: &Bucket) -> Result<BucketView, ChangeError> {
        let quota = Quota::of(bucket).map_err(|e| of_commit(e.into()))?;
        let usage = match quota {
            Some(_) => self.commit.usage(&bucket.name).await.map_err(of_commit)?,
            None => None,
        };
        Ok(BucketView {
            name: bucket.name.to_string(),
            created: rfc3339(bucket.created_us),
            max_bytes: quota.and_then(|quota| quota.max_bytes),
            max_objects: quota.and_then(|quota| quota.max_objects),
            bytes: usage.map(|usage| usage.bytes),
            objects: usage.map(|usage| usage.objects),
        })
    }
}

fn of_commit(error: CommitError) -> ChangeError {
    match error {
        CommitError::NoSuchBucket => ChangeError::NoSuchBucket,
        CommitError::Full(full) => ChangeError::Unavailable(full.to_string()),
        CommitError::Store(error) => ChangeError::Unavailable(error.to_string()),
        other => ChangeError::Unknown(other.to_string()),
    }
}
