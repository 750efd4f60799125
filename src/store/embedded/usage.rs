//! How many bytes of bodies lie on the disk, and how many of them an object needs: of every pack exactly, as
//! of the last applied change.
//!
//! Counted from the edits that the index really made, and written with its checkpoint: after a crash the
//! counts are those of the rows that are there. Must never be the only reason to remove a file.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use super::index::{Batch, Edit, Index, Reads as _, Space, end_of_prefix};
use super::packs::{PackEnd, Packs};
use super::row::{self, BlobName};
use super::row_edit;
use crate::store::{BodyBytes, StoreError};

/// Rows of [`Space::Meta`]: needed bytes of a pack (its number follows, the high byte first) …
const LIVE_PACK: &[u8] = b"live/";
/// … and of all blobs. Without it the counts were never written.
const LIVE_BLOBS: &[u8] = b"live-blobs";
/// Packs that are mostly dead are emptied once their dead bytes are so large a part of all needed ones.
const WORTH: u64 = 8;
/// A pack of so few bytes is nothing to win space from, unless all of it is dead.
const SMALL: u64 = 16 << 10;

/// What one batch changed.
#[derive(Default)]
pub(super) struct Delta {
    packs: BTreeMap<u32, OfPack>,
    blobs: i64,
    /// Blobs that have no owner any more, with their bytes.
    let_go: HashMap<BlobName, u64>,
    /// Blobs that have one now.
    pub(super) adopted: Vec<BlobName>,
}

/// What one batch changed about one pack.
#[derive(Default)]
struct OfPack {
    /// Needed bytes.
    bytes: i64,
    /// A row was put that names it.
    named: bool,
}

impl Delta {
    /// Packs that rows name which were put.
    pub(super) fn named(&self) -> impl Iterator<Item = u32> {
        self.packs.iter().filter(|(_, of)| of.named).map(|(pack, _)| *pack)
    }

    /// Adds an edit.
    pub(super) fn add(&mut self, edit: &Edit<'_>) {
        if edit.space != Space::Blobs {
            for (row, sign) in [(edit.old, -1), (edit.new, 1)] {
                if let Some(Ok(Some(packed))) = row.map(|row| row_edit::packed(edit.key, row)) {
                    let of = self.packs.entry(packed.pack).or_default();
                    of.bytes += sign * packed.bytes as i64;
                    of.named |= sign > 0;
                }
            }
            return;
        }
        let Ok(name) = BlobName::try_from(edit.key) else { return };
        let bytes =
            |row: Option<&[u8]>| row.and_then(|row| row_edit::number(edit.key, row)).unwrap_or_default();
        let (old, new) = (bytes(edit.old), bytes(edit.new));
        self.blobs += new as i64 - old as i64;
        match (edit.old, edit.new) {
            (None, Some(_)) => {
                self.let_go.remove(&name);
                self.adopted.push(name);
            }
            (Some(_), None) => drop(self.let_go.insert(name, old)),
            _ => {}
        }
    }

    /// The bytes of a blob that was let go; 0 for one that never had a row.
    pub(super) fn bytes_of(&self, name: &BlobName) -> u64 {
        self.let_go.get(name).copied().unwrap_or_default()
    }
}

/// The index thread's counts.
pub(super) struct Usage {
    /// Needed bytes of every pack that has any.
    live: BTreeMap<u32, u64>,
    /// Bytes of every pack's file.
    files: BTreeMap<u32, u64>,
    /// Needed bytes of blobs.
    blobs: u64,
    /// Bytes of blobs whose files are to go.
    retired: u64,
    /// Packs whose row is not written.
    changed: BTreeSet<u32>,
    /// The same of the blobs' row.
    blobs_changed: bool,
}

impl Usage {
    /// The counts of the last checkpoint; of an index without counts they are made anew, from every row.
    pub(super) fn open(index: &dyn Index, packs: &Packs, end: PackEnd) -> Result<Self, StoreError> {
        let mut files = BTreeMap::new();
        for pack in packs.numbers()?.range(..=end.pack) {
            files.insert(*pack, packs.bytes(*pack)?);
        }
        let (live, blobs) = match index.get(Space::Meta, LIVE_BLOBS)? {
            Some(row) => {
                let blobs = row_edit::number(LIVE_BLOBS, &row).ok_or_else(|| row::damaged(LIVE_BLOBS))?;
                (written(index)?, blobs)
            }
            None => {
                let (mut live, mut blobs) = (BTreeMap::new(), 0);
                count(index, &mut live, &mut blobs)?;
                (live, blobs)
            }
        };
        let (changed, blobs_changed) = (live.keys().copied().collect(), true);
        Ok(Self { live, files, blobs, retired: 0, changed, blobs_changed })
    }

