//! The compacting thread: rewrites closed segments of which readers need only little, so that nobody pins the
//! log.
//!
//! A copy of what is needed, bodyless, is made and synced under a temporary name, renamed over the first of
//! the segments it replaces, and made durable before the others are removed: at every moment the files on
//! disk hold all that is needed. Must never believe an unsynced row, nor leave out what the index has not
//! checkpointed.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::disk::Disk;
use super::format::{BLOCK, BatchKind, RecordView, SegmentId};
use super::prepare::RandomFn;
use super::rewrite::{self, Keep, Source};
use super::scan::{Piece, Walker, pieces};
use super::segment::{Content, Known, Segment};
use super::shared::Shared;
use super::writer::lock;
use crate::fail;

/// Compaction begins when so many closed segments are kept only because somebody needs a part of them …
const PINNED: usize = 32;
/// … or when the needed segments take more than this part of `max_bytes`.
const PRESSED: u64 = 2;
/// When only a quarter is left, history that retention alone would keep is not spared any more.
const HARD_PRESSED: u64 = 4;
/// Segments that become one in a go: bounds what one interruption throws away.
const MERGED: usize = 64;

/// What is still needed of the log, by synced rows and checkpoints only.
#[derive(Debug, Clone, Default)]
pub struct Needed {
    /// Everything at or above is needed as it is.
    pub from: u64,
    /// What each reader needs below; a label that is not here is needed by nobody.
    pub labels: BTreeMap<u32, LabelNeed>,
    /// Segments that have some of these offsets stay as they are.
    pub whole: Vec<Range<u64>>,
}

/// What one reader needs.
#[derive(Debug, Clone, Default)]
pub struct LabelNeed {
    /// Every record with its label at or above …
    pub from: u64,
    /// … and these, ascending.
    pub holes: Arc<[u64]>,
}

impl LabelNeed {
    /// At most so many records of a segment are needed, of those that have the label.
    fn at_most(&self, known: &Known, count: u64) -> u64 {
        if self.from < known.end {
            return count;
        }
        let below = |offset: u64| self.holes.partition_point(|h| *h < offset) as u64;
        count.min(below(known.end) - below(known.first))
    }
}

impl Needed {
    fn wants(&self, view: &RecordView<'_>) -> bool {
        let wants = |label: u32| {
            let need =
                self.labels.get(&label).filter(|n| view.offset >= n.from || !fail::mutant("hole-forgotten"));
            need.is_some_and(|n| view.offset >= n.from || n.holes.binary_search(&view.offset).is_ok())
        };
        view.offset >= self.from || view.labels().any(wants)
    }
}

/// Says what is needed now; none while that is not known.
pub type NeededFn = Arc<dyn Fn() -> Option<Needed> + Send + Sync>;

/// What the compacting thread works with.
pub(super) struct Compactor<T> {
    pub(super) shared: Arc<Shared<T>>,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    pub(super) segment_bytes: u64,
    pub(super) max_bytes: u64,
    pub(super) retain_bytes: u64,
    pub(super) retain_age: Duration,
    pub(super) random: RandomFn,
    /// First numbers of segments that could not be read: they stay as they are.
    pub(super) avoid: HashSet<u64>,
}

/// Neighbours that become one, and how many bytes the copy will have at most.
struct Run {
    segments: Vec<Arc<Segment>>,
    estimate: u64,
}

