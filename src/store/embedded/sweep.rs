//! The index thread's removals: blobs that nobody owns any more, orphans found at open, packs that nobody
//! names.
//!
//! Must never remove a superseded blob, nor a pack, before a synced checkpoint is past the change that let it
//! go.

use std::collections::{HashSet, VecDeque};

use super::apply::Applier;
use super::index::{Reads as _, Space};
use super::row::BlobName;

/// Blob files looked at or removed between two batches.
const SWEEP_RUN: usize = 1000;

/// What is to be removed.
pub(super) struct Sweep {
    /// Superseded blobs, each with the checkpoint that must be reached before its file goes, and its bytes.
    retired: VecDeque<(u64, BlobName, u64)>,
    /// Superseded blobs that a reader still needs: looked at again after each checkpoint.
    pinned: Vec<(BlobName, u64)>,
    /// Blob files found at open: once the index reached the tail found then, those that no row owns are
    /// orphans.
    found: Vec<BlobName>,
    /// Packs that no row of a synced checkpoint names.
    pub(super) packs: Vec<u32>,
}

impl Sweep {
    pub(super) fn new(found: Vec<BlobName>) -> Self {
        Self { retired: VecDeque::new(), pinned: Vec::new(), found, packs: Vec::new() }
    }

    /// True if there is something to do once the checkpoint is there, and (for orphans) the tail reached.
    pub(super) fn has_work(&self, checkpointed: u64, tail_reached: bool) -> bool {
        self.retired.front().is_some_and(|(after, ..)| *after <= checkpointed)
            || (tail_reached && !self.found.is_empty())
            || !self.packs.is_empty()
    }

    /// A checkpoint was made: what readers needed then, they may not need now.
    pub(super) fn checkpointed(&mut self, next: u64) {
        self.retired.extend(self.pinned.drain(..).map(|(name, bytes)| (next, name, bytes)));
    }
}

impl Applier {
    /// A blob goes once the synced checkpoint is at `after`.
    pub(super) fn retire(&mut self, after: u64, name: BlobName, bytes: u64) {
        self.usage.retire(bytes);
        self.sweep.retired.push_back((after, name, bytes));
    }

    /// Removes some of what nobody needs, and looks for orphans among some of the files found at open.
    pub(super) fn sweep(&mut self) {
        let mut changed = self.remove_packs();
        for _ in 0..SWEEP_RUN {
            if self.sweep.retired.front().is_none_or(|(after, ..)| *after > self.checkpointed()) {
                break;
            }
            let Some((_, name, bytes)) = self.sweep.retired.pop_front() else { break };
            if self.shared.blobs.is_pinned(&name) {
                self.sweep.pinned.push((name, bytes));
                continue;
            }
            match self.shared.blobs.remove(&name) {
                Ok(()) => self.usage.retired(bytes),
                Err(e) => {
                    tracing::warn!(error = %e, "a superseded blob stays; the next start removes it");
                }
            }
            changed = true;
        }
        if self.tail_reached {
            changed |= self.look_for_orphans();
        }
        if changed {
            self.publish_usage();
        }
    }

    pub(super) fn look_for_orphans(&mut self) -> bool {
        let next = self.shared.index.applied_next();
        let from = self.sweep.found.len().saturating_sub(SWEEP_RUN);
        let some = self.sweep.found.split_off(from);
        // One that a change let go since the start is on its way already, and was counted.
        let retired = self.sweep.retired.iter().map(|(_, name, _)| *name);
        let waiting: HashSet<_> = retired.chain(self.sweep.pinned.iter().map(|(name, _)| *name)).collect();
        let mut any = false;
        for name in some.into_iter().filter(|name| !waiting.contains(name)) {
            // On an error the file stays: the next start looks again.
            let owned = !matches!(self.shared.index.get(Space::Blobs, &name), Ok(None));
            // One that lost its owner in this life is on its way already.
            if !owned && !self.sweep.retired.iter().any(|(_, retired, _)| *retired == name) {
                let bytes = self.shared.blobs.bytes(&name).unwrap_or_default();
                self.retire(next, name, bytes);
                any = true;
            }
        }
        any
    }

    fn remove_packs(&mut self) -> bool {
        let packs = std::mem::take(&mut self.sweep.packs);
        for pack in &packs {
            match self.shared.packs.remove(*pack) {
                Ok(()) => {
                    tracing::debug!(pack, "a pack that no object needs is removed");
                    self.usage.removed(*pack);
                }
                Err(e) => {
                    tracing::warn!(error = %e, pack, "a pack was not removed; after the next start it is");
                    self.reclaim.leave(*pack);
                }
            }
        }
        !packs.is_empty()
    }
}
