//! What a function is: its name, its settings, and their bounds, which are those of Tencent SCF where it has
//! any.
//!
//! Must never show a value of an environment: names only.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidings_function::Policy;

use super::FunctionError;
use super::code::Handler;
use super::elsewhere::Elsewhere;
use super::role;
use crate::config::credentials::{Grant, check_role};

/// The namespace of every function: others are not there yet.
pub const NAMESPACE: &str = "default";
/// Bytes of names and values of an environment together.
const MAX_ENVIRONMENT: usize = 4 << 10;
/// Bytes of a description.
const MAX_DESCRIPTION: usize = 1_000;
/// MiB that a function may have: the least and the most.
const MEMORY_MB: std::ops::RangeInclusive<u32> = 64..=3_072;
/// Seconds that one run may take.
const TIMEOUT_S: std::ops::RangeInclusive<u32> = 1..=900;
/// Seconds that its start may take.
const START_TIMEOUT_S: std::ops::RangeInclusive<u32> = 1..=300;
/// Seconds between two attempts of an event that fails.
const RETRY_INTERVAL_S: std::ops::RangeInclusive<u32> = 1..=3_600;
/// The same as SCF documents it.
const SCF_INTERVAL_S: u32 = 60;
/// Runs of one function at once.
const CONCURRENCY: std::ops::RangeInclusive<u32> = 1..=256;
/// Variables that say who the function is, or how its process is started.
const OURS: &[&str] = &["SCF_", "TIDINGS_", "TENCENTCLOUD_RUNENV", "LD_", "PORT", "PATH", "HOME"];

/// What runs a function's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Runtime {
    /// `main_handler(event, context)` in Python 3.
    Python3,
    /// `exports.main_handler` in Node.js, async or with a callback.
    Nodejs,
    /// An executable `bootstrap` that serves HTTP on the port in `PORT`.
    Custom,
}

impl Runtime {
    /// Every runtime.
    pub const ALL: &'static [Runtime] = &[Runtime::Python3, Runtime::Nodejs, Runtime::Custom];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Runtime::Python3 => "python3",
            Runtime::Nodejs => "nodejs",
            Runtime::Custom => "custom",
        }
    }

    /// The runtime of this name. SCF's own names (`Python3.6`, `Nodejs12.16`, `CustomRuntime`) count too.
    pub fn parse(name: &str) -> Option<Self> {
        let lower = name.to_ascii_lowercase();
        let versioned = |of: &str| {
            lower.strip_prefix(of).is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
        };
        match lower.as_str() {
            "custom" | "customruntime" => Some(Runtime::Custom),
            _ if versioned("python3") => Some(Runtime::Python3),
            _ if versioned("nodejs") => Some(Runtime::Nodejs),
            _ => None,
        }
    }
}

/// What a function may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// Nothing.
    #[default]
    None,
    /// What this machine can, this machine included.
    All,
}

/// What becomes of events that fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Retry {
    /// They are tried again for ever, each object's own events waiting.
    #[default]
    Forever,
    /// As SCF: two retries of failures of the code, a minute apart; the others for six hours; then given up.
    ScfDefault,
}

/// Everything about a function but its name and its code.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// For people.
    pub description: String,
    /// What runs its code.
    pub runtime: Runtime,
    /// `FILE.FUNCTION`; without meaning for the runtime `custom`.
    pub handler: String,
    /// MiB that its processes may hold together.
    pub memory_mb: u32,
    /// Seconds that one run may take.
    pub timeout_s: u32,
    /// Seconds that its start may take.
    pub start_timeout_s: u32,
    /// Runs at once.
    pub concurrency: u32,
    /// Variables that it sees.
    pub environment: BTreeMap<String, String>,
    /// What it may reach.
    pub network: Network,
    /// What it may do with objects, by a key pair of its own; without any it gets none.
    pub role: Vec<Grant>,
    /// Where it runs, if not here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elsewhere: Option<Elsewhere>,
    /// What becomes of events that fail.
    pub retry: Retry,
    /// Retries after failures of the code, instead of those that `retry` says.
    pub max_retries: Option<u32>,
    /// Seconds between two attempts of an event that fails, instead of the pause that `retry` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_interval_s: Option<u32>,
    /// The target that gets its dead letters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letters: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            description: String::new(),
            runtime: Runtime::Python3,
            handler: "index.main_handler".to_owned(),
            memory_mb: 128,
            timeout_s: 3,
            start_timeout_s: 30,
            concurrency: 4,
            environment: BTreeMap::new(),
            network: Network::None,
            role: Vec::new(),
            elsewhere: None,
            retry: Retry::Forever,
            max_retries: None,
            retry_interval_s: None,
            dead_letters: None,
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.environment.keys().collect();
        f.debug_struct("Settings")
            .field("runtime", &self.runtime)
            .field("handler", &self.handler)
            .field("environment", &names)
            .finish_non_exhaustive()
    }
}

