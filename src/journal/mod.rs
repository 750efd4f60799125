//! The journal: a segmented, checksummed, group-committed log. It knows bytes only.
//!
//! One writer thread assigns offsets and turns all that waits into one batch and one sync; one preparing
//! thread keeps files ready and takes them back. Anybody may read what is durable. `format.rs` draws the
//! file.

mod again;
mod ballast;
mod compact;
mod damage;
pub mod disk;
mod error;
mod expected;
mod format;
#[cfg(test)]
mod format_tests;
mod free;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod headroom;
mod held;
mod listing;
mod live;
mod losses;
mod prepare;
mod reader;
mod record;
mod recovery;
mod repair;
mod restored;
mod rewrite;
mod scan;
mod segment;
mod shared;
mod stat;
mod survey;
mod ticket;
mod verify;
mod writer;

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

pub use compact::{LabelNeed, Needed, NeededFn};
pub use damage::{Damage, Why};
pub use disk::{Disk, DiskFile, OsDisk};
pub use error::OpenError;
pub use expected::{Expected, Reader as ExpectedReader};
pub use format::{MAX_RECORD, RecordView, Total, crc32c};
pub use headroom::{Headroom, Relieves};
pub use losses::{Loss, read as read_losses};
pub use prepare::{RandomFn, least_bytes};
pub use reader::{LogReader, ReadError};
pub use record::{Durable, NewRecord, Sink, bare_len};
pub use recovery::Report;
pub use repair::{Repair, RepairError};
pub use restored::restored;
pub use shared::{BatchStats, Observer};
pub use stat::Stat;
pub use verify::{FileReport, Verification, verify, verify_seen};

use crate::event::Position;
use format::LabelCount;
use live::Segments;
use shared::{Shared, Spares};
use writer::{Writer, lock};

/// How a journal is kept.
#[derive(Clone)]
pub struct Options {
    /// Its directory.
    pub dir: PathBuf,
    /// Bytes of one segment file, a multiple of 4,096.
    pub segment_bytes: u64,
    /// Bytes that needed segments and prepared files may take together.
    pub max_bytes: u64,
    /// Bytes of segments that are kept for replay only …
    pub retain_bytes: u64,
    /// … and how long they are kept.
    pub retain_age: Duration,
    /// The epoch of a journal that is begun, at least 1: drawn at random, so that no two servers give the
    /// same position.
    pub first_epoch: u32,
    /// Microseconds since the Unix epoch.
    pub clock: fn() -> i64,
    /// Unpredictable bytes for segment ids.
    pub random: RandomFn,
    /// Told of every batch.
    pub observer: Observer,
}

/// A journal that was opened and recovered, and does not write yet.
pub struct Opened {
    disk: Arc<dyn Disk>,
    options: Options,
    found: recovery::Recovered,
}

impl Opened {
    /// Opens and recovers, and holds what is there against what is expected.
    pub fn open(
        disk: Arc<dyn Disk>,
        options: Options,
        expected: impl Into<Expected>,
    ) -> Result<Self, OpenError> {
        let (now, expected) = ((options.clock)(), expected.into());
        let mut found =
            recovery::open(&disk, &options.dir, &expected, options.segment_bytes, now, options.random)?;
        if (found.next, found.epoch) == (1, 1) {
            found.epoch = options.first_epoch;
        }
        Ok(Self { disk, options, found })
    }

    /// What opening found.
    pub fn report(&self) -> &Report {
        &self.found.report
    }

    /// The next offset to be given.
    pub fn next(&self) -> u64 {
        self.found.next
    }

    /// The epoch of what will be written.
    pub fn epoch(&self) -> u32 {
        self.found.epoch
    }

    /// The first offset that can be read; the next one to be given if there is none.
    pub fn first(&self) -> u64 {
        self.found.segments.first().map_or(self.found.next, |s| s.known().first)
    }

