//! Progress rows on disk: two slots per reader, checksummed, one of them always whole and synced.
//!
//! Written at most 200 ms after a change, synced at most 1 s after it. The last synced slot is not touched
//! until the other one is synced. Must never report a row as synced before its sync returned: trimming
//! believes it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::entry::TargetNo;
use super::progress::{Hole, Row, Totals};
use crate::fail;
use crate::journal::{Disk, DiskFile, crc32c};

const MAGIC: &[u8; 8] = b"TIDPROGR";
const FORMAT_VERSION: u32 = 2;
/// Bytes before the holes.
const FIXED: usize = 128;
/// Bytes of a hole: its offset, the hash of its key, its record's bytes.
const HOLE: usize = 20;

/// The two slots of one reader.
pub(super) struct RowFile {
    slots: [Arc<dyn DiskFile>; 2],
    /// The slot that is written next; the other one is the last synced.
    writing: usize,
    generation: u64,
    unsynced: Option<Need>,
    /// The position of the last row written.
    pub(super) position: u64,
    /// What the reader needs of the log, as of the last synced row: trimming and compaction believe nothing
    /// else.
    pub(super) synced: Need,
}

/// What a row's reader needs of the log.
#[derive(Debug, Clone, Default)]
pub(super) struct Need {
    /// Everything from here on that matches it …
    pub(super) position: u64,
    /// … and these, ascending.
    pub(super) holes: Arc<[u64]>,
}

impl Need {
    fn of(row: &Row) -> Self {
        Self { position: row.position, holes: row.holes.iter().map(|h| h.offset).collect() }
    }

    /// Everything below is needed no more.
    pub(super) fn floor(&self) -> u64 {
        self.holes.first().copied().unwrap_or(self.position)
    }
}

/// Why a row cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum RowError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(
        "a progress row has format version {0}; this tidings reads version {FORMAT_VERSION}: \
         run the version that wrote it"
    )]
    Version(u32),
}

fn paths(dir: &Path, target: TargetNo) -> [PathBuf; 2] {
    ["a", "b"].map(|slot| dir.join(format!("{:08}.{slot}", target.0)))
}

/// The newest valid row of a reader, if it has one. Reads only.
pub(super) fn read(disk: &dyn Disk, dir: &Path, target: TargetNo) -> Result<Option<Row>, RowError> {
    let mut newest: Option<(u64, Row)> = None;
    for path in paths(dir, target) {
        let Some((generation, row)) = read_slot(disk, &path, target)? else { continue };
        if newest.as_ref().is_none_or(|(g, _)| generation > *g) {
            newest = Some((generation, row));
        }
    }
    Ok(newest.map(|(_, row)| row))
}

fn read_slot(disk: &dyn Disk, path: &Path, target: TargetNo) -> Result<Option<(u64, Row)>, RowError> {
    let file = match disk.open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(0)];
    crate::journal::disk::read_exact_at(&*file, &mut bytes, 0)?;
    decode(&bytes, target)
}

