//! What the worker is asked to do.
//!
//! Must never be forgotten without its answer, where somebody waits for one.

use tokio::sync::oneshot;

use super::{Gone, Letter};

/// What the worker does beside burying.
pub(super) enum Job {
    /// A letter's replay failed: it has another last outcome.
    Update(Box<Letter>),
    Gone {
        offsets: Vec<u64>,
        how: Gone,
        done: Option<oneshot::Sender<u64>>,
    },
    /// An operator wants these to be sent again; those that were not on their way are counted.
    Wish {
        offsets: Vec<u64>,
        done: oneshot::Sender<u64>,
    },
    /// Reads letters for the lane.
    Load(Vec<u64>),
    /// Goes on without what is missing.
    Accept(oneshot::Sender<Result<u64, String>>),
}

impl Job {
    /// True if it says how a replay ended.
    pub(super) fn ends_a_replay(&self) -> bool {
        matches!(self, Self::Update(_) | Self::Gone { how: Gone::Replayed, .. })
    }
}
