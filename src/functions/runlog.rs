//! The run log: what became of every invocation, as JSON lines in files that are bounded in size and age.
//!
//! One thread writes and reads, so that whoever asks sees what was written before. A line is not synced: a
//! power cut may cost the last ones, and no event. Must never hold an event, a result or a secret: of what
//! the code itself wrote, the tail is kept.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tidings_function::Status;
use tokio::sync::{mpsc, oneshot};

use super::run::{MAX_RUNS, Run, RunQuery, Runs};

/// Lines that may wait to be written; beyond it runs wait.
const QUEUE: usize = 1_024;
/// A function's log is so many files at most; the oldest one goes as a whole.
const FILES: u64 = 4;

/// How much is kept of each function.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) bytes: u64,
    pub(super) age: Duration,
}

enum Wish {
    Append(Run),
    Read(String, RunQuery, oneshot::Sender<io::Result<Runs>>),
    Forget(String),
}

/// The log of every function. Clones are handles to the same thread.
#[derive(Debug, Clone)]
pub(super) struct RunLog(mpsc::Sender<Wish>);

impl RunLog {
    /// Starts the thread. `dir` holds a folder for each function; `now` is the clock, in microseconds since
    /// the Unix epoch.
    pub(super) fn start(dir: PathBuf, bounds: Bounds, now: fn() -> i64) -> io::Result<Self> {
        let (wishes, wanted) = mpsc::channel(QUEUE);
        let files = Files { dir, bounds, now, known: HashMap::new() };
        std::thread::Builder::new().name("function-log".into()).spawn(move || files.serve(wanted))?;
        Ok(Self(wishes))
    }

    /// Writes one run down; waits while too many others wait.
    pub(super) async fn append(&self, run: Run) {
        let _ = self.0.send(Wish::Append(run)).await;
    }

    /// The runs that were asked for.
    pub(super) async fn read(&self, function: &str, query: RunQuery) -> io::Result<Runs> {
        let (answer, answered) = oneshot::channel();
        let _ = self.0.send(Wish::Read(function.to_owned(), query, answer)).await;
        answered.await.map_err(|_| io::Error::other("the thread of the run log is gone"))?
    }

    /// Forgets what is known of a function whose folder goes.
    pub(super) async fn forget(&self, function: &str) {
        let _ = self.0.send(Wish::Forget(function.to_owned())).await;
    }
}

/// What is known of one function's files.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    /// The number of the next run.
    next: u64,
    /// The first run of the file that is written, and its length.
    first: u64,
    length: u64,
    /// The last line was cut short.
    torn: bool,
}

struct Files {
    dir: PathBuf,
    bounds: Bounds,
    now: fn() -> i64,
    known: HashMap<String, Known>,
}

impl Files {
    fn serve(mut self, mut wanted: mpsc::Receiver<Wish>) {
        let mut told = false;
        while let Some(wish) = wanted.blocking_recv() {
            match wish {
                Wish::Append(run) => {
                    let written = self.append(run);
                    if let Err(error) = &written
                        && !told
                    {
                        tracing::error!(%error, "the run log cannot be written: runs are missing in it");
                    }
                    told = written.is_err();
                }
                Wish::Read(function, query, answer) => drop(answer.send(self.read(&function, &query))),
                Wish::Forget(function) => drop(self.known.remove(&function)),
            }
        }
    }

    fn append(&mut self, mut run: Run) -> io::Result<()> {
        let dir = self.dir.join(&run.function);
        let mut known = self.known(&run.function)?;
        run.seq = known.next;
        let mut line = serde_json::to_vec(&run)?;
        line.push(b'\n');
        if known.length > 0 && known.length + line.len() as u64 > self.bounds.bytes / FILES {
            (known.first, known.length, known.torn) = (known.next, 0, false);
            self.trim(&dir)?;
        }
        let name = dir.join(file_name(known.first));
        let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(name)?;
        if known.torn {
            line.insert(0, b'\n');
        }
        let written = file.write_all(&line);
        known.torn = written.is_err();
        known.next += 1;
        known.length += line.len() as u64;
        self.known.insert(run.function, known);
        written
    }

    /// Removes what is too much or too old, before another file is begun.
    fn trim(&self, dir: &Path) -> io::Result<()> {
        let mut files = numbered(dir)?;
        let oldest = (self.now)() / 1_000_000 - i64::try_from(self.bounds.age.as_secs()).unwrap_or(i64::MAX);
        let old = |path: &Path| {
            let changed = fs::metadata(path).map(|data| std::os::unix::fs::MetadataExt::mtime(&data));
            changed.is_ok_and(|at| at < oldest)
        };
        while let Some((_, path)) = files.first() {
            if files.len() as u64 >= FILES || old(path) {
                fs::remove_file(path)?;
                files.remove(0);
            } else {
                break;
            }
        }
        Ok(())
    }

    fn known(&mut self, function: &str) -> io::Result<Known> {
        if let Some(known) = self.known.get(function) {
            return Ok(*known);
        }
        let dir = self.dir.join(function);
        fs::create_dir_all(&dir)?;
        let mut known = Known { next: 1, first: 1, length: 0, torn: false };
        if let Some((first, path)) = numbered(&dir)?.pop() {
            let text = read_file(&path)?;
            let last = text.split(|b| *b == b'\n').filter_map(parse).map(|run| run.seq).max();
            known = Known {
                // A file without a whole line begins with its own number again.
                next: last.map_or(first, |last| last + 1),
                first,
                length: text.len() as u64,
                torn: text.last().is_some_and(|b| *b != b'\n'),
            };
        }
        self.known.insert(function.to_owned(), known);
        Ok(known)
    }

