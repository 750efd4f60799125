//! What a journal's directory holds: which file has which offsets, what is damaged, where writing stopped.
//!
//! Opening, verifying and repairing all begin here, so that they cannot disagree. Must never change a file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::damage::{Damage, Why};
use super::disk::Disk;
use super::error::OpenError;
use super::expected::{Expected, Front};
use super::format::{BLOCK, RECORD_HEADER, Total};
use super::listing::{First, first_offset, list, read_closed};
use super::scan;
use super::segment::{Known, Segment, file_name};
use super::verify::{Deep, Surveying};

/// One live file and what to make of it.
pub(super) struct Surveyed {
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// The segment numbers it covers.
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) len: u64,
    /// None if its header cannot be read.
    pub(super) segment: Option<Arc<Segment>>,
    pub(super) role: Role,
    pub(super) known: Known,
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Closed in order.
    Closed,
    /// Whole, but not closed: its valid batches end here, and seals are all that stands from `seals_from` on.
    /// `last`: nothing was written behind it.
    Unclosed { until: u64, seals_from: u64, clean: bool, last: bool },
    /// Parts of it cannot be read. `last`: nothing was written behind it.
    Damaged { until: u64, last: bool },
    /// Nothing in it was ever acknowledged: it stands ready.
    Empty,
    /// Its header cannot be read, and nothing was written in it yet.
    BadSpare,
    /// Its header cannot be read, or all behind it was cut off, and records may have been in it.
    Unreadable,
}

/// All of it.
#[derive(Default)]
pub(super) struct Survey {
    /// In number order.
    pub(super) files: Vec<Surveyed>,
    /// Files that an interrupted compaction left behind.
    pub(super) covered: Vec<PathBuf>,
    /// Files under temporary names.
    pub(super) temporary: Vec<PathBuf>,
    pub(super) damage: Vec<Damage>,
    /// The beginning, if it is among what is missing.
    pub(super) front: Option<Front>,
    /// The next offset to give: above everything that anything durable names.
    pub(super) next: u64,
    pub(super) next_number: u64,
    pub(super) epoch: u32,
    pub(super) totals: BTreeMap<u32, Total>,
}

impl Survey {
    /// Where it begins: the offset, the file's number, the totals before. The file before the first one
    /// stands for all that is missing there.
    pub(super) fn begins(&self) -> (u64, u64, BTreeMap<u32, Total>) {
        let number = self.files.first().map_or(1, |f| f.first);
        self.front.as_ref().map_or_else(
            || (1, number, BTreeMap::new()),
            |front| (front.from, number - 1, front.totals.clone()),
        )
    }

    /// Notes what is missing before the first file, if somebody needs it and nothing says so yet.
    fn look_before(&mut self, expected: &Expected) {
        let records = |f: &&Surveyed| f.known.end > f.known.first;
        let Some(file) = self.files.iter().find(records).filter(|f| f.first > 1) else { return };
        let first = file.known.first;
        if self.damage.iter().any(|damage| damage.offsets() > 0 && damage.from < first) {
            return;
        }
        let Some(front) = expected.missing_before(first, &file.known.totals_before) else { return };
        let missing = file_name(file.first - 1);
        self.damage.insert(0, Damage::of_file(missing, front.from, first, Why::Missing));
        self.front = Some(front);
    }
}

/// What a segment may have had at most, in bytes, where nothing says how long segments are.
const UNKNOWN_BYTES: u64 = 64 << 20;

