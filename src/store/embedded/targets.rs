//! What the overlay knows about registered targets.
//!
//! Must never invent a target that neither the overlay nor the index knows.

use std::sync::Arc;

use crate::queue::{Change, Stored, TargetNo};
use crate::store::RegisteredTarget;

/// What is not in the index yet about one target: its registration and its newest pause.
#[derive(Debug, Clone, Default)]
pub(super) struct TargetDelta {
    registered: Option<Arc<Stored>>,
    paused: Option<bool>,
    pub(super) offset: u64,
}

impl TargetDelta {
    /// Adds a later change of the same target.
    pub(super) fn add(&mut self, stored: &Arc<Stored>) {
        match stored.entry.change {
            Change::RegisterTarget { .. } => {
                self.registered = Some(stored.clone());
                self.paused = None;
            }
            Change::PauseTarget { paused, .. } => self.paused = Some(paused),
            _ => return,
        }
        self.offset = stored.position.offset;
    }

    /// The target after these changes, given what the index has. None: the index does not know it either.
    pub(super) fn over(&self, base: Option<RegisteredTarget>) -> Option<RegisteredTarget> {
        let registered = self.registered.as_ref().and_then(|stored| match &stored.entry.change {
            Change::RegisterTarget { target, name, kind } => Some(RegisteredTarget {
                target: *target,
                name: name.clone(),
                kind: kind.clone(),
                since: stored.position.offset,
                paused: false,
            }),
            _ => None,
        });
        let mut target = registered.or(base)?;
        target.paused = self.paused.unwrap_or(target.paused);
        Some(target)
    }
}

/// The target that a change is about.
pub(super) fn target_of(change: &Change) -> Option<TargetNo> {
    match change {
        Change::RegisterTarget { target, .. } | Change::PauseTarget { target, .. } => Some(*target),
        _ => None,
    }
}