    fn read(&mut self, function: &str, query: &RunQuery) -> io::Result<Runs> {
        let dir = self.dir.join(function);
        let files = if dir.exists() { numbered(&dir)? } else { Vec::new() };
        let limit = query.limit.clamp(1, MAX_RUNS);
        let oldest = (self.now)() - i64::try_from(self.bounds.age.as_micros()).unwrap_or(i64::MAX);
        let young = |run: &Run| {
            let start = run.start.as_deref().and_then(|start| start.parse::<jiff::Timestamp>().ok());
            start.is_none_or(|start| start.as_microsecond() >= oldest)
        };
        let fits = |run: &Run| {
            query.after.is_none_or(|after| run.seq > after)
                && (!query.failed || run.status != Status::Success.code())
                && query.request_id.as_ref().is_none_or(|wanted| *wanted == run.request_id)
                && young(run)
        };
        let (mut found, mut next) = (Vec::new(), query.after.unwrap_or(0));
        for (_, path) in files.iter().rev() {
            let text = read_file(path)?;
            let runs: Vec<_> = text.split(|b| *b == b'\n').filter_map(parse).collect();
            next = runs.iter().map(|run| run.seq).max().unwrap_or(0).max(next);
            let first = runs.first().map_or(u64::MAX, |run| run.seq);
            found.extend(runs.into_iter().rev().filter(|run| fits(run)));
            let enough = query.after.is_none() && found.len() >= limit;
            if enough || query.after.is_some_and(|after| first <= after) {
                break;
            }
        }
        found.sort_by_key(|run| run.seq);
        if query.after.is_some() && found.len() > limit {
            found.truncate(limit);
            next = found.last().map_or(next, |run| run.seq);
        } else if found.len() > limit {
            found.drain(..found.len() - limit);
        }
        Ok(Runs { runs: found, next })
    }
}

fn parse(line: &[u8]) -> Option<Run> {
    serde_json::from_slice(line).ok()
}

fn file_name(first: u64) -> String {
    format!("{first:020}.log")
}

/// The files of a folder by their first run, in order.
fn numbered(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        files.extend(number.map(|number| (number, path)));
    }
    files.sort();
    Ok(files)
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(status: u16, request: &str) -> Run {
        Run {
            seq: 0,
            request_id: request.into(),
            function: "hello".into(),
            version: 1,
            event_id: None,
            object: None,
            start: jiff::Timestamp::from_second(1_000_000).ok().map(|t| t.to_string()),
            duration_ms: 1,
            memory_bytes: 1,
            status,
            outcome: "ok".into(),
            retry: 0,
            message: String::new(),
            log: "x".repeat(100),
        }
    }

    fn files(dir: &Path, bytes: u64, now: fn() -> i64) -> Files {
        let bounds = Bounds { bytes, age: Duration::from_secs(100) };
        Files { dir: dir.to_owned(), bounds, now, known: HashMap::new() }
    }

    fn now() -> i64 {
        1_000_010_000_000
    }

    fn seqs(files: &mut Files, query: RunQuery) -> (Vec<u64>, u64) {
        let found = files.read("hello", &query).expect("read");
        (found.runs.iter().map(|run| run.seq).collect(), found.next)
    }

    fn latest(limit: usize) -> RunQuery {
        RunQuery { limit, ..RunQuery::default() }
    }

    #[test]
    fn runs_are_found_by_what_is_known_of_them() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut files = files(dir.path(), 1 << 20, now);
        assert_eq!(seqs(&mut files, latest(10)), (vec![], 0));
        for n in 1..=6_u16 {
            files.append(run(if n % 2 == 0 { 430 } else { 200 }, &format!("r{n}"))).expect("written");
        }
        assert_eq!(seqs(&mut files, latest(2)), (vec![5, 6], 6));
        assert_eq!(seqs(&mut files, RunQuery { after: Some(2), ..latest(2) }), (vec![3, 4], 4));
        assert_eq!(seqs(&mut files, RunQuery { after: Some(6), ..latest(2) }), (vec![], 6));
        assert_eq!(seqs(&mut files, RunQuery { failed: true, ..latest(9) }), (vec![2, 4, 6], 6));
        let of = RunQuery { request_id: Some("r3".into()), ..latest(9) };
        assert_eq!(seqs(&mut files, of), (vec![3], 6));
    }

    #[test]
    fn a_restart_goes_on_behind_a_line_that_was_cut_short() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut first = files(dir.path(), 1 << 20, now);
        (0..3).for_each(|_| first.append(run(200, "r")).expect("written"));
        let path = numbered(&dir.path().join("hello")).expect("listed").pop().expect("one").1;
        let text = read_file(&path).expect("read");
        fs::write(&path, &text[..text.len() - 20]).expect("written");
        let mut second = files(dir.path(), 1 << 20, now);
        second.append(run(430, "again")).expect("written");
        assert_eq!(seqs(&mut second, latest(9)).0, [1, 2, 3]);
        assert_eq!(second.read("hello", &latest(1)).expect("read").runs[0].request_id, "again");
    }

    #[test]
    fn size_and_age_are_bounded() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut small = files(dir.path(), 4_096, now);
        (0..1_000).for_each(|_| small.append(run(200, "r")).expect("written"));
        let all = numbered(&dir.path().join("hello")).expect("listed");
        let bytes: u64 = all.iter().map(|(_, path)| fs::metadata(path).expect("there").len()).sum();
        assert!(bytes <= 4_096 + 512, "{bytes}");
        assert_eq!(seqs(&mut small, latest(1)), (vec![1_000], 1_000));
        let mut later = files(dir.path(), 4_096, || now() + 200_000_000);
        assert_eq!(seqs(&mut later, latest(9)), (vec![], 1_000));
    }
}
