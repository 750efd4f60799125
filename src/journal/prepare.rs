//! The preparing thread: makes segment files ready for the writer, and takes back those that nobody needs.
//!
//! A file is live only under its final name, and gets that name only after its header is synced: create or
//! take back under a temporary name → header → sync → rename → directory sync. Must never touch a segment
//! that somebody may still read.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::disk::{Disk, DiskFile};
use super::format::{BLOCK, SegmentHeader, SegmentId};
use super::segment::{Known, Segment, file_name};
use super::shared::Shared;
use super::writer::lock;
use crate::fail;

/// Files that stand ready beside the one being written: below two, changes wait; the third hides the time it
/// takes.
pub(super) const READY: usize = 3;
/// Zeros are written and synced in pieces of this size, so that the log's own syncs do not queue behind 64
/// MiB.
const ZERO_BYTES: usize = 1 << 20;
/// After a failed preparation the next try waits so long, unless something changes before.
const RETRY: Duration = Duration::from_secs(1);

/// Random bytes for segment ids.
pub type RandomFn = fn(&mut [u8]) -> io::Result<()>;

/// What the preparing thread works with.
pub(super) struct Preparer<T> {
    pub(super) shared: Arc<Shared<T>>,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    pub(super) segment_bytes: u64,
    pub(super) max_bytes: u64,
    pub(super) retain_bytes: u64,
    pub(super) retain_age: Duration,
    pub(super) random: RandomFn,
    /// Files taken back, under temporary names, ready to live again.
    pub(super) recycled: Vec<(PathBuf, Arc<dyn DiskFile>)>,
    /// Not live any more for readers, and its file not taken back yet: the next one must wait, or a number
    /// would be missing between the files.
    pub(super) going: Option<Arc<Segment>>,
    pub(super) serial: u64,
}

