//! `tidings check`: the configuration, and with `--connect` every far side, as findings.
//!
//! Must never send an event, and never call a target fine that did not answer.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use serde_json::Value;
use tidings_connector::{Finding, Severity};

use super::paint::Table;
use super::serve::init_logs;
use super::{ConfigFile, Failure, ask};
use crate::config::{Config, Target};
use crate::{app, tls};

/// Targets asked at the same time.
const AT_ONCE: usize = 16;
/// A far side is reached within one attempt's time, and asked within another.
const ATTEMPTS: u32 = 2;

/// Check the configuration, and with --connect every far side. Errors end with exit code 3.
#[derive(clap::Args)]
pub(super) struct Check {
    #[command(flatten)]
    config: ConfigFile,
    /// Also connect to every target, without sending an event.
    #[arg(long)]
    connect: bool,
    /// The admin address of the server that runs on this data directory, if it is not the configured one: it
    /// is asked for rules of buckets that would lose their target.
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
    /// Warnings end with exit code 3 too.
    #[arg(long)]
    strict: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// One finding, and whose it is. The configuration's own belong to no target.
struct Line {
    target: Option<(String, &'static str)>,
    finding: Finding,
}

impl Check {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let config = self.config.load()?;
        init_logs("warn");
        let warnings = config.warnings.iter().map(|message| {
            let finding = Finding { severity: Severity::Warning, message: message.clone() };
            Line { target: None, finding }
        });
        let mut lines: Vec<Line> = warnings.collect();
        let now = app::now_us() / 1_000_000;
        for (listener, tls) in [("server.listen", &config.server.tls), ("admin.listen", &config.admin.tls)] {
            let found = tls.iter().flat_map(|files| tls::examine(listener, files, now));
            lines.extend(found.map(|finding| Line { target: None, finding }));
        }
        let rules = ask::quietly(&config, self.admin.as_deref(), "/v1/rules").await;
        lines.extend(rules.iter().flat_map(|rules| without_target(&config, rules)));
        if self.connect {
            let asked = stream::iter(&config.targets).map(ask).buffered(AT_ONCE);
            lines.extend(asked.collect::<Vec<_>>().await.into_iter().flatten());
        }
        let count = |severity| lines.iter().filter(|line| line.finding.severity == severity).count();
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        if self.json {
            let findings: Vec<_> = lines.iter().map(as_json).collect();
            say!(
                "{}",
                serde_json::json!({
                    "targets": config.targets.len(),
                    "errors": errors,
                    "warnings": warnings,
                    "findings": findings,
                })
            );
        } else {
            print(&lines);
            say!("configuration is valid: {} target(s)", config.targets.len());
        }
        match (errors, warnings) {
            (0, 0) => Ok(()),
            (0, _) if !self.strict => Ok(()),
            (0, _) => Err(Failure::Found(format!("{warnings} warning(s), and --strict allows none"))),
            _ => {
                Err(Failure::Found("at least one target or listener cannot be used as configured".to_owned()))
            }
        }
    }
}

async fn ask(target: &Target) -> Vec<Line> {
    let limit: Duration = target.limits.attempt_timeout.saturating_mul(ATTEMPTS);
    let found = tokio::time::timeout(limit, target.connector.check()).await.unwrap_or_else(|_| {
        let message = format!("no answer within {} s: see whether the far side hangs", limit.as_secs_f32());
        vec![Finding { severity: Severity::Error, message }]
    });
    let whose = || Some((target.name.to_string(), target.connector.kind()));
    found.into_iter().map(|finding| Line { target: whose(), finding }).collect()
}

/// What is found of rules of buckets whose target this configuration has not, each target once.
fn without_target(config: &Config, answer: &Value) -> Vec<Line> {
    let rules = answer["rules"].as_array().map_or(&[][..], Vec::as_slice);
    let mut gone: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    for rule in rules.iter().filter(|rule| rule["source"] == "bucket") {
        let (Some(target), Some(bucket)) = (rule["target"].as_str(), rule["bucket"].as_str()) else {
            continue;
        };
        if config.targets.iter().all(|known| *known.name != *target) {
            gone.entry(target).or_insert((0, bucket)).0 += 1;
        }
    }
    let line = |(target, (count, bucket)): (&str, (usize, &str))| {
        let message = format!(
            "{count} rule(s) of buckets, the first of `{bucket}`, name `{target}`, which is not configured \
             here: they match nothing while it is so"
        );
        Line { target: None, finding: Finding { severity: Severity::Warning, message } }
    };
    gone.into_iter().map(line).collect()
}

fn label(severity: Severity) -> &'static str {
    match severity {
        Severity::Ok => "ok",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

fn as_json(line: &Line) -> Value {
    let (target, kind) = line.target.as_ref().map(|(name, kind)| (name, kind)).unzip();
    let severity = label(line.finding.severity);
    serde_json::json!({
        "target": target, "kind": kind, "severity": severity, "message": line.finding.message,
    })
}

fn print(lines: &[Line]) {
    if lines.is_empty() {
        return;
    }
    let mut table = Table::new(&["TARGET", "KIND", "IS", "FINDING"]);
    for line in lines {
        let (name, kind) = line.target.as_ref().map_or(("-", "-"), |(name, kind)| (name, kind));
        let (is, message) = (label(line.finding.severity), &line.finding.message);
        table.row([name.to_owned(), kind.to_owned(), is.to_owned(), message.clone()]);
        table.paint(2);
    }
    table.print();
}
