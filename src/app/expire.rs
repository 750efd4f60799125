//! What ends by itself: how long that takes, the limits of open uploads, and when uploads are looked at whose
//! time may be over.
//!
//! Must never decide which ones those are: that is the commit path's business.

mod restores;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::steady::Steady;
use crate::commit::{Commit, REMEMBERED};
use crate::config::Config;
use crate::store::EmbeddedStore;

/// From one look to the next.
const EVERY: Duration = Duration::from_secs(600);

/// Says how long restores take, limits what bodies take, if that is configured, and counts the open uploads
/// and limits them from then on.
pub(super) async fn limit(commit: &Arc<Commit>, store: &Arc<EmbeddedStore>, config: &Config) {
    if let Some(max) = config.store.max_bytes {
        let store = Arc::clone(store);
        commit.limit_bodies(max, move || store.body_bytes().total());
    }
    commit.set_restore_times(config.restore);
    let limits = &config.limits;
    let (commit, each, all) = (Arc::clone(commit), limits.open_uploads_per_key, limits.open_uploads);
    let counted = tokio::task::spawn_blocking(move || commit.limit_open_uploads(each, all)).await;
    match counted {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::error!(%error, "open uploads cannot be counted: they are not limited"),
        Err(error) => tracing::error!(%error, "open uploads were not counted: they are not limited"),
    }
}

/// Ends uploads and restores until `stop`.
pub(super) fn start(commit: &Arc<Commit>, expiry: Duration, clock: fn() -> i64, stop: &CancellationToken) {
    restores::start(commit, clock, stop);
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
    // Made before the first request: what begins in this life begins behind it.
    let mut steady = Steady::new(expiry.max(REMEMBERED), clock(), Instant::now());
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match commit.expire_uploads(expiry, steady.now_us(clock(), Instant::now())).await {
            Ok(0) => {}
            Ok(ended) => tracing::info!(ended, "uploads whose time is over were ended"),
            // What could not be ended now is ended at the next look.
            Err(error) => tracing::warn!(%error, "uploads whose time is over were not ended"),
        }
    }
}
