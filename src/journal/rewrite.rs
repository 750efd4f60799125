//! Copies what is needed of some segments into one new, closed file of its own life.
//!
//! The new file is complete and synced under a temporary name before it replaces anything. Must never change
//! an offset, an epoch or a kept record's bytes.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::Disk;
use super::format::{
    BATCH_HEADER, BLOCK, BatchHeader, BatchKind, LabelCount, RecordView, SegmentHeader, SegmentId, Total,
    Trailer, encode_counts,
};
use super::scan::{Piece, Walker, pieces};
use super::segment::{Content, Known, Segment, file_name};

/// A batch of a copy is written once it has so many bytes.
const BATCH_BYTES: usize = 128 << 10;

/// What becomes of a record in the copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Copied as it is.
    Whole,
    /// Copied without its inline body.
    Bodyless,
    /// Left out: its offset becomes a gap.
    Nothing,
}

/// A copy under a temporary name: synced, complete, not live yet.
pub(super) struct Copy {
    pub(super) header: SegmentHeader,
    pub(super) temporary: PathBuf,
    pub(super) file: Arc<dyn super::disk::DiskFile>,
    pub(super) len: u64,
    pub(super) known: Known,
}

/// Where a copy reads from.
pub(super) struct Source {
    pub(super) segment: Arc<Segment>,
    /// Where its valid batches end.
    pub(super) until: u64,
    /// What is known of it: its range and counts become the copy's.
    pub(super) known: Known,
}

