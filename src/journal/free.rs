//! What opening does with files in which nothing was ever acknowledged.
//!
//! Must never leave a number missing between two files that stay, nor close a gap that proves a loss.

use std::path::Path;
use std::sync::Arc;

use super::error::OpenError;
use super::format::{BLOCK, SegmentHeader, SegmentId};
use super::recovery::{Opening, Recovered};
use super::segment::Segment;
use super::survey::Surveyed;

impl Opening<'_> {
    /// Takes a file without records back for another life, or removes it: for its room, or if its length is
    /// not today's.
    pub(super) fn release(
        &self,
        found: &mut Recovered,
        file: Surveyed,
        for_room: bool,
    ) -> Result<(), OpenError> {
        let same = |s: &&Arc<Segment>| s.file_len == self.segment_bytes && !for_room;
        match &file.segment {
            Some(segment) if same(&segment) => {
                let temporary = self.dir.join(format!("retired-{}.tmp", file.first));
                self.disk.rename(&file.path, &temporary)?;
                found.recycled.push((temporary, Arc::clone(&segment.file)));
            }
            Some(_) => self.disk.remove(&file.path)?,
            // Nobody may take it for a segment again.
            None => self.disk.rename(&file.path, &self.dir.join(format!("{}.bad", file.name)))?,
        }
        Ok(self.disk.sync_dir(self.dir)?)
    }

    /// Puts a file with nothing but a header in the place of one that stood ready, until the next one gets
    /// its number.
    pub(super) fn hold(&self, path: &Path, number: u64) -> Result<(), OpenError> {
        let mut id = [0; 16];
        (self.random)(&mut id)?;
        let id = SegmentId::new(id);
        let header = SegmentHeader { id, first: number, last: number, partial: false, len: BLOCK };
        let temporary = self.dir.join("recovered.tmp");
        let _ = self.disk.remove(&temporary);
        let file = self.disk.create(&temporary)?;
        file.write_at(&header.encode(), 0)?;
        file.sync_data()?;
        self.disk.rename(&temporary, path)?;
        Ok(self.disk.sync_dir(self.dir)?)
    }
}
