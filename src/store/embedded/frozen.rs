//! A disk on which nothing changes: what is written to a file is seen by who wrote it, and goes with the
//! process.
//!
//! Must never pass a change on: the index's engine repairs what it opens, and a look must not.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::journal::disk::{Disk, DiskFile};

const BLOCK: u64 = 4096;

/// The disk beneath, frozen.
pub(super) struct Frozen(pub(super) Arc<dyn Disk>);

fn refused<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "this only looks"))
}

impl Disk for Frozen {
    fn create(&self, _: &Path) -> io::Result<Arc<dyn DiskFile>> {
        refused()
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.0.open(path)?;
        let state = State { len: file.len()?, blocks: HashMap::new() };
        Ok(Arc::new(FrozenFile { file, state: Mutex::new(state) }))
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        refused()
    }

    fn remove(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        self.0.list(dir)
    }
}

struct FrozenFile {
    file: Arc<dyn DiskFile>,
    state: Mutex<State>,
}

struct State {
    len: u64,
    /// Blocks that were written to, by number.
    blocks: HashMap<u64, Vec<u8>>,
}

impl FrozenFile {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A block as the file beneath has it, zeros behind its end.
    fn beneath(&self, number: u64) -> io::Result<Vec<u8>> {
        let (mut block, mut filled) = (vec![0; BLOCK as usize], 0);
        while filled < block.len() {
            match self.file.read_at(&mut block[filled..], number * BLOCK + filled as u64) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(block)
    }
}

impl DiskFile for FrozenFile {
    fn write_at(&self, mut data: &[u8], mut at: u64) -> io::Result<()> {
        let mut state = self.state();
        while !data.is_empty() {
            let (number, from) = (at / BLOCK, (at % BLOCK) as usize);
            let len = data.len().min(BLOCK as usize - from);
            let block = match state.blocks.entry(number) {
                Entry::Occupied(there) => there.into_mut(),
                Entry::Vacant(none) => none.insert(self.beneath(number)?),
            };
            block[from..from + len].copy_from_slice(&data[..len]);
            (data, at) = (&data[len..], at + len as u64);
            state.len = state.len.max(at);
        }
        Ok(())
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let state = self.state();
        let from = (at % BLOCK) as usize;
        let left = usize::try_from(state.len.saturating_sub(at)).unwrap_or(usize::MAX);
        let len = buf.len().min(left).min(BLOCK as usize - from);
        if let Some(block) = state.blocks.get(&(at / BLOCK)) {
            buf[..len].copy_from_slice(&block[from..from + len]);
            return Ok(len);
        }
        drop(state);
        match self.file.read_at(&mut buf[..len], at)? {
            // Behind the end of the file beneath.
            0 => buf[..len].fill(0),
            n => return Ok(n),
        }
        Ok(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state();
        state.len = len;
        state.blocks.retain(|number, _| number * BLOCK < len);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.state().len)
    }
}
