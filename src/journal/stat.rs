//! What a journal holds, in numbers.
//!
//! Must never take a lock for long: it is asked while changes are written.

use super::Journal;
use super::damage::Damage;
use super::shared::needed_bytes;
use super::writer::lock;

/// What a journal holds now.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Stat {
    /// The first offset that can be read.
    pub first: u64,
    /// One above the last durable offset.
    pub durable_end: u64,
    /// Everything below is needed by nobody.
    pub floor: u64,
    /// Segment files with records.
    pub segments: usize,
    /// Files that stand ready.
    pub prepared: usize,
    /// Bytes of all of them.
    pub bytes: u64,
    /// Bytes of segments that somebody still needs.
    pub needed_bytes: u64,
    /// The configured bound.
    pub max_bytes: u64,
    /// Why no file can be prepared now.
    pub blocked: Option<String>,
    /// What was durable and cannot be read, as far as the opening or a reader noticed.
    pub damage: Vec<Damage>,
}

impl<T: Send + 'static> Journal<T> {
    /// What the journal holds now.
    pub fn stat(&self) -> Stat {
        let segments = self.shared.segments.all();
        let (floor, prepared, blocked) = {
            let spares = lock(&self.shared.spares);
            (spares.floor, spares.ready.len(), spares.blocked.clone())
        };
        let durable_end = *self.shared.subscribe().borrow();
        Stat {
            first: segments.first().map_or(durable_end, |s| s.known().first),
            durable_end,
            floor,
            segments: segments.len(),
            prepared,
            bytes: segments.iter().map(|s| s.file_len).sum::<u64>()
                + prepared as u64 * self.options.segment_bytes,
            needed_bytes: needed_bytes(&segments, floor),
            max_bytes: self.options.max_bytes,
            blocked,
            damage: self.shared.damage().borrow().clone(),
        }
    }

    /// How many segments hold something at or above `offset`.
    pub fn segments_from(&self, offset: u64) -> usize {
        self.shared.segments.from(offset)
    }
}