impl<T: Send + 'static> Preparer<T> {
    /// Runs until the journal stops.
    pub(super) fn run(mut self) {
        loop {
            let trimmed = self.trim();
            let prepared = trimmed.and_then(|()| self.prepare());
            let mut spares = lock(&self.shared.spares);
            spares.blocked = prepared.as_ref().err().map(ToString::to_string);
            self.shared.blocked.send_replace(spares.blocked.clone());
            // One that the end of the journal broke off is nobody's concern.
            if let Some(why) = spares.blocked.as_ref().filter(|_| !spares.stopping) {
                tracing::warn!("no file for the next journal segment: {why}");
            }
            let wait = if prepared.is_err() { Some(RETRY) } else { self.until_aged(spares.floor) };
            let changed = &self.shared.spares_changed;
            while !spares.dirty && !spares.stopping {
                let Some(wait) = wait else {
                    spares = changed.wait(spares).unwrap_or_else(PoisonError::into_inner);
                    continue;
                };
                let (guard, timeout) =
                    changed.wait_timeout(spares, wait).unwrap_or_else(PoisonError::into_inner);
                spares = guard;
                if timeout.timed_out() {
                    break;
                }
            }
            if spares.stopping {
                return;
            }
            spares.dirty = false;
        }
    }

    /// When the oldest segment that is kept for replay only becomes too old; none if there is no such
    /// segment.
    fn until_aged(&self, floor: u64) -> Option<Duration> {
        let all = self.shared.segments.all();
        let known = all.first().filter(|_| may_lose_oldest(&all))?.known();
        let closed = known.closed_us.filter(|_| known.end <= floor)?;
        let age = (self.shared.clock)().saturating_sub(closed).max(0).cast_unsigned();
        Some(self.retain_age.saturating_sub(Duration::from_micros(age)).max(Duration::from_millis(1)))
    }

    /// Makes files ready until [`READY`] stand by, within `max_bytes`.
    fn prepare(&mut self) -> io::Result<()> {
        loop {
            let number = {
                let spares = lock(&self.shared.spares);
                if spares.ready.len() >= READY || spares.stopping {
                    return Ok(());
                }
                spares.next_number
            };
            // Retention lies outside the budget: it counts only what somebody still needs. Under the lock, so
            // that the file which the writer is taking is counted once.
            let (in_use, ready) = {
                let spares = lock(&self.shared.spares);
                let floor = spares.floor;
                let needed = |s: &&Arc<Segment>| s.is_needed(floor);
                let all = self.shared.segments.all();
                let in_use: u64 = all.iter().filter(needed).map(|s| s.file_len).sum();
                (in_use, spares.ready.len() as u64 + u64::from(spares.taken))
            };
            if in_use + (ready + 1) * self.segment_bytes > self.max_bytes {
                return Err(io::Error::new(io::ErrorKind::StorageFull, "queue.max_bytes is reached"));
            }
            let segment = self.make(number)?;
            let mut spares = lock(&self.shared.spares);
            spares.ready.push_back(segment);
            spares.next_number = number + 1;
            self.shared.ready.send_replace(spares.ready.len());
            drop(spares);
            self.shared.spares_changed.notify_all();
        }
    }

    /// One file, taken back or new, live under its final name.
    fn make(&mut self, number: u64) -> io::Result<Arc<Segment>> {
        let (temporary, file) = match self.recycled.pop() {
            Some(old) => old,
            None => {
                let path = self.temporary();
                (path.clone(), self.disk.create(&path)?)
            }
        };
        let made = self.bring_to_life(number, &temporary, file);
        if made.is_err() {
            // A file whose write or sync failed is not tried again; gone already if the rename came first.
            let _ = self.disk.remove(&temporary);
        }
        made
    }

    fn bring_to_life(
        &mut self,
        number: u64,
        temporary: &Path,
        file: Arc<dyn DiskFile>,
    ) -> io::Result<Arc<Segment>> {
        if file.len()? < self.segment_bytes {
            self.zero(&*file)?;
        }
        let mut id = [0; 16];
        (self.random)(&mut id)?;
        let (id, len) = (SegmentId::new(id), self.segment_bytes);
        let header = SegmentHeader { id, first: number, last: number, partial: false, len };
        file.write_at(&header.encode(), 0)?;
        file.sync_data()?;
        let path = self.dir.join(file_name(number));
        fail::point("segment.roll.created");
        self.disk.rename(temporary, &path)?;
        if !fail::mutant("skip-dir-sync") {
            self.disk.sync_dir(&self.dir)?;
        }
        fail::point("segment.roll.dirsynced");
        Ok(Segment::new(header, path, file, self.segment_bytes, Known::default()))
    }

    fn temporary(&mut self) -> PathBuf {
        self.serial += 1;
        self.dir.join(format!("spare-{}.tmp", self.serial))
    }

    /// Zeros, written and not only allocated: a later write neither allocates nor changes metadata.
    fn zero(&self, file: &dyn DiskFile) -> io::Result<()> {
        let zeros = vec![0; ZERO_BYTES.min(self.segment_bytes as usize)];
        let mut at = 0;
        while at < self.segment_bytes {
            let n = (zeros.len() as u64).min(self.segment_bytes - at);
            file.write_at(&zeros[..n as usize], at)?;
            file.sync_data()?;
            at += n;
            if lock(&self.shared.spares).stopping {
                return Err(io::Error::other("the journal is closing"));
            }
        }
        Ok(())
    }

    /// Takes back closed segments from the old end that are below the floor and beyond retention.
    fn trim(&mut self) -> io::Result<()> {
        let now = (self.shared.clock)();
        let retain_us = i64::try_from(self.retain_age.as_micros()).unwrap_or(i64::MAX);
        let shared = Arc::clone(&self.shared);
        loop {
            let _layout = lock(&shared.layout);
            if let Some(going) = self.going.take() {
                let result = self.take_back(&going);
                if result.is_err() {
                    self.going = Some(going);
                    return result;
                }
            }
            // It may be lower than before: somebody wants to see again what was let go.
            let floor = lock(&shared.spares).floor;
            self.going = self.shared.segments.pop_oldest(|oldest, all| {
                let (closed, end) = oldest.close_and_end();
                let Some(closed) = closed else { return false };
                // Kept for replay while both bounds allow it: the bytes of everything newer, and the age.
                let kept: u64 = all.iter().filter(|s| s.known().end <= floor).map(|s| s.file_len).sum();
                let young = now.saturating_sub(closed) < retain_us && kept <= self.retain_bytes;
                end <= floor && !young && may_lose_oldest(all)
            });
            if self.going.is_none() {
                return Ok(());
            }
        }
    }

    /// Removes a segment, or keeps its file for another life.
    fn take_back(&mut self, segment: &Arc<Segment>) -> io::Result<()> {
        fail::point("segment.trim.cursor_synced");
        let wanted = READY.saturating_sub(lock(&self.shared.spares).ready.len());
        // A reader that still holds the segment keeps reading the unlinked file; only an unshared one may be
        // rewritten.
        let unshared = Arc::strong_count(segment) == 1 && Arc::strong_count(&segment.file) == 1;
        if unshared && segment.file_len == self.segment_bytes && self.recycled.len() < wanted.max(1) {
            let temporary = self.temporary();
            match self.disk.rename(&segment.path, &temporary) {
                Ok(()) => {
                    self.disk.sync_dir(&self.dir)?;
                    self.recycled.push((temporary, Arc::clone(&segment.file)));
                }
                // An earlier try came so far; its file goes at the next start.
                Err(e) if e.kind() == io::ErrorKind::NotFound => self.disk.sync_dir(&self.dir)?,
                Err(e) => return Err(e),
            }
        } else {
            match self.disk.remove(&segment.path) {
                // An earlier try came so far.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
            self.disk.sync_dir(&self.dir)?;
        }
        fail::point("segment.trim.unlinked");
        self.shared.trimmed.send_modify(|n| *n += 1);
        Ok(())
    }
}

/// True if a later segment has durable records. The last such one is never taken back, however little it is
/// needed: it knows the next offset and the counts.
fn may_lose_oldest(all: &[Arc<Segment>]) -> bool {
    all.iter().skip(1).any(|s| {
        let known = s.known();
        known.end > known.first
    })
}

/// Bytes that a journal needs at least for its segments to roll.
pub const fn least_bytes(segment_bytes: u64) -> u64 {
    segment_bytes * (READY as u64 + 1)
}

const _: () = assert!(READY >= 2 && BLOCK as usize <= ZERO_BYTES);