impl<T: Send + 'static> Compactor<T> {
    /// Runs until the journal stops.
    pub(super) fn run(mut self) {
        loop {
            let needed = {
                let mut poke = lock(&self.shared.poke);
                while !poke.dirty && !poke.stopping {
                    poke = self.shared.poked.wait(poke).unwrap_or_else(PoisonError::into_inner);
                }
                if poke.stopping {
                    return;
                }
                poke.dirty = false;
                poke.needed.clone()
            };
            let Some(needed) = needed else { continue };
            let mut replaced = false;
            loop {
                match self.once(&needed) {
                    Ok(true) if !lock(&self.shared.poke).stopping => replaced = true,
                    Ok(_) => break,
                    Err(e) => {
                        tracing::warn!("the journal is not compacted now: {e}");
                        break;
                    }
                }
            }
            if replaced {
                self.shared.compacted.send_modify(|n| *n += 1);
            }
            self.shared.looks.send_modify(|n| *n += 1);
        }
    }

    /// Compacts one run of segments, if kept bytes press and it gains much. True if there may be more to do.
    fn once(&mut self, needed: &NeededFn) -> io::Result<bool> {
        let floor = lock(&self.shared.spares).floor;
        let all = self.shared.segments.all();
        let pinned: Vec<_> = all.iter().filter(|s| s.known().end > floor).collect();
        let used: u64 = pinned.iter().map(|s| s.file_len).sum();
        let pressed = used > self.max_bytes / PRESSED || pinned.len() > PINNED;
        if !pressed {
            return Ok(false);
        }
        // Whoever needs more from now on waits until this is done, and then looks at what is there.
        let shared = Arc::clone(&self.shared);
        let _compacting = lock(&shared.compacting);
        let Some(needed) = needed() else { return Ok(false) };
        let hard = used > self.max_bytes / HARD_PRESSED * (HARD_PRESSED - 1);
        let Some(run) = self.choose(&all, floor, &needed, hard) else { return Ok(false) };
        let sources: Vec<_> = run.segments.iter().map(source).collect();
        let replaced = self.compact(&run.segments, &sources, &needed);
        if let Err(e) = &replaced
            && e.kind() != io::ErrorKind::StorageFull
        {
            self.avoid.extend(run.segments.iter().map(|s| s.header.first));
        }
        replaced?;
        self.shared.note_needed(floor);
        // The preparing thread may have waited for the space.
        lock(&self.shared.spares).dirty = true;
        self.shared.spares_changed.notify_all();
        Ok(true)
    }

    /// The first run of neighbours whose needed part is less than half of their bytes.
    fn choose(&mut self, all: &[Arc<Segment>], floor: u64, needed: &Needed, hard: bool) -> Option<Run> {
        let retained = self.retained(all, needed.from, hard);
        let mut run = Run { segments: Vec::new(), estimate: 0 };
        for segment in all {
            let known = segment.known().clone();
            let closed = known.closed_us.is_some() && known.end <= needed.from && known.end > floor;
            let whole = needed.whole.iter().any(|r| r.start < known.end && known.first < r.end);
            let first = &segment.header.first;
            let spared = whole || retained.contains(first) || self.avoid.contains(first);
            let estimate = if closed && !spared { self.estimate(segment, &known, needed) } else { None };
            // What is mostly needed stays; unless it is small, then it joins its neighbours.
            let fit = estimate.filter(|n| n * 2 < segment.file_len || *n < self.segment_bytes / 4);
            let room =
                |run: &Run, n: u64| run.segments.len() < MERGED && run.estimate + n <= self.segment_bytes;
            if !fit.is_some_and(|n| room(&run, n)) {
                if run.gains() {
                    return Some(run);
                }
                run = Run { segments: Vec::new(), estimate: 0 };
            }
            if let Some(n) = fit {
                run.segments.push(Arc::clone(segment));
                run.estimate += n;
            }
        }
        run.gains().then_some(run)
    }

    /// First numbers of the newest closed segments that retention keeps for replay.
    fn retained(&self, all: &[Arc<Segment>], below: u64, hard: bool) -> HashSet<u64> {
        let now = (self.shared.clock)();
        let retain_us = i64::try_from(self.retain_age.as_micros()).unwrap_or(i64::MAX);
        let mut bytes = 0;
        let newest = all.iter().rev().filter(|s| s.known().end <= below);
        let kept = newest.take_while(|s| {
            bytes += s.file_len;
            let young = s.known().closed_us.is_some_and(|closed| now.saturating_sub(closed) < retain_us);
            young && bytes <= self.retain_bytes && !hard
        });
        kept.map(|s| s.header.first).collect()
    }

    /// At most so many bytes of a segment would be kept.
    fn estimate(&mut self, segment: &Arc<Segment>, known: &Known, needed: &Needed) -> Option<u64> {
        let content = match known.content {
            Some(content) => content,
            None => match count(segment, known) {
                Ok(content) => content,
                Err(e) => {
                    tracing::warn!("a journal segment cannot be compacted: {e}");
                    self.avoid.insert(segment.header.first);
                    return None;
                }
            },
        };
        segment.known_mut().content = Some(content);
        let need = |(label, c): (&u32, &super::format::LabelCount)| {
            needed.labels.get(label).map_or(0, |need| need.at_most(known, c.here.count))
        };
        let records = known.counts.iter().map(need).sum::<u64>().min(content.records);
        let kept = u128::from(content.bare_bytes) * u128::from(records) / u128::from(content.records.max(1));
        Some(u64::try_from(kept).unwrap_or(u64::MAX))
    }

    /// Copies what is needed and puts the copy in the place of its sources.
    fn compact(&self, segments: &[Arc<Segment>], sources: &[Source], needed: &Needed) -> io::Result<()> {
        let mut id = [0; 16];
        (self.random)(&mut id)?;
        let temporary = self.dir.join("compacted.tmp");
        let keep = |view: &RecordView<'_>| if needed.wants(view) { Keep::Bodyless } else { Keep::Nothing };
        let now = sources.last().and_then(|s| s.known.closed_us).unwrap_or_else(|| (self.shared.clock)());
        let copy = rewrite::copy(&*self.disk, &temporary, sources, SegmentId::new(id), now, true, &keep);
        let copy = copy.inspect_err(|_| drop(self.disk.remove(&temporary)))?;
        fail::point("compact.copied");
        let _layout = lock(&self.shared.layout);
        let all = self.shared.segments.all();
        let there = |s: &Arc<Segment>| all.iter().any(|other| Arc::ptr_eq(s, other));
        if !segments.iter().all(there) {
            // Trimmed meanwhile: nobody needs it any more.
            return self.disk.remove(&temporary);
        }
        self.disk.rename(&temporary, &segments[0].path)?;
        let compacted = copy.live_at(segments[0].path.clone());
        // From here on the copy is what the name means; it holds all that is needed, whatever happens next.
        self.shared.segments.replace(segments, compacted);
        self.disk.sync_dir(&self.dir)?;
        fail::point("compact.renamed");
        for old in &segments[1..] {
            self.disk.remove(&old.path)?;
        }
        self.disk.sync_dir(&self.dir)?;
        fail::point("compact.removed");
        Ok(())
    }
}

impl Run {
    fn gains(&self) -> bool {
        // Header, opening, one batch, footer and trailer are there whatever is kept.
        (self.estimate + 5 * BLOCK) * 2 < self.segments.iter().map(|s| s.file_len).sum()
    }
}

fn source(segment: &Arc<Segment>) -> Source {
    Source { segment: Arc::clone(segment), until: segment.file_len, known: segment.known().clone() }
}

/// Counts a segment's records, which must all be whole.
fn count(segment: &Arc<Segment>, known: &Known) -> io::Result<Content> {
    let mut content = Content::default();
    let mut walker = Walker::new(segment, Some(known.first), known.end);
    while let Some(walked) = walker.step()? {
        if walked.header.kind == BatchKind::Footer {
            break;
        }
        if walked.header.kind != BatchKind::Records {
            continue;
        }
        for piece in pieces(segment.id(), &walked.header, walked.payload) {
            let Piece::Record(view) = piece else {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a record in it is damaged"));
            };
            content.note(view.encoded_len(), view.body.len());
        }
    }
    Ok(content)
}
