//! The real binary as a child process: configured, started, killed, stopped and started again on the same
//! data.
//!
//! Must never reach into the process: it knows what a person at the shell knows.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tidings::client::Client;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::far::FarSide;
use crate::load::MARK;
use crate::watch::{Seen, Watch};

/// A start may take this long, recovery included.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// A stop by SIGTERM may take this long: the server's own deadline and some more.
const STOP_TIMEOUT: Duration = Duration::from_secs(45);
/// One request may take this long before its outcome counts as unknown.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// The region of the test servers.
const REGION: &str = "test-1";

/// One data directory and the process that may be running on it.
pub(crate) struct Server {
    dir: Option<TempDir>,
    path: PathBuf,
    region: String,
    running: Option<Running>,
    seen: Seen,
    /// The deliberate fault of the next processes.
    mutant: Option<String>,
    /// What stands in its data is judged by its test alone.
    unwatched: bool,
    /// What a shell of its own does before it becomes the next processes.
    before: Option<String>,
    /// More variables of the next processes.
    variables: Vec<(String, String)>,
}

struct Running {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    watch: Option<Watch>,
}

/// How to reach a server that is ready.
#[derive(Clone)]
pub(crate) struct Ready {
    /// Its S3 listener, with the credentials of its data directory.
    pub(crate) s3: Client,
    /// Its admin listener, without credentials.
    pub(crate) admin: Client,
}

impl Server {
    /// A fresh data directory whose one target is `far`. `extra` is more TOML, before the target's tables.
    pub(crate) fn new(far: &dyn FarSide, extra: &str) -> Self {
        Self::with(&[("live", far, "live-*")], extra)
    }

    /// The same with several targets: each has its name, its far side, and the buckets that it gets.
    pub(crate) fn with(targets: &[(&str, &dyn FarSide, &str)], extra: &str) -> Self {
        let dir = TempDir::with_prefix_in("live-", env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let path = dir.path().to_owned();
        let mut config = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nregion = \"{REGION}\"\ndata = {data:?}\n\
             [admin]\nlisten = \"127.0.0.1:0\"\n{extra}\n",
            data = path.join("data"),
        );
        for (name, far, bucket) in targets {
            let connector = far.connector().replace("[target.live", &format!("[target.{name}"));
            config += &format!(
                "{connector}\n[[target.{name}.rule]]\nbucket = {bucket:?}\n\
                 events = [\"s3:ObjectCreated:*\", \"s3:ObjectRemoved:*\"]\n"
            );
        }
        fs::write(path.join("tidings.toml"), config).expect("a writable directory");
        Self {
            dir: Some(dir),
            path,
            region: REGION.to_owned(),
            running: None,
            seen: Seen::default(),
            mutant: None,
            unwatched: false,
            before: None,
            variables: Vec::new(),
        }
    }

    /// The same in another region.
    #[cfg(feature = "faults")]
    pub(crate) fn of_region(mut self, region: &str) -> Self {
        let text = self.configuration();
        let (was, is) = (format!("region = \"{REGION}\""), format!("region = \"{region}\""));
        self.configure(&text.replacen(&was, &is, 1));
        region.clone_into(&mut self.region);
        self
    }

