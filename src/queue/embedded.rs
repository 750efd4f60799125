//! The embedded queue: one partition over the journal in the data directory.
//!
//! Must never answer before the journal said durable, and never let the journal trim what a synced row still
//! needs.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{Semaphore, watch};

use super::admit::{self, LogUse};
use super::budget::OverBudget;
use super::dead::{self, DeadLetters, ReaderLedger};
use super::dispatcher::{self, Routes};
use super::entry::{Entry, Stored, TargetNo};
use super::feed::{Charges, EmbeddedFeed};
use super::keeper::Flushed;
use super::progress::{Progress, Row, Totals};
use super::read::{Read, read_log};
use super::reader::EmbeddedReader;
use super::rematch::RematchFn;
use super::replay::Back;
use super::rows::{self, RowFile};
use super::tail::Tail;
use super::{AppendError, Feed, Full, OpenError, Permit, Publish, Queue, ReadError, Reader, codec};
use crate::event::Position;
use crate::fail;
use crate::journal::{self, Damage, Disk, Durable, Expected, Journal, NewRecord, Opened, Sink, Stat, Total};

/// The record type of an entry.
const ENTRY: u8 = 1;

/// How the embedded queue is kept.
#[derive(Clone)]
pub struct Options {
    /// The journal.
    pub journal: journal::Options,
    /// Where the rows are.
    pub progress_dir: PathBuf,
    /// Changes that are durable and not yet applied to the index may hold this much memory.
    pub overlay_bytes: u64,
    /// The newest entries stay decoded up to this much.
    pub tail_bytes: u64,
    /// How long a change waits for space before [`Full`].
    pub reserve_timeout: Duration,
}

