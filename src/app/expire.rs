//! When uploads are looked at whose time may be over.
//!
//! Must never decide which ones those are: that is the commit path's business.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::commit::Commit;

/// From one look to the next.
const EVERY: Duration = Duration::from_secs(600);

/// Ends uploads until `stop`.
pub(super) fn start(commit: &Arc<Commit>, expiry: Duration, clock: fn() -> i64, stop: &CancellationToken) {
    let (commit, stop) = (Arc::clone(commit), stop.child_token());
    tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = look(&commit, expiry, clock) => {}
        }
    });
}

async fn look(commit: &Commit, expiry: Duration, clock: fn() -> i64) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match commit.expire_uploads(expiry, clock()).await {
            Ok(0) => {}
            Ok(ended) => tracing::info!(ended, "uploads whose time is over were ended"),
            // What could not be ended now is ended at the next look.
            Err(error) => tracing::warn!(%error, "uploads whose time is over were not ended"),
        }
    }
}
