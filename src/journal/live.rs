//! The live segments, oldest first: the list that readers, trimming and compaction share.
//!
//! Must never be held locked across a system call.

use std::sync::{Arc, PoisonError, RwLock};

use super::segment::Segment;

/// The live segments, oldest first.
#[derive(Debug, Default)]
pub(super) struct Segments(RwLock<Vec<Arc<Segment>>>);

impl Segments {
    pub(super) fn new(all: Vec<Arc<Segment>>) -> Self {
        Self(RwLock::new(all))
    }

    pub(super) fn push(&self, segment: Arc<Segment>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).push(segment);
    }

    pub(super) fn all(&self) -> Vec<Arc<Segment>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The segment that holds `offset`, or the first one above it.
    pub(super) fn holding(&self, offset: u64) -> Option<Arc<Segment>> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let n = all.partition_point(|s| s.known().end <= offset);
        all.get(n).cloned()
    }

    /// How many segments hold something at or above `offset`.
    pub(super) fn from(&self, offset: u64) -> usize {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.len() - all.partition_point(|s| s.known().end <= offset)
    }

    /// Puts `with` in the place of neighbours; false if they are not all there any more.
    pub(super) fn replace(&self, sources: &[Arc<Segment>], with: Arc<Segment>) -> bool {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let Some(first) = sources.first() else { return false };
        let Some(at) = all.iter().position(|s| Arc::ptr_eq(s, first)) else { return false };
        let there = all[at..].iter().zip(sources).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        if there < sources.len() {
            return false;
        }
        all.splice(at..at + sources.len(), [with]);
        true
    }

    /// Takes the oldest segment out if `may_go` says so.
    pub(super) fn pop_oldest(
        &self,
        may_go: impl Fn(&Segment, &[Arc<Segment>]) -> bool,
    ) -> Option<Arc<Segment>> {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let oldest = all.first()?;
        if may_go(oldest, &all) { Some(all.remove(0)) } else { None }
    }
}
