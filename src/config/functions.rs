//! `[functions]`: how functions are hosted, and which events the configuration gives them.
//!
//! Must never look for a function: one that is not there yet gets its events once it is made.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tidings_connector::{Size, Span};
use tidings_http::{Network, Reach};

use super::check::{Checker, GIB, HOUR, MIB};
use super::tree::KeyPath;
use super::{Rule, raw};

/// `[functions]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Functions {
    /// Code may run without a sandbox where there is none.
    pub allow_unsandboxed: bool,
    /// Instances of all functions together.
    pub max_instances: usize,
    /// How long an instance may be idle before it is ended.
    pub idle_timeout: Duration,
    /// The largest code of one function, unpacked, in bytes.
    pub code_max_bytes: u64,
    /// The run log of one function may take this much, in bytes …
    pub log_max_bytes: u64,
    /// … and go back this far.
    pub log_max_age: Duration,
    /// What may wait for one function, in bytes of entries without bodies; beyond it events are shed.
    pub max_backlog: u64,
    /// The Python that runs functions, instead of the system's.
    pub python3: Option<PathBuf>,
    /// The Node.js that runs functions, instead of the system's.
    pub nodejs: Option<PathBuf>,
    /// Networks that functions elsewhere may be in, beside the public ones.
    pub allow_addresses: Arc<[Network]>,
    /// Which events go to which function, in the file's order.
    pub rules: Vec<(Arc<str>, Rule)>,
}

impl Functions {
    /// Which addresses functions elsewhere may have.
    pub fn reach(&self) -> Reach {
        Reach::Listed(Arc::clone(&self.allow_addresses))
    }
}

/// `[functions]`, as typed.
#[derive(Debug, Deserialize)]
#[serde(default)]
pub(super) struct RawFunctions {
    allow_unsandboxed: bool,
    max_instances: usize,
    idle_timeout: Span,
    code_max_bytes: Size,
    log_max_bytes: Size,
    log_max_age: Span,
    max_backlog: Size,
    python3: Option<String>,
    nodejs: Option<String>,
    allow_addresses: Vec<String>,
    rule: Vec<RawRule>,
}

/// `[[functions.rule]]`, as typed.
#[derive(Debug, Deserialize)]
#[serde(default)]
pub(super) struct RawRule {
    function: String,
    name: Option<String>,
    bucket: String,
    events: Option<Vec<String>>,
    prefix: String,
    suffix: String,
}

impl Default for RawFunctions {
    fn default() -> Self {
        Self {
            allow_unsandboxed: false,
            max_instances: 32,
            idle_timeout: Span(Duration::from_secs(300)),
            code_max_bytes: Size(256 << 20),
            log_max_bytes: Size(4 << 20),
            log_max_age: Span(7 * 24 * HOUR),
            max_backlog: Size(1 << 30),
            python3: None,
            nodejs: None,
            allow_addresses: Vec::new(),
            rule: Vec::new(),
        }
    }
}

impl Default for RawRule {
    fn default() -> Self {
        let raw::Rule { name, bucket, events, prefix, suffix } = raw::Rule::default();
        Self { function: String::new(), name, bucket, events, prefix, suffix }
    }
}

impl Checker<'_> {
    pub(super) fn functions(&mut self, raw: RawFunctions) -> Functions {
        let at = KeyPath::of(&["functions"]);
        self.count(&at.key("max_instances"), raw.max_instances, 1..=10_000);
        self.span(&at.key("idle_timeout"), raw.idle_timeout, Duration::from_secs(1)..=24 * HOUR);
        self.size(&at.key("code_max_bytes"), raw.code_max_bytes, 1..=2 * GIB);
        self.size(&at.key("log_max_bytes"), raw.log_max_bytes, MIB..=GIB);
        self.span(&at.key("log_max_age"), raw.log_max_age, HOUR..=365 * 24 * HOUR);
        self.size(&at.key("max_backlog"), raw.max_backlog, MIB..=1 << 50);
        let allow_addresses = self.networks(&at.key("allow_addresses"), &raw.allow_addresses);
        let rules = raw.rule.into_iter().enumerate();
        let rules = rules.map(|(n, rule)| self.function_rule(&at.key("rule").index(n), n, rule)).collect();
        Functions {
            allow_unsandboxed: raw.allow_unsandboxed,
            max_instances: raw.max_instances,
            idle_timeout: raw.idle_timeout.0,
            code_max_bytes: raw.code_max_bytes.0,
            log_max_bytes: raw.log_max_bytes.0,
            log_max_age: raw.log_max_age.0,
            max_backlog: raw.max_backlog.0,
            python3: raw.python3.filter(|path| !path.is_empty()).map(PathBuf::from),
            allow_addresses,
            nodejs: raw.nodejs.filter(|path| !path.is_empty()).map(PathBuf::from),
            rules,
        }
    }

    fn networks(&mut self, at: &KeyPath, said: &[String]) -> Arc<[Network]> {
        let mut networks = Vec::with_capacity(said.len());
        for (n, text) in said.iter().enumerate() {
            match text.parse() {
                Ok(network) => networks.push(network),
                Err(why) => {
                    self.problem(&at.index(n), why, &["write an address and its length, as \"10.0.0.0/8\""])
                }
            }
        }
        networks.into()
    }

    fn function_rule(&mut self, at: &KeyPath, n: usize, raw: RawRule) -> (Arc<str>, Rule) {
        let RawRule { function, name, bucket, events, prefix, suffix } = raw;
        let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if !(2..=60).contains(&function.len()) || !function.bytes().all(legal) {
            let what = format!("`{}` is no function's name", function.escape_debug());
            self.problem(&at.key("function"), what, &["name the function that gets the events"]);
        }
        let rule = raw::Rule { name, bucket, events, prefix, suffix };
        let rule = self.rule(at, "functions", n, rule);
        (function.into(), rule)
    }
}
