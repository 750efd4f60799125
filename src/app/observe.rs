//! What operators see: the admin listener's backend over the running parts.
//!
//! Must never change anything but through the commit path, and never wait for a far side.

use std::sync::Arc;

use async_trait::async_trait;

use super::Parts;
use super::targets::Entry;
use crate::admin::{AdminBackend, ChangeError, FailureView, JournalStat, TargetView, rfc3339};
use crate::commit::CommitError;
use crate::config::Encoding;
use crate::delivery;
use crate::metrics::{ConfigSnapshot, QueueSnapshot, Snapshot, TargetSnapshot, TargetState};

#[async_trait]
impl AdminBackend for Parts {
    async fn ready(&self) -> Result<(), String> {
        if !self.queue.accepts() {
            let stat = self.queue.stat();
            return Err(stat.blocked.unwrap_or_else(|| "the event log cannot take changes now".to_owned()));
        }
        match &*self.store.status().borrow() {
            crate::store::Status::Running => Ok(()),
            other => Err(format!("the index does not follow: {other:?}")),
        }
    }

    async fn metrics_text(&self) -> String {
        let stat = self.queue.stat();
        let targets: Vec<_> = self.targets.all();
        let snapshot = Snapshot {
            now_us: (self.clock)(),
            targets: targets.iter().map(snapshot).collect(),
            queue: QueueSnapshot { bytes: stat.bytes, limit_bytes: stat.max_bytes },
            config: ConfigSnapshot { last_reload_ok: true, last_success_us: self.started_us },
        };
        self.metrics.scrape(&snapshot)
    }

    async fn targets(&self) -> Vec<TargetView> {
        self.targets.all().iter().map(|t| self.view(t)).collect()
    }

    async fn target(&self, name: &str) -> Option<TargetView> {
        self.targets.get(name).map(|t| self.view(&t))
    }

    async fn set_paused(&self, name: &str, paused: bool) -> Result<TargetView, ChangeError> {
        let entry = self.targets.get(name).ok_or(ChangeError::NoSuchTarget)?;
        let Some(lane) = &entry.lane else {
            return Err(ChangeError::Conflict(
                "the target is not configured any more; its backlog is kept".into(),
            ));
        };
        if paused {
            // Quiet first: nothing is sent any more by the time the answer says so.
            lane.pause();
        }
        if entry.registered.paused != paused {
            self.commit.pause_target(entry.registered.target, paused).await.map_err(|e| match e {
                CommitError::Full(full) => ChangeError::Unavailable(full.to_string()),
                other => ChangeError::Unknown(other.to_string()),
            })?;
            self.targets.note_paused(name, paused);
        }
        if !paused {
            lane.resume();
        }
        self.target(name).await.ok_or(ChangeError::NoSuchTarget)
    }

    async fn journal_stat(&self) -> JournalStat {
        let stat = self.queue.stat();
        JournalStat {
            epoch: self.queue.epoch(),
            first_offset: stat.first,
            durable_end: stat.durable_end,
            applied_end: self.store.applied_next(),
            checkpointed_end: self.store.checkpoint_next(),
            segments: stat.segments as u64,
            bytes: stat.bytes,
            limit_bytes: stat.max_bytes,
        }
    }
}

impl Parts {
    fn view(&self, entry: &Entry) -> TargetView {
        let mut view = TargetView::new(&snapshot(entry), (self.clock)());
        if let Some(configured) = &entry.configured {
            view.encoding = Some(match configured.encoding {
                Encoding::S3 => "s3",
            });
            view.destination = configured.connector.destination().map(|t| t.source().to_owned());
        }
        let last_error = entry.lane.as_ref().and_then(|lane| lane.status().last_error);
        view.last_failure = last_error.and_then(|e| {
            Some(FailureView {
                time: rfc3339(e.at_unix_ms.saturating_mul(1_000))?,
                class: e.class.label(),
                message: e.text.to_string(),
            })
        });
        view
    }
}

fn snapshot(entry: &Entry) -> TargetSnapshot {
    let status = entry.lane.as_ref().map(delivery::TargetHandle::status);
    let books = status.as_ref().map_or_else(|| entry.progress.books(), |s| s.books);
    let state = match status.as_ref().map(|s| s.state) {
        None => TargetState::Removed,
        Some(delivery::TargetState::Connecting) => TargetState::Connecting,
        Some(delivery::TargetState::Up) => TargetState::Up,
        Some(delivery::TargetState::Down) => TargetState::Down,
        Some(delivery::TargetState::Faulted) => TargetState::Faulted,
        Some(delivery::TargetState::Paused) => TargetState::Paused,
    };
    let of_lane = |pick: fn(&delivery::TargetStatus) -> usize| status.as_ref().map_or(0, |s| pick(s) as u64);
    let taken = status.as_ref().and_then(|s| s.oldest_undelivered_us);
    let waiting = entry.progress.oldest_waiting_us();
    TargetSnapshot {
        name: Arc::clone(&entry.registered.name),
        kind: Arc::clone(&entry.registered.kind),
        state,
        books,
        retrying: of_lane(|s| s.retrying),
        in_flight: of_lane(|s| s.in_flight),
        in_flight_limit: of_lane(|s| s.in_flight_limit),
        oldest_undelivered_us: taken.into_iter().chain(waiting).min(),
        last_success_us: status
            .as_ref()
            .and_then(|s| s.last_success_unix_ms)
            .map(|ms| ms.saturating_mul(1_000)),
        dead_letters: books.dead_lettered,
        oldest_dead_letter_us: None,
    }
}