    /// A reader over what was found, before anything is written.
    pub fn reader<T>(&self, offset: u64) -> LogReader<T> {
        let segments = Segments::new(self.found.segments.clone());
        let Options { clock, observer, .. } = &self.options;
        let shared = Shared::new(segments, Spares::default(), self.found.next, *clock, Arc::clone(observer));
        LogReader::new(Arc::new(shared), offset)
    }

    /// What the records with each label ever came to.
    pub fn totals(&self) -> &BTreeMap<u32, Total> {
        &self.found.totals
    }

    /// Starts the writer and the preparing thread. `sink` gets every durable batch.
    pub fn start<T: Send + 'static>(self, sink: Arc<dyn Sink<T>>) -> io::Result<Journal<T>> {
        let Self { disk, options, found } = self;
        let spares = Spares { ready: found.ready, next_number: found.next_number, ..Spares::default() };
        let segments = Segments::new(found.segments);
        let shared =
            Arc::new(Shared::new(segments, spares, found.next, options.clock, Arc::clone(&options.observer)));
        let (active, pos) = found.active.map_or((None, 0), |(segment, pos)| (Some(segment), pos));
        let epoch = found.epoch;
        let writer = Writer {
            shared: Arc::clone(&shared),
            sink,
            sealed: true,
            active,
            pos,
            epoch: found.epoch,
            next: found.next,
            totals: found.totals,
            buf: Vec::new(),
        };
        found.report.damage.iter().for_each(|damage| shared.note_damage(damage));
        let compactor = compact::Compactor {
            shared: Arc::clone(&shared),
            disk: Arc::clone(&disk),
            dir: options.dir.clone(),
            segment_bytes: options.segment_bytes,
            max_bytes: options.max_bytes,
            retain_bytes: options.retain_bytes,
            retain_age: options.retain_age,
            random: options.random,
            avoid: HashSet::new(),
        };
        let preparer = prepare::Preparer {
            shared: Arc::clone(&shared),
            disk,
            dir: options.dir.clone(),
            segment_bytes: options.segment_bytes,
            max_bytes: options.max_bytes,
            retain_bytes: options.retain_bytes,
            retain_age: options.retain_age,
            random: options.random,
            recycled: found.recycled,
            going: None,
            serial: 0,
        };
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.into()).spawn(run)
        };
        let threads = vec![
            spawn("journal-prepare", Box::new(move || preparer.run()))?,
            spawn("journal-compact", Box::new(move || compactor.run()))?,
            spawn("journal-write", Box::new(move || writer.run()))?,
        ];
        Ok(Journal { shared, options, epoch, threads: Mutex::new(threads) })
    }
}

/// A running journal.
pub struct Journal<T> {
    shared: Arc<Shared<T>>,
    options: Options,
    epoch: u32,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl<T: Send + 'static> Journal<T> {
    /// Appends one record. Durable and published to the sink when it returns; an error says that nobody
    /// knows.
    ///
    /// Not cancel safe in effect: the record stays on its way when the caller goes away.
    pub async fn append(&self, record: NewRecord<T>) -> Result<u64, String> {
        let (ticket, index) = self.shared.push(record)?;
        Ok(ticket.done().await? + index)
    }

    /// The epoch of what is written.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// A reader that begins at `offset`.
    pub fn reader(&self, offset: u64) -> LogReader<T> {
        LogReader::new(Arc::clone(&self.shared), offset)
    }

    /// One above the last durable offset, now and whenever it moves.
    pub fn durable_end(&self) -> watch::Receiver<u64> {
        self.shared.subscribe()
    }

    /// How many files stand ready for the next segments, now and whenever it changes.
    pub fn prepared(&self) -> watch::Receiver<usize> {
        self.shared.ready.subscribe()
    }

    /// Why no file can be prepared now, and whenever it changes.
    pub fn blocked(&self) -> watch::Receiver<Option<String>> {
        self.shared.blocked.subscribe()
    }

    /// How many segments were given up since the start, now and whenever it changes.
    pub fn trimmed(&self) -> watch::Receiver<u64> {
        self.shared.trimmed.subscribe()
    }

