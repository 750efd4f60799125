//! Pack files: the inline bodies of applied objects, appended one contiguous run per batch.
//!
//! Must never overwrite a byte that a synced checkpoint may name: what lies beyond the end that the index
//! recorded is garbage and is written over, what lies below it is never touched.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use crc_fast::crc32_iscsi as crc32c;

use crate::journal::disk::{Disk, DiskFile, read_exact_at};

/// A pack takes no further batch once it has this many bytes.
pub(super) const PACK_BYTES: u64 = 256 << 20;
/// The header's block; bodies begin behind it. Appends after a sync begin on a fresh block too.
const BLOCK: u64 = 4096;
/// One write to a pack is at most about this long.
const WRITE_BYTES: usize = 4 << 20;
/// Packs kept open for readers.
const OPEN_PACKS: usize = 128;
const MAGIC: &[u8; 8] = b"TIDPACK\0";
const VERSION: u32 = 1;

/// The pack files of one store, for readers; one thread appends.
pub(super) struct Packs {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    open: RwLock<BTreeMap<u32, Arc<dyn DiskFile>>>,
}

/// Where the next body goes. Recorded in the index with every batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PackEnd {
    /// The pack's number, from 1; 0 before the first.
    pub(super) pack: u32,
    /// One above its last byte.
    pub(super) at: u64,
}

impl PackEnd {
    pub(super) const NONE: Self = Self { pack: 0, at: 0 };

    pub(super) fn to_bytes(self) -> [u8; 12] {
        let mut out = [0; 12];
        out[..4].copy_from_slice(&self.pack.to_le_bytes());
        out[4..].copy_from_slice(&self.at.to_le_bytes());
        out
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (pack, at) = bytes.split_first_chunk::<4>()?;
        Some(Self { pack: u32::from_le_bytes(*pack), at: u64::from_le_bytes(at.try_into().ok()?) })
    }
}

impl Packs {
    /// Opens the folder, which must exist.
    pub(super) fn new(disk: Arc<dyn Disk>, dir: PathBuf) -> Self {
        Self { disk, dir, open: RwLock::default() }
    }

    /// The numbers of the files in the folder.
    pub(super) fn numbers(&self) -> io::Result<BTreeSet<u32>> {
        let number = |path: &Path| {
            let name = path.file_name()?.to_str()?.strip_suffix(".pack")?;
            (name.len() == 8).then(|| u32::from_str_radix(name, 16).ok())?
        };
        Ok(self.disk.list(&self.dir)?.iter().filter_map(|p| number(p)).collect())
    }

    fn path(&self, pack: u32) -> PathBuf {
        self.dir.join(format!("{pack:08x}.pack"))
    }

