//! Runs commands one after another, shows their output as it comes, and keeps what became of each.
//! Must never hide a failure: a step that could not be run has failed.

use std::io::{BufRead, BufReader, PipeReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};
use std::{io, thread};

use anyhow::{Context, Result, bail};

use crate::guard::{Guard, end_group};

/// A command that prints nothing for so long hangs.
const SILENCE_LIMIT: Duration = Duration::from_secs(20 * 60);
/// How long the output of an ended command may stay open because something it started still holds it.
const LEFTOVER_LIMIT: Duration = Duration::from_secs(5);
/// Lines of output that wait to be shown.
const LINES: usize = 1024;

/// The steps so far: name, seconds, whether it went well.
pub(crate) struct Steps {
    done: Vec<(String, Duration, bool)>,
    /// What went wrong, one sentence each.
    pub(crate) problems: Vec<String>,
}

impl Steps {
    pub(crate) fn new() -> Self {
        Steps { done: Vec::new(), problems: Vec::new() }
    }

    /// Runs one step and keeps what became of it. `None`: it failed, and the reason is among the problems.
    pub(crate) fn step<T>(&mut self, name: &str, work: impl FnOnce() -> Result<T>) -> Option<T> {
        println!("== {name}");
        let begin = Instant::now();
        let result = work();
        let took = begin.elapsed();
        let word = if result.is_ok() { "ok" } else { "FAILED" };
        println!("== {name}: {word}, {:.1} s", took.as_secs_f64());
        self.done.push((name.to_owned(), took, result.is_ok()));
        result.map_err(|error| self.problems.push(format!("{name}: {error:#}"))).ok()
    }

    /// Prints the table of steps and the problems.
    pub(crate) fn print(&self) {
        println!();
        for (name, took, ok) in &self.done {
            println!("{:<8}{:>7.1} s  {name}", if *ok { "ok" } else { "FAILED" }, took.as_secs_f64());
        }
        for problem in &self.problems {
            println!("problem: {problem}");
        }
    }
}

/// What a running command tells.
enum News {
    Line(Vec<u8>),
    Ended(io::Result<ExitStatus>),
}

/// Runs a command in a process group of its own, which `guard` knows for as long as it runs; shows its output
/// and gives each line to `see`. Fails when the command does.
pub(crate) fn run(guard: &mut Guard, command: &mut Command, see: impl FnMut(&str)) -> Result<()> {
    let (reader, writer) = io::pipe().context("cannot make a pipe")?;
    // One pipe for both, so that what cargo says and what a test prints stay in order.
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer).process_group(0);
    let child = command.spawn().with_context(|| format!("cannot start {:?}", command.get_program()))?;
    // The command holds the writing ends of the pipe: the output ends when the children do.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let group = child.id();
    guard.watch(Some(group));
    let (news, receive) = sync_channel(LINES);
    start_readers(child, reader, news);
    let status = follow(&receive, group, see);
    guard.watch(None);
    let status = status?;
    if !status.success() {
        bail!("ended with {status}");
    }
    Ok(())
}

fn start_readers(mut child: Child, reader: PipeReader, news: SyncSender<News>) {
    let lines = news.clone();
    thread::spawn(move || {
        let mut reader = BufReader::new(reader);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            if lines.send(News::Line(std::mem::take(&mut line))).is_err() {
                break;
            }
        }
    });
    thread::spawn(move || {
        // The other end is gone only when the run was given up.
        let _ = news.send(News::Ended(child.wait()));
    });
}

/// Shows lines until the command has ended and its output too.
fn follow(news: &Receiver<News>, group: u32, mut see: impl FnMut(&str)) -> Result<ExitStatus> {
    let mut ended = None;
    loop {
        let limit = if ended.is_some() { LEFTOVER_LIMIT } else { SILENCE_LIMIT };
        match news.recv_timeout(limit) {
            Ok(News::Line(line)) => {
                // A closed terminal is no reason to stop the run.
                let _ = io::stdout().write_all(&line);
                see(String::from_utf8_lossy(&line).trim_end());
            }
            Ok(News::Ended(status)) => ended = Some(status),
            Err(RecvTimeoutError::Timeout) if ended.is_none() => {
                end_group(group);
                bail!("nothing was printed for {} minutes: ended", SILENCE_LIMIT.as_secs() / 60);
            }
            Err(RecvTimeoutError::Timeout) => {
                println!("note: something that was started still runs after its end; ending it");
                end_group(group);
                break;
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    match ended {
        Some(status) => status.context("cannot learn how the command ended"),
        None => bail!("cannot learn how the command ended"),
    }
}
