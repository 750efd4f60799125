//! The index thread: brings durable entries from the queue into packs and index, and makes checkpoints.
//!
//! Must never let a change leave the overlay before the index shows it, never tell the queue of a checkpoint
//! that is not synced.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::Status;
use super::build::{self, Builder, Newest, Stays};
use super::index::{Batch, Edit, Space};
use super::pace::{Pace, Times};
use super::pack_writer::PackWriter;
use super::reclaim::Reclaim;
use super::restores;
use super::row::{self, BlobName};
pub(super) use super::shared::Shared;
use super::sweep::Sweep;
use super::tags;
use super::unread::{ASK_ENTRIES, Changed, REPLAY_EMPTY};
use super::usage::{Delta, Usage};
use super::version_rows::split_version_key;
use crate::fail;
use crate::journal::disk::is_no_space;
use crate::queue::{Feed, ReadError, Stored};
use crate::store::StoreError;

/// Entries applied in one transaction …
const BATCH_ENTRIES: usize = 4096;
/// … and at start, where nobody waits for a single one: the more, the more of them share a page.
const REPLAY_ENTRIES: usize = 32_768;
/// Bytes of bodies after which no more is asked for one batch.
const BATCH_BYTES: usize = 32 << 20;
/// How long a batch that is not full waits for more.
pub(super) const LINGER: Duration = Duration::from_millis(250);
/// How long one call to the feed waits for entries that were published already.
const FEED_WAIT: Duration = Duration::from_millis(250);
/// How long the replay at start waits for an entry, which is durable already if there is one.
const REPLAY_WAIT: Duration = Duration::from_millis(100);
/// How long the thread sleeps when there is nothing to do at all.
const IDLE: Duration = Duration::from_secs(3600);
/// How long it waits before it tries again on a full disk or a damaged journal.
pub(super) const RETRY: Duration = Duration::from_millis(500);

/// The index thread's own state.
pub(super) struct Applier {
    pub(super) shared: Arc<Shared>,
    pub(super) feed: Box<dyn Feed>,
    pub(super) builder: Builder,
    pub(super) usage: Usage,
    pub(super) sweep: Sweep,
    pub(super) reclaim: Reclaim,
    tail: u64,
    pub(super) tail_reached: bool,
    /// How often in a row the queue gave nothing.
    empty: u32,
    linger: Duration,
    pub(super) pace: Pace,
}

/// What the store found when it was opened, for the index thread.
pub(super) struct Idle {
    pub(super) packs: PackWriter,
    /// Blob files.
    pub(super) found: Vec<BlobName>,
    pub(super) usage: Usage,
}

/// Why the index thread ends.
pub(super) enum End {
    /// The store stops.
    Stopped,
    /// The index or a pack failed; only a restart helps.
    Failed(StoreError),
}

impl From<StoreError> for End {
    fn from(e: StoreError) -> Self {
        Self::Failed(e)
    }
}

impl Applier {
    pub(super) fn new(
        shared: Arc<Shared>,
        feed: Box<dyn Feed>,
        Idle { packs, found, usage }: Idle,
        times: Times,
    ) -> Self {
        shared.overlay.set_budget(feed.overlay_bytes());
        Self {
            tail: feed.durable_end(),
            tail_reached: false,
            empty: 0,
            shared,
            feed,
            builder: Builder { packs, batch: Batch::default(), stays: Stays::default() },
            usage,
            sweep: Sweep::new(found),
            reclaim: Reclaim::new(times.reclaim_rate),
            linger: times.linger,
            pace: Pace::new(times.checkpoint),
        }
    }

    /// Applies everything that is durable now, so that reads are complete before the first request.
    ///
    /// A damaged record ends it early: the status says so, and rows applied so far are served.
    pub(super) fn replay(&mut self) -> Result<(), StoreError> {
        while !self.tail_reached {
            if fail::mutant("blob-collected-early") {
                self.look_for_orphans();
                self.sweep();
            }
            // A checkpoint now would make everybody wait for its syncs; only a replay without end needs one.
            match self.take(REPLAY_WAIT).and_then(|()| self.checkpoint_if(self.pace.patience().is_zero())) {
                Ok(()) if self.is_stalled() => {
                    let next = self.shared.index.applied_next();
                    self.shared.unread.begin(Changed::behind(&mut *self.feed, next, self.tail));
                    break;
                }
                Ok(()) => {}
                Err(End::Stopped) => break,
                Err(End::Failed(e)) => return Err(e),
            }
        }
        Ok(())
    }

