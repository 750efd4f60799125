//! Reading the configuration anew while the server runs.
//!
//! Must never stop or change anything for the sake of a configuration that is not valid, and never pretend
//! that a key took effect which needs a restart.

use std::sync::{Arc, Mutex, PoisonError};

use super::Parts;
use super::apply::KindChanged;
use super::functions::Configured;
use crate::admin::{ChangeError, Reloaded};
use crate::config::credentials::{self, Credentials};
use crate::config::{self, Config, Diagnostics};
use crate::metrics::ConfigSnapshot;

/// Reads and checks the configuration, as it was read at the start.
pub type Source = Arc<dyn Fn() -> Result<Config, Diagnostics> + Send + Sync>;

/// Where the configuration comes from, and how the last reading went.
pub(super) struct Reloading {
    pub(super) source: Option<Source>,
    /// What runs, but for its targets.
    pub(super) running: Config,
    last: Mutex<ConfigSnapshot>,
    /// Held from the reading to the end of what follows from it: what was read first must not win.
    alone: tokio::sync::Mutex<()>,
}

impl Reloading {
    pub(super) fn new(source: Option<Source>, running: Config, now_us: i64) -> Self {
        let last = ConfigSnapshot { last_reload_ok: true, last_success_us: now_us };
        Self { source, running, last: Mutex::new(last), alone: tokio::sync::Mutex::default() }
    }

    /// How the last reading went.
    pub(super) fn last(&self) -> ConfigSnapshot {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The credentials as they are in the file now.
    async fn credentials(&self) -> Result<Credentials, ChangeError> {
        let data = self.running.server.data.clone();
        let read = tokio::task::spawn_blocking(move || credentials::load(&data)).await;
        let read = read.map_err(|_| ChangeError::Unknown("reading the credentials broke off".into()))?;
        read.map_err(|wrong| ChangeError::Invalid(wrong.to_string()))
    }

    fn note(&self, ok: bool, now_us: i64) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.last_reload_ok = ok;
        if ok {
            last.last_success_us = now_us;
        }
    }
}

impl Parts {
    /// Reads the configuration anew and makes its targets and rules the running ones. After an error
    /// everything runs as before.
    pub(super) async fn reload(&self, accept: &[String]) -> Result<Reloaded, ChangeError> {
        let _alone = self.reloading.alone.lock().await;
        let done = self.try_reload(accept).await;
        self.reloading.note(done.is_ok(), (self.clock)());
        match &done {
            Ok(done) => tracing::info!(?done, "the configuration was read anew"),
            Err(why) => tracing::error!("the configuration was read anew and does not run: {why}"),
        }
        done
    }

    async fn try_reload(&self, accept: &[String]) -> Result<Reloaded, ChangeError> {
        let source = self.reloading.source.clone().ok_or_else(|| {
            ChangeError::Conflict(
                "the configuration did not come from a file: there is nothing to read".into(),
            )
        })?;
        let read = tokio::task::spawn_blocking(move || source()).await;
        let read = read.map_err(|_| ChangeError::Unknown("reading the configuration broke off".into()))?;
        let config = read.map_err(|wrong| ChangeError::Invalid(wrong.to_string()))?;
        // Everything is read before anything is changed.
        let credentials = self.reloading.credentials().await?;
        let _alone = self.hosted.changing.lock().await;
        let configured = Configured::of(&config);
        let wanted = configured.wanted(&self.hosted.all, self.reloading.running.functions.max_backlog);
        let mut done =
            self.targets.apply(&wanted, accept).await.map_err(|e| match e.downcast_ref::<KindChanged>() {
                Some(changed) => ChangeError::Conflict(changed.to_string()),
                None => ChangeError::Unavailable(format!("{e:#}")),
            })?;
        *self.hosted.configured.lock().unwrap_or_else(PoisonError::into_inner) = configured;
        self.hosted.onward.stir();
        done.warnings = config.warnings.clone();
        // A renewed certificate that does not work must not keep targets and credentials from their reload.
        if let Err(error) = self.tls.reload().await {
            tracing::error!("the old certificate stays in force: {error}");
            done.warnings.push(format!("the old certificate stays in force: {error}"));
        }
        let changed = self.keys.replace(credentials);
        (done.credentials_added, done.credentials_changed) = (changed.added, changed.changed);
        done.credentials_removed = changed.removed;
        done.needs_restart = config::needs_restart(&self.reloading.running, &config);
        Ok(done)
    }
}
