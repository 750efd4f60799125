//! Segments in memory: what is known about each file, and the cursor that walks its batches.
//!
//! Must never read beyond what its caller knows to be durable: a cursor walks where it is told, no further.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::disk::{DiskFile, read_exact_at};
use super::format::{
    BATCH_HEADER, BLOCK, BatchHeader, BatchKind, LabelCount, RecordView, SegmentHeader, SegmentId, Total,
    padded,
};
use super::held::Held;

/// How many bytes a cursor reads ahead.
const READ_AHEAD: usize = 256 << 10;
/// The largest batch a cursor believes in; a longer one can only be damage.
pub const MAX_BATCH: u64 = 128 << 20;
/// One entry of the sparse index per so many bytes of batches.
const INDEX_EVERY: u64 = 128 << 10;

/// The name of a segment's file.
pub fn file_name(first: u64) -> String {
    format!("{first:016}.seg")
}

/// The segment number in a live file's name.
pub fn number_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_suffix(".seg")?;
    if name.len() == 16 && name.bytes().all(|b| b.is_ascii_digit()) { name.parse().ok() } else { None }
}

/// One segment file.
pub struct Segment {
    /// Its header.
    pub header: SegmentHeader,
    /// Where it is.
    pub path: PathBuf,
    /// Its bytes.
    pub file: Arc<dyn DiskFile>,
    /// Its length; only whole-length files are recycled.
    pub file_len: u64,
    known: RwLock<Known>,
}

/// What is known about a segment's content; grows while it is written.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Its first offset.
    pub first: u64,
    /// One above its last offset.
    pub end: u64,
    /// The highest epoch in it.
    pub epoch: u32,
    /// What the records with each label came to before it.
    pub totals_before: BTreeMap<u32, Total>,
    /// Counts of the labels in it.
    pub counts: BTreeMap<u32, LabelCount>,
    /// When it was closed, in microseconds since the Unix epoch; none while it is written.
    pub closed_us: Option<i64>,
    /// Bytes in use, from block 0.
    pub used: u64,
    /// How much of it compaction could not leave out; none until somebody counted.
    pub content: Option<Content>,
    /// Where some batches begin, ascending.
    pub(super) index: Vec<Mark>,
}

/// A place in a segment, and what is between it and the next one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    /// The first offset of the batch there.
    first: u64,
    /// Where that batch begins.
    pos: u64,
    /// Which labels there are, a bit for those that are equal modulo 64.
    labels: u64,
    /// How far that is known: in bytes, and one above the last offset.
    until: u64,
    end: u64,
}

impl Mark {
    fn new(header: &BatchHeader, pos: u64) -> Self {
        Self { first: header.first, pos, labels: 0, until: pos, end: header.first }
    }

    fn seen(&mut self, header: &BatchHeader, pos: u64) {
        (self.until, self.end) = (pos + header.span(), header.end);
    }
}

fn bit(label: u32) -> u64 {
    1 << (label % 64)
}

/// What a segment's records come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Content {
    /// How many there are.
    pub records: u64,
    /// Their bytes without inline bodies.
    pub bare_bytes: u64,
}

impl Content {
    /// Counts one record: its bytes in the batch, and those of its body.
    pub fn note(&mut self, encoded_len: usize, body_len: usize) {
        self.records += 1;
        self.bare_bytes += (encoded_len - body_len) as u64;
    }
}

impl Known {
    /// Notes that a batch of records was found or written at `pos`.
    pub fn note_batch(&mut self, header: &BatchHeader, pos: u64) {
        if self.index.last().is_none_or(|mark| pos - mark.pos >= INDEX_EVERY) {
            // Between two batches of records there are only seals.
            self.index.last_mut().into_iter().for_each(|mark| mark.until = pos);
            self.index.push(Mark::new(header, pos));
        }
        self.index.last_mut().into_iter().for_each(|mark| mark.seen(header, pos));
        self.end = header.end;
        self.epoch = self.epoch.max(header.epoch);
        self.used = pos + header.span();
    }

