//! The checked configuration: what the rest of tidings may rely on.
//!
//! Must never hold an unresolved secret, an unchecked name or a default that `config/tidings.toml` does not
//! show.

mod check;
mod check_connector;
mod check_encoding;
mod check_reject;
mod check_server;
mod check_target;
pub mod credentials;
mod decode;
mod diagnostics;
mod functions;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod limits;
mod load;
mod origin;
pub mod pattern;
mod places;
mod raw;
mod reload;
mod replication;
mod restore;
pub mod secret_file;
mod server;
mod store;
mod table;
#[cfg(test)]
mod tests;
mod tree;

use std::sync::Arc;
use std::time::Duration;

use tidings_connector::ConnectorConfig;

pub use diagnostics::{Diagnostics, Place, Problem};
pub use functions::Functions;
pub use limits::Limits;
pub use load::load;
pub use origin::Origin;
pub use reload::needs_restart;
pub use replication::Replication;
pub use restore::Restore;
pub use server::{Admin, Server, TlsFiles};
pub use store::Store;

use crate::event::EventSet;

/// Everything that was configured, checked.
#[derive(Clone)]
pub struct Config {
    /// `[server]`
    pub server: Server,
    /// `[admin]`
    pub admin: Admin,
    /// `[limits]`
    pub limits: Limits,
    /// `[account]`
    pub account: Account,
    /// `[queue]`
    pub queue: Queue,
    /// `[store]`
    pub store: Store,
    /// `[restore]`
    pub restore: Restore,
    /// `[origin]`
    pub origin: Origin,
    /// `[replication]`
    pub replication: Replication,
    /// `[functions]`
    pub functions: Functions,
    /// `[target.NAME]`, in name order.
    pub targets: Vec<Target>,
    /// What is allowed and probably not meant, one sentence each, with its place: for `check` and the log at
    /// start.
    pub warnings: Vec<String>,
}

/// `[account]`: the owner of every bucket, as COS sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The numeric appid.
    pub appid: String,
}

/// `[queue]`: the journal's bounds, in bytes unless said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// The log may take this much disk; beyond it every change is answered 503.
    pub max_bytes: u64,
    /// Settled entries are kept for replay up to this much …
    pub retain_bytes: u64,
    /// … and up to this age.
    pub retain_age: Duration,
    /// One segment file.
    pub segment_bytes: u64,
    /// Changes that are durable and not yet applied to the index may hold this much memory.
    pub overlay_bytes: u64,
    /// The newest entries stay decoded in memory up to this much, for lanes that keep up.
    pub tail_bytes: u64,
}

/// `[target.NAME]`: one configured destination.
#[derive(Clone)]
pub struct Target {
    /// Its name: 1 to 64 of `a-z 0-9 - _`.
    pub name: Arc<str>,
    /// How events are written for it.
    pub encoding: Encoding,
    /// Which events it gets.
    pub rules: Vec<Rule>,
    /// How much may wait for it, and what happens then.
    pub budget: Budget,
    /// How the lane behaves.
    pub limits: TargetLimits,
    /// How to reach it.
    pub connector: Arc<dyn ConnectorConfig>,
}

/// How much may wait for a target, and what happens then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Bytes of entries, without bodies, that may be accepted for it and not settled; at least 1 MiB.
    pub max_backlog: u64,
    /// What becomes of a change that does not fit.
    pub when_full: WhenFull,
}

impl Default for Budget {
    fn default() -> Self {
        Self { max_backlog: 5 << 30, when_full: WhenFull::Refuse }
    }
}

/// What becomes of a change that a target should get whose budget is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// It is answered 503, and nothing happens.
    #[default]
    Refuse,
    /// It is made, and this target does not get it: counted as shed.
    Shed,
}

impl WhenFull {
    /// The word in the configuration.
    pub fn label(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Shed => "shed",
        }
    }
}

/// How a target's lane behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetLimits {
    /// One attempt may take this long; then it is a Retry and the connector is rebuilt.
    pub attempt_timeout: Duration,
    /// The first delay after a failed attempt; delays are drawn with full jitter.
    pub backoff_min: Duration,
    /// The longest delay between attempts.
    pub backoff_max: Duration,
    /// Entries in flight or waiting in memory, at most 65,536.
    pub max_in_flight: usize,
    /// Entries of keys that do not get on, at most: only where they are is in memory. At this bound the
    /// lane reads no further ahead.
    pub max_held: usize,
    /// Events per second, if limited.
    pub rate_limit: Option<u32>,
    /// What becomes of an event that the target can never accept.
    pub on_reject: OnReject,
    /// Its dead letters may take this much, in bytes; at it nothing is delivered until there is room.
    pub dead_letters_max_bytes: u64,
}

/// What becomes of an event that its target can never accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnReject {
    /// It is kept in the dead letters, and its key goes on.
    DeadLetter,
    /// It stays where it is, and its key is held until an operator resumes the target.
    HoldKey,
}

macro_rules! encodings {
    ($($(#[$doc:meta])* $variant:ident => $name:literal,)+) => {
        /// How events are written.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Encoding { $($(#[$doc])* $variant),+ }

        impl Encoding {
            /// Every encoding.
            pub const ALL: &'static [Encoding] = &[$(Encoding::$variant),+];

            /// Its name in a configuration.
            pub fn name(self) -> &'static str {
                match self { $(Encoding::$variant => $name),+ }
            }

            /// The encoding of this name.
            pub fn parse(name: &str) -> Option<Self> {
                match name { $($name => Some(Encoding::$variant),)+ _ => None }
            }
        }
    };
}

encodings! {
    /// The S3 event record.
    S3 => "s3",
    /// The event that Tencent COS hands to a function.
    Cos => "cos",
    /// CloudEvents in binary mode: attributes in headers, the S3 event record as data.
    CloudEvents => "cloudevents",
    /// CloudEvents in structured mode: one JSON object around the same data.
    CloudEventsStructured => "cloudevents-structured",
}

/// `[[target.NAME.rule]]`: which events a target gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name: as configured, or `NAME-1`, `NAME-2` … by its place.
    pub name: Arc<str>,
    /// A bucket's name, or a pattern in which `*` stands for any characters.
    pub bucket: String,
    /// Which kinds.
    pub events: EventSet,
    /// Only keys that begin so.
    pub prefix: String,
    /// Only keys that end so.
    pub suffix: String,
}
