//! Accepting a loss: files that are damaged or missing are written anew with what can still be read of them.
//!
//! The new file accounts for the same offsets and counts; what is lost is a gap in it. Must never run beside
//! a server, and never leave out anything that can be read.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::damage::Damage;
use super::disk::Disk;
use super::error::OpenError;
use super::expected::Expected;
use super::format::{BatchKind, SegmentHeader, SegmentId, Total};
use super::losses::{self, Loss};
use super::prepare::RandomFn;
use super::rewrite::{self, Keep, Source, Strict, Writing};
use super::scan::{Piece, Walker, pieces};
use super::survey::{Role, Survey, Surveyed, survey};

/// Why a loss is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// There is nothing to accept.
    #[error("nothing is damaged: every record can be read")]
    Nothing,
    /// The range that was named is not the damage.
    #[error("accept all of the damage or none; this is damaged:\n{}", list(.0))]
    NotAll(Vec<Damage>),
    /// The journal cannot be surveyed.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The disk failed. Run it again: it goes on where it stopped.
    #[error("{0}; run it again, it goes on where it stopped")]
    Io(#[from] io::Error),
}

fn list(damage: &[Damage]) -> String {
    damage.iter().map(|d| format!("  {d}")).collect::<Vec<_>>().join("\n")
}

/// A loss that is being accepted.
pub struct Repair<'a> {
    disk: &'a dyn Disk,
    dir: PathBuf,
    survey: Survey,
    losses: Vec<Loss>,
}

impl<'a> Repair<'a> {
    /// Finds all damage and durably notes that the loss of `from` to `to` (both included) is being accepted.
    pub fn begin(
        disk: &'a dyn Disk,
        dir: &Path,
        expected: impl Into<Expected>,
        (from, to): (u64, u64),
        time_us: i64,
    ) -> Result<Self, RepairError> {
        let survey = survey(disk, dir, &expected.into(), Some(&mut |_, _| {}))?;
        let mut losses = losses::read(disk, dir)?;
        let pending = losses.last().is_some_and(|loss| !loss.done);
        if survey.damage.is_empty() && !pending {
            return Err(RepairError::Nothing);
        }
        let mut all = survey.damage.clone();
        if pending && let Some(last) = losses.last() {
            all.extend(last.damage.iter().filter(|d| !survey.damage.contains(d)).cloned());
        }
        // Damage that loses no record is mended with the rest, whatever range was named.
        if all.iter().any(|d| d.offsets() > 0 && (d.from < from || d.to > to)) {
            return Err(RepairError::NotAll(all));
        }
        if pending {
            losses.pop();
        }
        let epoch = losses.iter().map(|l| l.epoch).fold(survey.epoch, u32::max).saturating_add(1);
        losses.push(Loss { damage: all, time_us, quarantined: BTreeMap::new(), epoch, done: false });
        losses::write(disk, dir, &losses)?;
        Ok(Self { disk, dir: dir.to_owned(), survey, losses })
    }

    /// What is damaged.
    pub fn damage(&self) -> &[Damage] {
        self.losses.last().map_or(&[], |loss| &loss.damage)
    }

    /// Gives label, offset and bytes without body of every record that can be read.
    pub fn readable(&self, give: &mut dyn FnMut(u32, u64, u64)) -> io::Result<()> {
        for file in &self.survey.files {
            let Some((segment, until)) = file.segment.as_ref().zip(until(file)) else { continue };
            let mut walker = Walker::new(segment, Some(file.known.first), file.known.end);
            while let Some(walked) = walker.step()? {
                if walked.at >= until || walked.header.kind == BatchKind::Footer {
                    break;
                }
                if walked.header.kind != BatchKind::Records {
                    continue;
                }
                for piece in pieces(segment.id(), &walked.header, walked.payload) {
                    if let Piece::Record(view) = piece {
                        let bare = view.bare_len() as u64;
                        view.labels().for_each(|label| give(label, view.offset, bare));
                    }
                }
            }
        }
        Ok(())
    }

