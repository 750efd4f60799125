//! Changes of the whole stack that are made of several steps: uploads in parts, and copies.
//!
//! Must never give a step a name that an earlier one had.

use std::sync::Arc;

use bytes::Bytes;
use tidings::commit::{
    BeginUpload, CommitError, CompleteUpload, Completion, Conditions, NewBody, PutObject, PutPart,
};
use tidings::event::EventKind;
use tidings::queue::{Piece, UploadId};
use tidings::store::{BlobHandle, Store as _};

use crate::disk::Mark;
use crate::rules::body;
use crate::stack::{BUCKET, Stack, request};

/// An upload whose parts are there: what a client needs to ask for its object, once or again.
#[derive(Debug, Clone)]
pub struct Sent {
    pub key: Arc<str>,
    upload: UploadId,
    pieces: Vec<Piece>,
    /// The change.
    pub n: u64,
}

impl Stack {
    /// A blob that a record may name.
    pub async fn blob(&self, bytes: Bytes) -> Result<BlobHandle, CommitError> {
        let mut blob = self.store.new_blob().await?;
        blob.write(bytes).await?;
        Ok(blob.finish().await?)
    }

    /// An object of two parts as change `n`, noted on the trace; gives what a client needs to ask again.
    pub async fn upload(&self, key: &str, n: u64) -> Result<Sent, CommitError> {
        self.disk.mark(Mark::Begun(n));
        let permit = self.commit.reserve(0).await?;
        let (bucket, key): (Arc<str>, Arc<str>) = (BUCKET.into(), key.into());
        let (headers, checksum, request) = (Vec::new(), None, request(n));
        let begin = BeginUpload { bucket: bucket.clone(), key: key.clone(), headers, checksum, request };
        let upload = self.commit.begin_upload(permit, begin).await?;
        let whole = body(n);
        for (number, bytes) in [(1, whole.slice(..whole.len() / 2)), (2, whole.slice(whole.len() / 2..))] {
            let permit = self.commit.reserve(0).await?;
            let (bucket, key, size) = (bucket.clone(), key.clone(), bytes.len() as u64);
            let body = self.blob(bytes).await?;
            let (md5, crc64, sum) = ([0; 16], 0, None);
            let part = PutPart { bucket, key, upload, number, size, md5, crc64, sum, body };
            self.commit.put_part(permit, part).await?;
        }
        let pieces = self.store.parts(upload, 0, 10)?.iter().map(|part| Piece::from(&**part)).collect();
        let sent = Sent { key, upload, pieces, n };
        match self.complete(&sent).await? {
            Completion::Made(at) => {
                let (epoch, offset) = (at.position.epoch, at.position.offset);
                self.disk.mark(Mark::Durable { n, epoch, offset });
            }
            Completion::Repeated(done) => panic!("{done:?} of an upload that has just begun"),
        }
        Ok(sent)
    }

    /// Makes the object, or asks again whether it was made.
    pub async fn complete(&self, sent: &Sent) -> Result<Completion, CommitError> {
        let Sent { key, upload, pieces, n } = sent;
        let permit = self.commit.reserve(1_000).await?;
        let complete = CompleteUpload {
            upload: *upload,
            bucket: BUCKET.into(),
            key: key.clone(),
            pieces: pieces.clone(),
            size: body(*n).len() as u64,
            etag: n.to_string().into(),
            crc64: 0,
            headers: Vec::new(),
            conditions: Conditions::default(),
            request: request(*n),
        };
        self.commit.complete_upload(permit, complete).await
    }

    /// A copy of what change `of` made, as change `n`, noted on the trace.
    pub async fn copy(&self, key: &str, of: u64, n: u64) -> Result<(), CommitError> {
        self.disk.mark(Mark::Begun(n));
        let permit = self.commit.reserve(0).await?;
        let body = NewBody::Blob(self.blob(body(of)).await?);
        let put = PutObject { kind: EventKind::CreatedCopy, ..self.new_object(key, of, body, request(n)) };
        let position = self.commit.put_object(permit, put).await?.position;
        self.disk.mark(Mark::Durable { n, epoch: position.epoch, offset: position.offset });
        Ok(())
    }
}
