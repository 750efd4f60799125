//! A server under measurement, as a child process: the released binary, or the reference that stores nothing.
//!
//! Must never reach into the process: it knows what a person at the shell knows.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tidings::client::Client;

use crate::load::{Answered, Load};
use crate::{machine, null};

/// The bucket of every measurement.
pub(crate) const BUCKET: &str = "bench";
const REGION: &str = "ap-guangzhou";
/// A stop may take this long.
const STOP: Duration = Duration::from_secs(60);

/// One running server.
pub(crate) struct Server {
    child: Child,
    /// `host:port` of its S3 listener.
    pub(crate) s3: String,
    access_key: String,
    secret_key: String,
    /// From the start of the process until it said that it is ready.
    pub(crate) ready_after: Duration,
}

/// A data directory with its configuration.
pub(crate) struct Home {
    path: PathBuf,
    /// Removed with this.
    _dir: tempfile::TempDir,
}

impl Home {
    /// A fresh directory in the target directory; `targets` is TOML.
    pub(crate) fn new(targets: &str) -> Result<Self> {
        let dir = tempfile::TempDir::with_prefix_in("speed-", env!("CARGO_TARGET_TMPDIR"))?;
        let home = Self { path: dir.path().to_owned(), _dir: dir };
        home.configure(targets)?;
        Ok(home)
    }

    /// Writes the configuration anew.
    pub(crate) fn configure(&self, targets: &str) -> Result<()> {
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nregion = \"{REGION}\"\ndata = {:?}\n[admin]\nlisten = \"127.0.0.1:0\"\n\
             {targets}\n",
            self.data()
        );
        Ok(fs::write(self.config(), text)?)
    }

    /// The data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// The configuration file.
    pub(crate) fn config(&self) -> PathBuf {
        self.path.join("tidings.toml")
    }

    /// Starts the released binary here and waits until it is ready.
    pub(crate) fn start(&self) -> Result<Server> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
        command.arg("serve").arg("--config").arg(self.config()).env("TIDINGS_LOG", "error");
        Server::start(command, Some(&self.data()))
    }
}

/// TOML of a Kafka target that gets every event.
pub(crate) fn kafka_target(name: &str, broker: &str, topic: &str) -> String {
    format!(
        "[target.{name}.connector.kafka]\nbrokers = [{broker:?}]\ntopic = {topic:?}\n\
         [[target.{name}.rule]]\nbucket = \"*\"\nevents = [\"s3:ObjectCreated:*\", \"s3:ObjectRemoved:*\"]\n"
    )
}

impl Server {
    /// The reference: the same frontend over a queue and a store that do nothing.
    pub(crate) fn reference() -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("null-server");
        Self::start(command, None)
    }

    fn start(mut command: Command, data: Option<&Path>) -> Result<Self> {
        let begin = Instant::now();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().context("its output is piped")?;
        let mut s3 = None;
        let mut ready = false;
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            if let Some(address) = line.strip_prefix("listening s3 http://") {
                s3 = Some(address.to_owned());
            } else if line == "ready" {
                ready = true;
                break;
            }
        }
        ensure!(ready, "the server ended at its start: {:?}", child.wait());
        let ready_after = begin.elapsed();
        let (access_key, secret_key) = match data {
            Some(data) => credentials(data)?,
            None => (null::ACCESS_KEY.to_owned(), null::SECRET_KEY.to_owned()),
        };
        Ok(Self { child, s3: s3.context("no address")?, access_key, secret_key, ready_after })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A client of its S3 API.
    pub(crate) fn client(&self) -> Result<Client> {
        Client::new(&format!("http://{}", self.s3), REGION, &self.access_key, &self.secret_key)
            .map_err(|e| anyhow::anyhow!("{e}"))
    }

    /// Makes the bucket.
    pub(crate) async fn create_bucket(&self) -> Result<()> {
        let made = self.client()?.create_bucket(BUCKET).await?;
        ensure!(made.status.is_success(), "the bucket was not made: {}", made.status);
        Ok(())
    }

    /// Runs the load generator against it; also gives the processor time that the server spent meanwhile, in
    /// seconds, and that of the whole machine.
    pub(crate) fn load(&self, clients: usize, seconds: f64, requests: u64) -> Result<Loaded> {
        let load = Load {
            address: self.s3.clone(),
            bucket: BUCKET.to_owned(),
            region: REGION.to_owned(),
            access_key: self.access_key.clone(),
            secret_key: self.secret_key.clone(),
            clients,
            size: 1024,
            seconds,
            requests,
        };
        let (before, busy) = (machine::cpu_seconds(self.pid())?, machine::busy_seconds()?);
        let output = Command::new(std::env::current_exe()?)
            .arg("load")
            .args(["--address", &load.address, "--bucket", &load.bucket, "--region", &load.region])
            .args(["--access-key", &load.access_key, "--secret-key", &load.secret_key])
            .args(["--clients", &load.clients.to_string(), "--seconds", &load.seconds.to_string()])
            .args(["--requests", &load.requests.to_string(), "--size", &load.size.to_string()])
            .stderr(Stdio::inherit())
            .output()?;
        let ended = Instant::now();
        ensure!(output.status.success(), "the load generator failed");
        let answered: Answered = serde_json::from_slice(&output.stdout)?;
        let cpu = machine::cpu_seconds(self.pid())? - before;
        Ok(Loaded { answered, ended, server_cpu: cpu, machine_cpu: machine::busy_seconds()? - busy })
    }

    /// SIGTERM, and waits for a clean end.
    pub(crate) fn stop(mut self) -> Result<()> {
        let killed = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        ensure!(killed.success(), "no such process");
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "the server ended with {status}");
                return Ok(());
            }
            if begin.elapsed() > STOP {
                bail!("the server does not stop");
            }
            machine::pause(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ended already where that was the measurement.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a load gave.
pub(crate) struct Loaded {
    pub(crate) answered: Answered,
    /// When the generator had ended: just after the last answer.
    pub(crate) ended: Instant,
    pub(crate) server_cpu: f64,
    pub(crate) machine_cpu: f64,
}

impl Loaded {
    /// Processor microseconds per answered request: server, generator, everything on the machine.
    pub(crate) fn micros(&self) -> (f64, f64, f64) {
        let each = |seconds: f64| seconds * 1e6 / self.answered.answered as f64;
        (each(self.server_cpu), each(self.answered.cpu_seconds), each(self.machine_cpu))
    }
}

fn credentials(data: &Path) -> Result<(String, String)> {
    let text = fs::read_to_string(data.join("credentials.toml"))?;
    let table: toml::Table = text.parse()?;
    let first = table.get("credential").and_then(|c| c.get(0)).context("no credential")?;
    let field = |name: &str| first.get(name).and_then(|v| v.as_str()).map(str::to_owned);
    Ok((field("access_key").context("no access key")?, field("secret_key").context("no secret key")?))
}
