//! Which files a journal's directory has, and what their own headers, openings and footers say.
//!
//! Must never judge: what follows from it is the survey's. Must never change a file.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::disk::{Disk, DiskFile, read_exact_at};
use super::error::OpenError;
use super::format::{BLOCK, BatchKind, HeaderError, SegmentHeader, Trailer, decode_counts};
use super::scan;
use super::segment::{BatchCursor, Known, Segment, Step, number_of};
use super::survey::{Role, Survey, Surveyed};

/// The first offset of a later segment; not exact if its opening is damaged.
#[derive(Debug, Clone, Copy)]
pub(super) struct First {
    pub(super) offset: u64,
    pub(super) exact: bool,
}

/// Live files in number order with their headers, and the leftovers beside them.
pub(super) fn list(disk: &dyn Disk, dir: &Path) -> Result<Survey, OpenError> {
    let mut survey = Survey::default();
    let mut covered_to = 0;
    for path in disk.list(dir)? {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let Some(number) = number_of(&path) else {
            if name.ends_with(".tmp") {
                survey.temporary.push(path);
            }
            continue;
        };
        // A compaction that was interrupted after its rename: what it covers goes.
        if number <= covered_to {
            survey.covered.push(path);
            continue;
        }
        let file = match disk.open(&path) {
            // Taken back since it was listed, by a server that runs.
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        let len = file.len()?;
        let header = match read_header(&*file)? {
            Err(HeaderError::Version(v)) => return Err(OpenError::Header(name, HeaderError::Version(v))),
            Ok(header) if header.first == number && header.last >= number => Some(header),
            _ => None,
        };
        let last = header.map_or(number, |h| h.last);
        covered_to = last;
        let segment = header.map(|h| Segment::new(h, path.clone(), file, len, Known::default()));
        let (role, known) = (Role::Unreadable, Known::default());
        survey.files.push(Surveyed { name, path, first: number, last, len, segment, role, known });
    }
    Ok(survey)
}

fn read_header(file: &dyn DiskFile) -> io::Result<Result<SegmentHeader, HeaderError>> {
    let mut block = vec![0; BLOCK as usize];
    match read_exact_at(file, &mut block, 0) {
        Ok(()) => Ok(SegmentHeader::decode(&block)),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(Err(HeaderError::Damaged)),
        Err(e) => Err(e),
    }
}

fn last_block(segment: &Segment) -> io::Result<Vec<u8>> {
    let mut block = vec![0; BLOCK as usize];
    if segment.file_len >= 2 * BLOCK {
        read_exact_at(&*segment.file, &mut block, segment.file_len - BLOCK)?;
    }
    Ok(block)
}

/// Reads opening and footer of a closed segment; false if it is not closed.
pub(super) fn read_closed(segment: &Arc<Segment>, known: &mut Known) -> Result<bool, OpenError> {
    let id = *segment.id();
    let Some(trailer) = Trailer::decode(&id, &last_block(segment)?) else { return Ok(false) };
    let mut cursor = BatchCursor::start(Arc::clone(segment));
    let opening = match cursor.step()? {
        Step::Batch(h, payload) if h.kind == BatchKind::Opening => decode_counts(&id, payload),
        _ => None,
    };
    cursor.pos = trailer.footer;
    let footer = match cursor.step()? {
        Step::Batch(h, payload) if h.kind == BatchKind::Footer => decode_counts(&id, payload),
        _ => None,
    };
    // Both can be counted again from the records; a walk does that, and finds what else is damaged.
    let (Some(opening), Some(footer)) = (opening, footer) else { return Ok(false) };
    known.first = trailer.first;
    known.end = trailer.end;
    known.epoch = trailer.epoch;
    known.closed_us = Some(trailer.time_us);
    known.used = segment.file_len;
    known.totals_before = opening.into_iter().map(|(l, c)| (l, c.total)).collect();
    known.counts = footer.into_iter().collect();
    Ok(true)
}

/// The first offset that a segment says it has, if anything was written in it.
pub(super) fn first_offset(segment: &Arc<Segment>) -> io::Result<Option<First>> {
    if let Step::Batch(header, _) = BatchCursor::start(Arc::clone(segment)).step()? {
        return Ok(Some(First { offset: header.first, exact: true }));
    }
    if let Some(trailer) = Trailer::decode(segment.id(), &last_block(segment)?) {
        return Ok(Some(First { offset: trailer.first, exact: true }));
    }
    let Some(pos) = scan::find_batch(segment, 2 * BLOCK, 0)? else { return Ok(None) };
    let mut cursor = BatchCursor::start(Arc::clone(segment));
    cursor.pos = pos;
    Ok(match cursor.step()? {
        // One batch that nothing follows may never have been acknowledged: it proves nothing.
        Step::Batch(h, _) if scan::find_batch(segment, pos + h.span(), h.first)?.is_some() => {
            Some(First { offset: h.first, exact: false })
        }
        _ => None,
    })
}
