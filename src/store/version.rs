//! Versions of objects as the store shows them.
//!
//! Must never say what a change does to them: that is the commit path's business.

use std::sync::Arc;

use super::Object;

/// One version of an object: the object as it was, or a delete marker.
#[derive(Debug, Clone)]
pub struct ObjectVersion {
    /// The object; of a delete marker key, version and time alone.
    pub object: Object,
    /// It is a delete marker.
    pub marker: bool,
    /// It is the newest of its key: the current object, or the marker that hides it.
    pub latest: bool,
}

impl ObjectVersion {
    /// The only version of its key.
    pub(super) fn only(object: Object) -> Self {
        Self { object, marker: false, latest: true }
    }
}

/// Where a list of versions goes on, exclusive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionsAfter {
    /// Behind this key …
    pub key: Arc<str>,
    /// … or, if it is given, within it behind the version that the change at this offset made.
    pub offset: Option<u64>,
}
