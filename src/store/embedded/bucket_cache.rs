//! Buckets that were looked up lately: every change asks for its bucket, and a lookup in the index costs more
//! than all else that the commit path does under its lock.
//!
//! Must never answer what a published change has made untrue: every change of any bucket empties it, and what
//! was read before such a change is not kept after it.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::store::Bucket;

/// Buckets kept; at the bound all are forgotten.
const MAX_BUCKETS: usize = 4_096;

/// Existing buckets by name.
#[derive(Default)]
pub(super) struct BucketCache(RwLock<Kept>);

#[derive(Default)]
struct Kept {
    by_name: HashMap<Arc<str>, Bucket>,
    /// Changes so far.
    generation: u64,
}

impl BucketCache {
    /// The bucket, if it is kept.
    pub(super) fn get(&self, name: &str) -> Option<Bucket> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).by_name.get(name).cloned()
    }

    /// To be read before a lookup whose result shall be kept.
    pub(super) fn generation(&self) -> u64 {
        self.0.read().unwrap_or_else(PoisonError::into_inner).generation
    }

    /// Keeps what was looked up since `generation`, unless a bucket has changed meanwhile.
    pub(super) fn keep(&self, bucket: &Bucket, generation: u64) {
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if kept.generation == generation {
            if kept.by_name.len() >= MAX_BUCKETS {
                kept.by_name.clear();
            }
            kept.by_name.insert(Arc::clone(&bucket.name), bucket.clone());
        }
    }

    /// A bucket changed, and lookups show it already.
    pub(super) fn changed(&self) {
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        kept.generation += 1;
        kept.by_name.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(owner: &str) -> Bucket {
        Bucket::new("b", 1, owner)
    }

    #[test]
    fn what_was_read_before_a_change_is_not_kept_after_it() {
        let cache = BucketCache::default();
        let before = cache.generation();
        cache.changed();
        cache.keep(&bucket("old"), before);
        assert_eq!(cache.get("b"), None);
        cache.keep(&bucket("new"), cache.generation());
        assert_eq!(cache.get("b"), Some(bucket("new")));
        cache.changed();
        assert_eq!(cache.get("b"), None);
    }
}
