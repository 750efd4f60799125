//! The reader of one target: its holes first, then what is routed to it or, when it fell behind, what it
//! reads itself.
//!
//! Must never give an entry twice in one life, nor one above the position before every hole was given.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;

use super::dead::DeadLetters;
use super::embedded::{Inner, Item};
use super::entry::Stored;
use super::holes::Hole;
use super::lookup::{self, ByOffset};
use super::progress::{Column, Progress};
use super::read::{self, Read};
use super::rematch::Picked;
use super::replay::Back;
use super::tail::Found;
use super::{Lookup, ReadError, Reader, RewindError, Rewound};
use crate::journal::{LogReader, RecordView};

/// Entries read from disk in one go.
const CATCH_UP: usize = 4_096;
/// Records looked at in one go, whether they are for the target or not: a read ends within moments.
const LOOK: usize = 65_536;

pub(super) struct EmbeddedReader {
    inner: Arc<Inner>,
    progress: Arc<Progress>,
    /// Offsets of holes not given yet, ascending.
    holes: std::collections::VecDeque<u64>,
    /// Where the log was read last; none while attached, so that no file is kept open for nothing.
    log: Option<LogReader<Item>>,
    ahead: Ahead,
}

/// Entries that were read and not given, because fewer were asked for.
#[derive(Default)]
struct Ahead {
    entries: Vec<Arc<Stored>>,
    /// Which of them are so only by the rules of now.
    rematched: HashSet<u64>,
    /// Everything below is read.
    end: u64,
}

impl Ahead {
    /// What was read ahead, if the reader goes on exactly there.
    fn take(&mut self, from: u64) -> Option<(Picked, u64)> {
        let (mine, rematched) = (std::mem::take(&mut self.entries), std::mem::take(&mut self.rematched));
        (mine.first()?.position.offset == from).then_some((Picked { mine, rematched }, self.end))
    }
}

impl EmbeddedReader {
    pub(super) fn new(inner: Arc<Inner>, progress: Arc<Progress>) -> Self {
        let holes = progress.holes().iter().map(|h| h.offset).collect();
        Self { inner, progress, holes, log: None, ahead: Ahead::default() }
    }

    /// The next holes, read again from disk.
    async fn next_holes(&mut self, max: usize) -> Result<Vec<Arc<Stored>>, ReadError> {
        let wanted: Vec<u64> = self.holes.iter().copied().take(max).collect();
        let found = lookup::read(&self.inner, self.progress.target, &wanted).await?;
        self.holes.drain(..found.len());
        Ok(found)
    }

    /// Detached: reads on from the position, from memory if it is there, and attaches once it has caught up.
    async fn read_on(&mut self, max: usize) -> Result<Vec<Arc<Stored>>, ReadError> {
        let (from, until) = {
            let state = self.progress.state();
            (state.from, state.rematches_below())
        };
        let (Picked { mut mine, rematched }, end) = match self.ahead.take(from) {
            Some(ahead) => ahead,
            None => {
                let Read { entries, next } = self.read(from, until.is_some()).await?;
                if next == from {
                    self.log = None;
                    self.inner.routes.attach(&self.progress, from);
                    return Ok(Vec::new());
                }
                (self.inner.pick(self.progress.target, entries, until), next)
            }
        };
        let rest = mine.split_off(max.min(mine.len()));
        let next = rest.first().map_or(end, |s| s.position.offset);
        let mut state = self.progress.state();
        let mut again = state.note_again(&mut mine, &rematched);
        self.ahead = Ahead { entries: rest, rematched, end };
        state.leave_out_dead(&mut mine);
        state.note_taken(&mine);
        state.from = next;
        state.end_replay();
        if again.is_empty() {
            return Ok(mine);
        }
        again.append(&mut mine);
        // Above the position from before both kinds lie beside each other, and a key's events keep their
        // order.
        again.sort_unstable_by_key(|stored| stored.position.offset);
        Ok(again)
    }

    /// What there is from `from` on: what has the target's label, or all of it.
    async fn read(&mut self, from: u64, all: bool) -> Result<Read, ReadError> {
        match self.inner.tail.from(from, CATCH_UP) {
            Found::Entries(entries) => {
                let next = entries.last().map_or(from, |s| s.position.offset + 1);
                return Ok(Read { entries, next });
            }
            Found::Nothing => return Ok(Read { entries: Vec::new(), next: from }),
            Found::Older => {}
        }
        let mut log = self.log.take().unwrap_or_else(|| self.inner.journal.reader(from));
        let (inner, label) = (Arc::clone(&self.inner), self.progress.target.0);
        let read = move || {
            // Whole segments in which the target has nothing are passed over by what their footers say. The
            // end is read first: what becomes durable meanwhile lies above it.
            let end = log.durable_end();
            let labelled = || inner.journal.next_with_label(label, from).unwrap_or(end);
            let next = if all { from } else { labelled().clamp(from, end.max(from)) };
            if next > from && next >= end {
                return (log, Ok(Read { entries: Vec::new(), next: end }));
            }
            log.seek(next);
            let mine = |view: &RecordView<'_>| all || view.labels().any(|l| l == label);
            let found = read::read_wanted(&mut log, CATCH_UP, LOOK, false, mine);
            (log, found)
        };
        let (log, found) = tokio::task::spawn_blocking(read).await.map_err(|_| ReadError::Closed)?;
        self.log = Some(log);
        found
    }
}

#[async_trait]
impl Reader for EmbeddedReader {
    async fn next(&mut self, max: usize) -> Result<Vec<Arc<Stored>>, ReadError> {
        if !self.holes.is_empty() {
            return self.next_holes(max).await;
        }
        loop {
            let (taken, attached) = {
                let mut state = self.progress.state();
                (state.take_inbox(max), state.attached)
            };
            if !taken.is_empty() {
                return Ok(taken);
            }
            if attached {
                self.progress.arrived.notified().await;
                continue;
            }
            let taken = self.read_on(max).await?;
            if !taken.is_empty() {
                return Ok(taken);
            }
        }
    }

    fn take_holes(&mut self) -> Vec<Hole> {
        if self.holes.is_empty() {
            return Vec::new();
        }
        self.holes.clear();
        self.progress.holes()
    }

    fn lookup(&self) -> Arc<dyn Lookup> {
        Arc::new(ByOffset { inner: Arc::clone(&self.inner), target: self.progress.target })
    }

    async fn rewind(&mut self, from: u64, rematch: bool) -> Result<Rewound, RewindError> {
        let rewound = self.inner.rewind(&self.progress, Back { from, rematch }).await?;
        self.holes = self.progress.holes().iter().map(|h| h.offset).collect();
        (self.log, self.ahead) = (None, Ahead::default());
        Ok(rewound)
    }

    fn settle(&mut self, settled: &[(u64, Column)]) {
        self.progress.settle(settled);
    }

    fn repeated(&mut self, count: u64) {
        self.progress.repeated(count);
    }

    fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    fn dead_letters(&self) -> Option<DeadLetters> {
        self.inner.dead_letters(self.progress.target)
    }

    async fn flush(&mut self) -> Result<(), ReadError> {
        self.inner.flush().await
    }
}

impl Drop for EmbeddedReader {
    fn drop(&mut self) {
        // What was routed and not taken is read again by whoever opens next; what was taken stays a hole.
        self.progress.detach();
        self.inner.open_readers().remove(&self.progress.target);
    }
}
