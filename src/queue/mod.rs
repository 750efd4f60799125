//! The queue: an ordered, durable sequence of entries with one reader per target.
//!
//! ```text
//!   offsets   1   2   3   4   5   6   7   8   9
//!             ─────────────────────────────────
//!   kept      ·   ■   ■   ■   ■   ■   ■   ■   □     ■ durable   □ being written   · trimmed
//!                     ▲               ▲       ▲
//!                     │               │       durable end (9): one above the last durable offset
//!                     │               position of a reader (7): everything below is taken
//!                     a hole (4): taken, matched, not settled
//! ```
//!
//! An empty queue has durable end 1 and no entries. Everything below a reader's position that matched it is
//! settled or one of its holes. Must never know connectors, encodings or the S3 frontend.

mod admit;
mod aside;
mod budget;
mod codec;
pub mod dead;
mod dispatcher;
pub mod embedded;
mod entry;
mod error;
mod feed;
mod fields;
mod forget;
mod holes;
mod keeper;
mod lookup;
mod manifest;
mod oldest;
mod pause;
mod pieces;
pub mod progress;
mod read;
mod reader;
mod rematch;
pub mod repair;
mod replay;
mod restore;
mod rows;
mod setting;
mod space;
mod tags;
mod tail;
mod upload;

use std::sync::Arc;

use async_trait::async_trait;

pub use budget::{Budget, BudgetView, OverBudget};
pub use codec::{DecodeError, decode, decode_object, encode, encode_object};
pub use entry::{BodyRef, Change, DeliveryTo, Entry, ObjectMeta, Stored, TargetNo, key_hash};
pub use error::{AppendError, Full, FullReason, OpenError, ReadError, RewindError, Rewound};
pub use holes::Hole;
pub use manifest::{Piece, decode_manifest, encode_manifest};
pub use oldest::OldestEvent;
pub use pause::Pause;
pub use progress::{Books, Column, Progress};
pub use rematch::RematchFn;
pub use restore::{Restore, RestoreChange, Tier, decode_restore, encode_restore};
pub use setting::{MAX_SETTING_BYTES, Setting};
pub use tags::{ObjectTags, TAGS};
pub use upload::{
    MAX_PARTS, NewPart, NewUpload, PartChecksum, UploadChange, UploadId, decode_part, decode_upload,
    encode_part, encode_upload,
};

use crate::event::Position;

/// An ordered, durable sequence of entries with one cursor per reader.
#[async_trait]
pub trait Queue: Send + Sync + 'static {
    /// How many ordered sequences there are. An entry's partition is a stable hash of bucket and key.
    fn partitions(&self) -> u32;

    /// Takes space for one change (record and overlay) before anything happens: before a body is read, before
    /// an upstream is called. The only place that answers [`Full`], after a named deadline.
    async fn reserve(&self, bytes: usize) -> Result<Permit, Full>;

    /// Takes space for one setting of an operator: possible while changes of objects are refused, so that a
    /// full system can be administered.
    async fn reserve_setting(&self) -> Result<Permit, Full> {
        self.reserve(0).await
    }

    /// Takes space for a change that removes something: possible a little longer than for others, so that a
    /// full system can be emptied.
    async fn reserve_removal(&self, bytes: usize) -> Result<Permit, Full> {
        self.reserve(bytes).await
    }

    /// Charges an entry to the budgets of its targets, before anything happens. Targets that are full and may
    /// shed it move to [`Entry::shed`]; one that is full and may not is the error, and nothing is charged.
    /// Those in `shedding` may shed this one, whatever their policy is.
    /// What is charged is given back if the permit is dropped instead of used for this entry.
    fn admit(
        &self,
        _permit: &mut Permit,
        _entry: &mut Entry,
        _shedding: &[TargetNo],
    ) -> Result<(), OverBudget> {
        Ok(())
    }

    /// Appends one entry with its inline body. Durable and readable when it returns `Ok`.
    async fn append(&self, permit: Permit, entry: Entry, body: bytes::Bytes)
    -> Result<Position, AppendError>;

    /// Opens the reader of one target in one partition, with its progress inside. At most one is open at a
    /// time.
    async fn open(&self, target: TargetNo, partition: u32) -> Result<Box<dyn Reader>, OpenError>;
}