    /// Starts the process and does not wait for it. With `failpoint` it kills itself when it gets there.
    pub(crate) fn launch(&mut self, failpoint: Option<&str>) {
        assert!(self.running.is_none(), "the last process was not waited for");
        let log = File::options().append(true).create(true).open(self.log()).expect("a log");
        let mut command = self.command();
        command.arg("serve").arg("--config").arg(self.path.join("tidings.toml"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
        command.env_remove("TIDINGS_FAILPOINT");
        if let Some(mutant) = &self.mutant {
            command.env("TIDINGS_MUTANT", mutant);
        }
        if let Some(point) = failpoint {
            command.env("TIDINGS_FAILPOINT", point);
        }
        if failpoint.is_some_and(|point| point.starts_with("cursor.piece.")) {
            command.env("TIDINGS_SMALL", "1");
        }
        let mut child = command.spawn().expect("the binary starts");
        let stdout = child.stdout.take().expect("piped");
        self.running = Some(Running { child, stdout: BufReader::new(stdout).lines(), watch: None });
    }

    /// The binary, or a shell that becomes it.
    fn command(&self) -> Command {
        const BINARY: &str = env!("CARGO_BIN_EXE_tidings");
        let mut command = match &self.before {
            None => Command::new(BINARY),
            Some(script) => {
                let mut command = Command::new("unshare");
                let script = format!("{script} && exec \"$0\" \"$@\"");
                command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script, BINARY]);
                command
            }
        };
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// From the next start on a shell does this first, in a view of the file systems of its own.
    pub(crate) fn surround(&mut self, script: &str) {
        self.before = Some(script.to_owned());
    }

    /// More variables, from the next start on.
    pub(crate) fn change_variables(&mut self, variables: Vec<(String, String)>) {
        self.variables = variables;
    }

    /// How many file descriptors the running process may have; first changed, if that is wished.
    pub(crate) async fn descriptors(&self, most: Option<u64>) -> u64 {
        let pid = self.running.as_ref().and_then(|running| running.child.id()).expect("running");
        let mut command = Command::new("prlimit");
        command.args(["--pid", &pid.to_string()]);
        if let Some(most) = most {
            command.arg(format!("--nofile={most}:"));
            assert!(command.status().await.expect("prlimit").success(), "prlimit --nofile={most}:");
            return most;
        }
        command.args(["--nofile", "--raw", "--noheadings", "--output", "SOFT"]);
        let output = command.output().await.expect("prlimit");
        String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number")
    }

    /// Waits until the launched process is ready; `None` if it ended before.
    pub(crate) async fn ready(&mut self) -> Option<Ready> {
        let running = self.running.as_mut().expect("launched");
        let (mut s3, mut admin) = (None, None);
        loop {
            let line = timeout(START_TIMEOUT, running.stdout.next_line()).await;
            let line = line.unwrap_or_else(|_| panic!("not ready after {START_TIMEOUT:?}"));
            let line = line.expect("readable output")?;
            if let Some(address) = line.strip_prefix("listening s3 ") {
                s3 = Some(address.trim().to_owned());
            } else if let Some(address) = line.strip_prefix("listening admin ") {
                admin = Some(address.trim().to_owned());
            } else if line.trim() == "ready" {
                let (access_key, secret_key) = self.credentials();
                let client = |address: Option<String>, access: &str, secret: &str| {
                    let address = address.expect("both listeners are printed before `ready`");
                    let client =
                        Client::new(&address, &self.region, access, secret).expect("a printed address");
                    client.with_timeout(REQUEST_TIMEOUT)
                };
                let (s3, admin) = (client(s3, &access_key, &secret_key), client(admin, "", ""));
                // One that misbehaves on purpose is judged by its test.
                if self.mutant.is_none() && !self.unwatched {
                    let watch = Watch::begin(admin.clone(), self.seen.clone()).await;
                    self.running.as_mut()?.watch = Some(watch);
                }
                return Some(Ready { s3, admin });
            }
        }
    }

    /// Starts the process and waits until it is ready.
    pub(crate) async fn start(&mut self) -> Ready {
        self.launch(None);
        match self.ready().await {
            Some(ready) => ready,
            None => panic!("the server ended at its start, {}", self.ended().await),
        }
    }

    /// `kill -9`, and waits until the process is gone.
    pub(crate) async fn kill(&mut self) {
        let mut running = self.running.take().expect("running");
        running.child.start_kill().expect("a child of ours");
        running.child.wait().await.expect("a child of ours");
        self.seen_by(running.watch).await;
    }

    /// The life that was watched has ended.
    async fn seen_by(&mut self, watch: Option<Watch>) {
        if let Some(watch) = watch {
            self.seen = watch.end().await;
        }
    }

    /// How often the books were looked at, in the lives that have ended.
    pub(crate) fn looks(&self) -> u64 {
        self.seen.looks
    }

    /// Waits until the process has ended by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let mut running = self.running.take().expect("running");
        let status = timeout(START_TIMEOUT, running.child.wait()).await;
        self.seen_by(running.watch).await;
        status.unwrap_or_else(|_| panic!("still running after {START_TIMEOUT:?}")).expect("a child of ours")
    }

    /// SIGTERM, and waits for the end, which must be clean.
    pub(crate) async fn stop(&mut self) {
        self.signal("TERM").await;
        let mut running = self.running.take().expect("running");
        let status = timeout(STOP_TIMEOUT, running.child.wait()).await;
        let status = status.unwrap_or_else(|_| panic!("still running {STOP_TIMEOUT:?} after SIGTERM"));
        self.seen_by(running.watch).await;
        let status = status.expect("a child of ours");
        assert!(status.success(), "SIGTERM ended with {status}");
    }

