//! Where the bytes of a body go as they come, whoever sends them: into memory as long as a record may carry
//! them, else into a blob.
//!
//! Must never keep more in memory than its bound, and never leave anything behind when it is dropped: a blob
//! that was not finished goes, as does one whose handle is dropped.

use bytes::{Bytes, BytesMut};

use super::digest::BodyHash;
use crate::commit::NewBody;
use crate::store::{BlobHandle, BlobWriter, Store, StoreError};

/// A body on its way in.
pub(super) struct Intake<'a> {
    store: &'a dyn Store,
    /// So many bytes may stay in memory.
    inline: u64,
    small: BytesMut,
    blob: Option<Box<dyn BlobWriter>>,
    hash: BodyHash,
    size: u64,
}

/// A body that is here.
pub(super) struct Taken {
    pub(super) body: NewBody,
    /// Bytes.
    pub(super) size: u64,
    pub(super) hash: BodyHash,
}

impl<'a> Intake<'a> {
    /// A body that stays in memory if it has at most `inline` bytes.
    pub(super) fn new(store: &'a dyn Store, inline: u64, hash: BodyHash) -> Self {
        Self { store, inline, small: BytesMut::new(), blob: None, hash, size: 0 }
    }

    /// One whose length is known: what stays in memory gets one allocation of its own.
    pub(super) fn of_size(store: &'a dyn Store, inline: u64, size: u64, hash: BodyHash) -> Self {
        let fits = size <= inline;
        let room = if fits { usize::try_from(size).unwrap_or(0) } else { 0 };
        let inline = if fits { size } else { 0 };
        Self { small: BytesMut::with_capacity(room), ..Self::new(store, inline, hash) }
    }

    /// Bytes that came so far.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Takes more bytes. They are copied: a slice of a connection's buffer would keep all of it alive for as
    /// long as the record is in memory.
    pub(super) async fn take(&mut self, data: Bytes) -> Result<(), StoreError> {
        self.hash.update(&data);
        self.size += data.len() as u64;
        if self.size <= self.inline {
            self.small.extend_from_slice(&data);
            return Ok(());
        }
        let mut blob = match self.blob.take() {
            Some(blob) => blob,
            None => self.spilled().await?,
        };
        blob.write(data).await?;
        self.blob = Some(blob);
        Ok(())
    }

    /// All of it came.
    pub(super) async fn finish(self) -> Result<Taken, StoreError> {
        let body = match self.blob {
            None => NewBody::Inline(self.small.freeze()),
            Some(blob) => NewBody::Blob(blob.finish().await?),
        };
        Ok(Taken { body, size: self.size, hash: self.hash })
    }

    /// The same for what is a blob however small it is.
    pub(super) async fn finish_blob(mut self) -> Result<(BlobHandle, BodyHash), StoreError> {
        let blob = match self.blob.take() {
            Some(blob) => blob,
            None => self.spilled().await?,
        };
        Ok((blob.finish().await?, self.hash))
    }

    /// A new blob with what was in memory.
    async fn spilled(&mut self) -> Result<Box<dyn BlobWriter>, StoreError> {
        let mut blob = self.store.new_blob().await?;
        let first = std::mem::take(&mut self.small).freeze();
        if !first.is_empty() {
            blob.write(first).await?;
        }
        Ok(blob)
    }
}
