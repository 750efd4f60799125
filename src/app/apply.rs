//! From configured targets to running ones, at the start and at every reload.
//!
//! Must never start a lane whose target is not registered durably (its entries would name nobody), let a
//! change see half of the new rules, nor touch a lane that the configuration did not change.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;

use super::targets::{Entry, Targets};
use crate::admin::Reloaded;
use crate::config;
use crate::delivery::{self, Ambient, TargetHandle};
use crate::queue::{Queue as _, TargetNo};
use crate::rules::RuleSet;
use crate::store::RegisteredTarget;

/// What a lane has out may come back for so long when it is rebuilt or its target is taken out; then it is
/// sent again, or kept.
const DRAIN: Duration = Duration::from_secs(5);
/// So much of a file is looked at to see whether it changed, in bytes: no secret or certificate is longer.
const MAX_FILE: u64 = 1 << 20;

/// Names of targets whose connector's kind changed, and that nobody accepted.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct KindChanged(Vec<String>);

impl Targets {
    /// Makes these targets the running ones. `accept` names those whose connector's kind may change. After an
    /// error everything runs as before, but for names that were registered.
    pub(super) async fn apply(
        &self,
        wanted: &[config::Target],
        accept: &[String],
    ) -> anyhow::Result<Reloaded> {
        let _alone = self.changing().await;
        self.check_kinds(wanted, accept)?;
        let mut done = Reloaded::default();
        for target in wanted {
            self.register(target, &mut done).await?;
        }
        let number_of = |t: &config::Target| Some((self.get(&t.name)?.registered.target, t.rules.clone()));
        let rules: Vec<_> = wanted.iter().filter_map(number_of).collect();
        for target in wanted {
            if let Some(entry) = self.get(&target.name) {
                entry.progress.budget().set(&target.name, target.budget);
            }
        }
        self.around.commit.set_rules(RuleSet::build(&rules).reaching(self.reachable(wanted)));
        let by_name: HashMap<&str, _> = wanted.iter().map(|target| (&*target.name, target)).collect();
        let lanes = self.all().into_iter().map(|entry| {
            let target = by_name.get(&*entry.registered.name).copied();
            self.bring_up(entry, target)
        });
        for (name, change) in futures_util::future::join_all(lanes).await {
            let list = match change {
                Change::None => continue,
                Change::Kept => &mut done.unchanged,
                Change::Started if done.added.contains(&name) => continue,
                Change::Started => &mut done.resumed,
                Change::Rebuilt => &mut done.rebuilt,
                Change::Removed => &mut done.removed,
                Change::Failed(why) => {
                    tracing::error!(target_name = name, "its lane cannot be started: {why}");
                    &mut done.failed
                }
            };
            list.push(name);
        }
        Ok(done)
    }

    /// A backlog must not go to another kind of far side by mistake.
    pub(super) fn check_kinds(
        &self,
        wanted: &[config::Target],
        accept: &[String],
    ) -> Result<(), KindChanged> {
        let changed = wanted.iter().filter_map(|target| {
            let entry = self.get(&target.name)?;
            let (name, was, is) = (&target.name, &entry.registered.kind, target.connector.kind());
            let accepted = **was == *is || accept.iter().any(|a| **a == **name);
            let books = entry.progress.books();
            let backlog = books.backlog + books.held;
            let sentence = format!(
                "target `{name}` was a {was} target and is a {is} target now: its backlog of {backlog} \
                 events would go there. Accept that with `--accept {name}`, or give the new target another \
                 name"
            );
            (!accepted).then_some(sentence)
        });
        let changed: Vec<_> = changed.collect();
        if changed.is_empty() { Ok(()) } else { Err(KindChanged(changed)) }
    }

    /// Registers a target that has no number yet, and keeps what is configured of it in the registry.
    pub(super) async fn register(&self, target: &config::Target, done: &mut Reloaded) -> anyhow::Result<()> {
        let commit = &self.around.commit;
        let kind = target.connector.kind();
        let failed = || format!("target `{}` cannot be registered", target.name);
        let mut entry = match self.get(&target.name) {
            Some(entry) => entry,
            None => {
                if let Some(why) = &self.around.unfinished {
                    // Its number may be given already, in a record that the index did not come to.
                    tracing::error!(target_name = %target.name, "cannot be registered: {why}");
                    return Ok(());
                }
                // Also above the numbers of those that were forgotten.
                let number = TargetNo(self.numbered.fetch_add(1, Ordering::Relaxed) + 1);
                let position =
                    commit.register_target(number, &target.name, kind).await.with_context(failed)?;
                let progress = self.around.queue.add_reader(number, position.offset)?;
                let registered = RegisteredTarget::new(number, &target.name, &kind.into(), position.offset);
                done.added.push(target.name.to_string());
                Entry { registered, progress, configured: None, lane: None, files: 0 }
            }
        };
        let registered = &mut entry.registered;
        if (&*registered.kind, registered.budget) != (kind, target.budget) {
            if self.around.unfinished.is_none() {
                commit.configure_target(registered.target, kind, target.budget).await.with_context(failed)?;
            }
            (registered.kind, registered.budget) = (kind.into(), target.budget);
        }
        self.put(entry);
        Ok(())
    }

