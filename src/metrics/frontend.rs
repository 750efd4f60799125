//! What the commit path and the frontend count.
//!
//! Must never be read by whoever counts: only a scrape looks.

use super::Counter;
use super::labels::{LimitReached, OriginResult, RefuseReason};

/// What the commit path counts.
#[derive(Debug, Default)]
pub struct FrontendMetrics {
    /// Changes acknowledged, each with its event.
    pub accepted: Counter,
    refused: [Counter; RefuseReason::ALL.len()],
    limited: [Counter; LimitReached::ALL.len()],
    pulled: [Counter; OriginResult::ALL.len()],
}

impl FrontendMetrics {
    /// Counts one change answered 503.
    pub fn refused(&self, reason: RefuseReason) {
        self.refused[reason as usize].increment(1);
    }

    /// Counts one request or connection that was over a limit.
    pub fn limited(&self, limit: LimitReached) {
        self.limited[limit as usize].increment(1);
    }

    /// Counts one fetch from an origin.
    pub fn pulled(&self, result: OriginResult) {
        self.pulled[result as usize].increment(1);
    }

    pub(super) fn pulled_as(&self, result: OriginResult) -> u64 {
        self.pulled[result as usize].value()
    }

    pub(super) fn limited_by(&self, limit: LimitReached) -> u64 {
        self.limited[limit as usize].value()
    }

    pub(super) fn refused_for(&self, reason: RefuseReason) -> u64 {
        self.refused[reason as usize].value()
    }
}
