//! Every registered target: its number, its reader's books, and its lane if it is configured.
//!
//! Must never let two operators change targets at once, and never forget one whose events may still come.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard, Notify};

use super::single::{still_kept, unsettled};
use super::storage::first_segments;
use crate::admin::{ChangeError, Forgotten};
use crate::commit::{Commit, CommitError};
use crate::config;
use crate::delivery::TargetHandle;
use crate::fail;
use crate::queue::embedded::EmbeddedQueue;
use crate::queue::{Pause, Progress, TargetNo};
use crate::store::RegisteredTarget;

/// One registered target.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) registered: RegisteredTarget,
    pub(super) progress: Arc<Progress>,
    pub(super) configured: Option<config::Target>,
    /// None for a target that is not configured any more: everything is kept.
    pub(super) lane: Option<TargetHandle>,
    /// What the files held that its connector reads, when the lane was started.
    pub(super) files: u64,
}

/// What targets are made of.
pub(super) struct Surroundings {
    pub(super) queue: Arc<EmbeddedQueue>,
    pub(super) commit: Arc<Commit>,
    /// The server that runs: what it says in events changes with a restart only.
    pub(super) server: config::Server,
    pub(super) account: config::Account,
    /// Why the index did not reach the end of the log at start: then nothing is registered or forgotten.
    pub(super) unfinished: Option<String>,
    pub(super) unix_ms: Arc<dyn Fn() -> i64 + Send + Sync>,
    pub(super) seed: fn() -> u64,
}

/// Every registered target, by name.
pub(super) struct Targets {
    by_name: RwLock<BTreeMap<Arc<str>, Entry>>,
    pub(super) around: Surroundings,
    changing: Mutex<()>,
    /// The highest number that was ever given: it is never given again.
    pub(super) numbered: AtomicU32,
    /// Told by a lane whose far side said that it is gone.
    pub(super) gone: Arc<Notify>,
    /// Held by whoever changes triggers.
    pub(super) triggering: Mutex<()>,
}

impl Targets {
    /// Opens a reader for every registered target: what is committed from here on is counted for it, and the
    /// log is kept for it.
    fn open(around: Surroundings) -> anyhow::Result<Self> {
        let (mut by_name, mut forgotten) = (BTreeMap::new(), Vec::new());
        let registered = around.commit.store().targets()?;
        let numbered = registered.iter().map(|r| r.target.0).max().unwrap_or(0).into();
        for registered in registered {
            if registered.forgotten.is_some() {
                forgotten.push(registered.target);
                continue;
            }
            let progress = around.queue.add_reader(registered.target, registered.since)?;
            progress.budget().set(&registered.name, registered.budget);
            let name = Arc::clone(&registered.name);
            by_name.insert(name, Entry { registered, progress, configured: None, lane: None, files: 0 });
        }
        // Unless the log holds registrations that nobody has read.
        if around.unfinished.is_none() {
            around.queue.readers_complete();
            forgotten.into_iter().try_for_each(|target| around.queue.forget_leftovers(target))?;
        }
        Ok(Self {
            by_name: RwLock::new(by_name),
            around,
            changing: Mutex::default(),
            numbered,
            triggering: Mutex::default(),
            gone: Arc::default(),
        })
    }

    /// Opens a reader for every registered target, then starts those that are wanted.
    pub(super) async fn start(
        around: Surroundings,
        wanted: &[config::Target],
        accept: &[String],
    ) -> anyhow::Result<Self> {
        let targets = Self::open(around)?;
        if wanted.iter().any(|target| targets.get(&target.name).is_none()) {
            // It is registered in the log, whose first segment must be there for that.
            first_segments(&targets.around.queue, 1).await;
        }
        targets.apply(wanted, accept).await?;
        Ok(targets)
    }

