//! The real program on a data directory of its own: configured, started, asked, killed and stopped.
//!
//! Must never reach into the process: it reads what a person at the shell reads.

use std::path::PathBuf;
use std::process::{Output, Stdio};

use tempfile::TempDir;
use tidings::client::Client;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::targets::world::WAIT;

/// A data directory, its configuration, and the process that may run on it.
pub struct Program {
    pub dir: TempDir,
    pub child: Option<Child>,
    pub s3: String,
    pub admin: String,
}

impl Program {
    /// `more` follows the listeners, `server` stands in `[server]`.
    pub fn new(server: &str, more: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let program = Self { dir, child: None, s3: String::new(), admin: String::new() };
        program.configure(server, more);
        program
    }

    /// Writes the configuration anew; nobody reads it yet.
    pub fn configure(&self, server: &str, more: &str) {
        let data = self.data();
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\ndata = {data:?}\n{server}\
             [admin]\nlisten = \"127.0.0.1:0\"\n{more}"
        );
        std::fs::write(self.dir.path().join("tidings.toml"), text).expect("written");
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
        command.args(arguments).arg("--config").arg(self.dir.path().join("tidings.toml"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Starts it and waits for `ready`.
    pub async fn start(&mut self) {
        let mut child = self.command(&["serve"]).stderr(Stdio::null()).spawn().expect("starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let ready = async {
            while let Some(line) = lines.next_line().await.expect("readable") {
                if let Some(address) = line.strip_prefix("listening s3 ") {
                    self.s3 = address.to_owned();
                } else if let Some(address) = line.strip_prefix("listening admin ") {
                    self.admin = address.to_owned();
                } else if line == "ready" {
                    return;
                }
            }
            panic!("the server ended at its start");
        };
        timeout(WAIT, ready).await.expect("ready in time");
        self.child = Some(child);
    }

    /// Runs a command to its end.
    pub async fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let (code, _, errors) = self.output(arguments).await;
        (code, errors)
    }

    /// The same, with what it printed before its errors.
    pub async fn output(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let ended = timeout(WAIT, self.command(arguments).output()).await.expect("ends in time");
        let Output { status, stdout, stderr } = ended.expect("starts");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        (status.code(), text(stdout), text(stderr))
    }

    pub fn client(&self) -> Client {
        let text = std::fs::read_to_string(self.dir.path().join("data/credentials.toml")).expect("made");
        let table: toml::Table = text.parse().expect("TOML");
        let field = |name: &str| table["credential"][0][name].as_str().expect("a string").to_owned();
        let client = Client::new(&self.s3, "ap-guangzhou", &field("access_key"), &field("secret_key"));
        client.expect("an address")
    }

    pub async fn get(&self, path: &str) -> (u16, String) {
        self.ask(reqwest::Method::GET, path).await
    }

    /// Status and text of an answer of the admin API.
    pub async fn ask(&self, method: reqwest::Method, path: &str) -> (u16, String) {
        let token = std::fs::read_to_string(self.dir.path().join("data/admin.token")).expect("made");
        let request = reqwest::Client::new().request(method, format!("{}{path}", self.admin));
        let request = request.bearer_auth(token.trim());
        let answer = request.send().await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("whole"))
    }

    /// The value of one series.
    pub async fn metric(&self, series: &str) -> f64 {
        let (_, text) = self.get("/metrics").await;
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series}")).parse().expect("a number")
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().and_then(Child::id).expect("running")
    }

    pub async fn kill(&mut self) {
        self.child.take().expect("running").kill().await.expect("a child of ours");
    }

    /// SIGTERM; gives the exit code.
    pub async fn terminate(&mut self) -> Option<i32> {
        let kill = format!("kill -TERM {}", self.pid());
        assert!(Command::new("sh").args(["-c", &kill]).status().await.expect("a shell").success());
        let ended = timeout(WAIT, self.child.take().expect("running").wait()).await;
        ended.expect("ends in time").expect("a child of ours").code()
    }
}