    /// Counts one label of one record of so many bytes without its body.
    pub fn note_label(&mut self, label: u32, offset: u64, bare_len: usize) {
        let one = Total { count: 1, bytes: bare_len as u64 };
        let c = self.counts.entry(label).or_insert_with(|| {
            let total = self.totals_before.get(&label).copied().unwrap_or_default();
            LabelCount { first: offset, here: Total::default(), total }
        });
        c.here = c.here.plus(one);
        c.total = c.total.plus(one);
        self.index.last_mut().into_iter().for_each(|mark| mark.labels |= bit(label));
    }

    /// Nobody knows the labels of the records behind the last mark.
    pub(super) fn forget_labels(&mut self) {
        self.index.last_mut().into_iter().for_each(|mark| mark.labels = u64::MAX);
    }

    /// An offset at or above `from` below which no record in here has the label; none if no record at or
    /// above `from` has it.
    pub fn next_with_label(&self, label: u32, from: u64) -> Option<u64> {
        // What is being written may have more by the time it is asked for: then its counts say so.
        let count = self.counts.get(&label).filter(|_| self.end > from || self.closed_us.is_none())?;
        let from = from.max(count.first);
        // What lies below the first mark nobody has looked at.
        let Some(at) = self.index.partition_point(|mark| mark.first <= from).checked_sub(1) else {
            return Some(from);
        };
        for (n, mark) in self.index.iter().enumerate().skip(at) {
            let seen = match self.index.get(n + 1) {
                Some(next) => mark.until >= next.pos,
                None => self.closed_us.is_some() && mark.end >= self.end,
            };
            if !seen || mark.labels & bit(label) != 0 {
                return Some(mark.first.max(from));
            }
        }
        None
    }
}

impl Segment {
    /// A segment with this content.
    pub fn new(
        header: SegmentHeader,
        path: PathBuf,
        file: Arc<dyn DiskFile>,
        file_len: u64,
        known: Known,
    ) -> Arc<Self> {
        Arc::new(Self { header, path, file, file_len, known: RwLock::new(known) })
    }

    /// When it was closed, and one above its last offset.
    pub fn close_and_end(&self) -> (Option<i64>, u64) {
        let known = self.known();
        (known.closed_us, known.end)
    }

    /// True if somebody may need it: it is being written, or not all of it is below `floor`.
    pub fn is_needed(&self, floor: u64) -> bool {
        let (closed, end) = self.close_and_end();
        closed.is_none() || end > floor
    }

    /// What is known about it now. Never asked for twice at once by one thread: whoever waits to note
    /// something stands between the two, and nobody would go on. With debug assertions it breaks off there.
    pub fn known(&self) -> Held<RwLockReadGuard<'_, Known>> {
        Held::take(&raw const self.known, || self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// To note what was written.
    pub fn known_mut(&self) -> Held<RwLockWriteGuard<'_, Known>> {
        Held::take(&raw const self.known, || self.known.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// The segment number and secret of a file whose first block is `block`.
    pub fn id(&self) -> &SegmentId {
        &self.header.id
    }

    /// True if it is closed and has nothing at or above `offset`.
    pub fn is_done(&self, offset: u64) -> bool {
        let known = self.known();
        known.closed_us.is_some() && known.end <= offset
    }

    /// Notes what a reader passed: a batch, and the labels of its records (none for one without records).
    /// What opening found closed has no index until somebody reads it from its beginning on.
    pub fn note_read(&self, header: &BatchHeader, pos: u64, labels: impl Iterator<Item = u32>) {
        let records = header.kind == BatchKind::Records;
        let new = |last: Option<&Mark>| match last {
            None => records,
            Some(mark) => {
                pos >= mark.until && (pos == mark.until || (records && pos >= mark.pos + INDEX_EVERY))
            }
        };
        if !new(self.known().index.last()) {
            return;
        }
        let known = &mut *self.known_mut();
        if known.closed_us.is_none() || !new(known.index.last()) {
            return;
        }
        if records && known.index.last().is_none_or(|mark| pos - mark.pos >= INDEX_EVERY) {
            known.index.push(Mark::new(header, pos));
        }
        if let Some(mark) = known.index.last_mut().filter(|mark| mark.until == pos) {
            mark.seen(header, pos);
            labels.for_each(|label| mark.labels |= bit(label));
        }
    }

    /// Where to begin reading to find `offset`: a batch at or below it.
    pub fn seek(&self, offset: u64) -> u64 {
        let known = self.known();
        match known.index.partition_point(|mark| mark.first <= offset) {
            0 => BLOCK,
            n => known.index[n - 1].pos,
        }
    }
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segment").field("first", &self.header.first).finish_non_exhaustive()
    }
}

/// What a cursor found at its place.
#[derive(Debug)]
pub enum Step<'a> {
    /// A whole, undamaged batch header and its payload (records are not checked yet).
    Batch(BatchHeader, &'a [u8]),
    /// No valid batch begins here.
    Nothing,
}

/// Walks the batches of one segment.
pub struct BatchCursor {
    segment: Arc<Segment>,
    /// Where the next batch begins.
    pub pos: u64,
    buf: Vec<u8>,
    buf_at: u64,
}

impl BatchCursor {
    /// Begins at the first batch.
    pub fn start(segment: Arc<Segment>) -> Self {
        Self { segment, pos: BLOCK, buf: Vec::new(), buf_at: 0 }
    }