    pub(super) fn all(&self) -> Vec<Entry> {
        self.by_name.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(super) fn get(&self, name: &str) -> Option<Entry> {
        self.by_name.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Held by whoever changes targets: one after the other.
    pub(super) async fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().await
    }

    /// Puts an entry in the place of the one with its name.
    pub(super) fn put(&self, entry: Entry) {
        let name = Arc::clone(&entry.registered.name);
        self.by_name.write().unwrap_or_else(PoisonError::into_inner).insert(name, entry);
    }

    fn remove(&self, name: &str) {
        self.by_name.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Pauses or resumes a target, durably.
    pub(super) async fn pause(&self, name: &str, paused: bool) -> Result<(), ChangeError> {
        let _alone = self.changing().await;
        let mut entry = self.get(name).ok_or(ChangeError::NoSuchTarget)?;
        let Some(lane) = entry.lane.clone() else {
            return Err(ChangeError::Conflict(
                "the target is not configured any more; its backlog is kept".into(),
            ));
        };
        if paused {
            // Quiet first: nothing is sent any more by the time the answer says so.
            lane.pause();
        }
        let wanted = if paused { Pause::Operator } else { Pause::No };
        if entry.registered.paused != wanted {
            let noted = self.around.commit.pause_target(entry.registered.target, wanted).await;
            if let Err(error) = noted {
                // Nobody was told that it pauses, and the next start would not.
                if entry.registered.paused == Pause::No {
                    lane.resume();
                }
                return Err(of_setting(error));
            }
            entry.registered.paused = wanted;
            self.put(entry);
        }
        if !paused {
            lane.resume();
        }
        Ok(())
    }

    /// Keeps durably which far sides said that they are gone: a restart must not call them again. What
    /// cannot be kept now costs them one more call after the next start.
    pub(super) async fn keep_gone(&self) {
        let _alone = self.changing().await;
        for mut entry in self.all() {
            let gone = entry.lane.as_ref().is_some_and(TargetHandle::is_gone);
            if !gone || entry.registered.paused == Pause::Gone {
                continue;
            }
            let target_name = Arc::clone(&entry.registered.name);
            match self.around.commit.pause_target(entry.registered.target, Pause::Gone).await {
                Ok(_) => {
                    entry.registered.paused = Pause::Gone;
                    self.put(entry);
                }
                Err(e) => {
                    tracing::warn!(%target_name, "is gone, and after a restart it will be called again: {e}");
                }
            }
        }
    }

    /// Gives a target up that is not configured any more: what it has not got is counted as forgotten, and
    /// nothing is kept for it. `discard` says that the caller knows of events that it has not got.
    pub(super) async fn forget(&self, name: &str, discard: bool) -> Result<Forgotten, ChangeError> {
        let _alone = self.changing().await;
        let entry = self.get(name).ok_or(ChangeError::NoSuchTarget)?;
        if entry.configured.is_some() {
            let why = "the target is configured: take it out of the configuration and reload, then forget it";
            return Err(ChangeError::Conflict(why.into()));
        }
        if let Some(why) = &self.around.unfinished {
            return Err(ChangeError::Unavailable(why.clone()));
        }
        let (queue, commit) = (&self.around.queue, &self.around.commit);
        // Changes that were matched while it was configured: each is counted, or will never be.
        commit.earlier_rules_ended().await;
        if let Some(letters) = queue.dead_letters(entry.registered.target) {
            letters.quiesce().await;
        }
        let books = entry.progress.books();
        let unsettled = unsettled(&books);
        if unsettled > 0 && !discard {
            return Err(still_kept(unsettled));
        }
        let number = entry.registered.target;
        commit.forget_target(number, unsettled).await.map_err(of_setting)?;
        fail::point("forget.logged");
        // From here on it is forgotten, whatever happens: what is left over goes at the next start.
        self.remove(name);
        let books = self.end(Arc::clone(queue), number).await;
        tracing::warn!(target_name = name, unsettled, "is forgotten");
        let books =
            books.map_err(|e| ChangeError::Unknown(format!("forgotten, but not cleared away: {e}")))?;
        Ok(Forgotten { name: name.to_owned(), books })
    }

    async fn end(&self, queue: Arc<EmbeddedQueue>, number: TargetNo) -> Result<crate::queue::Books, String> {
        let ended = tokio::task::spawn_blocking(move || queue.forget(number)).await;
        ended.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
    }

    /// Ends every lane: what is out may come back until the deadline, and the progress is made durable.
    pub(super) async fn stop(&self, deadline: Duration) {
        let _alone = self.changing().await;
        let lanes = self.all().into_iter().filter_map(|t| t.lane);
        let stops = lanes.map(|lane| async move { (lane.name().clone(), lane.stop(deadline).await) });
        for (name, stopped) in futures_util::future::join_all(stops).await {
            if let Some(why) = stopped.not_durable {
                tracing::warn!(target_name = %name, "progress is not durable, deliveries will repeat: {why}");
            }
        }
    }
}

/// What became of a setting that was not made.
pub(super) fn of_setting(error: CommitError) -> ChangeError {
    match error {
        CommitError::Full(full) => ChangeError::Unavailable(full.to_string()),
        other => ChangeError::Unknown(other.to_string()),
    }
}
