//! What the journal's threads and callers share: the waiting records, the durable end, the segments, the
//! spare files.
//!
//! Two locks, never held together with each other or across a system call: `pending` (records on their way
//! in) and `spares` (prepared files). The segment list has a lock of its own, taken last and held only to
//! copy out of it.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::compact::NeededFn;
use super::damage::Damage;
use super::live::Segments;
use super::record::NewRecord;
use super::segment::Segment;
use super::ticket::Ticket;
use super::writer::lock;

struct Pending<T> {
    records: Vec<NewRecord<T>>,
    ticket: Arc<Ticket>,
    stopping: bool,
    poisoned: Option<String>,
}

/// What the writer does next.
pub(super) enum Take<T> {
    /// Write these, then finish the ticket.
    Records(Vec<NewRecord<T>>, Arc<Ticket>),
    /// Nothing waits, and the last batch is not a seal.
    Idle,
    /// Everything is written: end in order.
    Stop,
}

/// The prepared files, and what the preparing thread must know.
#[derive(Default)]
pub(super) struct Spares {
    /// Ready for the writer, in number order.
    pub(super) ready: VecDeque<Arc<Segment>>,
    /// The writer has taken one that is not among the live segments yet.
    pub(super) taken: bool,
    /// The number of the next file to prepare.
    pub(super) next_number: u64,
    /// Everything below this offset is not needed by anybody.
    pub(super) floor: u64,
    /// Something may be done: the floor rose, a file was taken, or it is time to stop.
    pub(super) dirty: bool,
    pub(super) stopping: bool,
    /// Why no file can be prepared now, for people.
    pub(super) blocked: Option<String>,
}

/// What the compacting thread waits for.
#[derive(Default)]
pub(super) struct Poke {
    /// Says what readers need; none until the queue knows all of them.
    pub(super) needed: Option<NeededFn>,
    pub(super) dirty: bool,
    pub(super) stopping: bool,
}

/// How the journal did, for metrics. Durations of the last batch, totals since start.
#[derive(Debug, Clone, Copy, Default)]
pub struct BatchStats {
    /// Records in the batch.
    pub records: usize,
    /// How long the write took.
    pub write: Duration,
    /// How long the sync took.
    pub sync: Duration,
}

/// Told of every batch on the writer thread.
pub type Observer = Arc<dyn Fn(BatchStats) + Send + Sync>;

pub(super) struct Shared<T> {
    pending: Mutex<Pending<T>>,
    arrived: Condvar,
    /// One above the last offset that is durable and published.
    pub(super) durable_end: AtomicU64,
    announced: watch::Sender<u64>,
    /// For blocking readers: locked only to sleep and to wake.
    sleepers: Mutex<()>,
    woken: Condvar,
    pub(super) segments: Segments,
    /// Bytes of segments that somebody still needs.
    pub(super) needed_bytes: AtomicU64,
    pub(super) spares: Mutex<Spares>,
    pub(super) spares_changed: Condvar,
    /// Prepared files now, for whoever must not lock.
    pub(super) ready: watch::Sender<usize>,
    /// Why no file can be prepared now; the same as in `spares`, for whoever waits for it.
    pub(super) blocked: watch::Sender<Option<String>>,
    /// How many segments were given up since the start.
    pub(super) trimmed: watch::Sender<u64>,
    failed: watch::Sender<Option<String>>,
    /// Held while files of live segments are renamed or removed: trimming and compaction exclude each other.
    pub(super) layout: Mutex<()>,
    /// Held from the question what is needed to the end of what follows from the answer.
    pub(super) compacting: Mutex<()>,
    pub(super) poke: Mutex<Poke>,
    pub(super) poked: Condvar,
    /// How often the compacting thread came to an end of what there was to do, and how often it replaced
    /// segments.
    pub(super) looks: watch::Sender<u64>,
    pub(super) compacted: watch::Sender<u64>,
    /// What was durable and cannot be read, as far as anybody noticed.
    damage: watch::Sender<Vec<Damage>>,
    ended: AtomicBool,
    /// Microseconds since the Unix epoch; for people, never for order.
    pub(super) clock: fn() -> i64,
    observer: Observer,
    last_write_ns: AtomicU64,
    last_sync_ns: AtomicU64,
}

