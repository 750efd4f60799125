//! Walking a segment whatever state it is in, and telling exactly what in it cannot be read.
//!
//! A batch that is whole proves that everything before it was synced, since the writer never writes one
//! before the sync of the one before returned. Must never take an unacknowledged tail for damage, nor damage
//! for a tail, and reads only.

use std::io;
use std::sync::Arc;

use super::damage::{Damage, damage};
use super::disk::read_exact_at;
use super::format::{BATCH_HEADER, BLOCK, BatchHeader, BatchKind, RecordView, SegmentId, decode_counts};
use super::segment::{BatchCursor, Content, Known, MAX_BATCH, Segment, Step, records};
use crate::fail;

/// How many bytes one search step reads.
const SEARCH_BYTES: usize = 256 << 10;

/// A part of a batch.
pub(super) enum Piece<'a> {
    /// A whole record.
    Record(RecordView<'a>),
    /// Offsets of which at least one cannot be read: from the first to below the second.
    Lost(u64, u64),
}

/// Everything in a batch of records, damaged or not, in offset order.
pub(super) fn pieces<'a>(id: &SegmentId, header: &BatchHeader, mut rest: &'a [u8]) -> Vec<Piece<'a>> {
    let mut found = Vec::new();
    let (mut least, mut gap) = (header.first, false);
    let lost = |found: &mut Vec<Piece<'a>>, from: u64, end: u64| match found.last_mut() {
        Some(Piece::Lost(_, before)) if *before == from => *before = end,
        _ if from < end => found.push(Piece::Lost(from, end)),
        _ => {}
    };
    while !rest.is_empty() {
        let in_place = RecordView::claimed_offset(rest).is_some_and(|o| (least..header.end).contains(&o));
        let record = if in_place { RecordView::decode_envelope(id, rest) } else { None };
        let Some((view, whole, after)) = record else {
            // Its length cannot be trusted: the next record is wherever one is whole. Nobody can forge it.
            gap = true;
            rest = &rest[1..];
            continue;
        };
        if std::mem::take(&mut gap) {
            lost(&mut found, least, view.offset);
        }
        if whole {
            found.push(Piece::Record(view));
        } else {
            lost(&mut found, view.offset, view.offset + 1);
        }
        least = view.offset + 1;
        rest = after;
    }
    if gap {
        lost(&mut found, least, header.end);
    }
    found
}

/// Where the next whole batch header at or behind `from` is that accounts for `least` or more.
pub(super) fn find_batch(segment: &Segment, from: u64, least: u64) -> io::Result<Option<u64>> {
    let mut chunk = vec![0; SEARCH_BYTES];
    let mut at = from;
    while at < segment.file_len {
        let n = (chunk.len() as u64).min(segment.file_len - at) as usize;
        read_exact_at(&*segment.file, &mut chunk[..n], at)?;
        for (i, block) in chunk[..n].chunks(BLOCK as usize).enumerate() {
            let header = block.get(..BATCH_HEADER).and_then(|b| BatchHeader::decode(segment.id(), b));
            let pos = at + i as u64 * BLOCK;
            let fits = |h: &BatchHeader| h.span() <= MAX_BATCH && pos + h.span() <= segment.file_len;
            if header.is_some_and(|h| h.first >= least && fits(&h)) {
                return Ok(Some(pos));
            }
        }
        at += n as u64;
    }
    Ok(None)
}

/// One batch that a walk found.
pub(super) struct Walked<'a> {
    pub(super) at: u64,
    pub(super) header: BatchHeader,
    pub(super) payload: &'a [u8],
    /// Offsets before it that no batch accounts for, and where the damage begins.
    pub(super) lost: Option<Damage>,
}

/// Walks the batches of a segment past whatever is damaged.
pub(super) struct Walker {
    cursor: BatchCursor,
    /// The offset that the next batch should begin with.
    next: Option<u64>,
    /// Everything below is known to have been durable.
    proven: u64,
    /// Where the last batch given ends.
    end_pos: u64,
}

impl Walker {
    /// A walk over a segment that should begin with `next`.
    pub(super) fn new(segment: &Arc<Segment>, next: Option<u64>, proven: u64) -> Self {
        Self { cursor: BatchCursor::start(Arc::clone(segment)), next, proven, end_pos: BLOCK }
    }

    /// The next batch; none where the valid ones end.
    pub(super) fn step(&mut self) -> io::Result<Option<Walked<'_>>> {
        let expected = self.end_pos;
        self.cursor.pos = expected;
        let Some(at) = self.locate(expected)? else { return Ok(None) };
        let segment = Arc::clone(self.cursor.segment());
        self.cursor.pos = at;
        let Step::Batch(header, payload) = self.cursor.step()? else { return Ok(None) };
        let lost = self.next.filter(|next| header.first > *next);
        let lost = lost.map(|from| damage(&segment, expected, from, header.first));
        self.next = Some(header.end);
        self.end_pos = at + header.span();
        Ok(Some(Walked { at, header, payload, lost }))
    }

    /// Where the next batch begins that was synced, or that is whole.
    fn locate(&mut self, mut at: u64) -> io::Result<Option<u64>> {
        let segment = Arc::clone(self.cursor.segment());
        loop {
            self.cursor.pos = at;
            let header = match self.cursor.step()? {
                Step::Batch(h, payload) if self.next.is_none_or(|next| h.first >= next) => {
                    let whole = h.kind != BatchKind::Records || records(segment.id(), &h, payload).is_some();
                    Some((h, whole))
                }
                _ => None,
            };
            match header {
                Some((_, true)) => return Ok(Some(at)),
                Some((h, false)) => {
                    let synced =
                        self.proven > h.first || find_batch(&segment, at + h.span(), h.first + 1)?.is_some();
                    return Ok(synced.then_some(at));
                }
                None => match find_batch(&segment, at + BLOCK, self.next.unwrap_or(0))? {
                    Some(later) => at = later,
                    None => return Ok(None),
                },
            }
        }
    }
}

