//! Kafka as a Java process, from the jars that Maven fetches once per machine. Must never signal a process
//! other than the one whose command line names this very directory.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher};
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Engine, wire};
use crate::packages::{self, Need};
use crate::{paths, process};

const POM: &str = include_str!("../../kafka/pom.xml");
const PROPERTIES: &str = include_str!("../../kafka/server.properties.in");
const LOGGING: &str = include_str!("../../kafka/log4j2.properties");
/// Fetches what the pom names; pinned, so that the same run does the same tomorrow.
const COPY_JARS: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";
/// Any 16 bytes in base64url do; a fixed id spares a Java start.
const CLUSTER: &str = "dGlkaW5ncy10ZXN0LTAwMQ";
/// The broker's main class; with the path of its properties behind it, what its process is found by.
const MAIN: &str = "kafka.Kafka";

/// How long Maven may take.
const FETCH_LIMIT: Duration = Duration::from_secs(600);
/// How long formatting the data directory may take.
const FORMAT_LIMIT: Duration = Duration::from_secs(60);
/// How long a gentle end may take.
const TERM_LIMIT: Duration = Duration::from_secs(15);
/// How long the kernel may take to carry out a signal.
const SIGNAL_LIMIT: Duration = Duration::from_secs(10);
/// How much of the log is shown.
const LAST_LINES: usize = 15;

/// A Kafka whose state is in one directory.
pub(super) struct Jars {
    dir: PathBuf,
    fast: bool,
}

/// What starting from the jars needs of the system.
pub(super) fn needs() -> Result<&'static [Need]> {
    Ok(if library()?.is_dir() { &[Need::Java] } else { &[Need::Java, Need::Maven] })
}

/// The directory of the jars: one per content of the pom, shared by all checkouts.
fn library() -> Result<PathBuf> {
    let mut hash = DefaultHasher::new();
    hash.write(POM.as_bytes());
    Ok(paths::cache()?.join(format!("kafka-{:016x}", hash.finish())))
}

/// Fetches the jars unless they are there. They appear under their name only when all of them are there.
fn fetch(java: &Path) -> Result<PathBuf> {
    let library = library()?;
    if library.is_dir() {
        return Ok(library);
    }
    println!("fetching Kafka's jars to {} (once)", library.display());
    let aside = library.with_extension(format!("{}.new", std::process::id()));
    fs::create_dir_all(&aside).with_context(|| format!("cannot make {}", aside.display()))?;
    let pom = aside.join("pom.xml");
    fs::write(&pom, POM).context("cannot write the pom")?;
    let mut maven = Command::new("mvn");
    // Maven looks for a Java by itself and might find another one, or none.
    if let Some(home) = java_home(java) {
        maven.env("JAVA_HOME", home);
    }
    maven
        .args(["-q", "-B", "-Dstyle.color=never", "-f"])
        .arg(&pom)
        .args([COPY_JARS, "-DincludeScope=runtime"])
        .arg(format!("-DoutputDirectory={}", aside.display()))
        .stdin(Stdio::null());
    let mut maven = maven.spawn().context("cannot start mvn")?;
    let ended = process::wait(&mut maven, FETCH_LIMIT)?;
    if ended.is_none_or(|status| !status.success()) {
        fs::remove_dir_all(&aside).context("cannot remove what Maven left")?;
        bail!("Maven could not fetch Kafka's jars; TIDINGS_TEST_KAFKA=host:port names a running broker");
    }
    match fs::rename(&aside, &library) {
        Ok(()) => Ok(library),
        // Another checkout was faster: its jars are the same.
        Err(_) if library.is_dir() => {
            fs::remove_dir_all(&aside).map(|()| library).context("cannot remove a copy")
        }
        Err(error) => Err(error).with_context(|| format!("cannot make {}", library.display())),
    }
}

/// The directory of the Java that this program belongs to, if it is laid out as one.
fn java_home(java: &Path) -> Option<PathBuf> {
    let home = java.canonicalize().ok()?.parent()?.parent()?.to_path_buf();
    home.join("lib/modules").is_file().then_some(home)
}

impl Jars {
    pub(super) fn new(dir: PathBuf, fast: bool) -> Jars {
        Jars { dir, fast }
    }

    fn path(&self, name: &str) -> Result<String> {
        let path = self.dir.join(name);
        path.to_str().map(str::to_owned).with_context(|| format!("{} is not UTF-8", path.display()))
    }

    /// The broker's process, if it runs.
    fn pid(&self) -> Result<Option<u32>> {
        Ok(process::find(&[MAIN, &self.path("server.properties")?])?.first().copied())
    }

    fn running(&self) -> Result<u32> {
        self.pid()?.context("kafka does not run")
    }

    fn signal_and_see(&self, name: &str, seen: impl Fn(u32) -> bool) -> Result<()> {
        let pid = self.running()?;
        process::signal(name, pid)?;
        if !process::wait_until(SIGNAL_LIMIT, || seen(pid)) {
            bail!("SIG{name} had no effect on kafka (pid {pid}) in {} s", SIGNAL_LIMIT.as_secs());
        }
        Ok(())
    }

