//! Functions as targets, and what operators ask of them.
//!
//! Must never let a function get events before it is durable, nor lose those of one that is removed unless
//! somebody said so.

mod letter;
mod onward;

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::Parts;
use super::now_us;
use super::targets::{Surroundings, Targets};
use crate::admin::{ChangeError, FunctionBackend, Removed};
use crate::config::{self, Budget, OnReject, Rule, Target, TargetLimits, WhenFull};
use crate::fail;
use crate::functions::{
    FarSide, FunctionChange, FunctionError, FunctionView, Functions, Invoked, RunQuery, Runs, Templates,
    target_name,
};

pub(super) use onward::start as onward;

/// The functions that run here.
pub(super) struct Hosted {
    pub(super) all: Arc<Functions>,
    pub(super) configured: Mutex<Configured>,
    /// Held by whoever changes functions: one after the other.
    pub(super) changing: tokio::sync::Mutex<()>,
    /// Their dead letters on their way to targets.
    pub(super) onward: onward::Onward,
}

/// Connections of functions to S3 that may wait for the frontend to take them.
const DOOR: usize = 64;

/// Connections to S3 from within.
pub(super) type Inside = mpsc::Receiver<UnixStream>;

/// Opens the functions, then starts every target, those of functions among them.
pub(super) async fn start(
    around: Surroundings,
    config: &config::Config,
    accept: &[String],
) -> anyhow::Result<(Targets, Hosted, Inside)> {
    super::keys::pull_secret();
    let (door, inside) = mpsc::channel(DOOR);
    let all = open(config, door)?;
    let configured = Configured::of(config);
    let wanted = configured.wanted(&all, config.functions.max_backlog);
    let targets = Targets::start(around, &wanted, accept).await?;
    let changing = tokio::sync::Mutex::default();
    let hosted = Hosted { all, configured: configured.into(), changing, onward: onward::Onward::default() };
    Ok((targets, hosted, inside))
}

/// The targets and the functions' rules of the configuration that runs.
pub(super) struct Configured {
    targets: Vec<Target>,
    rules: Vec<(Arc<str>, Rule)>,
}

impl Configured {
    pub(super) fn of(config: &config::Config) -> Self {
        Self { targets: config.targets.clone(), rules: config.functions.rules.clone() }
    }

    /// Every target that should have a lane.
    pub(super) fn wanted(&self, functions: &Functions, max_backlog: u64) -> Vec<Target> {
        let names = functions.names().into_iter();
        let functions = names.filter_map(|name| self.target(functions, &name, max_backlog));
        self.targets.iter().cloned().chain(functions).collect()
    }

    fn target(&self, functions: &Functions, name: &str, max_backlog: u64) -> Option<Target> {
        let FarSide { connector, encoding, longest: attempt_timeout, pause } = functions.connector(name)?;
        // Never longer than a pause that is fixed, which the connector asks for.
        let backoff_max = pause.unwrap_or(FUNCTION_LIMITS.backoff_max);
        let rules = self.rules.iter().filter(|(function, _)| **function == *name);
        Some(Target {
            name: target_name(name).into(),
            encoding,
            rules: rules.map(|(_, rule)| rule.clone()).collect(),
            // A function can never make an object's change fail.
            budget: Budget { max_backlog, when_full: WhenFull::Shed },
            limits: TargetLimits { attempt_timeout, backoff_max, ..FUNCTION_LIMITS },
            connector,
        })
    }
}

/// As those of a target that says nothing about them.
const FUNCTION_LIMITS: TargetLimits = TargetLimits {
    attempt_timeout: std::time::Duration::from_secs(60),
    backoff_min: std::time::Duration::from_secs(1),
    backoff_max: std::time::Duration::from_secs(300),
    max_in_flight: 8_192,
    max_held: 1_000_000,
    rate_limit: None,
    on_reject: OnReject::DeadLetter,
    dead_letters_max_bytes: 256 << 20,
};

impl Parts {
    /// Makes the lane of one function fit what it is now.
    async fn follow(&self, name: &str) -> Result<(), ChangeError> {
        let target = {
            let configured = self.hosted.configured.lock().unwrap_or_else(PoisonError::into_inner);
            configured.target(&self.hosted.all, name, self.reloading.running.functions.max_backlog)
        };
        let wanted = self.want(name, target.as_ref()).await;
        self.hosted.onward.stir();
        wanted
    }

    async fn want(&self, name: &str, target: Option<&Target>) -> Result<(), ChangeError> {
        let done = self.targets.apply_one(&target_name(name), target).await;
        done.map_err(|e| ChangeError::Unknown(format!("its target cannot be changed: {e:#}")))
    }
}

