//! What operators see: the admin listener's backend over the running parts.
//!
//! Must never change anything but through the commit path, and never wait for a far side.

use std::sync::Arc;

use async_trait::async_trait;

use super::Parts;
use super::targets::Entry;
use crate::admin::{
    AdminBackend, BucketView, ChangeError, DamageView, FailureView, Forgotten, FunctionBackend, JournalStat,
    QuotaWish, Reloaded, RulePage, RuleQuery, RuleView, ScfBackend, StoreStat, TargetView, Tested,
    TriggerWish, rfc3339,
};
use crate::config::WhenFull;
use crate::delivery;
use crate::journal::Damage;
use crate::metrics::{QueueSnapshot, Snapshot, TargetSnapshot, TargetState, WriteResult};
use crate::queue::dead::DeadLetters;
use crate::queue::{OldestEvent, Rewound};

#[async_trait]
impl AdminBackend for Parts {
    async fn ready(&self) -> Result<Vec<String>, String> {
        if !self.queue.accepts() {
            let stat = self.queue.stat();
            return Err(stat.blocked.unwrap_or_else(|| "the event log cannot take changes now".to_owned()));
        }
        match &*self.store.status().borrow() {
            crate::store::Status::Running => Ok(self.notes()),
            other => Err(format!("the index does not follow: {other:?}")),
        }
    }

    async fn metrics_text(&self) -> String {
        let stat = self.queue.stat();
        self.ages.look(stat.durable_end);
        let mut targets = Vec::new();
        for entry in self.targets.all() {
            targets.push(self.snapshot(&entry).await);
        }
        let snapshot = Snapshot {
            now_us: (self.clock)(),
            targets,
            queue: QueueSnapshot {
                bytes: stat.bytes,
                limit_bytes: stat.max_bytes,
                damaged_ranges: stat.damage.len() as u64,
            },
            store: self.store_snapshot(),
            config: self.reloading.last(),
        };
        self.metrics.scrape(&snapshot)
    }

    async fn targets(&self) -> Vec<TargetView> {
        let mut views = Vec::new();
        for entry in self.targets.all() {
            views.push(self.view(&entry).await);
        }
        views
    }

    async fn target(&self, name: &str) -> Option<TargetView> {
        Some(self.view(&self.targets.get(name)?).await)
    }

    async fn set_paused(&self, name: &str, paused: bool) -> Result<TargetView, ChangeError> {
        self.targets.pause(name, paused).await?;
        self.target(name).await.ok_or(ChangeError::NoSuchTarget)
    }

    async fn dead_letters(&self, name: &str) -> Result<DeadLetters, ChangeError> {
        let entry = self.targets.get(name).ok_or(ChangeError::NoSuchTarget)?;
        self.queue.dead_letters(entry.registered.target).ok_or(ChangeError::NoSuchTarget)
    }

    async fn can_replay(&self, name: &str) -> Result<(), ChangeError> {
        let entry = self.targets.get(name).ok_or(ChangeError::NoSuchTarget)?;
        match entry.lane {
            Some(_) => Ok(()),
            None => Err(ChangeError::Conflict(
                "the target is not configured any more; its dead letters are kept".into(),
            )),
        }
    }

    async fn replay(&self, name: &str, from: &str, rematch: bool) -> Result<Rewound, ChangeError> {
        self.replay_from(name, from, rematch).await
    }

    async fn test(&self, name: &str) -> Result<Tested, ChangeError> {
        self.try_out(name).await
    }

    async fn forget(&self, name: &str, discard: bool) -> Result<Forgotten, ChangeError> {
        self.targets.forget(name, discard).await
    }

    async fn reload(&self, accept: &[String]) -> Result<Reloaded, ChangeError> {
        Parts::reload(self, accept).await
    }

    fn functions(&self) -> &dyn FunctionBackend {
        self
    }
    fn scf(&self) -> &dyn ScfBackend {
        self
    }

    async fn store_stat(&self) -> StoreStat {
        self.store_view()
    }

    async fn buckets(&self) -> Result<Vec<BucketView>, ChangeError> {
        self.bucket_views().await
    }

    async fn set_quota(&self, bucket: &str, wish: QuotaWish) -> Result<BucketView, ChangeError> {
        self.limit_bucket(bucket, wish).await
    }

    async fn rules(&self, query: RuleQuery) -> Result<RulePage, ChangeError> {
        self.rule_page(&query)
    }

    async fn trigger(&self, wish: TriggerWish) -> Result<RuleView, ChangeError> {
        self.wish_trigger(wish).await
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
            damage: stat.damage.into_iter().map(damage_view).collect(),
        }
    }
}

fn damage_view(damage: Damage) -> DamageView {
    let Damage { file, at, from, to, why } = damage;
    DamageView { from, to, why: why.label(), file, at }
}

