//! Opening a journal: what is there, what is damage, and what was never acknowledged.
//!
//! Bad bytes at p are *corruption* if anything durable proves that p was synced: a later batch, a later
//! segment, or a row that names the offset. Otherwise they are a tail that nobody was told about, and are
//! dropped. Must never skip damage silently, and never let anybody read an uncleanly stopped tail before it
//! was copied and synced: a page whose sync failed may look fine in the cache and not be on disk.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::damage::Damage;
use super::disk::{Disk, DiskFile, is_no_space, make_dir, read_exact_at};
use super::error::OpenError;
use super::expected::Expected;
use super::format::{SegmentId, Total};
use super::losses;
use super::prepare::RandomFn;
use super::rewrite::{self, Keep, Source};
use super::segment::Segment;
use super::survey::{Role, Surveyed, survey};
use crate::fail;

/// How many bytes of a damaged file are copied in one go.
const COPY_BYTES: usize = 1 << 20;

/// What opening found, for people and for the epoch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// The journal was closed in order.
    pub clean: bool,
    /// Records at the end of an uncleanly stopped segment that were copied and synced before anybody read
    /// them.
    pub copied: u64,
    /// Bytes of an unacknowledged batch that were dropped.
    pub dropped: u64,
    /// What was durable and cannot be read: readers stop there.
    pub damage: Vec<Damage>,
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
    pub(super) totals: BTreeMap<u32, Total>,
    pub(super) report: Report,
}

/// What opening works with.
pub(super) struct Opening<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) dir: &'a Path,
    pub(super) segment_bytes: u64,
    now_us: i64,
    pub(super) random: RandomFn,
}

/// Opens the journal in `dir` and holds it against what is expected of it.
pub(super) fn open(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    expected: &Expected,
    segment_bytes: u64,
    now_us: i64,
    random: RandomFn,
) -> Result<Recovered, OpenError> {
    make_dir(&**disk, dir)?;
    let accepted = losses::read(&**disk, dir)?;
    if accepted.iter().any(|loss| !loss.done) {
        return Err(OpenError::Unfinished);
    }
    let survey = survey(&**disk, dir, expected, None)?;
    let leftovers = survey.temporary.iter().chain(&survey.covered);
    for path in leftovers.clone() {
        disk.remove(path)?;
    }
    if leftovers.count() > 0 {
        disk.sync_dir(dir)?;
    }
    let mut found = Recovered {
        next: survey.next,
        next_number: survey.next_number,
        totals: survey.totals,
        epoch: accepted.iter().map(|loss| loss.epoch).fold(survey.epoch, u32::max),
        ..Recovered::default()
    };
    let opening = Opening { disk: &**disk, dir, segment_bytes, now_us, random };
    let free = |f: &Surveyed| matches!(f.role, Role::Empty | Role::BadSpare);
    let (mut unused, used): (Vec<_>, Vec<_>) = survey.files.into_iter().partition(free);
    let follows = used.last().map_or(1, |f| f.last + 1);
    // A number that is missing below the first of them is the proof of what is gone: it stays missing, and
    // that one's place is never empty.
    let proves = unused.first().is_some_and(|f| f.first > follows && !survey.damage.is_empty());
    let proof = proves.then(|| unused.remove(0));
    for file in used {
        opening.take(&mut found, file, &mut unused)?;
    }
    // From the highest number down: whatever stops us on the way, no number is missing between those that are
    // left.
    while let Some(file) = unused.pop() {
        opening.release(&mut found, file, false)?;
        fail::point("recover.retired");
    }
    found.next_number = proof.as_ref().map_or(follows, |file| file.first);
    if let Some(file) = proof {
        opening.hold(&file.path, file.first)?;
    }
    found.report.clean &= survey.damage.is_empty();
    found.report.damage = survey.damage;
    // Offsets after an unclean stop may repeat numbers that were written and never acknowledged.
    if !found.report.clean && found.next > 1 {
        found.epoch = found.epoch.saturating_add(1);
    }
    Ok(found)
}