fn of_function(error: FunctionError) -> ChangeError {
    match error {
        FunctionError::Missing => ChangeError::NoSuchFunction,
        FunctionError::Invalid(why) => ChangeError::BadRequest(why),
        FunctionError::Conflict(why) => ChangeError::Conflict(why),
        FunctionError::Unavailable(why) => ChangeError::Unavailable(why),
    }
}

#[async_trait]
impl FunctionBackend for Parts {
    fn list(&self) -> Vec<FunctionView> {
        let views = self.hosted.all.views().into_iter();
        views.map(|view| self.with_letters(view)).collect()
    }

    fn show(&self, name: &str) -> Result<FunctionView, ChangeError> {
        let view = self.hosted.all.view(name).map_err(of_function)?;
        Ok(self.with_letters(view))
    }

    async fn create(&self, name: &str, change: FunctionChange) -> Result<FunctionView, ChangeError> {
        let _alone = self.hosted.changing.lock().await;
        self.takes_letters(&change)?;
        let view = self.hosted.all.create(name, change).await.map_err(of_function)?;
        fail::point("function.create.durable");
        self.follow(name).await?;
        tracing::info!(function = name, "was made");
        Ok(view)
    }

    async fn update(&self, name: &str, change: FunctionChange) -> Result<FunctionView, ChangeError> {
        let _alone = self.hosted.changing.lock().await;
        self.takes_letters(&change)?;
        let view = self.hosted.all.update(name, change).await.map_err(of_function)?;
        self.follow(name).await?;
        tracing::info!(function = name, version = view.version, "was changed");
        Ok(view)
    }

    async fn remove(&self, name: &str, discard: bool) -> Result<Removed, ChangeError> {
        let _alone = self.hosted.changing.lock().await;
        self.hosted.all.view(name).map_err(of_function)?;
        if !discard {
            // Before its rules go: a refusal must not cost it the changes that are made meanwhile.
            self.targets.refuse_unsettled(&target_name(name))?;
        }
        // What is committed from here on may find its rules gone.
        let asked_at = self.queue.stat().durable_end;
        self.want(name, None).await?;
        // Its target first: a crash before the rest leaves a function that gets events from then on.
        match self.targets.forget(&target_name(name), discard).await {
            Ok(_) | Err(ChangeError::NoSuchTarget) => {}
            Err(refused) => {
                tracing::warn!(function = name, %refused, "was not removed");
                self.follow(name).await?;
                self.look_again(target_name(name), asked_at);
                return Err(refused);
            }
        }
        fail::point("function.remove.forgotten");
        if let Err(failed) = self.hosted.all.remove(name).await {
            // It is there as before, and gets what happens from now on.
            self.follow(name).await?;
            return Err(of_function(failed));
        }
        self.hosted.onward.stir();
        tracing::info!(function = name, "was removed");
        Ok(Removed { name: name.to_owned() })
    }

    async fn invoke(&self, name: &str, template: Option<&str>, event: Bytes) -> Result<Invoked, ChangeError> {
        let event = match template {
            Some(template) => self.hosted.all.template(name, template).map_err(of_function)?,
            None => event,
        };
        let id = Uuid::now_v7().to_string();
        self.hosted.all.invoke(name, event, &id).await.map_err(of_function)
    }

    async fn runs(&self, name: &str, query: RunQuery) -> Result<Runs, ChangeError> {
        self.hosted.all.runs(name, query).await.map_err(of_function)
    }

    fn templates(&self) -> Templates {
        self.hosted.all.templates()
    }
}

/// Opens the functions of a data directory.
fn open(config: &config::Config, door: mpsc::Sender<UnixStream>) -> anyhow::Result<Arc<Functions>> {
    use anyhow::Context as _;
    let place = crate::functions::Place {
        region: &config.server.region,
        appid: &config.account.appid,
        data: &config.server.data,
        program: program()?,
        now: now_us,
        random: super::random,
        door,
    };
    let functions = Functions::open(&config.functions, place).context("functions cannot be opened")?;
    let hosted = functions.names().len();
    if let Some(why) = functions.cannot_host().filter(|_| hosted > 0) {
        tracing::warn!(hosted, "functions cannot run, and their events wait: {why}");
    } else if config.functions.allow_unsandboxed {
        tracing::warn!(
            "`functions.allow_unsandboxed` is set: where bubblewrap is missing, code sees everything"
        );
    }
    Ok(Arc::new(functions))
}

/// This program, which is also the first process of every instance.
fn program() -> anyhow::Result<std::path::PathBuf> {
    Ok(std::env::current_exe()?)
}
