//! A running `tidings serve` with functions, and the commands that ask it.
//!
//! Must never judge but for a command that must succeed.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tidings::client::Client;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// Far longer than anything here takes.
pub(crate) const WAIT: Duration = Duration::from_secs(90);

pub(crate) struct World {
    pub(crate) dir: TempDir,
    /// What stands before the server's own command line: who else it is, or what it does not see.
    pub(crate) prefix: Vec<String>,
    /// The server's program.
    pub(crate) program: PathBuf,
    child: Option<Child>,
    admin: String,
    s3: Option<Client>,
    s3_address: String,
    http: reqwest::Client,
}

impl World {
    /// A fresh server; `extra` is more of its configuration.
    pub(crate) async fn start(extra: &str) -> Self {
        let mut world = Self::apart();
        world.configure(extra);
        world.open().await;
        let made = world.s3().create_bucket("bucket").await.expect("an answer");
        assert_eq!(made.status, 200, "{made:?}");
        world
    }

    /// A place for a server that nobody configured or started yet.
    pub(crate) fn apart() -> Self {
        Self {
            dir: TempDir::with_prefix_in("functions-", env!("CARGO_TARGET_TMPDIR")).expect("a directory"),
            prefix: Vec::new(),
            program: env!("CARGO_BIN_EXE_tidings").into(),
            child: None,
            admin: String::new(),
            s3: None,
            s3_address: String::new(),
            http: reqwest::Client::new(),
        }
    }

    pub(crate) fn configure(&self, extra: &str) {
        let data = self.data();
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\ndata = {data:?}\n[admin]\nlisten = \"127.0.0.1:0\"\n{extra}"
        );
        std::fs::write(self.dir.path().join("tidings.toml"), text).expect("written");
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_remove("TIDINGS_FAILPOINT").stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// A command that asks the server, about to be started.
    fn asking(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_tidings"));
        command.args(arguments).args(["--json", "--admin", &self.admin, "--config"]);
        command.arg(self.dir.path().join("tidings.toml"));
        command
    }

    /// A command that goes on and on: what it says, line by line, until it is dropped.
    pub(crate) fn follow(&self, arguments: &[&str]) -> (Child, Lines<BufReader<ChildStdout>>) {
        let mut child = self.asking(arguments).stdout(Stdio::piped()).spawn().expect("starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        (child, lines)
    }

    /// What the admin API answers: for what would take too many commands.
    pub(crate) async fn admin(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let token = std::fs::read_to_string(self.data().join("admin.token")).expect("made");
        let method = method.parse().expect("a method");
        let mut request =
            self.http.request(method, format!("{}{path}", self.admin)).bearer_auth(token.trim());
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.expect("an answer");
        let (status, text) = (answer.status(), answer.text().await.expect("a body"));
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).expect("JSON")
    }

    pub(crate) async fn open(&mut self) {
        self.open_until(None).await;
    }

