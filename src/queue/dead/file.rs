//! One target's dead-letter file: a header, then batches, each on blocks of its own.
//!
//! ```text
//!   block 0   magic, version, salt, what earlier files carried over
//!   block 1…  batch  batch  batch  seal
//! ```
//!
//! A batch says what was durable before it, and a seal says so of the last batch: bad bytes below are damage
//! and named, bad bytes above are a write that nobody was told about, and cut. Must never sync a file again
//! whose sync failed: it is written anew under another name.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::batch::{BATCH_HEADER, BLOCK, Batch};
use super::record::BATCH_BYTES;
use super::scan::{Found, read};
use crate::fail;
use crate::journal::{Disk, DiskFile, RandomFn, crc32c};
use crate::queue::entry::TargetNo;

pub(super) const MAGIC: &[u8; 8] = b"TIDDEADL";
pub(super) const FORMAT_VERSION: u32 = 1;
/// Bytes of the header that mean something.
pub(super) const FIXED: usize = 64;

/// Letters that are gone and whose offsets need not be known any more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Carried {
    /// Purged by an operator.
    pub purged: u64,
    /// Replayed: the far side has them.
    pub replayed: u64,
    /// Damaged, and the loss accepted by an operator.
    pub lost: u64,
}

impl Carried {
    pub(super) fn total(&self) -> u64 {
        self.purged + self.replayed + self.lost
    }
}

/// Bytes that were durable and cannot be read: from the first, up to the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DamagedBytes(pub u64, pub u64);

/// Why a file cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(
        "has format version {0}; this tidings reads version {FORMAT_VERSION}: run the version that wrote it"
    )]
    Version(u32),
}

/// The file of one target; it is made with the first letter.
pub(super) struct LogFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    target: TargetNo,
    random: RandomFn,
    open: Option<Open>,
    pub(super) carried: Carried,
}

pub(super) struct Open {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) salt: u64,
    /// Where the next batch goes: everything below is durable.
    pub(super) end: u64,
    /// Everything below was durable before the file got its name.
    pub(super) made: u64,
    /// A sync failed: nobody knows what the disk holds.
    pub(super) spoilt: bool,
}

pub(super) fn path_of(dir: &Path, target: TargetNo) -> PathBuf {
    dir.join(format!("{:08}.dead", target.0))
}

