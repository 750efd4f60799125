//! Registered targets: their rows, and what the overlay knows about them.
//!
//! Must never invent a target that neither the overlay nor the index knows.

use std::sync::Arc;

use super::row::{ROW_VERSION, damaged, open, put_text, seal, take, take_text};
use crate::config::{Budget, WhenFull};
use crate::queue::{Change, Pause, Stored, TargetNo};
use crate::store::{RegisteredTarget, StoreError};

/// What is not in the index yet about one target: its registration, and the newest of what changed after it.
#[derive(Debug, Clone, Default)]
pub(super) struct TargetDelta {
    registered: Option<Arc<Stored>>,
    paused: Option<Pause>,
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

/// The index key of a target.
pub(super) fn target_key(target: TargetNo) -> [u8; 4] {
    target.0.to_be_bytes()
}

/// Appends a target's row.
pub(super) fn put_target(out: &mut Vec<u8>, target: &RegisteredTarget) {
    let from = out.len();
    out.push(ROW_VERSION);
    out.extend_from_slice(&target.since.to_le_bytes());
    out.push(target.paused.byte());
    put_text(out, &target.name);
    put_text(out, &target.kind);
    out.extend_from_slice(&target.budget.max_backlog.to_le_bytes());
    out.push(u8::from(target.budget.when_full == WhenFull::Shed));
    if let Some(unsettled) = target.forgotten {
        out.extend_from_slice(&unsettled.to_le_bytes());
    }
    seal(out, from, &target_key(target.target));
}

/// The target of a row.
pub(super) fn target(key: &[u8], row: &[u8]) -> Result<RegisteredTarget, StoreError> {
    let decode = || {
        let mut rest = open(key, row)?;
        let target = TargetNo(u32::from_be_bytes(key.try_into().ok()?));
        let since = u64::from_le_bytes(take(&mut rest)?);
        let [paused] = take(&mut rest)?;
        let paused = Pause::of_byte(paused);
        let (name, kind) = (take_text(&mut rest)?.into(), take_text(&mut rest)?.into());
        let max_backlog = u64::from_le_bytes(take(&mut rest)?);
        let when_full = if take::<1>(&mut rest)? == [0] { WhenFull::Refuse } else { WhenFull::Shed };
        let budget = Budget { max_backlog, when_full };
        let forgotten = if rest.is_empty() { None } else { Some(u64::from_le_bytes(take(&mut rest)?)) };
        let known = RegisteredTarget { target, name, kind, since, paused, budget, forgotten };
        rest.is_empty().then_some(known)
    };
    decode().ok_or_else(|| damaged(key))
}