    /// Makes one target's lane what is wanted of it.
    pub(super) async fn bring_up(
        &self,
        mut entry: Entry,
        wanted: Option<&config::Target>,
    ) -> (String, Change) {
        let name = entry.registered.name.to_string();
        let files = wanted.map_or(0, |target| digest(target.connector.files()));
        let kept = entry.configured.as_ref().zip(wanted).is_some_and(|(was, is)| was.same_lane(is));
        let change = match (entry.lane.clone(), wanted) {
            (None, None) => {
                let books = entry.progress.books();
                let backlog = books.backlog + books.held;
                tracing::warn!(target_name = name, backlog, "is not configured; its backlog is kept");
                return (name, Change::None);
            }
            (Some(_), Some(_)) if kept && entry.files == files => Change::Kept,
            (Some(lane), None) => {
                end(&lane).await;
                entry.lane = None;
                tracing::warn!(target_name = name, "is not configured any more; its backlog is kept");
                Change::Removed
            }
            (Some(lane), Some(target)) => {
                // Its reader is free once it has ended, and begins again with what was not settled.
                end(&lane).await;
                self.start_lane(&mut entry, target, Some(&lane)).await.map_or_else(Change::Failed, |()| {
                    tracing::info!(target_name = name, "its lane was built anew");
                    Change::Rebuilt
                })
            }
            (None, Some(target)) => {
                let books = entry.progress.books();
                let backlog = books.backlog + books.held;
                self.start_lane(&mut entry, target, None).await.map_or_else(Change::Failed, |()| {
                    if backlog > 0 {
                        tracing::info!(target_name = name, backlog, "resumes with its backlog");
                    }
                    Change::Started
                })
            }
        };
        entry.configured = wanted.cloned();
        entry.files = files;
        self.put(entry);
        (name, change)
    }

    async fn start_lane(
        &self,
        entry: &mut Entry,
        target: &config::Target,
        before: Option<&TargetHandle>,
    ) -> Result<(), String> {
        entry.lane = None;
        let around = &self.around;
        let ambient = Ambient {
            now: tokio::time::Instant::now,
            unix_ms: Arc::clone(&around.unix_ms),
            seed: (around.seed)(),
            gone: Arc::clone(&self.gone),
        };
        let RegisteredTarget { target: number, paused, .. } = entry.registered;
        let reader = around.queue.open(number, 0).await.map_err(|e| e.to_string())?;
        let encode = self.encoder(target);
        entry.lane = Some(match before {
            Some(before) => before.succeed(target, number, reader, encode, ambient, paused),
            None => delivery::spawn(target, number, reader, encode, ambient, paused),
        });
        Ok(())
    }
}

/// What became of one target.
pub(super) enum Change {
    /// It is not configured, and was not before.
    None,
    Kept,
    Started,
    Rebuilt,
    Removed,
    /// It is configured and has no lane; everything is kept for it.
    Failed(String),
}

/// Ends a lane. What it had out and was not answered is not settled.
async fn end(lane: &TargetHandle) {
    let stopped = lane.stop(DRAIN).await;
    if stopped.abandoned > 0 {
        let abandoned = stopped.abandoned;
        tracing::warn!(target_name = %lane.name(), abandoned, "was not answered in time by its far side");
    }
}

/// What the files hold now. One that cannot be read counts as empty: the connector will say so.
fn digest(files: Vec<PathBuf>) -> u64 {
    use std::io::Read as _;
    let mut hasher = DefaultHasher::new();
    for path in files {
        let mut content = Vec::new();
        let read = std::fs::File::open(&path).map(|file| file.take(MAX_FILE).read_to_end(&mut content));
        hasher.write_u8(u8::from(matches!(read, Ok(Ok(_)))));
        hasher.write_usize(content.len());
        hasher.write(&content);
    }
    hasher.finish()
}
