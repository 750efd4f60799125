//! The index on redb: one file, every batch a transaction without a sync, every checkpoint one with.
//!
//! Must never answer "no such row" when the engine failed: errors and panics of the engine become
//! `StoreError::Index`.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use redb::{Database, Durability, ReadableDatabase, TableDefinition};

use super::backend::{Backend, Kept};
use super::engine::{failed, guard};
use super::index::{Batch, Edit, Index, Reads as _, Snapshot, Space, Watch};
use super::redb_read;
use crate::journal::disk::{Disk, DiskFile};
use crate::store::StoreError;

type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;
type Open<'t> = redb::Table<'t, &'static [u8], &'static [u8]>;

/// The file's name, and the one it has until it is complete.
const FILE: &str = "index.redb";
const FILE_NEW: &str = "index.redb.new";
/// Rows of [`Space::Meta`].
const META_FORMAT: &[u8] = b"format";
pub(super) const META_APPLIED: &[u8] = b"applied";
/// The layout of spaces and rows: another number is a newer tidings.
const FORMAT: u64 = 1;
pub(super) fn table(space: Space) -> Table {
    TableDefinition::new(match space {
        Space::Objects => "objects",
        Space::Versions => "versions",
        Space::Nulls => "nulls",
        Space::Names => "names",
        Space::Buckets => "buckets",
        Space::Targets => "targets",
        Space::Blobs => "blobs",
        Space::Uploads => "uploads",
        Space::OpenUploads => "open-uploads",
        Space::Parts => "parts",
        Space::Tags => "tags",
        Space::Restores => "restores",
        Space::RestoreTimers => "restore-timers",
        Space::Meta => "meta",
    })
}

/// The index on redb.
pub(super) struct RedbIndex {
    /// None once it is closed.
    db: RwLock<Option<Database>>,
    file: Arc<dyn DiskFile>,
    kept: Arc<Kept>,
    /// One above the last offset that reads see.
    applied: AtomicU64,
    /// Edits were applied that no checkpoint holds.
    unsynced: AtomicBool,
}

/// What to do about damage.
pub(super) const REBUILD: &str = "the journal holds only later changes, so the index cannot be made anew \
                                  from it: restore the data directory from a backup";

impl Drop for RedbIndex {
    fn drop(&mut self) {
        self.close();
    }
}

impl RedbIndex {
    /// Opens the index in `dir`, or makes an empty one. A new index has its name only once it is complete and
    /// durable. Where `bodies` of an older index lie, none is made: their rows would be gone without a word.
    pub(super) fn open(
        disk: &dyn Disk,
        dir: &Path,
        cache_bytes: u64,
        bodies: bool,
    ) -> Result<Self, StoreError> {
        let path = dir.join(FILE);
        match disk.open(&path) {
            Ok(file) => guard(|| Self::open_file(&path, file, cache_bytes)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && bodies => Err(StoreError::Index(format!(
                "{} is missing although objects are there; restore it, or move packs and blobs away",
                path.display()
            ))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let new = dir.join(FILE_NEW);
                match disk.remove(&new) {
                    Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e.into()),
                    _ => {}
                }
                let index = guard(|| Self::open_file(&new, disk.create(&new)?, cache_bytes))?;
                disk.rename(&new, &path)?;
                disk.sync_dir(dir)?;
                Ok(index)
            }
            Err(e) => Err(e.into()),
        }
    }

    fn open_file(path: &Path, file: Arc<dyn DiskFile>, cache_bytes: u64) -> Result<Self, StoreError> {
        let kept = Arc::new(Kept::default());
        let damaged = |why| StoreError::Index(format!("{}: {why}; {REBUILD}", path.display()));
        let db = Database::builder()
            .set_cache_size(usize::try_from(cache_bytes).unwrap_or(usize::MAX))
            .create_with_backend(Backend::new(file.clone(), kept.clone()))
            .map_err(damaged)?;
        let db = RwLock::new(Some(db));
        let index = Self { db, file, kept, applied: AtomicU64::new(1), unsynced: AtomicBool::new(false) };
        match index.number(META_FORMAT) {
            Ok(Some(FORMAT)) => {}
            Ok(Some(other)) => {
                return Err(StoreError::Index(format!(
                    "its format is {other}, this program reads {FORMAT}; use the program that wrote it"
                )));
            }
            Ok(None) => return Err(StoreError::Index("it has no format number".into())),
            // A new file has no tables yet.
            Err(_) if index.tables()? == 0 => index.with(Self::initialize)?,
            Err(e) => return Err(e),
        }
        // An index of a tidings that knew fewer spaces.
        if index.tables()? < Space::ALL.len() {
            index.with(Self::initialize)?;
        }
        if let Some(next) = index.number(META_APPLIED)? {
            index.applied.store(next, Ordering::Release);
        }
        Ok(index)
    }

