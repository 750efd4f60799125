//! Functions as people and programs see them.
//!
//! Must never show a value of an environment.

use serde::Serialize;
use tidings_function::Ended;

use super::elsewhere::{Elsewhere, Preset};
use super::name::target_name;
use super::record::Record;
use super::spec::{NAMESPACE, Network, Retry, Runtime};
use super::templates::TemplateView;
use crate::config::credentials::Grant;

/// One function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FunctionView {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: &'static str,
    /// The target through which it gets events.
    pub target: String,
    /// For people.
    pub description: String,
    /// What runs its code.
    pub runtime: Runtime,
    /// `FILE.FUNCTION`.
    pub handler: String,
    /// MiB.
    pub memory_mb: u32,
    /// Seconds of one run.
    pub timeout_s: u32,
    /// Seconds of its start.
    pub start_timeout_s: u32,
    /// Runs at once.
    pub concurrency: u32,
    /// The names of its variables.
    pub environment: Vec<String>,
    /// What it may reach.
    pub network: Network,
    /// What it may do with objects.
    pub role: Vec<Grant>,
    /// Where it runs, if not here: scheme, host and port.
    pub url: Option<String>,
    /// How it is called there.
    pub preset: Option<Preset>,
    /// What becomes of events that fail.
    pub retry: Retry,
    /// Retries after failures of the code, instead of those.
    pub max_retries: Option<u32>,
    /// Seconds between two attempts of an event that fails, instead of the pause that `retry` says.
    pub retry_interval_s: Option<u32>,
    /// The target that gets its dead letters.
    pub dead_letters: Option<String>,
    /// Why they do not get there, if they do not: they are kept meanwhile.
    pub dead_letters_problem: Option<String>,
    /// Which version of its code runs.
    pub version: u32,
    /// The versions that are kept, the latest last.
    pub versions: Vec<VersionView>,
    /// The names of its own event templates.
    pub templates: Vec<String>,
    /// When it was made, RFC 3339 in UTC.
    pub created: String,
    /// When it was changed last.
    pub updated: String,
    /// Why it cannot run on this machine, if it cannot.
    pub problem: Option<String>,
}

/// One version of a function's code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VersionView {
    /// Its number.
    pub number: u32,
    /// The hash of its files.
    pub hash: String,
    /// Bytes of all files.
    pub bytes: u64,
    /// When it was handed in.
    pub time: String,
}

impl FunctionView {
    pub(super) fn new(record: &Record, problem: Option<String>) -> Self {
        let settings = &record.settings;
        let versions = record.versions.iter().map(|version| VersionView {
            number: version.number,
            hash: version.hash.clone(),
            bytes: version.bytes,
            time: version.time.clone(),
        });
        Self {
            name: record.name.clone(),
            namespace: NAMESPACE,
            target: target_name(&record.name),
            description: settings.description.clone(),
            runtime: settings.runtime,
            handler: settings.handler.clone(),
            memory_mb: settings.memory_mb,
            timeout_s: settings.timeout_s,
            start_timeout_s: settings.start_timeout_s,
            concurrency: settings.concurrency,
            environment: settings.environment.keys().cloned().collect(),
            network: settings.network,
            role: settings.role.clone(),
            url: settings.elsewhere.as_ref().map(Elsewhere::origin),
            preset: settings.elsewhere.as_ref().map(|elsewhere| elsewhere.preset),
            retry: settings.retry,
            max_retries: settings.max_retries,
            retry_interval_s: settings.retry_interval_s,
            dead_letters: settings.dead_letters.clone(),
            dead_letters_problem: None,
            version: record.current,
            versions: versions.collect(),
            templates: record.tests.keys().cloned().collect(),
            created: record.created.clone(),
            updated: record.updated.clone(),
            problem,
        }
    }
}

/// What came of one invocation that somebody asked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Invoked {
    /// Names the run.
    pub request_id: String,
    /// The version that ran.
    pub version: u32,
    /// SCF's code: 200 is success.
    pub status: u16,
    /// The same in words.
    pub outcome: &'static str,
    /// What the function gave back: JSON in text, or text.
    pub result: Option<String>,
    /// What went wrong; empty if nothing did.
    pub message: String,
    /// Milliseconds that it took.
    pub duration_ms: u64,
    /// The most memory that was seen, in bytes.
    pub memory_bytes: u64,
    /// The last of what it wrote.
    pub log: String,
}

impl Invoked {
    pub(super) fn new(record: &Record, request_id: &str, ended: Ended) -> Self {
        let success = ended.status == tidings_function::Status::Success;
        Self {
            request_id: request_id.to_owned(),
            version: record.current,
            status: ended.status.code(),
            outcome: ended.status.word(),
            result: success.then(|| String::from_utf8_lossy(&ended.result).into_owned()),
            message: ended.message,
            duration_ms: u64::try_from(ended.duration.as_millis()).unwrap_or(u64::MAX),
            memory_bytes: ended.memory,
            log: ended.log,
        }
    }
}

/// Every template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Templates {
    /// Events to try functions with.
    pub events: Vec<TemplateView>,
    /// Functions to begin with.
    pub functions: Vec<TemplateView>,
}
