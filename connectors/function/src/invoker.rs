//! The seam to whoever hosts functions: one call, and how it ended.
//!
//! Must never hold policy: what a status means for an event stands in `error.rs`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

/// One event for one function.
#[derive(Debug, Clone)]
pub struct Call {
    /// The event, as JSON.
    pub event: Bytes,
    /// Names this run, and every attempt of the same event: the event's id, or a random one.
    pub request_id: Arc<str>,
    /// The event's id; none for an event that somebody typed.
    pub event_id: Option<Arc<str>>,
    /// Bucket and key, `bucket/key`, of the object that changed.
    pub object: Option<Arc<str>>,
    /// 0 at the first attempt.
    pub retry: u32,
    /// How many runs of functions led to the event, one after the other.
    pub hops: u8,
}

/// How one call ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// The verdict.
    pub status: Status,
    /// What the function gave back; empty unless it succeeded.
    pub result: Bytes,
    /// What went wrong, for people: no event and no secret. Empty if nothing did.
    pub message: String,
    /// The last of what it wrote to its standard output and error, at most 4 KiB.
    pub log: String,
    /// From handing over the event to the verdict.
    pub duration: Duration,
    /// The most memory that its processes were seen to hold, in bytes.
    pub memory: u64,
}

impl Ended {
    /// A call that did not come to run.
    pub fn without_run(status: Status, message: impl Into<String>) -> Self {
        let (result, log, duration, memory) = (Bytes::new(), String::new(), Duration::ZERO, 0);
        Self { status, result, message: message.into(), log, duration, memory }
    }
}

/// Whoever runs a function's code.
#[async_trait]
pub trait Invoker: Send + Sync {
    /// Runs the function once, and writes that down. Always ends: within the function's own timeouts and some
    /// seconds. A caller that goes away ends the run: its event may be on its way again.
    async fn invoke(&self, call: Call) -> Ended;

    /// Whether the function can run at all, without running it.
    ///
    /// # Errors
    /// Why not, for people.
    async fn ready(&self) -> Result<(), String>;
}

macro_rules! statuses {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $word:literal;)+) => {
        /// How a call ended, by the codes of Tencent SCF.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Status { $($(#[$doc])* $variant),+ }

        impl Status {
            /// Every status, by code.
            pub const ALL: &'static [Status] = &[$(Status::$variant),+];

            /// Its number.
            pub fn code(self) -> u16 {
                match self { $(Status::$variant => $code),+ }
            }

            /// For people.
            pub fn word(self) -> &'static str {
                match self { $(Status::$variant => $word),+ }
            }

            /// The status with this number.
            pub fn from_code(code: u16) -> Option<Self> {
                match code { $($code => Some(Status::$variant),)+ _ => None }
            }
        }
    };
}

statuses! {
    /// It gave a result.
    Success = 200, "ok";
    /// The event is nothing that a function can get.
    BadEvent = 400, "bad event";
    /// The event is too large.
    EventTooLarge = 406, "event too large";
    /// The result is too large.
    ResultTooLarge = 407, "result too large";
    /// The code failed.
    Code = 430, "code failed";
    /// As many run as may.
    Concurrency = 432, "too many at once";
    /// It took too long, and was ended.
    Timeout = 433, "timed out";
    /// It took too much memory, and was ended.
    Memory = 434, "out of memory";
    /// There is no such function.
    Missing = 435, "no such function";
    /// Its code has no such handler, or cannot be loaded.
    Handler = 437, "no handler";
    /// It may not or cannot be hosted here as it is.
    State = 438, "cannot be hosted";
    /// Its process ended.
    Exit = 439, "process ended";
    /// It does not listen where it was told to.
    Port = 446, "does not listen";
    /// The server stops.
    Cancelled = 499, "cancelled";
    /// The host failed, not the function.
    Internal = 500, "internal error";
    /// So many runs led to the event that it is not run.
    Loop = 508, "loop";
}
