//! Tags of an object on the commit path: a change that is no event.
//!
//! Must never give tags to another object than the caller looked at.

use std::sync::Arc;

use super::detached::Detached;
use super::{Commit, CommitError};
use crate::queue::{Change, ObjectTags, Permit};
use crate::store::Object;

impl Commit {
    /// Gives an object, as the caller found it, other tags in place of all it has; empty: none. Nothing is
    /// written where that changes nothing. [`CommitError::Replaced`]: look again.
    pub async fn tag_object(&self, permit: Permit, object: &Object, tags: &str) -> Result<(), CommitError> {
        let inner = Arc::clone(&self.inner);
        let (bucket, key) = (Arc::clone(&object.bucket), Arc::clone(&object.key));
        let (of, tags): (u64, Arc<str>) = (object.offset, tags.into());
        Detached::new(async move {
            let _bucket = inner.bucket_lock(&bucket).read().await;
            let _key = inner.key_lock(&bucket, &key).lock().await;
            let now = inner.store.object(&bucket, &key)?.ok_or(CommitError::NoSuchKey)?;
            if now.offset != of {
                return Err(CommitError::Replaced);
            }
            if now.meta.tags() == &*tags {
                return Ok(());
            }
            let change = Change::TagObject(Arc::new(ObjectTags { bucket, key, of, tags }));
            inner.append_setting(permit, change).await.map(|_| ())
        })
        .await
    }
}
