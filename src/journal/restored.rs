//! After a backup was put back: what is written from then on lies above all that was written behind the copy.
//!
//! Must never give the same epoch to two restores, nor touch a segment: the epoch goes where accepted losses
//! keep theirs.

use std::collections::BTreeMap;
use std::path::Path;

use super::disk::Disk;
use super::error::OpenError;
use super::expected::Expected;
use super::losses::{self, Loss};
use super::repair::RepairError;
use super::survey::survey;

/// First epochs lie at or below this one, and restores above it.
const RESTORES: u64 = 1 << 30;
/// The second that restores count from: 2026-01-01, in microseconds since the Unix epoch.
const BEGAN_US: i64 = 1_767_225_600_000_000;
/// Starts that are still to come each need one.
const LEFT: u64 = 1 << 20;

/// Raises the epoch of the journal in `dir`, durably, and gives it. The directory must be locked.
///
/// Nobody knows how often the server started behind the copy, and the copy may be put back twice: so the
/// epoch follows the clock, and is one higher at least.
///
/// # Errors
/// The acceptance of a loss is not finished, the journal cannot be surveyed, epochs are used up, or the disk
/// failed.
pub fn restored(disk: &dyn Disk, dir: &Path, now_us: i64) -> Result<u32, RepairError> {
    let mut losses = losses::read(disk, dir)?;
    if losses.iter().any(|loss| !loss.done) {
        return Err(OpenError::Unfinished.into());
    }
    let found = survey(disk, dir, &Expected::default(), None)?;
    let known = losses.iter().map(|loss| loss.epoch).fold(found.epoch, u32::max);
    let seconds = u64::try_from(now_us.saturating_sub(BEGAN_US) / 1_000_000).unwrap_or(0);
    let epoch = (u64::from(known) + 1).max(RESTORES + seconds);
    let Some(epoch) = u32::try_from(epoch + LEFT).ok().and_then(|_| u32::try_from(epoch).ok()) else {
        return Err(OpenError::Epochs.into());
    };
    let (damage, quarantined) = (Vec::new(), BTreeMap::new());
    losses.push(Loss { damage, time_us: now_us, quarantined, epoch, done: true });
    losses::write(disk, dir, &losses)?;
    Ok(epoch)
}
