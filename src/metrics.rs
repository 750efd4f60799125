//! Metrics: what is counted as it happens, and the text that a scrape gets.
//!
//! Must never show a metric that is not in [`TABLE`], nor hold one process-wide: each [`Metrics`] is one
//! world, so that tests do not see each other.

mod counters;
mod frontend;
mod labels;
mod scrape;
mod snapshot;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use counters::{Attempts, Counter, ErrorCounts, Histogram, JournalMetrics, TargetCounters};
pub use frontend::FrontendMetrics;
pub use labels::{
    AttemptResult, LimitReached, LossReason, OriginResult, RefuseReason, Stage, TargetState, Undelivered,
    WriteResult,
};
pub use snapshot::{ConfigSnapshot, QueueSnapshot, Snapshot, StoreSnapshot, TargetSnapshot};
pub use table::{Kind, Spec, TABLE, values};

/// Every metric of one running tidings that is not read from a [`Snapshot`].
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// For the journal's writer and reader.
    pub journal: Arc<JournalMetrics>,
    /// For the commit path.
    pub frontend: Arc<FrontendMetrics>,
}

impl Metrics {
    /// The answer to a scrape, in Prometheus' text format 0.0.4: every row of [`TABLE`], in its order.
    pub fn scrape(&self, snapshot: &Snapshot) -> String {
        scrape::text(self, snapshot, env!("CARGO_PKG_VERSION"))
    }
}
