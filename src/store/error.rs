//! Why the store cannot answer.
//!
//! Must never make "not known" look like "not there".

use std::sync::Arc;

use crate::journal::disk::is_no_space;

/// Why the store cannot answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk failed, or is full.
    #[error("store: {0}")]
    Io(#[from] std::io::Error),
    /// The index failed.
    #[error("index: {0}")]
    Index(String),
    /// The bytes do not match their checksum.
    #[error("object `{bucket}/{key}`: {what}")]
    Damaged {
        /// Its bucket.
        bucket: Arc<str>,
        /// Its key.
        key: Arc<str>,
        /// What does not match.
        what: String,
    },
    /// Part of the log is damaged and was not applied: nobody knows what is there now.
    #[error("part of the log could not be applied; what it changed is not known")]
    Unread,
    /// The object was replaced while it was read; look it up again.
    #[error("the object was replaced meanwhile")]
    Gone,
}

impl StoreError {
    /// True if there was no space on the disk.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Io(e) if is_no_space(e))
    }
}
