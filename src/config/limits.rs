//! `[limits]`: how much clients may have going on at once, one by one and all together.
//!
//! Must never be looked at where nobody is known yet but for connections: a limit of a key needs a verified
//! signature.

use super::table::table;

/// No limit may be set higher.
const MOST: usize = 10_000_000;

table! {
    /// How much clients may have going on at once. Beyond it they are answered 503, with `Retry-After`.
    pub struct Limits = "limits", judged by limits_of_all {
        /// Connections from one address; more are closed at once.
        connections_per_address: count = 2_048, 1..=MOST;
        /// Connections that one access key has used.
        connections_per_key: count = 2_048, 1..=MOST;
        /// Requests that are being answered.
        requests: count = 4_096, 1..=MOST;
        /// The same of one access key.
        requests_per_key: count = 2_048, 1..=MOST;
        /// Bodies of objects and parts that are being received.
        uploads: count = 2_048, 1..=MOST;
        /// The same of one access key.
        uploads_per_key: count = 1_024, 1..=MOST;
        /// Multipart uploads that were begun and neither completed nor aborted.
        open_uploads: count = 100_000, 1..=MOST;
        /// The same of one access key.
        open_uploads_per_key: count = 50_000, 1..=MOST;
    }
}
