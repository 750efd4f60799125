//! A second process that outlives `cargo xtask test` and ends what it left running: the current step's
//! processes and the broker. So nothing stays behind after Ctrl-C, a TERM, a KILL or a panic. Must never end
//! anything while the process that started it lives.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::brokers::Set;
use crate::{paths, process};

/// How long a step's processes may take to end by themselves.
const TERM_LIMIT: Duration = Duration::from_secs(5);
/// How long the guard may take to clean up.
const FINISH_LIMIT: Duration = Duration::from_secs(60);

/// How long the run before may take to clean up.
const RUN_LIMIT: Duration = Duration::from_secs(30);
/// What the guard says when it watches.
const READY: &str = "ready";

/// The guard, as seen by the process that it watches. The pipe's end, however it comes, is its signal to
/// clean up.
pub(crate) struct Guard {
    child: Child,
    pipe: Option<ChildStdin>,
}

impl Guard {
    /// Starts a guard over the brokers of `set`.
    pub(crate) fn start(set: &Set) -> Result<Guard> {
        let mut child = Command::new(paths::xtask()?)
            .arg("guard")
            .arg(set.dir())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A group of its own: Ctrl-C goes to the terminal's group and must not reach it.
            .process_group(0)
            .spawn()
            .context("cannot start the guard process")?;
        let pipe = child.stdin.take();
        let stdout = child.stdout.take().context("the guard has no output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).context("cannot hear the guard")?;
        if line.trim() != READY {
            bail!("the guard did not start");
        }
        Ok(Guard { child, pipe })
    }

    /// Names the process group that runs now, or none.
    pub(crate) fn watch(&mut self, group: Option<u32>) {
        if let Some(pipe) = &mut self.pipe {
            // A guard that was killed cannot clean up; the run itself does not depend on it.
            let _ = writeln!(pipe, "{}", group.unwrap_or(0));
        }
    }

    /// Lets the guard clean up and waits for it.
    pub(crate) fn finish(mut self) -> Result<()> {
        drop(self.pipe.take());
        match process::wait(&mut self.child, FINISH_LIMIT)? {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!("cleaning up ended with {status}"),
            None => bail!("cleaning up took longer than {} s", FINISH_LIMIT.as_secs()),
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.pipe.take());
        // Nothing more can be done about a failure here: the guard itself has printed it.
        let _ = process::wait(&mut self.child, FINISH_LIMIT);
    }
}

/// The guard's own life: waits for the end of the pipe, then cleans up.
pub(crate) fn serve(set: &Path) -> Result<()> {
    let set = Set::at(set);
    // Held until everything is cleaned up, so that the next run meets no remains, and its broker is not taken
    // for one.
    let Some(_lock) = set.run_lock(RUN_LIMIT)? else {
        bail!("another `cargo xtask test` runs in this checkout ({})", set.dir().display());
    };
    println!("{READY}");
    let mut group = 0;
    for line in io::stdin().lock().lines() {
        match line.map(|line| line.trim().parse()) {
            Ok(Ok(named)) => group = named,
            Ok(Err(_)) => {}
            Err(_) => break,
        }
    }
    if group != 0 {
        end_group(group);
    }
    set.end()
}

/// Ends a process group that this program has made: TERM, then KILL.
pub(crate) fn end_group(group: u32) {
    process::signal_group("TERM", group);
    process::wait_until(TERM_LIMIT, || !process::lives(group));
    process::signal_group("KILL", group);
}
