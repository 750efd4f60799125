//! Who looks at every attempt of a target whose receiver is somebody's function: the run log, and rules of
//! its own about answers.
//!
//! Must never turn silence into a delivery: a watcher judges what an answer says, not what it does not.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tidings_connector::{Message, Outcome};

/// What came of one request.
#[derive(Debug, Clone)]
pub struct Attempted {
    /// What the table says of it.
    pub outcome: Outcome,
    /// The answer's status, if there was one.
    pub status: Option<u16>,
    /// The receiver says that its function failed (`X-Amz-Function-Error`).
    pub function_error: bool,
    /// The answer's body, as far as it was asked for; none if it did not come whole, or is larger.
    pub body: Option<Bytes>,
    /// From the request to its end.
    pub duration: Duration,
}

/// Looks at every attempt.
#[async_trait]
pub trait Watch: Send + Sync {
    /// Bytes of an answer's body that it wants to see; 0: none.
    fn wants(&self) -> usize;

    /// Why a message is not sent at all, if it is not. `attempt` is 1 at the first.
    async fn refuse(&self, message: &Message, attempt: u32) -> Option<Outcome>;

    /// An attempt ended; says what that means.
    async fn ended(&self, message: &Message, attempt: u32, attempted: Attempted) -> Outcome;
}
