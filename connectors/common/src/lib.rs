//! What the connectors have in common: receipts that are out, options, addresses, certificates, verdicts.
//!
//! `connectors/api` holds what both sides of the seam name; this crate holds what connectors alone need, and
//! the product never sees it. Must never know a protocol, nor retry, order or drop on its own account.

mod addresses;
mod attempts;
#[cfg(feature = "client")]
mod client;
mod endpoint;
pub mod fail;
mod failure;
mod inspection;
mod lookup;
mod networks;
pub mod options;
mod outstanding;
mod suspects;
mod tls;
mod verdict;

use std::time::Duration;

pub use addresses::{Blocked, is_loopback, refusal};
pub use attempts::Attempts;
#[cfg(feature = "client")]
pub use client::client;
pub use endpoint::endpoint;
pub use failure::{find, judge, judge_io};
pub use inspection::Inspection;
pub use networks::{NEVER_PORTS, Network, Reach};
pub use outstanding::{Outstanding, ROUNDS, Token};
pub use suspects::Suspects;
use tidings_connector::{ErrorClass, Fault, Outcome};
pub use tls::{TlsFiles, nobody};
pub use url::Url;
pub use verdict::Verdict;

/// The most messages that may be outstanding: as many as a lane holds.
pub const MAX_IN_FLIGHT: usize = 65_536;

/// Payload bytes that may be on their way at once where no option says it.
pub const PAYLOAD_BYTES: usize = 64 << 20;

/// How long `close` waits for what is outstanding before it lets go.
pub const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// What a message meets that a connector gets beyond its window: the lane did not keep to the limits.
pub fn window_full() -> Outcome {
    Outcome::retry(ErrorClass::Throttle, "more messages than the connector's window holds")
}

/// Runs what waits for a disk or a far side on a thread that may wait. `what` names the work, for people.
///
/// # Errors
/// Those of the work, and a Retry if it panicked or the runtime ends.
pub async fn blocking<T: Send + 'static>(
    what: &str,
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    let lost = || Err(Fault::retry(ErrorClass::Unknown, format!("{what} was cut off")));
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| lost())
}