impl Settings {
    /// Checks every bound.
    ///
    /// # Errors
    /// The first that does not hold, for people.
    pub fn check(&self) -> Result<(), FunctionError> {
        let refuse = |what: String| Err(FunctionError::Invalid(what));
        let bound = |name: &str, is: u32, may: std::ops::RangeInclusive<u32>| match may.contains(&is) {
            true => Ok(()),
            false => refuse(format!("`{name}` is {is}; allowed are {} to {}", may.start(), may.end())),
        };
        bound("memory_mb", self.memory_mb, MEMORY_MB)?;
        bound("timeout_s", self.timeout_s, TIMEOUT_S)?;
        bound("start_timeout_s", self.start_timeout_s, START_TIMEOUT_S)?;
        bound("concurrency", self.concurrency, CONCURRENCY)?;
        if let Some(seconds) = self.retry_interval_s {
            bound("retry_interval_s", seconds, RETRY_INTERVAL_S)?;
        }
        if self.description.len() > MAX_DESCRIPTION {
            return refuse(format!("`description` has more than {MAX_DESCRIPTION} bytes"));
        }
        if self.runtime != Runtime::Custom {
            Handler::parse(&self.handler)?;
        }
        check_role(&self.role).map_err(|why| FunctionError::Invalid(format!("`role`: {why}")))?;
        self.check_environment()
    }

    fn check_environment(&self) -> Result<(), FunctionError> {
        let refuse = |what: String| Err(FunctionError::Invalid(what));
        let mut bytes = 0;
        for (name, value) in &self.environment {
            let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
            if !first || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                return refuse(format!("`{}` is no variable's name", name.escape_debug()));
            }
            if OURS.iter().any(|ours| match ours.ends_with('_') {
                true => name.starts_with(ours),
                false => name == ours,
            }) {
                return refuse(format!("the variable `{name}` is set by tidings itself"));
            }
            if !self.role.is_empty() && role::VARIABLES.contains(&name.as_str()) {
                return refuse(format!("the variable `{name}` is set by the function's role"));
            }
            if value.contains('\0') {
                return refuse(format!("the value of `{name}` holds a zero byte"));
            }
            bytes += name.len() + value.len();
        }
        match bytes <= MAX_ENVIRONMENT {
            true => Ok(()),
            false => refuse(format!("the environment has {bytes} bytes; {MAX_ENVIRONMENT} are allowed")),
        }
    }

    /// How long one run may take.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_s.into())
    }

    /// How long its start may take.
    pub fn start_timeout(&self) -> Duration {
        Duration::from_secs(self.start_timeout_s.into())
    }

    /// What becomes of events that fail.
    pub fn policy(&self) -> Policy {
        let pause = |seconds: u32| Duration::from_secs(seconds.into());
        let policy = match self.retry {
            Retry::Forever => Policy { pause: self.retry_interval_s.map(pause), ..Policy::default() },
            Retry::ScfDefault => Policy::scf(pause(self.retry_interval_s.unwrap_or(SCF_INTERVAL_S))),
        };
        Policy { execution: self.max_retries.or(policy.execution), ..policy }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runtimes_answer_to_the_names_of_scf_too() {
        for (name, runtime) in [
            ("python3", Runtime::Python3),
            ("Python3.6", Runtime::Python3),
            ("Nodejs12.16", Runtime::Nodejs),
            ("CustomRuntime", Runtime::Custom),
        ] {
            assert_eq!(Runtime::parse(name), Some(runtime), "{name}");
        }
        for bad in ["Python2.7", "python", "php7", "python3; rm", "nodejs-x"] {
            assert_eq!(Runtime::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_bound_is_held_and_no_value_is_shown() {
        let good = Settings::default();
        assert_eq!(good.check(), Ok(()));
        let spoilt = |spoil: fn(&mut Settings)| {
            let mut settings = good.clone();
            spoil(&mut settings);
            let told = settings.check().expect_err("refused").to_string();
            assert!(!told.contains("hunter2"), "{told}");
            assert!(!format!("{settings:?}").contains("hunter2"));
        };
        spoilt(|s| s.memory_mb = 63);
        spoilt(|s| s.memory_mb = 3_073);
        spoilt(|s| s.timeout_s = 0);
        spoilt(|s| s.timeout_s = 901);
        spoilt(|s| s.concurrency = 0);
        spoilt(|s| s.retry_interval_s = Some(0));
        spoilt(|s| s.handler = "../x.main".into());
        spoilt(|s| drop(s.environment.insert("LD_PRELOAD".into(), "hunter2".into())));
        spoilt(|s| drop(s.environment.insert("SCF_X".into(), "hunter2".into())));
        spoilt(|s| drop(s.environment.insert("1A".into(), "hunter2".into())));
        spoilt(|s| drop(s.environment.insert("A".into(), "hunter2\0".into())));
        spoilt(|s| drop(s.environment.insert("A".into(), "hunter2".repeat(1_000))));
    }
}
