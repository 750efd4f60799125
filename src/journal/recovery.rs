//! Opening a journal: what is there, what is damage, and what was never acknowledged.
//!
//! Bad bytes at p are *corruption* if anything durable proves that p was synced: a later batch, a later segment, or a
//! row that names the offset. Otherwise they are a tail that nobody was told about, and are dropped. Must never skip
//! damage silently, and never let anybody read an uncleanly stopped tail before it was copied and synced: a page whose sync
//! failed may look fine in the cache and not be on disk.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{Disk, DiskFile, make_dir, read_exact_at};
use super::format::{
    BATCH_HEADER, BLOCK, BatchHeader, BatchKind, HeaderError, SegmentHeader, SegmentId, Trailer,
    decode_counts,
};
use super::prepare::RandomFn;
use super::rewrite::{self, Keep, Source};
use super::segment::{BatchCursor, Known, Segment, Step, number_of, records};
use crate::fail;

/// Why a journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Records that were synced are damaged or missing.
    #[error(
        "journal: {file} is damaged at byte {at}: offsets {from} to {to} cannot be read; \
         see `tidings journal verify`"
    )]
    Corrupt {
        /// The file's name.
        file: String,
        /// Where the damage begins.
        at: u64,
        /// The first offset affected.
        from: u64,
        /// The last offset affected.
        to: u64,
    },
    /// The header is not usable.
    #[error("journal: {0}: {1}")]
    Header(String, HeaderError),
    /// The disk failed.
    #[error("journal: {0}")]
    Io(#[from] io::Error),
}

/// What opening found, for people and for the epoch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// The journal was closed in order.
    pub clean: bool,
    /// Records at the end of an uncleanly stopped segment that were copied and synced before anybody read them.
    pub copied: u64,
    /// Bytes of an unacknowledged batch that were dropped.
    pub dropped: u64,
}

/// What opening found, for the journal.
#[derive(Default)]
pub(super) struct Recovered {
    pub(super) segments: Vec<Arc<Segment>>,
    pub(super) ready: VecDeque<Arc<Segment>>,
    pub(super) recycled: Vec<(PathBuf, Arc<dyn DiskFile>)>,
    /// The segment to go on writing in, and where.
    pub(super) active: Option<(Arc<Segment>, u64)>,
    pub(super) next: u64,
    pub(super) next_number: u64,
    pub(super) epoch: u32,
    pub(super) totals: BTreeMap<u32, u64>,
    pub(super) report: Report,
}

/// What a walk over one segment's batches found.
#[derive(Default)]
struct Walk {
    known: Known,
    /// Where the valid batches end.
    end_pos: u64,
    /// The last batch was a clean seal.
    clean: bool,
    /// Where the batches without records at the end begin.
    seals_from: u64,
    has_records: bool,
    has_opening: bool,
}

/// Opens the journal in `dir`. `proven_end` is one above the highest offset that any other durable thing names.
pub(super) fn open(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    proven_end: u64,
    segment_bytes: u64,
    now_us: i64,
    random: RandomFn,
) -> Result<Recovered, OpenError> {
    make_dir(&**disk, dir)?;
    let files = live_files(&**disk, dir)?;
    let mut found = Recovered { next: 1, next_number: 1, epoch: 1, ..Recovered::default() };
    let mut files = files.into_iter().peekable();
    let mut unused = Vec::new();
    // Files without a single batch stand ready at the end; the one before them is where writing stopped. A file with
    // batches behind one without is a gap, which `link` finds.
    while let Some(segment) = files.next() {
        found.next_number = segment.header.last + 1;
        if read_closed(&segment)? {
            link(&mut found, &segment)?;
            continue;
        }
        let mut walk = walk(&segment)?;
        if !walk.has_opening {
            walk.known.end = found.next;
        }
        let bad = Bad { segment: &segment, at: walk.end_pos, from: walk.known.end };
        let followed = match files.peek() {
            Some(next) => first_offset(next)?,
            None => None,
        };
        match followed {
            // It was closed before the next one was used: all of it must be there.
            Some(next) if next != walk.known.end => return Err(bad.corrupt(next)),
            Some(_) => {}
            None => {
                if let Some(lost_end) = proof(&bad, proven_end)? {
                    return Err(bad.corrupt(lost_end));
                }
            }
        }
        if followed.is_none() && !walk.has_records && !walk.clean {
            // Nothing was acknowledged in it: it lives again under a new id, like those that stand ready behind it.
            unused.push(segment);
            continue;
        }
        let followed = followed.is_some();
        found.report.clean = walk.clean;
        finish_last(&mut found, disk, dir, &segment, walk, followed, now_us, random)?;
    }
    if proven_end > found.next {
        let file = dir.display().to_string();
        return Err(OpenError::Corrupt { file, at: 0, from: found.next, to: proven_end - 1 });
    }
    // From the highest number down: whatever stops us on the way, no number is missing between those that are left.
    for segment in unused.into_iter().rev() {
        retire(&mut found, &**disk, dir, segment, segment_bytes)?;
        fail::point("recover.retired");
    }
    // Offsets after an unclean stop may repeat numbers that were written and never acknowledged.
    if !found.report.clean && found.next > 1 {
        found.epoch += 1;
    }
    Ok(found)
}

