//! Runs as they are written down, and which of them somebody wants to see.
//!
//! Must never hold an event or a result.

use serde::{Deserialize, Serialize};
use tidings_function::{Call, Ended};

/// Runs of one answer, at most.
pub const MAX_RUNS: usize = 1_000;

/// One invocation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Counts a function's runs, from 1.
    #[serde(default)]
    pub seq: u64,
    /// The same at every attempt of an event.
    pub request_id: String,
    /// The function.
    pub function: String,
    /// The version of its code.
    pub version: u32,
    /// The event's id; none for an event that somebody typed.
    pub event_id: Option<String>,
    /// The object, `bucket/key`.
    pub object: Option<String>,
    /// When it began, RFC 3339 in UTC.
    pub start: Option<String>,
    /// Milliseconds that it took.
    pub duration_ms: u64,
    /// The most memory that was seen, in bytes.
    pub memory_bytes: u64,
    /// SCF's code: 200 is success.
    pub status: u16,
    /// The same in words.
    pub outcome: String,
    /// 0 at the first attempt.
    pub retry: u32,
    /// What went wrong; empty if nothing did.
    pub message: String,
    /// The last of what the code wrote.
    pub log: String,
}

impl Run {
    pub(super) fn new(name: &str, version: u32, call: &Call, ended: &Ended, start_us: i64) -> Self {
        Self {
            seq: 0,
            request_id: call.request_id.to_string(),
            function: name.to_owned(),
            version,
            event_id: call.event_id.as_deref().map(str::to_owned),
            object: call.object.as_deref().map(str::to_owned),
            start: jiff::Timestamp::from_microsecond(start_us).ok().map(|t| t.to_string()),
            duration_ms: u64::try_from(ended.duration.as_millis()).unwrap_or(u64::MAX),
            memory_bytes: ended.memory,
            status: ended.status.code(),
            outcome: ended.status.word().to_owned(),
            retry: call.retry,
            message: ended.message.clone(),
            log: ended.log.clone(),
        }
    }
}

/// Which runs somebody wants to see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunQuery {
    /// Only those above this number, the earliest of them first; without it the latest.
    pub after: Option<u64>,
    /// So many at most.
    pub limit: usize,
    /// Only those that failed.
    pub failed: bool,
    /// Only those of this request.
    pub request_id: Option<String>,
}

/// Runs that were asked for, in their order.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Runs {
    /// The runs.
    pub runs: Vec<Run>,
    /// The number of the last run that was looked at: what `after` should be next.
    pub next: u64,
}
