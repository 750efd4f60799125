//! A broker in a container, by `docker compose`, where a container engine answers. Must never touch a
//! container outside the compose project of its own directory.

use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Broker, Engine, kafka, nats, rabbitmq};
use crate::process;

/// How long the engine may take to say that it is there.
const ENGINE_LIMIT: Duration = Duration::from_secs(10);
/// How long the image may take to arrive.
const PULL_LIMIT: Duration = Duration::from_secs(600);
/// How long any other command may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// How long a kill may take to be seen.
const KILL_LIMIT: Duration = Duration::from_secs(3);

/// Whether a container engine answers and has compose; asked once.
pub(super) fn there() -> bool {
    static THERE: OnceLock<bool> = OnceLock::new();
    *THERE.get_or_init(|| {
        [["info", "--format={{.ID}}"], ["compose", "version"]].into_iter().all(|words| {
            let mut command = Command::new("docker");
            command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().is_ok_and(|mut child| {
                process::wait(&mut child, ENGINE_LIMIT)
                    .is_ok_and(|ended| ended.is_some_and(|status| status.success()))
            })
        })
    })
}

/// A broker whose compose file is in one directory.
pub(super) struct Compose {
    broker: Broker,
    dir: PathBuf,
}

impl Compose {
    pub(super) fn new(broker: Broker, dir: PathBuf) -> Compose {
        Compose { broker, dir }
    }

    /// `docker compose` for the project of this directory.
    fn command(&self, words: &[&str]) -> Command {
        let mut hash = DefaultHasher::new();
        hash.write(self.dir.as_os_str().as_bytes());
        let mut command = Command::new("docker");
        command.args(["compose", "--project-name", &format!("tidings-{:016x}", hash.finish()), "--file"]);
        command.arg(self.dir.join("compose.yml")).args(words).stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str], limit: Duration) -> Result<()> {
        let mut child = self.command(words).stdout(Stdio::null()).spawn().context("cannot start docker")?;
        match process::wait(&mut child, limit)? {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!("docker compose {} ended with {status}", words.join(" ")),
            None => bail!("docker compose {} took longer than {} s", words.join(" "), limit.as_secs()),
        }
    }

    /// Lets it go on if it is frozen.
    fn unpause(&self) {
        // Fails when it is not frozen, which is as good.
        let _ = self
            .command(&["unpause", self.broker.name()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

impl Engine for Compose {
    fn prepare(&self, port: u16) -> Result<()> {
        let dir = self.dir.to_str().with_context(|| format!("{} is not UTF-8", self.dir.display()))?;
        let mut file = self.broker.compose().replace("${PORT}", &port.to_string()).replace("${DIR}", dir);
        if self.broker == Broker::Kafka {
            let data = "/var/lib/kafka/data".to_owned();
            let inside = kafka::Place { bind: "0.0.0.0", data, dir: "/tidings".to_owned() };
            for (name, text) in kafka::files(&inside, port)? {
                fs::write(self.dir.join(name), text).with_context(|| format!("cannot write {name}"))?;
            }
            file = kafka::composed(&file, &self.dir)?;
        }
        fs::write(self.dir.join("compose.yml"), file).context("cannot write compose.yml")?;
        if self.broker == Broker::Nats {
            let config = nats::config("0.0.0.0", 4222, "/data");
            fs::write(self.dir.join("nats.conf"), config).context("cannot write nats.conf")?;
        }
        self.run(&["pull", "--quiet"], PULL_LIMIT)
    }

    fn start(&self) -> Result<()> {
        self.run(&["up", "--detach", "--no-recreate"], COMMAND_LIMIT)
    }

    fn runs(&self) -> Result<bool> {
        let mut found = false;
        for state in ["running", "paused"] {
            let answer = self
                .command(&["ps", "--quiet", "--status", state])
                .output()
                .context("cannot start docker")?;
            found |= answer.status.success() && !answer.stdout.trim_ascii().is_empty();
        }
        Ok(found)
    }

    fn kill(&self) -> Result<()> {
        let gone = |limit| process::wait_until(limit, || !self.runs().unwrap_or(true));
        let kill = ["kill", "--signal", "KILL", self.broker.name()];
        let killed = self.run(&kill, COMMAND_LIMIT);
        if killed.is_ok() && gone(KILL_LIMIT) {
            return Ok(());
        }
        // Some engines let a signal into a frozen container only when it goes on.
        self.unpause();
        if !gone(KILL_LIMIT) {
            self.run(&kill, COMMAND_LIMIT)?;
        }
        if gone(COMMAND_LIMIT) { Ok(()) } else { bail!("{} still runs after its kill", self.broker.name()) }
    }

    fn shutdown(&self) -> Result<()> {
        self.unpause();
        self.run(&["stop", "--timeout", "15", self.broker.name()], COMMAND_LIMIT)
    }

    fn freeze(&self) -> Result<()> {
        self.run(&["pause", self.broker.name()], COMMAND_LIMIT)
    }

    fn thaw(&self) -> Result<()> {
        self.run(&["unpause", self.broker.name()], COMMAND_LIMIT)
    }

    fn control(&self, words: &[&str]) -> Result<()> {
        let exec = ["exec", "--no-TTY", self.broker.name(), rabbitmq::CONTROL];
        self.run(&[&exec[..], words].concat(), COMMAND_LIMIT)
    }

    fn remove(&self) -> Result<()> {
        if !self.dir.join("compose.yml").exists() {
            return Ok(());
        }
        self.run(&["down", "--volumes", "--timeout", "0"], COMMAND_LIMIT)?;
        fs::remove_file(self.dir.join("compose.yml")).context("cannot remove compose.yml")
    }

    fn last_words(&self) -> String {
        let logs = self.command(&["logs", "--no-color", "--tail", "15"]).stderr(Stdio::null()).output();
        logs.map(|logs| String::from_utf8_lossy(&logs.stdout).into_owned()).unwrap_or_default()
    }
}
