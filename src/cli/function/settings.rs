//! What a function should be, as somebody says it on the command line.
//!
//! Must never check what the server checks.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use serde_json::{Map, Value, json};

use super::code::{code, read};
use crate::config::credentials::Grant;

/// What a function should be.
#[derive(Args)]
pub(super) struct Settings {
    /// python3, nodejs or custom.
    #[arg(long)]
    runtime: Option<String>,
    /// Its code: a file, a folder, or a zip file.
    #[arg(long, value_name = "PATH")]
    code: Option<PathBuf>,
    /// Its code as text.
    #[arg(long, value_name = "TEXT", conflicts_with = "code")]
    text: Option<String>,
    /// FILE.FUNCTION; index.main_handler unless said.
    #[arg(long)]
    handler: Option<String>,
    /// For people.
    #[arg(long)]
    description: Option<String>,
    /// MiB that it may hold, 64 to 3072.
    #[arg(long, value_name = "MIB")]
    memory: Option<u32>,
    /// Seconds that one run may take, 1 to 900.
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u32>,
    /// Seconds that its start may take, 1 to 300.
    #[arg(long, value_name = "SECONDS")]
    start_timeout: Option<u32>,
    /// How many of its events may run at once, 1 to 256.
    #[arg(long, value_name = "COUNT")]
    concurrency: Option<u32>,
    /// A variable, NAME=VALUE; NAME alone removes it. May be repeated.
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// What it may reach: none or all.
    #[arg(long)]
    network: Option<String>,
    /// What it may do with objects, by a key pair of its own: read:photos or write:thumbs-*,previews; `none`
    /// takes it back. May be repeated.
    #[arg(long, value_name = "SCOPE:BUCKET")]
    role: Vec<String>,
    /// Where it runs, if not here: http:// or https://.
    #[arg(long)]
    url: Option<String>,
    /// How it is called there: scf, lambda, openfaas, knative or webhook.
    #[arg(long)]
    preset: Option<String>,
    /// A file with the secret that a webhook's requests are signed with (whsec_...); two while one replaces
    /// the other.
    #[arg(long, value_name = "FILE")]
    secret_file: Vec<PathBuf>,
    /// What becomes of events that fail: forever or scf-default.
    #[arg(long)]
    retry: Option<String>,
    /// Retries after failures of the code before an event becomes a dead letter.
    #[arg(long, value_name = "COUNT")]
    max_retries: Option<u32>,
    /// Seconds between two attempts of an event that fails, 1 to 3600; by default 60 with scf-default, else
    /// growing from 1 to 300.
    #[arg(long, value_name = "SECONDS")]
    retry_interval: Option<u32>,
    /// The target that gets its dead letters, in the form in which SCF sends one; `none` takes it back.
    #[arg(long, value_name = "TARGET")]
    dead_letters: Option<String>,
    /// An event to try it with, saved under a name: NAME=FILE. May be repeated.
    #[arg(long, value_name = "NAME=FILE")]
    test: Vec<String>,
}

impl Settings {
    pub(super) fn body(self) -> anyhow::Result<Map<String, Value>> {
        if let Some(network) = self.network.as_deref().filter(|said| !matches!(*said, "none" | "all")) {
            let shown = network.escape_debug();
            anyhow::bail!(
                "--network {shown}: it is `none` or `all`; a list of destinations cannot be kept by a \
                 sandbox that is made without root: give the function `none` and a role, or let a firewall \
                 judge"
            );
        }
        let dead_letters = self.dead_letters.map(|said| if said == "none" { String::new() } else { said });
        let mut body = Map::new();
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                body.insert(key.to_owned(), value);
            }
        };
        let code = match (self.code, self.text) {
            (Some(path), _) => Some(code(&path)?),
            (None, Some(text)) => Some(json!({ "text": text })),
            (None, None) => None,
        };
        put("code", code);
        for (key, value) in [
            ("runtime", self.runtime),
            ("handler", self.handler),
            ("url", self.url),
            ("preset", self.preset),
            ("description", self.description),
            ("network", self.network),
            ("retry", self.retry),
            ("dead_letters", dead_letters),
        ] {
            put(key, value.map(Value::from));
        }
        for (key, value) in [
            ("memory_mb", self.memory),
            ("timeout_s", self.timeout),
            ("start_timeout_s", self.start_timeout),
            ("concurrency", self.concurrency),
            ("max_retries", self.max_retries),
            ("retry_interval_s", self.retry_interval),
        ] {
            put(key, value.map(Value::from));
        }
        let environment: Map<_, _> = self
            .env
            .iter()
            .map(|pair| match pair.split_once('=') {
                Some((name, value)) => (name.to_owned(), value.into()),
                None => (pair.clone(), Value::Null),
            })
            .collect();
        put("environment", Some(environment.into()));
        let mut tests = Map::new();
        for pair in &self.test {
            let (name, file) = pair.split_once('=').context("--test is written NAME=FILE")?;
            let event = serde_json::from_slice(&read(Path::new(file))?);
            tests.insert(name.to_owned(), event.with_context(|| format!("{file} is no JSON"))?);
        }
        put("tests", Some(tests.into()));
        put("role", role(&self.role)?);
        put("secrets", secrets(&self.secret_file)?);
        Ok(body)
    }
}

/// The role as the server reads it; none: nothing was said about it.
fn role(said: &[String]) -> anyhow::Result<Option<Value>> {
    if said.is_empty() {
        return Ok(None);
    }
    if said == ["none"] {
        return Ok(Some(json!([])));
    }
    let grant = |text: &String| text.parse::<Grant>().map_err(|why| anyhow::anyhow!("--role {text}: {why}"));
    let grants = said.iter().map(grant).collect::<Result<Vec<_>, _>>()?;
    Ok(Some(serde_json::to_value(grants)?))
}

/// The secrets of a webhook, one in each file; none: nothing was said about them.
fn secrets(files: &[PathBuf]) -> anyhow::Result<Option<Value>> {
    let read = |path: &PathBuf| -> anyhow::Result<Value> {
        let text =
            String::from_utf8(read(path)?).with_context(|| format!("{} is no text", path.display()))?;
        Ok(text.trim().into())
    };
    let secrets = files.iter().map(read).collect::<anyhow::Result<Vec<_>>>()?;
    Ok((!secrets.is_empty()).then(|| secrets.into()))
}
