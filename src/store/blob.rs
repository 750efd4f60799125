//! Blobs as the rest sees them: being written, and durable without a record that names them.
//!
//! Must never remove a blob that a record may name.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::StoreError;

/// The bytes of a blob's name; none if the text is not one.
pub fn blob_name(text: &str) -> Option<[u8; 16]> {
    let mut name = [0; 16];
    hex::decode_to_slice(text, &mut name).ok().map(|()| name)
}

/// One blob being written. Dropped without `finish`, its file is removed.
#[async_trait]
pub trait BlobWriter: Send {
    /// Appends bytes.
    async fn write(&mut self, data: Bytes) -> Result<(), StoreError>;

    /// Makes the blob durable (file and directory) and returns its random name and the CRC-32C of its bytes.
    /// From here on the caller decides: a record names it, or [`BlobHandle::discard`].
    async fn finish(self: Box<Self>) -> Result<BlobHandle, StoreError>;
}

/// A durable blob that no record names yet.
///
/// Dropped before [`BlobHandle::keep`], its file is removed; after it, nothing removes it.
pub struct BlobHandle {
    /// The random name, 32 hex digits.
    pub name: Arc<str>,
    /// CRC-32C of the bytes.
    pub crc32c: u32,
    discard: Option<Box<dyn FnOnce() + Send>>,
}

impl BlobHandle {
    /// A handle that runs `discard` when dropped unkept.
    pub fn new(name: Arc<str>, crc32c: u32, discard: Box<dyn FnOnce() + Send>) -> Self {
        Self { name, crc32c, discard: Some(discard) }
    }

    /// The record that names the blob is about to be handed to the writer: from here on nothing removes it.
    pub fn keep(&mut self) {
        self.discard = None;
    }
}

impl Drop for BlobHandle {
    fn drop(&mut self) {
        if let Some(discard) = self.discard.take() {
            discard();
        }
    }
}

impl std::fmt::Debug for BlobHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlobHandle").field("name", &self.name).finish_non_exhaustive()
    }
}
