//! What can be seen again: how far back the log is whole, and where a time begins in it.
//!
//! Must never promise a record that trimming or compaction may have left out.

use super::format::BatchKind;
use super::scan::Walker;
use super::writer::lock;
use super::{Journal, Stat};

impl<T: Send + 'static> Journal<T> {
    /// Somebody needs again what is at or above `floor`, and whoever is asked what is needed says so by
    /// now. When it returns, nothing at or above the first offset that [`Journal::whole_from`] says goes
    /// any more. Blocks while a compaction is under way.
    pub fn lower(&self, floor: u64) {
        {
            let mut spares = lock(&self.shared.spares);
            spares.floor = spares.floor.min(floor);
        }
        drop(lock(&self.shared.layout));
        drop(lock(&self.shared.compacting));
    }

    /// From this offset on every record is there that ever was.
    pub fn whole_from(&self) -> u64 {
        let segments = self.shared.segments.all();
        let whole = segments.iter().rev().take_while(|segment| !segment.header.partial);
        whole.last().map_or_else(|| self.stat().durable_end, |segment| segment.known().first)
    }

    /// The first offset that was written at or after this time, in microseconds since the Unix epoch; the
    /// durable end if there is none. Blocks: reads up to one segment.
    pub fn offset_at(&self, time_us: i64) -> std::io::Result<u64> {
        let Stat { durable_end, .. } = self.stat();
        let segments = self.shared.segments.all();
        let late = |s: &&std::sync::Arc<super::segment::Segment>| {
            s.close_and_end().0.is_none_or(|closed| closed >= time_us)
        };
        for segment in segments.iter().filter(late) {
            let (first, end) = {
                let known = segment.known();
                (known.first, known.end)
            };
            let mut walker = Walker::new(segment, Some(first), end);
            while let Some(walked) = walker.step()? {
                if walked.header.kind == BatchKind::Records && walked.header.time_us >= time_us {
                    return Ok(walked.header.first.min(durable_end));
                }
                if walked.header.end >= end {
                    break;
                }
            }
        }
        Ok(durable_end)
    }

    /// About when the record at `offset` was written, in microseconds since the Unix epoch: when the segment
    /// before it was closed.
    pub fn time_before(&self, offset: u64) -> Option<i64> {
        let segments = self.shared.segments.all();
        let before = segments.iter().rev().map(|s| s.close_and_end()).find(|(_, end)| *end <= offset);
        before.and_then(|(closed, _)| closed)
    }
}
