//! The losses that an operator accepted, in a small checksummed file beside the segments.
//!
//! Must never be written but by `accept-loss`, and never be taken for complete when its last entry is not
//! done.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::damage::Damage;
use super::disk::{Disk, read_exact_at};
use super::format::crc32c;

const NAME: &str = "losses";
const MAGIC: &[u8; 8] = b"TIDLOSSE";
const FORMAT_VERSION: u32 = 1;
/// Bytes before the text: magic, version, checksum, length.
const FIXED: usize = 24;
/// No list of losses is longer, in bytes.
const MAX_BYTES: u64 = 16 << 20;

/// One accepted loss.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// What was damaged.
    pub damage: Vec<Damage>,
    /// When it was accepted, in microseconds since the Unix epoch.
    pub time_us: i64,
    /// By label: how many undelivered records were lost.
    pub quarantined: BTreeMap<u32, u64>,
    /// The epoch from then on, so that no sequencer goes back.
    pub epoch: u32,
    /// The log and every row were brought in line; false while that is under way.
    pub done: bool,
}

/// Reads the accepted losses, oldest first.
pub fn read(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<Loss>> {
    let file = match disk.open(&dir.join(NAME)) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("journal/{NAME}: {what}"));
    let len = file.len()?;
    if len > MAX_BYTES {
        return Err(bad("is damaged"));
    }
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    read_exact_at(&*file, &mut bytes, 0)?;
    let number = |at: usize| bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
    if bytes.len() < FIXED || &bytes[0..8] != MAGIC {
        return Err(bad("is damaged"));
    }
    if number(8) != Some(FORMAT_VERSION) {
        return Err(bad("has another format version: run the version that wrote it"));
    }
    if number(12) != Some(crc32c(&bytes[16..])) {
        return Err(bad("is damaged"));
    }
    serde_json::from_slice(&bytes[FIXED..]).map_err(|_| bad("is damaged"))
}

/// Makes the list durable in place of the one before.
pub(super) fn write(disk: &dyn Disk, dir: &Path, losses: &[Loss]) -> io::Result<()> {
    let text = serde_json::to_vec(losses).map_err(io::Error::other)?;
    let mut bytes = Vec::with_capacity(FIXED + text.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&text);
    let crc = crc32c(&bytes[16..]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    let temporary = dir.join(format!("{NAME}.tmp"));
    let _ = disk.remove(&temporary);
    let file = disk.create(&temporary)?;
    file.write_at(&bytes, 0)?;
    file.sync_data()?;
    disk.rename(&temporary, &dir.join(NAME))?;
    disk.sync_dir(dir)
}
