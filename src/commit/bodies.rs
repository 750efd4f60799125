//! The disk budget for bodies, apart from the log's: what they take now, and what is on its way.
//!
//! Must never refuse a removal, and never let changes that arrive at once share the same room.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::{Commit, CommitError, Noted};

/// The budget; without one nothing is refused for its sake.
#[derive(Default)]
pub(super) struct Bodies(OnceLock<Budget>);

struct Budget {
    max: u64,
    used: Box<dyn Fn() -> u64 + Send + Sync>,
    promised: Arc<AtomicU64>,
}

/// Room for one body, until it is dropped: by then the body counts itself, or is gone.
#[must_use = "the room is given back when this is dropped"]
#[derive(Debug)]
pub struct BodySpace {
    promised: Arc<AtomicU64>,
    bytes: u64,
}

impl Drop for BodySpace {
    fn drop(&mut self) {
        self.promised.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Commit {
    /// From now on bodies may take `max` bytes of disk; `used` says what they take now, those of removed
    /// objects included until their space is given back. To be called once, before any request.
    pub fn limit_bodies(&self, max: u64, used: impl Fn() -> u64 + Send + Sync + 'static) {
        let _ = self.inner.bodies.0.set(Budget { max, used: Box::new(used), promised: Arc::default() });
    }

    /// Takes room for a body of `bytes`, before any of it is read. To be held until the change is answered.
    ///
    /// # Errors
    /// [`CommitError::BodiesFull`]: nothing happened.
    pub fn reserve_body(&self, bytes: u64) -> Result<BodySpace, CommitError> {
        let Some(budget) = self.inner.bodies.0.get() else {
            return Ok(BodySpace { promised: Arc::default(), bytes: 0 });
        };
        let before = budget.promised.fetch_add(bytes, Ordering::Relaxed);
        // Gives back what was taken, too, if it is refused.
        let space = BodySpace { promised: Arc::clone(&budget.promised), bytes };
        let wanted = (budget.used)().saturating_add(before).saturating_add(bytes);
        // A body that is empty takes nothing.
        if bytes > 0 && wanted > budget.max {
            (self.inner.observer)(Noted::BodiesFull);
            return Err(CommitError::BodiesFull);
        }
        Ok(space)
    }
}
