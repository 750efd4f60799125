//! The body of an object or a part: one pass over its bytes, into the record or into a blob.
//!
//! Must never leave anything behind when the request ends at any await: a blob that was not finished goes, as
//! does one whose handle is dropped.

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use s3s::dto::StreamingBlob;
use s3s::{S3Error, S3Result, StdError};

use super::context::{BodyFault, RequestContext};
use super::digest::BodyHash;
use super::errors;
use super::operations::Operations;
use crate::commit::NewBody;
use crate::store::BlobHandle;

/// A body being read.
pub(super) struct Body<'a> {
    pub(super) stream: Option<StreamingBlob>,
    pub(super) hash: BodyHash,
    /// Declared bytes; fewer or more are refused.
    pub(super) size: u64,
    pub(super) context: &'a RequestContext,
}

impl Body<'_> {
    /// Reads a small body into one allocation of its own: a slice of the connection's buffer would keep all
    /// of it alive for as long as the record is in memory.
    pub(super) async fn read_inline(mut self) -> S3Result<(NewBody, BodyHash)> {
        let mut bytes = BytesMut::with_capacity(usize::try_from(self.size).unwrap_or(0));
        while let Some(data) = self.next(bytes.len() as u64).await? {
            bytes.extend_from_slice(&data);
        }
        self.ended(bytes.len() as u64)?;
        Ok((NewBody::Inline(bytes.freeze()), self.hash))
    }

    /// Writes a large body to a blob, frame by frame. Dropped on the way, the blob's file goes.
    pub(super) async fn read_blob(mut self, operations: &Operations) -> S3Result<(BlobHandle, BodyHash)> {
        let mut blob = operations.commit.store().new_blob().await.map_err(errors::of_store)?;
        let mut read = 0;
        while let Some(data) = self.next(read).await? {
            read += data.len() as u64;
            blob.write(data).await.map_err(errors::of_store)?;
        }
        self.ended(read)?;
        let handle = blob.finish().await.map_err(errors::of_store)?;
        Ok((handle, self.hash))
    }

    /// The next bytes, hashed, when `read` bytes have come.
    async fn next(&mut self, read: u64) -> S3Result<Option<Bytes>> {
        let Some(stream) = &mut self.stream else { return Ok(None) };
        let data = match stream.next().await {
            None => return Ok(None),
            Some(Ok(data)) => data,
            Some(Err(error)) => return Err(self.failed(&error)),
        };
        if read + data.len() as u64 > self.size {
            return Err(BodyFault::Length.into());
        }
        self.hash.update(&data);
        Ok(Some(data))
    }

    fn ended(&self, read: u64) -> S3Result<()> {
        match read == self.size {
            true => Ok(()),
            false => Err(BodyFault::Length.into()),
        }
    }

    /// Why the stream failed: what we noted on the way in or, if it was the verifier, what its pinned version
    /// says.
    fn failed(&self, error: &StdError) -> S3Error {
        let fault = self.context.fault.get().copied().unwrap_or_else(|| {
            let text = error.to_string();
            match text.as_str() {
                _ if text.contains("Sha256Mismatch") => BodyFault::Sha256,
                _ if text.contains("SignatureMismatch") => BodyFault::ChunkSignature,
                _ if text.contains("Length") || text.contains("Incomplete") => BodyFault::Length,
                _ => BodyFault::Framing("it could not be read"),
            }
        });
        fault.into()
    }
}