impl Opening<'_> {
    /// Does with one file what the survey says of it.
    fn take(
        &self,
        found: &mut Recovered,
        file: Surveyed,
        unused: &mut Vec<Surveyed>,
    ) -> Result<(), OpenError> {
        let Some(segment) = file.segment else { return Ok(()) };
        match file.role {
            Role::Closed => {
                *segment.known_mut() = file.known;
                found.segments.push(segment);
            }
            Role::Unclosed { until, clean: true, last: true, seals_from } => {
                found.report.clean = true;
                // The sync at the stop may have failed: what looks fine in the cache is then not on the disk,
                // and a batch written behind it would be cut off from those before. Written and synced again,
                // it is.
                let mut seals = vec![0; (until - seals_from) as usize];
                read_exact_at(&*segment.file, &mut seals, seals_from)?;
                segment.file.write_at(&seals, seals_from)?;
                segment.file.sync_data()?;
                *segment.known_mut() = file.known;
                found.segments.push(Arc::clone(&segment));
                found.active = Some((segment, until));
            }
            Role::Unclosed { until, .. } => {
                found.report.copied += file.known.end - file.known.first;
                let source = Source { segment, until, known: file.known };
                let copied = loop {
                    match (self.copy_tail(&source), unused.pop()) {
                        // What stands ready makes room; it can be prepared again.
                        (Err(OpenError::Io(e)), Some(spare)) if is_no_space(&e) => {
                            self.release(found, spare, true)?;
                        }
                        (copied, spare) => {
                            unused.extend(spare);
                            break copied?;
                        }
                    }
                };
                found.segments.push(copied);
            }
            Role::Damaged { last, .. } => {
                let mut known = file.known;
                known.closed_us.get_or_insert(self.now_us);
                known.used = segment.file_len;
                let segment = if last { self.keep_damaged(&segment)? } else { segment };
                *segment.known_mut() = known;
                found.segments.push(segment);
            }
            Role::Empty | Role::BadSpare | Role::Unreadable => {}
        }
        Ok(())
    }

    /// Copies an unclean tail into a file that is closed and synced.
    fn copy_tail(&self, source: &Source) -> Result<Arc<Segment>, OpenError> {
        let mut id = [0; 16];
        (self.random)(&mut id)?;
        fail::point("recover.scan.mid");
        let temporary = self.dir.join("recovered.tmp");
        let id = SegmentId::new(id);
        let copy = rewrite::copy(
            self.disk,
            &temporary,
            std::slice::from_ref(source),
            id,
            self.now_us,
            false,
            &|_| Keep::Whole,
        )?;
        fail::point("recover.tail.copied");
        let copied = rewrite::publish(self.disk, self.dir, copy)?;
        fail::point("recover.tail.swapped");
        Ok(copied)
    }

    /// A damaged file stays as it is until the loss is accepted; but what can be read of its end must not be
    /// only in the cache. So it is copied block by block and synced, damage and all.
    fn keep_damaged(&self, segment: &Arc<Segment>) -> Result<Arc<Segment>, OpenError> {
        let temporary = self.dir.join("recovered.tmp");
        let _ = self.disk.remove(&temporary);
        let file = self.disk.create(&temporary)?;
        let mut bytes = vec![0; COPY_BYTES];
        let mut at = 0;
        while at < segment.file_len {
            let n = (bytes.len() as u64).min(segment.file_len - at) as usize;
            read_exact_at(&*segment.file, &mut bytes[..n], at)?;
            file.write_at(&bytes[..n], at)?;
            at += n as u64;
        }
        file.sync_data()?;
        self.disk.rename(&temporary, &segment.path)?;
        self.disk.sync_dir(self.dir)?;
        let known = segment.known().clone();
        Ok(Segment::new(segment.header, segment.path.clone(), file, segment.file_len, known))
    }
}
