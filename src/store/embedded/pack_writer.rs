//! The index thread's side of packs: appends, and knows what is not synced yet.
//!
//! Must never overwrite a byte that a synced checkpoint may name: what lies beyond the end that the index
//! recorded is garbage and is written over, what lies below it is never touched.

use std::io;
use std::sync::Arc;

use super::packs::{BLOCK, PackEnd, Packs};
use crate::journal::disk::DiskFile;

/// One write to a pack is at most about this long.
const WRITE_BYTES: usize = 4 << 20;

/// The index thread's side: appends, and knows what is not synced yet.
pub(super) struct PackWriter {
    packs: Arc<Packs>,
    limit: u64,
    file: Option<Arc<dyn DiskFile>>,
    end: PackEnd,
    /// Files with unsynced bytes.
    dirty: Vec<Arc<dyn DiskFile>>,
    dir_dirty: bool,
    buffer: Vec<u8>,
    /// Where the buffer's first byte goes.
    buffer_at: u64,
}

impl PackWriter {
    /// Goes on behind `end`, which the index recorded. Files above it were never named by a checkpoint and
    /// are removed. A pack takes no further batch once it has `limit` bytes.
    pub(super) fn open(packs: Arc<Packs>, end: PackEnd, limit: u64) -> io::Result<Self> {
        for pack in packs.numbers()?.into_iter().filter(|n| *n > end.pack) {
            packs.remove(pack)?;
        }
        // A pack that is gone or damaged takes nothing more: its objects say so when they are read.
        let file = packs.file(end.pack).ok();
        let (dirty, buffer) = (Vec::new(), Vec::new());
        let mut writer = Self { packs, limit, file, end, dirty, dir_dirty: false, buffer, buffer_at: 0 };
        writer.fresh_block();
        Ok(writer)
    }

    /// A pack takes no further batch once it has so many bytes.
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// The pack that takes the next batch, unless it is full.
    pub(super) fn current(&self) -> Option<u32> {
        self.file.as_ref().map(|_| self.end.pack)
    }

    /// The current pack takes nothing more.
    pub(super) fn close(&mut self) {
        self.file = None;
    }

    /// The end to record with the batch that was appended.
    pub(super) fn end(&self) -> PackEnd {
        self.end
    }

    /// Makes sure that there is a pack for the next batch. After an error, call it again.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        self.buffer.clear();
        if self.file.is_none() || self.end.at >= self.limit {
            let pack = self.end.pack + 1;
            let file = self.packs.create(pack)?;
            self.dir_dirty = true;
            self.dirty.push(file.clone());
            self.file = Some(file);
            self.end = PackEnd { pack, at: BLOCK };
        }
        self.buffer_at = self.end.at;
        Ok(())
    }

    /// Appends a body of the batch and says where it will be. After an error the whole batch must be appended
    /// again, from [`PackWriter::rewind`].
    pub(super) fn append(&mut self, body: &[u8]) -> io::Result<PackEnd> {
        let place = self.end;
        self.buffer.extend_from_slice(body);
        self.end.at += body.len() as u64;
        if self.buffer.len() >= WRITE_BYTES {
            self.flush()?;
        }
        Ok(place)
    }

    /// Writes what is left of the batch.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let Some(file) = &self.file else { return Err(io::ErrorKind::NotFound.into()) };
        file.write_at(&self.buffer, self.buffer_at)?;
        self.buffer_at += self.buffer.len() as u64;
        self.buffer.clear();
        if !self.dirty.iter().any(|f| Arc::ptr_eq(f, file)) {
            self.dirty.push(file.clone());
        }
        Ok(())
    }

    /// Takes back everything appended since `end` was read; it must lie in the same pack or before it.
    pub(super) fn rewind(&mut self, end: PackEnd) {
        self.buffer.clear();
        if end.pack == self.end.pack {
            self.end = end;
        } else {
            self.end.at = BLOCK;
        }
    }

    /// Makes every body appended so far durable, and the packs' names. Never repeated after an error.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        for file in &self.dirty {
            file.sync_data()?;
        }
        if self.dir_dirty {
            self.packs.sync_dir()?;
        }
        self.dirty.clear();
        self.dir_dirty = false;
        self.fresh_block();
        Ok(())
    }

    /// A torn write of a block must not damage synced bytes in front of it.
    fn fresh_block(&mut self) {
        self.end.at = self.end.at.next_multiple_of(BLOCK);
    }
}
