//! Space kept for what must work on a full disk: a ballast file that is given back in stages.
//!
//! A call that finds no space, and that a full system needs to be administered and drained, gets a stage of
//! the ballast and is made again. From then on the disk is *short*: whoever takes changes refuses them, until
//! the ballast is whole again. Must never relieve what clients can fill the disk with (log segments, bodies
//! of large objects), nor repeat a sync.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::watch;

use super::ballast::Ballast;
use super::disk::{Disk, DiskFile};

/// Says of a path whether calls on it get the ballast's space.
pub type Relieves = fn(&Path) -> bool;

/// A disk with a ballast file.
pub struct Headroom {
    ballast: Arc<Ballast>,
    relieves: Relieves,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Headroom {
    /// A disk over `disk` with a ballast at `path` of about `bytes`, of which what is there is used. Nothing
    /// is written before [`Headroom::keep`].
    pub fn over(disk: Arc<dyn Disk>, path: PathBuf, bytes: u64, relieves: Relieves) -> io::Result<Self> {
        let ballast = Arc::new(Ballast::open(disk, path, bytes)?);
        Ok(Self { ballast, relieves, thread: Mutex::default() })
    }

    /// Makes the ballast whole, now and whenever a part of it was given back, on a thread of its own.
    pub fn keep(&self) -> io::Result<()> {
        let ballast = Arc::clone(&self.ballast);
        let thread = std::thread::Builder::new().name("headroom".into()).spawn(move || ballast.run())?;
        *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(())
    }

    /// Makes the ballast whole once, if there is space for it.
    pub fn fill(&self) -> io::Result<()> {
        self.ballast.fill()
    }
}

impl Drop for Headroom {
    fn drop(&mut self) {
        self.ballast.stop();
        // A panic of that thread lost nothing but the ballast.
        drop(self.thread.lock().unwrap_or_else(PoisonError::into_inner).take().map(JoinHandle::join));
    }
}

impl Headroom {
    fn relieved<T>(&self, path: &Path, call: impl Fn() -> io::Result<T>) -> io::Result<T> {
        if (self.relieves)(path) { self.ballast.relieved(call) } else { call() }
    }

    fn file(&self, path: &Path, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        match (self.relieves)(path) {
            true => Arc::new(File { file, ballast: Arc::clone(&self.ballast) }),
            false => file,
        }
    }
}

impl Disk for Headroom {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.relieved(path, || self.ballast.disk.create(path))?;
        Ok(self.file(path, file))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(path, self.ballast.disk.open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.relieved(to, || self.ballast.disk.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.relieved(path, || self.ballast.disk.remove(path))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.ballast.disk.sync_dir(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.relieved(dir, || self.ballast.disk.create_dir_all(dir))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        self.ballast.disk.list(dir)
    }

    fn short(&self) -> Option<watch::Receiver<bool>> {
        Some(self.ballast.short.subscribe())
    }
}

/// A file that gets the ballast's space.
struct File {
    file: Arc<dyn DiskFile>,
    ballast: Arc<Ballast>,
}

impl DiskFile for File {
    fn write_at(&self, data: &[u8], at: u64) -> io::Result<()> {
        self.ballast.relieved(|| self.file.write_at(data, at))
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.file.read_at(buf, at)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.ballast.relieved(|| self.file.set_len(len))
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}
