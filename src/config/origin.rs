//! `[origin]`: how objects are fetched from the origins of buckets, and how that is judged.
//!
//! Must never allow more than a bound of anything: who may set a bucket's origin chooses who is called.

use std::time::Duration;

use serde::Deserialize;
use tidings_connector::{Size, Span};

use super::check::{Checker, GIB, HOUR, MS};
use super::tree::KeyPath;

/// How objects are fetched from the origins of buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Private and loopback addresses may be called; link-local and metadata ones never are.
    pub allow_private: bool,
    /// The largest object, in bytes; never more than `store.max_object_bytes`.
    pub max_bytes: u64,
    /// Fetches at once, of all buckets; what a client waits for beyond them is answered 503.
    pub max_fetches: usize,
    /// The same of one bucket.
    pub max_fetches_per_bucket: usize,
    /// Fetches that no client waits for and that have no place yet; more are left out.
    pub max_waiting: usize,
    /// How long reaching an origin may take, TLS included.
    pub connect_timeout: Duration,
    /// How long its status and headers may take after that.
    pub answer_timeout: Duration,
    /// How long its body may stand still.
    pub idle_timeout: Duration,
    /// How long all of a fetch may take.
    pub total_timeout: Duration,
}

/// The same as it is typed.
#[derive(Debug, Deserialize)]
#[serde(default)]
pub(super) struct Raw {
    allow_private: bool,
    max_bytes: Size,
    max_fetches: usize,
    max_fetches_per_bucket: usize,
    max_waiting: usize,
    connect_timeout: Span,
    answer_timeout: Span,
    idle_timeout: Span,
    total_timeout: Span,
}

impl Default for Raw {
    fn default() -> Self {
        let seconds = |n| Span(Duration::from_secs(n));
        Self {
            allow_private: false,
            max_bytes: Size(5 * GIB),
            max_fetches: 64,
            max_fetches_per_bucket: 16,
            max_waiting: 256,
            connect_timeout: seconds(5),
            answer_timeout: seconds(30),
            idle_timeout: seconds(30),
            total_timeout: seconds(1_800),
        }
    }
}

impl Default for Origin {
    fn default() -> Self {
        Self::from(&Raw::default())
    }
}

impl From<&Raw> for Origin {
    fn from(raw: &Raw) -> Self {
        Self {
            allow_private: raw.allow_private,
            max_bytes: raw.max_bytes.0,
            max_fetches: raw.max_fetches,
            max_fetches_per_bucket: raw.max_fetches_per_bucket,
            max_waiting: raw.max_waiting,
            connect_timeout: raw.connect_timeout.0,
            answer_timeout: raw.answer_timeout.0,
            idle_timeout: raw.idle_timeout.0,
            total_timeout: raw.total_timeout.0,
        }
    }
}

impl Checker<'_> {
    /// `[origin]`.
    pub(super) fn origin(&mut self, raw: &Raw) -> Origin {
        let at = KeyPath::of(&["origin"]);
        self.size(&at.key("max_bytes"), raw.max_bytes, 1..=5 * 1024 * GIB);
        self.count(&at.key("max_fetches"), raw.max_fetches, 1..=10_000);
        self.count(&at.key("max_fetches_per_bucket"), raw.max_fetches_per_bucket, 1..=10_000);
        self.count(&at.key("max_waiting"), raw.max_waiting, 0..=100_000);
        for (key, value) in [
            ("connect_timeout", raw.connect_timeout),
            ("answer_timeout", raw.answer_timeout),
            ("idle_timeout", raw.idle_timeout),
        ] {
            self.span(&at.key(key), value, 100 * MS..=HOUR);
        }
        self.span(&at.key("total_timeout"), raw.total_timeout, 100 * MS..=24 * HOUR);
        raw.into()
    }
}
