//! Uploads as the store shows them.
//!
//! Must never say what an upload becomes: that is the commit path's business.

use std::sync::Arc;

use crate::queue::{NewUpload, UploadId};

/// An upload: open, or done and remembered so that a repeated completion gets the same answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// As it began.
    pub begun: Arc<NewUpload>,
    /// What became of it, once it is an object.
    pub done: Option<Done>,
}

/// The object that an upload has become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// When, in microseconds since the Unix epoch.
    pub time_us: i64,
    /// The object's ETag without quotes.
    pub etag: Arc<str>,
    /// The object's checksum, if it has one: header and value.
    pub sum: Option<(Arc<str>, Arc<str>)>,
    /// The object's version, if it has one.
    pub version: Option<Arc<str>>,
}

/// Where a list of uploads goes on, exclusive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadsAfter {
    /// Behind this key …
    pub key: Arc<str>,
    /// … or, if it is given, within it behind this upload.
    pub id: Option<UploadId>,
}
