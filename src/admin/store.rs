//! The store as operators see it.
//!
//! Must never be shown to who has no token: findings name keys.

use serde::Serialize;

/// What bodies take, and what the background scrub found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct StoreStat {
    /// Bytes on the disk that an object or a part needs.
    pub live_bytes: u64,
    /// Bytes on the disk that will be given back.
    pub dead_bytes: u64,
    /// Bytes of bodies that the scrub read since the start.
    pub scrubbed_bytes: u64,
    /// Times that it came to the end since the start.
    pub scrub_passes: u64,
    /// Objects and parts that it found damaged when it looked at them last.
    pub damaged: u64,
    /// The first 1,000 of them; `tidings store verify` finds all.
    pub damage: Vec<BodyDamageView>,
}

/// One damaged body.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BodyDamageView {
    /// Its bucket; none for a part of an upload.
    pub bucket: Option<String>,
    /// Its key; none for a part of an upload.
    pub key: Option<String>,
    /// The file, under the data directory.
    pub file: String,
    /// Where in it the bytes begin that are concerned; none where all of it is.
    pub at: Option<u64>,
    /// What is wrong.
    pub what: String,
}