/// Continues in a cleanly stopped segment, or copies an unclean tail into a file that is closed and synced.
#[allow(clippy::too_many_arguments)]
fn finish_last(
    found: &mut Recovered,
    disk: &Arc<dyn Disk>,
    dir: &Path,
    segment: &Arc<Segment>,
    walk: Walk,
    followed: bool,
    now_us: i64,
    random: RandomFn,
) -> Result<(), OpenError> {
    let until = walk.end_pos;
    if walk.clean && !followed {
        // The sync at the stop may have failed: what looks fine in the cache is then not on the disk, and a batch written
        // behind it would be cut off from those before. Written and synced again, it is.
        let mut seals = vec![0; (until - walk.seals_from) as usize];
        read_exact_at(&*segment.file, &mut seals, walk.seals_from)?;
        segment.file.write_at(&seals, walk.seals_from)?;
        segment.file.sync_data()?;
        *segment.known_mut() = walk.known;
        segment.known_mut().used = until;
        link(found, segment)?;
        found.active = Some((Arc::clone(segment), until));
        return Ok(());
    }
    found.report.copied += walk.known.end - walk.known.first;
    let mut id = [0; 16];
    random(&mut id)?;
    fail::point("recover.scan.mid");
    let source = Source { segment: Arc::clone(segment), until };
    let temporary = dir.join("recovered.tmp");
    let copy = rewrite::copy(&**disk, &temporary, &[source], SegmentId::new(id), now_us, &|_| Keep::Whole)?;
    fail::point("recover.tail.copied");
    let copied = rewrite::publish(&**disk, dir, copy)?;
    fail::point("recover.tail.swapped");
    link(found, &copied)
}

/// Appends a segment to what was found, checking that it continues where the one before ended.
fn link(found: &mut Recovered, segment: &Arc<Segment>) -> Result<(), OpenError> {
    let (first, end, epoch) = {
        let known = segment.known();
        (known.first, known.end, known.epoch)
    };
    if found.segments.is_empty() {
        found.totals = segment.known().totals_before.clone();
    } else if first != found.next {
        let bad = Bad { segment, at: BLOCK, from: found.next };
        return Err(bad.corrupt(first.max(found.next + 1)));
    }
    segment.known_mut().totals_before = found.totals.clone();
    for (label, counts) in &segment.known().counts {
        found.totals.insert(*label, counts.total);
    }
    found.next = end;
    found.epoch = found.epoch.max(epoch);
    found.segments.push(Arc::clone(segment));
    Ok(())
}

/// Live files in number order, their headers checked, leftovers removed, no number missing between them.
fn live_files(disk: &dyn Disk, dir: &Path) -> Result<Vec<Arc<Segment>>, OpenError> {
    let mut live: Vec<Arc<Segment>> = Vec::new();
    let mut removed = false;
    for path in disk.list(dir)? {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let Some(number) = number_of(&path) else {
            if name.ends_with(".tmp") {
                disk.remove(&path)?;
                removed = true;
            }
            continue;
        };
        let file = disk.open(&path)?;
        let len = file.len()?;
        let mut block = vec![0; BLOCK as usize];
        let read = read_exact_at(&*file, &mut block, 0);
        let header = match read {
            Ok(()) => SegmentHeader::decode(&block),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Err(HeaderError::Damaged),
            Err(e) => return Err(e.into()),
        };
        let header = header.map_err(|e| OpenError::Header(name.clone(), e))?;
        if header.first != number || header.last < number {
            return Err(OpenError::Header(name, HeaderError::Damaged));
        }
        // A compaction that was interrupted after its rename: what it covers goes.
        if live.last().is_some_and(|before| before.header.last >= header.last) {
            disk.remove(&path)?;
            removed = true;
            continue;
        }
        live.push(Segment::new(header, path, file, len, Known::default()));
    }
    if removed {
        disk.sync_dir(dir)?;
    }
    for pair in live.windows(2) {
        if pair[1].header.first != pair[0].header.last + 1 {
            let end = Trailer::decode(pair[0].id(), &last_block(&pair[0])?).map_or(0, |t| t.end);
            return Err(OpenError::Corrupt {
                file: super::segment::file_name(pair[0].header.last + 1),
                at: 0,
                from: end,
                to: first_offset(&pair[1])?.map_or(end, |first| first.saturating_sub(1)),
            });
        }
    }
    Ok(live)
}