/// Why the queue cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The journal cannot be opened.
    #[error(transparent)]
    Journal(#[from] journal::OpenError),
    /// The progress rows cannot be read.
    #[error("progress: {0}")]
    Rows(String),
    /// The disk failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// What the writer thread hands to the sink with each durable record.
pub(super) struct Item {
    entry: Entry,
    charge: u32,
}

/// An open queue.
pub struct EmbeddedQueue {
    pub(super) inner: Arc<Inner>,
    threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
}

pub(super) struct Inner {
    pub(super) journal: Journal<Item>,
    pub(super) tail: Arc<Tail>,
    pub(super) routes: Arc<Routes>,
    pub(super) options: Options,
    pub(super) disk: Arc<dyn Disk>,
    /// The space kept back for a full disk is in use.
    pub(super) short: Option<watch::Receiver<bool>>,
    pub(super) overlay: Arc<Semaphore>,
    pub(super) charges: Arc<Charges>,
    open: Mutex<HashSet<TargetNo>>,
    rows: Mutex<Vec<(Arc<Progress>, RowFile)>>,
    pub(super) dead: Mutex<HashMap<TargetNo, DeadLetters>>,
    pub(super) checkpoint: AtomicU64,
    /// Targets that are going back, and how far: nothing from there on may go.
    rewinding: Mutex<std::collections::BTreeMap<u32, Back>>,
    pub(super) rematch: std::sync::OnceLock<RematchFn>,
    /// Every registered reader was added: until then nobody knows what is needed, and nothing is trimmed.
    pub(super) complete: AtomicBool,
    /// Why changes are refused although there is space.
    pub(super) held: watch::Sender<Option<String>>,
    /// Raised to ask for rows now; the value that was served comes back in `flushed`.
    pub(super) wanted: watch::Sender<u64>,
    pub(super) flushed: watch::Sender<Flushed>,
    pub(super) failed: watch::Sender<Option<String>>,
    pub(super) stopping: watch::Sender<bool>,
    opened_totals: std::collections::BTreeMap<u32, Total>,
}

/// Puts each durable batch where readers look: books, store, tail.
struct QueueSink {
    charges: Arc<Charges>,
    store: Arc<dyn Publish>,
    tail: Arc<Tail>,
    routes: Arc<Routes>,
}

impl Sink<Item> for QueueSink {
    fn publish(&self, batch: Vec<Durable<Item>>) {
        let batch: Vec<Arc<Stored>> = batch
            .into_iter()
            .map(|d| {
                let Item { entry, charge } = d.item;
                Arc::new(Stored { position: d.position, entry, body: d.body, bare: d.bare_len, charge })
            })
            .collect();
        self.routes.count_matched(&batch);
        self.charges.push(&batch);
        self.store.publish(&batch);
        self.tail.push(&batch);
    }
}

impl EmbeddedQueue {
    /// Opens and recovers the journal and starts dispatching. `applied` is the store's synced checkpoint: one
    /// above the last offset it has. Must be called inside a Tokio runtime.
    pub fn open(
        disk: Arc<dyn Disk>,
        options: Options,
        applied: u64,
        store: Arc<dyn Publish>,
    ) -> Result<Self, StartError> {
        journal::disk::make_dir(&*disk, &options.progress_dir)?;
        journal::disk::make_dir(&*disk, &dead::dir_beside(&options.progress_dir))?;
        let rows_end =
            rows::proven_end(&*disk, &options.progress_dir).map_err(|e| StartError::Rows(e.to_string()))?;
        // Readers say themselves what they miss: whose rows are of targets that are still there is known
        // later.
        let expected = Expected { end: rows_end, applied: Some(applied), ..Expected::default() };
        let opened = Opened::open(Arc::clone(&disk), options.journal.clone(), expected)?;
        if !opened.report().clean && opened.next() > 1 {
            tracing::info!(
                copied = opened.report().copied,
                epoch = opened.epoch(),
                "the journal was not closed in order; its tail was checked and copied"
            );
        }
        let routes = Arc::new(Routes::new(opened.next()));
        let tail = Arc::new(Tail::new(usize::try_from(options.tail_bytes).unwrap_or(usize::MAX)));
        let charges = Arc::<Charges>::default();
        let sink = Arc::new(QueueSink {
            charges: Arc::clone(&charges),
            store,
            tail: Arc::clone(&tail),
            routes: Arc::clone(&routes),
        });
        let opened_totals = opened.totals().clone();
        let journal = opened.start(sink as Arc<dyn Sink<Item>>)?;
        let permits =
            usize::try_from(options.overlay_bytes).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        let inner = Arc::new(Inner {
            journal,
            tail,
            routes,
            short: disk.short(),
            disk,
            overlay: Arc::new(Semaphore::new(permits)),
            charges,
            open: Mutex::default(),
            rows: Mutex::default(),
            dead: Mutex::default(),
            checkpoint: AtomicU64::new(applied),
            rewinding: Mutex::default(),
            rematch: std::sync::OnceLock::new(),
            complete: AtomicBool::new(false),
            held: watch::Sender::new(None),
            wanted: watch::Sender::new(0),
            flushed: watch::Sender::default(),
            failed: watch::Sender::new(None),
            stopping: watch::Sender::new(false),
            opened_totals,
            options,
        });
        let keeper = Arc::downgrade(&inner);
        inner.journal.compact_by(Arc::new(move || keeper.upgrade()?.needed()));
        inner.start_dispatching();
        let keeper = Arc::clone(&inner);
        let runtime = tokio::runtime::Handle::current();
        let thread = std::thread::Builder::new()
            .name("progress".into())
            .spawn(move || runtime.block_on(keeper.keep_rows()))?;
        Ok(Self { inner, threads: Mutex::new(vec![thread]) })
    }

    /// The store's own reader, from `from` on.
    pub fn feed(&self, from: u64) -> Box<dyn Feed> {
        Box::new(EmbeddedFeed::new(Arc::clone(&self.inner), from))
    }

    /// Registers the reader of a target that begins at `since`, so that its books count and the log is kept
    /// for it.
    ///
    /// Must be called for every target in the registry before changes are accepted.
    pub fn add_reader(&self, target: TargetNo, since: u64) -> Result<Arc<Progress>, OpenError> {
        if let Some(progress) = self.inner.routes.get(target) {
            return Ok(progress);
        }
        let inner = &self.inner;
        let io = |e| OpenError::Io(target, e);
        let dir = &inner.options.progress_dir;
        let row = rows::read(&*inner.disk, dir, target)
            .map_err(|e| OpenError::Io(target, std::io::Error::other(e.to_string())))?;
        let total = |label| inner.opened_totals.get(&label).copied().unwrap_or_default();
        let (matched, shed) = (total(target.0), total(target.0 | codec::SHED).count);
        let random = inner.options.journal.random;
        let dead_dir = dead::dir_beside(dir);
        let mut opened =
            dead::Opened::open(Arc::clone(&inner.disk), &dead_dir, target, random).map_err(io)?;
        let mut row = row.unwrap_or_else(|| self.first_row(target, since, &opened));
        self.pass_trimmed(target, &mut row);
        let joined = opened.join(&mut row);
        let progress = Progress::new(target, &row, matched, shed, &inner.routes).with_dead(&joined);
        let progress = Arc::new(progress);
        let file = RowFile::create(&*inner.disk, dir, target, &row).map_err(io)?;
        inner.rows().push((Arc::clone(&progress), file));
        let ledger = ReaderLedger { progress: Arc::clone(&progress), inner: Arc::downgrade(inner) };
        let letters = DeadLetters::start(opened, target, joined.missing, Arc::new(ledger));
        inner.dead.lock().unwrap_or_else(PoisonError::into_inner).insert(target, letters);
        if row.replay.is_some() {
            progress.pass_over(inner.dead_offsets(target).map_err(io)?);
        }
        inner.routes.add(Arc::clone(&progress));
        // Behind damage nobody knows whether there was something for it.
        if inner.journal.lost_from(row.position).is_none() {
            inner.routes.attach_idle(&progress);
        }
        Ok(progress)
    }

    /// Every target in the registry has its reader now: from here on the log is trimmed. What nobody needs
    /// cannot be known before.
    pub fn readers_complete(&self) {
        self.inner.complete.store(true, Ordering::Release);
        self.inner.remove_strays();
        self.inner.raise_floor();
    }

    /// Refuses changes (not settings) until it is called with none: the index cannot follow.
    pub fn hold(&self, why: Option<String>) {
        self.inner.held.send_replace(why);
    }

    /// How often segments were compacted to the end since the start, now and whenever it changes.
    pub fn compacted(&self) -> watch::Receiver<u64> {
        self.inner.journal.compacted()
    }

    /// What was durable and cannot be read, now and whenever more is found.
    pub fn damage(&self) -> watch::Receiver<Vec<Damage>> {
        self.inner.journal.damage()
    }

    /// The row of a target that was idle may stand below what is kept. If it took all that was ever for it
    /// before that, by the log's own count, it lacks nothing; else its reader must say what is missing.
    fn pass_trimmed(&self, target: TargetNo, row: &mut Row) {
        let first = self.inner.journal.stat().first;
        if row.position < first && self.inner.journal.total_before(target.0).count <= row.totals.taken {
            row.position = first;
        }
    }

    /// Where a reader without a valid row begins: its registration, or the first entry that is kept.
    fn first_row(&self, target: TargetNo, since: u64, dead: &dead::Opened) -> Row {
        let stat = self.inner.journal.stat();
        let position =
            if fail::mutant("no-row-starts-at-tail") { stat.durable_end } else { since.max(stat.first) };
        // What the log let go was settled before it was let go.
        let before =
            if position > since { self.inner.journal.total_before(target.0) } else { Total::default() };
        let Total { count, bytes } = before;
        let dead_lettered = dead.settled_below(position).min(count);
        let settled = Totals { taken: count, delivered: count - dead_lettered, ..Totals::default() };
        let totals = Totals { dead_lettered, taken_bytes: bytes, settled_bytes: bytes, ..settled };
        Row { durable_end: 0, position, totals, ..Row::default() }
    }

    /// The epoch of what is written now.
    pub fn epoch(&self) -> u32 {
        self.inner.journal.epoch()
    }

    /// What the journal holds now.
    pub fn stat(&self) -> Stat {
        self.inner.journal.stat()
    }

    /// Why the queue failed, once it did: the process must end with an error.
    pub fn failed(&self) -> (watch::Receiver<Option<String>>, watch::Receiver<Option<String>>) {
        (self.inner.journal.failed(), self.inner.failed.subscribe())
    }

    /// True while a change can be accepted durably.
    pub fn accepts(&self) -> bool {
        *self.inner.journal.prepared().borrow() >= 2
            && self.inner.held.borrow().is_none()
            && !self.inner.is_short()
            && self.inner.journal.failed().borrow().is_none()
    }

    /// Makes all progress durable and closes the journal in order.
    pub fn stop(&self) {
        self.inner.stopping.send_replace(true);
        for thread in self.threads.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = thread.join();
        }
        self.inner.journal.stop();
    }
}

