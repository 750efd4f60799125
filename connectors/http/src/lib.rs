//! The HTTP connector: one POST for each event, delivered when a 2xx status and its headers are there.
//!
//! Must never follow a redirect, retry, or read more of an answer than its bound.

mod config;
mod connector;
mod error;
mod sender;
mod sign;
mod watch;
mod window;

pub use config::{HttpConfig, HttpOptions, Preset};
pub use tidings_common::{NEVER_PORTS, Network, Reach};
pub use watch::{Attempted, Watch};
