//! Pack files, as readers see them: the inline bodies of applied objects, appended one contiguous run per
//! batch.
//!
//! Must never give bytes that do not fit their checksum, and never keep a removed pack open.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use crc_fast::crc32_iscsi as crc32c;

use crate::journal::disk::{Disk, DiskFile, read_exact_at};

/// A pack takes no further batch once it has this many bytes.
pub(super) const PACK_BYTES: u64 = 256 << 20;
/// The same in the simulator.
pub(super) const PACK_BYTES_SMALL: u64 = 32 << 10;
/// The header's block; bodies begin behind it. Appends after a sync begin on a fresh block too.
pub(super) const BLOCK: u64 = 4096;
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

    /// A pack's file, under the data directory.
    pub(super) fn file_name(pack: u32) -> String {
        format!("packs/{pack:08x}.pack")
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

    /// A pack for reading.
    pub(super) fn file(&self, pack: u32) -> io::Result<Arc<dyn DiskFile>> {
        if let Some(file) = self.open.read().unwrap_or_else(PoisonError::into_inner).get(&pack) {
            return Ok(file.clone());
        }
        // Under the lock: a removed pack must not be kept open by who opened it just before.
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        let file = self.disk.open(&self.path(pack))?;
        check_header(&*file, pack)?;
        keep_open(&mut open, pack, file.clone());
        Ok(file)
    }

    /// The length of a pack's file in bytes.
    pub(super) fn bytes(&self, pack: u32) -> io::Result<u64> {
        self.disk.open(&self.path(pack))?.len()
    }

    /// Removes a pack that no row names, not even one of the last checkpoint. Who reads it goes on reading;
    /// who comes later looks its row up again. No error if it is gone already.
    pub(super) fn remove(&self, pack: u32) -> io::Result<()> {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        match self.disk.remove(&self.path(pack)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        open.remove(&pack);
        Ok(())
    }

    /// Makes the folder's names durable.
    pub(super) fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir(&self.dir)
    }

    /// Makes an empty pack.
    pub(super) fn create(&self, pack: u32) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.path(pack);
        // Left by a run that ended before a checkpoint named it.
        match self.disk.remove(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let file = self.disk.create(&path)?;
        file.write_at(&header(pack), 0)?;
        keep_open(&mut self.open.write().unwrap_or_else(PoisonError::into_inner), pack, file.clone());
        Ok(file)
    }
}

fn keep_open(open: &mut BTreeMap<u32, Arc<dyn DiskFile>>, pack: u32, file: Arc<dyn DiskFile>) {
    while open.len() >= OPEN_PACKS {
        open.pop_first();
    }
    open.insert(pack, file);
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