impl Parts {
    /// What does not keep changes from being accepted, and people should know.
    fn notes(&self) -> Vec<String> {
        let full = self.targets.all().into_iter().filter_map(|entry| {
            let budget = entry.progress.budget().view();
            let then = match (budget.level, budget.when_full) {
                (0, _) => return None,
                (100, WhenFull::Refuse) => "changes that it would get are refused",
                (100, WhenFull::Shed) => "it goes without what does not fit",
                _ => "see `tidings target show`",
            };
            let (name, level) = (&entry.registered.name, budget.level);
            Some(format!("target `{name}` reached {level} % of its budget (max_backlog): {then}"))
        });
        let damaged = self.store.scrub().damaged;
        let store = (damaged > 0)
            .then(|| format!("{damaged} object(s) are damaged on the disk: see `tidings store show`"));
        full.chain(store).chain(self.notes_on_rules()).collect()
    }

    async fn view(&self, entry: &Entry) -> TargetView {
        let mut view = TargetView::new(&self.snapshot(entry).await, (self.clock)());
        if let Some(configured) = &entry.configured {
            view.encoding = Some(configured.encoding.name());
            view.rate_limit = configured.limits.rate_limit;
            view.destination = configured.connector.destination().map(|t| t.source().to_owned());
        }
        view.replay = entry.progress.replaying();
        if let Some(dead) = self.queue.dead_letters(entry.registered.target).map(|dead| dead.status()) {
            view.replaying = dead.replaying;
            view.blocked = dead.blocked.map(|blocked| blocked.text().to_string());
        }
        let Some(status) = entry.lane.as_ref().map(delivery::TargetHandle::status) else { return view };
        let why = status.blocked.or(status.read_error);
        view.blocked = view.blocked.or(why.map(|why| why.to_string()));
        view.last_failure = status.last_error.and_then(|e| {
            Some(FailureView {
                time: rfc3339(e.at_unix_ms.saturating_mul(1_000))?,
                class: e.class.label(),
                message: e.text.to_string(),
            })
        });
        view
    }

    /// One target now.
    async fn snapshot(&self, entry: &Entry) -> TargetSnapshot {
        let (mut snapshot, taken) = of_lane(entry);
        if let Some(dead) = self.queue.dead_letters(entry.registered.target).map(|dead| dead.status()) {
            (snapshot.dead_letter_bytes, snapshot.dead_letter_limit_bytes) = (dead.bytes, dead.max_bytes);
            snapshot.oldest_dead_letter_us = dead.oldest_unix_ms.map(|ms| ms.saturating_mul(1_000));
            snapshot.dead_letter_writes[WriteResult::Ok as usize] = dead.written;
            snapshot.dead_letter_writes[WriteResult::Error as usize] = dead.failed;
        }
        if taken.is_some() || snapshot.books.backlog + snapshot.books.held > 0 {
            snapshot.oldest_undelivered_us = self.oldest_us(entry.registered.target, taken).await;
        }
        snapshot
    }
}

/// What the lane and the books know without a look into the log, and the oldest event that the lane has.
fn of_lane(entry: &Entry) -> (TargetSnapshot, Option<OldestEvent>) {
    let status = entry.lane.as_ref().map(delivery::TargetHandle::status);
    let (name, kind) = (Arc::clone(&entry.registered.name), Arc::clone(&entry.registered.kind));
    let Some(status) = status else {
        let books = entry.progress.books();
        let dead_letters = books.dead_lettered;
        let removed = TargetSnapshot {
            books,
            budget: entry.progress.budget().view(),
            dead_letters,
            ..TargetSnapshot::new(name, kind, TargetState::Removed)
        };
        return (removed, None);
    };
    let state = match status.state {
        delivery::TargetState::Connecting => TargetState::Connecting,
        delivery::TargetState::Up if status.throttled => TargetState::Throttled,
        delivery::TargetState::Up => TargetState::Up,
        delivery::TargetState::Down => TargetState::Down,
        delivery::TargetState::Faulted => TargetState::Faulted,
        delivery::TargetState::Paused => TargetState::Paused,
    };
    let snapshot = TargetSnapshot {
        books: status.books,
        budget: entry.progress.budget().view(),
        retrying: status.retrying as u64,
        in_flight: status.in_flight as u64,
        in_flight_limit: status.in_flight_limit as u64,
        last_success_us: status.last_success_unix_ms.map(|ms| ms.saturating_mul(1_000)),
        dead_letters: status.books.dead_lettered,
        counters: status.counters,
        connections_ended: status.incarnation.saturating_sub(1),
        ..TargetSnapshot::new(name, kind, state)
    };
    (snapshot, status.oldest_undelivered)
}
