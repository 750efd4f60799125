//! The writer thread: assigns offsets, writes all that waits as one batch, syncs once, publishes, completes.
//!
//! The order is the promise: write → sync → publish to the sink → advance the durable end → answer the
//! waiters. Must never retry a failed write or sync, and never answer before the sync returned.

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::format::{
    BATCH_HEADER, BLOCK, BatchHeader, BatchKind, RecordView, Total, Trailer, counts_len, encode_counts,
    padded,
};
use super::record::{Durable, NewRecord, Sink};
use super::segment::Segment;
use super::shared::{Shared, Take};
use crate::event::Position;
use crate::fail;

/// Records of one write: beyond it the writer syncs in between. Bytes.
const WRITE_BYTES: usize = 8 << 20;
/// Labels never seen before that a batch may bring beside those of its first record: the footer has room kept
/// for them.
const FRESH_LABELS: usize = 64;

/// The single writer of a journal.
pub(super) struct Writer<T> {
    pub(super) shared: Arc<Shared<T>>,
    pub(super) sink: Arc<dyn Sink<T>>,
    /// The segment being written; none until the first record needs one.
    pub(super) active: Option<Arc<Segment>>,
    /// Where the next batch goes in it.
    pub(super) pos: u64,
    pub(super) epoch: u32,
    /// The next offset to give.
    pub(super) next: u64,
    /// What the records with each label ever came to.
    pub(super) totals: BTreeMap<u32, Total>,
    /// The last batch on disk is a seal.
    pub(super) sealed: bool,
    pub(super) buf: Vec<u8>,
}

