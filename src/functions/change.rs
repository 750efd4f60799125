//! What somebody wants a function to be, and what that makes of its settings.
//!
//! Must never change anything by itself: `edit.rs` does.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::FunctionError;
use super::code::CodeInput;
use super::elsewhere::Wish;
use super::name::is_name;
use super::spec::{Network, Retry, Runtime, Settings};
use crate::config::credentials::Grant;

/// Events that are saved with one function.
const MAX_TESTS: usize = 5;
/// Bytes of each.
const MAX_TEST_BYTES: usize = 64 << 10;

/// What somebody wants a function to be; what is not said stays as it is, or is the default.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FunctionChange {
    /// The function template to begin with; only for a new one.
    pub from: Option<String>,
    /// Its code.
    pub code: Option<CodeInput>,
    /// The version of its code to go back to.
    pub restore: Option<u32>,
    /// What runs its code.
    pub runtime: Option<String>,
    /// `FILE.FUNCTION`.
    pub handler: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// MiB.
    pub memory_mb: Option<u32>,
    /// Seconds of one run.
    pub timeout_s: Option<u32>,
    /// Seconds of its start.
    pub start_timeout_s: Option<u32>,
    /// Runs at once.
    pub concurrency: Option<u32>,
    /// Variables; null removes one.
    pub environment: BTreeMap<String, Option<String>>,
    /// `none` or `all`.
    pub network: Option<Network>,
    /// What it may do with objects; an empty list takes it back.
    pub role: Option<Vec<Grant>>,
    /// Where it runs, if not here: `http://` or `https://`.
    pub url: Option<String>,
    /// How it is called there: `scf`, `lambda`, `openfaas`, `knative` or `webhook`.
    pub preset: Option<String>,
    /// What a webhook's requests are signed with: one, or two while one replaces the other.
    pub secrets: Option<Vec<String>>,
    /// `forever` or `scf-default`.
    pub retry: Option<Retry>,
    /// Retries after failures of the code; `retry` without it takes it back.
    pub max_retries: Option<u32>,
    /// Seconds between two attempts of an event that fails; `retry` without it takes it back.
    pub retry_interval_s: Option<u32>,
    /// The target that gets its dead letters; an empty name takes it back.
    pub dead_letters: Option<String>,
    /// Events to try it with; null removes one.
    pub tests: BTreeMap<String, Option<Value>>,
}

impl FunctionChange {
    /// The settings after this change.
    pub(super) fn apply(&mut self, mut settings: Settings) -> Result<Settings, FunctionError> {
        if let Some(name) = &self.runtime {
            settings.runtime = Runtime::parse(name).ok_or_else(|| {
                let names: Vec<_> = Runtime::ALL.iter().map(|runtime| runtime.name()).collect();
                let what = format!("there is no runtime `{}`", name.escape_debug());
                FunctionError::Invalid(format!("{what}; there are {}", names.join(", ")))
            })?;
        }
        fn set<T>(place: &mut T, wish: Option<T>) {
            if let Some(wish) = wish {
                *place = wish;
            }
        }
        set(&mut settings.handler, self.handler.take());
        set(&mut settings.description, self.description.take());
        set(&mut settings.memory_mb, self.memory_mb);
        set(&mut settings.timeout_s, self.timeout_s);
        set(&mut settings.start_timeout_s, self.start_timeout_s);
        set(&mut settings.concurrency, self.concurrency);
        set(&mut settings.network, self.network);
        set(&mut settings.role, self.role.take());
        let (url, preset, secrets) = (self.url.take(), self.preset.take(), self.secrets.take());
        settings.elsewhere = Wish { url, preset, secrets }.apply(settings.elsewhere.take())?;
        if let Some(retry) = self.retry {
            (settings.retry, settings.max_retries, settings.retry_interval_s) = (retry, None, None);
        }
        settings.retry_interval_s = self.retry_interval_s.or(settings.retry_interval_s);
        if let Some(target) = self.dead_letters.take() {
            settings.dead_letters = Some(target).filter(|target| !target.is_empty());
        }
        settings.max_retries = self.max_retries.or(settings.max_retries);
        for (name, value) in std::mem::take(&mut self.environment) {
            match value {
                Some(value) => drop(settings.environment.insert(name, value)),
                None => drop(settings.environment.remove(&name)),
            }
        }
        settings.check()?;
        Ok(settings)
    }

    pub(super) fn apply_tests(&mut self, tests: &mut BTreeMap<String, Value>) -> Result<(), FunctionError> {
        let refuse = |what: String| Err(FunctionError::Invalid(what));
        for (name, event) in std::mem::take(&mut self.tests) {
            let Some(event) = event else {
                tests.remove(&name);
                continue;
            };
            if !is_name(&name) {
                return refuse(format!("`{}` is no template's name", name.escape_debug()));
            }
            if event.to_string().len() > MAX_TEST_BYTES {
                return refuse(format!("the template `{name}` has more than {MAX_TEST_BYTES} bytes"));
            }
            tests.insert(name, event);
        }
        match tests.len() <= MAX_TESTS {
            true => Ok(()),
            false => refuse(format!("a function may have {MAX_TESTS} templates of its own")),
        }
    }
}
