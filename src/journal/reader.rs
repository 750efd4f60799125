//! Reading back what is durable, in offset order.
//!
//! Must never read at or above the durable end, and never skip: what cannot be read is named and stops the reader.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::format::{BatchKind, RecordView};
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
        if offset != self.next {
            self.next = offset;
            self.cursor = None;
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

    /// Gives the records of the next batch, from the position on, and moves past it. False if nothing more is durable.
    pub fn read_batch(&mut self, mut give: impl FnMut(&RecordView<'_>)) -> Result<bool, ReadError> {
        let mut second_look = false;
        loop {
            if self.next >= self.durable_end() {
                return Ok(false);
            }
            if self.cursor.is_none() {
                self.cursor = Some(self.find()?);
            }
            let cursor = self.cursor.as_mut().expect("just set");
            let at = cursor.pos;
            let id = *cursor.segment().id();
            let mut moved_on = false;
            let next = self.next;
            let found = match cursor.step()? {
                Step::Batch(header, _) if header.kind == BatchKind::Footer => {
                    moved_on = true;
                    None
                }
                Step::Batch(header, _) if header.end <= next => continue,
                Step::Batch(header, payload) => records(&id, &header, payload).map(|views| {
                    views.iter().filter(|v| v.offset >= next).for_each(&mut give);
                    header.end
                }),
                Step::Nothing => None,
            };
            if let Some(end) = found {
                self.next = end;
                return Ok(true);
            }
            if moved_on {
                // Only a segment whose batches end below the position has nothing to give here.
                let end = cursor.segment().known().end;
                if end <= self.next {
                    self.cursor = None;
                    continue;
                }
            }
            // The read-ahead may be older than what was written since; damage is what is still there on a second look.
            if second_look {
                return Err(self.lost());
            }
            second_look = true;
            cursor.pos = at;
            cursor.refresh();
        }
    }

    /// A cursor at or below the position.
    fn find(&self) -> Result<BatchCursor, ReadError> {
        let lost = |to| ReadError::Lost { from: self.next, to };
        let segment = self.shared.segments.holding(self.next).ok_or_else(|| lost(self.next))?;
        let first = segment.known().first;
        if first > self.next {
            return Err(lost(first - 1));
        }
        Ok(BatchCursor::at(segment, self.next))
    }

    fn lost(&self) -> ReadError {
        let end = self.cursor.as_ref().map_or(self.next + 1, |c| c.segment().known().end);
        ReadError::Lost { from: self.next, to: end.saturating_sub(1).max(self.next) }
    }
}
