//! The embedded store: an index, pack files for small bodies, blob files for large ones, under one data
//! directory.
//!
//! ```text
//!   journal ──publish──► overlay ─┐
//!      │                          ├──► get, list         bodies: record ≤ inline_bytes → pack, larger → blob
//!      └──feed──► index thread ──►┘
//!                 packs, index
//! ```
//!
//! Must never make a change durable by itself, and must never show less than what is durable: what it cannot
//! show is an error.

mod apply;
mod backend;
mod blob_writer;
mod blobs;
mod body;
mod bucket_cache;
mod buckets;
mod build;
mod checkpoint;
mod engine;
mod examine;
mod frozen;
mod index;
mod list;
mod manifest;
mod overlay;
mod pace;
mod pack_writer;
mod packs;
mod pins;
mod reclaim;
mod redb_index;
mod redb_read;
mod restores;
mod row;
mod row_edit;
mod scrub;
mod serve;
mod shared;
mod signal;
mod sweep;
mod tags;
mod targets;
#[cfg(test)]
mod tests;
mod unread;
mod upload_list;
mod upload_overlay;
mod upload_rows;
mod uploads;
mod usage;
mod verify;
mod version_edits;
mod version_list;
mod version_reads;
mod version_rows;
mod versions;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::watch;

use self::apply::{Applier, Idle, LINGER, Shared};
use self::index::{Index, Reads as _, Space};
use self::pace::{Times, Tuning};
use self::pack_writer::PackWriter;
use self::packs::{PACK_BYTES, PACK_BYTES_SMALL, PackEnd, Packs};
use crate::fail;
use crate::journal::disk::Disk;
use crate::queue::{Feed, Publish};
use crate::store::{BodyBytes, ScrubStatus, StoreError};

pub use self::checkpoint::checkpoint_end;
pub use self::verify::verify;

/// The row of [`Space::Meta`] that says where packs end.
const META_PACK_END: &[u8] = b"pack-end";

/// What the index thread does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// It follows the queue, or was not started yet.
    Running,
    /// It waits for disk space. Reads go on; the overlay fills, and changes are refused once it is full.
    NoSpace(String),
    /// The queue cannot give it the next entry. Reads go on, changes must be refused; it tries again.
    Stalled(String),
    /// The index or a pack failed: it will apply nothing more, and the process must end and start again.
    Failed(String),
    /// It stopped after its last checkpoint.
    Stopped,
}

/// The embedded store.
pub struct EmbeddedStore {
    shared: Arc<Shared>,
    /// What the index thread gets when it starts.
    idle: Mutex<Option<Idle>>,
    times: Times,
    threads: Mutex<Vec<JoinHandle<()>>>,
    scrub_rate: u64,
}

