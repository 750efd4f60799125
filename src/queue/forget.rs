//! Forgetting a target: what it had not got is counted as forgotten, and nothing is kept for it any more.
//!
//! Must only be done once the log says durably that the target is forgotten: before that, whatever is removed
//! here would be lost without a word.

use std::io;

use super::embedded::EmbeddedQueue;
use super::entry::TargetNo;
use super::{Books, OpenError, dead, rows};
use crate::fail;

impl EmbeddedQueue {
    /// Ends the books of a target, which the log says is forgotten, and removes its row: gives the books as
    /// they end. Nobody may have its reader open. Blocks for two removals and a sync.
    pub fn forget(&self, target: TargetNo) -> Result<Books, OpenError> {
        if self.inner.open_readers().contains(&target) {
            return Err(OpenError::InUse(target));
        }
        let progress = self.inner.routes.remove(target).ok_or(OpenError::Unregistered(target))?;
        if let Some(dead) = self.inner.take_dead_letters(target) {
            dead.retire();
        }
        let books = progress.forget();
        // The keeper holds this lock while it writes: from here on it does not write the row again.
        self.inner.rows().retain(|(of, _)| of.target() != target);
        self.forget_leftovers(target).map_err(|e| OpenError::Io(target, e))?;
        self.inner.raise_floor();
        Ok(books)
    }

    /// Removes what a stop in the middle of [`EmbeddedQueue::forget`] left behind.
    pub fn forget_leftovers(&self, target: TargetNo) -> io::Result<()> {
        dead::remove(&*self.inner.disk, self.inner.progress_dir(), target)?;
        rows::remove(&*self.inner.disk, self.inner.progress_dir(), target)?;
        fail::point("forget.removed");
        Ok(())
    }
}
