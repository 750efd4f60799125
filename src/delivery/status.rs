//! What a lane shows of itself: states and counters, copied once per batch, read by a scrape.
//!
//! Must never hold a key, a body or a secret, and must never be used to decide anything.

use std::sync::Arc;

use tidings_connector::ErrorClass;

use crate::metrics::TargetCounters;
use crate::queue::{Books, OldestEvent, Rewound};

/// Whether a target takes events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TargetState {
    /// Not connected yet, or again; nothing has failed since the last success.
    #[default]
    Connecting,
    /// Connected and taking events.
    Up,
    /// Failing across many keys, or not reachable: one probe at a time, and it resumes by itself.
    Down,
    /// Failing until somebody mends it: one probe at a time, and it resumes by itself.
    Faulted,
    /// Paused by an operator: everything is kept.
    Paused,
}

impl TargetState {
    /// Every state, in declaration order.
    pub const ALL: [TargetState; 5] = [Self::Connecting, Self::Up, Self::Down, Self::Faulted, Self::Paused];

    /// The metric label, and the word for people.
    pub fn label(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Up => "up",
            Self::Down => "down",
            Self::Faulted => "faulted",
            Self::Paused => "paused",
        }
    }
}

/// What people are told of a target whose far side is gone.
pub(super) const GONE: &str = "its far side said that it is gone, and asked never to be called again: \
     everything is kept until it is resumed (`tidings target resume`)";

/// The latest failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastError {
    /// Its class, as a metric label.
    pub class: ErrorClass,
    /// For people: at most 512 bytes, no secrets.
    pub text: Arc<str>,
    /// When, in milliseconds since the Unix epoch.
    pub at_unix_ms: i64,
}

/// One target's lane at one moment.
#[derive(Debug, Clone)]
pub struct TargetStatus {
    /// The target's name.
    pub name: Arc<str>,
    /// The connector's kind: `kafka`, `http` …
    pub kind: &'static str,
    /// Whether it takes events.
    pub state: TargetState,
    /// Since when, in milliseconds since the Unix epoch.
    pub since_unix_ms: i64,
    /// True while it waits because the far side asked for it.
    pub throttled: bool,
    /// The latest failure since the start, mended or not.
    pub last_error: Option<LastError>,
    /// The latest delivery since the start, in milliseconds since the Unix epoch.
    pub last_success_unix_ms: Option<i64>,
    /// Why the queue cannot be read, if it cannot.
    pub read_error: Option<Arc<str>>,
    /// Why nothing is sent although nobody paused the target: its far side is gone for good, or its dead
    /// letters are full, or cannot be written.
    pub blocked: Option<Arc<str>>,
    /// Messages handed to the connector and not settled.
    pub in_flight: usize,
    /// How many it may have in flight; 0 without a connection.
    pub in_flight_limit: usize,
    /// Entries in the lane that are not out and whose keys are not held.
    pub waiting: usize,
    /// Those of them whose key failed and waits for its next attempt.
    pub retrying: usize,
    /// Entries of held keys.
    pub held: usize,
    /// True if the lane reads no further ahead because it keeps as many entries as it may.
    pub full: bool,
    /// The books, one consistent snapshot.
    pub books: Books,
    /// From where to where entries are delivered again because an operator wants it.
    pub replaying: Option<Rewound>,
    /// The oldest event that the lane took and has not settled. None also where the lane does not have all
    /// entries in memory: the queue knows it then.
    pub oldest_undelivered: Option<OldestEvent>,
    /// What it counted since the start.
    pub counters: TargetCounters,
    /// Raised whenever a connection is given up.
    pub incarnation: u64,
    /// True once the lane has ended.
    pub stopped: bool,
}

/// What the lane writes and a handle reads.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    pub(super) state: TargetState,
    pub(super) since_unix_ms: i64,
    pub(super) throttled: bool,
    pub(super) last_error: Option<LastError>,
    pub(super) last_success_unix_ms: Option<i64>,
    pub(super) read_error: Option<Arc<str>>,
    /// Why entries cannot be read again, if they cannot.
    pub(super) lookup_error: Option<Arc<str>>,
    pub(super) blocked: Option<Arc<str>>,
    /// The far side said that it is gone, and nobody resumed the target.
    pub(super) gone: bool,
    pub(super) in_flight: usize,
    pub(super) in_flight_limit: usize,
    pub(super) waiting: usize,
    pub(super) retrying: usize,
    pub(super) held: usize,
    pub(super) full: bool,
    pub(super) oldest_undelivered: Option<OldestEvent>,
    pub(super) counters: TargetCounters,
    pub(super) incarnation: u64,
    pub(super) stopped: bool,
}
