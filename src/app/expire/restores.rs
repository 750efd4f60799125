//! Restores of archived objects: when they are looked at.
//!
//! Must never begin before the rules of the targets are in force: an event that nobody is named for is
//! nobody's.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::commit::Commit;

/// Ends what is due until `stop`.
pub(super) fn start(commit: &Arc<Commit>, clock: fn() -> i64, stop: &CancellationToken) {
    let (commit, stop) = (Arc::clone(commit), stop.child_token());
    tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = follow(&commit, clock) => {}
        }
    });
}

async fn follow(commit: &Commit, clock: fn() -> i64) {
    loop {
        commit.restores_due(clock).await;
        match commit.end_due_restores(clock()).await {
            Ok(ended) if ended.waiting > 0 => {
                tracing::warn!(waiting = ended.waiting, "restores that are done wait for space in the log");
            }
            Ok(ended) => tracing::debug!(?ended, "restores that were due"),
            // They are tried again.
            Err(error) => tracing::warn!(%error, "restores that are due were not ended"),
        }
    }
}