impl EmbeddedStore {
    /// Opens the store under the data directory `dir`, which must exist, or makes an empty one. Blocking.
    /// Reads are complete only after [`EmbeddedStore::start`].
    ///
    /// Fails if the disk fails, or if index and bodies do not belong together: the index is never made anew
    /// beside bodies of an older one.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        config: &crate::config::Store,
    ) -> Result<Arc<Self>, StoreError> {
        Self::open_with(
            disk,
            dir,
            config,
            Tuning { pack_bytes: if fail::small() { PACK_BYTES_SMALL } else { PACK_BYTES }, linger: LINGER },
        )
    }

    fn open_with(
        disk: Arc<dyn Disk>,
        dir: &Path,
        config: &crate::config::Store,
        tuning: Tuning,
    ) -> Result<Arc<Self>, StoreError> {
        let (packs_dir, blobs_dir) = (dir.join("packs"), dir.join("blobs"));
        disk.create_dir_all(&packs_dir)?;
        disk.create_dir_all(&blobs_dir)?;
        disk.sync_dir(dir)?;
        let packs = Arc::new(Packs::new(disk.clone(), packs_dir));
        let blobs = Arc::new(blobs::Blobs::new(disk.clone(), blobs_dir));
        let found = blobs.names()?;
        let bodies = !found.is_empty() || !packs.numbers()?.is_empty();
        let index = redb_index::RedbIndex::open(&*disk, dir, config.index_cache_bytes, bodies)?;
        let end = match index.get(Space::Meta, META_PACK_END)? {
            Some(row) => PackEnd::from_bytes(&row)
                .ok_or_else(|| StoreError::Index("the row that says where packs end is damaged".into()))?,
            None => PackEnd::NONE,
        };
        let writer = PackWriter::open(packs.clone(), end, tuning.pack_bytes)?;
        let usage = usage::Usage::open(&index, &packs, end)?;
        let shared = Arc::new(Shared {
            overlay: Arc::default(),
            unread: unread::Unread::default(),
            checkpointed: AtomicU64::new(index.applied_next()),
            bodies: Mutex::new(usage.bytes()),
            scrub: scrub::Scrub::default(),
            index: Box::new(index),
            packs,
            blobs,
            status: watch::Sender::new(Status::Running),
        });
        let idle = Mutex::new(Some(Idle { packs: writer, found, usage }));
        let times = Times {
            linger: tuning.linger,
            checkpoint: config.checkpoint_interval,
            reclaim_rate: config.reclaim_rate,
        };
        shared.overlay.look(&*shared.index)?;
        Ok(Arc::new(Self { shared, idle, times, threads: Mutex::default(), scrub_rate: config.scrub_rate }))
    }

    /// The first offset that is not in the synced checkpoint; 1 when new. The feed must begin there.
    pub fn checkpoint_next(&self) -> u64 {
        self.shared.checkpointed.load(Ordering::Acquire)
    }

    /// The first offset that the index does not show yet.
    pub fn applied_next(&self) -> u64 {
        self.shared.index.applied_next()
    }

    /// What bodies take on the disk now: exact as of the last applied change, and whole blobs as they are
    /// written; small bodies that wait to be applied are not in it, nor are orphans that were not found yet.
    pub fn body_bytes(&self) -> BodyBytes {
        let mut bytes = *self.shared.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        bytes.dead += self.shared.blobs.unowned().bytes();
        bytes
    }

    /// What the background scrub has seen.
    pub fn scrub(&self) -> ScrubStatus {
        self.shared.scrub.status()
    }

    /// What the journal's writer tells every durable batch, before it advances the durable end.
    pub fn publisher(&self) -> Arc<dyn Publish> {
        self.shared.overlay.clone()
    }

    /// What the index thread does, now and from now on.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.shared.status.subscribe()
    }

    /// Applies everything that is durable now, then follows the queue on a thread of its own. Blocking; once
    /// only.
    ///
    /// On a damaged record it returns early with [`Status::Stalled`]: rows applied so far are served; where
    /// there is none, or a later record is known to change it, [`StoreError::Unread`] is the answer.
    pub fn start(&self, feed: Box<dyn Feed>) -> Result<(), StoreError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        let idle = idle.ok_or_else(|| StoreError::Index("it is started already".into()))?;
        let mut applier = Applier::new(self.shared.clone(), feed, idle, self.times);
        applier.replay()?;
        let status = self.shared.status.clone();
        let thread = std::thread::Builder::new().name("index".into()).spawn(move || {
            if catch_unwind(AssertUnwindSafe(|| applier.run())).is_err() {
                status.send_replace(Status::Failed("the index thread broke off".into()));
            }
        })?;
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.push(thread);
        if self.scrub_rate > 0 {
            self.shared.scrub.go_on(&*self.shared.index)?;
            let (shared, rate) = (self.shared.clone(), self.scrub_rate);
            // A panic ends the scrub and nothing else.
            let scrub = std::thread::Builder::new().name("scrub".into());
            threads.push(scrub.spawn(move || scrub::run(&shared, rate))?);
        }
        Ok(())
    }

    /// Applies what is durable, makes a last checkpoint, ends the index thread and closes the index, whoever
    /// still holds the store: the next one may open it. Blocking; later calls do nothing.
    pub fn stop(&self) {
        self.shared.scrub.stop();
        self.shared.overlay.stop();
        self.shared.index.give_up();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        // A panic of the index thread was caught inside and is in the status.
        threads.into_iter().for_each(|thread| drop(thread.join()));
        self.shared.index.close();
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        self.stop();
    }
}
