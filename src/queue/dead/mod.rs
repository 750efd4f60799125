//! Dead letters: the events that their target can never accept, in a log of their own for each target.
//!
//! ```text
//!   lane ──► bury ──► one write, one sync ──► settled in the books ──► the key goes on
//!                           │
//!   operator ──► purge, replay ──► gone: a mark that stays until the synced row has passed the offset
//! ```
//!
//! A letter is durable here before anybody calls its entry settled; at open an offset that is here is
//! settled, whatever the row says. All work is done by one worker at a time, off the lane's loop. Must
//! never drop what cannot be written: it waits, and the target with it.

mod batch;
mod file;
mod handle;
mod index;
mod job;
mod join;
mod ledger;
mod look;
mod record;
mod rewrite;
mod room;
mod scan;
#[cfg(test)]
mod tests;
mod worker;

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

pub use file::{Carried, DamagedBytes};
pub use index::Filter;
pub(super) use join::{Counts, Joined};
pub use ledger::Ledger;
pub(super) use ledger::ReaderLedger;
pub use look::{Page, Selection};
pub use record::{Gone, Letter};

use crate::journal::{Disk, DiskFile, RandomFn};
use crate::queue::entry::TargetNo;
use file::LogFile;
use index::Index;
use job::Job;

/// A target's dead letters may take this much until somebody says otherwise, in bytes.
pub const MAX_BYTES: u64 = 256 << 20;

/// The dead letters of one target. Clones are handles to the same.
#[derive(Clone)]
pub struct DeadLetters {
    shared: Arc<Shared>,
}

/// What a lane learns of its dead letters.
#[derive(Debug)]
pub enum News {
    /// The letter is durable and settled in the books: its key goes on.
    Buried(u64),
    /// An operator wants this letter to be sent again.
    Replay(Box<Letter>),
    /// So many of the letters that were asked for were given, or are none any more.
    Loaded(usize),
}

/// Why nothing can be buried now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blocked {
    /// The byte bound is reached. For people.
    Full(Arc<str>),
    /// The disk fails; it is tried again. For people.
    Failing(Arc<str>),
    /// Letters are missing, until an operator accepts that. For people.
    Damaged(Arc<str>),
}

impl Blocked {
    /// For people: what happened and what to do.
    pub fn text(&self) -> &Arc<str> {
        match self {
            Self::Full(text) | Self::Failing(text) | Self::Damaged(text) => text,
        }
    }
}

/// The dead letters of a target at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadStatus {
    /// How many there are.
    pub letters: u64,
    /// Their bytes; the bound counts these.
    pub bytes: u64,
    /// The bound, in bytes.
    pub max_bytes: u64,
    /// Since when the oldest is one, in milliseconds since the Unix epoch.
    pub oldest_unix_ms: Option<i64>,
    /// Letters written since the start.
    pub written: u64,
    /// Failures to write since the start.
    pub failed: u64,
    /// Letters that wait to be sent again, are being sent, or are not durably what they became.
    pub replaying: u64,
    /// Why nothing can be buried now.
    pub blocked: Option<Blocked>,
}

/// An opened log before it knows its books.
pub(super) struct Opened {
    file: LogFile,
    index: Index,
    damaged: Option<DamagedBytes>,
}

struct Shared {
    target: TargetNo,
    name: String,
    ledger: Arc<dyn Ledger>,
    state: Mutex<State>,
    /// The worker's alone while it runs.
    file: Mutex<LogFile>,
    arrived: Notify,
    max_bytes: AtomicU64,
    /// True while nothing is being written.
    idle: watch::Sender<bool>,
    runtime: tokio::runtime::Handle,
}

