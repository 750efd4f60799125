//! One blob being written: collected in runs, each written while the next one comes.
//!
//! Must never hand out a name before file and folder are durable, nor leave the file of a failed upload.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use crc_fast::{CrcAlgorithm, Digest};
use tokio::task::JoinHandle;

use super::blobs::{Blobs, HEADER};
use super::row::BlobName;
use crate::fail;
use crate::journal::disk::DiskFile;
use crate::store::{BlobHandle, BlobWriter, StoreError};

/// Bytes collected before a write; one such run is being written while the next one is collected.
const RUN_BYTES: usize = 1 << 20;
/// Pieces below this are copied into one, in bytes.
const SMALL_BYTES: usize = 4 << 10;
/// A large blob is synced every so many bytes, so that its last sync does not hold up the journal's.
const SYNC_BYTES: u64 = 32 << 20;

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
    /// Small pieces at the run's end.
    crumbs: BytesMut,
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
        Ok(Self {
            file: unnamed,
            sink: Some(sink),
            busy: None,
            run: Vec::new(),
            crumbs: BytesMut::new(),
            run_bytes: 0,
        })
    }

    /// Hands the collected run over once the one before it is written.
    async fn hand_over(&mut self) -> Result<(), StoreError> {
        let mut sink = self.settled().await?;
        let run = self.next_run();
        self.busy = Some(tokio::task::spawn_blocking(move || {
            let result = sink.write(&run);
            fail::point("put.body.partial");
            (sink, result)
        }));
        Ok(())
    }

    /// What came in small pieces becomes one.
    fn gather(&mut self) {
        if !self.crumbs.is_empty() {
            self.run.push(self.crumbs.split().freeze());
        }
    }

    /// What was collected, counted as on the disk.
    fn next_run(&mut self) -> Vec<Bytes> {
        self.gather();
        let bytes = std::mem::take(&mut self.run_bytes) as u64;
        self.file.blobs.unowned().wrote(self.file.name, bytes);
        std::mem::take(&mut self.run)
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
        if data.len() < SMALL_BYTES {
            // What comes in crumbs keeps whole buffers alive, and costs a write each.
            self.crumbs.extend_from_slice(&data);
        } else {
            self.gather();
            self.run.push(data);
        }
        if self.run_bytes >= RUN_BYTES { self.hand_over().await } else { Ok(()) }
    }

    async fn finish(mut self: Box<Self>) -> Result<BlobHandle, StoreError> {
        let mut sink = self.settled().await?;
        let run = self.next_run();
        let Self { file, .. } = *self;
        // The file stays armed inside the task: if nobody waits for the result any more, it is removed.
        let done = tokio::task::spawn_blocking(move || {
            sink.write(&run)?;
            sink.file.sync_data()?;
            fail::point("put.body.synced");
            file.blobs.sync_folder(&file.name)?;
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