#[async_trait]
impl Queue for EmbeddedQueue {
    fn partitions(&self) -> u32 {
        1
    }

    async fn reserve(&self, bytes: usize) -> Result<Permit, Full> {
        let deadline = self.inner.deadline();
        self.inner.wait_for_segments(2, deadline).await?;
        self.inner.wait_for_disk(deadline).await?;
        self.inner.wait_for_index(bytes, deadline).await
    }

    async fn reserve_removal(&self, bytes: usize) -> Result<Permit, Full> {
        let deadline = self.inner.deadline();
        // As a setting: what it frees is worth more than the headroom it takes.
        self.inner.wait_for_segments(1, deadline).await?;
        self.inner.wait_for_index(bytes, deadline).await
    }

    async fn reserve_setting(&self) -> Result<Permit, Full> {
        // The last prepared segment is headroom; what a setting takes of the overlay is too little to count.
        self.inner.wait_for_segments(1, self.inner.deadline()).await?;
        Ok(Permit { bytes: 0, held: None, charge: None })
    }

    fn admit(&self, permit: &mut Permit, entry: &mut Entry, shedding: &[TargetNo]) -> Result<(), OverBudget> {
        // What an earlier entry of the same permit was charged goes first.
        permit.charge = None;
        if !entry.deliveries.is_empty() {
            permit.charge = Some(admit::admit(&self.inner.routes, self.inner.log_use(), entry, shedding)?);
        }
        Ok(())
    }