    /// An applied batch changed this, and the packs end here.
    pub(super) fn add(&mut self, delta: &Delta, end: PackEnd) {
        for (pack, of) in delta.packs.iter().filter(|(_, of)| of.bytes != 0) {
            let live = self.live.entry(*pack).or_default();
            *live = live.saturating_add_signed(of.bytes);
            self.changed.insert(*pack);
        }
        self.blobs = self.blobs.saturating_add_signed(delta.blobs);
        self.blobs_changed |= delta.blobs != 0;
        if end.pack != 0 {
            let bytes = self.files.entry(end.pack).or_default();
            *bytes = (*bytes).max(end.at);
        }
    }

    /// A blob's file is to go.
    pub(super) fn retire(&mut self, bytes: u64) {
        self.retired += bytes;
    }

    /// It is gone.
    pub(super) fn retired(&mut self, bytes: u64) {
        self.retired = self.retired.saturating_sub(bytes);
    }

    /// Needed bytes of a pack.
    pub(super) fn live(&self, pack: u32) -> u64 {
        self.live.get(&pack).copied().unwrap_or_default()
    }

    /// A pack's file is gone.
    pub(super) fn removed(&mut self, pack: u32) {
        self.files.remove(&pack);
        self.live.remove(&pack);
        self.changed.insert(pack);
    }

    /// True if no more than half of a pack's file is needed, leaving aside the blocks that a small pack of
    /// live bytes has, too.
    pub(super) fn is_mostly_dead(&self, pack: u32) -> bool {
        let bytes = self.files.get(&pack).copied().unwrap_or_default();
        let live = self.live(pack);
        live == 0 || bytes >= 2 * live + SMALL
    }

    /// Packs that are worth being emptied: all that are mostly dead, once there is enough to win. Never
    /// `current`, which takes the next batch, nor one of `except`.
    pub(super) fn victims(&self, current: Option<u32>, except: &BTreeSet<u32>) -> BTreeSet<u32> {
        let closed = self.files.iter().filter(|(n, _)| Some(**n) != current && !except.contains(n));
        let (mut victims, mut dead) = (BTreeSet::new(), 0);
        for (pack, bytes) in closed.filter(|(n, _)| self.is_mostly_dead(**n)) {
            victims.insert(*pack);
            dead += bytes - self.live(*pack);
        }
        if dead >= self.live.values().sum::<u64>() / WORTH { victims } else { BTreeSet::new() }
    }

    /// Adds the rows to write with the next checkpoint.
    pub(super) fn put_rows(&self, batch: &mut Batch) {
        for pack in &self.changed {
            let key = pack_key(*pack);
            match self.live.get(pack) {
                Some(live) => batch.put(Space::Meta, &key, |out| row_edit::put_number(out, &key, *live)),
                None => batch.remove(Space::Meta, &key),
            }
        }
        if self.blobs_changed {
            batch.put(Space::Meta, LIVE_BLOBS, |out| row_edit::put_number(out, LIVE_BLOBS, self.blobs));
        }
    }

    /// They are written.
    pub(super) fn wrote_rows(&mut self) {
        self.changed.clear();
        self.blobs_changed = false;
    }

    /// For who asks: without blobs that no applied change names.
    pub(super) fn bytes(&self) -> BodyBytes {
        let live = self.live.values().sum::<u64>() + self.blobs;
        let all = self.files.values().sum::<u64>() + self.blobs + self.retired;
        BodyBytes { live, dead: all.saturating_sub(live) }
    }
}

fn pack_key(pack: u32) -> Vec<u8> {
    [LIVE_PACK, &pack.to_be_bytes()].concat()
}

/// The counts of packs that the last checkpoint wrote.
pub(super) fn written(index: &dyn Index) -> Result<BTreeMap<u32, u64>, StoreError> {
    let (mut live, to) = (BTreeMap::new(), end_of_prefix(LIVE_PACK));
    index.scan(Space::Meta, Bound::Included(LIVE_PACK), to.as_deref(), &mut |key, found| {
        let pack = key[LIVE_PACK.len()..].try_into().map(u32::from_be_bytes);
        let pack = pack.map_err(|_| row::damaged(key))?;
        live.insert(pack, row_edit::number(key, found).ok_or_else(|| row::damaged(key))?);
        Ok(true)
    })?;
    Ok(live)
}

/// Counts needed bytes, from every row. A damaged row names no pack: it counts nowhere.
fn count(index: &dyn Index, live: &mut BTreeMap<u32, u64>, blobs: &mut u64) -> Result<(), StoreError> {
    for space in Space::WITH_BODIES {
        index.scan(space, Bound::Unbounded, None, &mut |key, found| {
            if let Ok(Some(packed)) = row_edit::packed(key, found) {
                *live.entry(packed.pack).or_default() += packed.bytes;
            }
            Ok(true)
        })?;
    }
    index.scan(Space::Blobs, Bound::Unbounded, None, &mut |key, found| {
        *blobs += row_edit::number(key, found).unwrap_or_default();
        Ok(true)
    })
}
