//! `tidings trigger`: which changes of a bucket's objects invoke a function.
//!
//! Must never touch a data directory: it asks the admin API.

use clap::Subcommand;
use reqwest::Method;
use serde_json::Value;

use super::Failure;
use super::dlq::encoded;
use super::paint::{Table, print_fields, text};
use super::remote::Server;
use crate::rules::function_of;

/// Bind functions to buckets of a running server: which changes invoke them.
#[derive(clap::Args)]
pub(super) struct Trigger {
    #[command(flatten)]
    server: Server,
    #[command(subcommand)]
    command: TriggerCommand,
}

#[derive(Subcommand)]
enum TriggerCommand {
    /// Invoke a function from the next such change on. A trigger that is there already stays as it is.
    Add {
        /// The function's name, or a target's that calls over HTTP.
        function: String,
        /// The bucket.
        #[arg(long)]
        bucket: String,
        /// The event, such as cos:ObjectCreated:* or s3:ObjectRemoved:Delete.
        #[arg(long)]
        event: String,
        /// Only objects whose key begins so.
        #[arg(long)]
        prefix: Option<String>,
        /// Only objects whose key ends so; begins with a dot.
        #[arg(long)]
        suffix: Option<String>,
        /// Also if another rule of the bucket is for the same changes, which COS refuses.
        #[arg(long)]
        allow_overlap: bool,
    },
    /// List triggers.
    Ls {
        /// Of this function only.
        #[arg(long)]
        function: Option<String>,
        /// Of this bucket only.
        #[arg(long)]
        bucket: Option<String>,
    },
    /// Let a trigger match again.
    Enable(One),
    /// Let a trigger match nothing; what it matched before is still delivered.
    Disable(One),
    /// Remove a trigger; what it matched before is still delivered.
    Rm(One),
}

/// Which trigger.
#[derive(clap::Args)]
struct One {
    /// Its id, as `ls` shows it.
    id: String,
    /// Its bucket, if several have a trigger of this id.
    #[arg(long)]
    bucket: Option<String>,
}

impl Trigger {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let (method, path) = match &self.command {
            TriggerCommand::Add { function, bucket, event, prefix, suffix, allow_overlap } => {
                let mut words = vec![("function", function), ("bucket", bucket), ("event", event)];
                words.extend(prefix.iter().map(|prefix| ("prefix", prefix)));
                words.extend(suffix.iter().map(|suffix| ("suffix", suffix)));
                let query = query(&words);
                (Method::POST, format!("/v1/triggers?{query}&allow_overlap={allow_overlap}"))
            }
            TriggerCommand::Ls { function, bucket } => {
                let words = [("function", function), ("bucket", bucket)];
                let words: Vec<_> = words.iter().filter_map(|(n, v)| Some((*n, v.as_ref()?))).collect();
                (Method::GET, format!("/v1/triggers?{}", query(&words)))
            }
            TriggerCommand::Enable(one) => (Method::POST, one.path("enable")),
            TriggerCommand::Disable(one) => (Method::POST, one.path("disable")),
            TriggerCommand::Rm(one) => (Method::POST, one.path("remove")),
        };
        let value = self.server.call(method, &path).await?;
        if self.server.json() {
            say!("{value}");
        } else if matches!(self.command, TriggerCommand::Ls { .. }) {
            print_table(value["triggers"].as_array().map_or(&[], Vec::as_slice));
        } else {
            print_fields(&value);
        }
        Ok(())
    }
}

impl One {
    fn path(&self, what: &str) -> String {
        let bucket = self.bucket.iter().map(|bucket| ("bucket", bucket));
        let words: Vec<_> = [("id", &self.id)].into_iter().chain(bucket).collect();
        format!("/v1/triggers/{what}?{}", query(&words))
    }
}

fn query(words: &[(&str, &String)]) -> String {
    words.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect::<Vec<_>>().join("&")
}

fn print_table(triggers: &[Value]) {
    let mut table = Table::new(&["ID", "FUNCTION", "BUCKET", "EVENTS", "PREFIX", "SUFFIX", "IS"]);
    for t in triggers {
        let events = t["events"].as_array().map_or(&[][..], Vec::as_slice);
        let events: Vec<_> = events.iter().map(text).collect();
        let is = match (t["enabled"].as_bool(), t["active"].as_bool()) {
            (Some(false), _) => "disabled",
            (_, Some(false)) => "inactive: its function is gone",
            _ => "enabled",
        };
        let [id, function, bucket] = ["id", "target", "bucket"].map(|field| text(&t[field]));
        let function = function_of(&function).to_owned();
        let [prefix, suffix] = ["prefix", "suffix"].map(|field| text(&t[field]));
        table.row([id, function, bucket, events.join(" "), prefix, suffix, is.to_owned()]);
    }
    table.print();
}
