//! Delivery: one lane per target takes entries from the queue, sends them through a connector and settles
//! what arrived.
//!
//! ```text
//!   reader ──► keys ──► dispatch ──► link ──► connector
//!     ▲        order    limits,      one task
//!     │        backoff  rate, gates  per connection
//!     └──────────── decide ◄──── settlement inbox
//! ```
//!
//! Must never know a protocol, an encoding, the store or the frontend, and must never settle what was not
//! delivered.

mod apart;
mod backoff;
mod connect;
mod decide;
mod dispatch;
mod flights;
mod health;
mod keys;
mod lane;
mod letters;
mod link;
mod loading;
mod rate;
mod reject;
mod replays;
mod rewind;
mod sample;
mod slots;
mod status;
mod target;
mod tend;
#[cfg(test)]
mod tests;
mod trial;

use std::sync::Arc;
use std::time::Duration;

use tidings_connector::{Cause, Message};
use tokio::sync::Notify;
use tokio::time::Instant;

pub use apart::Apart;
pub use backoff::Backoff;
pub use status::{LastError, TargetState, TargetStatus};
pub use target::{Stopped, TargetHandle, spawn};

use crate::queue::Stored;

/// Turns an entry into a message under the rule that matched. An error means that this event can never be
/// sent.
pub type EncodeFn = Arc<dyn Fn(&Stored, &str) -> Result<Message, Cause> + Send + Sync>;

/// What a lane needs from its surroundings: clocks and a seed, so that tests choose them.
#[derive(Clone)]
pub struct Ambient {
    /// The monotonic clock: `tokio::time::Instant::now`.
    pub now: fn() -> Instant,
    /// Milliseconds since the Unix epoch; shown to people, never used to decide anything.
    pub unix_ms: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// Seed of the lane's jitter.
    pub seed: u64,
    /// Told when a far side says that it is gone for good, so that somebody keeps that.
    pub gone: Arc<Notify>,
}

/// The most entries that one lane keeps in flight or waiting, whatever the configuration says.
pub const MAX_IN_FLIGHT: usize = 65_536;
/// The most memory that the entries of one lane may take, in bytes, as [`keys`] estimates
/// it. What is not in memory does not count: positions of stuck keys, of which `max_held` is the bound.
pub const LANE_BYTES: usize = 128 << 20;
/// A lane reads no further while so many keys could send for each message that may be out: a slow far side
/// does not need as much in memory as a fast one …
const READ_AHEAD: usize = 2;
/// … but as many in any case, so that reads are worth their while.
const READ_AHEAD_LEAST: usize = 2_048;
/// The most entries taken from the queue at once.
const TAKE: usize = 4_096;
/// What is delivered while a read of the queue is under way is settled after this time at first …
const SETTLE_DELAY: Duration = Duration::from_millis(20);
/// … and, since that ends the read, after twice the time whenever a read did not end by itself, up to this.
const SETTLE_DELAY_MAX: Duration = Duration::from_millis(160);
/// `deliver` awaits local buffers only; past this the connector is given up.
const DELIVER_BOUND: Duration = Duration::from_secs(10);
/// A gentle end of a connection may take this long.
const CLOSE_BOUND: Duration = Duration::from_secs(5);
/// Writing the progress at stop may take this long.
const FLUSH_BOUND: Duration = Duration::from_secs(10);
/// The longest wait that a far side may ask for one key.
const RETRY_AFTER_CAP: Duration = Duration::from_secs(3_600);
/// The longest wait that a far side may ask for the whole target.
const THROTTLE_CAP: Duration = Duration::from_secs(300);
/// The shortest wait after a throttle, so that "retry at once" cannot become a hot loop.
const THROTTLE_FLOOR: Duration = Duration::from_millis(100);
/// So many distinct keys failing with no success between put the target Down.
const DOWN_AFTER_KEYS: usize = 16;
