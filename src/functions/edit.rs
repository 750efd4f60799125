//! Making, changing and removing functions: checked, then durable, then in force.
//!
//! Must never change two functions at once, and never leave half a change behind.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use super::change::FunctionChange;
use super::code::{CodeInput, Tree};
use super::error::blocking;
use super::name::is_name;
use super::record::{Record, Version};
use super::registry::Registry;
use super::spec::Settings;
use super::{FunctionError, FunctionView, Functions, presets};

impl Functions {
    /// Makes a function. It is durable when this returns.
    ///
    /// # Errors
    /// What is wrong with it, or that there is one of this name; nothing was made.
    pub async fn create(
        self: &Arc<Self>,
        name: &str,
        mut change: FunctionChange,
    ) -> Result<FunctionView, FunctionError> {
        if !is_name(name) {
            return Err(FunctionError::Invalid(format!("`{}` is no function's name", name.escape_debug())));
        }
        let _alone = self.changing.lock().await;
        if self.get(name).is_ok() {
            return Err(FunctionError::Conflict(format!("there is a function `{name}` already")));
        }
        Registry::room(self.live().len())?;
        if change.restore.is_some() {
            return Err(FunctionError::Invalid("a new function has no version to go back to".into()));
        }
        let (settings, preset) = match change.from.take() {
            Some(from) => presets::named(&from).map(|(settings, code)| (settings, Some(code)))?,
            None => (Settings::default(), None),
        };
        let settings = change.apply(settings)?;
        if settings.elsewhere.is_some() {
            self.callable(name, &settings, &change)?;
            let mut record = Record::elsewhere(name, settings, &self.clock());
            change.apply_tests(&mut record.tests)?;
            return self.make_durable(record, Vec::new()).await;
        }
        self.host.can_host(settings.runtime).map_err(FunctionError::Conflict)?;
        let code = change.code.take().or(preset).ok_or_else(|| {
            FunctionError::Invalid("a function needs code, or a template to begin `from`".into())
        })?;
        let mut tests = BTreeMap::new();
        change.apply_tests(&mut tests)?;
        let now = self.clock();
        let (hash, bytes) = self.write_code(code, &settings).await?;
        let version = Version { number: 1, hash, bytes, time: now.clone() };
        let record = Record { tests, ..Record::new(name, settings, version, &now) };
        self.make_durable(record, Vec::new()).await
    }

    /// Changes a function. It is durable when this returns.
    ///
    /// # Errors
    /// What is wrong with it; nothing was changed.
    pub async fn update(
        self: &Arc<Self>,
        name: &str,
        mut change: FunctionChange,
    ) -> Result<FunctionView, FunctionError> {
        let _alone = self.changing.lock().await;
        let before = self.get(name)?.record;
        let mut record = (*before).clone();
        if change.from.is_some() {
            return Err(FunctionError::Invalid("`from` is for a new function".into()));
        }
        if change.code.is_some() && change.restore.is_some() {
            return Err(FunctionError::Invalid("new code and an old version exclude each other".into()));
        }
        let was_elsewhere = record.settings.elsewhere.is_some();
        record.settings = change.apply(record.settings)?;
        match record.settings.elsewhere.is_some() {
            true if !was_elsewhere => {
                return Err(FunctionError::Invalid(
                    "its code runs here: make another one with a `url`".into(),
                ));
            }
            true => self.callable(name, &record.settings, &change)?,
            false => self.host.can_host(record.settings.runtime).map_err(FunctionError::Conflict)?,
        }
        change.apply_tests(&mut record.tests)?;
        let now = self.clock();
        if let Some(code) = change.code.take() {
            let (hash, bytes) = self.write_code(code, &record.settings).await?;
            record.take_code(hash, bytes, &now);
        }
        if let Some(number) = change.restore {
            if !record.versions.iter().any(|version| version.number == number) {
                return Err(FunctionError::Invalid(format!("version {number} is not kept")));
            }
            record.current = number;
        }
        record.updated = now;
        record.revision += 1;
        self.make_durable(record, before.hashes()).await
    }

    /// Removes a function and its code; its instances end. Its target is somebody else's to end first.
    ///
    /// # Errors
    /// There is none of this name, or the disk failed.
    pub async fn remove(self: &Arc<Self>, name: &str) -> Result<(), FunctionError> {
        let _alone = self.changing.lock().await;
        let live = self.get(name)?;
        let (all, named) = (Arc::clone(self), name.to_owned());
        blocking(move || all.registry.remove(&named)).await?;
        // Not before: what cannot be removed goes on as it was.
        self.all.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        live.host.close();
        live.host.revoke();
        self.host.log().forget(name).await;
        let (all, named) = (Arc::clone(self), name.to_owned());
        blocking(move || {
            all.registry.remove_runs(&named);
            all.clear(live.record.hashes());
            Ok(())
        })
        .await
    }

    /// Refuses what cannot be called, and what only code that runs here can have.
    fn callable(
        &self,
        name: &str,
        settings: &Settings,
        change: &FunctionChange,
    ) -> Result<(), FunctionError> {
        let Some(elsewhere) = &settings.elsewhere else { return Ok(()) };
        let code = change.code.is_some() || change.from.is_some() || change.restore.is_some();
        if code || !settings.role.is_empty() || !settings.environment.is_empty() {
            let what = "code, a role and variables are for functions that run here, not at a `url`";
            return Err(FunctionError::Invalid(what.into()));
        }
        let around = (self.host.options().reach(), &*self.region, &*self.appid);
        elsewhere.config(name, settings, around).map(drop).map_err(FunctionError::Invalid)
    }

    async fn write_code(
        self: &Arc<Self>,
        code: CodeInput,
        settings: &Settings,
    ) -> Result<(String, u64), FunctionError> {
        let (all, settings) = (Arc::clone(self), settings.clone());
        blocking(move || {
            let tree = Tree::of(code, settings.runtime, &settings.handler, all.code_room)?;
            Ok((all.registry.write_code(&tree)?, tree.bytes()))
        })
        .await
    }

    /// `before`: the code that the record named which this one takes the place of.
    async fn make_durable(
        self: &Arc<Self>,
        record: Record,
        before: Vec<String>,
    ) -> Result<FunctionView, FunctionError> {
        let (all, name) = (Arc::clone(self), record.name.clone());
        blocking(move || {
            all.registry.write(&record)?;
            all.put(record)?;
            all.clear(before);
            Ok(())
        })
        .await?;
        self.view(&name)
    }

    /// Removes what no function names any more of code that one named.
    fn clear(&self, mut hashes: Vec<String>) {
        for live in self.live().values() {
            hashes.retain(|hash| live.record.versions.iter().all(|version| version.hash != *hash));
        }
        hashes.iter().for_each(|hash| self.registry.remove_code(hash));
    }

    fn clock(&self) -> String {
        let now = jiff::Timestamp::from_microsecond((self.now)());
        now.map(|now| now.to_string()).unwrap_or_default()
    }
}