/// One target's view of one partition.
///
/// Trimming, compaction and persistence of progress are the queue's own business.
#[async_trait]
pub trait Reader: Send {
    /// Takes the next entries for this target, in offset order, waiting until there is at least one.
    ///
    /// At open it gives every hole first, in offset order, then what follows the position. Taken entries are
    /// holes until they are settled. Cancel safe: an entry is taken only when it is returned.
    async fn next(&mut self, max: usize) -> Result<Vec<Arc<Stored>>, ReadError>;

    /// The holes at open, in offset order, instead of their entries: [`Reader::next`] gives none of them any
    /// more, and [`Reader::lookup`] reads them when they are needed. Called before the first `next`, so that
    /// nothing at or above the position can be sent before every hole's key is known.
    fn take_holes(&mut self) -> Vec<Hole>;

    /// Reads entries again that are taken and not settled.
    fn lookup(&self) -> Arc<dyn Lookup>;

    /// Goes back to `from`, durably: everything from there on is given again, in offset order, with the holes
    /// below it first. What was given before must not be out any more, and is forgotten by the caller.
    /// Settled once more, an entry counts as repeated. With `rematch` also what the rules of now match is
    /// given, in its place; settled, it counts as rematched.
    async fn rewind(&mut self, from: u64, rematch: bool) -> Result<Rewound, RewindError>;

    /// Settles taken entries: each leaves its hole and is counted in one column of the books, once.
    /// Durable within about a second, or when [`Reader::flush`] returned.
    fn settle(&mut self, settled: &[(u64, Column)]);

    /// Counts late or repeated deliveries, which leave no hole.
    fn repeated(&mut self, count: u64);

    /// The handle through which others see this reader's books at any time.
    fn progress(&self) -> Arc<progress::Progress>;

    /// Where this reader's dead letters are kept; none: there is no such place, and they stay unsettled.
    fn dead_letters(&self) -> Option<dead::DeadLetters> {
        None
    }

    /// Makes everything settled so far durable.
    async fn flush(&mut self) -> Result<(), ReadError>;
}

/// Entries of one reader by their offsets.
#[async_trait]
pub trait Lookup: Send + Sync + 'static {
    /// The entries at these offsets, which are ascending, taken and not settled. May give fewer, the first
    /// ones; an error says why there is not even one.
    async fn read(&self, offsets: &[u64]) -> Result<Vec<Arc<Stored>>, ReadError>;
}

/// What the queue tells a store about each durable batch, in offset order, before it advances the durable
/// end.
///
/// Called on the writer thread: must be short, and must never call back into the queue.
pub trait Publish: Send + Sync + 'static {
    /// The batch is durable, and from the return of this call on also readable in the store.
    fn publish(&self, batch: &[Arc<Stored>]);
}

/// The store's own reader: everything, with inline bodies, in offset order. Blocking: it is used by one
/// thread.
pub trait Feed: Send {
    /// The next entries, at most `max`; waits up to `wait` for the first one. Empty: nothing came.
    fn next(&mut self, max: usize, wait: std::time::Duration) -> Result<Vec<Arc<Stored>>, ReadError>;

    /// Goes on at `next`.
    fn seek(&mut self, next: u64);

    /// One above the last durable offset now.
    fn durable_end(&self) -> u64;

    /// Gives back overlay budget: the sum of [`Stored::charge`] of entries that the index has applied.
    fn applied(&self, charge: u64);

    /// How much may be durable and not applied yet, in bytes of [`Stored::charge`].
    fn overlay_bytes(&self) -> u64;

    /// How many segments of the log hold something at or above `next`.
    fn segments_from(&self, next: u64) -> usize;

    /// Everything below `next` is in the store's synced checkpoint: the queue may trim it.
    fn checkpointed(&self, next: u64);
}

/// Space for one change. Dropped unused, it gives its space back.
#[derive(Debug)]
pub struct Permit {
    /// Bytes reserved.
    pub bytes: u32,
    /// Gives the space back when dropped.
    pub(crate) held: Option<tokio::sync::OwnedSemaphorePermit>,
    /// What was charged to the budgets of its entry's targets; dropped, it is given back.
    charge: Option<admit::Charge>,
}

impl Permit {
    /// Space in a queue that has no bound, such as one that keeps nothing.
    pub fn unbounded(bytes: u32) -> Self {
        Self { bytes, held: None, charge: None }
    }
}

#[cfg(test)]
mod tests;
