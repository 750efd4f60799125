//! Multipart uploads on the commit path: begin, part, complete, end.
//!
//! Parts of one upload share its lock; what ends it has the lock alone, so that no part is acknowledged that
//! the completed object, or the abort, did not see. Must never make a second object of one upload.

use std::sync::Arc;

use bytes::Bytes;

use super::detached::Detached;
use super::{Commit, CommitError, Committed, Conditions, Inner};
use crate::event::{Event, EventKind, RequestInfo};
use crate::fail;
use crate::journal::crc32c;
use crate::queue::{
    BodyRef, Change, MAX_PARTS, NewPart, NewUpload, ObjectMeta, PartChecksum, Permit, Piece, UploadChange,
    UploadId, encode_manifest,
};
use crate::store::{BlobHandle, Done, Upload};

/// An upload that shall begin.
#[derive(Debug)]
pub struct BeginUpload {
    /// The bucket's name.
    pub bucket: Arc<str>,
    /// The key of the object that it will be.
    pub key: Arc<str>,
    /// Metadata headers of that object.
    pub headers: Vec<(Arc<str>, Arc<str>)>,
    /// The checksum that the client chose.
    pub checksum: Option<PartChecksum>,
    /// Who asks.
    pub request: RequestInfo,
}

/// One part whose body is complete and verified.
#[derive(Debug)]
pub struct PutPart {
    /// The upload's bucket.
    pub bucket: Arc<str>,
    /// The upload's key.
    pub key: Arc<str>,
    /// The upload.
    pub upload: UploadId,
    /// 1 to [`MAX_PARTS`].
    pub number: u16,
    /// Bytes.
    pub size: u64,
    /// MD5 of the body.
    pub md5: [u8; 16],
    /// CRC-64/XZ of the body.
    pub crc64: u64,
    /// The part's checksum: header and value.
    pub sum: Option<(Arc<str>, Arc<str>)>,
    /// The bytes.
    pub body: BlobHandle,
}

/// An upload that shall become an object, as computed from its parts.
#[derive(Debug)]
pub struct CompleteUpload {
    /// The upload.
    pub upload: UploadId,
    /// Its bucket.
    pub bucket: Arc<str>,
    /// Its key.
    pub key: Arc<str>,
    /// The parts that the object is made of, by number.
    pub pieces: Vec<Piece>,
    /// Their sum, in bytes.
    pub size: u64,
    /// The ETag without quotes.
    pub etag: Arc<str>,
    /// CRC-64/XZ of all bytes.
    pub crc64: u64,
    /// Metadata headers to give back.
    pub headers: Vec<(Arc<str>, Arc<str>)>,
    /// What must hold for the object that is there now.
    pub conditions: Conditions,
    /// Who asks.
    pub request: RequestInfo,
}

/// What became of a completion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Completion {
    /// The object was made.
    Made(Committed),
    /// It was made before, by an earlier request for the same.
    Repeated(Done),
}

impl Commit {
    /// Begins an upload.
    pub async fn begin_upload(&self, permit: Permit, begin: BeginUpload) -> Result<UploadId, CommitError> {
        let inner = Arc::clone(&self.inner);
        Detached::new(async move {
            let _bucket = inner.bucket_lock(&begin.bucket).read().await;
            inner.require_bucket(&begin.bucket)?;
            let BeginUpload { bucket, key, headers, checksum, request } = begin;
            let time_us = (inner.clock)();
            let id = UploadId(inner.new_id(time_us).into_bytes());
            let owner = request.principal;
            inner.begin_one_of(&owner)?;
            let upload = NewUpload { id, bucket, key, time_us, owner, headers, checksum };
            let change = Change::Upload(UploadChange::Begin(Arc::new(upload)));
            inner.append_setting(permit, change).await.map(|_| id)
        })
        .await
    }

    /// Adds a part to an open upload, in place of one with the same number; gives when, in microseconds since
    /// the Unix epoch.
    pub async fn put_part(&self, permit: Permit, mut put: PutPart) -> Result<i64, CommitError> {
        let inner = Arc::clone(&self.inner);
        Detached::new(async move {
            let _bucket = inner.bucket_lock(&put.bucket).read().await;
            let _upload = inner.upload_lock(put.upload).read().await;
            inner.open_upload(put.upload, &put.bucket, &put.key)?;
            let blob = crate::store::blob_name(&put.body.name)
                .ok_or_else(|| CommitError::Unknown("the store made a blob without a name".to_owned()))?;
            let time_us = (inner.clock)();
            let part = NewPart {
                upload: put.upload,
                number: put.number,
                size: put.size,
                md5: put.md5,
                crc64: put.crc64,
                time_us,
                sum: put.sum.take(),
                blob,
                crc32c: put.body.crc32c,
            };
            // The record is about to be handed over: from here on nothing removes the file.
            put.body.keep();
            let change = Change::Upload(UploadChange::Part(Arc::new(part)));
            inner.append_setting(permit, change).await.map(|_| time_us)
        })
        .await
        .inspect(|_| fail::point("part.ack.after"))
    }

