//! Frozen holes on disk: one file for each piece, written and synced before any row names it, removed once no
//! row does.
//!
//! Must never change a file that a row names: a row binds its pieces by their checksums, so that a file of
//! another life under the same name makes the row invalid and not wrong.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::entry::TargetNo;
use super::holes::{Frozen, Hole, HoleSet, PIECE, Piece};
use super::rows::{HOLE, encode_hole};
use crate::fail;
use crate::journal::disk::read_exact_at;
use crate::journal::{Disk, crc32c};

const MAGIC: &[u8; 8] = b"TIDHOLES";
const FORMAT_VERSION: u32 = 1;
/// Bytes before the holes.
const FIXED: usize = 32;
/// Bytes before the bits in a row's reference to a piece.
const REFERENCE: usize = 16;
/// Pieces that a row may name: far more than `max_held` makes.
const MOST: usize = 4_096;

/// What a row says of one piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PieceRef {
    pub(super) id: u64,
    crc: u32,
    open: Box<[u64]>,
}

/// The files of one reader's pieces.
#[derive(Debug, Default)]
pub(super) struct PieceFiles {
    /// On disk and durable: their checksums by id.
    durable: BTreeMap<u64, u32>,
}

fn path(dir: &Path, target: TargetNo, id: u64) -> PathBuf {
    dir.join(format!("{:08}.h{id:016}", target.0))
}

fn bytes_of(target: TargetNo, frozen: &Frozen) -> Vec<u8> {
    let mut b = Vec::with_capacity(FIXED + frozen.holes.len() * HOLE);
    b.extend_from_slice(MAGIC);
    b.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    b.extend_from_slice(&[0; 4]);
    b.extend_from_slice(&target.0.to_le_bytes());
    b.extend_from_slice(&(frozen.holes.len() as u32).to_le_bytes());
    b.extend_from_slice(&frozen.id.to_le_bytes());
    frozen.holes.iter().for_each(|hole| encode_hole(hole, &mut b));
    let crc = crc32c(&b[16..]);
    b[12..16].copy_from_slice(&crc.to_le_bytes());
    b
}