/// Nothing below what was durable is given again, whatever is left of it.
pub(super) fn raise(next: &mut u64, proven: u64) {
    if !fail::mutant("offsets-reused-after-loss") {
        *next = proven;
    }
}

/// What a walk over all of a segment's batches found.
#[derive(Debug, Default)]
pub(super) struct Walk {
    pub(super) known: Known,
    /// Where the valid batches end.
    pub(super) end_pos: u64,
    /// The last batch is a clean seal.
    pub(super) clean: bool,
    /// Where the batches without records at the end begin.
    pub(super) seals_from: u64,
    pub(super) has_records: bool,
    pub(super) has_opening: bool,
    pub(super) damage: Vec<Damage>,
}

impl Walk {
    /// Adds damage; what continues the damage before it is one with it.
    fn damaged(&mut self, more: Damage) {
        match self.damage.last_mut() {
            Some(before) if before.offsets() > 0 && before.to + 1 == more.from => before.to = more.to,
            _ => self.damage.push(more),
        }
    }

    /// As [`Walk::damaged`], among the records of a batch: whose the lost ones were, nobody knows.
    fn damaged_among(&mut self, more: Damage) {
        self.known.forget_labels();
        self.damaged(more);
    }

    fn nothing() -> Self {
        Self { end_pos: BLOCK, seals_from: BLOCK, ..Self::default() }
    }
}

/// Walks all of a segment, checking every record. `next` is the offset it should begin with, if that is
/// known; everything below `proven` is known to have been durable.
pub(super) fn walk(segment: &Arc<Segment>, next: Option<u64>, proven: u64) -> io::Result<Walk> {
    let id = *segment.id();
    let mut walker = Walker::new(segment, next, proven);
    let mut walk = Walk::nothing();
    let mut content = Content::default();
    if let Some(next) = next {
        (walk.known.first, walk.known.end) = (next, next);
    }
    let (mut begun, mut batches) = (next.is_some(), 0);
    while let Some(Walked { at, header, payload, lost }) = walker.step()? {
        lost.into_iter().for_each(|lost| walk.damaged(lost));
        batches += 1;
        if !std::mem::replace(&mut begun, true) {
            walk.known.first = header.first;
        }
        (walk.known.end, walk.end_pos) = (header.end, at + header.span());
        walk.known.epoch = walk.known.epoch.max(header.epoch);
        walk.clean = header.kind == BatchKind::CleanSeal;
        if !matches!(header.kind, BatchKind::Seal | BatchKind::CleanSeal) {
            walk.seals_from = walk.end_pos;
        }
        match header.kind {
            BatchKind::Opening => {
                let counts = decode_counts(&id, payload);
                walk.has_opening = counts.is_some();
                let totals = counts.unwrap_or_default();
                walk.known.totals_before = totals.into_iter().map(|(l, c)| (l, c.total)).collect();
            }
            BatchKind::Records => {
                walk.has_records = true;
                walk.known.note_batch(&header, at);
                for piece in pieces(&id, &header, payload) {
                    match piece {
                        Piece::Record(view) => {
                            let bare = view.bare_len();
                            view.labels().for_each(|label| walk.known.note_label(label, view.offset, bare));
                            content.note(view.encoded_len(), view.body.len());
                        }
                        Piece::Lost(from, end) => walk.damaged_among(damage(segment, at, from, end)),
                    }
                }
            }
            BatchKind::Seal | BatchKind::CleanSeal => {}
            BatchKind::Footer => {
                // Closed. Its counts also know what compaction left out.
                if let Some(counts) = decode_counts(&id, payload) {
                    walk.known.counts = counts.into_iter().collect();
                }
                break;
            }
        }
    }
    if !walk.has_opening && batches > 0 {
        let first = walk.known.first;
        if batches == 1 && proven <= first {
            // The opening is synced together with the first records: neither was acknowledged.
            return Ok(Walk { known: Known { first, end: first, ..Known::default() }, ..Walk::nothing() });
        }
        // Whatever the first block held, it is damaged; the counts of the segments around it tell what it
        // said.
        walk.damage.insert(0, damage(segment, BLOCK, first, first));
    }
    if proven > walk.known.end {
        walk.damaged(damage(segment, walk.end_pos, walk.known.end.max(1), proven));
        raise(&mut walk.known.end, proven);
    }
    walk.known.content = Some(content);
    Ok(walk)
}