    /// The same; with `failpoint` the process kills itself when it gets there.
    pub(crate) async fn open_until(&mut self, failpoint: Option<&str>) {
        // As a shell or a service manager would start it: with few open files, and leave to have more.
        let mut command = self.command("sh");
        command.args(["-c", "ulimit -Sn 1024; exec \"$0\" \"$@\""]).args(&self.prefix).arg(&self.program);
        if let Some(point) = failpoint {
            command.env("TIDINGS_FAILPOINT", point);
        }
        command.arg("serve").arg("--config").arg(self.dir.path().join("tidings.toml"));
        let log = std::fs::File::options().append(true).create(true).open(self.dir.path().join("log"));
        command.stdout(Stdio::piped()).stderr(log.expect("a log"));
        let mut child = command.spawn().expect("starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut s3 = String::new();
        let ready = async {
            while let Some(line) = lines.next_line().await.expect("readable") {
                match line.rsplit_once(' ').unwrap_or(("ready", &line)) {
                    ("listening s3", address) => s3 = address.to_owned(),
                    ("listening admin", address) => self.admin = address.to_owned(),
                    _ if line == "ready" => return,
                    _ => {}
                }
            }
            panic!("the server ended at its start");
        };
        timeout(WAIT, ready).await.expect("ready in time");
        let text = std::fs::read_to_string(self.data().join("credentials.toml")).expect("made");
        let table: toml::Table = text.parse().expect("TOML");
        let field = |name: &str| table["credential"][0][name].as_str().expect("a string").to_owned();
        let address = s3;
        let s3 = Client::new(&address, "ap-guangzhou", &field("access_key"), &field("secret_key"));
        self.s3 = Some(s3.expect("an address"));
        self.s3_address = address;
        self.child = Some(child);
    }

    /// The process of the server.
    pub(crate) fn id(&self) -> u32 {
        self.child.as_ref().and_then(Child::id).expect("runs")
    }

    /// Waits until the process has died by itself.
    #[cfg(feature = "faults")]
    pub(crate) async fn died(&mut self) {
        let mut child = self.child.take().expect("runs");
        let status = timeout(WAIT, child.wait()).await.expect("dies in time").expect("ends");
        assert!(!status.success(), "{status}");
    }

    pub(crate) async fn kill(&mut self) {
        self.child.take().expect("runs").kill().await.expect("killed");
    }

    pub(crate) async fn stop(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("runs");
        let id = child.id().expect("runs").to_string();
        let told = Command::new("kill").args(["-TERM", &id]).status().await.expect("starts");
        assert!(told.success());
        timeout(WAIT, child.wait()).await.expect("ends in time").expect("ends")
    }

    pub(crate) fn s3(&self) -> Client {
        self.s3.clone().expect("runs")
    }

    pub(crate) fn s3_address(&self) -> String {
        self.s3_address.clone()
    }

    pub(crate) async fn put(&self, key: &str) {
        let answer = self.s3().put("bucket", key, "body").await.expect("an answer");
        assert_eq!(answer.status, 200, "{key}: {answer:?}");
    }

    /// A file beside the configuration.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(&path, content).expect("written");
        path.to_str().expect("UTF-8").to_owned()
    }

    /// Runs a command: its exit code and what it said.
    pub(crate) async fn run(&self, arguments: &[&str]) -> (i32, String) {
        let output = timeout(WAIT, self.asking(arguments).output()).await.expect("in time").expect("starts");
        let code = output.status.code().expect("ends by itself");
        let said = [output.stdout, if code == 0 { Vec::new() } else { output.stderr }].concat();
        (code, String::from_utf8(said).expect("UTF-8"))
    }

    /// What a command answers that must succeed.
    pub(crate) async fn json(&self, arguments: &[&str]) -> Value {
        let (code, said) = self.run(arguments).await;
        assert_eq!(code, 0, "{arguments:?}: {said}");
        serde_json::from_str(&said).unwrap_or_else(|e| panic!("{arguments:?}: {e}: {said}"))
    }

    /// Makes a function of a file's text.
    pub(crate) async fn create(&self, name: &str, code: &str, more: &[&str]) -> Value {
        let file = self.file(&format!("code-{name}"), code);
        self.json(&[&["function", "create", name, "--code", &file], more].concat()).await
    }

    /// One run, whatever comes of it.
    pub(crate) async fn invoke(&self, name: &str) -> Value {
        let (_, said) = self.run(&["function", "invoke", name, "--template", "cos-put"]).await;
        let line = said.lines().next().unwrap_or_default();
        serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {said}"))
    }

    /// Asks until the answer is as it should be.
    pub(crate) async fn until(&self, arguments: &[&str], right: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let asked = async {
            loop {
                last = self.json(arguments).await;
                if right(&last) {
                    return;
                }
            }
        };
        let asked = timeout(WAIT, asked).await;
        assert!(asked.is_ok(), "{arguments:?}: {last}");
        last
    }

    /// Processes of this server's instances, by what is on their command line.
    pub(crate) fn processes(&self, word: &str) -> Vec<u32> {
        let all = std::fs::read_dir("/proc").expect("listed").flatten();
        let ids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let named = |id: &u32| {
            let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(word)
        };
        ids.filter(named).collect()
    }
}

/// A rule that gives a function every change of keys with a prefix.
pub(crate) fn rule(function: &str, prefix: &str) -> String {
    format!(
        "[[functions.rule]]\nfunction = {function:?}\nname = \"to-{function}\"\nprefix = {prefix:?}\n\
         events = [\"cos:ObjectCreated:*\", \"cos:ObjectRemove:*\"]\n"
    )
}
