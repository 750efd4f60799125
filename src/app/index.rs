//! The index as the commit path sees it: while it cannot follow the log, changes are refused.
//!
//! Must never let a change be acknowledged that reads may not show for long, nor trim a log that the index
//! did not read.

use std::ops::Range;
use std::sync::Arc;

use tokio::sync::watch;

use crate::journal::{Damage, Loss, Why};
use crate::metrics::{JournalMetrics, LossReason};
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

/// How many offsets are damaged: two that met the same damage may have told of different ends of it.
fn distinct(damage: &[Damage]) -> u64 {
    let mut ranges: Vec<_> = damage.iter().map(|d| d.from..d.to.saturating_add(1)).collect();
    ranges.sort_unstable_by_key(|range| range.start);
    let count = |(below, sum): (u64, u64), range: &Range<u64>| {
        let from = range.start.max(below);
        (below.max(range.end), sum + range.end.saturating_sub(from))
    };
    ranges.iter().fold((0, 0), count).1
}

/// Counts the events that operators gave up for lost, in this life and before.
pub(super) fn count_losses(losses: &[Loss], metrics: &JournalMetrics) {
    for loss in losses {
        let gone = loss.damage.iter().filter(|d| d.offsets() > 0).all(|d| d.why == Why::Missing);
        let reason = if gone { LossReason::Missing } else { LossReason::Corrupt };
        metrics.lost(reason, loss.quarantined.values().sum());
    }
}

/// Counts every damaged record, once.
pub(super) async fn count_damage(mut damage: watch::Receiver<Vec<Damage>>, metrics: Arc<JournalMetrics>) {
    let (mut counted, mut total) = (0, 0);
    loop {
        let known = damage.borrow_and_update().clone();
        // Damage that loses no record counts as one.
        let lossless = known[counted..].iter().filter(|d| d.offsets() == 0).count() as u64;
        let lost = distinct(&known);
        metrics.corrupt_records.increment(lossless + (lost - total));
        (counted, total) = (known.len(), lost);
        if damage.changed().await.is_err() {
            return;
        }
    }
}