    /// Takes the next entries from the queue and applies them.
    fn take(&mut self, wait: Duration) -> Result<(), End> {
        if !self.tail_reached && self.reach_tail() {
            return Ok(());
        }
        match self.collect(wait) {
            Ok(entries) => {
                self.apply(&entries)?;
                // The last offsets may have been given up as lost: then nothing comes although the end is
                // above.
                self.empty = if entries.is_empty() { self.empty + 1 } else { 0 };
                self.reach_tail();
                self.set_status(Status::Running);
                Ok(())
            }
            Err(ReadError::Closed) => Err(End::Stopped),
            Err(e) => {
                self.set_status(Status::Stalled(e.to_string()));
                Ok(())
            }
        }
    }

    /// True once everything that was durable at the start is applied.
    fn reach_tail(&mut self) -> bool {
        let applied = self.shared.index.applied_next() >= self.tail || self.empty >= REPLAY_EMPTY;
        if applied && !std::mem::replace(&mut self.tail_reached, true) {
            self.shared.unread.end();
        }
        self.tail_reached
    }

    /// What waits in the queue, up to one batch. An error after the first entries shows itself again at the
    /// next call.
    fn collect(&mut self, wait: Duration) -> Result<Vec<Arc<Stored>>, ReadError> {
        let mut entries = self.feed.next(ASK_ENTRIES, wait)?;
        let mut bytes = entries.iter().map(|s| s.body.len()).sum::<usize>();
        let most = if self.tail_reached { BATCH_ENTRIES } else { REPLAY_ENTRIES };
        while !entries.is_empty() && entries.len() < most && bytes < BATCH_BYTES {
            let ask = ASK_ENTRIES.min(most - entries.len());
            match self.feed.next(ask, Duration::ZERO) {
                Ok(more) if !more.is_empty() => {
                    bytes += more.iter().map(|s| s.body.len()).sum::<usize>();
                    entries.extend(more);
                }
                _ => break,
            }
        }
        Ok(entries)
    }

    /// Runs until the store stops or fails; the last status says which.
    pub(super) fn run(mut self) {
        let end = loop {
            if let Err(end) = self.step() {
                break end;
            }
        };
        let end = match end {
            End::Stopped => self.last_steps().err().unwrap_or(End::Stopped),
            failed @ End::Failed(_) => failed,
        };
        let status = match end {
            End::Stopped => Status::Stopped,
            End::Failed(e) => {
                tracing::error!(error = %e, "the index thread ended");
                Status::Failed(e.to_string())
            }
        };
        self.shared.status.send_replace(status);
    }

    fn step(&mut self) -> Result<(), End> {
        let waiting = self.shared.overlay.wait_for_any(self.patience());
        if self.shared.overlay.stopping() {
            return Err(End::Stopped);
        }
        if waiting || self.is_stalled() || !self.tail_reached {
            self.shared.overlay.wait_for_batch(self.linger);
            self.take(FEED_WAIT)?;
            if self.is_stalled() {
                self.shared.overlay.pause(RETRY);
            }
        }
        self.reclaim(!waiting)?;
        self.checkpoint_if(self.pace.is_due(self.feed.segments_from(self.checkpointed())))?;
        self.sweep();
        Ok(())
    }

    pub(super) fn is_stalled(&self) -> bool {
        matches!(*self.shared.status.borrow(), Status::Stalled(_))
    }

    /// How long there is nothing to do unless entries come.
    fn patience(&self) -> Duration {
        let sweepable = self.sweep.has_work(self.checkpointed(), self.tail_reached);
        if sweepable || !self.tail_reached || self.is_stalled() {
            return Duration::ZERO;
        }
        let checkpoint = if self.is_dirty() { self.pace.patience() } else { IDLE };
        checkpoint.min(self.reclaim_patience().unwrap_or(IDLE))
    }

    /// Applies what is durable when the store stops, and makes the last checkpoint.
    fn last_steps(&mut self) -> Result<(), End> {
        let end = self.feed.durable_end();
        while self.shared.index.applied_next() < end {
            match self.collect(Duration::ZERO) {
                Ok(entries) if !entries.is_empty() => self.apply(&entries)?,
                _ => break,
            }
        }
        // Also for where the scrub stands.
        if self.is_dirty() || self.shared.scrub.moved() {
            self.checkpoint()?;
        }
        Ok(())
    }