impl<T> Shared<T> {
    pub(super) fn new(
        segments: Segments,
        spares: Spares,
        end: u64,
        clock: fn() -> i64,
        observer: Observer,
    ) -> Self {
        let ready = spares.ready.len();
        Self {
            pending: Mutex::new(Pending {
                records: Vec::new(),
                ticket: Ticket::new(),
                stopping: false,
                poisoned: None,
            }),
            arrived: Condvar::new(),
            durable_end: AtomicU64::new(end),
            announced: watch::Sender::new(end),
            sleepers: Mutex::new(()),
            woken: Condvar::new(),
            needed_bytes: AtomicU64::new(needed_bytes(&segments.all(), spares.floor)),
            segments,
            spares: Mutex::new(spares),
            spares_changed: Condvar::new(),
            ready: watch::Sender::new(ready),
            blocked: watch::Sender::new(None),
            trimmed: watch::Sender::new(0),
            failed: watch::Sender::new(None),
            layout: Mutex::default(),
            compacting: Mutex::default(),
            poke: Mutex::default(),
            poked: Condvar::new(),
            looks: watch::Sender::new(0),
            compacted: watch::Sender::new(0),
            damage: watch::Sender::new(Vec::new()),
            ended: AtomicBool::new(false),
            clock,
            observer,
            last_write_ns: AtomicU64::new(0),
            last_sync_ns: AtomicU64::new(0),
        }
    }

    /// Hands a record to the writer: from here on nothing takes it back.
    pub(super) fn push(&self, record: NewRecord<T>) -> Result<(Arc<Ticket>, u64), String> {
        let mut pending = lock(&self.pending);
        if let Some(why) = &pending.poisoned {
            return Err(why.clone());
        }
        if pending.stopping {
            return Err("the journal is closed".to_owned());
        }
        let index = pending.records.len() as u64;
        pending.records.push(record);
        let ticket = Arc::clone(&pending.ticket);
        drop(pending);
        if index == 0 {
            self.arrived.notify_one();
        }
        Ok((ticket, index))
    }