/// Looks at everything in `dir`; `deep` also reads every record of closed segments, and is told how far.
pub(super) fn survey(disk: &dyn Disk, dir: &Path, expected: &Expected, mut deep: Deep<'_>) -> Surveying {
    let proven_end = expected.end.max(expected.applied.unwrap_or(0));
    let mut survey = list(disk, dir)?;
    let files = std::mem::take(&mut survey.files);
    (survey.next, survey.next_number, survey.epoch) = (1, 1, 1);
    let firsts = files.iter().map(|f| f.segment.as_ref().map_or(Ok(None), first_offset));
    let firsts = firsts.collect::<Result<Vec<_>, _>>()?;
    // A file that is cut or missing had no more than the longest one there is.
    let longest = files.iter().map(Surveyed::promised).max().unwrap_or(0).max(BLOCK);
    let longest = if longest == BLOCK { UNKNOWN_BYTES } else { longest };
    let mut state = State { survey, used: false, open_end: false, suspect: None, longest };
    for (i, mut file) in files.into_iter().enumerate() {
        let later = firsts[i + 1..].iter().copied().flatten().next();
        deep.iter_mut().for_each(|seen| seen(i + 1, firsts.len()));
        let nothing = file.segment.is_some() && firsts[i].is_none() && later.is_none();
        if nothing && proven_end <= state.survey.next && state.is_dense_and_whole(&file) {
            // Nothing in it was ever acknowledged.
            file.role = Role::Empty;
        } else {
            state.place(&mut file, (firsts[i], later), proven_end, deep.is_some())?;
        }
        state.survey.next_number = file.last + 1;
        state.survey.files.push(file);
    }
    let State { mut survey, suspect, .. } = state;
    if proven_end > survey.next {
        let (file, why) = suspect.unwrap_or_else(|| (file_name(survey.next_number), Why::Missing));
        survey.damage.push(Damage::of_file(file, survey.next, proven_end, why));
        scan::raise(&mut survey.next, proven_end);
    }
    survey.look_before(expected);
    Ok(survey)
}

struct State {
    survey: Survey,
    /// A segment with records was seen.
    used: bool,
    /// The last one was not closed: nothing was written behind it.
    open_end: bool,
    /// A file that may hold what is missing.
    suspect: Option<(String, Why)>,
    /// Bytes that a file may have had of which the length is not known.
    longest: u64,
}

impl Surveyed {
    /// How long it was once, in bytes, as far as anything says.
    fn promised(&self) -> u64 {
        self.segment.as_ref().map_or(0, |s| s.header.len).max(self.len)
    }
}

/// Nobody knows how many records there were in so many bytes; so many fit at most, and no offset may be given
/// twice.
fn at_most(bytes: u64) -> u64 {
    bytes / RECORD_HEADER as u64
}

impl State {
    /// True if nothing was written behind what was seen so far: behind an open end, and behind a file that
    /// stands ready.
    fn is_over(&self) -> bool {
        self.open_end || self.survey.files.last().is_some_and(|f| f.role == Role::Empty)
    }

    /// True unless something was written in this file without records, or in one that should stand before it,
    /// and is gone. Numbers are dense: a file gets its name durably before the next one does, and loses it
    /// after the next one did. The oldest go, but never the last one with records.
    fn is_dense_and_whole(&self, file: &Surveyed) -> bool {
        let follows = self.survey.files.last().map_or(1, |before| before.last + 1);
        self.is_over() || file.first == follows && file.promised() == file.len
    }

    fn place(
        &mut self,
        file: &mut Surveyed,
        (here, later): (Option<First>, Option<First>),
        proven_end: u64,
        deep: bool,
    ) -> Result<(), OpenError> {
        let unused = self.is_over();
        let skipped = match self.survey.files.last() {
            Some(before) => file.first > before.last + 1,
            None => file.first > 1 && file.segment.is_some() && here.or(later).is_none(),
        };
        if skipped && !unused {
            // Where this file begins, the missing one ended.
            self.unreadable(file_name(file.first - 1), Why::Missing, here.or(later), proven_end);
        }
        let Some(segment) = file.segment.clone() else {
            if unused && later.is_none() {
                file.role = Role::BadSpare;
                let next = self.survey.next;
                self.survey.damage.push(Damage::of_file(file.name.clone(), next, next, Why::Header));
            } else {
                self.unreadable(file.name.clone(), Why::Header, later, proven_end);
            }
            return Ok(());
        };
        if read_closed(&segment, &mut file.known)? {
            file.role = Role::Closed;
            if deep {
                let (first, end) = (file.known.first, file.known.end);
                let walk = scan::walk(&segment, Some(first), end)?;
                let (damage, content) = (walk.damage, walk.known.content);
                if !damage.is_empty() {
                    file.role = Role::Damaged { until: file.known.used, last: false };
                }
                file.known.content = content;
                self.survey.damage.extend(damage);
            }
            self.open_end = false;
            return self.link(file);
        }
        let expected = if self.used || file.first == 1 { Some(self.survey.next) } else { None };
        let proven = later.map_or(proven_end, |l| if l.exact { l.offset } else { 0 });
        let mut walk = scan::walk(&segment, expected, proven)?;
        let cut = file.promised() - file.len;
        if cut > 0 && later.is_none() && !unused {
            let had = walk.known.end.max(self.survey.next) + at_most(cut);
            walk = scan::walk(&segment, expected, proven.max(had))?;
            if walk.end_pos == BLOCK {
                file.role = Role::Unreadable;
                self.unreadable(file.name.clone(), Why::Missing, later, proven_end);
                return Ok(());
            }
        }
        let nothing = walk.end_pos == BLOCK;
        if later.is_none() && !walk.clean && (nothing || !walk.has_records && walk.damage.is_empty()) {
            self.without_records(file, here, &walk);
            return Ok(());
        }
        let (until, last) = (walk.end_pos, later.is_none());
        file.role = match walk.damage.is_empty() {
            true => Role::Unclosed { until, seals_from: walk.seals_from, clean: walk.clean, last },
            false => Role::Damaged { until, last },
        };
        file.known = walk.known;
        file.known.used = until;
        self.survey.damage.extend(walk.damage);
        self.open_end = last;
        self.link(file)
    }