/// Removes a target's file, if there is one, durably.
pub(super) fn remove(disk: &dyn Disk, dir: &Path, target: TargetNo) -> io::Result<()> {
    let path = path_of(dir, target);
    for path in [path.with_extension("tmp"), path] {
        match disk.remove(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    disk.sync_dir(dir)
}

impl LogFile {
    /// Opens the file, or none, and makes durable what it found. Every record goes to `see`.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        target: TargetNo,
        random: RandomFn,
        see: &mut dyn FnMut(u64, u8, &[u8]),
    ) -> Result<(Self, Option<DamagedBytes>), OpenError> {
        let path = path_of(dir, target);
        match disk.remove(&path.with_extension("tmp")) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e.into()),
            _ => {}
        }
        let found = read(&*disk, dir, target, see)?;
        let mut log = Self { disk, path, target, random, open: None, carried: Carried::default() };
        let (mut open, carried, scan) = match found {
            Found::Nothing => return Ok((log, None)),
            Found::Unreadable(damaged) => return Ok((log, Some(damaged))),
            Found::File { open, carried, scan } => (open, carried, scan),
        };
        // The rename that gave it its name may be in the cache only.
        log.disk.sync_dir(dir)?;
        if let Some((records, from)) = scan.unproven {
            // A killed process may have left it in the cache only, after a failed sync even for good: what
            // is written and synced here counts, and what stands below it need not.
            open.write(&records, from)?;
        }
        open.seal();
        (log.open, log.carried) = (Some(open), carried);
        Ok((log, scan.damaged))
    }

    fn header(&self, salt: u64, made: u64) -> Vec<u8> {
        let mut b = Vec::with_capacity(BLOCK as usize);
        b.extend_from_slice(MAGIC);
        b.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        b.extend_from_slice(&[0; 4]);
        b.extend_from_slice(&self.target.0.to_le_bytes());
        b.extend_from_slice(&[0; 4]);
        let Carried { purged, replayed, lost } = self.carried;
        [salt, made, purged, replayed, lost].iter().for_each(|n| b.extend_from_slice(&n.to_le_bytes()));
        b.resize(FIXED, 0);
        let crc = crc32c(&b[16..]);
        b[12..16].copy_from_slice(&crc.to_le_bytes());
        b.resize(BLOCK as usize, 0);
        b
    }

    /// Bytes of the file.
    pub(super) fn len(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| open.end)
    }

    /// True if the next thing must be [`LogFile::rewrite`]: there is no file, or none that can be trusted.
    pub(super) fn wants_rewrite(&self) -> bool {
        self.open.as_ref().is_none_or(|open| open.spoilt)
    }

    /// Makes records durable with one sync; gives the place of the first.
    pub(super) fn append(&mut self, records: &[u8]) -> io::Result<u64> {
        match &mut self.open {
            Some(open) if !open.spoilt => open.append(records),
            _ => Err(io::Error::other("the file must be written anew first")),
        }
    }

    /// Says on disk that everything is durable. Needs no sync: whoever does not find it, is more careful.
    pub(super) fn seal(&mut self) {
        self.open.iter_mut().for_each(Open::seal);
    }

    /// A handle for reads beside the writes.
    pub(super) fn reader(&self) -> Option<Arc<dyn DiskFile>> {
        self.open.as_ref().map(|open| Arc::clone(&open.file))
    }

    /// Writes a new file with what `records` gives, call by call, until it gives nothing; makes it durable
    /// and puts it in place of the old one. `placed` gets the place of each call's first record.
    pub(super) fn rewrite(
        &mut self,
        records: &mut dyn FnMut(&mut Vec<u8>) -> io::Result<()>,
        placed: &mut dyn FnMut(u64),
    ) -> io::Result<()> {
        // Whatever comes of it: which file has the name is not known before this has ended well.
        self.open.iter_mut().for_each(|open| open.spoilt = true);
        let mut salt = [0; 8];
        (self.random)(&mut salt)?;
        let salt = u64::from_le_bytes(salt);
        let temporary = self.path.with_extension("tmp");
        match self.disk.remove(&temporary) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let file = self.disk.create(&temporary)?;
        let mut end = BLOCK;
        let mut batch = Vec::with_capacity(BATCH_BYTES);
        loop {
            batch.clear();
            records(&mut batch)?;
            if batch.is_empty() {
                break;
            }
            placed(end + BATCH_HEADER as u64);
            // Nothing in it is durable before all of it is, under its name.
            file.write_at(&Batch::bytes(salt, end, BLOCK, end, &batch), end)?;
            end = (end + (BATCH_HEADER + batch.len()) as u64).next_multiple_of(BLOCK);
        }
        file.write_at(&Batch::bytes(salt, end, end, end, &[]), end)?;
        file.write_at(&self.header(salt, end), 0)?;
        file.sync_data()?;
        fail::point("dead.rewrite.before");
        self.disk.rename(&temporary, &self.path)?;
        if let Some(dir) = self.path.parent() {
            self.disk.sync_dir(dir)?;
        }
        fail::point("dead.rewrite.after");
        self.open = Some(Open { file, salt, end, made: end, spoilt: false });
        Ok(())
    }
}

impl Open {
    fn append(&mut self, records: &[u8]) -> io::Result<u64> {
        self.write(records, self.end)
    }

    /// Makes records durable. Everything below `from` is so already; what stands from there on is in them.
    fn write(&mut self, records: &[u8], from: u64) -> io::Result<u64> {
        let bytes = Batch::bytes(self.salt, self.end, from, from, records);
        fail::point("dead.append.before");
        // A failed write leaves nothing that anybody was told of: the same place is written again.
        self.file.write_at(&bytes, self.end)?;
        fail::point("dead.append.written");
        if !fail::mutant("dead-letter-without-sync") {
            self.file.sync_data().inspect_err(|_| self.spoilt = true)?;
        }
        fail::point("dead.append.after");
        let at = self.end + BATCH_HEADER as u64;
        self.end = (self.end + bytes.len() as u64).next_multiple_of(BLOCK);
        Ok(at)
    }

    fn seal(&mut self) {
        let seal = Batch::bytes(self.salt, self.end, self.end, self.end, &[]);
        if let Err(error) = self.file.write_at(&seal, self.end) {
            tracing::debug!(%error, "the dead letters are not sealed");
        }
    }
}
