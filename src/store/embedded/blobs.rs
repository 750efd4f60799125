//! Blob files: bodies too large for a record, each under a random name of its own.
//!
//! Must never hand out a name before file and folder are durable, and must never rename. A name that no
//! record names is invisible; its file goes with the upload that failed, or at the next start.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::pins::{Pin, Pins};
use super::row::BlobName;
use crate::journal::disk::{Disk, DiskFile, read_exact_at};

/// The header of a blob file; the body begins behind it.
pub(super) const HEADER: u64 = 64;
const MAGIC: &[u8; 8] = b"TIDBLOB\0";
const VERSION: u32 = 1;

/// The blob files of one store.
pub(super) struct Blobs {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// Fan-out folders whose own name is durable.
    made: [AtomicBool; 256],
    pins: Arc<Pins>,
    unowned: Mutex<Unowned>,
}

impl Blobs {
    /// Opens the folder, which must exist.
    pub(super) fn new(disk: Arc<dyn Disk>, dir: PathBuf) -> Self {
        Self {
            disk,
            dir,
            made: [const { AtomicBool::new(false) }; 256],
            pins: Arc::default(),
            unowned: Mutex::default(),
        }
    }

    /// Keeps these blobs, as far as they are still there.
    pub(super) fn pin(&self, names: impl Iterator<Item = BlobName>) -> Pin {
        Pin::new(self.pins.clone(), names.collect())
    }

    /// Blobs without an owner.
    pub(super) fn unowned(&self) -> MutexGuard<'_, Unowned> {
        self.unowned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True while a reader will open this blob.
    pub(super) fn is_pinned(&self, name: &BlobName) -> bool {
        self.pins.has(name)
    }

    /// Makes a blob's name durable.
    pub(super) fn sync_folder(&self, name: &BlobName) -> io::Result<()> {
        self.disk.sync_dir(&self.folder(name))
    }

    fn folder(&self, name: &BlobName) -> PathBuf {
        self.dir.join(format!("{:02x}", name[0]))
    }

    fn path(&self, name: &BlobName) -> PathBuf {
        self.folder(name).join(hex::encode(name))
    }

    /// A blob's file, under the data directory.
    pub(super) fn file_name(name: &BlobName) -> String {
        format!("blobs/{:02x}/{}", name[0], hex::encode(name))
    }

    /// The names of all files, in no useful order.
    pub(super) fn names(&self) -> io::Result<Vec<BlobName>> {
        let mut names = Vec::new();
        for folder in 0..=u8::MAX {
            let found = match self.disk.list(&self.dir.join(format!("{folder:02x}"))) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                found => found?,
            };
            let name = |p: &Path| super::row::blob_name(p.file_name()?.to_str()?);
            names.extend(found.iter().filter_map(|p| name(p)));
        }
        Ok(names)
    }

    /// Removes a blob; no error if it is gone already.
    pub(super) fn remove(&self, name: &BlobName) -> io::Result<()> {
        match self.disk.remove(&self.path(name)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        self.unowned().forget(name);
        Ok(())
    }

    /// The length of a blob's body, as its file says.
    pub(super) fn bytes(&self, name: &BlobName) -> io::Result<u64> {
        Ok(self.disk.open(&self.path(name))?.len()?.saturating_sub(HEADER))
    }

    /// Opens a blob for reading and checks its header.
    pub(super) fn open(&self, name: &BlobName) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.disk.open(&self.path(name))?;
        let mut found = [0; HEADER as usize];
        read_exact_at(&*file, &mut found, 0)?;
        if found != header() {
            let what = "the header of its blob is damaged or of a newer version";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(file)
    }

    /// Makes an empty blob; its folder's name is durable.
    pub(super) fn create(&self, name: &BlobName) -> io::Result<Arc<dyn DiskFile>> {
        let made = &self.made[usize::from(name[0])];
        if !made.load(Ordering::Acquire) {
            self.disk.create_dir_all(&self.folder(name))?;
            self.disk.sync_dir(&self.dir)?;
            made.store(true, Ordering::Release);
        }
        let file = self.disk.create(&self.path(name))?;
        if let Err(e) = file.write_at(&header(), 0) {
            // The name is ours alone; what cannot be removed now goes at the next start.
            let _ = self.remove(name);
            return Err(e);
        }
        Ok(file)
    }
}

fn header() -> [u8; HEADER as usize] {
    let mut out = [0; HEADER as usize];
    out[..8].copy_from_slice(MAGIC);
    out[8..12].copy_from_slice(&VERSION.to_le_bytes());
    out
}

/// Blobs that are being written, or that no applied change names yet: bytes by name.
#[derive(Default)]
pub(super) struct Unowned {
    by_name: HashMap<BlobName, u64>,
    bytes: u64,
}

impl Unowned {
    /// So many bytes were written to a blob.
    pub(super) fn wrote(&mut self, name: BlobName, bytes: u64) {
        *self.by_name.entry(name).or_default() += bytes;
        self.bytes += bytes;
    }

    /// A blob has an owner, or is gone.
    pub(super) fn forget(&mut self, name: &BlobName) {
        self.bytes -= self.by_name.remove(name).unwrap_or_default();
    }

    /// All of them.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}
