//! The demonstration's function: Python that runs here, made and bound as a user does it, and what its run
//! log says of each change.
//!
//! Must never count a run whose code did not say itself which event it got.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, ensure};
use reqwest::Method;
use serde_json::{Value, json};

use super::{BUCKET, Done};
use crate::app::App;
use crate::cli::Failure;
use crate::cli::paint::text;
use crate::cli::remote::Server;

/// Its name.
const NAME: &str = "hello";
/// The name of its target.
pub(super) const TARGET: &str = "function:hello";
/// What it is bound to.
const EVENTS: [&str; 2] = ["cos:ObjectCreated:*", "cos:ObjectRemove:*"];

/// A function that gets every change of the demonstration's bucket.
pub(super) struct Hosted {
    server: Server,
}

impl Hosted {
    /// Makes it and its triggers. None if code cannot run on this machine: why is told.
    pub(super) async fn make(app: &App, config: &Path) -> anyhow::Result<Option<Self>> {
        let server = Server::at(config, app.config().server.data.clone(), app.admin_url());
        let body = json!({ "from": "hello" }).to_string().into_bytes();
        let made = server.call_with(Method::POST, &format!("/v1/functions/{NAME}/create"), Some(body)).await;
        if let Err(why) = made.map_err(of_failure) {
            let why = why.to_string();
            // Nothing is there yet that it could be in conflict with, but this machine.
            let here = why.strip_prefix("409 Conflict: ").and_then(|why| why.lines().next());
            let here = here.with_context(|| format!("the function was not made: {why}"))?;
            say!("No function runs here, so that only the receiver is shown: {here}\n");
            return Ok(None);
        }
        for event in EVENTS {
            let path = format!("/v1/triggers?function={NAME}&bucket={BUCKET}&event={event}");
            server.call(Method::POST, &path).await.map_err(of_failure)?;
        }
        say!(
            "The function `{NAME}` is Python that runs here; triggers of the bucket `{BUCKET}` invoke it.\n"
        );
        Ok(Some(Self { server }))
    }

    /// Prints its run log, and fails if its code did not get every change once, in order per key.
    pub(super) async fn judge(&self, done: &[Done]) -> anyhow::Result<()> {
        let path = format!("/v1/functions/{NAME}/logs?limit=1000");
        let log = self.server.call(Method::GET, &path).await.map_err(of_failure)?;
        let runs = log["runs"].as_array().map_or(&[][..], Vec::as_slice);
        say!("\n{:<34} what its code wrote, in the run log of `{NAME}`", "status, duration");
        for run in runs {
            let head =
                format!("{} {}, {} ms", text(&run["status"]), text(&run["outcome"]), run["duration_ms"]);
            say!("{head:<34} {}", said(run).escape_debug());
        }
        compare(done, runs)
    }
}

fn of_failure(failure: Failure) -> anyhow::Error {
    match failure {
        Failure::Failed(error) => error,
        Failure::Usage(text) | Failure::Found(text) => anyhow::anyhow!(text),
    }
}

/// The line that the code wrote.
fn said(run: &Value) -> &str {
    run["log"].as_str().unwrap_or_default().trim_end_matches('\n')
}

fn compare(done: &[Done], runs: &[Value]) -> anyhow::Result<()> {
    let mut expected: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for d in done {
        let kind = d.kind.replace("ObjectRemoved:", "ObjectRemove:");
        expected.entry(d.key).or_default().push(format!("cos:{kind} {BUCKET} {}", d.key));
    }
    let mut got: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for run in runs {
        ensure!(run["status"] == 200, "a run failed: {run}");
        let object = run["object"].as_str().unwrap_or_default();
        let key = object.strip_prefix(BUCKET).and_then(|rest| rest.strip_prefix('/')).unwrap_or(object);
        got.entry(key).or_default().push(said(run).to_owned());
    }
    ensure!(
        expected == got,
        "what the function got is not what was done:\n  done {expected:?}\n  got  {got:?}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(kind: &'static str, key: &'static str) -> Done {
        Done { what: "", kind, key, etag: String::new(), size: 0, request: String::new() }
    }

    fn run(status: u16, key: &str, said: &str) -> Value {
        json!({ "status": status, "object": format!("photos/{key}"), "log": format!("{said}\n") })
    }

    #[test]
    fn only_one_good_run_for_each_change_in_order_per_key_passes() {
        let changes = [
            done("ObjectCreated:Put", "a b"),
            done("ObjectCreated:Put", "c"),
            done("ObjectRemoved:Delete", "a b"),
        ];
        let put = run(200, "a b", "cos:ObjectCreated:Put photos a b");
        let other = run(200, "c", "cos:ObjectCreated:Put photos c");
        let gone = run(200, "a b", "cos:ObjectRemove:Delete photos a b");
        let judged = |runs: &[&Value]| {
            compare(&changes, &runs.iter().map(|run| (*run).clone()).collect::<Vec<_>>()).is_ok()
        };
        assert!(judged(&[&put, &gone, &other]));
        assert!(!judged(&[&gone, &put, &other]), "overtaken");
        assert!(!judged(&[&put, &other]), "missing");
        assert!(!judged(&[&put, &put, &gone, &other]), "twice");
        assert!(!judged(&[&run(430, "a b", "cos:ObjectCreated:Put photos a b"), &gone, &other]), "failed");
        assert!(!judged(&[&run(200, "a b", "something else"), &gone, &other]), "another event");
    }
}
