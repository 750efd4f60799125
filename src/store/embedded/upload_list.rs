//! Reads of uploads and parts: overlay first, then index, merged.
//!
//! Must never open an index snapshot before the overlay was looked at.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::apply::Shared;
use super::index::{Reads as _, Space, end_of_prefix};
use super::row::object_key;
use super::upload_rows;
use crate::queue::{NewPart, UploadId};
use crate::store::{StoreError, Upload, UploadsAfter};

impl Shared {
    /// The upload with this id.
    pub(super) fn upload(&self, id: UploadId) -> Result<Option<Upload>, StoreError> {
        let delta = self.overlay.upload(id);
        let base = self.index.get(Space::Uploads, &id.0)?;
        let base = base.map(|row| upload_rows::upload(&id.0, &row)).transpose()?;
        Ok(match delta {
            Some(delta) => delta.over(base),
            None => base,
        })
    }

    /// Parts of an open upload; see [`crate::store::Store::parts`].
    pub(super) fn parts(
        &self,
        id: UploadId,
        after: u16,
        max: usize,
    ) -> Result<Vec<Arc<NewPart>>, StoreError> {
        let delta = self.overlay.upload(id).unwrap_or_default();
        if delta.has_ended() {
            return Ok(Vec::new());
        }
        let mut parts: BTreeMap<u16, Arc<NewPart>> = BTreeMap::new();
        let (from, to) = (upload_rows::part_key(id, after), end_of_prefix(&id.0));
        self.index.scan(Space::Parts, Bound::Excluded(&from), to.as_deref(), &mut |key, row| {
            let part = upload_rows::part(key, row)?;
            parts.insert(part.number, part);
            Ok(parts.len() < max)
        })?;
        parts.extend(delta.parts(after).map(|part| (part.number, part.clone())));
        Ok(parts.into_values().take(max).collect())
    }

    /// Open uploads of a bucket; see [`crate::store::Store::uploads`].
    pub(super) fn uploads(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&UploadsAfter>,
        max: usize,
    ) -> Result<Vec<Upload>, StoreError> {
        let changed: BTreeMap<_, _> = self.overlay.uploads().into_iter().collect();
        let mut first = Vec::new();
        object_key(&mut first, bucket, prefix);
        let to = end_of_prefix(&first);
        let from = after.map_or(Bound::Included(first.clone()), |after| match after.id {
            Some(id) => Bound::Excluded(upload_rows::open_key(bucket, &after.key, id)),
            None => Bound::Excluded(upload_rows::open_key(bucket, &after.key, UploadId([u8::MAX; 16]))),
        });
        let from = match from {
            Bound::Excluded(key) if key < first => Bound::Included(first),
            from => from,
        };
        let mut found = BTreeMap::new();
        for (id, delta) in &changed {
            let Some(begun) = delta.begun().filter(|begun| !delta.has_ended() && &*begun.bucket == bucket)
            else {
                continue;
            };
            let key = upload_rows::open_key(bucket, &begun.key, *id);
            let behind = match &from {
                Bound::Included(from) => key >= *from,
                Bound::Excluded(from) => key > *from,
                Bound::Unbounded => true,
            };
            if behind && to.as_ref().is_none_or(|to| key < *to) {
                found.insert(key, Upload { begun: begun.clone(), done: None });
            }
        }
        let mut ids = Vec::new();
        let from = from.as_ref().map(Vec::as_slice);
        self.index.scan(Space::OpenUploads, from, to.as_deref(), &mut |key, _| {
            let id = upload_rows::id_of_open_key(key);
            ids.extend(
                id.filter(|id| !changed.get(id).is_some_and(|d| d.has_ended())).map(|id| (key.to_vec(), id)),
            );
            Ok(ids.len() < max)
        })?;
        for (key, id) in ids {
            let row = self.index.get(Space::Uploads, &id.0)?;
            // Gone between the two snapshots: it has ended meanwhile.
            if let Some(row) = row {
                let upload = upload_rows::upload(&id.0, &row)?;
                if upload.done.is_none() {
                    found.insert(key, upload);
                }
            }
        }
        Ok(found.into_values().take(max).collect())
    }

    /// Uploads that the index shows; see [`crate::store::Store::oldest_uploads`].
    pub(super) fn oldest_uploads(
        &self,
        after: Option<UploadId>,
        max: usize,
    ) -> Result<Vec<Upload>, StoreError> {
        let mut found = Vec::new();
        let from = after.as_ref().map_or(Bound::Unbounded, |id| Bound::Excluded(&id.0[..]));
        self.index.scan(Space::Uploads, from, None, &mut |key, row| {
            found.push(upload_rows::upload(key, row)?);
            Ok(found.len() < max)
        })?;
        Ok(found)
    }
}
