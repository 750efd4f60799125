//! Files in memory, for a fuzzer that makes thousands of journals in a second.
//!
//! Must never fail, and never know what is durable: crash states are the simulator's.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::journal::{Disk, DiskFile};

#[derive(Default)]
pub(super) struct MemoryDisk(Mutex<BTreeMap<PathBuf, Arc<MemoryFile>>>);

#[derive(Default)]
struct MemoryFile(Mutex<Vec<u8>>);

fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl MemoryDisk {
    pub(super) fn put(&self, path: &Path, bytes: Vec<u8>) {
        held(&self.0).insert(path.to_owned(), Arc::new(MemoryFile(Mutex::new(bytes))));
    }
}

impl Disk for MemoryDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        if held(&self.0).contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.put(path, Vec::new());
        self.open(path)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = held(&self.0).get(path).cloned();
        file.map(|file| file as Arc<dyn DiskFile>).ok_or_else(missing)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let file = held(&self.0).remove(from).ok_or_else(missing)?;
        held(&self.0).insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        held(&self.0).remove(path).map(|_| ()).ok_or_else(missing)
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(held(&self.0).keys().filter(|path| path.parent() == Some(dir)).cloned().collect())
    }
}

impl DiskFile for MemoryFile {
    fn write_at(&self, data: &[u8], at: u64) -> io::Result<()> {
        let (mut bytes, at) = (held(&self.0), at as usize);
        let end = at + data.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[at..end].copy_from_slice(data);
        Ok(())
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let bytes = held(&self.0);
        let from = (at as usize).min(bytes.len());
        let n = buf.len().min(bytes.len() - from);
        buf[..n].copy_from_slice(&bytes[from..from + n]);
        Ok(n)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        held(&self.0).resize(len as usize, 0);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(held(&self.0).len() as u64)
    }
}