    /// Sends a signal by name: `STOP`, `CONT`, `TERM`.
    pub(crate) async fn signal(&self, name: &str) {
        let pid = self.running.as_ref().and_then(|running| running.child.id()).expect("running");
        let status = Command::new("sh").arg("-c").arg(format!("kill -{name} {pid}")).status().await;
        assert!(status.expect("a shell").success(), "kill -{name} {pid}");
    }

    /// Its data directory.
    #[cfg(any(feature = "powercut", feature = "faults"))]
    pub(crate) fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// Its data is that of another moment: what was seen of the books before says nothing of them.
    #[cfg(feature = "powercut")]
    pub(crate) fn is_of_another_moment(&mut self, watched: bool) {
        (self.seen, self.unwatched) = (Seen::default(), !watched);
    }

    /// Switches a deliberate fault on for the processes that are launched from now on, or none.
    #[cfg(feature = "powercut")]
    pub(crate) fn deliberate(&mut self, mutant: Option<&str>) {
        self.mutant = mutant.map(str::to_owned);
    }

    /// The configuration as it is on disk.
    #[cfg(feature = "faults")]
    pub(crate) fn configuration(&self) -> String {
        fs::read_to_string(self.path.join("tidings.toml")).expect("a readable directory")
    }

    /// Writes another configuration: for the next start or reload.
    #[cfg(feature = "faults")]
    pub(crate) fn configure(&self, text: &str) {
        fs::write(self.path.join("tidings.toml"), text).expect("a writable directory");
    }

    /// Leaves a file beside the data: a failed test keeps the directory.
    pub(crate) fn keep(&self, name: &str, text: &str) {
        fs::write(self.path.join(name), text).expect("a writable directory");
    }

    /// What its processes said so far: where, and the text.
    pub(crate) fn said(&self) -> Vec<(String, String)> {
        let read = |path: PathBuf| {
            let bytes = fs::read(&path).unwrap_or_default();
            (path.display().to_string(), String::from_utf8_lossy(&bytes).into_owned())
        };
        vec![read(self.log()), read(self.path.join("data/audit.log"))]
    }

    /// What they must never say: what that is, and the text.
    pub(crate) fn planted(&self) -> Vec<(&'static str, String)> {
        vec![
            ("the secret of a key pair", self.credentials().1),
            ("the admin token", self.token()),
            ("a body", MARK.to_owned()),
        ]
    }

    /// Resident memory of the process, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let pid = self.running.as_ref().and_then(|running| running.child.id()).expect("running");
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process of ours");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix(" kB"));
        resident.expect("Linux says it").trim().parse::<u64>().expect("a number") << 10
    }

    /// What the process has taken of the processors since it began. A loaded machine changes it less than
    /// any time on a clock.
    pub(crate) fn processor_time(&self) -> Duration {
        let pid = self.running.as_ref().and_then(|running| running.child.id()).expect("running");
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process of ours");
        // Behind the name, which may hold anything: user and system time in ticks of 10 ms.
        let (_, fields) = stat.rsplit_once(')').expect("Linux says it");
        let ticks = fields.split_whitespace().skip(11).take(2).map(|n| n.parse::<u64>().expect("a number"));
        Duration::from_millis(10 * ticks.sum::<u64>())
    }

    /// The admin token of the data directory.
    pub(crate) fn token(&self) -> String {
        let text = fs::read_to_string(self.path.join("data/admin.token")).expect("a token");
        text.trim().to_owned()
    }

    fn credentials(&self) -> (String, String) {
        let text = fs::read_to_string(self.path.join("data/credentials.toml")).expect("credentials");
        let table: toml::Table = text.parse().expect("TOML");
        let first = table["credential"].get(0).expect("one credential");
        let field = |name: &str| first[name].as_str().expect("a string").to_owned();
        (field("access_key"), field("secret_key"))
    }

    fn log(&self) -> PathBuf {
        self.path.join("stderr.log")
    }
}

impl Drop for Server {
    /// A failed test keeps its directory and shows the end of the server's log.
    fn drop(&mut self) {
        const SHOWN: usize = 30;
        let Some(dir) = self.dir.take().filter(|_| std::thread::panicking()) else { return };
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        eprintln!("kept {}; the end of stderr.log:", dir.keep().display());
        lines[lines.len().saturating_sub(SHOWN)..].iter().for_each(|line| eprintln!("  {line}"));
    }
}
