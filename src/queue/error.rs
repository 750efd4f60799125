//! What the queue answers instead of doing it: each variant is one decision of the caller.
//!
//! Must never call unknown what was refused, nor refused what may be durable.

use super::entry::TargetNo;

/// No space for a change now: the client's 503 SlowDown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Full {
    /// What is full, for whoever counts.
    pub reason: FullReason,
    /// The same for people.
    pub why: String,
}

/// What there is no space in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FullReason {
    /// The log: its budget, or the disk for its next segment.
    Log,
    /// The disk, so much that the space kept back for a full one is in use.
    Disk,
    /// The memory for changes that the index has not applied yet.
    IndexBusy,
    /// Nowhere: the index cannot follow the log at all.
    IndexStalled,
}

/// Why an append did not answer with a position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The record was not written, and never will be.
    #[error("not written: {0}")]
    Refused(String),
    /// The record may or may not be durable; only a restart can tell.
    #[error("outcome unknown: {0}")]
    Unknown(String),
}

/// Why a reader could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The target is not in the registry.
    #[error("target {0:?} is not registered")]
    Unregistered(TargetNo),
    /// The reader is open already.
    #[error("the reader of target {0:?} is open already")]
    InUse(TargetNo),
    /// Its progress cannot be read or written.
    #[error("progress of target {0:?}: {1}")]
    Io(TargetNo, #[source] std::io::Error),
}

/// Why a reader cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A record between these offsets is damaged; the reader stays where it is until an operator accepts the
    /// loss.
    #[error("records {from} to {to} are damaged; see `tidings journal verify`")]
    Corrupt {
        /// First damaged offset.
        from: u64,
        /// Last damaged offset.
        to: u64,
    },
    /// The disk failed.
    #[error("reading the journal: {0}")]
    Io(#[from] std::io::Error),
    /// The queue is shutting down.
    #[error("the queue is closed")]
    Closed,
}

/// How a reader went back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Rewound {
    /// The first offset that is given again.
    pub from: u64,
    /// Where that ends: the position from before; for a rematch, the end of the log when it was asked for.
    pub until: u64,
    /// What the rules of now match is given too, although the target was not given it when it happened.
    pub rematch: bool,
}

/// Why a reader cannot go back.
#[derive(Debug, thiserror::Error)]
pub enum RewindError {
    /// The log does not have everything from there on any more.
    #[error("the log has everything from offset {oldest} on, and no longer what was before: \
        `--from {oldest}` is the furthest back{}", said(*.time_us))]
    TooOld {
        /// The first offset that can be given again.
        oldest: u64,
        /// About when it was written, in microseconds since the Unix epoch, if that is known.
        time_us: Option<i64>,
    },
    /// Everything from there on is still to be delivered anyway.
    #[error("nothing was delivered from offset {from} on yet: the target is at {position}")]
    Nothing {
        /// What was asked for.
        from: u64,
        /// Where the reader is.
        position: u64,
    },
    /// The disk failed, or the queue is shutting down.
    #[error("the row that says so cannot be made durable: {0}")]
    NotDurable(String),
}

fn said(time_us: Option<i64>) -> String {
    let time = time_us.and_then(|us| jiff::Timestamp::from_microsecond(us).ok());
    time.map(|time| format!(" (written after {time})")).unwrap_or_default()
}