    /// Makes an object of an upload, once: a repeated request for the same finds what it became.
    pub async fn complete_upload(
        &self,
        mut permit: Permit,
        complete: CompleteUpload,
    ) -> Result<Completion, CommitError> {
        let inner = Arc::clone(&self.inner);
        Detached::new(async move {
            let within = inner.within(&complete.bucket).await?;
            let _upload = inner.upload_lock(complete.upload).write().await;
            let _key = inner.key_lock(&complete.bucket, &complete.key).lock().await;
            let version = within.bucket.versioning().of_new();
            let CompleteUpload { upload, bucket, key, pieces, size, etag, crc64, headers, .. } = complete;
            let found = inner.upload_of(upload, &bucket, &key)?;
            if let Some(done) = found.done {
                let same = done.etag == etag;
                return if same { Ok(Completion::Repeated(done)) } else { Err(CommitError::NoSuchUpload) };
            }
            inner.check_pieces(upload, &pieces)?;
            inner.check(&bucket, &key, &complete.conditions)?;
            let counted = within.count(&key, Some(size))?;
            let manifest = Bytes::from(encode_manifest(&pieces));
            let body = BodyRef::Manifest {
                crc32c: crc32c(&manifest),
                bytes: u32::try_from(manifest.len()).expect("a manifest of at most 10,000 parts"),
                parts: u16::try_from(pieces.len()).expect("at most 10,000 parts"),
            };
            let kind = EventKind::CreatedMultipart;
            let event = Event { version, ..inner.event(kind, bucket, key, size, etag, complete.request) };
            let change = Change::CompleteUpload { upload, meta: ObjectMeta { body, crc64, headers } };
            let entry = inner.admit(&within.bucket, &mut permit, change, event)?;
            let made = counted.ended(inner.append_event(permit, entry, manifest).await)?;
            inner.open_uploads.end(&found.begun.owner);
            Ok(Completion::Made(made))
        })
        .await
        .inspect(|_| fail::point("ack.after"))
    }

    /// Ends an open upload; its parts are gone.
    pub async fn abort_upload(
        &self,
        permit: Permit,
        bucket: &str,
        key: &str,
        upload: UploadId,
    ) -> Result<(), CommitError> {
        let inner = Arc::clone(&self.inner);
        let (bucket, key): (Arc<str>, Arc<str>) = (bucket.into(), key.into());
        Detached::new(async move {
            let _bucket = inner.bucket_lock(&bucket).read().await;
            let _upload = inner.upload_lock(upload).write().await;
            let open = inner.open_upload(upload, &bucket, &key)?;
            inner.end_upload(permit, &open).await
        })
        .await
    }
}

impl Inner {
    /// The upload of this bucket and key, open or done.
    fn upload_of(&self, id: UploadId, bucket: &str, key: &str) -> Result<Upload, CommitError> {
        let found = self.store.upload(id)?;
        let found = found.filter(|u| &*u.begun.bucket == bucket && &*u.begun.key == key);
        found.ok_or(CommitError::NoSuchUpload)
    }

    fn open_upload(&self, id: UploadId, bucket: &str, key: &str) -> Result<Upload, CommitError> {
        let found = self.upload_of(id, bucket, key)?;
        if found.done.is_none() { Ok(found) } else { Err(CommitError::NoSuchUpload) }
    }

    /// The parts are still those that the caller read.
    fn check_pieces(&self, upload: UploadId, pieces: &[Piece]) -> Result<(), CommitError> {
        let parts = self.store.parts(upload, 0, usize::from(MAX_PARTS))?;
        let is_there = |piece: &Piece| {
            let at = parts.binary_search_by_key(&piece.number, |part| part.number);
            at.is_ok_and(|at| Piece::from(&*parts[at]) == *piece)
        };
        if pieces.iter().all(is_there) { Ok(()) } else { Err(CommitError::PartsChanged) }
    }
}
