//! Commands that ask a running server over its admin API: `target …`, and how they ask.

use std::path::PathBuf;

use anyhow::bail;
use clap::Subcommand;
use serde_json::Value;

use super::{ConfigFile, Failure};

/// How to reach the server.
#[derive(clap::Args)]
pub(super) struct Server {
    #[command(flatten)]
    pub(super) config: ConfigFile,
    /// The admin address, if it is not the configured one: `127.0.0.1:9001`, or `https://HOST:PORT`.
    #[arg(long, value_name = "ADDRESS", global = true)]
    pub(super) admin: Option<String>,
    /// Certificates (PEM) that the admin listener's must come from, instead of the system's.
    #[arg(long, value_name = "FILE", global = true)]
    pub(super) ca: Option<PathBuf>,
    /// The data directory whose `admin.token` to use, if it is not the configured one.
    #[arg(long, value_name = "DIR", global = true)]
    pub(super) data: Option<PathBuf>,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

/// Show and steer the targets of a running server.
#[derive(clap::Args)]
pub(super) struct Target {
    #[command(flatten)]
    server: Server,
    #[command(subcommand)]
    command: TargetCommand,
}

#[derive(Subcommand)]
enum TargetCommand {
    /// List all targets.
    Ls,
    /// Show one target.
    Show {
        /// Its name.
        name: String,
    },
    /// Deliver nothing to a target, and keep everything.
    Pause {
        /// Its name.
        name: String,
    },
    /// Deliver again.
    Resume {
        /// Its name.
        name: String,
    },
    /// Deliver everything from an offset or a time on once more, as far back as the log is kept.
    Replay {
        /// Its name.
        name: String,
        /// An offset, or a time such as 2026-01-31T12:00:00Z.
        #[arg(long)]
        from: String,
    },
    /// Send one sample event, marked `tidings-test`, and say what the target answers.
    Test {
        /// Its name.
        name: String,
    },
    /// Give up a target that is not configured any more: nothing is kept for it from then on.
    Forget {
        /// Its name.
        name: String,
        /// Also give up the events that it has not got; without it they are the reason to refuse.
        #[arg(long)]
        discard: bool,
    },
}

/// Read the configuration of a running server anew.
#[derive(clap::Args)]
pub(super) struct Reload {
    #[command(flatten)]
    server: Server,
    /// Let this target's backlog go to another kind of connector than it was kept for. May be repeated.
    #[arg(long, value_name = "TARGET")]
    accept: Vec<String>,
}

impl Reload {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let accept = self.accept.iter().map(|name| checked(name).map(|name| format!("accept={name}")));
        let accept = accept.collect::<Result<Vec<_>, _>>()?.join("&");
        let value = self.server.call(reqwest::Method::POST, &format!("/v1/reload?{accept}")).await?;
        if self.server.json {
            say!("{value}");
        } else {
            print_lists(&value);
        }
        Ok(())
    }
}

impl Server {
    /// True if programs read the answer.
    pub(super) fn json(&self) -> bool {
        self.json
    }
}

impl Target {
    pub(super) async fn run(self) -> Result<(), Failure> {
        use reqwest::Method;
        let (method, path) = match &self.command {
            TargetCommand::Ls => (Method::GET, "/v1/targets".to_owned()),
            TargetCommand::Show { name } => (Method::GET, format!("/v1/targets/{}", checked(name)?)),
            TargetCommand::Pause { name } => (Method::POST, format!("/v1/targets/{}/pause", checked(name)?)),
            TargetCommand::Resume { name } => {
                (Method::POST, format!("/v1/targets/{}/resume", checked(name)?))
            }
            TargetCommand::Replay { name, from } => {
                if !from.bytes().all(|b| b.is_ascii_alphanumeric() || b"-:.+".contains(&b)) {
                    return Err(anyhow::anyhow!("`{from}` is neither an offset nor a time").into());
                }
                (Method::POST, format!("/v1/targets/{}/replay?from={from}", checked(name)?))
            }
            TargetCommand::Test { name } => (Method::POST, format!("/v1/targets/{}/test", checked(name)?)),
            TargetCommand::Forget { name, discard } => {
                (Method::POST, format!("/v1/targets/{}/forget?discard={discard}", checked(name)?))
            }
        };
        let value = self.server.call(method, &path).await?;
        if self.server.json {
            say!("{value}");
        } else if matches!(self.command, TargetCommand::Ls) {
            let targets = value["targets"].as_array().or(value.as_array()).cloned().unwrap_or_default();
            print_table(&targets);
        } else {
            print_fields(&value, "");
        }
        Ok(())
    }
}

impl Server {
    /// Asks for one document and prints it.
    pub(super) async fn show(&self, path: &str) -> Result<(), Failure> {
        let value = self.call(reqwest::Method::GET, path).await?;
        if self.json {
            say!("{value}");
        } else {
            print_fields(&value, "");
        }
        Ok(())
    }
}

/// A name that may stand in a path.
pub(super) fn checked(name: &str) -> anyhow::Result<&str> {
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
        bail!("`{name}` is not a target's name");
    }
    Ok(name)
}

pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(s) => s.clone(),
        other => other.to_string(),
    }
}

fn print_table(targets: &[Value]) {
    say!(
        "{:<24} {:<6} {:<11} {:>12} {:>12} {:>9} {:>8}",
        "NAME",
        "KIND",
        "STATE",
        "DELIVERED",
        "BACKLOG",
        "HELD",
        "AGE s"
    );
    for t in targets {
        let books = &t["books"];
        say!(
            "{:<24} {:<6} {:<11} {:>12} {:>12} {:>9} {:>8.1}",
            text(&t["name"]),
            text(&t["kind"]),
            text(&t["state"]),
            text(&books["delivered"]),
            text(&books["backlog"]),
            text(&books["held"]),
            t["oldest_undelivered_age_seconds"].as_f64().unwrap_or(0.0),
        );
    }
}

/// One line for every list that is not empty.
fn print_lists(value: &Value) {
    let fields = value.as_object().into_iter().flatten();
    let lists = fields.filter_map(|(name, list)| Some((name, list.as_array().filter(|l| !l.is_empty())?)));
    for (name, list) in lists {
        let list: Vec<_> = list.iter().map(text).collect();
        say!("{:<14} {}", name.replace('_', " "), list.join(", "));
    }
}

pub(super) fn print_fields(value: &Value, prefix: &str) {
    let Some(fields) = value.as_object() else { return };
    for (name, value) in fields {
        match value {
            Value::Object(_) => print_fields(value, &format!("{prefix}{name}.")),
            Value::Array(all) if all.first().is_some_and(Value::is_object) => {
                all.iter()
                    .enumerate()
                    .for_each(|(n, v)| print_fields(v, &format!("{prefix}{name}.{}.", n + 1)));
            }
            other => say!("{:<36} {}", format!("{prefix}{name}"), text(other)),
        }
    }
}
