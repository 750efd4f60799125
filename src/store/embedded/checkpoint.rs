//! Checkpoints: everything applied so far becomes durable.
//!
//! Must never make a row durable before the bytes that it names are, nor tell the queue before both are.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::apply::{Applier, End};
use super::frozen::Frozen;
use super::index::{Batch, Index as _};
use super::redb_index::RedbIndex;
use crate::fail;
use crate::journal::disk::Disk;
use crate::store::StoreError;

/// The engine's memory while one row is read.
const CACHE: u64 = 1 << 20;

/// The first offset that the synced checkpoint of the index under `dir` lacks. Changes no file; nothing else
/// may work on the directory meanwhile.
///
/// # Errors
/// There is no index, or it cannot be opened.
pub fn checkpoint_end(disk: Arc<dyn Disk>, dir: &Path) -> Result<u64, StoreError> {
    let disk = Frozen(disk);
    Ok(RedbIndex::open(&disk, dir, CACHE, true)?.applied_next())
}

impl Applier {
    pub(super) fn checkpoint_if(&mut self, due: bool) -> Result<(), End> {
        if due && self.is_dirty() { self.checkpoint() } else { Ok(()) }
    }

    /// Packs first: a durable row must never name bytes that are not.
    pub(super) fn checkpoint(&mut self) -> Result<(), End> {
        let late = fail::mutant("checkpoint-before-packs-sync");
        if !late {
            self.builder.packs.sync().map_err(StoreError::Io)?;
        }
        fail::point("store.packs.synced");
        let mut rows = Batch::default();
        self.usage.put_rows(&mut rows);
        self.shared.scrub.put_row(&mut rows);
        let next = self.shared.index.checkpoint(&rows)?;
        fail::point("store.index.synced");
        self.shared.checkpointed.store(next, Ordering::Release);
        self.feed.checkpointed(next);
        fail::point("store.checkpointed");
        if late {
            self.builder.packs.sync().map_err(StoreError::Io)?;
        }
        self.usage.wrote_rows();
        self.sweep.checkpointed(next);
        self.sweep.packs.append(&mut self.reclaim.checkpointed());
        self.pace.checkpointed();
        Ok(())
    }
}
