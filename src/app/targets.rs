//! Every registered target: its number, its reader's books, and its lane if it is configured.
//!
//! Must never start a lane whose target is not registered durably: its entries would name nobody.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context as _;

use crate::commit::Commit;
use crate::config::{self, Config};
use crate::delivery::{self, Ambient, EncodeFn, TargetHandle};
use crate::encode::{Binding, Encoder, Origin};
use crate::queue::embedded::EmbeddedQueue;
use crate::queue::{Progress, Queue as _, TargetNo};
use crate::rules::RuleSet;
use crate::store::RegisteredTarget;

/// One registered target.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) registered: RegisteredTarget,
    pub(super) progress: Arc<Progress>,
    pub(super) configured: Option<config::Target>,
    /// None for a target that is not configured any more: everything is kept.
    pub(super) lane: Option<TargetHandle>,
}

/// Every registered target, by name.
#[derive(Default)]
pub(super) struct Targets {
    by_name: RwLock<BTreeMap<Arc<str>, Entry>>,
}

impl Targets {
    pub(super) fn all(&self) -> Vec<Entry> {
        self.by_name.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(super) fn get(&self, name: &str) -> Option<Entry> {
        self.by_name.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub(super) fn note_paused(&self, name: &str, paused: bool) {
        if let Some(entry) = self.by_name.write().unwrap_or_else(PoisonError::into_inner).get_mut(name) {
            entry.registered.paused = paused;
        }
    }

    /// Ends every lane: what is out may come back until the deadline, and the progress is made durable.
    pub(super) async fn stop(&self, deadline: Duration) {
        let lanes = self.all().into_iter().filter_map(|t| t.lane);
        let stops = lanes.map(|lane| async move { (lane.name().clone(), lane.stop(deadline).await) });
        for (name, stopped) in futures_util::future::join_all(stops).await {
            if let Some(why) = stopped.not_durable {
                tracing::warn!(target_name = %name, "progress is not durable, deliveries will repeat: {why}");
            }
        }
    }
}

/// `unfinished` says why the index did not reach the end of the log: then nothing is registered, and nothing
/// trimmed.
///
/// Registers what is new, opens a reader for every registered target, sets the rules and starts the lanes.
pub(super) async fn start(
    config: &Config,
    queue: &EmbeddedQueue,
    commit: &Commit,
    unfinished: Option<&str>,
    unix_ms: Arc<dyn Fn() -> i64 + Send + Sync>,
    seed: &mut dyn FnMut() -> u64,
) -> anyhow::Result<Targets> {
    let mut registered = commit.store().targets()?;
    // First every reader that exists: what is committed from here on is counted for it.
    for target in &registered {
        queue.add_reader(target.target, target.since)?;
    }
    // Unless the log holds registrations that nobody has read.
    if unfinished.is_none() {
        queue.readers_complete();
    }
    register(config, queue, commit, unfinished, &mut registered).await?;
    let number_of = |name: &str| registered.iter().find(|r| *r.name == *name).map(|r| r.target);
    let rules: Vec<_> =
        config.targets.iter().filter_map(|t| Some((number_of(&t.name)?, t.rules.clone()))).collect();
    commit.set_rules(RuleSet::build(&rules));
    let mut by_name = BTreeMap::new();
    for target in registered {
        let progress = queue.add_reader(target.target, target.since)?;
        let configured = config.targets.iter().find(|t| t.name == target.name).cloned();
        if let Some(wanted) = &configured {
            progress.budget().set(&target.name, wanted.budget);
        }
        let lane = match &configured {
            None => {
                let (name, backlog) = (&target.name, progress.books().backlog);
                tracing::warn!(target_name = %name, backlog, "is not configured; its backlog is kept");
                None
            }
            Some(wanted) => {
                let ambient =
                    Ambient { now: tokio::time::Instant::now, unix_ms: Arc::clone(&unix_ms), seed: seed() };
                let reader = queue.open(target.target, 0).await?;
                let encode = encoder(config, wanted);
                Some(delivery::spawn(wanted, target.target, reader, encode, ambient, target.paused))
            }
        };
        by_name.insert(Arc::clone(&target.name), Entry { registered: target, progress, configured, lane });
    }
    Ok(Targets { by_name: RwLock::new(by_name) })
}

/// Registers every configured target that has no number yet.
async fn register(
    config: &Config,
    queue: &EmbeddedQueue,
    commit: &Commit,
    unfinished: Option<&str>,
    registered: &mut Vec<RegisteredTarget>,
) -> anyhow::Result<()> {
    for target in &config.targets {
        let kind = target.connector.kind();
        if let Some(known) = registered.iter().find(|r| r.name == target.name) {
            if *known.kind != *kind {
                let (name, was) = (&target.name, &known.kind);
                tracing::warn!(target_name = %name, "was a {was} target and is a {kind} target now");
            }
            continue;
        }
        if let Some(why) = unfinished {
            // Its number may be given already, in a record that the index did not come to.
            tracing::error!(target_name = %target.name, "cannot be registered: {why}");
            continue;
        }
        let number = TargetNo(registered.iter().map(|r| r.target.0).max().unwrap_or(0) + 1);
        let position = commit
            .register_target(number, &target.name, kind)
            .await
            .with_context(|| format!("target `{}` cannot be registered", target.name))?;
        queue.add_reader(number, position.offset)?;
        registered.push(RegisteredTarget {
            target: number,
            name: Arc::clone(&target.name),
            kind: kind.into(),
            since: position.offset,
            paused: false,
        });
    }
    Ok(())
}

fn encoder(config: &Config, target: &config::Target) -> EncodeFn {
    let binding = match target.connector.kind() {
        "kafka" => Binding::Kafka,
        "nats" => Binding::Nats,
        "amqp" => Binding::Amqp,
        _ => Binding::Http,
    };
    let origin = Origin {
        region: &config.server.region,
        appid: &config.account.appid,
        domain: config.server.domain.as_deref(),
        target: &target.name,
    };
    let encoder = Encoder::new(target.encoding, binding, origin, target.connector.destination());
    Arc::new(move |stored, rule| encoder.message(stored, rule))
}
