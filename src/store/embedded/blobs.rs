//! Blob files: bodies too large for a record, each under a random name of its own.
//!
//! Must never hand out a name before file and folder are durable, and must never rename. A name that no
//! record names is invisible; its file goes with the upload that failed, or at the next start.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};
use tokio::task::JoinHandle;

use super::pins::{Pin, Pins};
use super::row::BlobName;
use crate::fail;
use crate::journal::disk::{Disk, DiskFile, read_exact_at};
use crate::store::{BlobHandle, BlobWriter, StoreError};

/// The header of a blob file; the body begins behind it.
pub(super) const HEADER: u64 = 64;
/// Bytes collected before a write; one such run is being written while the next one is collected.
const RUN_BYTES: usize = 1 << 20;
/// A large blob is synced every so many bytes, so that its last sync does not hold up the journal's.
const SYNC_BYTES: u64 = 32 << 20;
const MAGIC: &[u8; 8] = b"TIDBLOB\0";
const VERSION: u32 = 1;

/// The blob files of one store.
pub(super) struct Blobs {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// Fan-out folders whose own name is durable.
    made: [AtomicBool; 256],
    pins: Arc<Pins>,
}

impl Blobs {
    /// Opens the folder, which must exist.
    pub(super) fn new(disk: Arc<dyn Disk>, dir: PathBuf) -> Self {
        Self { disk, dir, made: [const { AtomicBool::new(false) }; 256], pins: Arc::default() }
    }

    /// Keeps these blobs, as far as they are still there.
    pub(super) fn pin(&self, names: impl Iterator<Item = BlobName>) -> Pin {
        Pin::new(self.pins.clone(), names.collect())
    }

    /// True while a reader will open this blob.
    pub(super) fn is_pinned(&self, name: &BlobName) -> bool {
        self.pins.has(name)
    }

    fn folder(&self, name: &BlobName) -> PathBuf {
        self.dir.join(format!("{:02x}", name[0]))
    }

    fn path(&self, name: &BlobName) -> PathBuf {
        self.folder(name).join(hex::encode(name))
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
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
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

    fn create(&self, name: &BlobName) -> io::Result<Arc<dyn DiskFile>> {
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

/// Removes its file when dropped, unless disarmed.
struct Unnamed {
    blobs: Arc<Blobs>,
    name: BlobName,
    armed: bool,
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        let (blobs, name) = (self.blobs.clone(), self.name);
        let remove = move || {
            if let Err(e) = blobs.remove(&name) {
                tracing::warn!(error = %e, "an unfinished blob was not removed; the next start removes it");
            }
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

/// What the blocking side of a writer works on, one run after the other.
struct Sink {
    file: Arc<dyn DiskFile>,
    at: u64,
    unsynced: u64,
    crc: Digest,
}

impl Sink {
    fn write(&mut self, run: &[Bytes]) -> io::Result<()> {
        for data in run {
            self.file.write_at(data, self.at)?;
            self.crc.update(data);
            self.at += data.len() as u64;
            self.unsynced += data.len() as u64;
        }
        if self.unsynced >= SYNC_BYTES {
            self.file.sync_data()?;
            self.unsynced = 0;
        }
        Ok(())
    }
}

/// One blob being written.
pub(super) struct Writer {
    file: Unnamed,
    /// Here while nothing is being written.
    sink: Option<Sink>,
    busy: Option<JoinHandle<(Sink, io::Result<()>)>>,
    run: Vec<Bytes>,
    run_bytes: usize,
}

impl Writer {
    /// Creates the file under a new random name.
    pub(super) async fn create(blobs: Arc<Blobs>) -> Result<Self, StoreError> {
        let made = tokio::task::spawn_blocking(move || {
            let mut name = [0; 16];
            getrandom::fill(&mut name).map_err(io::Error::other)?;
            let file = blobs.create(&name)?;
            Ok::<_, io::Error>((Unnamed { blobs, name, armed: true }, file))
        });
        let (unnamed, file) = made.await.map_err(io::Error::other)??;
        let sink = Sink { file, at: HEADER, unsynced: 0, crc: Digest::new(CrcAlgorithm::Crc32Iscsi) };
        Ok(Self { file: unnamed, sink: Some(sink), busy: None, run: Vec::new(), run_bytes: 0 })
    }

    /// Hands the collected run over once the one before it is written.
    async fn hand_over(&mut self) -> Result<(), StoreError> {
        let mut sink = self.settled().await?;
        let run = std::mem::take(&mut self.run);
        self.run_bytes = 0;
        self.busy = Some(tokio::task::spawn_blocking(move || {
            let result = sink.write(&run);
            fail::point("put.body.partial");
            (sink, result)
        }));
        Ok(())
    }

    /// Waits for the run that is being written.
    async fn settled(&mut self) -> Result<Sink, StoreError> {
        if let Some(busy) = &mut self.busy {
            let (sink, result) = busy.await.map_err(io::Error::other)?;
            self.busy = None;
            result?;
            return Ok(sink);
        }
        // None only after an error was returned; the file must not be finished then.
        self.sink.take().ok_or_else(|| StoreError::Io(io::Error::other("this blob failed already")))
    }
}

#[async_trait]
impl BlobWriter for Writer {
    async fn write(&mut self, data: Bytes) -> Result<(), StoreError> {
        self.run_bytes += data.len();
        self.run.push(data);
        if self.run_bytes >= RUN_BYTES { self.hand_over().await } else { Ok(()) }
    }

    async fn finish(mut self: Box<Self>) -> Result<BlobHandle, StoreError> {
        let mut sink = self.settled().await?;
        let run = std::mem::take(&mut self.run);
        let Self { file, .. } = *self;
        // The file stays armed inside the task: if nobody waits for the result any more, it is removed.
        let done = tokio::task::spawn_blocking(move || {
            sink.write(&run)?;
            sink.file.sync_data()?;
            fail::point("put.body.synced");
            file.blobs.disk.sync_dir(&file.blobs.folder(&file.name))?;
            fail::point("blob.dirsynced");
            Ok::<_, io::Error>((file, sink.crc.finalize()))
        });
        let (mut file, crc) = done.await.map_err(io::Error::other)??;
        file.armed = false;
        let (blobs, name) = (file.blobs.clone(), file.name);
        let discard = move || drop(Unnamed { blobs, name, armed: true });
        Ok(BlobHandle::new(hex::encode(name).into(), crc as u32, Box::new(discard)))
    }
}