/// The numbers of all targets that have a row.
pub(super) fn targets(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<TargetNo>> {
    let paths = disk.list(dir)?;
    let number = |path: &PathBuf| path.file_stem().and_then(|s| s.to_str()).and_then(|s| s.parse().ok());
    let mut numbers: Vec<_> = paths.iter().filter_map(number).map(TargetNo).collect();
    numbers.dedup();
    Ok(numbers)
}

/// One above the highest offset that any row in `dir` proves to have been durable.
pub(super) fn proven_end(disk: &dyn Disk, dir: &Path) -> Result<u64, RowError> {
    let mut proven = 0;
    for path in disk.list(dir)? {
        let number = path.file_stem().and_then(|s| s.to_str()).and_then(|s| s.parse().ok());
        let Some(number) = number else { continue };
        if let Some((_, row)) = read_slot(disk, &path, TargetNo(number))? {
            proven = proven.max(row.durable_end);
        }
    }
    Ok(proven)
}

/// Removes both slots of a reader, durably.
pub(super) fn remove(disk: &dyn Disk, dir: &Path, target: TargetNo) -> io::Result<()> {
    let mut removed = false;
    for path in paths(dir, target) {
        match disk.remove(&path) {
            Ok(()) => removed = true,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    if removed { disk.sync_dir(dir) } else { Ok(()) }
}

impl RowFile {
    /// Opens or creates the slots of a reader and makes `row` durable in both.
    pub(super) fn create(disk: &dyn Disk, dir: &Path, target: TargetNo, row: &Row) -> io::Result<Self> {
        let [a, b] = paths(dir, target);
        let open = |path: &Path| match disk.open(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => disk.create(path),
            other => other,
        };
        let mut file = Self {
            slots: [open(&a)?, open(&b)?],
            writing: 0,
            generation: 0,
            unsynced: None,
            position: 0,
            synced: Need::of(row),
        };
        // Go on above both generations, over the older slot first.
        let generation_of = |slot: &Arc<dyn DiskFile>| -> io::Result<u64> {
            let mut bytes = vec![0; usize::try_from(slot.len()?).unwrap_or(0)];
            crate::journal::disk::read_exact_at(&**slot, &mut bytes, 0)?;
            Ok(decode(&bytes, target).ok().flatten().map_or(0, |(generation, _)| generation))
        };
        let generations = [generation_of(&file.slots[0])?, generation_of(&file.slots[1])?];
        file.generation = generations[0].max(generations[1]);
        file.writing = usize::from(generations[1] < generations[0]);
        // A killed process leaves the newer row unsynced, and the older one is all that a power cut would
        // leave.
        file.slots[1 - file.writing].sync_data()?;
        file.write(target, row)?;
        file.sync()?;
        disk.sync_dir(dir)?;
        Ok(file)
    }

    /// Writes a row, not synced, into the slot that is not the last synced one.
    pub(super) fn write(&mut self, target: TargetNo, row: &Row) -> io::Result<()> {
        self.generation += 1;
        let bytes = encode(target, self.generation, row);
        // What the slot held is gone from here on, whatever comes of the write: it must not be synced as a
        // row.
        self.unsynced = None;
        self.slots[self.writing].write_at(&bytes, 0)?;
        self.unsynced = Some(Need::of(row));
        self.position = row.position;
        if fail::mutant("trim-unsynced") {
            self.synced = Need::of(row);
        }
        fail::point("cursor.append");
        Ok(())
    }

    /// Makes the last written row durable. After an error the process must end: nobody knows what is on disk.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if let Some(need) = self.unsynced.take() {
            self.slots[self.writing].sync_data()?;
            self.writing = 1 - self.writing;
            self.synced = need;
            fail::point("cursor.synced");
        }
        Ok(())
    }
}

fn encode(target: TargetNo, generation: u64, row: &Row) -> Vec<u8> {
    let t = &row.totals;
    let mut b = Vec::with_capacity(FIXED + row.holes.len() * HOLE);
    b.extend_from_slice(MAGIC);
    b.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    b.extend_from_slice(&[0; 4]);
    b.extend_from_slice(&target.0.to_le_bytes());
    b.extend_from_slice(&(row.holes.len() as u32).to_le_bytes());
    let numbers = [
        generation,
        row.durable_end,
        row.position,
        t.taken,
        t.delivered,
        t.dead_lettered,
        t.purged,
        t.forgotten,
        t.quarantined,
        t.repeated,
        t.taken_bytes,
        t.settled_bytes,
    ];
    numbers.iter().for_each(|n| b.extend_from_slice(&n.to_le_bytes()));
    b.resize(FIXED, 0);
    for hole in &row.holes {
        b.extend_from_slice(&hole.offset.to_le_bytes());
        b.extend_from_slice(&hole.key.to_le_bytes());
        b.extend_from_slice(&hole.bytes.to_le_bytes());
    }
    let crc = crc32c(&b[16..]);
    b[12..16].copy_from_slice(&crc.to_le_bytes());
    b
}

fn decode(b: &[u8], target: TargetNo) -> Result<Option<(u64, Row)>, RowError> {
    let u32_at = |at: usize| b.get(at..at + 4).and_then(|s| s.try_into().ok()).map_or(0, u32::from_le_bytes);
    let u64_at = |at: usize| b.get(at..at + 8).and_then(|s| s.try_into().ok()).map_or(0, u64::from_le_bytes);
    if b.len() < FIXED || &b[0..8] != MAGIC {
        return Ok(None);
    }
    if u32_at(8) != FORMAT_VERSION {
        return Err(RowError::Version(u32_at(8)));
    }
    let end = FIXED + u32_at(20) as usize * HOLE;
    // A slot is not cut when a shorter row is written over a longer one.
    if b.len() < end || crc32c(&b[16..end]) != u32_at(12) || u32_at(16) != target.0 {
        return Ok(None);
    }
    let n = |i: usize| u64_at(24 + i * 8);
    let totals = Totals {
        taken: n(3),
        delivered: n(4),
        dead_lettered: n(5),
        purged: n(6),
        forgotten: n(7),
        quarantined: n(8),
        repeated: n(9),
        taken_bytes: n(10),
        settled_bytes: n(11),
    };
    let hole = |at| Hole { offset: u64_at(at), key: u64_at(at + 8), bytes: u32_at(at + 16) };
    let holes = (FIXED..end).step_by(HOLE).map(hole).collect();
    Ok(Some((n(0), Row { durable_end: n(1), position: n(2), totals, holes })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::OsDisk;

    fn row(position: u64, holes: &[u64]) -> Row {
        Row {
            durable_end: position + 5,
            position,
            totals: Totals {
                taken: 9,
                repeated: 1,
                taken_bytes: 1 << 40,
                settled_bytes: 7,
                ..Totals::default()
            },
            holes: holes.iter().map(|o| Hole { offset: *o, key: o * 3, bytes: 9 }).collect(),
        }
    }

    #[test]
    fn the_newest_whole_row_wins_and_damage_falls_back_to_the_synced_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let target = TargetNo(4);
        let mut file = RowFile::create(&OsDisk, dir.path(), target, &row(10, &[3, 4])).expect("created");
        assert_eq!(file.synced.floor(), 3);
        file.write(target, &row(20, &[])).expect("written");
        assert_eq!(file.synced.floor(), 3, "an unsynced row must not let anybody trim");
        assert_eq!(read(&OsDisk, dir.path(), target).expect("read"), Some(row(20, &[])));
        file.sync().expect("synced");
        assert_eq!(file.synced.floor(), 20);
        // The next write goes to the other slot; tearing it leaves the synced row.
        file.write(target, &row(30, &[25])).expect("written");
        assert_eq!(proven_end(&OsDisk, dir.path()).expect("read"), 35);
        let torn = &paths(dir.path(), target)[1 - usize::from(file.writing == 0)];
        let mut bytes = std::fs::read(torn).expect("readable");
        bytes[60] ^= 1;
        std::fs::write(torn, bytes).expect("writable");
        assert_eq!(read(&OsDisk, dir.path(), target).expect("read"), Some(row(20, &[])));
        let again = RowFile::create(&OsDisk, dir.path(), target, &row(20, &[])).expect("reopened");
        assert!(again.generation > 2);
    }
}