    async fn append(&self, mut permit: Permit, entry: Entry, body: Bytes) -> Result<Position, AppendError> {
        let Some(body_crc) = entry.change.checked_body(&body) else {
            return Err(AppendError::Refused("the body is not the one that the entry names".to_owned()));
        };
        let charge = permit.charge.take().unwrap_or_else(|| admit::force(&self.inner.routes, &entry));
        let labels = codec::labels(&entry);
        let item = Item { entry, charge: permit.bytes };
        if charge.encoded_len() + body.len() > journal::MAX_RECORD {
            return Err(AppendError::Refused("the change is larger than a record may be".to_owned()));
        }
        // From here on the space belongs to the record: the index gives it back once it has applied it.
        if let Some(held) = permit.held.take() {
            held.forget();
        }
        let meta = charge.spend();
        let record = NewRecord { kind: ENTRY, labels, meta, body, body_crc, item };
        let offset = self.inner.journal.append(record).await.map_err(AppendError::Unknown)?;
        Ok(Position { epoch: self.inner.journal.epoch(), offset })
    }

    async fn open(&self, target: TargetNo, _partition: u32) -> Result<Box<dyn Reader>, OpenError> {
        let progress = self.inner.routes.get(target).ok_or(OpenError::Unregistered(target))?;
        if !self.inner.open_readers().insert(target) {
            return Err(OpenError::InUse(target));
        }
        Ok(Box::new(EmbeddedReader::new(Arc::clone(&self.inner), progress)))
    }
}

impl Inner {
    /// Starts the task that routes every durable entry.
    fn start_dispatching(self: &Arc<Self>) {
        let catch_up = {
            let inner = Arc::clone(self);
            Arc::new(move |from, max| inner.read_from(from, max, false)) as dispatcher::CatchUp
        };
        let dispatch = dispatcher::run(
            Arc::clone(&self.routes),
            Arc::clone(&self.tail),
            catch_up,
            self.journal.durable_end(),
            self.stopping.subscribe(),
        );
        let of_dispatch = Arc::clone(self);
        tokio::spawn(async move {
            // Without it every lane would wait for ever and nobody would know.
            if let Err(why) = dispatch.await {
                of_dispatch.failed.send_replace(Some(format!("dispatching stopped: {why}")));
            }
        });
    }

    pub(super) fn overlay_bytes(&self) -> u64 {
        self.options.overlay_bytes
    }

    pub(super) fn progress_dir(&self) -> &std::path::Path {
        &self.options.progress_dir
    }

    pub(super) fn rows(&self) -> MutexGuard<'_, Vec<(Arc<Progress>, RowFile)>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn rewinding(&self) -> MutexGuard<'_, std::collections::BTreeMap<u32, Back>> {
        self.rewinding.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn open_readers(&self) -> MutexGuard<'_, HashSet<TargetNo>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How full the log is, without the segments that stand ready.
    fn log_use(&self) -> LogUse {
        let journal::Options { max_bytes, segment_bytes, .. } = self.options.journal;
        LogUse { used: self.journal.needed_bytes(), of: max_bytes.saturating_sub(2 * segment_bytes) }
    }

    /// Reads entries from disk, in offset order, at most `max` (rounded up to a whole batch).
    pub(super) fn read_from(&self, from: u64, max: usize, bodies: bool) -> Result<Read, ReadError> {
        let mut log = self.journal.reader(from);
        read_log(&mut log, max, bodies)
    }
}
