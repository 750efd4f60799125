//! Progress rows on disk: two slots per reader, checksummed, one of them always whole and synced.
//!
//! Written at most 200 ms after a change, synced at most 1 s after it. The last synced slot is not touched
//! until the other one is synced. Must never report a row as synced before its sync returned: trimming
//! believes it.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::entry::TargetNo;
use super::holes::{Hole, HoleSet};
use super::pieces::{self, PieceFiles, PieceRef};
use super::progress::{Row, Totals};
use super::replay::ReplayRow;
use crate::fail;
use crate::journal::{Disk, DiskFile, crc32c};

const MAGIC: &[u8; 8] = b"TIDPROGR";
const FORMAT_VERSION: u32 = 3;
/// The version before, which knew no rematching.
const NO_REMATCH: u32 = 2;
/// Bytes before the holes.
const FIXED: usize = 128;
/// Where the number of pieces stands, and the length of the whole row.
const PIECES: usize = 120;
const LENGTH: usize = 124;
/// Bytes of what a row says about entries that are given again, and in the version before.
const REPLAY: usize = 48;
const REPLAY_BEFORE: usize = 32;
/// Bytes of a hole: its offset, the hash of its key, its record's bytes.
pub(super) const HOLE: usize = 20;

/// The two slots of one reader.
pub(super) struct RowFile {
    slots: [Arc<dyn DiskFile>; 2],
    /// The slot that is written next; the other one is the last synced.
    writing: usize,
    generation: u64,
    unsynced: Option<Need>,
    /// The frozen holes on disk, and which of them each slot names durably.
    pieces: PieceFiles,
    names: [Vec<u64>; 2],
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
    /// … and these.
    pub(super) holes: HoleSet,
    /// Of these offsets everything, whatever its labels: rules may match it that did not.
    pub(super) whole: Option<Range<u64>>,
}

impl Need {
    fn of(row: &Row) -> Self {
        let position = row.replay.map_or(row.position, |replay| replay.next.min(row.position));
        let whole = row.replay.map(|replay| replay.next..replay.rematch).filter(|whole| !whole.is_empty());
        Self { position, holes: row.holes.clone(), whole }
    }

    /// Everything below is needed no more.
    pub(super) fn floor(&self) -> u64 {
        self.holes.first().unwrap_or(self.position).min(self.position)
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

/// One slot's row, its pieces not read yet.
struct Slot {
    generation: u64,
    row: Row,
    pieces: Vec<PieceRef>,
}

impl Slot {
    /// The row with its pieces; none if one of them is not there.
    fn complete(mut self, disk: &dyn Disk, dir: &Path, target: TargetNo) -> io::Result<Option<Row>> {
        for piece in &self.pieces {
            match pieces::read(disk, dir, target, piece)? {
                Some(piece) => self.row.holes.pieces.push(piece),
                None => return Ok(None),
            }
        }
        Ok(Some(self.row))
    }
}

/// The newest valid row of a reader, if it has one. Reads only.
pub(super) fn read(disk: &dyn Disk, dir: &Path, target: TargetNo) -> Result<Option<Row>, RowError> {
    let mut slots = Vec::new();
    for path in paths(dir, target) {
        slots.extend(read_slot(disk, &path, target)?);
    }
    slots.sort_by_key(|slot| std::cmp::Reverse(slot.generation));
    for slot in slots {
        if let Some(row) = slot.complete(disk, dir, target)? {
            return Ok(Some(row));
        }
    }
    Ok(None)
}

fn read_slot(disk: &dyn Disk, path: &Path, target: TargetNo) -> Result<Option<Slot>, RowError> {
    match disk.open(path) {
        Ok(file) => decode(&contents(&*file)?, target),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e.into()),
    }
}

fn contents(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(0)];
    crate::journal::disk::read_exact_at(file, &mut bytes, 0)?;
    Ok(bytes)
}