#[derive(Default)]
struct State {
    index: Index,
    reader: Option<Arc<dyn DiskFile>>,
    /// Letters to be written, oldest first.
    burials: VecDeque<Letter>,
    jobs: VecDeque<Job>,
    news: Vec<News>,
    /// Letters to be sent again that no lane has yet, in order …
    replays: VecDeque<u64>,
    /// … and all of them, with those that a lane has.
    replaying: HashSet<u64>,
    /// Ends of replays among the jobs that are being written.
    ending: usize,
    blocked: Option<Blocked>,
    running: bool,
    /// The target is forgotten: nothing is written any more.
    retired: bool,
    /// Something came that the worker may not have seen.
    again: bool,
    failures: u32,
    written: u64,
    failed: u64,
    /// Letters that were durable and are not here any more.
    missing: u64,
    damaged: Option<DamagedBytes>,
}

/// Where dead letters are, beside the rows.
pub(super) fn dir_beside(progress_dir: &Path) -> std::path::PathBuf {
    progress_dir.with_file_name("dead-letters")
}

/// Every offset of a target that is settled because of its dead letters, and what it cost. Reads only.
pub(super) fn offsets(disk: &dyn Disk, dir: &Path, target: TargetNo) -> std::io::Result<HashMap<u64, u32>> {
    let mut index = Index::default();
    scan::each_record(disk, dir, target, &mut |at, kind, content| index.apply(at, kind, content))
        .map_err(|e| std::io::Error::other(format!("the dead letters of target {}: {e}", target.0)))?;
    Ok(index.entries().collect())
}

/// Removes a target's dead letters for good.
pub(super) fn remove(disk: &dyn Disk, progress_dir: &Path, target: TargetNo) -> std::io::Result<()> {
    file::remove(disk, &dir_beside(progress_dir), target)
}

impl Opened {
    /// Reads the log of one target, if it has one.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        target: TargetNo,
        random: RandomFn,
    ) -> std::io::Result<Self> {
        let mut index = Index::default();
        let (file, damaged) =
            LogFile::open(disk, dir, target, random, &mut |at, kind, content| index.apply(at, kind, content))
                .map_err(|e| {
                    std::io::Error::other(format!("the dead letters of target {}: {e}", target.0))
                })?;
        Ok(Self { file, index, damaged })
    }
}

impl DeadLetters {
    /// Takes up work: `missing` letters were settled by the row and are not in the log. Within a runtime.
    pub(super) fn start(opened: Opened, target: TargetNo, missing: u64, ledger: Arc<dyn Ledger>) -> Self {
        let Opened { file, index, damaged } = opened;
        let name = format!("dead-letters/{:08}.dead", target.0);
        // What an operator wanted before a restart is wanted still.
        let (replays, replaying) =
            (index.wished.iter().copied().collect(), index.wished.iter().copied().collect());
        let reader = file.reader();
        let state = State { index, reader, missing, damaged, replays, replaying, ..State::default() };
        let shared = Shared {
            target,
            name,
            ledger,
            state: Mutex::new(state),
            file: Mutex::new(file),
            arrived: Notify::new(),
            max_bytes: AtomicU64::new(MAX_BYTES),
            idle: watch::Sender::new(true),
            runtime: tokio::runtime::Handle::current(),
        };
        if let Some(blocked) = shared.damage(damaged, missing) {
            tracing::error!(target = target.0, "{}", blocked.text());
            shared.state().blocked = Some(blocked);
        }
        Self { shared: Arc::new(shared) }
    }

    /// A log of its own in `dir`, beside no queue, with a row that knows nothing.
    #[cfg(test)]
    pub(crate) fn alone(disk: Arc<dyn Disk>, dir: &Path, target: TargetNo, ledger: Arc<dyn Ledger>) -> Self {
        let random: RandomFn = |b| getrandom::fill(b).map_err(std::io::Error::other);
        let opened = Opened::open(disk, dir, target, random).expect("a log that can be opened");
        Self::start(opened, target, 0, ledger)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enqueue(self: &Arc<Self>, job: Job) {
        self.state().jobs.push_back(job);
        self.kick();
    }
}