    /// Begins at a batch at or below `offset`.
    pub fn at(segment: Arc<Segment>, offset: u64) -> Self {
        let pos = segment.seek(offset);
        Self { segment, pos, buf: Vec::new(), buf_at: 0 }
    }

    /// The segment being walked.
    pub fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// Reads the batch at the cursor and moves past it. Does not move on [`Step::Nothing`].
    pub fn step(&mut self) -> io::Result<Step<'_>> {
        let id = *self.segment.id();
        let at = self.pos;
        if !self.fill(at, BATCH_HEADER)? {
            return Ok(Step::Nothing);
        }
        let start = (at - self.buf_at) as usize;
        let Some(header) = BatchHeader::decode(&id, &self.buf[start..]) else {
            return Ok(Step::Nothing);
        };
        let len = BATCH_HEADER + header.payload as usize;
        if len as u64 > MAX_BATCH || !self.fill(at, len)? {
            return Ok(Step::Nothing);
        }
        self.pos = at + header.span();
        let start = (at - self.buf_at) as usize;
        Ok(Step::Batch(header, &self.buf[start + BATCH_HEADER..start + len]))
    }

    /// Forgets what was read ahead: the file has grown since.
    pub fn refresh(&mut self) {
        self.buf.clear();
    }

    /// Makes `len` bytes at `at` present in the buffer; false if the file ends before.
    fn fill(&mut self, at: u64, len: usize) -> io::Result<bool> {
        let have = self.buf_at + self.buf.len() as u64;
        if at >= self.buf_at && at + len as u64 <= have {
            return Ok(true);
        }
        let end = self.segment.file_len.max(self.segment.known().used);
        let want = padded(len as u64).max(READ_AHEAD as u64).min(end.saturating_sub(at));
        if want < len as u64 {
            return Ok(false);
        }
        self.buf.resize(want as usize, 0);
        self.buf_at = at;
        match read_exact_at(&*self.segment.file, &mut self.buf, at) {
            Ok(()) => Ok(true),
            Err(e) => {
                self.buf.clear();
                if e.kind() == io::ErrorKind::UnexpectedEof { Ok(false) } else { Err(e) }
            }
        }
    }
}

/// The records of one batch, or `None` if any of them is damaged or out of place.
pub fn records<'a>(
    id: &SegmentId,
    header: &BatchHeader,
    mut payload: &'a [u8],
) -> Option<Vec<RecordView<'a>>> {
    if header.kind != BatchKind::Records {
        return Some(Vec::new());
    }
    let mut found = Vec::with_capacity(header.count.min(1 << 16) as usize);
    let mut least = header.first;
    for _ in 0..header.count {
        let (record, rest) = RecordView::decode(id, payload)?;
        // Offsets are dense where nothing was compacted away, and ascending everywhere.
        if record.offset < least || record.offset >= header.end {
            return None;
        }
        least = record.offset + 1;
        found.push(record);
        payload = rest;
    }
    payload.is_empty().then_some(found)
}
