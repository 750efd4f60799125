//! Accepting a loss, offline: the log is mended, and every row counts what it can never get as quarantined.
//!
//! Must never run beside a server, and must come to the same end however often it is interrupted and run
//! again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use super::dead;
use super::entry::TargetNo;
use super::holes::Hole;
use super::progress::Row;
use super::rows::{self, RowError, RowFile};
use crate::journal::{self, Disk, Expected, ExpectedReader, Loss, RandomFn, Repair, RepairError, Total};

/// Why a loss is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The journal says no.
    #[error(transparent)]
    Journal(#[from] RepairError),
    /// The progress rows cannot be read or written.
    #[error("progress: {0}")]
    Rows(String),
}

impl From<RowError> for AcceptError {
    fn from(e: RowError) -> Self {
        Self::Rows(e.to_string())
    }
}

impl From<std::io::Error> for AcceptError {
    fn from(e: std::io::Error) -> Self {
        Self::Journal(e.into())
    }
}

/// What the progress rows say that the journal must hold; nothing without rows. `applied` is the store's
/// synced checkpoint, if it is known.
pub fn expected(disk: &dyn Disk, progress_dir: &Path, applied: Option<u64>) -> Result<Expected, AcceptError> {
    let end = match rows::proven_end(disk, progress_dir) {
        Err(RowError::Io(e)) if e.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Expected { applied, ..Expected::default() });
        }
        other => other?,
    };
    let mut readers = BTreeMap::new();
    for target in rows::targets(disk, progress_dir)? {
        if let Some(row) = rows::read(disk, progress_dir, target)? {
            let again = row.replay.map(|replay| replay.next).filter(|next| *next < row.position);
            let needs = row.holes.first().into_iter().chain(again).min();
            let reader = ExpectedReader { position: row.position, taken: row.totals.taken(), needs };
            readers.insert(target.0, reader);
        }
    }
    Ok(Expected { end, applied, readers })
}

/// What one row's reader can still get.
struct Account {
    target: TargetNo,
    row: Row,
    holes: HashSet<u64>,
    /// Records above the position that can be read.
    above: Total,
    /// Dead letters and what their entries cost: settled, whatever became of their records.
    dead: HashMap<u64, u32>,
    /// Those above the position whose records can be read.
    dead_above: Total,
}

/// Accepts that the offsets of `range` (both included) are lost: all damage must lie inside. `applied` is the
/// store's synced checkpoint. The directory must be locked.
pub fn accept_loss(
    disk: &dyn Disk,
    journal_dir: &Path,
    progress_dir: &Path,
    range: (u64, u64),
    applied: u64,
    now_us: i64,
    random: RandomFn,
) -> Result<Loss, AcceptError> {
    let expected = expected(disk, progress_dir, Some(applied))?;
    let mut repair = Repair::begin(disk, journal_dir, expected, range, now_us)?;
    let mut accounts = BTreeMap::new();
    for target in rows::targets(disk, progress_dir)? {
        if let Some(row) = rows::read(disk, progress_dir, target)? {
            let dead = dead::offsets(disk, &dead::dir_beside(progress_dir), target)?;
            let (holes, none) = (HashSet::new(), Total::default());
            accounts.insert(target.0, Account { target, row, holes, above: none, dead, dead_above: none });
        }
    }
    repair.readable(&mut |label, offset, bytes| {
        let Some(account) = accounts.get_mut(&label) else { return };
        if offset >= account.row.position {
            let total = Total { count: 1, bytes };
            account.above = account.above.plus(total);
            if account.dead.contains_key(&offset) {
                account.dead_above = account.dead_above.plus(total);
            }
        } else if account.row.holes.contains(offset) {
            account.holes.insert(offset);
        }
    })?;
    // Where the count of a damaged file is lost, what its readers took and can still take is known to have
    // matched.
    let least = accounts.iter().map(|(label, a)| (*label, a.row.totals.taken().plus(a.above))).collect();
    let totals = repair.mend(&least, now_us, random)?;
    let mut quarantined = BTreeMap::new();
    for (label, account) in accounts {
        let matched = totals.get(&label).copied().unwrap_or_default();
        let lost = account.settle(disk, progress_dir, matched)?;
        if lost > 0 {
            quarantined.insert(label, lost);
        }
    }
    Ok(repair.done(quarantined)?)
}

impl Account {
    /// Counts what is lost as quarantined, durably, once: the row then knows no lost record any more.
    fn settle(self, disk: &dyn Disk, dir: &Path, matched: Total) -> Result<u64, AcceptError> {
        let Self { target, mut row, holes, above, dead, dead_above } = self;
        let (settled, open): (Vec<_>, Vec<_>) =
            row.holes.iter().partition(|hole: &Hole| dead.contains_key(&hole.offset));
        row.totals.dead_lettered += settled.len() as u64;
        row.totals.settled_bytes += settled.iter().map(|hole: &Hole| u64::from(hole.bytes)).sum::<u64>();
        let (kept, lost): (Vec<_>, Vec<_>) =
            open.into_iter().partition(|hole: &Hole| holes.contains(&hole.offset));
        row.holes = kept.into_iter().collect();
        let holes = lost.len() as u64;
        // A lost record of a dead letter is no loss.
        let ahead = dead.iter().filter(|(offset, _)| **offset >= row.position);
        let ahead = ahead
            .fold(Total::default(), |sum, (_, bytes)| sum.plus(Total { count: 1, bytes: u64::from(*bytes) }));
        let known = row.totals.taken().plus(above);
        let untaken = (matched.count + dead_above.count).saturating_sub(known.count + ahead.count);
        let untaken_bytes = (matched.bytes + dead_above.bytes).saturating_sub(known.bytes + ahead.bytes);
        row.totals.taken += untaken;
        row.totals.taken_bytes += untaken_bytes;
        row.totals.settled_bytes +=
            untaken_bytes + lost.iter().map(|hole| u64::from(hole.bytes)).sum::<u64>();
        row.totals.quarantined += holes + untaken;
        if holes + untaken > 0 {
            RowFile::create(disk, dir, target, &row)?;
        }
        Ok(holes + untaken)
    }
}

/// Accepted losses so far, oldest first.
pub fn accepted(disk: &dyn Disk, journal_dir: &Path) -> std::io::Result<Vec<Loss>> {
    journal::read_losses(disk, journal_dir)
}