    /// The last file, in which nothing was acknowledged: unless what it says of offsets does not follow.
    fn without_records(&mut self, file: &mut Surveyed, here: Option<First>, walk: &scan::Walk) {
        let next = self.survey.next;
        let begins = if walk.has_opening { walk.known.first } else { next };
        if !self.is_over() && begins > next {
            // The file before it was closed at what its opening says, and is not there.
            file.role = Role::Unreadable;
            let missing = file_name(file.first.saturating_sub(1));
            self.survey.damage.push(Damage::of_file(missing, next, begins, Why::Missing));
            self.survey.next = begins;
        } else if !self.is_over() && here.is_some_and(|here| here.exact && here.offset < next) {
            // It has batches of offsets that were given before: nobody may throw it away.
            file.role = Role::Unreadable;
            self.unreadable(file.name.clone(), Why::Bytes, None, next);
        } else {
            file.role = Role::Empty;
            self.suspect.get_or_insert((file.name.clone(), Why::Bytes));
        }
    }

    /// A file that cannot be read at all, or is not there: what may it have held?
    fn unreadable(&mut self, name: String, why: Why, later: Option<First>, proven_end: u64) {
        let from = self.survey.next;
        self.suspect.get_or_insert((name.clone(), why));
        if later.is_none() {
            let end = proven_end.max(from + at_most(self.longest));
            self.survey.damage.push(Damage::of_file(name, from, end, why));
            self.survey.next = end;
        }
        self.open_end = false;
    }

    /// Continues the chain of offsets and counts with a segment that has records.
    fn link(&mut self, file: &mut Surveyed) -> Result<(), OpenError> {
        let survey = &mut self.survey;
        let known = &mut file.known;
        if self.used && known.first < survey.next {
            let (from, to) = (known.first, survey.next - 1);
            return Err(OpenError::Corrupt { file: file.name.clone(), at: BLOCK, from, to });
        }
        if known.first > survey.next && (self.used || file.first == 1 || self.suspect.is_some()) {
            let (name, why) = self.suspect.clone().unwrap_or_else(|| (file.name.clone(), Why::Missing));
            survey.damage.push(Damage::of_file(name, survey.next, known.first, why));
        }
        (self.suspect, self.used) = (None, true);
        // What an opening says counts also what was lost before it.
        for (label, total) in &known.totals_before {
            let so_far = survey.totals.entry(*label).or_default();
            *so_far = so_far.at_least(*total);
        }
        known.totals_before = survey.totals.clone();
        for (label, counts) in &mut known.counts {
            let total = survey.totals.entry(*label).or_default();
            *total = total.plus(counts.here);
            counts.total = *total;
        }
        survey.next = known.end;
        survey.epoch = survey.epoch.max(known.epoch);
        Ok(())
    }
}
