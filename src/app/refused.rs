//! How what is refused is counted: the parts' own reasons as labels of metrics.
//!
//! Must never decide what is refused.

use std::sync::Arc;

use crate::commit::Noted;
use crate::frontend::{Limit, OnPulled, Pulled};
use crate::metrics::{FrontendMetrics, LimitReached, OriginResult, RefuseReason};
use crate::queue::FullReason;

/// Counts what became of a change.
pub(super) fn count(counted: &FrontendMetrics, noted: Noted) {
    match noted {
        Noted::Accepted => counted.accepted.increment(1),
        Noted::Refused(full) => counted.refused(change(full)),
        Noted::OverBudget => counted.refused(RefuseReason::TargetFull),
        Noted::OverQuota => counted.refused(RefuseReason::Quota),
        Noted::BodiesFull => counted.refused(RefuseReason::StoreFull),
        Noted::TooManyUploads { of_owner: true } => counted.limited(LimitReached::OpenUploadsPerKey),
        Noted::TooManyUploads { of_owner: false } => counted.limited(LimitReached::OpenUploads),
    }
}

/// How a refused change is counted.
fn change(full: FullReason) -> RefuseReason {
    match full {
        FullReason::Log => RefuseReason::QueueFull,
        FullReason::Disk => RefuseReason::DiskFull,
        FullReason::IndexBusy => RefuseReason::IndexBusy,
        FullReason::IndexStalled => RefuseReason::IndexStalled,
    }
}

/// Counts what came of every fetch from an origin.
pub(super) fn pulling(counted: &Arc<FrontendMetrics>) -> OnPulled {
    let counted = Arc::clone(counted);
    Box::new(move |pulled| {
        counted.pulled(match pulled {
            Pulled::Kept => OriginResult::Kept,
            Pulled::Superseded => OriginResult::Superseded,
            Pulled::NotFound => OriginResult::NotFound,
            Pulled::Failed => OriginResult::Failed,
            Pulled::NotKept => OriginResult::NotKept,
            Pulled::Refused => OriginResult::Refused,
        });
    })
}

/// How a request over a limit is counted.
pub(super) fn limit(limit: Limit) -> LimitReached {
    match limit {
        Limit::ConnectionsPerAddress => LimitReached::ConnectionsPerAddress,
        Limit::ConnectionsPerKey => LimitReached::ConnectionsPerKey,
        Limit::Requests => LimitReached::Requests,
        Limit::RequestsPerKey => LimitReached::RequestsPerKey,
        Limit::Uploads => LimitReached::Uploads,
        Limit::UploadsPerKey => LimitReached::UploadsPerKey,
    }
}
