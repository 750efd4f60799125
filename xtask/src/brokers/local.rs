//! A broker as a process of this machine: started, found, signalled, ended. Must never signal a process other
//! than the one whose command line names this very directory.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::Engine;
use crate::packages::{self, Need};
use crate::process;

/// How long a gentle end may take.
const TERM_LIMIT: Duration = Duration::from_secs(15);
/// How long the kernel may take to carry out a signal.
const SIGNAL_LIMIT: Duration = Duration::from_secs(10);
/// How long a start command may take until the broker itself is among the processes.
const APPEAR_LIMIT: Duration = Duration::from_secs(30);
/// How long a command of its control program may take.
const CONTROL_LIMIT: Duration = Duration::from_secs(60);
/// How much of the log is shown.
const LAST_LINES: usize = 15;
/// What a removal leaves: the log, and what belongs to others.
const KEPT: [&str; 4] = [LOG, "state", "state.new", "compose.yml"];
const LOG: &str = "broker.log";

/// What differs between the brokers that run as processes.
pub(super) trait Recipe {
    /// What it needs of the system.
    fn needs(&self) -> Result<Vec<Need>>;
    /// Makes everything that its first start on `port` of 127.0.0.1 needs; the command that starts it.
    fn prepare(&self, home: &Home, port: u16) -> Result<Vec<String>>;
    /// Words that follow one another in its command line and in no other.
    fn marks(&self, home: &Home) -> Result<Vec<String>>;
    /// Its own control program, and how to reach this broker with it; none if it has none.
    fn control(&self, _home: &Home) -> Result<Option<Vec<String>>> {
        Ok(None)
    }
    /// A program that must run beside it, with the address at which it listens.
    fn helper(&self, _home: &Home) -> Result<Option<(Vec<String>, String)>> {
        Ok(None)
    }
}

/// The directory of one broker.
pub(super) struct Home(PathBuf);

impl Home {
    pub(super) fn path(&self, name: &str) -> Result<String> {
        let path = self.0.join(name);
        path.to_str().map(str::to_owned).with_context(|| format!("{} is not UTF-8", path.display()))
    }

    pub(super) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> Result<()> {
        fs::write(self.0.join(name), text).with_context(|| format!("cannot write {name}"))
    }

    pub(super) fn read(&self, name: &str) -> Result<String> {
        fs::read_to_string(self.0.join(name)).with_context(|| format!("cannot read {name}"))
    }

    pub(super) fn make(&self, name: &str) -> Result<()> {
        fs::create_dir_all(self.0.join(name)).with_context(|| format!("cannot make {name}"))
    }

    /// A command whose output goes to the broker's log.
    pub(super) fn command(&self, words: &[String]) -> Result<Command> {
        let log = File::options().create(true).append(true).open(self.0.join(LOG));
        let log = log.context("cannot open the broker's log")?;
        let [program, arguments @ ..] = words else { bail!("an empty start command") };
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&self.0).stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log);
        Ok(command)
    }

    /// Starts a command in a group of its own, so that Ctrl-C in the terminal does not reach it; its pid.
    fn spawn(&self, words: &[String]) -> Result<u32> {
        let mut child = self.command(words)?;
        let child = child.process_group(0).spawn();
        let mut child = child.with_context(|| format!("cannot start {}", words[0]))?;
        let pid = child.id();
        // Reaps it whenever it ends; when this program ends first, the system does.
        thread::spawn(move || child.wait());
        Ok(pid)
    }

    pub(super) fn last_words(&self) -> String {
        let log = fs::read(self.0.join(LOG)).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
    }
}

/// A broker whose state is in one directory.
pub(super) struct Local {
    home: Home,
    recipe: Box<dyn Recipe>,
}

impl Local {
    pub(super) fn new(dir: PathBuf, recipe: Box<dyn Recipe>) -> Local {
        Local { home: Home(dir), recipe }
    }

    /// The broker's process, if it runs.
    fn pid(&self) -> Result<Option<u32>> {
        find(&self.recipe.marks(&self.home)?)
    }

    fn running(&self) -> Result<u32> {
        self.pid()?.context("it does not run")
    }

    fn signal_and_see(&self, name: &str, seen: impl Fn(u32) -> bool) -> Result<()> {
        let pid = self.running()?;
        process::signal(name, pid)?;
        if !process::wait_until(SIGNAL_LIMIT, || seen(pid)) {
            bail!("SIG{name} had no effect on pid {pid} in {} s", SIGNAL_LIMIT.as_secs());
        }
        Ok(())
    }

    fn start_helper(&self) -> Result<()> {
        let Some((words, address)) = self.recipe.helper(&self.home)? else { return Ok(()) };
        if find(&words)?.is_some() {
            return Ok(());
        }
        let pid = self.home.spawn(&words)?;
        if !process::wait_until(SIGNAL_LIMIT, || super::wire::taken(&address) || !process::lives(pid)) {
            bail!("{} does not listen at {address}", words[0]);
        }
        Ok(())
    }

    fn end_helper(&self) -> Result<()> {
        let helper = self.recipe.helper(&self.home)?;
        let Some(pid) = helper.map(|(words, _)| find(&words)).transpose()?.flatten() else { return Ok(()) };
        process::signal("KILL", pid)?;
        process::wait_until(SIGNAL_LIMIT, || !process::lives(pid));
        Ok(())
    }
}

impl Engine for Local {
    fn prepare(&self, port: u16) -> Result<()> {
        packages::ensure(&self.recipe.needs()?)?;
        self.home.write(LOG, "")?;
        let start = self.recipe.prepare(&self.home, port)?;
        self.home.write("command", start.join("\n"))
    }

    fn start(&self) -> Result<()> {
        self.start_helper()?;
        let words: Vec<String> = self.home.read("command")?.lines().map(str::to_owned).collect();
        let pid = self.home.spawn(&words)?;
        // Its command line is empty for a moment after the start, and a shell may come first.
        process::wait_until(APPEAR_LIMIT, || {
            !process::lives(pid) || self.pid().is_ok_and(|found| found.is_some())
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
        if !process::wait_until(TERM_LIMIT, || !process::lives(pid)) {
            self.kill()?;
        }
        self.end_helper()
    }

    fn freeze(&self) -> Result<()> {
        self.signal_and_see("STOP", |pid| process::state(pid) == Some('T'))
    }

    fn thaw(&self) -> Result<()> {
        self.signal_and_see("CONT", |pid| process::state(pid) != Some('T'))
    }

    fn control(&self, words: &[&str]) -> Result<()> {
        let control = self.recipe.control(&self.home)?.context("it has no control program")?;
        let all: Vec<String> = control.into_iter().chain(words.iter().map(|w| (*w).to_owned())).collect();
        let mut child = self.home.command(&all)?.spawn().context("cannot start its control program")?;
        match process::wait(&mut child, CONTROL_LIMIT)? {
            Some(status) if status.success() => Ok(()),
            _ => bail!("its control program failed; its last words:\n{}", self.home.last_words()),
        }
    }

    fn remove(&self) -> Result<()> {
        while self.runs()? {
            self.kill()?;
        }
        self.end_helper()?;
        let entries = match fs::read_dir(&self.home.0) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            entries => entries.with_context(|| format!("cannot read {}", self.home.0.display()))?,
        };
        for entry in entries {
            let entry = entry?;
            if !KEPT.iter().any(|kept| entry.file_name() == *kept) {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }

    fn last_words(&self) -> String {
        self.home.last_words()
    }
}

fn find(words: &[String]) -> Result<Option<u32>> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Ok(process::find(&words)?.first().copied())
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
