//! Processes of this machine: found by their command line, signalled, waited for. Reads `/proc`, so Linux
//! only. Must never signal a process it has not just identified.

use std::fs;
use std::io;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How often a condition of a foreign process is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// The processes whose command line has `words`, one after another. A process that has ended but was not
/// yet reaped by its parent has no command line, so it is not among them.
pub(crate) fn find(words: &[&str]) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("processes are looked up in /proc, which this system lacks")? {
        let Some(pid) = entry.ok().and_then(|entry| entry.file_name().to_str()?.parse().ok()) else {
            continue;
        };
        // A process may end between the listing and the look.
        let Ok(line) = fs::read(format!("/proc/{pid}/cmdline")) else { continue };
        if has(&line, words) && lives(pid) {
            found.push(pid);
        }
    }
    Ok(found)
}

/// Whether a command line, as `/proc` gives it (every word ended by a zero), has `words`, one after another.
fn has(line: &[u8], words: &[&str]) -> bool {
    let line: Vec<&[u8]> = line.strip_suffix(&[0]).unwrap_or(line).split(|byte| *byte == 0).collect();
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    line.windows(words.len()).any(|window| window == words)
}

/// The kernel's letter for what the process does: `T` stopped, `Z` ended and not reaped. `None`: there is
/// none.
pub(crate) fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses and may hold anything, more parentheses too.
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Whether the process still runs: it exists and is more than an ended one that nobody has reaped. A killed
/// process whose first thread has ended lives until its other threads have, for until then its ports are not
/// free.
pub(crate) fn lives(pid: u32) -> bool {
    match state(pid) {
        None => false,
        Some('Z' | 'X') => fs::read_dir(format!("/proc/{pid}/task")).is_ok_and(|threads| threads.count() > 1),
        Some(_) => true,
    }
}

/// Sends a signal (`KILL`, `TERM`, `STOP`, `CONT`) to one process.
pub(crate) fn signal(name: &str, pid: u32) -> Result<()> {
    send(name, &pid.to_string())
}

/// Sends a signal to every process of a group. Without any left, nothing happens.
pub(crate) fn signal_group(name: &str, group: u32) {
    // The only failure is that the group has ended, which is what the caller wants.
    let _ = send(name, &format!("-{group}"));
}

/// Through the shell, since its `kill` is always there; a program of that name is not.
fn send(name: &str, whom: &str) -> Result<()> {
    let status = Command::new("sh")
        .args(["-c", "kill -s \"$0\" -- \"$1\"", name, whom])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .context("cannot start sh")?;
    if !status.success() {
        bail!("SIG{name} did not reach {whom}");
    }
    Ok(())
}

/// Looks at `condition` until it holds or `limit` has passed; whether it held.
pub(crate) fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        pause();
    }
}

/// Waits for a child at most `limit`; ends it then. `None`: it had to be ended.
pub(crate) fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        pause();
    }
}

#[expect(clippy::disallowed_methods, reason = "a foreign process announces nothing that could be awaited")]
fn pause() {
    std::thread::sleep(LOOK);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_compared_by_whole_words() {
        assert!(has(
            b"java\0-Xmx1g\0kafka.Kafka\0/t/server.properties\0",
            &["kafka.Kafka", "/t/server.properties"]
        ));
        assert!(!has(b"vi\0/t/server.properties\0", &["kafka.Kafka", "/t/server.properties"]));
        assert!(!has(
            b"java\0kafka.Kafka\0/x/t/server.properties\0",
            &["kafka.Kafka", "/t/server.properties"]
        ));
        assert!(has(b"beam\0-home\0/t/home\0--\0", &["-home", "/t/home"]));
        assert!(!has(b"beam\0-home\0--\0/t/home\0", &["-home", "/t/home"]));
        assert!(!has(b"", &["kafka.Kafka"]));
    }

    #[test]
    fn an_ended_child_that_nobody_reaped_does_not_live() {
        let mut child = Command::new("sh").args(["-c", "read line"]).stdin(Stdio::piped()).spawn().unwrap();
        assert!(lives(child.id()));
        signal("KILL", child.id()).unwrap();
        assert!(wait_until(Duration::from_secs(10), || !lives(child.id())));
        assert_eq!(state(child.id()), Some('Z'));
        child.wait().unwrap();
        assert_eq!(state(child.id()), None);
    }

    #[test]
    fn a_stopped_child_is_seen_as_stopped_and_found_by_its_words() {
        let word = format!("marker-{}", std::process::id());
        let mut child =
            Command::new("sh").args(["-c", "read line", &word]).stdin(Stdio::piped()).spawn().unwrap();
        assert!(wait_until(Duration::from_secs(10), || find(&["read line", &word]).unwrap() == [child.id()]));
        signal("STOP", child.id()).unwrap();
        assert!(wait_until(Duration::from_secs(10), || state(child.id()) == Some('T')));
        signal("KILL", child.id()).unwrap();
        assert_eq!(wait(&mut child, Duration::from_secs(10)).unwrap().and_then(|status| status.code()), None);
        assert!(find(&["read line", &word]).unwrap().is_empty());
    }

    #[test]
    fn a_child_past_its_limit_is_ended() {
        let mut child = Command::new("sh").args(["-c", "read line"]).stdin(Stdio::piped()).spawn().unwrap();
        assert!(wait(&mut child, Duration::ZERO).unwrap().is_none());
        assert!(!lives(child.id()));
    }
}
