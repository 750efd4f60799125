//! What a request demands of the object that is there now, decided under the key's lock.
//!
//! Must never read the index for a change that demands nothing, and must never let a demand pass unread.

use super::{Commit, CommitError, Inner};
use crate::store::Object;

/// Microseconds in a second: times in conditions are whole seconds, as HTTP dates are.
const SECOND: i64 = 1_000_000;

/// Conditional writes and deletions. All that are set must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    /// The current object must have this ETag (without quotes); `*`: there must be one.
    pub if_match: Option<String>,
    /// The current object must not have this ETag; `*`: there must be none.
    pub if_none_match: Option<String>,
    /// The current object, if there is one, must be as large as this, in bytes.
    pub if_size: Option<u64>,
    /// The current object, if there is one, must have been made in this second since the Unix epoch.
    pub if_modified_at: Option<i64>,
    /// The object that `if_match` asks for was there when the request began: see [`Commit::foresee`].
    pub was_there: bool,
}

impl Conditions {
    /// True if nothing is demanded: the index need not be read.
    pub fn is_empty(&self) -> bool {
        let Self { if_match, if_none_match, if_size, if_modified_at, was_there: _ } = self;
        if_match.is_none() && if_none_match.is_none() && if_size.is_none() && if_modified_at.is_none()
    }

    /// Fails unless everything holds of the current object.
    pub(super) fn hold(&self, current: Option<&Object>) -> Result<(), CommitError> {
        let Some(object) = current else {
            return match (&self.if_match, self.was_there) {
                (None, _) => Ok(()),
                (Some(_), false) => Err(CommitError::NoSuchKey),
                // Another request removed it while this one was on its way.
                (Some(_), true) => Err(CommitError::Conflict),
            };
        };
        let is = |wanted: &String| wanted == "*" || **wanted == *object.etag;
        let holds = self.if_match.as_ref().is_none_or(is)
            && !self.if_none_match.as_ref().is_some_and(is)
            && self.if_size.is_none_or(|size| size == object.size)
            && self.if_modified_at.is_none_or(|at| at == object.modified_us.div_euclid(SECOND));
        if holds { Ok(()) } else { Err(CommitError::PreconditionFailed) }
    }
}

impl Commit {
    /// Asks before the body is read what the conditions say now: a client that cannot win is spared its
    /// upload, and one whose object is removed meanwhile is told that. The decision stays with the commit.
    pub fn foresee(&self, bucket: &str, key: &str, conditions: &mut Conditions) -> Result<(), CommitError> {
        if conditions.is_empty() {
            return Ok(());
        }
        self.inner.require_bucket(bucket)?;
        self.inner.check(bucket, key, conditions)?;
        conditions.was_there = conditions.if_match.is_some();
        Ok(())
    }
}

impl Inner {
    /// A change without conditions never reads the index.
    pub(super) fn check(&self, bucket: &str, key: &str, conditions: &Conditions) -> Result<(), CommitError> {
        if conditions.is_empty() {
            return Ok(());
        }
        conditions.hold(self.store.object(bucket, key)?.as_ref())
    }
}
