//! The index's file, seen through our `Disk`.
//!
//! A full disk must not poison the index: a write that finds no space is kept here, in order, and reads see
//! it; it is written when there is space again, and always before a checkpoint's sync. Must never pretend
//! that anything is durable: during a checkpoint a sync waits until nothing is kept back, or fails.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::journal::disk::{DiskFile, is_no_space};

/// How long a checkpoint waits for disk space before it tries again.
const RETRY_SPACE: Duration = Duration::from_millis(100);

/// What the index's engine and the index thread share about the file.
#[derive(Default)]
pub(super) struct Kept {
    writes: Mutex<Vec<(u64, Vec<u8>)>>,
    count: AtomicUsize,
    checkpointing: AtomicBool,
    given_up: AtomicBool,
    sealed: AtomicBool,
    wake: Condvar,
}

impl Kept {
    fn lock(&self) -> MutexGuard<'_, Vec<(u64, Vec<u8>)>> {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True if a full disk refused writes that are still kept in memory.
    pub(super) fn any(&self) -> bool {
        self.count.load(Ordering::Acquire) != 0
    }

    /// From here to `false`, a sync means a checkpoint.
    pub(super) fn checkpointing(&self, on: bool) {
        self.checkpointing.store(on, Ordering::Release);
    }

    /// Nothing reaches the file from now on. The engine makes everything durable when it closes, even rows
    /// whose bodies are not; a start must find the last checkpoint instead.
    pub(super) fn seal(&self) {
        self.sealed.store(true, Ordering::Release);
    }

    fn check_seal(&self) -> io::Result<()> {
        if self.sealed.load(Ordering::Acquire) {
            return Err(io::Error::other("the index was closed without a checkpoint"));
        }
        Ok(())
    }

    /// A checkpoint that waits for space fails from now on.
    pub(super) fn give_up(&self) {
        let _guard = self.lock();
        self.given_up.store(true, Ordering::Release);
        self.wake.notify_all();
    }
}

/// One file under the index's engine.
pub(super) struct Backend {
    file: Arc<dyn DiskFile>,
    kept: Arc<Kept>,
}

impl Backend {
    pub(super) fn new(file: Arc<dyn DiskFile>, kept: Arc<Kept>) -> Self {
        Self { file, kept }
    }

    /// Writes what was kept back, oldest first, until the disk refuses again.
    pub(super) fn drain(file: &dyn DiskFile, kept: &Kept) -> io::Result<()> {
        Self::drain_locked(file, kept, &mut kept.lock())
    }

    fn drain_locked(file: &dyn DiskFile, kept: &Kept, writes: &mut Vec<(u64, Vec<u8>)>) -> io::Result<()> {
        let mut done = 0;
        let mut result = Ok(());
        for (at, data) in writes.iter() {
            result = file.write_at(data, *at);
            if result.is_err() {
                break;
            }
            done += 1;
        }
        writes.drain(..done);
        kept.count.store(writes.len(), Ordering::Release);
        result
    }

    fn write_or_keep(&self, at: u64, data: &[u8]) -> io::Result<()> {
        if !self.kept.any() {
            match self.file.write_at(data, at) {
                Err(e) if is_no_space(&e) => {}
                other => return other,
            }
        }
        // Older kept writes of the same bytes must reach the file before this one.
        let mut writes = self.kept.lock();
        writes.push((at, data.to_vec()));
        self.kept.count.store(writes.len(), Ordering::Release);
        match Self::drain_locked(&*self.file, &self.kept, &mut writes) {
            Err(e) if !is_no_space(&e) => Err(e),
            _ => Ok(()),
        }
    }

    fn read_exact(&self, at: u64, out: &mut [u8]) -> io::Result<()> {
        if !self.kept.any() {
            return crate::journal::disk::read_exact_at(&*self.file, out, at);
        }
        let writes = self.kept.lock();
        // A page that was never written because the disk is full may lie beyond the file's last block.
        let mut filled = 0;
        while filled < out.len() {
            match self.file.read_at(&mut out[filled..], at + filled as u64) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        out[filled..].fill(0);
        let end = at + out.len() as u64;
        for (from, data) in writes.iter() {
            let (lo, hi) = (at.max(*from), end.min(from + data.len() as u64));
            if lo < hi {
                let source = &data[(lo - from) as usize..(hi - from) as usize];
                out[(lo - at) as usize..(hi - at) as usize].copy_from_slice(source);
            }
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        if self.kept.any() {
            let mut writes = self.kept.lock();
            loop {
                match Self::drain_locked(&*self.file, &self.kept, &mut writes) {
                    Ok(()) => break,
                    Err(e) if !is_no_space(&e) => return Err(e),
                    // Between checkpoints a sync only makes the file's length durable.
                    Err(_) if !self.kept.checkpointing.load(Ordering::Acquire) => break,
                    Err(e) if self.kept.given_up.load(Ordering::Acquire) => return Err(e),
                    Err(_) => {}
                }
                let waited = self.kept.wake.wait_timeout(writes, RETRY_SPACE);
                writes = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        self.file.sync_data()
    }

    fn resize(&self, len: u64) -> io::Result<()> {
        let mut writes = self.kept.lock();
        writes.retain_mut(|(at, data)| {
            data.truncate(usize::try_from(len.saturating_sub(*at)).unwrap_or(usize::MAX));
            !data.is_empty()
        });
        self.kept.count.store(writes.len(), Ordering::Release);
        self.file.set_len(len)
    }
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backend").finish_non_exhaustive()
    }
}

impl redb::StorageBackend for Backend {
    fn len(&self) -> Result<u64, io::Error> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.read_exact(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.kept.check_seal()?;
        self.resize(len)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.kept.check_seal()?;
        self.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.kept.check_seal()?;
        self.write_or_keep(offset, data)
    }
}
