//! Reading a dead-letter file: what is whole, what is damaged, and what was never promised.
//!
//! Must never write, and must never take bytes for damage that nobody was told of.

use std::io;
use std::path::Path;

use super::batch::{BATCH_HEADER, BLOCK, Batch};
use super::file::{Carried, DamagedBytes, FIXED, FORMAT_VERSION, MAGIC, Open, OpenError, path_of};
use super::record;
use crate::journal::disk::read_exact_at;
use crate::journal::{Disk, crc32c};
use crate::queue::entry::TargetNo;

/// What a scan of a file found.
pub(super) struct Scan {
    pub(super) damaged: Option<DamagedBytes>,
    /// The records of the last batch, and where they stood first, if nothing proves that they were synced.
    pub(super) unproven: Option<(Vec<u8>, u64)>,
}

pub(super) enum Found {
    Nothing,
    /// Its header is damaged. It was made durable before it got its name: it was whole once.
    Unreadable(DamagedBytes),
    File {
        open: Open,
        carried: Carried,
        scan: Scan,
    },
}

/// Reads a file and changes nothing. Every record goes to `see`, with its place; what is whole above damage,
/// too.
pub(super) fn read(
    disk: &dyn Disk,
    dir: &Path,
    target: TargetNo,
    see: &mut dyn FnMut(u64, u8, &[u8]),
) -> Result<Found, OpenError> {
    let file = match disk.open(&path_of(dir, target)) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(e) => return Err(e.into()),
    };
    let len = file.len()?;
    let mut b = [0; FIXED];
    if len < FIXED as u64 {
        return Ok(Found::Unreadable(DamagedBytes(0, len)));
    }
    read_exact_at(&*file, &mut b, 0)?;
    let u32_at = |at: usize| b[at..at + 4].try_into().map_or(0, u32::from_le_bytes);
    let u64_at = |at: usize| b[at..at + 8].try_into().map_or(0, u64::from_le_bytes);
    if &b[0..8] == MAGIC && u32_at(8) != FORMAT_VERSION {
        return Err(OpenError::Version(u32_at(8)));
    }
    if &b[0..8] != MAGIC || u32_at(12) != crc32c(&b[16..]) || u32_at(16) != target.0 {
        return Ok(Found::Unreadable(DamagedBytes(0, len)));
    }
    let carried = Carried { purged: u64_at(40), replayed: u64_at(48), lost: u64_at(56) };
    let mut open = Open { file, salt: u64_at(24), end: BLOCK, made: u64_at(32), spoilt: false };
    let scan = open.scan(len, see)?;
    Ok(Found::File { open, carried, scan })
}

/// Every record of a target's file, read only.
pub(super) fn each_record(
    disk: &dyn Disk,
    dir: &Path,
    target: TargetNo,
    see: &mut dyn FnMut(u64, u8, &[u8]),
) -> Result<(), OpenError> {
    read(disk, dir, target, see).map(drop)
}

impl Open {
    /// Reads every batch, and says what is damaged.
    fn scan(&mut self, len: u64, see: &mut dyn FnMut(u64, u8, &[u8])) -> io::Result<Scan> {
        let mut scan = Scan { damaged: None, unproven: None };
        let mut bytes = Vec::new();
        let mut at = BLOCK;
        loop {
            match self.batch(at, len, &mut bytes)? {
                Some(batch) if batch.len > 0 => {
                    let records = &bytes[BATCH_HEADER..];
                    let mut from = 0;
                    while let Some((kind, content, whole)) = record::record(&records[from..]) {
                        see(at + (BATCH_HEADER + from) as u64, kind, content);
                        from += whole;
                    }
                    scan.unproven = (at >= self.made).then(|| (records.to_vec(), batch.instead_of));
                    at = batch.end();
                }
                // A seal is the end, unless something above says that it was written over.
                seal => {
                    let Some((next, is_again)) = self.proof_above(at, len, &mut bytes)? else {
                        if seal.is_some_and(|seal| seal.synced >= at) {
                            scan.unproven = None;
                        }
                        break;
                    };
                    if !is_again {
                        let first = scan.damaged.map_or(at, |d: DamagedBytes| d.0);
                        scan.damaged = Some(DamagedBytes(first, next));
                    }
                    at = next;
                }
            }
        }
        self.end = at;
        Ok(scan)
    }

    /// The batch at this place, if it is whole.
    fn batch(&self, at: u64, len: u64, bytes: &mut Vec<u8>) -> io::Result<Option<Batch>> {
        if at + BATCH_HEADER as u64 > len {
            return Ok(None);
        }
        bytes.resize(BATCH_HEADER, 0);
        read_exact_at(&*self.file, bytes, at)?;
        let Some(batch) = Batch::header(bytes, self.salt, at) else { return Ok(None) };
        let whole = BATCH_HEADER as u64 + u64::from(batch.len);
        if at + whole > len {
            return Ok(None);
        }
        bytes.resize(usize::try_from(whole).unwrap_or(usize::MAX), 0);
        read_exact_at(&*self.file, &mut bytes[BATCH_HEADER..], at + BATCH_HEADER as u64)?;
        Ok(Batch::is_whole(bytes).then_some(batch))
    }

    /// Where to go on if what is at `bad` was durable once, or is there again: the next whole batch, and
    /// whether it has everything in between.
    fn proof_above(&self, bad: u64, len: u64, bytes: &mut Vec<u8>) -> io::Result<Option<(u64, bool)>> {
        let made = bad < self.made;
        let mut at = bad + BLOCK;
        while at < len {
            if let Some(batch) = self.batch(at, len, bytes)? {
                let is_again = batch.instead_of <= bad;
                if made || is_again || batch.synced > bad {
                    return Ok(Some((at, is_again)));
                }
            }
            at += BLOCK;
        }
        Ok(made.then_some((self.made, false)))
    }
}