    /// Writes every damaged or missing file anew. `least` names totals that are known from elsewhere: the
    /// counts become at least those. Gives the totals of all labels.
    pub fn mend(
        &mut self,
        least: &BTreeMap<u32, Total>,
        time_us: i64,
        random: RandomFn,
    ) -> Result<BTreeMap<u32, Total>, RepairError> {
        let used = |f: &Surveyed| until(f).is_some();
        let last_used = self.survey.files.iter().rposition(used);
        let (mut next, mut next_number, mut totals) = self.survey.begins();
        for (i, file) in self.survey.files.iter().enumerate() {
            if file.role == Role::BadSpare || file.role == Role::Empty {
                continue;
            }
            let numbers = (next_number, file.last);
            next_number = file.last + 1;
            // A file that cannot be read takes part in the gap before the next one that can.
            if !used(file) {
                next_number = numbers.0;
                if last_used.is_none_or(|last| i > last) {
                    // What is missing behind it has its number in it, too.
                    let ready = |f: &&Surveyed| matches!(f.role, Role::Empty | Role::BadSpare);
                    let behind = self.survey.files.get(i + 1).filter(ready);
                    let numbers = (numbers.0, behind.map_or(file.last, |f| f.first - 1));
                    self.fill(numbers, next, self.survey.next, &totals, least, time_us, random)?;
                    (next, next_number) = (self.survey.next, numbers.1 + 1);
                }
                continue;
            }
            if numbers.0 < file.first {
                let gap = (numbers.0, file.first - 1);
                let begins = file.known.first;
                let after = &file.known.totals_before;
                self.fill(gap, next.min(begins), begins, &totals, after, time_us, random)?;
            }
            let follows = self.survey.files[i + 1..].iter().find(|f| used(f));
            let numbered = follows.is_some_and(|f| f.first == file.last + 1);
            let unreadable_behind = self.survey.files[i + 1..].iter().any(|f| f.role == Role::Unreadable);
            // What no file accounts for joins the file before it.
            let end = match follows {
                Some(f) if numbered => f.known.first,
                None if !unreadable_behind => self.survey.next,
                _ => file.known.end,
            };
            let end = end.max(file.known.end);
            let after = follows.map_or(least, |f| &f.known.totals_before);
            if matches!(file.role, Role::Damaged { .. }) || end > file.known.end {
                // What is missing behind it has its number in it, too: numbers stay dense.
                let behind = self.survey.files.get(i + 1).filter(|_| follows.is_none() && !unreadable_behind);
                let last = behind.map_or(file.last, |f| f.first - 1);
                self.rewrite(file, (last, end), after, time_us, random)?;
            }
            next = end;
            totals = file.known.totals_before.clone();
            for (label, c) in &file.known.counts {
                totals.insert(*label, c.total);
            }
            raise(&mut totals, after);
        }
        if last_used.is_none() && next < self.survey.next {
            let number = self.survey.files.first().map_or(1, |f| f.first);
            self.fill((number, number), next, self.survey.next, &totals, least, time_us, random)?;
        }
        raise(&mut totals, least);
        Ok(totals)
    }

    /// Durably notes that everything is in line.
    pub fn done(mut self, quarantined: BTreeMap<u32, u64>) -> Result<Loss, RepairError> {
        let mut loss = self.losses.pop().expect("one was begun");
        (loss.quarantined, loss.done) = (quarantined, true);
        self.losses.push(loss.clone());
        losses::write(self.disk, &self.dir, &self.losses)?;
        Ok(loss)
    }

    /// Writes a file anew with what can be read of it.
    fn rewrite(
        &self,
        file: &Surveyed,
        (last, end): (u64, u64),
        after: &BTreeMap<u32, Total>,
        time_us: i64,
        random: RandomFn,
    ) -> io::Result<()> {
        let Some((segment, until)) = file.segment.as_ref().zip(until(file)) else { return Ok(()) };
        let header = SegmentHeader { id: new_id(random)?, last, ..segment.header };
        let mut writing = Writing::begin(self.disk, &self.temporary(), header)?;
        let source = Source { segment: segment.clone(), until, known: file.known.clone() };
        writing.source(&source, Strict(false), &|_| Keep::Whole)?;
        writing.extend(end, after)?;
        rewrite::publish(self.disk, &self.dir, writing.finish(time_us)?).map(|_| ())
    }

    /// Writes a file that accounts for offsets of which nothing is left.
    #[allow(clippy::too_many_arguments)]
    fn fill(
        &self,
        (first, last): (u64, u64),
        from: u64,
        end: u64,
        totals: &BTreeMap<u32, Total>,
        after: &BTreeMap<u32, Total>,
        time_us: i64,
        random: RandomFn,
    ) -> io::Result<()> {
        let header = SegmentHeader { id: new_id(random)?, first, last, partial: true, len: 0 };
        let mut writing = Writing::begin(self.disk, &self.temporary(), header)?;
        writing.open(from, self.survey.epoch, totals.clone())?;
        writing.extend(end, after)?;
        rewrite::publish(self.disk, &self.dir, writing.finish(time_us)?).map(|_| ())
    }

    fn temporary(&self) -> PathBuf {
        self.dir.join("repaired.tmp")
    }
}

/// Where the valid batches of a file end that has records.
fn until(file: &Surveyed) -> Option<u64> {
    match file.role {
        Role::Closed => Some(file.len),
        Role::Unclosed { until, .. } | Role::Damaged { until, .. } => Some(until),
        Role::Empty | Role::BadSpare | Role::Unreadable => None,
    }
}

fn raise(totals: &mut BTreeMap<u32, Total>, least: &BTreeMap<u32, Total>) {
    for (label, total) in least {
        let so_far = totals.entry(*label).or_default();
        *so_far = so_far.at_least(*total);
    }
}

fn new_id(random: RandomFn) -> io::Result<SegmentId> {
    let mut id = [0; 16];
    random(&mut id)?;
    Ok(SegmentId::new(id))
}
