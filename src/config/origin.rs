//! `[origin]`: how objects are fetched from the origins of buckets, and how that is judged.
//!
//! Must never allow more than a bound of anything: who may set a bucket's origin chooses who is called.

use std::time::Duration;

use super::check::{GIB, HOUR, MS};
use super::table::table;

table! {
    /// How objects are fetched from the origins of buckets.
    pub struct Origin = "origin", judged by origin {
        /// Private and loopback addresses may be called; link-local and metadata ones never are.
        allow_private: flag = false;
        /// The largest object, in bytes; never more than `store.max_object_bytes`.
        max_bytes: bytes = 5 * GIB, 1..=5 * 1024 * GIB;
        /// Fetches at once, of all buckets; what a client waits for beyond them is answered 503.
        max_fetches: count = 64, 1..=10_000;
        /// The same of one bucket.
        max_fetches_per_bucket: count = 16, 1..=10_000;
        /// Fetches that no client waits for and that have no place yet; more are left out.
        max_waiting: count = 256, 0..=100_000;
        /// How long reaching an origin may take, TLS included.
        connect_timeout: span = Duration::from_secs(5), 100 * MS..=HOUR;
        /// How long its status and headers may take after that.
        answer_timeout: span = Duration::from_secs(30), 100 * MS..=HOUR;
        /// How long its body may stand still.
        idle_timeout: span = Duration::from_secs(30), 100 * MS..=HOUR;
        /// How long all of a fetch may take.
        total_timeout: span = Duration::from_secs(1_800), 100 * MS..=24 * HOUR;
    }
}
