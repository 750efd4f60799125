//! Reading back what is durable, in offset order.
//!
//! Must never read at or above the durable end, and never skip: what cannot be read is named and stops the
//! reader.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::damage::{Damage, Why, damage};
use super::format::{BatchKind, RecordView};
use super::scan::{Piece, find_batch, pieces};
use super::segment::{BatchCursor, Step, records};
use super::shared::Shared;

/// Why a reader cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// These offsets are damaged or missing.
    #[error("offsets {from} to {to} cannot be read")]
    Lost {
        /// The first one.
        from: u64,
        /// The last one known to be affected.
        to: u64,
    },
    /// The disk failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// One independent reader of a journal.
pub struct LogReader<T> {
    shared: Arc<Shared<T>>,
    cursor: Option<BatchCursor>,
    next: u64,
}

impl<T> LogReader<T> {
    pub(super) fn new(shared: Arc<Shared<T>>, next: u64) -> Self {
        Self { shared, cursor: None, next }
    }

    /// The next offset it will look at.
    pub fn position(&self) -> u64 {
        self.next
    }

    /// Goes on at `offset`.
    pub fn seek(&mut self, offset: u64) {
        // Forward within a segment the cursor goes on, at least where the segment's index says.
        if offset != self.next {
            let within = |c: &BatchCursor| offset > self.next && offset < c.segment().known().end;
            match self.cursor.as_mut().filter(|c| within(c)) {
                Some(cursor) => cursor.pos = cursor.pos.max(cursor.segment().seek(offset)),
                None => self.cursor = None,
            }
            self.next = offset;
        }
    }

    /// One above the last durable offset now.
    pub fn durable_end(&self) -> u64 {
        self.shared.durable_end.load(Ordering::Acquire)
    }

    /// Blocks until something is durable at or above the position, the journal ended, or `wait` passed.
    pub fn wait(&self, wait: Duration) -> bool {
        self.shared.wait_beyond(self.next, wait) > self.next
    }

    /// True once nothing more will become durable.
    pub fn ended(&self) -> bool {
        self.shared.ended()
    }

    /// Gives the records of the next batch, from the position on, and moves past it. False if nothing more is
    /// durable. It may give none: compaction leaves out what nobody needs.
    ///
    /// What cannot be read is an error once everything before it was given; the position stays there.
    pub fn read_batch(&mut self, mut give: impl FnMut(&RecordView<'_>)) -> Result<bool, ReadError> {
        let mut second_look = false;
        loop {
            if self.next >= self.durable_end() {
                return Ok(false);
            }
            // Behind the last record of a closed segment nothing counts: a seal there may not have reached
            // the disk.
            if self.cursor.as_ref().is_some_and(|c| c.segment().is_done(self.next)) {
                self.cursor = None;
            }
            if self.cursor.is_none() {
                self.cursor = Some(self.find()?);
            }
            let cursor = self.cursor.as_mut().expect("just set");
            let (at, next) = (cursor.pos, self.next);
            let segment = Arc::clone(cursor.segment());
            let id = *segment.id();
            let passed = segment.known().end <= next;
            match cursor.step()? {
                Step::Batch(header, _) if header.kind != BatchKind::Footer && header.end <= next => {
                    if header.kind != BatchKind::Records {
                        segment.note_read(&header, at, std::iter::empty());
                    }
                    continue;
                }
                Step::Batch(header, payload) if header.kind == BatchKind::Records && header.first <= next => {
                    if let Some(views) = records(&id, &header, payload) {
                        segment.note_read(&header, at, views.iter().flat_map(RecordView::labels));
                        views.iter().filter(|v| v.offset >= next).for_each(&mut give);
                        self.next = header.end;
                        return Ok(true);
                    }
                    if second_look {
                        let found = give_whole(pieces(&id, &header, payload), next, header.end, &mut give);
                        cursor.pos = at;
                        return self.after_damage(found, at);
                    }
                }
                // Only a segment whose batches end below the position has nothing more to give.
                Step::Batch(..) | Step::Nothing if passed => {
                    self.cursor = None;
                    continue;
                }
                Step::Batch(..) | Step::Nothing => {}
            }
            // The read-ahead may be older than what was written since; damage is what is still there on a
            // second look.
            if second_look && self.skip_to_whole(at)? {
                continue;
            }
            second_look = true;
            let cursor = self.cursor.as_mut().expect("set above");
            cursor.pos = at;
            cursor.refresh();
        }
    }

    /// Moves the cursor to the next whole batch if no record is lost before it (a torn seal); else says what
    /// is lost.
    fn skip_to_whole(&mut self, at: u64) -> Result<bool, ReadError> {
        let cursor = self.cursor.as_mut().expect("only called with one");
        let segment = Arc::clone(cursor.segment());
        let mut end = segment.known().end.min(self.shared.durable_end.load(Ordering::Acquire));
        if let Some(pos) = find_batch(&segment, at, self.next)? {
            cursor.refresh();
            cursor.pos = pos;
            match cursor.step()? {
                Step::Batch(header, _) if header.first <= self.next && pos > at => {
                    cursor.pos = pos;
                    return Ok(true);
                }
                Step::Batch(header, _) => end = end.min(header.first),
                Step::Nothing => {}
            }
            cursor.pos = at;
        }
        Err(self.lost(at, end))
    }

    /// What follows from the readable beginning of a damaged batch.
    fn after_damage(&mut self, found: Whole, at: u64) -> Result<bool, ReadError> {
        self.next = found.upto;
        if found.any || found.lost_end <= found.upto { Ok(true) } else { Err(self.lost(at, found.lost_end)) }
    }

    /// A cursor at or below the position.
    fn find(&self) -> Result<BatchCursor, ReadError> {
        let Some(segment) = self.shared.segments.holding(self.next) else {
            return Err(self.missing("journal", self.durable_end()));
        };
        let first = segment.known().first;
        if first > self.next {
            return Err(self.missing(&super::segment::file_name(segment.header.first), first));
        }
        Ok(BatchCursor::at(segment, self.next))
    }

    /// Offsets that no file holds.
    fn missing(&self, before: &str, end: u64) -> ReadError {
        let to = end.saturating_sub(1).max(self.next);
        let (file, from, why) = (format!("before {before}"), self.next, Why::Missing);
        self.shared.note_damage(&Damage { file, at: 0, from, to, why });
        ReadError::Lost { from: self.next, to }
    }

    fn lost(&self, at: u64, end: u64) -> ReadError {
        let to = end.saturating_sub(1).max(self.next);
        if let Some(cursor) = &self.cursor {
            self.shared.note_damage(&damage(cursor.segment(), at, self.next, to + 1));
        }
        ReadError::Lost { from: self.next, to }
    }
}

/// How far a damaged batch could be read.
struct Whole {
    /// Something was given.
    any: bool,
    /// Everything below was given, or is not there.
    upto: u64,
    /// What follows `upto` is lost up to here.
    lost_end: u64,
}

/// Gives the whole records from `next` on, up to the first that is not.
fn give_whole(pieces: Vec<Piece<'_>>, next: u64, end: u64, give: &mut impl FnMut(&RecordView<'_>)) -> Whole {
    let mut any = false;
    for piece in pieces {
        match piece {
            Piece::Record(view) if view.offset >= next => {
                give(&view);
                any = true;
            }
            Piece::Lost(from, lost_end) if lost_end > next => {
                return Whole { any, upto: from.max(next), lost_end };
            }
            Piece::Record(_) | Piece::Lost(..) => {}
        }
    }
    Whole { any, upto: end, lost_end: end }
}
