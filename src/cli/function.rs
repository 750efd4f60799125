//! `tidings function …`: the functions of a running server.
//!
//! Must never touch a data directory: it asks the admin API. Must never print a value of an environment.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::Failure;
use super::paint::{Table, print_fields, text};
use super::remote::Server;
use crate::functions::is_name;

/// The most files of a folder, and the most bytes of all of them, that are sent.
const MAX_FILES: usize = 10_000;
const MAX_BYTES: u64 = 68 << 20;
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

/// What a function should be.
#[derive(Args)]
struct Settings {
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
    /// What becomes of events that fail: forever or scf-default.
    #[arg(long)]
    retry: Option<String>,
    /// Retries after failures of the code before an event becomes a dead letter.
    #[arg(long, value_name = "COUNT")]
    max_retries: Option<u32>,
    /// An event to try it with, saved under a name: NAME=FILE. May be repeated.
    #[arg(long, value_name = "NAME=FILE")]
    test: Vec<String>,
}

impl Settings {
    fn body(self) -> anyhow::Result<Map<String, Value>> {
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
            ("description", self.description),
            ("network", self.network),
            ("retry", self.retry),
        ] {
            put(key, value.map(Value::from));
        }
        for (key, value) in [
            ("memory_mb", self.memory),
            ("timeout_s", self.timeout),
            ("start_timeout_s", self.start_timeout),
            ("concurrency", self.concurrency),
            ("max_retries", self.max_retries),
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
        Ok(body)
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    if path.as_os_str() == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().take(MAX_BYTES).read_to_end(&mut bytes).context("standard input")?;
        return Ok(bytes);
    }
    std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))
}

/// The code in a file, a folder or a zip file.
fn code(path: &Path) -> anyhow::Result<Value> {
    if path.is_dir() {
        let mut files = BTreeMap::new();
        let mut bytes = 0;
        collect(path, path, &mut files, &mut bytes)?;
        return Ok(json!({ "files": files }));
    }
    let bytes = read(path)?;
    if bytes.len() as u64 > MAX_BYTES {
        bail!("{} is larger than {} MiB", path.display(), MAX_BYTES >> 20);
    }
    if bytes.starts_with(b"PK") {
        return Ok(json!({ "zip": STANDARD.encode(bytes) }));
    }
    Ok(match String::from_utf8(bytes) {
        Ok(text) => json!({ "text": text }),
        Err(bytes) => json!({ "files": { "bootstrap": STANDARD.encode(bytes.into_bytes()) } }),
    })
}

fn collect(
    root: &Path,
    folder: &Path,
    files: &mut BTreeMap<String, String>,
    bytes: &mut u64,
) -> anyhow::Result<()> {
    let unreadable = || format!("{} cannot be read", folder.display());
    for entry in std::fs::read_dir(folder).with_context(unreadable)? {
        let entry = entry.with_context(unreadable)?;
        let (kind, path) = (entry.file_type().with_context(unreadable)?, entry.path());
        if kind.is_dir() {
            if entry.file_name() != "__pycache__" && entry.file_name() != ".git" {
                collect(root, &path, files, bytes)?;
            }
            continue;
        }
        if !kind.is_file() {
            bail!(
                "{} is neither a file nor a folder: leave it out, or copy what it points to",
                path.display()
            );
        }
        let content = read(&path)?;
        *bytes += content.len() as u64;
        if files.len() >= MAX_FILES || *bytes > MAX_BYTES {
            bail!("{} holds more than {MAX_FILES} files or {} MiB", root.display(), MAX_BYTES >> 20);
        }
        let name = path.strip_prefix(root).unwrap_or(&path).to_str();
        let name = name.with_context(|| format!("the name {} is not UTF-8", path.display()))?;
        files.insert(name.to_owned(), STANDARD.encode(content));
    }
    Ok(())
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

fn print_functions(value: &Value) {
    let mut table = Table::new(&["NAME", "RUNTIME", ">VERSION", ">MIB", ">TIMEOUT s", "UPDATED"]);
    for f in value["functions"].as_array().map_or(&[][..], Vec::as_slice) {
        let fields = ["name", "runtime", "version", "memory_mb", "timeout_s", "updated"];
        table.row(fields.map(|field| text(&f[field])));
    }
    table.print();
}

fn print_templates(value: &Value) {
    let mut table = Table::new(&["KIND", "NAME", "DESCRIPTION"]);
    for (kind, list) in [("event", "events"), ("function", "functions")] {
        for t in value[list].as_array().map_or(&[][..], Vec::as_slice) {
            table.row([kind.to_owned(), text(&t["name"]), text(&t["description"])]);
        }
    }
    table.print();
}

/// One run: its head in a line, then what it gave back or why not, then what it wrote.
fn print_run(run: &Value) {
    let field = |name: &str| text(&run[name]);
    let memory = run["memory_bytes"].as_u64().unwrap_or(0) >> 20;
    let start = run["start"].as_str().map(|start| format!("{start}  ")).unwrap_or_default();
    say!(
        "{start}{} {}  {} ms  {memory} MiB  request {}{}{}",
        field("status"),
        field("outcome"),
        field("duration_ms"),
        field("request_id"),
        run["retry"].as_u64().filter(|n| *n > 0).map(|n| format!("  retry {n}")).unwrap_or_default(),
        run["object"].as_str().map(|o| format!("  {}", o.escape_debug())).unwrap_or_default(),
    );
    if let Some(result) = run["result"].as_str() {
        say!("result: {}", clean(result));
    }
    if let Some(message) = run["message"].as_str().filter(|message| !message.is_empty()) {
        say!("failed: {}", clean(message));
    }
    for line in run["log"].as_str().unwrap_or_default().lines() {
        say!("  | {}", clean(line));
    }
}

/// Without what a terminal would obey.
fn clean(line: &str) -> String {
    line.chars().map(|c| if c.is_control() && c != '\t' { ' ' } else { c }).collect()
}
