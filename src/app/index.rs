//! The index as the commit path sees it: while it cannot follow the log, changes are refused.
//!
//! Must never let a change be acknowledged that reads may not show for long, nor trim a log that the index
//! did not read.

use std::sync::Arc;

use tokio::sync::watch;

use crate::journal::Damage;
use crate::metrics::JournalMetrics;
use crate::queue::embedded::EmbeddedQueue;
use crate::store::{EmbeddedStore, Status};

/// Why the index did not reach the end of the log at start, if it did not.
pub(super) fn unfinished(store: &EmbeddedStore) -> Option<String> {
    match &*store.status().borrow() {
        Status::Stalled(why) => Some(why.clone()),
        _ => None,
    }
}

/// Refuses changes while the index is stalled. What it did not read at start may register targets that nobody
/// knows: after such a start only another one accepts changes.
pub(super) async fn follow(store: Arc<EmbeddedStore>, queue: Arc<EmbeddedQueue>, at_start: Option<String>) {
    let refuse = |why: &str| format!("the index cannot follow the event log: {why}");
    if let Some(why) = at_start {
        tracing::error!(
            "{}; objects that were applied are served; other reads and all changes are refused until it is \
             mended and started again",
            refuse(&why)
        );
        queue.hold(Some(refuse(&why)));
        return;
    }
    let mut status = store.status();
    // The queue outlives the listeners, not the process: this ends with the store.
    drop(store);
    loop {
        let why = match &*status.borrow_and_update() {
            Status::Stalled(why) => Some(refuse(why)),
            _ => None,
        };
        if let Some(why) = &why {
            tracing::error!("{why}; changes are refused until it can");
        }
        queue.hold(why);
        if status.changed().await.is_err() {
            return;
        }
    }
}

/// Counts every damaged record, once.
pub(super) async fn count_damage(mut damage: watch::Receiver<Vec<Damage>>, metrics: Arc<JournalMetrics>) {
    let mut counted = 0;
    loop {
        let records: u64 = damage.borrow_and_update()[counted..].iter().map(|d| d.offsets().max(1)).sum();
        metrics.corrupt_records.increment(records);
        counted = damage.borrow().len();
        if damage.changed().await.is_err() {
            return;
        }
    }
}
