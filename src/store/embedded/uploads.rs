//! From entries about uploads to edits: rows of uploads and parts, and which blobs nobody owns any more.
//!
//! Must never let go of a blob that a completed object is made of, and never keep one that nothing names.

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use super::index::{Batch, Index, Reads as _, Space, end_of_prefix};
use super::row::BlobName;
use super::row_edit;
use super::upload_overlay::{done_of, upload_of};
use super::upload_rows;
use crate::queue::{Change, NewPart, NewUpload, Piece, Stored, UploadChange, UploadId, decode_manifest};
use crate::store::{Done, StoreError};

/// Fills a batch with what entries do to uploads, one after the other.
pub(super) struct UploadEdits<'a> {
    index: &'a dyn Index,
    batch: &'a mut Batch,
    /// Blobs that nobody owns any more.
    superseded: &'a mut Vec<BlobName>,
    /// What this batch did already, which the index does not show.
    uploads: BTreeMap<UploadId, Option<Arc<NewUpload>>>,
    parts: BTreeMap<(UploadId, u16), BlobName>,
}

impl<'a> UploadEdits<'a> {
    /// Adds the edits of all entries that are about uploads.
    pub(super) fn add_all(
        index: &'a dyn Index,
        batch: &'a mut Batch,
        superseded: &'a mut Vec<BlobName>,
        entries: &[Arc<Stored>],
    ) -> Result<(), StoreError> {
        let mut edits = Self { index, batch, superseded, uploads: BTreeMap::new(), parts: BTreeMap::new() };
        for stored in entries.iter().filter(|stored| upload_of(&stored.entry.change).is_some()) {
            edits.add(stored)?;
        }
        Ok(())
    }

    fn add(&mut self, stored: &Stored) -> Result<(), StoreError> {
        match &stored.entry.change {
            Change::Upload(UploadChange::Begin(upload)) => {
                self.uploads.insert(upload.id, Some(upload.clone()));
                self.put_upload(upload, None);
                let key = upload_rows::open_key(&upload.bucket, &upload.key, upload.id);
                self.batch.put(Space::OpenUploads, &key, |_| {});
            }
            Change::Upload(UploadChange::Part(part)) => self.part(part)?,
            Change::Upload(UploadChange::End(id)) => {
                self.end_parts(*id, &HashSet::new())?;
                if let Some(upload) = self.upload(*id)? {
                    self.close(&upload);
                }
                self.batch.remove(Space::Uploads, &id.0);
                self.uploads.insert(*id, None);
            }
            Change::CompleteUpload { upload: id, .. } => {
                let pieces = decode_manifest(&stored.body).ok_or_else(|| {
                    let at = stored.position.offset;
                    StoreError::Index(format!("the entry at offset {at} came without its manifest"))
                })?;
                let kept: HashSet<_> = pieces.iter().map(|piece| piece.blob).collect();
                self.end_parts(*id, &kept)?;
                for Piece { blob, size, .. } in &pieces {
                    self.batch.put(Space::Blobs, blob, |out| row_edit::put_number(out, blob, *size));
                }
                // An upload whose beginning was given up as lost cannot be remembered.
                if let Some(upload) = self.upload(*id)? {
                    self.close(&upload);
                    self.put_upload(&upload, done_of(stored).as_ref());
                }
                self.uploads.insert(*id, None);
            }
            _ => {}
        }
        Ok(())
    }

    fn put_upload(&mut self, upload: &NewUpload, done: Option<&Done>) {
        self.batch.put(Space::Uploads, &upload.id.0, |out| upload_rows::put_upload(out, upload, done));
    }

    fn close(&mut self, upload: &NewUpload) {
        let key = upload_rows::open_key(&upload.bucket, &upload.key, upload.id);
        self.batch.remove(Space::OpenUploads, &key);
    }

    /// The upload, as long as it has not ended.
    fn upload(&self, id: UploadId) -> Result<Option<Arc<NewUpload>>, StoreError> {
        if let Some(known) = self.uploads.get(&id) {
            return Ok(known.clone());
        }
        let row = self.index.get(Space::Uploads, &id.0)?;
        let upload = row.map(|row| upload_rows::upload(&id.0, &row)).transpose()?;
        Ok(upload.map(|upload| upload.begun))
    }

    fn part(&mut self, part: &NewPart) -> Result<(), StoreError> {
        // Only after a loss that an operator accepted.
        if self.upload(part.upload)?.is_none() {
            self.superseded.push(part.blob);
            return Ok(());
        }
        let key = upload_rows::part_key(part.upload, part.number);
        let old = match self.parts.get(&(part.upload, part.number)) {
            Some(name) => Some(*name),
            None => {
                let row = self.index.get(Space::Parts, &key)?;
                row.map(|row| upload_rows::part(&key, &row)).transpose()?.map(|old| old.blob)
            }
        };
        if let Some(old) = old {
            self.let_go(old);
        }
        self.parts.insert((part.upload, part.number), part.blob);
        self.batch.put(Space::Parts, &key, |out| upload_rows::put_part(out, part));
        self.batch.put(Space::Blobs, &part.blob, |out| row_edit::put_number(out, &part.blob, part.size));
        Ok(())
    }

    /// Removes all parts of an upload, and lets go of the blobs that are not `kept`.
    fn end_parts(&mut self, id: UploadId, kept: &HashSet<BlobName>) -> Result<(), StoreError> {
        let mut parts = BTreeMap::new();
        self.index.scan(
            Space::Parts,
            Bound::Included(&id.0),
            end_of_prefix(&id.0).as_deref(),
            &mut |key, row| {
                let part = upload_rows::part(key, row)?;
                parts.insert(part.number, part.blob);
                Ok(true)
            },
        )?;
        // A part of this batch has let go of the one before it already.
        parts.extend(self.parts.range((id, 0)..=(id, u16::MAX)).map(|((_, number), name)| (*number, *name)));
        for (number, name) in parts {
            self.parts.remove(&(id, number));
            self.batch.remove(Space::Parts, &upload_rows::part_key(id, number));
            if !kept.contains(&name) {
                self.let_go(name);
            }
        }
        Ok(())
    }

    fn let_go(&mut self, name: BlobName) {
        self.batch.remove(Space::Blobs, &name);
        self.superseded.push(name);
    }
}