    /// Takes everything that waits, or says what else there is to do.
    pub(super) fn take(&self, sealed: bool) -> Take<T> {
        let mut pending = lock(&self.pending);
        loop {
            if !pending.records.is_empty() {
                let capacity = pending.records.len();
                let records = std::mem::replace(&mut pending.records, Vec::with_capacity(capacity));
                let ticket = std::mem::replace(&mut pending.ticket, Ticket::new());
                return Take::Records(records, ticket);
            }
            if pending.stopping {
                return Take::Stop;
            }
            if !sealed {
                return Take::Idle;
            }
            pending = self.arrived.wait(pending).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Answers everyone who waits for the records that were taken with this ticket.
    pub(super) fn finish(&self, ticket: &Ticket, first: Result<u64, String>) {
        ticket.finish(first);
    }

    /// Moves the durable end and wakes every reader.
    pub(super) fn advance(&self, end: u64) {
        self.durable_end.store(end, Ordering::Release);
        self.announced.send_replace(end);
        drop(lock(&self.sleepers));
        self.woken.notify_all();
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.announced.subscribe()
    }

    /// Blocks until the durable end is above `seen`, the journal ended, or `wait` passed; says the durable
    /// end.
    pub(super) fn wait_beyond(&self, seen: u64, wait: Duration) -> u64 {
        let guard = lock(&self.sleepers);
        let quiet = |_: &mut ()| {
            self.durable_end.load(Ordering::Acquire) <= seen && !self.ended.load(Ordering::Acquire)
        };
        drop(self.woken.wait_timeout_while(guard, wait, quiet).unwrap_or_else(PoisonError::into_inner));
        self.durable_end.load(Ordering::Acquire)
    }

    pub(super) fn ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// After a failed write or sync nothing is acknowledged any more, by anybody.
    pub(super) fn poison(&self, why: &str) {
        let (records, ticket) = {
            let mut pending = lock(&self.pending);
            pending.poisoned = Some(why.to_owned());
            (std::mem::take(&mut pending.records), std::mem::replace(&mut pending.ticket, Ticket::new()))
        };
        drop(records);
        ticket.finish(Err(why.to_owned()));
        self.failed.send_replace(Some(why.to_owned()));
        self.end();
    }

    pub(super) fn stopped(&self, error: Option<io::Error>) {
        if let Some(e) = error {
            self.failed.send_replace(Some(format!("the journal cannot be closed: {e}")));
        }
        self.end();
    }

    fn end(&self) {
        self.ended.store(true, Ordering::Release);
        drop(lock(&self.sleepers));
        self.woken.notify_all();
        self.announced.send_modify(|_| {});
    }

    pub(super) fn failed(&self) -> watch::Receiver<Option<String>> {
        self.failed.subscribe()
    }

    /// Damage as it is known, now and whenever more is found.
    pub(super) fn damage(&self) -> watch::Receiver<Vec<Damage>> {
        self.damage.subscribe()
    }

    /// The first offset at or above `from` that is known to be lost.
    pub(super) fn lost_from(&self, from: u64) -> Option<u64> {
        let known = self.damage.borrow();
        let lost = known.iter().filter(|damage| damage.to >= damage.from.max(from));
        lost.map(|damage| damage.from.max(from)).min()
    }

    /// Notes damage that a reader or the opening met, once.
    pub(super) fn note_damage(&self, found: &Damage) {
        self.damage.send_if_modified(|known| {
            if known.iter().any(|d| d.from <= found.from && found.to <= d.to && d.file == found.file) {
                return false;
            }
            tracing::error!("the journal is damaged: {found}; see `tidings journal verify`");
            known.push(found.clone());
            true
        });
    }

    /// The compacting thread has a look.
    pub(super) fn poke(&self) {
        lock(&self.poke).dirty = true;
        self.poked.notify_all();
    }

    pub(super) fn ask_to_stop(&self) {
        lock(&self.poke).stopping = true;
        self.poked.notify_all();
        lock(&self.pending).stopping = true;
        self.arrived.notify_all();
        let mut spares = lock(&self.spares);
        spares.stopping = true;
        spares.dirty = true;
        drop(spares);
        self.spares_changed.notify_all();
    }

    /// The next prepared file; waits for one, since records that were handed over are never refused.
    pub(super) fn next_prepared(&self) -> io::Result<Arc<Segment>> {
        let mut spares = lock(&self.spares);
        loop {
            if let Some(segment) = spares.ready.pop_front() {
                spares.dirty = true;
                spares.taken = true;
                self.ready.send_replace(spares.ready.len());
                drop(spares);
                self.spares_changed.notify_all();
                return Ok(segment);
            }
            if spares.stopping {
                return Err(io::Error::other("closed while waiting for space for the next segment"));
            }
            spares = self.spares_changed.wait(spares).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A segment that was prepared is live: readers may look for its offsets.
    pub(super) fn put_live(&self, segment: Arc<Segment>) {
        let mut spares = lock(&self.spares);
        self.segments.push(segment);
        spares.taken = false;
        let floor = spares.floor;
        drop(spares);
        self.note_needed(floor);
    }

    /// Segments or their floor changed: counts anew what is needed.
    pub(super) fn note_needed(&self, floor: u64) {
        self.needed_bytes.store(needed_bytes(&self.segments.all(), floor), Ordering::Release);
    }

    pub(super) fn timed_write(&self, work: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        timed(&self.last_write_ns, work)
    }

    pub(super) fn timed_sync(&self, work: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        timed(&self.last_sync_ns, work)
    }

    pub(super) fn count(&self, group: &[NewRecord<T>]) {
        (self.observer)(BatchStats {
            records: group.len(),
            write: Duration::from_nanos(self.last_write_ns.load(Ordering::Relaxed)),
            sync: Duration::from_nanos(self.last_sync_ns.load(Ordering::Relaxed)),
        });
    }
}

/// Bytes of segments that are written, or hold something at or above `floor`.
pub(super) fn needed_bytes(segments: &[Arc<Segment>], floor: u64) -> u64 {
    let needed = |s: &&Arc<Segment>| s.known().closed_us.is_none() || s.known().end > floor;
    segments.iter().filter(needed).map(|s| s.file_len).sum()
}

/// Runs `work` and notes how long it took. Measured for metrics only.
fn timed(into: &AtomicU64, work: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let began = Instant::now();
    let result = work();
    into.store(began.elapsed().as_nanos() as u64, Ordering::Relaxed);
    result
}