    /// Does `work` on the open engine, whose panics become errors of this call.
    fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
        let db = db.as_ref().ok_or_else(|| StoreError::Index("it is closed".into()))?;
        guard(|| work(db))
    }

    fn tables(&self) -> Result<usize, StoreError> {
        self.with(|db| Ok(db.begin_read().map_err(failed)?.list_tables().map_err(failed)?.count()))
    }

    fn initialize(db: &Database) -> Result<(), StoreError> {
        let mut write = db.begin_write().map_err(failed)?;
        write.set_quick_repair(true);
        for space in Space::ALL {
            write.open_table(table(space)).map_err(failed)?;
        }
        {
            let mut meta = write.open_table(table(Space::Meta)).map_err(failed)?;
            meta.insert(META_FORMAT, &FORMAT.to_le_bytes()[..]).map_err(failed)?;
        }
        write.commit().map_err(failed)
    }

    fn number(&self, key: &[u8]) -> Result<Option<u64>, StoreError> {
        number(self.get(Space::Meta, key)?)
    }

    /// Checks all pages of the file: an error, or false, if any is damaged.
    pub(super) fn check(&self) -> Result<bool, StoreError> {
        let mut db = self.db.write().unwrap_or_else(PoisonError::into_inner);
        let db = db.as_mut().ok_or_else(|| StoreError::Index("it is closed".into()))?;
        guard(|| db.check_integrity().map_err(failed))
    }

    fn apply_all(db: &Database, batch: &Batch, next: u64, watch: &mut Watch<'_>) -> Result<(), StoreError> {
        let mut write = db.begin_write().map_err(failed)?;
        write.set_durability(Durability::None).map_err(failed)?;
        let mut more = Batch::default();
        for space in Space::WITH_BODIES {
            apply_space(&write, space, batch, &mut |edit| watch(edit, &mut more))?;
        }
        for space in Space::ALL.into_iter().filter(|s| !s.has_bodies()) {
            for batch in [batch, &more] {
                apply_space(&write, space, batch, &mut |edit| {
                    if edit.space == Space::Blobs {
                        watch(edit, &mut Batch::default());
                    }
                })?;
            }
        }
        {
            let mut meta = write.open_table(table(Space::Meta)).map_err(failed)?;
            meta.insert(META_APPLIED, &next.to_le_bytes()[..]).map_err(failed)?;
        }
        write.commit().map_err(failed)
    }
}

fn apply_space(
    write: &redb::WriteTransaction,
    space: Space,
    batch: &Batch,
    made: &mut dyn FnMut(&Edit<'_>),
) -> Result<(), StoreError> {
    if batch.touches(space) {
        let mut rows = write.open_table(table(space)).map_err(failed)?;
        for (key, new) in batch.edits(space) {
            let old = edit(&mut rows, key, new)?;
            made(&Edit { space, key, old: old.as_ref().map(|old| old.value()), new });
        }
    }
    Ok(())
}

type Old<'t> = redb::AccessGuard<'t, &'static [u8]>;

fn edit<'a>(rows: &'a mut Open<'_>, key: &[u8], row: Option<&[u8]>) -> Result<Option<Old<'a>>, StoreError> {
    match row {
        Some(row) => rows.insert(key, row),
        None => rows.remove(key),
    }
    .map_err(failed)
}

impl Index for RedbIndex {
    fn applied_next(&self) -> u64 {
        self.applied.load(Ordering::Acquire)
    }

    fn apply(&self, batch: &Batch, next: u64, watch: &mut Watch<'_>) -> Result<(), StoreError> {
        self.unsynced.store(true, Ordering::Release);
        self.with(|db| Self::apply_all(db, batch, next, watch))?;
        self.applied.store(next, Ordering::Release);
        Ok(())
    }

    fn checkpoint(&self, rows: &Batch) -> Result<u64, StoreError> {
        let next = self.applied_next();
        self.kept.checkpointing(true);
        let result = self.with(|db| {
            let mut write = db.begin_write().map_err(failed)?;
            write.set_durability(Durability::Immediate).map_err(failed)?;
            write.set_quick_repair(true);
            apply_space(&write, Space::Meta, rows, &mut |_| {})?;
            write.commit().map_err(failed)
        });
        self.kept.checkpointing(false);
        result?;
        self.unsynced.store(false, Ordering::Release);
        Ok(next)
    }

    fn read(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        self.with(|db| Ok(Box::new(redb_read::Read(db.begin_read().map_err(failed)?)) as _))
    }

    fn relieve(&self) -> bool {
        // An error that is not "full" shows itself again at the next write or sync, which reports it.
        !self.kept.any() || Backend::drain(&*self.file, &self.kept).is_ok()
    }

    fn give_up(&self) {
        self.kept.give_up();
    }

    fn close(&self) {
        let db = self.db.write().unwrap_or_else(PoisonError::into_inner).take();
        if db.is_some() && self.unsynced.load(Ordering::Acquire) {
            self.kept.seal();
        }
        // The engine writes when it closes, and that breaks off over some damage, too.
        let closed = guard(|| {
            drop(db);
            Ok(())
        });
        if let Err(error) = closed {
            tracing::error!(%error, "the index was not closed in order; the next start repairs it");
        }
    }
}

pub(super) fn number(row: Option<Vec<u8>>) -> Result<Option<u64>, StoreError> {
    let Some(row) = row else { return Ok(None) };
    let bytes = row.as_slice().try_into().map_err(|_| StoreError::Index("a number is damaged".into()))?;
    Ok(Some(u64::from_le_bytes(bytes)))
}
