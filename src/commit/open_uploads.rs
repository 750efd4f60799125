//! How many multipart uploads are open, of whom, against their limits.
//!
//! Counted once from the index at the start, and kept from then on by what begins and ends them. Must never
//! refuse to end one.

use std::sync::{Arc, OnceLock};

use super::{Commit, CommitError, Inner, Noted};
use crate::limits::{Counts, Over};
use crate::store::{Store, StoreError};

/// Uploads looked at in one go.
const RUN: usize = 1_024;

/// Open uploads by access key; without limits nobody counts.
#[derive(Default)]
pub(super) struct OpenUploads(OnceLock<Counts<Arc<str>>>);

impl OpenUploads {
    pub(super) fn end(&self, owner: &Arc<str>) {
        if let Some(counts) = self.0.get() {
            counts.remove(owner);
        }
    }
}

impl Inner {
    /// Counts an upload that is about to begin.
    pub(super) fn begin_one_of(&self, owner: &Arc<str>) -> Result<(), CommitError> {
        let Some(counts) = self.open_uploads.0.get() else { return Ok(()) };
        counts.add(owner).map_err(|over| {
            let of_owner = over == Over::Each;
            (self.observer)(Noted::TooManyUploads { of_owner });
            CommitError::TooManyUploads { of_owner }
        })
    }
}

impl Commit {
    /// From now on no more than `each` uploads of one access key, and `all` together, are open. Reads every
    /// upload of the index, so it is called once, before any request.
    ///
    /// # Errors
    /// If the index cannot be read; then nothing is limited.
    pub fn limit_open_uploads(&self, each: usize, all: usize) -> Result<usize, StoreError> {
        let counts = Counts::new(each, all);
        let store: &dyn Store = &**self.store();
        let mut after = None;
        loop {
            let run = store.oldest_uploads(after, RUN)?;
            run.iter()
                .filter(|upload| upload.done.is_none())
                .for_each(|upload| counts.note(&upload.begun.owner));
            match run.last() {
                Some(last) if run.len() == RUN => after = Some(last.begun.id),
                _ => break,
            }
        }
        let open = counts.total();
        let _ = self.inner.open_uploads.0.set(counts);
        Ok(open)
    }
}
