//! Commands that ask a running server over its admin API: `target …`, and how they ask.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Subcommand;
use serde_json::Value;

use super::paint::{Table, print_fields, print_lists, text};
use super::{ConfigFile, Failure, wait};

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
        /// Also what today's rules match and the target was not given when it happened.
        #[arg(long)]
        rematch: bool,
        /// End only when all of it is delivered.
        #[arg(long)]
        wait: bool,
    },
    /// Send one sample event, marked `tidings-test`, and say what the target answers; exit code 3 if it
    /// does not take it.
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
    /// The server that runs on a configuration, and listens elsewhere than it says.
    pub(super) fn at(config: &Path, data: PathBuf, admin: String) -> Self {
        let config = ConfigFile { config: Some(config.to_owned()) };
        Self { config, admin: Some(admin), ca: None, data: Some(data), json: false }
    }

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
            TargetCommand::Replay { name, from, rematch, .. } => {
                if !from.bytes().all(|b| b.is_ascii_alphanumeric() || b"-:.+".contains(&b)) {
                    return Err(anyhow::anyhow!("`{from}` is neither an offset nor a time").into());
                }
                let name = checked(name)?;
                (Method::POST, format!("/v1/targets/{name}/replay?from={from}&rematch={rematch}"))
            }
            TargetCommand::Test { name } => (Method::POST, format!("/v1/targets/{}/test", checked(name)?)),
            TargetCommand::Forget { name, discard } => {
                (Method::POST, format!("/v1/targets/{}/forget?discard={discard}", checked(name)?))
            }
        };
        let value = self.server.call(method, &path).await?;
        if let TargetCommand::Replay { name, wait: true, .. } = &self.command {
            self.server.wait(name, wait::of_target).await?;
        }
        if self.server.json {
            say!("{value}");
        } else if matches!(self.command, TargetCommand::Ls) {
            let targets = value["targets"].as_array().or(value.as_array()).cloned().unwrap_or_default();
            print_targets(&targets);
        } else {
            print_fields(&value);
        }
        match &self.command {
            TargetCommand::Test { name } if value["outcome"] != "delivered" => {
                Err(Failure::Found(format!("target `{}` did not take the sample event", checked(name)?)))
            }
            _ => Ok(()),
        }
    }
}

impl Server {
    /// Asks for one document and prints it.
    pub(super) async fn show(&self, path: &str) -> Result<(), Failure> {
        let value = self.call(reqwest::Method::GET, path).await?;
        if self.json {
            say!("{value}");
        } else {
            print_fields(&value);
        }
        Ok(())
    }
}

/// A name that may stand in a path.
pub(super) fn checked(name: &str) -> anyhow::Result<&str> {
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_:".contains(&b)) {
        bail!("`{name}` is not a target's name");
    }
    Ok(name)
}

fn print_targets(targets: &[Value]) {
    let mut table =
        Table::new(&["NAME", "KIND", "STATE", ">DELIVERED", ">BACKLOG", ">HELD", ">DEAD", ">AGE s"]);
    for t in targets {
        let (books, age) = (&t["books"], t["oldest_undelivered_age_seconds"].as_f64().unwrap_or(0.0));
        let counts = ["delivered", "backlog", "held", "dead_lettered"].map(|column| text(&books[column]));
        let [delivered, backlog, held, dead] = counts;
        let [name, kind, state] = ["name", "kind", "state"].map(|field| text(&t[field]));
        table.row([name, kind, state, delivered, backlog, held, dead, format!("{age:.1}")]);
        table.paint(2);
    }
    table.print();
}
