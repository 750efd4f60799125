//! Reads of rows: overlay first, then index, merged in key order.
//!
//! Must never open an index snapshot before the overlay was looked at: an entry leaves the overlay only once
//! the index shows it, so in that order every durable change is seen in one of the two.

use std::ops::Bound;
use std::sync::Arc;

use super::apply::Shared;
use super::buckets;
use super::index::{Reads as _, Space, end_of_prefix};
use super::row;
use super::targets;
use super::version_reads::version_made;
use super::versions::{Current, Pending};
use crate::store::{Bucket, Object, RegisteredTarget, StoreError};

/// Overlay entries taken beyond what a page needs, because deletes give no row.
const SLACK: usize = 64;

impl Shared {
    /// The current object under this key, with the tags that it was made with.
    pub(super) fn untagged(&self, bucket: &str, key: &str) -> Result<Option<Object>, StoreError> {
        let mut index_key = Vec::new();
        row::object_key(&mut index_key, bucket, key);
        if let Some(pending) = self.overlay.object(&index_key) {
            return self.current(&bucket.into(), &index_key, &pending);
        }
        let found = self.unread.check(bucket, key, self.index.get(Space::Objects, &index_key)?)?;
        found.map(|found| row::object(&bucket.into(), &index_key, &found)).transpose()
    }

    /// The current object of a key that was changed lately.
    fn current(
        &self,
        bucket: &Arc<str>,
        index_key: &[u8],
        pending: &Pending,
    ) -> Result<Option<Object>, StoreError> {
        match pending.current() {
            Current::Is(stored) => Ok(version_made(&stored).map(|made| made.object)),
            Current::Nothing => Ok(None),
            Current::Older => {
                let newest = self.newest(bucket, index_key, pending)?;
                Ok(newest.filter(|newest| !newest.marker).map(|newest| newest.object))
            }
        }
    }

    /// The same version as it is found now; its bytes may lie elsewhere. None: it was replaced or removed.
    pub(super) fn same(&self, object: &Object) -> Result<Option<Object>, StoreError> {
        let is_same = |found: &Object| found.offset == object.offset;
        if let Some(found) = self.untagged(&object.bucket, &object.key)?.filter(is_same) {
            return Ok(Some(found));
        }
        let found = self.version(&object.bucket, &object.key, Some(object.version))?;
        Ok(found.map(|found| found.object).filter(is_same))
    }

    /// Current objects in key order; see [`crate::store::Store::list`].
    pub(super) fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<Object>, StoreError> {
        self.unread.check_absence()?;
        let mut first = Vec::new();
        row::object_key(&mut first, bucket, prefix);
        let to = end_of_prefix(&first);
        let mut from = Bound::Included(first);
        if let Some(after) = after {
            let mut key = Vec::new();
            row::object_key(&mut key, bucket, after);
            if matches!(&from, Bound::Included(first) if key >= *first) {
                from = Bound::Excluded(key);
            }
        }
        let mut page = Page { bucket: bucket.into(), max, objects: Vec::new() };
        while page.objects.len() < max {
            match self.list_round(&mut page, from.as_ref().map(Vec::as_slice), to.as_deref())? {
                Some(reached) => from = Bound::Excluded(reached.into_vec()),
                None => break,
            }
        }
        Ok(page.objects)
    }

    /// Merges one bounded piece of the overlay with the index. Gives the key it reached, unless it reached
    /// the end.
    fn list_round(
        &self,
        page: &mut Page,
        from: Bound<&[u8]>,
        to: Option<&[u8]>,
    ) -> Result<Option<Box<[u8]>>, StoreError> {
        let take = (page.max - page.objects.len()).saturating_add(SLACK);
        let changed = self.overlay.range(from, to, take);
        // The overlay may hold more above its last key taken: the index counts only up to there.
        let reached = if changed.len() == take { changed.last().map(|(key, _)| key.clone()) } else { None };
        let mut changed = changed.iter().peekable();
        self.index.scan(Space::Objects, from, to, &mut |key, found| {
            if reached.as_deref().is_some_and(|reached| key > reached) {
                return Ok(false);
            }
            while let Some((changed, pending)) = changed.next_if(|(changed, _)| **changed < *key) {
                page.add(self.current(&page.bucket, changed, pending)?);
            }
            match changed.next_if(|(changed, _)| **changed == *key) {
                Some((changed, pending)) => page.add(self.current(&page.bucket, changed, pending)?),
                None if page.is_full() => {}
                None => page.add(Some(row::object(&page.bucket, key, found)?)),
            }
            Ok(!page.is_full())
        })?;
        for (changed, pending) in changed {
            page.add(self.current(&page.bucket, changed, pending)?);
        }
        Ok(reached)
    }

    /// The bucket with this name.
    pub(super) fn bucket(&self, name: &str) -> Result<Option<Bucket>, StoreError> {
        let cache = &self.overlay.known_buckets;
        if let Some(bucket) = cache.get(name) {
            return Ok(Some(bucket));
        }
        let generation = cache.generation();
        let found = self.look_up_bucket(name)?;
        if let Some(bucket) = &found {
            cache.keep(bucket, generation);
        }
        Ok(found)
    }

    fn look_up_bucket(&self, name: &str) -> Result<Option<Bucket>, StoreError> {
        let delta = self.overlay.bucket(name).unwrap_or_default();
        if !delta.needs_base() {
            return Ok(delta.over(None));
        }
        let found = self.unread.check(name, "", self.index.get(Space::Buckets, name.as_bytes())?)?;
        Ok(delta.over(found.map(|found| buckets::bucket(name.as_bytes(), &found)).transpose()?))
    }

    /// Every bucket, by name.
    pub(super) fn buckets(&self) -> Result<Vec<Bucket>, StoreError> {
        self.unread.check_absence()?;
        let changed = self.overlay.buckets();
        let mut all = std::collections::BTreeMap::new();
        self.index.scan(Space::Buckets, Bound::Unbounded, None, &mut |key, found| {
            let bucket = buckets::bucket(key, found)?;
            all.insert(bucket.name.clone(), bucket);
            Ok(true)
        })?;
        for (name, delta) in changed {
            if let Some(bucket) = delta.over(all.remove(&name)) {
                all.insert(name, bucket);
            }
        }
        Ok(all.into_values().collect())
    }

    /// Every registered target, by number, as far as the log was applied.
    pub(super) fn targets(&self) -> Result<Vec<RegisteredTarget>, StoreError> {
        let changed = self.overlay.targets();
        let mut all = std::collections::BTreeMap::new();
        self.index.scan(Space::Targets, Bound::Unbounded, None, &mut |key, found| {
            let target = targets::target(key, found)?;
            all.insert(target.target, target);
            Ok(true)
        })?;
        for (number, delta) in changed {
            if let Some(target) = delta.over(all.remove(&number)) {
                all.insert(number, target);
            }
        }
        Ok(all.into_values().collect())
    }
}

/// One answer to LIST being filled.
struct Page {
    bucket: Arc<str>,
    max: usize,
    objects: Vec<Object>,
}

impl Page {
    fn is_full(&self) -> bool {
        self.objects.len() >= self.max
    }

    fn add(&mut self, object: Option<Object>) {
        if !self.is_full() {
            self.objects.extend(object);
        }
    }
}
