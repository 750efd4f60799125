//! `[limits]`: how much clients may have going on at once, one by one and all together.
//!
//! Must never be looked at where nobody is known yet but for connections: a limit of a key needs a verified
//! signature.

use serde::Deserialize;

use super::check::Checker;
use super::tree::KeyPath;

/// No limit may be set higher.
const MOST: usize = 10_000_000;

/// How much clients may have going on at once. Beyond it they are answered 503, with `Retry-After`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Connections from one address; more are closed at once.
    pub connections_per_address: usize,
    /// Connections that one access key has used.
    pub connections_per_key: usize,
    /// Requests that are being answered.
    pub requests: usize,
    /// The same of one access key.
    pub requests_per_key: usize,
    /// Bodies of objects and parts that are being received.
    pub uploads: usize,
    /// The same of one access key.
    pub uploads_per_key: usize,
    /// Multipart uploads that were begun and neither completed nor aborted.
    pub open_uploads: usize,
    /// The same of one access key.
    pub open_uploads_per_key: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_per_address: 2_048,
            connections_per_key: 2_048,
            requests: 4_096,
            requests_per_key: 2_048,
            uploads: 2_048,
            uploads_per_key: 1_024,
            open_uploads: 100_000,
            open_uploads_per_key: 50_000,
        }
    }
}

impl Checker<'_> {
    pub(super) fn limits_of_all(&mut self, raw: &Limits) -> Limits {
        let at = KeyPath::of(&["limits"]);
        let Limits {
            connections_per_address,
            connections_per_key,
            requests,
            requests_per_key,
            uploads,
            uploads_per_key,
            open_uploads,
            open_uploads_per_key,
        } = *raw;
        for (key, value) in [
            ("connections_per_address", connections_per_address),
            ("connections_per_key", connections_per_key),
            ("requests", requests),
            ("requests_per_key", requests_per_key),
            ("uploads", uploads),
            ("uploads_per_key", uploads_per_key),
            ("open_uploads", open_uploads),
            ("open_uploads_per_key", open_uploads_per_key),
        ] {
            self.count(&at.key(key), value, 1..=MOST);
        }
        *raw
    }
}
