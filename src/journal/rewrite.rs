//! Copies what is needed of some segments into one new, closed file of its own life.
//!
//! The new file is complete and synced under a temporary name before it replaces anything. Must never change an offset, an
//! epoch or a kept record's bytes.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::disk::Disk;
use super::format::{
    BATCH_HEADER, BLOCK, BatchHeader, BatchKind, RecordView, SegmentHeader, SegmentId, Trailer, encode_counts,
};
use super::segment::{BatchCursor, Known, Segment, Step, file_name, records};

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
    pub(super) temporary: std::path::PathBuf,
    pub(super) file: Arc<dyn super::disk::DiskFile>,
    pub(super) len: u64,
    pub(super) known: Known,
}

/// Where a copy reads from: a segment, and the position at which its valid batches end.
pub(super) struct Source {
    pub(super) segment: Arc<Segment>,
    pub(super) until: u64,
}

/// Writes the copy of `sources` (neighbours, in order) with a new life `id`.
pub(super) fn copy(
    disk: &dyn Disk,
    temporary: &Path,
    sources: &[Source],
    id: SegmentId,
    time_us: i64,
    keep: &dyn Fn(&RecordView<'_>) -> Keep,
) -> io::Result<Copy> {
    let first = sources.first().map_or(0, |s| s.segment.header.first);
    let last = sources.last().map_or(0, |s| s.segment.header.last);
    let header = SegmentHeader { id, first, last };
    let _ = disk.remove(temporary);
    let file = disk.create(temporary)?;
    file.write_at(&header.encode(), 0)?;
    let mut out = Output { file: &*file, id, pos: BLOCK, known: Known::default(), opened: false };
    for source in sources {
        copy_one(source, &mut out, keep)?;
    }
    let (len, known) = out.close(time_us)?;
    file.sync_data()?;
    Ok(Copy { header, temporary: temporary.to_owned(), file, len, known })
}

/// Gives a copy its final name. The caller removes the other sources afterwards.
pub(super) fn publish(disk: &dyn Disk, dir: &Path, copy: Copy) -> io::Result<Arc<Segment>> {
    let path = dir.join(file_name(copy.header.first));
    disk.rename(&copy.temporary, &path)?;
    disk.sync_dir(dir)?;
    Ok(Segment::new(copy.header, path, copy.file, copy.len, copy.known))
}

fn copy_one(source: &Source, out: &mut Output<'_>, keep: &dyn Fn(&RecordView<'_>) -> Keep) -> io::Result<()> {
    let mut cursor = BatchCursor::start(Arc::clone(&source.segment));
    let id = *source.segment.id();
    while cursor.pos < source.until {
        let Step::Batch(header, payload) = cursor.step()? else {
            return Err(io::Error::other("a batch that was readable is not any more"));
        };
        match header.kind {
            BatchKind::Opening => {
                let counts = super::format::decode_counts(&id, payload)
                    .ok_or_else(|| io::Error::other("an opening is damaged"))?;
                out.open(&header, counts.into_iter().map(|(l, c)| (l, c.total)).collect())?;
            }
            BatchKind::Records => {
                let views = records(&id, &header, payload)
                    .ok_or_else(|| io::Error::other("a record that was readable is not any more"))?;
                out.records(&header, &views, keep)?;
            }
            BatchKind::Seal | BatchKind::CleanSeal | BatchKind::Footer => {}
        }
    }
    Ok(())
}

struct Output<'a> {
    file: &'a dyn super::disk::DiskFile,
    id: SegmentId,
    pos: u64,
    known: Known,
    opened: bool,
}

impl Output<'_> {
    fn open(&mut self, header: &BatchHeader, totals: BTreeMap<u32, u64>) -> io::Result<()> {
        if self.opened {
            return Ok(());
        }
        self.opened = true;
        self.known.first = header.first;
        self.known.end = header.first;
        let counts: Vec<_> = totals.iter().map(|(l, n)| (*l, super::total_only(*n))).collect();
        let mut payload = vec![0; BATCH_HEADER];
        encode_counts(&self.id, &counts, &mut payload);
        self.known.totals_before = totals;
        self.write(*header, 0, payload)
    }

    fn records(
        &mut self,
        header: &BatchHeader,
        views: &[RecordView<'_>],
        keep: &dyn Fn(&RecordView<'_>) -> Keep,
    ) -> io::Result<()> {
        let mut payload = vec![0; BATCH_HEADER];
        let mut count = 0;
        for view in views {
            // Counted also where the record is left out: the books count what was, not what is kept.
            for label in view.labels() {
                self.known.note_label(label, view.offset);
            }
            let kept = match keep(view) {
                Keep::Nothing => continue,
                Keep::Whole => *view,
                Keep::Bodyless => RecordView { body: &[], bodyless: true, ..*view },
            };
            kept.encode_into(&self.id, &mut payload);
            count += 1;
        }
        let at = self.pos;
        self.write(*header, count, payload)?;
        self.known.note_batch(header, at);
        self.known.used = self.pos;
        Ok(())
    }

    fn write(&mut self, header: BatchHeader, count: u32, mut bytes: Vec<u8>) -> io::Result<()> {
        let header = BatchHeader { payload: (bytes.len() - BATCH_HEADER) as u32, count, ..header };
        header.encode_into(&self.id, &mut bytes);
        bytes.resize(header.span() as usize, 0);
        self.file.write_at(&bytes, self.pos)?;
        self.pos += header.span();
        Ok(())
    }

    fn close(mut self, time_us: i64) -> io::Result<(u64, Known)> {
        let counts: Vec<_> = self.known.counts.iter().map(|(l, c)| (*l, *c)).collect();
        let mut payload = vec![0; BATCH_HEADER];
        encode_counts(&self.id, &counts, &mut payload);
        let footer = self.pos;
        let (first, end, epoch) = (self.known.first, self.known.end, self.known.epoch);
        let header = BatchHeader {
            kind: BatchKind::Footer,
            payload: 0,
            count: 0,
            first: end,
            end,
            synced_through: end,
            epoch,
            time_us,
        };
        self.write(header, 0, payload)?;
        let trailer = Trailer { footer, first, end, epoch, time_us };
        self.file.write_at(&trailer.encode(&self.id), self.pos)?;
        self.known.closed_us = Some(time_us);
        self.known.used = self.pos + BLOCK;
        Ok((self.pos + BLOCK, self.known))
    }
}