impl<T: Send + 'static> Writer<T> {
    /// Runs until the journal stops or fails.
    pub(super) fn run(mut self) {
        loop {
            let take = self.shared.take(self.sealed);
            let result = match take {
                Take::Records(records, ticket) => {
                    let first = self.next;
                    // A bug in what the sink calls must not leave callers waiting for ever.
                    let result = catch_unwind(AssertUnwindSafe(|| self.write_all(records)))
                        .unwrap_or_else(|_| Err(io::Error::other("the writer broke off by a bug")));
                    self.shared.finish(&ticket, result.as_ref().map(|()| first).map_err(ToString::to_string));
                    result
                }
                Take::Idle => self.seal(BatchKind::Seal),
                Take::Stop => {
                    let result = self.stop();
                    self.shared.stopped(result.err());
                    return;
                }
            };
            if let Err(e) = result {
                self.shared.poison(&format!("the journal cannot be written: {e}"));
                return;
            }
        }
    }

    /// Writes everything that was taken, as few batches as fit.
    fn write_all(&mut self, records: Vec<NewRecord<T>>) -> io::Result<()> {
        let mut records = records.into_iter().peekable();
        let mut group: Vec<NewRecord<T>> = Vec::with_capacity(records.len());
        while let Some(first) = records.next() {
            let mut bytes = BATCH_HEADER + first.encoded_len();
            let room = self.room_for(bytes, first.labels.len())?.min(WRITE_BYTES);
            group.push(first);
            let (totals, mut fresh) = (&self.totals, 0);
            let never_seen = |r: &NewRecord<T>| r.labels.iter().filter(|l| !totals.contains_key(l)).count();
            while let Some(next) =
                records.next_if(|r| bytes + r.encoded_len() <= room && fresh + never_seen(r) <= FRESH_LABELS)
            {
                bytes += next.encoded_len();
                fresh += never_seen(&next);
                group.push(next);
            }
            self.write_group(std::mem::take(&mut group))?;
        }
        Ok(())
    }

    /// Makes sure that a batch of `bytes` fits in the active segment, and says how large one may be.
    fn room_for(&mut self, bytes: usize, new_labels: usize) -> io::Result<usize> {
        // A footer may need one row for every label seen so far and for those of one more batch.
        // Beside it stand one seal and the trailer.
        let most = new_labels + FRESH_LABELS;
        let reserve = |totals: usize| padded((BATCH_HEADER + counts_len(totals + most)) as u64) + 2 * BLOCK;
        if let Some(active) = &self.active {
            let limit = active.file_len.saturating_sub(reserve(self.totals.len()));
            if self.pos + padded(bytes as u64) <= limit {
                return Ok((limit - self.pos) as usize);
            }
            self.close_active()?;
        }
        self.open_next()?;
        let active = self.active.as_ref().expect("a segment was just opened");
        let limit = active.file_len.saturating_sub(reserve(self.totals.len()));
        if self.pos + padded(bytes as u64) > limit {
            return Err(io::Error::other("a record is larger than a segment"));
        }
        Ok((limit - self.pos) as usize)
    }

    /// Writes, syncs, publishes and announces one batch.
    fn write_group(&mut self, group: Vec<NewRecord<T>>) -> io::Result<()> {
        let active = Arc::clone(self.active.as_ref().expect("room_for opened a segment"));
        let header = self.encode_records(&active, &group);
        fail::point("log.append.before");
        if fail::mutant("ack-before-sync") {
            self.announce(&active, &header, group);
            return active.file.write_at(&self.buf, self.pos - header.span());
        }
        let at = self.pos - header.span();
        if fail::armed("log.append.partial") {
            active.file.write_at(&self.buf[..self.buf.len() / 2], at)?;
            fail::point("log.append.partial");
        }
        self.shared.timed_write(|| active.file.write_at(&self.buf, at))?;
        fail::point("log.append.after");
        let synced = self.shared.timed_sync(|| active.file.sync_data());
        if synced.is_err() && fail::mutant("retry-after-failed-fsync") {
            active.file.sync_data()?;
        } else {
            synced?;
        }
        fail::point("log.sync.after");
        self.announce(&active, &header, group);
        Ok(())
    }

    /// Everything of a batch after its sync: statistics, sink, durable end.
    fn announce(&mut self, active: &Segment, header: &BatchHeader, group: Vec<NewRecord<T>>) {
        {
            let mut known = active.known_mut();
            known.note_batch(header, self.pos - header.span());
            let content = known.content.get_or_insert_default();
            group.iter().for_each(|r| content.note(r.encoded_len(), r.body.len()));
            for (offset, record) in (header.first..).zip(&group) {
                let one = Total { count: 1, bytes: record.bare_len() as u64 };
                for label in &record.labels {
                    known.note_label(*label, offset, record.bare_len());
                    let total = self.totals.entry(*label).or_default();
                    *total = total.plus(one);
                }
            }
        }
        self.sealed = false;
        self.shared.count(&group);
        if fail::mutant("durable-end-before-overlay") {
            self.shared.advance(header.end);
            (0..20_000).for_each(|_| std::thread::yield_now());
        }
        let epoch = self.epoch;
        let durable = (header.first..)
            .zip(group)
            .map(|(offset, r)| Durable {
                position: Position { epoch, offset },
                bare_len: r.bare_len() as u32,
                body: r.body,
                item: r.item,
            })
            .collect();
        self.sink.publish(durable);
        fail::point("log.published");
        self.shared.advance(header.end);
    }

    /// Fills the buffer with one batch of records and moves the position and the next offset past it.
    fn encode_records(&mut self, active: &Segment, group: &[NewRecord<T>]) -> BatchHeader {
        self.buf.clear();
        self.buf.resize(BATCH_HEADER, 0);
        let mut labels = Vec::new();
        let first = self.next;
        for record in group {
            labels.clear();
            labels.extend(record.labels.iter().flat_map(|l| l.to_le_bytes()));
            let view = RecordView {
                offset: self.next,
                epoch: self.epoch,
                kind: record.kind,
                bodyless: false,
                labels: &labels,
                meta: &record.meta,
                body: &record.body,
                body_crc: record.body_crc,
            };
            view.encode_into(active.id(), &mut self.buf);
            self.next += 1;
        }
        self.close_batch(active, BatchKind::Records, first, group.len() as u32)
    }

    /// Writes the header over the buffer's start, pads it to whole blocks and moves the position past it.
    fn close_batch(&mut self, active: &Segment, kind: BatchKind, first: u64, count: u32) -> BatchHeader {
        let header = BatchHeader {
            kind,
            payload: (self.buf.len() - BATCH_HEADER) as u32,
            count,
            first,
            end: self.next,
            synced_through: self.shared.durable_end.load(Ordering::Acquire),
            epoch: self.epoch,
            time_us: (self.shared.clock)(),
        };
        header.encode_into(active.id(), &mut self.buf);
        self.buf.resize(header.span() as usize, 0);
        if fail::mutant("shared-block") && kind == BatchKind::Records {
            // The next batch begins in the block where this one ends.
            self.pos += header.span().saturating_sub(BLOCK).max(BLOCK / 2);
            return header;
        }
        self.pos += header.span();
        header
    }

    /// A batch without records that carries the durable end to disk with the next sync. Not synced itself.
    fn seal(&mut self, kind: BatchKind) -> io::Result<()> {
        self.sealed = true;
        let Some(active) = self.active.clone().filter(|_| !fail::mutant("seal-not-written")) else {
            return Ok(());
        };
        // A full segment has room for its footer, which proves as much: without either, damage to its last
        // batch would look like a write that was never acknowledged.
        if self.pos + 3 * BLOCK + padded((BATCH_HEADER + counts_len(self.totals.len() + FRESH_LABELS)) as u64)
            > active.file_len
        {
            return self.close_active();
        }
        self.buf.clear();
        self.buf.resize(BATCH_HEADER, 0);
        let header = self.close_batch(&active, kind, self.next, 0);
        active.file.write_at(&self.buf, self.pos - header.span())?;
        active.known_mut().used = self.pos;
        fail::point("log.sealed");
        Ok(())
    }

    /// Ends in order: nothing more is written, and the next start continues here.
    fn stop(&mut self) -> io::Result<()> {
        self.seal(BatchKind::CleanSeal)?;
        self.active.as_ref().map_or(Ok(()), |active| active.file.sync_data())
    }

    /// Gives the active segment its footer and trailer and makes both durable.
    fn close_active(&mut self) -> io::Result<()> {
        let Some(active) = self.active.take() else { return Ok(()) };
        self.buf.clear();
        self.buf.resize(BATCH_HEADER, 0);
        let counts: Vec<_> = active.known().counts.iter().map(|(l, c)| (*l, *c)).collect();
        encode_counts(active.id(), &counts, &mut self.buf);
        let footer = self.pos;
        let header = self.close_batch(&active, BatchKind::Footer, self.next, 0);
        active.file.write_at(&self.buf, footer)?;
        let first = active.known().first;
        let time_us = header.time_us;
        let trailer = Trailer { footer, first, end: self.next, epoch: self.epoch, time_us };
        active.file.write_at(&trailer.encode(active.id()), active.file_len - BLOCK)?;
        active.file.sync_data()?;
        fail::point("segment.closed");
        let mut known = active.known_mut();
        known.closed_us = Some(time_us);
        known.used = active.file_len;
        Ok(())
    }

    /// Takes the next prepared segment, waiting for one if need be, and writes the opening into it.
    fn open_next(&mut self) -> io::Result<()> {
        let segment = self.shared.next_prepared()?;
        {
            let mut known = segment.known_mut();
            known.first = self.next;
            known.end = self.next;
            known.epoch = self.epoch;
            known.totals_before = self.totals.clone();
        }
        self.shared.put_live(Arc::clone(&segment));
        self.pos = BLOCK;
        self.buf.clear();
        self.buf.resize(BATCH_HEADER, 0);
        let counts: Vec<_> = self.totals.iter().map(|(l, n)| (*l, super::total_only(*n))).collect();
        encode_counts(segment.id(), &counts, &mut self.buf);
        let header = self.close_batch(&segment, BatchKind::Opening, self.next, 0);
        // Synced together with the first records.
        segment.file.write_at(&self.buf, self.pos - header.span())?;
        segment.known_mut().used = self.pos;
        self.active = Some(segment);
        Ok(())
    }
}

/// The lock of a `std` mutex, whoever panicked before.
pub(super) fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
