//! Restores of archived objects as the store shows them.
//!
//! Must never say what is to be done about one: that is the commit path's business.

use std::sync::Arc;

use super::StoreError;
use crate::queue::Restore;

/// Something is to be done about a restore at a certain time: it is ready, or it expires. Sorted by that
/// time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DueRestore {
    /// When, in microseconds since the Unix epoch.
    pub due_us: i64,
    /// The object's bucket.
    pub bucket: Arc<str>,
    /// Its key.
    pub key: Arc<str>,
    /// The offset of the change that made it. It may be gone.
    pub of: u64,
}

/// Restores of archived objects. A store that archives nothing keeps the defaults, which show none.
pub trait Restores {
    /// The restore, running or done, of the object under this key that the change at `of` made.
    fn restore(&self, _bucket: &str, _key: &str, _of: u64) -> Result<Option<Restore>, StoreError> {
        Ok(None)
    }

    /// What is due no later than `until_us`, the earliest first, from behind `after`, at most `max`.
    fn due_restores(
        &self,
        _after: Option<&DueRestore>,
        _until_us: i64,
        _max: usize,
    ) -> Result<Vec<DueRestore>, StoreError> {
        Ok(Vec::new())
    }
}