fn u32_at(b: &[u8], at: usize) -> u32 {
    b.get(at..at + 4).and_then(|s| s.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn u64_at(b: &[u8], at: usize) -> u64 {
    b.get(at..at + 8).and_then(|s| s.try_into().ok()).map_or(0, u64::from_le_bytes)
}

impl PieceFiles {
    /// Makes every piece that a row will name durable.
    pub(super) fn keep(
        &mut self,
        disk: &dyn Disk,
        dir: &Path,
        target: TargetNo,
        holes: &HoleSet,
    ) -> io::Result<()> {
        let new: Vec<_> = holes.pieces.iter().filter(|p| !self.durable.contains_key(&p.frozen.id)).collect();
        let mut made = Vec::with_capacity(new.len());
        for piece in &new {
            let path = path(dir, target, piece.frozen.id);
            // Left by a life whose row never named it, or by a write that failed.
            match disk.remove(&path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
            let file = disk.create(&path)?;
            let bytes = bytes_of(target, &piece.frozen);
            file.write_at(&bytes, 0)?;
            if !fail::mutant("piece-unsynced") {
                file.sync_data()?;
            }
            made.push((piece.frozen.id, u32_at(&bytes, 12)));
            fail::point("cursor.piece.written");
        }
        if !new.is_empty() {
            disk.sync_dir(dir)?;
            fail::point("cursor.piece.synced");
        }
        self.durable.extend(made);
        Ok(())
    }

    /// Removes the files that no row on disk names any more. What cannot be removed goes at the next start.
    pub(super) fn drop_others(
        &mut self,
        disk: &dyn Disk,
        dir: &Path,
        target: TargetNo,
        named: impl Fn(u64) -> bool,
    ) {
        self.durable.retain(|id, _| {
            let keep = named(*id);
            if !keep {
                let _ = disk.remove(&path(dir, target, *id));
            }
            keep
        });
    }

    /// These are on disk and durable: a row on disk names them.
    pub(super) fn found(&mut self, pieces: &[PieceRef]) {
        self.durable.extend(pieces.iter().map(|p| (p.id, p.crc)));
    }

    /// All of them.
    pub(super) fn ids(&self) -> Vec<u64> {
        self.durable.keys().copied().collect()
    }

    /// Appends what a row says of its pieces.
    pub(super) fn refer(&self, holes: &HoleSet, out: &mut Vec<u8>) {
        for piece in &holes.pieces {
            let id = piece.frozen.id;
            let crc = self.durable.get(&id).expect("a row names only pieces that are durable");
            out.extend_from_slice(&id.to_le_bytes());
            out.extend_from_slice(&crc.to_le_bytes());
            out.extend_from_slice(&(piece.open.len() as u32).to_le_bytes());
            piece.open.iter().for_each(|bits| out.extend_from_slice(&bits.to_le_bytes()));
        }
    }
}

/// Bytes of what [`PieceFiles::refer`] appends.
pub(super) fn references_len(holes: &HoleSet) -> usize {
    holes.pieces.iter().map(|p| REFERENCE + p.open.len() * 8).sum()
}

/// Reads what [`PieceFiles::refer`] appended; `None` if it is not that.
pub(super) fn references(mut b: &[u8], count: usize) -> Option<(Vec<PieceRef>, &[u8])> {
    let mut found = Vec::new();
    for _ in 0..count.min(MOST + 1) {
        let words = u32_at(b.get(..REFERENCE)?, 12) as usize;
        if words > PIECE.div_ceil(64) {
            return None;
        }
        let (bits, rest) = b[REFERENCE..].split_at_checked(words * 8)?;
        let open = bits.chunks_exact(8).map(|word| u64_at(word, 0)).collect();
        found.push(PieceRef { id: u64_at(b, 0), crc: u32_at(b, 8), open });
        b = rest;
    }
    (found.len() == count).then_some((found, b))
}

/// Reads a piece that a row names. None if it is not there, damaged, or another one.
pub(super) fn read(
    disk: &dyn Disk,
    dir: &Path,
    target: TargetNo,
    piece: &PieceRef,
) -> io::Result<Option<Piece>> {
    let file = match disk.open(&path(dir, target, piece.id)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let len = usize::try_from(file.len()?).unwrap_or(0);
    if !(FIXED..=FIXED + PIECE * HOLE).contains(&len) {
        return Ok(None);
    }
    let mut b = vec![0; len];
    read_exact_at(&*file, &mut b, 0)?;
    let count = u32_at(&b, 20) as usize;
    let ours = &b[0..8] == MAGIC && u32_at(&b, 8) == FORMAT_VERSION && u32_at(&b, 16) == target.0;
    let whole = len == FIXED + count * HOLE && u32_at(&b, 12) == piece.crc && crc32c(&b[16..]) == piece.crc;
    if !ours || !whole || u64_at(&b, 24) != piece.id {
        return Ok(None);
    }
    let hole = |h: &[u8]| Hole { offset: u64_at(h, 0), key: u64_at(h, 8), bytes: u32_at(h, 16) };
    let holes = b[FIXED..].chunks_exact(HOLE).map(hole);
    let frozen = Arc::new(Frozen { id: piece.id, holes: holes.collect() });
    Ok(Piece::of_row(frozen, piece.open.clone()))
}

/// The target and the id in the name of a piece's file.
fn named(path: &Path) -> Option<(TargetNo, u64)> {
    let (target, id) = path.file_name()?.to_str()?.split_once(".h")?;
    Some((TargetNo(target.parse().ok()?), id.parse().ok()?))
}

/// Removes the pieces that no row names: a process died between a piece and its row.
pub(super) fn remove_strays(
    disk: &dyn Disk,
    dir: &Path,
    is_named: impl Fn(TargetNo, u64) -> bool,
) -> io::Result<()> {
    for path in disk.list(dir)? {
        if let Some((target, id)) = named(&path)
            && !is_named(target, id)
        {
            disk.remove(&path)?;
        }
    }
    Ok(())
}

/// True if this is a piece's file and not a row's.
pub(super) fn is_piece(path: &Path) -> bool {
    named(path).is_some()
}
