//! `tidings function …`: the functions of a running server.
//!
//! Must never touch a data directory: it asks the admin API. Must never print a value of an environment.

mod code;
mod settings;
mod show;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value};

use code::read;
use settings::Settings;
use show::{print_functions, print_run, print_templates};

use super::Failure;
use super::paint::{print_fields, text};
use super::remote::Server;
use crate::functions::is_name;

/// How often `--follow` looks: a person sees no difference.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Create, try and watch functions: code that runs for events.
#[derive(Args)]
pub(super) struct Function {
    #[command(flatten)]
    server: Server,
    #[command(subcommand)]
    command: FunctionCommand,
}

#[derive(Subcommand)]
enum FunctionCommand {
    /// Make a function.
    Create {
        /// Its name: 2 to 60 letters, digits, - and _.
        name: String,
        /// The function template to begin with; `templates` lists them.
        #[arg(long, value_name = "TEMPLATE")]
        from: Option<String>,
        #[command(flatten)]
        settings: Settings,
    },
    /// Change a function: what is not said stays as it is.
    Update {
        /// Its name.
        name: String,
        /// Go back to this version of its code.
        #[arg(long, value_name = "NUMBER")]
        restore: Option<u32>,
        #[command(flatten)]
        settings: Settings,
    },
    /// List all functions.
    Ls,
    /// Show one function.
    Show {
        /// Its name.
        name: String,
    },
    /// Run a function with one event, and show what came of it: exit code 3 if it failed.
    Invoke {
        /// Its name.
        name: String,
        /// The event of a template, such as cos-put.
        #[arg(long, required_unless_present = "event")]
        template: Option<String>,
        /// The event in a file; `-` is standard input.
        #[arg(long, value_name = "FILE", conflicts_with = "template")]
        event: Option<PathBuf>,
    },
    /// Show a function's latest runs.
    Logs {
        /// Its name.
        name: String,
        /// Go on showing runs as they end.
        #[arg(long)]
        follow: bool,
        /// `failed`: only those that did not succeed.
        #[arg(long)]
        status: Option<String>,
        /// Only runs of this request.
        #[arg(long, value_name = "ID")]
        request_id: Option<String>,
        /// So many at most, 1 to 1000.
        #[arg(long, value_name = "COUNT", default_value_t = 20)]
        limit: u32,
    },
    /// Remove a function and its target.
    Rm {
        /// Its name.
        name: String,
        /// Also the events that it has not got; without it they are the reason to refuse.
        #[arg(long)]
        discard: bool,
    },
    /// List events to try functions with, and functions to begin with.
    Templates,
}

/// A name that may stand in a path.
fn checked(name: &str) -> Result<&str, Failure> {
    match is_name(name) {
        true => Ok(name),
        false => Err(Failure::Usage(format!("error: `{name}` is not a function's name"))),
    }
}

/// A word that may stand in a query.
fn word<'a>(what: &str, text: &'a str) -> Result<&'a str, Failure> {
    match text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') && !text.is_empty() {
        true => Ok(text),
        false => Err(Failure::Usage(format!("error: `{text}` is no {what}"))),
    }
}

impl Function {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let server = self.server;
        match self.command {
            FunctionCommand::Create { name, from, settings } => {
                let mut body = settings.body()?;
                body.extend(from.map(|from| ("from".to_owned(), from.into())));
                change(&server, &name, "create", body).await
            }
            FunctionCommand::Update { name, restore, settings } => {
                let mut body = settings.body()?;
                body.extend(restore.map(|number| ("restore".to_owned(), number.into())));
                change(&server, &name, "update", body).await
            }
            FunctionCommand::Ls => {
                let value = server.call(Method::GET, "/v1/functions").await?;
                print(&server, &value, print_functions);
                Ok(())
            }
            FunctionCommand::Show { name } => {
                server.show(&format!("/v1/functions/{}", checked(&name)?)).await
            }
            FunctionCommand::Invoke { name, template, event } => {
                invoke(&server, checked(&name)?, template.as_deref(), event.as_deref()).await
            }
            FunctionCommand::Logs { name, follow, status, request_id, limit } => {
                let mut query = format!("limit={limit}");
                if let Some(status) = status {
                    query += &format!("&status={}", word("status", &status)?);
                }
                if let Some(id) = request_id {
                    query += &format!("&request-id={}", word("request id", &id)?);
                }
                logs(&server, checked(&name)?, &query, follow).await
            }
            FunctionCommand::Rm { name, discard } => {
                let path = format!("/v1/functions/{}/remove?discard={discard}", checked(&name)?);
                let value = server.call(Method::POST, &path).await?;
                print(&server, &value, print_fields);
                Ok(())
            }
            FunctionCommand::Templates => {
                let value = server.call(Method::GET, "/v1/function-templates").await?;
                print(&server, &value, print_templates);
                Ok(())
            }
        }
    }
}

fn print(server: &Server, value: &Value, people: fn(&Value)) {
    if server.json() {
        say!("{value}");
    } else {
        people(value);
    }
}

async fn change(server: &Server, name: &str, what: &str, body: Map<String, Value>) -> Result<(), Failure> {
    let path = format!("/v1/functions/{}/{what}", checked(name)?);
    let body = Value::Object(body).to_string().into_bytes();
    let value = server.call_with(Method::POST, &path, Some(body)).await?;
    print(server, &value, print_fields);
    Ok(())
}

async fn invoke(
    server: &Server,
    name: &str,
    template: Option<&str>,
    event: Option<&Path>,
) -> Result<(), Failure> {
    let path = format!("/v1/functions/{name}/invoke");
    let value = match (template, event) {
        (Some(template), _) => {
            let path = format!("{path}?template={}", word("template's name", template)?);
            server.call(Method::POST, &path).await?
        }
        (None, event) => {
            let event = read(event.unwrap_or(Path::new("-")))?;
            server.call_with(Method::POST, &path, Some(event)).await?
        }
    };
    print(server, &value, print_run);
    match value["status"].as_u64() {
        Some(200) => Ok(()),
        _ => Err(Failure::Found(format!("the function failed: {}", text(&value["outcome"])))),
    }
}

async fn logs(server: &Server, name: &str, query: &str, follow: bool) -> Result<(), Failure> {
    let mut path = format!("/v1/functions/{name}/logs?{query}");
    loop {
        let value = server.call(Method::GET, &path).await?;
        let runs = value["runs"].as_array().map_or(&[][..], Vec::as_slice);
        if server.json() && !follow {
            say!("{value}");
        }
        for run in runs {
            match server.json() {
                true if follow => say!("{run}"),
                true => {}
                false => print_run(run),
            }
        }
        if !follow {
            return Ok(());
        }
        path = format!("/v1/functions/{name}/logs?{query}&after={}", value["next"].as_u64().unwrap_or(0));
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