    fn set_status(&self, status: Status) {
        self.shared.status.send_if_modified(|now| {
            let changed = *now != status;
            *now = status;
            changed
        });
    }

    pub(super) fn checkpointed(&self) -> u64 {
        self.shared.checkpointed.load(Ordering::Acquire)
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.reclaim.moved || self.shared.index.applied_next() > self.checkpointed()
    }

    /// Tells the counts to who asks.
    pub(super) fn publish_usage(&self) {
        *self.shared.bodies.lock().unwrap_or_else(PoisonError::into_inner) = self.usage.bytes();
    }

    fn apply(&mut self, entries: &[Arc<Stored>]) -> Result<(), End> {
        let known = self.shared.index.applied_next();
        let fresh = &entries[entries.partition_point(|s| s.position.offset < known)..];
        if let Some(last) = fresh.last() {
            let next = last.position.offset + 1;
            while !self.shared.index.relieve() {
                self.wait_for_space("the index")?;
            }
            self.apply_fresh(fresh, next)?;
        }
        self.shared.overlay.remove(entries);
        let charge = entries.iter().map(|s| u64::from(s.charge)).sum();
        self.pace.applied(entries.len());
        self.feed.applied(charge);
        Ok(())
    }

    fn apply_fresh(&mut self, fresh: &[Arc<Stored>], next: u64) -> Result<(), End> {
        let newest = Newest::of(fresh);
        let before = self.builder.packs.end();
        let mut superseded = loop {
            match self.builder.build(&*self.shared.index, fresh, &newest) {
                Ok(superseded) => break superseded,
                Err(StoreError::Io(e)) if is_no_space(&e) => {
                    self.builder.packs.rewind(before);
                    self.wait_for_space("a pack")?;
                }
                Err(e) => return Err(e.into()),
            }
        };
        let (owned, stays) = (self.builder.owned(), &self.builder.stays);
        let packs = &self.shared.packs;
        let mut beside = Vec::with_capacity(2);
        if tags::noted(&self.shared.overlay, &self.builder.batch) {
            beside.push(Space::Tags);
        }
        let restored = restores::noted(&self.shared.overlay, &self.builder.batch);
        if restored && !fail::mutant("restore-outlives-its-object") {
            beside.push(Space::Restores);
        }
        let mut delta = Delta::default();
        let mut watch = |edit: &Edit<'_>, more: &mut Batch| {
            delta.add(edit);
            let (true, Some(old)) = (edit.space.has_bodies(), edit.old) else { return };
            let version = split_version_key(edit.key).filter(|_| edit.space == Space::Versions);
            let (object, of) = match version {
                Some((object, of)) => (object, Some(of)),
                None => (edit.key, row::made_at(edit.key, old)),
            };
            if !stays.is_empty() && of.is_some_and(|of| stays.contains(&(object.into(), of))) {
                return;
            }
            if !beside.is_empty() {
                tags::remove_of_row(object, edit, &beside, more);
            }
            for name in build::owned_by_row(packs, edit.key, old) {
                if !owned.contains(&name) {
                    more.remove(Space::Blobs, &name);
                    superseded.push(name);
                }
            }
        };
        self.shared.index.apply(&self.builder.batch, next, &mut watch)?;
        if self.builder.batch.touches(Space::Buckets) {
            self.shared.overlay.known_buckets.changed();
        }
        for name in superseded {
            self.retire(next, name, delta.bytes_of(&name));
        }
        self.reclaim.named(delta.named());
        self.usage.add(&delta, self.builder.packs.end());
        self.publish_usage();
        let mut unowned = self.shared.blobs.unowned();
        delta.adopted.iter().for_each(|name| unowned.forget(name));
        Ok(())
    }

    fn wait_for_space(&self, what: &str) -> Result<(), End> {
        let text = format!("the disk has no space for {what}");
        tracing::warn!("{text}; the store waits for it, and reads go on");
        self.set_status(Status::NoSpace(text));
        if self.shared.overlay.pause(RETRY) {
            let full = io::Error::from(io::ErrorKind::StorageFull);
            return Err(End::Failed(StoreError::Io(full)));
        }
        Ok(())
    }
}
