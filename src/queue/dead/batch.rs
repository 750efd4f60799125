//! Batches: what one sync makes durable, on blocks of their own.
//!
//! Must never take a client's bytes for a batch: every batch carries the file's random salt, which is never
//! shown.

use super::record::{u32_at, u64_at};
use crate::journal::crc32c;

/// Every batch begins on a block of its own, so that a torn write harms nothing that was synced before.
pub(super) const BLOCK: u64 = 4096;
/// Bytes of a batch before its records.
pub(super) const BATCH_HEADER: usize = 48;
const BATCH_MAGIC: &[u8; 4] = b"TDLB";

/// A batch's header, without its magic and checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Batch {
    /// The file's own random number.
    pub(super) salt: u64,
    /// Where the batch stands in its file.
    pub(super) at: u64,
    /// Everything below was durable before this was written: who finds it, knows.
    pub(super) synced: u64,
    /// What stands from here up to this batch is in it again: it need not be there.
    pub(super) instead_of: u64,
    /// Bytes of records; 0 for a seal, which only carries `synced`.
    pub(super) len: u32,
}

impl Batch {
    /// The batch's bytes, of which `records` are the last.
    pub(super) fn bytes(salt: u64, at: u64, synced: u64, instead_of: u64, records: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(BATCH_HEADER + records.len());
        out.extend_from_slice(BATCH_MAGIC);
        out.extend_from_slice(&[0; 4]);
        [salt, at, synced, instead_of].iter().for_each(|n| out.extend_from_slice(&n.to_le_bytes()));
        out.extend_from_slice(&(records.len() as u32).to_le_bytes());
        out.resize(BATCH_HEADER, 0);
        out.extend_from_slice(records);
        let crc = crc32c(&out[8..]);
        out[4..8].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// The header at the beginning of `bytes`, if it belongs there. Its checksum is not looked at.
    pub(super) fn header(bytes: &[u8], salt: u64, at: u64) -> Option<Self> {
        let batch = Self {
            salt: u64_at(bytes, 8)?,
            at: u64_at(bytes, 16)?,
            synced: u64_at(bytes, 24)?,
            instead_of: u64_at(bytes, 32)?,
            len: u32_at(bytes, 40)?,
        };
        (bytes.starts_with(BATCH_MAGIC) && batch.salt == salt && batch.at == at).then_some(batch)
    }

    /// True if `bytes`, header and records, are whole.
    pub(super) fn is_whole(bytes: &[u8]) -> bool {
        u32_at(bytes, 4).is_some_and(|crc| crc32c(&bytes[8..]) == crc)
    }

    /// Where the next batch begins.
    pub(super) fn end(&self) -> u64 {
        (self.at + BATCH_HEADER as u64 + u64::from(self.len)).next_multiple_of(BLOCK)
    }
}
