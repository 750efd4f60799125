//! What the overlay knows about registered targets.
//!
//! Must never invent a target that neither the overlay nor the index knows.

use std::sync::Arc;

use crate::config::Budget;
use crate::queue::{Change, Stored, TargetNo};
use crate::store::RegisteredTarget;

/// What is not in the index yet about one target: its registration, and the newest of what changed after it.
#[derive(Debug, Clone, Default)]
pub(super) struct TargetDelta {
    registered: Option<Arc<Stored>>,
    paused: Option<bool>,
    configured: Option<(Arc<str>, Budget)>,
    forgotten: Option<u64>,
    pub(super) offset: u64,
}

impl TargetDelta {
    /// Adds a later change of the same target.
    pub(super) fn add(&mut self, stored: &Arc<Stored>) {
        match &stored.entry.change {
            Change::RegisterTarget { .. } => {
                *self = Self { registered: Some(stored.clone()), ..Self::default() };
            }
            Change::PauseTarget { paused, .. } => self.paused = Some(*paused),
            Change::ConfigureTarget { kind, budget, .. } => self.configured = Some((kind.clone(), *budget)),
            Change::ForgetTarget { unsettled, .. } => self.forgotten = Some(*unsettled),
            _ => return,
        }
        self.offset = stored.position.offset;
    }

    /// The target after these changes, given what the index has. None: the index does not know it either.
    pub(super) fn over(&self, base: Option<RegisteredTarget>) -> Option<RegisteredTarget> {
        let registered = self.registered.as_ref().and_then(|stored| match &stored.entry.change {
            Change::RegisterTarget { target, name, kind } => {
                Some(RegisteredTarget::new(*target, name, kind, stored.position.offset))
            }
            _ => None,
        });
        let mut target = registered.or(base)?;
        target.paused = self.paused.unwrap_or(target.paused);
        target.forgotten = self.forgotten.or(target.forgotten);
        if let Some((kind, budget)) = &self.configured {
            (target.kind, target.budget) = (kind.clone(), *budget);
        }
        Some(target)
    }
}

/// The target that a change is about.
pub(super) fn target_of(change: &Change) -> Option<TargetNo> {
    match change {
        Change::RegisterTarget { target, .. }
        | Change::PauseTarget { target, .. }
        | Change::ConfigureTarget { target, .. }
        | Change::ForgetTarget { target, .. } => Some(*target),
        _ => None,
    }
}