    /// Reads a whole body. `UnexpectedEof`, `NotFound` and `InvalidData` mean damage; others that the disk
    /// failed.
    pub(super) fn read(&self, pack: u32, at: u64, len: usize, crc: u32) -> io::Result<Vec<u8>> {
        let file = self.file(pack)?;
        let mut body = vec![0; len];
        read_exact_at(&*file, &mut body, at)?;
        if crc32c(&body) != crc {
            let what = format!("the checksum in pack {pack:08x} at {at} does not match");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(body)
    }

    fn file(&self, pack: u32) -> io::Result<Arc<dyn DiskFile>> {
        if let Some(file) = self.open.read().unwrap_or_else(PoisonError::into_inner).get(&pack) {
            return Ok(file.clone());
        }
        let file = self.disk.open(&self.path(pack))?;
        check_header(&*file, pack)?;
        self.keep_open(pack, file.clone());
        Ok(file)
    }

    fn keep_open(&self, pack: u32, file: Arc<dyn DiskFile>) {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        while open.len() >= OPEN_PACKS {
            open.pop_first();
        }
        open.insert(pack, file);
    }

    fn create(&self, pack: u32) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.path(pack);
        // Left by a run that ended before a checkpoint named it.
        match self.disk.remove(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let file = self.disk.create(&path)?;
        file.write_at(&header(pack), 0)?;
        self.keep_open(pack, file.clone());
        Ok(file)
    }
}

fn header(pack: u32) -> Vec<u8> {
    let mut block = Vec::with_capacity(BLOCK as usize);
    block.extend_from_slice(MAGIC);
    block.extend_from_slice(&VERSION.to_le_bytes());
    block.extend_from_slice(&pack.to_le_bytes());
    block.extend_from_slice(&crc32c(&block).to_le_bytes());
    block.resize(BLOCK as usize, 0);
    block
}

fn check_header(file: &dyn DiskFile, pack: u32) -> io::Result<()> {
    let mut found = vec![0; BLOCK as usize];
    read_exact_at(file, &mut found, 0)?;
    if found == header(pack) {
        return Ok(());
    }
    let version = &found[8..12];
    let what = if found.starts_with(MAGIC) && version != VERSION.to_le_bytes() {
        let version = version.iter().rev().fold(0_u32, |n, b| (n << 8) | u32::from(*b));
        format!("pack {pack:08x} has format {version}, this program reads {VERSION}")
    } else {
        format!("pack {pack:08x} has a damaged header")
    };
    Err(io::Error::new(io::ErrorKind::InvalidData, what))
}

/// The index thread's side: appends, and knows what is not synced yet.
pub(super) struct PackWriter {
    packs: Arc<Packs>,
    limit: u64,
    file: Option<Arc<dyn DiskFile>>,
    end: PackEnd,
    /// Files with unsynced bytes.
    dirty: Vec<Arc<dyn DiskFile>>,
    dir_dirty: bool,
    buffer: Vec<u8>,
    /// Where the buffer's first byte goes.
    buffer_at: u64,
}

impl PackWriter {
    /// Goes on behind `end`, which the index recorded. Files above it were never named by a checkpoint and
    /// are removed. A pack takes no further batch once it has `limit` bytes.
    pub(super) fn open(packs: Arc<Packs>, end: PackEnd, limit: u64) -> io::Result<Self> {
        for pack in packs.numbers()?.into_iter().filter(|n| *n > end.pack) {
            packs.disk.remove(&packs.path(pack))?;
        }
        // A pack that is gone or damaged takes nothing more: its objects say so when they are read.
        let file = packs.file(end.pack).ok();
        let (dirty, buffer) = (Vec::new(), Vec::new());
        let mut writer = Self { packs, limit, file, end, dirty, dir_dirty: false, buffer, buffer_at: 0 };
        writer.fresh_block();
        Ok(writer)
    }

    /// The packs that it appends to, for readers.
    pub(super) fn packs(&self) -> Arc<Packs> {
        Arc::clone(&self.packs)
    }

    /// The end to record with the batch that was appended.
    pub(super) fn end(&self) -> PackEnd {
        self.end
    }

    /// Makes sure that there is a pack for the next batch. After an error, call it again.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        self.buffer.clear();
        if self.file.is_none() || self.end.at >= self.limit {
            let pack = self.end.pack + 1;
            let file = self.packs.create(pack)?;
            self.dir_dirty = true;
            self.dirty.push(file.clone());
            self.file = Some(file);
            self.end = PackEnd { pack, at: BLOCK };
        }
        self.buffer_at = self.end.at;
        Ok(())
    }

    /// Appends a body of the batch and says where it will be. After an error the whole batch must be appended
    /// again, from [`PackWriter::rewind`].
    pub(super) fn append(&mut self, body: &[u8]) -> io::Result<PackEnd> {
        let place = self.end;
        self.buffer.extend_from_slice(body);
        self.end.at += body.len() as u64;
        if self.buffer.len() >= WRITE_BYTES {
            self.flush()?;
        }
        Ok(place)
    }

    /// Writes what is left of the batch.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let Some(file) = &self.file else { return Err(io::ErrorKind::NotFound.into()) };
        file.write_at(&self.buffer, self.buffer_at)?;
        self.buffer_at += self.buffer.len() as u64;
        self.buffer.clear();
        if !self.dirty.iter().any(|f| Arc::ptr_eq(f, file)) {
            self.dirty.push(file.clone());
        }
        Ok(())
    }

    /// Takes back everything appended since `end` was read; it must lie in the same pack or before it.
    pub(super) fn rewind(&mut self, end: PackEnd) {
        self.buffer.clear();
        if end.pack == self.end.pack {
            self.end = end;
        } else {
            self.end.at = BLOCK;
        }
    }

    /// Makes every body appended so far durable, and the packs' names. Never repeated after an error.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        for file in &self.dirty {
            file.sync_data()?;
        }
        if self.dir_dirty {
            self.packs.disk.sync_dir(&self.packs.dir)?;
        }
        self.dirty.clear();
        self.dir_dirty = false;
        self.fresh_block();
        Ok(())
    }

    /// A torn write of a block must not damage synced bytes in front of it.
    fn fresh_block(&mut self) {
        self.end.at = self.end.at.next_multiple_of(BLOCK);
    }
}
