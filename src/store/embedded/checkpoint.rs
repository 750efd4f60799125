//! Checkpoints: everything applied so far becomes durable.
//!
//! Must never make a row durable before the bytes that it names are, nor tell the queue before both are.

use std::sync::atomic::Ordering;

use super::apply::{Applier, End};
use super::index::Batch;
use crate::fail;
use crate::store::StoreError;

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