/// The numbers of all targets that have a row.
pub(super) fn targets(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<TargetNo>> {
    let mut paths = disk.list(dir)?;
    paths.retain(|path| !pieces::is_piece(path));
    let number = |path: &PathBuf| path.file_stem().and_then(|s| s.to_str()).and_then(|s| s.parse().ok());
    let mut numbers: Vec<_> = paths.iter().filter_map(number).map(TargetNo).collect();
    numbers.dedup();
    Ok(numbers)
}

/// One above the highest offset that any row in `dir` proves to have been durable.
pub(super) fn proven_end(disk: &dyn Disk, dir: &Path) -> Result<u64, RowError> {
    let mut proven = 0;
    for path in disk.list(dir)?.into_iter().filter(|path| !pieces::is_piece(path)) {
        let number = path.file_stem().and_then(|s| s.to_str()).and_then(|s| s.parse().ok());
        let Some(number) = number else { continue };
        if let Some(slot) = read_slot(disk, &path, TargetNo(number))? {
            proven = proven.max(slot.row.durable_end);
        }
    }
    Ok(proven)
}

/// Removes both slots of a reader, durably, and its pieces.
pub(super) fn remove(disk: &dyn Disk, dir: &Path, target: TargetNo) -> io::Result<()> {
    pieces::remove_strays(disk, dir, |of, _| of != target)?;
    let mut removed = false;
    for path in paths(dir, target) {
        match disk.remove(&path) {
            Ok(()) => removed = true,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    if removed {
        disk.sync_dir(dir)?;
    }
    // No row names its pieces any more; what a stop leaves of them goes at the next start.
    pieces::remove_strays(disk, dir, |of, _| of != target)
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
            pieces: PieceFiles::default(),
            names: [Vec::new(), Vec::new()],
            position: 0,
            synced: Need::of(row),
        };
        // Go on above both generations, over the older slot first; one whose pieces are not there is none.
        let mut generations = [0, 0];
        for at in [0, 1] {
            let Some(slot) = decode(&contents(&*file.slots[at])?, target).ok().flatten() else { continue };
            file.generation = file.generation.max(slot.generation);
            let (generation, pieces) = (slot.generation, slot.pieces.clone());
            if slot.complete(disk, dir, target)?.is_some() {
                generations[at] = generation;
                file.names[at] = pieces.iter().map(|p| p.id).collect();
                file.pieces.found(&pieces);
            }
        }
        file.writing = usize::from(generations[1] < generations[0]);
        // A killed process leaves the newer row unsynced, and the older one is all that a power cut would
        // leave.
        file.slots[1 - file.writing].sync_data()?;
        file.keep_pieces(disk, dir, target, row)?;
        file.write(target, row)?;
        file.sync()?;
        disk.sync_dir(dir)?;
        Ok(file)
    }

    /// Makes the pieces durable that a row names: always before the row is written.
    pub(super) fn keep_pieces(
        &mut self,
        disk: &dyn Disk,
        dir: &Path,
        target: TargetNo,
        row: &Row,
    ) -> io::Result<()> {
        self.pieces.keep(disk, dir, target, &row.holes)
    }

    /// Removes the pieces that neither slot names any more: always after a sync.
    pub(super) fn drop_pieces(&mut self, disk: &dyn Disk, dir: &Path, target: TargetNo) {
        let named = |id| self.names.iter().any(|names| names.contains(&id));
        self.pieces.drop_others(disk, dir, target, named);
    }

    /// Every piece that is on disk for this reader.
    pub(super) fn named_pieces(&self) -> Vec<u64> {
        self.pieces.ids()
    }

    /// Writes a row, not synced, into the slot that is not the last synced one. Its pieces must be kept.
    pub(super) fn write(&mut self, target: TargetNo, row: &Row) -> io::Result<()> {
        self.generation += 1;
        let bytes = encode(target, self.generation, row, &self.pieces);
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

    /// True if the last row written is durable.
    pub(super) fn is_synced(&self) -> bool {
        self.unsynced.is_none()
    }

    /// Makes the last written row durable; false if it was. After an error the process must end: nobody knows
    /// what is on disk.
    pub(super) fn sync(&mut self) -> io::Result<bool> {
        let Some(need) = self.unsynced.take() else { return Ok(false) };
        self.slots[self.writing].sync_data()?;
        self.names[self.writing] = need.holes.pieces.iter().map(|p| p.frozen.id).collect();
        self.writing = 1 - self.writing;
        self.synced = need;
        fail::point("cursor.synced");
        Ok(true)
    }
}

fn encode(target: TargetNo, generation: u64, row: &Row, pieces: &PieceFiles) -> Vec<u8> {
    let t = &row.totals;
    let len = FIXED + row.holes.others.len() * HOLE + pieces::references_len(&row.holes) + REPLAY;
    let mut b = Vec::with_capacity(len);
    b.extend_from_slice(MAGIC);
    b.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    b.extend_from_slice(&[0; 4]);
    b.extend_from_slice(&target.0.to_le_bytes());
    b.extend_from_slice(&(row.holes.others.len() as u32).to_le_bytes());
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
    b[PIECES..PIECES + 4].copy_from_slice(&(row.holes.pieces.len() as u32).to_le_bytes());
    b[LENGTH..LENGTH + 4].copy_from_slice(&(len as u32).to_le_bytes());
    row.holes.others.iter().for_each(|hole| encode_hole(hole, &mut b));
    pieces.refer(&row.holes, &mut b);
    let replay = row.replay.map_or([0; 3], |replay| [replay.next, replay.until, replay.serial]);
    let rematch = row.replay.map_or(0, |replay| replay.rematch);
    let more = [row.replays, rematch, row.totals.rematched];
    replay.iter().chain(&more).for_each(|n| b.extend_from_slice(&n.to_le_bytes()));
    let crc = crc32c(&b[16..]);
    b[12..16].copy_from_slice(&crc.to_le_bytes());
    b
}

/// Appends a hole's bytes.
pub(super) fn encode_hole(hole: &Hole, out: &mut Vec<u8>) {
    out.extend_from_slice(&hole.offset.to_le_bytes());
    out.extend_from_slice(&hole.key.to_le_bytes());
    out.extend_from_slice(&hole.bytes.to_le_bytes());
}

fn decode(b: &[u8], target: TargetNo) -> Result<Option<Slot>, RowError> {
    let u32_at = |at: usize| b.get(at..at + 4).and_then(|s| s.try_into().ok()).map_or(0, u32::from_le_bytes);
    let u64_at = |at: usize| b.get(at..at + 8).and_then(|s| s.try_into().ok()).map_or(0, u64::from_le_bytes);
    if b.len() < FIXED || &b[0..8] != MAGIC {
        return Ok(None);
    }
    let tail = match u32_at(8) {
        FORMAT_VERSION => REPLAY,
        NO_REMATCH => REPLAY_BEFORE,
        other => return Err(RowError::Version(other)),
    };
    let (end, others) = (u32_at(LENGTH) as usize, FIXED + u32_at(20) as usize * HOLE);
    // A slot is not cut when a shorter row is written over a longer one.
    let whole = (FIXED..=b.len()).contains(&end) && crc32c(&b[16..end]) == u32_at(12);
    if !whole || u32_at(16) != target.0 || others > end {
        return Ok(None);
    }
    let Some((pieces, replay)) = pieces::references(&b[others..end], u32_at(PIECES) as usize) else {
        return Ok(None);
    };
    if replay.len() != tail {
        return Ok(None);
    }
    let said = |i: usize| if i * 8 < tail { u64_at(end - tail + i * 8) } else { 0 };
    let (next, until, serial, replays) = (said(0), said(1), said(2), said(3));
    // Rows that were written before said 1 where they meant the position.
    let rematch = if said(4) == 1 { until } else { said(4) };
    let replay = (until > 0).then_some(ReplayRow { next, until, serial, rematch });
    let n = |i: usize| u64_at(24 + i * 8);
    let totals = Totals {
        taken: n(3),
        delivered: n(4),
        dead_lettered: n(5),
        purged: n(6),
        forgotten: n(7),
        quarantined: n(8),
        repeated: n(9),
        rematched: said(5),
        taken_bytes: n(10),
        settled_bytes: n(11),
    };
    let hole = |at| Hole { offset: u64_at(at), key: u64_at(at + 8), bytes: u32_at(at + 16) };
    let holes: HoleSet = (FIXED..others).step_by(HOLE).map(hole).collect();
    let row = Row { durable_end: n(1), position: n(2), totals, holes, replay, replays };
    Ok(Some(Slot { generation: n(0), row, pieces }))
}

#[cfg(test)]
#[path = "rows_tests.rs"]
mod pieces_tests;

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
                rematched: 2,
                taken_bytes: 1 << 40,
                settled_bytes: 7,
                ..Totals::default()
            },
            replay: (position == 20).then_some(ReplayRow { next: 4, until: 20, serial: 3, rematch: 30 }),
            replays: position,
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
        assert_eq!(file.synced.floor(), 4, "what is given again is needed");
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

    /// A file of which only the first bytes of a write reach the disk, and the writer is told so.
    struct Torn(Arc<dyn DiskFile>);

    impl DiskFile for Torn {
        fn write_at(&self, data: &[u8], at: u64) -> io::Result<()> {
            self.0.write_at(&data[..36], at)?;
            Err(io::ErrorKind::StorageFull.into())
        }
        fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
            self.0.read_at(buf, at)
        }
        fn sync_data(&self) -> io::Result<()> {
            self.0.sync_data()
        }
        fn set_len(&self, len: u64) -> io::Result<()> {
            self.0.set_len(len)
        }
        fn len(&self) -> io::Result<u64> {
            self.0.len()
        }
    }

    #[test]
    fn a_slot_that_a_failed_write_tore_is_never_called_synced() {
        let dir = tempfile::tempdir().expect("a directory");
        let target = TargetNo(4);
        let mut file = RowFile::create(&OsDisk, dir.path(), target, &row(10, &[])).expect("created");
        file.write(target, &row(20, &[])).expect("written");
        let whole = Arc::clone(&file.slots[file.writing]);
        file.slots[file.writing] = Arc::new(Torn(Arc::clone(&whole)));
        file.write(target, &row(30, &[])).expect_err("no space");
        // Row 20 is gone, torn by row 30: synced is what the other slot holds.
        file.sync().expect("nothing to sync");
        assert_eq!(file.synced.floor(), 10, "trimming would believe a row that is not there");
        assert_eq!(read(&OsDisk, dir.path(), target).expect("read"), Some(row(10, &[])));
        let torn = file.writing;
        file.slots[torn] = whole;
        file.write(target, &row(40, &[])).expect("there is space again");
        assert_eq!(file.writing, torn, "the last synced slot is never written over");
        file.sync().expect("synced");
        assert_eq!(file.synced.floor(), 40);
        assert_eq!(read(&OsDisk, dir.path(), target).expect("read"), Some(row(40, &[])));
    }
}
