//! How what is refused is counted: the parts' own reasons as labels of metrics.
//!
//! Must never decide what is refused.

use crate::frontend::Limit;
use crate::metrics::{LimitReached, RefuseReason};
use crate::queue::FullReason;

/// How a refused change is counted.
pub(super) fn change(full: FullReason) -> RefuseReason {
    match full {
        FullReason::Log => RefuseReason::QueueFull,
        FullReason::Disk => RefuseReason::DiskFull,
        FullReason::IndexBusy => RefuseReason::IndexBusy,
        FullReason::IndexStalled => RefuseReason::IndexStalled,
    }
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