    /// How often segments were compacted to the end since the start, now and whenever it changes.
    pub fn compacted(&self) -> watch::Receiver<u64> {
        self.shared.compacted.subscribe()
    }

    /// How often compaction had a look and found nothing more to do, now and whenever it changes.
    pub fn compactor_looks(&self) -> watch::Receiver<u64> {
        self.shared.looks.subscribe()
    }

    /// Why the journal failed, once it did: from then on nothing is acknowledged.
    pub fn failed(&self) -> watch::Receiver<Option<String>> {
        self.shared.failed()
    }

    /// What was durable and cannot be read, as far as the opening or a reader noticed, now and whenever more
    /// is found.
    pub fn damage(&self) -> watch::Receiver<Vec<Damage>> {
        self.shared.damage()
    }

    /// From now on segments are compacted by what `needed` says. It is asked on a thread of its own.
    pub fn compact_by(&self, needed: NeededFn) {
        lock(&self.shared.poke).needed = Some(needed);
        self.shared.poke();
    }

    /// Nobody needs what is below `floor` any more. Only what is durable elsewhere may raise it.
    ///
    /// Also the moment in which compaction has a look: something that is needed became durable elsewhere.
    pub fn trim(&self, floor: u64) {
        self.shared.poke();
        let mut spares = lock(&self.shared.spares);
        if floor > spares.floor {
            spares.floor = floor;
            spares.dirty = true;
            drop(spares);
            self.shared.spares_changed.notify_all();
            self.shared.note_needed(floor);
        }
    }

    /// What the records with this label came to before the first one that can be read.
    pub fn total_before(&self, label: u32) -> Total {
        let first = self.shared.segments.all().into_iter().next();
        first.and_then(|s| s.known().totals_before.get(&label).copied()).unwrap_or_default()
    }

    /// An offset at or above `from` below which no record has this label: exact to about 128 KiB where the
    /// segment was written or read in this life, else to the segment. None: no record at or above `from`
    /// has it.
    pub fn next_with_label(&self, label: u32, from: u64) -> Option<u64> {
        // Whose a lost record was, nobody knows: who reads there is told.
        let lost = self.lost_from(from);
        let found = self.labelled_from(label, from);
        found.into_iter().chain(lost).min()
    }

    /// The first offset at or above `from` that is known to be lost, if any is.
    pub fn lost_from(&self, from: u64) -> Option<u64> {
        self.shared.lost_from(from)
    }

    fn labelled_from(&self, label: u32, from: u64) -> Option<u64> {
        let mut at = from;
        for segment in self.shared.segments.all() {
            let known = segment.known();
            // Offsets that no file holds are never passed over: who reads there is told what is missing.
            if known.first > at {
                return Some(at);
            }
            if let Some(next) = known.next_with_label(label, at) {
                return Some(next);
            }
            at = at.max(known.end);
        }
        None
    }

    /// Bytes of segments that somebody still needs, as of the last time that a segment was begun or given up:
    /// costs one load.
    pub fn needed_bytes(&self) -> u64 {
        self.shared.needed_bytes.load(Ordering::Acquire)
    }

    /// Writes what was handed over, closes in order, and ends the threads.
    pub fn stop(&self) {
        self.shared.ask_to_stop();
        for thread in lock(&self.threads).drain(..) {
            // A thread that panicked has said so already; the journal on disk is whole either way.
            let _ = thread.join();
        }
    }
}

impl<T> Drop for Journal<T> {
    fn drop(&mut self) {
        self.shared.ask_to_stop();
    }
}

/// The position of a record that was read.
pub fn position(view: &RecordView<'_>) -> Position {
    Position { epoch: view.epoch, offset: view.offset }
}

/// A row of an opening: only the total means something there.
fn total_only(total: Total) -> LabelCount {
    LabelCount { total, ..LabelCount::default() }
}

#[cfg(test)]
mod tests;