/// Writes the copy of `sources` (neighbours, in order) with a new life `id`.
pub(super) fn copy(
    disk: &dyn Disk,
    temporary: &Path,
    sources: &[Source],
    id: SegmentId,
    time_us: i64,
    partial: bool,
    keep: &dyn Fn(&RecordView<'_>) -> Keep,
) -> io::Result<Copy> {
    let first = sources.first().map_or(0, |s| s.segment.header.first);
    let last = sources.last().map_or(0, |s| s.segment.header.last);
    // Whatever is left out is not there any more for whoever wants to see it again.
    let partial = partial || sources.iter().any(|s| s.segment.header.partial);
    let mut copy = Writing::begin(disk, temporary, SegmentHeader { id, first, last, partial, len: 0 })?;
    for source in sources {
        copy.source(source, Strict(true), keep)?;
    }
    copy.finish(time_us)
}

/// True if anything damaged in a source is an error; else it is left out.
#[derive(Clone, Copy)]
pub(super) struct Strict(pub(super) bool);

/// Gives a copy its final name. The caller removes the other sources afterwards.
pub(super) fn publish(disk: &dyn Disk, dir: &Path, copy: Copy) -> io::Result<Arc<Segment>> {
    let path = dir.join(file_name(copy.header.first));
    disk.rename(&copy.temporary, &path)?;
    disk.sync_dir(dir)?;
    Ok(copy.live_at(path))
}

impl Copy {
    /// The segment, once the copy has its final name.
    pub(super) fn live_at(self, path: PathBuf) -> Arc<Segment> {
        Segment::new(self.header, path, self.file, self.len, self.known)
    }
}

/// A copy being written.
pub(super) struct Writing {
    header: SegmentHeader,
    temporary: PathBuf,
    file: Arc<dyn super::disk::DiskFile>,
    pos: u64,
    known: Known,
    /// The batch being filled: small batches of the sources, and those of which nothing is kept, become one.
    batch: Option<BatchHeader>,
    payload: Vec<u8>,
    kept: u32,
    opened: bool,
}

impl Writing {
    /// Creates the file and writes its header.
    pub(super) fn begin(disk: &dyn Disk, temporary: &Path, header: SegmentHeader) -> io::Result<Self> {
        let _ = disk.remove(temporary);
        let file = disk.create(temporary)?;
        file.write_at(&header.encode(), 0)?;
        let known = Known { content: Some(Content::default()), ..Known::default() };
        let payload = vec![0; BATCH_HEADER];
        let temporary = temporary.to_owned();
        Ok(Self { header, temporary, file, pos: BLOCK, known, batch: None, payload, kept: 0, opened: false })
    }

    /// Begins the content: the first offset, and the counts before it.
    pub(super) fn open(&mut self, first: u64, epoch: u32, totals: BTreeMap<u32, Total>) -> io::Result<()> {
        if std::mem::replace(&mut self.opened, true) {
            return Ok(());
        }
        (self.known.first, self.known.end, self.known.epoch) = (first, first, epoch);
        let counts: Vec<_> = totals.iter().map(|(l, n)| (*l, super::total_only(*n))).collect();
        let mut payload = vec![0; BATCH_HEADER];
        encode_counts(&self.header.id, &counts, &mut payload);
        self.known.totals_before = totals;
        self.write(batch_at(BatchKind::Opening, first, epoch), payload)
    }

    /// Copies what is kept of one source, its counts and its range.
    pub(super) fn source(
        &mut self,
        source: &Source,
        strict: Strict,
        keep: &dyn Fn(&RecordView<'_>) -> Keep,
    ) -> io::Result<()> {
        let known = &source.known;
        self.open(known.first, known.epoch, known.totals_before.clone())?;
        let id = *source.segment.id();
        let mut walker = Walker::new(&source.segment, Some(known.first), known.end);
        while let Some(walked) = walker.step()? {
            if strict.0 && walked.lost.is_some() || walked.at >= source.until {
                break;
            }
            let header = walked.header;
            if header.kind == BatchKind::Footer {
                break;
            }
            let records = header.kind == BatchKind::Records;
            for piece in if records { pieces(&id, &header, walked.payload) } else { Vec::new() } {
                match piece {
                    Piece::Record(view) => self.record(&view, keep(&view)),
                    Piece::Lost(..) if strict.0 => return Err(gone()),
                    Piece::Lost(..) => {}
                }
            }
            self.reach(&header)?;
        }
        if strict.0 && self.known.end.max(self.batch.map_or(0, |b| b.end)) != known.end {
            return Err(gone());
        }
        self.reach(&batch_at(BatchKind::Records, known.end, known.epoch))?;
        self.note_counts(known);
        Ok(())
    }

    /// The counts of a source stay, whatever is left out: the books count what was, not what is kept.
    fn note_counts(&mut self, known: &Known) {
        for (label, more) in &known.counts {
            let c = self.known.counts.entry(*label);
            let c = c.or_insert(LabelCount { here: Total::default(), ..*more });
            c.here = c.here.plus(more.here);
            c.total = more.total;
        }
    }

    fn record(&mut self, view: &RecordView<'_>, keep: Keep) {
        let kept = match keep {
            Keep::Nothing => return,
            Keep::Whole => *view,
            Keep::Bodyless => RecordView { body: &[], bodyless: true, ..*view },
        };
        kept.encode_into(&self.header.id, &mut self.payload);
        let content = self.known.content.get_or_insert_default();
        content.note(kept.encoded_len(), kept.body.len());
        self.kept += 1;
    }

    /// Everything up to the end of `header` is accounted for.
    fn reach(&mut self, header: &BatchHeader) -> io::Result<()> {
        let from = self.batch.map_or(self.known.end, |b| b.first);
        if header.end <= from {
            return Ok(());
        }
        let epoch = self.batch.map_or(header.epoch, |b| b.epoch.max(header.epoch));
        let end = self.batch.map_or(header.end, |b| b.end.max(header.end));
        self.batch = Some(BatchHeader { first: from, end, epoch, kind: BatchKind::Records, ..*header });
        if self.payload.len() >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        let Some(batch) = self.batch.take() else { return Ok(()) };
        let payload = std::mem::replace(&mut self.payload, vec![0; BATCH_HEADER]);
        let count = std::mem::take(&mut self.kept);
        let at = self.pos;
        let header = BatchHeader { count, payload: (payload.len() - BATCH_HEADER) as u32, ..batch };
        self.write(header, payload)?;
        self.known.note_batch(&header, at);
        self.known.forget_labels();
        Ok(())
    }

    fn write(&mut self, header: BatchHeader, mut bytes: Vec<u8>) -> io::Result<()> {
        let header = BatchHeader { payload: (bytes.len() - BATCH_HEADER) as u32, ..header };
        header.encode_into(&self.header.id, &mut bytes);
        bytes.resize(header.span() as usize, 0);
        self.file.write_at(&bytes, self.pos)?;
        self.pos += header.span();
        Ok(())
    }

    /// Accounts for everything below `end`; counts become at least those that `totals` names.
    pub(super) fn extend(&mut self, end: u64, totals: &BTreeMap<u32, Total>) -> io::Result<()> {
        self.reach(&batch_at(BatchKind::Records, end, self.known.epoch))?;
        for (label, total) in totals {
            let before = self.known.totals_before.get(label).copied().unwrap_or_default();
            let (first, here) = (self.known.first, Total::default());
            let c = self.known.counts.entry(*label).or_insert(LabelCount { first, here, total: before });
            let total = c.total.at_least(*total);
            c.here.count += total.count - c.total.count;
            c.here.bytes += total.bytes - c.total.bytes;
            c.total = total;
        }
        Ok(())
    }

    /// Closes the file in order and makes it durable, still under its temporary name.
    pub(super) fn finish(mut self, time_us: i64) -> io::Result<Copy> {
        self.flush()?;
        let counts: Vec<_> = self.known.counts.iter().map(|(l, c)| (*l, *c)).collect();
        let mut payload = vec![0; BATCH_HEADER];
        encode_counts(&self.header.id, &counts, &mut payload);
        let footer = self.pos;
        let (first, end, epoch) = (self.known.first, self.known.end, self.known.epoch);
        self.write(BatchHeader { time_us, ..batch_at(BatchKind::Footer, end, epoch) }, payload)?;
        let trailer = Trailer { footer, first, end, epoch, time_us };
        self.file.write_at(&trailer.encode(&self.header.id), self.pos)?;
        self.known.closed_us = Some(time_us);
        self.known.used = self.pos + BLOCK;
        self.header.len = self.known.used;
        self.file.write_at(&self.header.encode(), 0)?;
        self.file.sync_data()?;
        let Self { header, temporary, file, pos, known, .. } = self;
        Ok(Copy { header, temporary, file, len: pos + BLOCK, known })
    }
}

/// A batch without records at an offset: in a copy everything below it was synced before.
fn batch_at(kind: BatchKind, end: u64, epoch: u32) -> BatchHeader {
    BatchHeader { kind, payload: 0, count: 0, first: end, end, synced_through: end, epoch, time_us: 0 }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a record that was readable is not any more")
}