    /// A command of Java whose output goes to the broker's log.
    fn java(&self, words: &[String]) -> Result<Command> {
        let log = File::options().create(true).append(true).open(self.dir.join("broker.log"));
        let log = log.context("cannot open the broker's log")?;
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(&self.dir).stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log);
        Ok(command)
    }

    fn format(&self, start: &[String]) -> Result<()> {
        // Everything of the broker's own command but its main class and argument.
        let mut words = start[..start.len() - 2].to_vec();
        let fixed = ["kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER, "--config"];
        words.extend(fixed.map(str::to_owned));
        words.push(self.path("server.properties")?);
        let mut child = self.java(&words)?.spawn().context("cannot start java")?;
        match process::wait(&mut child, FORMAT_LIMIT)? {
            Some(status) if status.success() => Ok(()),
            _ => {
                bail!("kafka's data directory could not be formatted; its last words:\n{}", self.last_words())
            }
        }
    }
}

impl Engine for Jars {
    fn prepare(&self, port: u16) -> Result<()> {
        packages::ensure(needs()?)?;
        let java = packages::java().context("no Java that is new enough")?;
        let library = fetch(&java)?;
        let mut controller = wire::free_port()?;
        while controller == port {
            controller = wire::free_port()?;
        }
        let properties = PROPERTIES
            .replace("@PORT@", &port.to_string())
            .replace("@CONTROLLER@", &controller.to_string())
            .replace("@DATA@", &self.path("data")?);
        fs::write(self.dir.join("server.properties"), properties)
            .context("cannot write server.properties")?;
        fs::write(self.dir.join("log4j2.properties"), LOGGING).context("cannot write log4j2.properties")?;
        File::create(self.dir.join("broker.log")).context("cannot make the broker's log")?;
        let java = java.to_str().context("a path to java that is not UTF-8")?;
        // Serial collector and first compiler only: it is up in half the time, and tests are not benchmarks.
        let compiler = if self.fast { "-XX:+TieredCompilation" } else { "-XX:TieredStopAtLevel=1" };
        let start = [
            java.to_owned(),
            "-Xms64m".into(),
            "-Xmx512m".into(),
            "-XX:+UseSerialGC".into(),
            compiler.into(),
            "-XX:-UsePerfData".into(),
            format!("-Dlog4j2.configurationFile={}", self.path("log4j2.properties")?),
            "-cp".into(),
            format!("{}/*", library.display()),
            MAIN.into(),
            self.path("server.properties")?,
        ];
        self.format(&start)?;
        fs::write(self.dir.join("command"), start.join("\n")).context("cannot write the start command")
    }

    fn start(&self) -> Result<()> {
        let words = fs::read_to_string(self.dir.join("command")).context("cannot read the start command")?;
        let words: Vec<String> = words.lines().map(str::to_owned).collect();
        // A group of its own, so that Ctrl-C in the terminal does not reach it.
        let mut child = self.java(&words)?.process_group(0).spawn().context("cannot start java")?;
        let pid = child.id();
        fs::write(self.dir.join("pid"), format!("{pid}\n")).context("cannot write the pid file")?;
        // Reaps it whenever it ends; when this program ends first, the system does.
        thread::spawn(move || child.wait());
        // Its command line is empty for a moment after the start.
        process::wait_until(SIGNAL_LIMIT, || {
            !process::lives(pid) || self.pid().is_ok_and(|found| found == Some(pid))
        });
        Ok(())
    }

    fn runs(&self) -> Result<bool> {
        Ok(self.pid()?.is_some())
    }

    fn kill(&self) -> Result<()> {
        self.signal_and_see("KILL", |pid| !process::lives(pid))
    }

    fn shutdown(&self) -> Result<()> {
        let pid = self.running()?;
        process::signal("TERM", pid)?;
        // A frozen one takes the TERM only when it goes on.
        process::signal("CONT", pid)?;
        if process::wait_until(TERM_LIMIT, || !process::lives(pid)) { Ok(()) } else { self.kill() }
    }

    fn freeze(&self) -> Result<()> {
        self.signal_and_see("STOP", |pid| process::state(pid) == Some('T'))
    }

    fn thaw(&self) -> Result<()> {
        self.signal_and_see("CONT", |pid| process::state(pid) != Some('T'))
    }

    fn remove(&self) -> Result<()> {
        while self.runs()? {
            self.kill()?;
        }
        remove(&self.dir.join("data"))?;
        for name in ["pid", "command", "server.properties", "log4j2.properties"] {
            remove(&self.dir.join(name))?;
        }
        Ok(())
    }

    fn last_words(&self) -> String {
        let log = fs::read(self.dir.join("broker.log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
    }
}

/// Removes a file or a whole directory, if it is there.
fn remove(path: &Path) -> Result<()> {
    let result = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match result {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
