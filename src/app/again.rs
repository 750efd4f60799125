//! Delivering again, and trying out: what operators ask of one target's lane.
//!
//! Must never go back further than the log is whole, nor let a trial touch the queue.

use std::sync::Arc;

use tidings_connector::{Cause, Outcome};

use super::Parts;
use crate::admin::{ChangeError, Tested};
use crate::delivery::TargetHandle;
use crate::encode;
use crate::event::EventKind;
use crate::queue::{RewindError, Rewound};

impl Parts {
    fn lane_of(&self, name: &str) -> Result<TargetHandle, ChangeError> {
        let entry = self.targets.get(name).ok_or(ChangeError::NoSuchTarget)?;
        let gone = "the target is not configured any more; its backlog is kept";
        entry.lane.ok_or_else(|| ChangeError::Conflict(gone.into()))
    }

    /// Takes a target back to an offset or a time.
    pub(super) async fn replay_from(
        &self,
        name: &str,
        from: &str,
        rematch: bool,
    ) -> Result<Rewound, ChangeError> {
        let lane = self.lane_of(name)?;
        let offset = match from.parse::<u64>() {
            Ok(offset) => offset,
            Err(_) => {
                let time: jiff::Timestamp = from.parse().map_err(|_| {
                    let what = "is neither an offset nor a time such as 2026-01-31T12:00:00Z";
                    ChangeError::BadRequest(format!("`{}` {what}", from.escape_debug()))
                })?;
                let queue = Arc::clone(&self.queue);
                let read = tokio::task::spawn_blocking(move || queue.offset_at(time.as_microsecond())).await;
                let read = read.map_err(|e| ChangeError::Unavailable(e.to_string()))?;
                read.map_err(|e| ChangeError::Unavailable(format!("the log cannot be read: {e}")))?
            }
        };
        lane.replay(offset, rematch).await.map_err(|e| match e {
            RewindError::TooOld { .. } | RewindError::Nothing { .. } => ChangeError::Conflict(e.to_string()),
            RewindError::NotDurable(_) => ChangeError::Unknown(e.to_string()),
        })
    }

    /// Gives a target what today's rules match from an offset on: they were gone for a moment that nobody
    /// wished. Whoever asks does not wait: what is out may take long.
    pub(super) fn look_again(&self, name: String, from: u64) {
        let Ok(lane) = self.lane_of(&name) else { return };
        tokio::spawn(async move {
            let again = match lane.replay(from, true).await {
                // It has not come so far, and gives only what it was given: from where it is, then.
                Err(RewindError::Nothing { position, .. }) => {
                    lane.replay(position.saturating_sub(1), true).await
                }
                again => again,
            };
            match again {
                Ok(_) => tracing::info!(target_name = name, from, "changes made meanwhile are delivered too"),
                Err(why) => {
                    let next = format!("`tidings target replay {name} --from {from} --rematch`");
                    tracing::error!(target_name = name, %why, "changes made meanwhile are missing: {next}");
                }
            }
        });
    }

    /// Sends a sample event.
    pub(super) async fn try_out(&self, name: &str) -> Result<Tested, ChangeError> {
        let lane = self.lane_of(name)?;
        let sample = encode::sample(EventKind::CreatedPut, "tidings-test", "sample.txt");
        let failed = |outcome, why: Cause| Tested {
            outcome,
            class: Some(why.class.label()),
            message: Some(why.text.to_string()),
        };
        Ok(match lane.test(&sample).await {
            Outcome::Delivered => Tested { outcome: "delivered", class: None, message: None },
            Outcome::Retry { why, .. } => failed("retry", why),
            Outcome::Throttled { why, .. } => failed("throttled", why),
            Outcome::Rejected { why } => failed("rejected", why),
            Outcome::Faulted { why, .. } => failed("faulted", why),
        })
    }
}
