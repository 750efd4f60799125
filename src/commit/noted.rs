//! What whoever counts is told of changes.
//!
//! Must never carry a key or a name: only that it happened, and why not.

use crate::queue::FullReason;

/// Told of every change that was acknowledged or refused, on the task that serves it: must be short and never
/// wait.
pub type Observer = Box<dyn Fn(Noted) + Send + Sync>;

/// What an [`Observer`] is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noted {
    /// A change is durable with its event.
    Accepted,
    /// A change was answered [`crate::queue::Full`].
    Refused(FullReason),
    /// A change was answered [`crate::queue::OverBudget`].
    OverBudget,
    /// A change would have gone beyond its bucket's quota.
    OverQuota,
    /// A body was not taken: bodies take all that they may.
    BodiesFull,
    /// A multipart upload was not begun: too many are open.
    TooManyUploads {
        /// Of its owner; else of all together.
        of_owner: bool,
    },
}
