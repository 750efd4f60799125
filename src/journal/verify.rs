//! Reading every record of a journal, to tell what can be read and what cannot.
//!
//! Must never change a file: it also runs beside a server that writes.

use std::path::Path;

use super::damage::Damage;
use super::disk::Disk;
use super::error::OpenError;
use super::expected::Expected;
use super::losses::{self, Loss};
use super::survey::{Role, Survey, survey};

/// Told which file comes next, and of how many.
pub(super) type Deep<'a> = Option<&'a mut dyn FnMut(usize, usize)>;
pub(super) type Surveying = Result<Survey, OpenError>;

/// One live file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct FileReport {
    /// Its name.
    pub file: String,
    /// Bytes on disk.
    pub bytes: u64,
    /// `closed`, `open`, `ready`, `damaged` or `unreadable`.
    pub state: &'static str,
    /// The first offset it accounts for; 0 if none.
    pub first: u64,
    /// One above the last.
    pub end: u64,
    /// Whole records in it.
    pub records: u64,
}

/// What a journal holds, and what of it is damaged.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Verification {
    /// Every live file, in order.
    pub files: Vec<FileReport>,
    /// Everything that was durable and cannot be read.
    pub damage: Vec<Damage>,
    /// One above the last offset.
    pub end: u64,
    /// Losses that were accepted before.
    pub accepted: Vec<Loss>,
}

/// Reads every record in `dir` and holds it against what is expected of it.
///
/// Beside a running server files come and go; damage counts only if a second look finds it, too.
pub fn verify(disk: &dyn Disk, dir: &Path, expected: impl Into<Expected>) -> Result<Verification, OpenError> {
    verify_seen(disk, dir, &expected.into(), &mut |_, _| {})
}

/// As [`verify`]; `seen` is told which file is read next, from 1, and of how many.
pub fn verify_seen(
    disk: &dyn Disk,
    dir: &Path,
    expected: &Expected,
    seen: &mut dyn FnMut(usize, usize),
) -> Result<Verification, OpenError> {
    let first = survey(disk, dir, expected, Some(seen))?;
    let mut damage = first.damage.clone();
    let seen = if damage.is_empty() { first } else { survey(disk, dir, expected, Some(seen))? };
    damage.retain(|d| seen.damage.contains(d));
    let files = reports(&seen);
    Ok(Verification { files, damage, end: seen.next, accepted: losses::read(disk, dir)? })
}

fn reports(survey: &Survey) -> Vec<FileReport> {
    let files = survey.files.iter().map(|f| {
        let state = match f.role {
            Role::Closed => "closed",
            Role::Unclosed { .. } => "open",
            Role::Damaged { .. } => "damaged",
            Role::Empty => "ready",
            Role::BadSpare | Role::Unreadable => "unreadable",
        };
        let records = f.known.content.map_or(0, |c| c.records);
        let (first, end) = (f.known.first, f.known.end);
        FileReport { file: f.name.clone(), bytes: f.len, state, first, end, records }
    });
    files.collect()
}
