//! Why a journal cannot be opened: sentences that say what to do.
//!
//! Must never hold a case that opening could mend by itself.

use std::io;

use super::format::HeaderError;

/// Why a journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Two files claim the same offsets: not damage of records, but a directory that was put together from
    /// several.
    #[error("journal: {file} at byte {at}: offsets {from} to {to} stand in two files; restore the directory")]
    Corrupt {
        /// The file's name.
        file: String,
        /// Where the damage begins.
        at: u64,
        /// The first offset affected.
        from: u64,
        /// The last offset affected.
        to: u64,
    },
    /// The header is not usable.
    #[error("journal: {0}: {1}")]
    Header(String, HeaderError),
    /// An accepted loss was not brought to its end.
    #[error("journal: `tidings journal accept-loss` was interrupted: run it again")]
    Unfinished,
    /// No epoch is left to begin.
    #[error("journal: all epochs are used up: begin with a new data directory")]
    Epochs,
    /// The disk failed.
    #[error("journal: {0}")]
    Io(#[from] io::Error),
}