fn last_block(segment: &Segment) -> io::Result<Vec<u8>> {
    let mut block = vec![0; BLOCK as usize];
    if segment.file_len >= 2 * BLOCK {
        read_exact_at(&*segment.file, &mut block, segment.file_len - BLOCK)?;
    }
    Ok(block)
}

/// Reads opening and footer of a closed segment; false if it is not closed.
fn read_closed(segment: &Arc<Segment>) -> Result<bool, OpenError> {
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
    let mut known = segment.known_mut();
    known.first = trailer.first;
    known.end = trailer.end;
    known.epoch = trailer.epoch;
    known.closed_us = Some(trailer.time_us);
    known.used = segment.file_len;
    known.totals_before = opening.into_iter().map(|(l, c)| (l, c.total)).collect();
    known.counts = footer.into_iter().collect();
    Ok(true)
}

/// Walks every batch of a segment that was not closed, checking every record.
fn walk(segment: &Arc<Segment>) -> io::Result<Walk> {
    let id = *segment.id();
    let mut cursor = BatchCursor::start(Arc::clone(segment));
    let mut walk = Walk { end_pos: BLOCK, ..Walk::default() };
    loop {
        let at = cursor.pos;
        let Step::Batch(header, payload) = cursor.step()? else { break };
        if walk.has_opening && header.first != walk.known.end {
            break;
        }
        match header.kind {
            BatchKind::Opening => {
                let Some(counts) = decode_counts(&id, payload).filter(|_| !walk.has_opening) else { break };
                walk.has_opening = true;
                walk.known.first = header.first;
                walk.known.end = header.first;
                walk.known.epoch = header.epoch;
                walk.known.totals_before = counts.into_iter().map(|(l, c)| (l, c.total)).collect();
            }
            _ if !walk.has_opening => break,
            BatchKind::Records => {
                let Some(views) = records(&id, &header, payload) else { break };
                for view in views {
                    view.labels().for_each(|label| walk.known.note_label(label, view.offset));
                }
                walk.known.note_batch(&header, at);
                walk.has_records = true;
            }
            BatchKind::Seal | BatchKind::CleanSeal => walk.known.epoch = walk.known.epoch.max(header.epoch),
            BatchKind::Footer => {
                // Closed, but the trailer did not reach the disk.
                walk.end_pos = cursor.pos;
                break;
            }
        }
        walk.clean = header.kind == BatchKind::CleanSeal;
        walk.end_pos = cursor.pos;
        if !matches!(header.kind, BatchKind::Seal | BatchKind::CleanSeal) {
            walk.seals_from = walk.end_pos;
        }
    }
    Ok(walk)
}

/// The first offset of a segment that has an opening.
fn first_offset(segment: &Arc<Segment>) -> io::Result<Option<u64>> {
    Ok(match BatchCursor::start(Arc::clone(segment)).step()? {
        Step::Batch(header, _) => Some(header.first),
        Step::Nothing => None,
    })
}

/// Takes a file without records back for another life, or removes it if its length is not today's.
fn retire(
    found: &mut Recovered,
    disk: &dyn Disk,
    dir: &Path,
    segment: Arc<Segment>,
    segment_bytes: u64,
) -> Result<(), OpenError> {
    if segment.file_len == segment_bytes {
        let temporary = dir.join(format!("retired-{}.tmp", segment.header.first));
        disk.rename(&segment.path, &temporary)?;
        found.recycled.push((temporary, Arc::clone(&segment.file)));
    } else {
        disk.remove(&segment.path)?;
    }
    disk.sync_dir(dir)?;
    found.next_number = found.next_number.min(segment.header.first);
    Ok(())
}

/// A place at which no valid batch begins.
struct Bad<'a> {
    segment: &'a Segment,
    at: u64,
    /// The offset that should begin there.
    from: u64,
}

impl Bad<'_> {
    fn corrupt(&self, next_good: u64) -> OpenError {
        OpenError::Corrupt {
            file: self.segment.path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
            at: self.at,
            from: self.from,
            to: next_good.saturating_sub(1).max(self.from),
        }
    }
}

/// One above the last lost offset, if anything durable proves that the bytes at the bad place were synced.
fn proof(bad: &Bad<'_>, proven_end: u64) -> io::Result<Option<u64>> {
    let proven = (proven_end > bad.from).then_some(proven_end);
    let mut chunk = vec![0; 256 << 10];
    let mut at = bad.at;
    while at < bad.segment.file_len {
        let n = (chunk.len() as u64).min(bad.segment.file_len - at) as usize;
        read_exact_at(&*bad.segment.file, &mut chunk[..n], at)?;
        for block in chunk[..n].chunks(BLOCK as usize) {
            let later = block.get(..BATCH_HEADER).and_then(|b| BatchHeader::decode(bad.segment.id(), b));
            if let Some(header) = later.filter(|h| h.synced_through > bad.from) {
                return Ok(Some(proven.unwrap_or(0).max(header.synced_through)));
            }
        }
        at += n as u64;
    }
    Ok(proven)
}
