//! The index as the store sees it: ordered rows, applied in batches together with the applied offset.
//!
//! Must never hold bodies, and must never know the queue: it is a derived structure that can always be
//! rebuilt by applying again what follows its last checkpoint. An engine that lost its memory (poisoned,
//! damaged, closed) answers with an error; it never answers "no such row".

use std::ops::{Bound, Range};

use crate::store::StoreError;

/// One ordered set of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Space {
    /// Bucket, zero byte, key → current object.
    Objects,
    /// Bucket, zero byte, key, zero byte, offset (eight bytes, the high one first, every bit turned) → a
    /// version
    /// that is not current, or a delete marker: the newest first.
    Versions,
    /// Bucket, zero byte, key → offset of the key's null version, if that stands in [`Space::Versions`].
    Nulls,
    /// Bucket, zero byte, key, zero byte, a position (epoch and offset, the high byte first) → offset of the
    /// key's version that has its name from that position in another server's log.
    Names,
    /// Name → bucket.
    Buckets,
    /// Number → registered target.
    Targets,
    /// Name of every blob that an object or a part owns → its bytes (of older tidings: nothing).
    Blobs,
    /// Upload id → upload, open or done.
    Uploads,
    /// Bucket, zero byte, key, zero byte, upload id → nothing, for every open upload.
    OpenUploads,
    /// Upload id, number (two bytes, the high one first) → part.
    Parts,
    /// Bucket, zero byte, key, zero byte, offset of the object → tags that were set after it was made.
    Tags,
    /// As in [`Space::Tags`] → restore of the object.
    Restores,
    /// When something is due (eight bytes, the high one first, the sign turned), then as in
    /// [`Space::Restores`] → nothing.
    RestoreTimers,
    /// Small facts of the store's own.
    Meta,
}

impl Space {
    /// All of them, in the order in which one transaction writes them.
    pub(super) const ALL: [Space; 14] = [
        Space::Objects,
        Space::Versions,
        Space::Nulls,
        Space::Names,
        Space::Buckets,
        Space::Targets,
        Space::Blobs,
        Space::Uploads,
        Space::OpenUploads,
        Space::Parts,
        Space::Tags,
        Space::Restores,
        Space::RestoreTimers,
        Space::Meta,
    ];
}

/// An ordered key-value engine, as far as the store needs one.
///
/// One thread applies and checkpoints; any thread reads.
pub(super) trait Index: Send + Sync + 'static {
    /// One above the last applied offset, as reads see it now: 1 when new, and after opening what the last
    /// checkpoint made durable.
    fn applied_next(&self) -> u64;

    /// Applies all edits and the applied offset in one transaction. Readers see all of it when this returns,
    /// or nothing; nothing is durable before the next checkpoint. `watch` is told every edit of a
    /// [`Space::has_bodies`] space and of [`Space::Blobs`], in this order; told one of the former, it may add
    /// edits of other spaces to the same transaction.
    fn apply(&self, batch: &Batch, next: u64, watch: &mut Watch<'_>) -> Result<(), StoreError>;

    /// Applies rows of [`Space::Meta`], makes everything applied durable and returns one above the last
    /// durable offset.
    fn checkpoint(&self, rows: &Batch) -> Result<u64, StoreError>;

    /// The index as it is now.
    fn read(&self) -> Result<Box<dyn Snapshot>, StoreError>;

    /// Tries to get rid of writes that a full disk refused. True when none is left, so that more may be
    /// applied.
    fn relieve(&self) -> bool;

    /// The store is stopping: a checkpoint that waits for disk space gives up instead.
    fn give_up(&self);

    /// Closes the file in order and lets go of it: whoever opens it next is alone with it. What is asked
    /// afterwards is an error.
    fn close(&self);
}

impl Space {
    /// Spaces whose rows may say where a body is: who counts, moves or checks bodies looks through these.
    pub(super) const WITH_BODIES: [Self; 2] = [Self::Versions, Self::Objects];

    /// True if its rows may say where a body is.
    pub(super) fn has_bodies(self) -> bool {
        Self::WITH_BODIES.contains(&self)
    }
}

/// The index as it was at one moment.
pub(super) trait Snapshot {
    /// One above the last offset that it shows.
    fn applied_next(&self) -> Result<u64, StoreError>;

    /// The row under this key.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Visits rows in key order from `from` to below `to`, while `visit` returns true.
    fn scan(
        &self,
        space: Space,
        from: Bound<&[u8]>,
        to: Option<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError>;

    /// How many rows a space has.
    fn len(&self, space: Space) -> Result<u64, StoreError>;
}

/// One read of the index for itself.
pub(super) trait Reads: Index {
    /// The row under this key.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.read()?.get(space, key)
    }

    /// Visits rows as [`Snapshot::scan`] does.
    fn scan(
        &self,
        space: Space,
        from: Bound<&[u8]>,
        to: Option<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        self.read()?.scan(space, from, to, visit)
    }

    /// How many rows a space has.
    fn len(&self, space: Space) -> Result<u64, StoreError> {
        self.read()?.len(space)
    }
}

impl<I: Index + ?Sized> Reads for I {}

/// What one edit does to one row.
pub(super) struct Edit<'a> {
    pub(super) space: Space,
    pub(super) key: &'a [u8],
    /// The row before.
    pub(super) old: Option<&'a [u8]>,
    /// The row from now on.
    pub(super) new: Option<&'a [u8]>,
}

/// Told edits as they are made; adds more to the batch it is given.
pub(super) type Watch<'a> = dyn FnMut(&Edit<'_>, &mut Batch) + 'a;

/// Told key and row; false stops the scan.
pub(super) type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> Result<bool, StoreError> + 'a;

/// Edits of one transaction, in one buffer that is used again.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    edits: Vec<EditAt>,
}

#[derive(Debug)]
struct EditAt {
    space: Space,
    key: Range<usize>,
    row: Option<Range<usize>>,
}

impl Batch {
    /// Forgets every edit and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.edits.clear();
    }

    /// Adds a row that replaces whatever is under `key`; `write` appends its bytes, given the key.
    pub(super) fn put(&mut self, space: Space, key: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
        let key_at = self.push(key);
        let from = self.bytes.len();
        write(&mut self.bytes);
        self.edits.push(EditAt { space, key: key_at, row: Some(from..self.bytes.len()) });
    }

    /// Removes the row under `key`, if there is one.
    pub(super) fn remove(&mut self, space: Space, key: &[u8]) {
        let key = self.push(key);
        self.edits.push(EditAt { space, key, row: None });
    }

    fn push(&mut self, key: &[u8]) -> Range<usize> {
        let from = self.bytes.len();
        self.bytes.extend_from_slice(key);
        from..self.bytes.len()
    }

    /// The edits of one space, in the order they were added: a later one of the same key wins.
    pub(super) fn edits(&self, space: Space) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.edits
            .iter()
            .filter(move |e| e.space == space)
            .map(|e| (&self.bytes[e.key.clone()], e.row.clone().map(|r| &self.bytes[r])))
    }

    /// True if a space has edits.
    pub(super) fn touches(&self, space: Space) -> bool {
        self.edits.iter().any(|e| e.space == space)
    }
}

/// The smallest key above every key that begins with `prefix`; none if there is no such key.
pub(super) fn end_of_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}
