//! The journal as operators see it.
//!
//! Must never hold a key or a body.

use serde::Serialize;

/// The journal in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct JournalStat {
    /// The epoch of new entries.
    pub epoch: u32,
    /// The first offset that is kept.
    pub first_offset: u64,
    /// One above the last durable offset.
    pub durable_end: u64,
    /// One above the last offset that the index has applied.
    pub applied_end: u64,
    /// One above the last offset in the index's synced checkpoint.
    pub checkpointed_end: u64,
    /// Segment files.
    pub segments: u64,
    /// Disk that they take, in bytes.
    pub bytes: u64,
    /// Disk that they may take, in bytes.
    pub limit_bytes: u64,
    /// What was durable and cannot be read, as far as anybody noticed; `tidings journal verify` finds all.
    pub damage: Vec<DamageView>,
}

/// One damaged range of the journal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DamageView {
    /// The first offset that cannot be read.
    pub from: u64,
    /// The last one; below `from` if no record is lost.
    pub to: u64,
    /// What is wrong: `bytes`, `header` or `missing`.
    pub why: &'static str,
    /// The file's name.
    pub file: String,
    /// Where in it the damage begins, in bytes; 0 if the whole file cannot be read or is missing.
    pub at: u64,
}
