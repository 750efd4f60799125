//! From entries to edits: which change of a key counts, where its body goes, which row it becomes.
//!
//! Must never make a row that promises a body that is not there, and never touch the index: it only fills a
//! batch.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::META_PACK_END;
use super::buckets::{self, BucketDelta, bucket_of};
use super::index::{Batch, Index, Reads as _, Space};
use super::pack_writer::PackWriter;
use super::packs::{PackEnd, Packs};
use super::restores::{self, restore_of};
use super::row::{self, BlobName, BodyPlace};
use super::row_edit;
use super::tags::{self, tags_of};
use super::targets::{self, TargetDelta, target_of};
use super::uploads::UploadEdits;
use super::version_edits::VersionEdits;
use super::versions::{KeyDelta, blobs_of, key_of};
use crate::queue::{BodyRef, Stored, decode_manifest};
use crate::store::StoreError;

/// Packs being written, and the batch being filled.
pub(super) struct Builder {
    pub(super) packs: PackWriter,
    pub(super) batch: Batch,
    /// Versions that the filled batch only moves from one space to another: what they have stays.
    pub(super) stays: Stays,
}

/// Index keys and offsets of versions.
pub(super) type Stays = HashSet<(Box<[u8]>, u64)>;

impl Builder {
    /// Writes bodies to the pack and fills the batch with rows. Gives the blobs that nobody owns any more,
    /// but for those of rows that the batch replaces.
    pub(super) fn build(
        &mut self,
        index: &dyn Index,
        fresh: &[Arc<Stored>],
        newest: &Newest,
    ) -> Result<Vec<BlobName>, StoreError> {
        self.batch.clear();
        self.stays.clear();
        let mut superseded = newest.superseded.clone();
        UploadEdits::add_all(index, &mut self.batch, &mut superseded, fresh)?;
        // Parts of an object that did not outlive its batch had their rows already.
        for name in &newest.superseded {
            self.batch.remove(Space::Blobs, name);
        }
        let mut pack_begun = false;
        for (key, at) in &newest.keys {
            let stored = &fresh[*at];
            if stored.entry.change.object().is_none() {
                self.batch.remove(Space::Objects, key);
                continue;
            }
            let place = self.place(stored, &mut pack_begun)?;
            self.batch.put(Space::Objects, key, |out| row::put_object(out, key, stored, place));
        }
        self.versions(index, newest, &mut pack_begun)?;
        if pack_begun {
            self.packs.flush()?;
            let end = self.packs.end().to_bytes();
            self.batch.put(Space::Meta, META_PACK_END, |out| out.extend_from_slice(&end));
        }
        tags::add_all(&mut self.batch, fresh, &newest.gone);
        restores::add_all(&mut self.batch, fresh, &newest.gone);
        self.settings(index, fresh)?;
        Ok(superseded)
    }

    /// Keys that have versions.
    fn versions(
        &mut self,
        index: &dyn Index,
        newest: &Newest,
        pack_begun: &mut bool,
    ) -> Result<(), StoreError> {
        if newest.versioned.is_empty() {
            return Ok(());
        }
        let before = index.read()?;
        for (key, delta) in &newest.versioned {
            let places = delta.added.iter().map(|stored| self.place(stored, pack_begun));
            let places = places.collect::<Result<Vec<_>, _>>()?;
            let (batch, stays) = (&mut self.batch, &mut self.stays);
            let mut edits = VersionEdits { before: &*before, batch, stays };
            edits.add(key, delta, &places)?;
        }
        Ok(())
    }

    /// Brings what came beside an entry to where it stays.
    fn place(&mut self, stored: &Stored, pack_begun: &mut bool) -> Result<BodyPlace, StoreError> {
        let Some(meta) = stored.entry.change.object() else { return Ok(BodyPlace::Marker) };
        Ok(match &meta.body {
            BodyRef::Empty => BodyPlace::Empty,
            BodyRef::Inline { crc32c } => {
                let size = stored.entry.event.as_ref().map_or(0, |e| e.size);
                let PackEnd { pack, at } = self.append(stored, size, pack_begun)?;
                BodyPlace::Pack { pack, at, crc32c: *crc32c }
            }
            BodyRef::Manifest { crc32c, bytes, parts } => {
                let PackEnd { pack, at } = self.append(stored, u64::from(*bytes), pack_begun)?;
                BodyPlace::Manifest { pack, at, crc32c: *crc32c, bytes: *bytes, parts: *parts }
            }
            BodyRef::Blob { name, crc32c } => {
                let name = row::blob_name(name).ok_or_else(|| unfit(stored, "names no blob"))?;
                let size = stored.entry.event.as_ref().map_or(0, |e| e.size);
                self.batch.put(Space::Blobs, &name, |out| row_edit::put_number(out, &name, size));
                BodyPlace::Blob { name, crc32c: *crc32c }
            }
        })
    }

    /// Blobs that the filled batch gives an owner.
    pub(super) fn owned(&self) -> HashSet<BlobName> {
        let mut owned = HashSet::new();
        for (name, row) in self.batch.edits(Space::Blobs) {
            let Ok(name) = BlobName::try_from(name) else { continue };
            match row {
                Some(_) => owned.insert(name),
                None => owned.remove(&name),
            };
        }
        owned
    }

    /// Appends what came beside an entry to the pack. What is not there must not become a row that promises
    /// it.
    fn append(&mut self, stored: &Stored, size: u64, begun: &mut bool) -> Result<PackEnd, StoreError> {
        if stored.body.len() as u64 != size {
            return Err(unfit(stored, "came without its whole body"));
        }
        if !std::mem::replace(begun, true) {
            self.packs.begin()?;
        }
        Ok(self.packs.append(&stored.body)?)
    }

    fn settings(&mut self, index: &dyn Index, fresh: &[Arc<Stored>]) -> Result<(), StoreError> {
        let mut targets = BTreeMap::<_, TargetDelta>::new();
        let mut changed = BTreeMap::<_, BucketDelta>::new();
        for stored in fresh {
            if let Some(name) = bucket_of(&stored.entry.change) {
                changed.entry(name).or_default().add(stored);
            } else if let Some(target) = target_of(&stored.entry.change) {
                targets.entry(target).or_default().add(stored);
            }
        }
        for (name, delta) in changed {
            let key = name.as_bytes();
            let base = if delta.needs_base() { index.get(Space::Buckets, key)? } else { None };
            let base = base.map(|row| buckets::bucket(key, &row)).transpose()?;
            match delta.over(base) {
                Some(bucket) => {
                    self.batch.put(Space::Buckets, key, |out| buckets::put_bucket(out, &bucket));
                }
                None => self.batch.remove(Space::Buckets, key),
            }
        }
        for (number, delta) in targets {
            let key = targets::target_key(number);
            let base = index.get(Space::Targets, &key)?;
            let base = base.map(|row| targets::target(&key, &row)).transpose()?;
            if let Some(target) = delta.over(base) {
                self.batch.put(Space::Targets, &key, |out| targets::put_target(out, &target));
            }
        }
        Ok(())
    }
}

/// What the entries of a batch come to, key by key.
#[derive(Default)]
pub(super) struct Newest {
    /// Each key without versions with the place of its last entry, sorted by key.
    keys: Vec<(Box<[u8]>, usize)>,
    /// What happens to each of the others.
    versioned: Vec<(Box<[u8]>, KeyDelta)>,
    /// Blobs of what did not outlive the batch.
    superseded: Vec<BlobName>,
    /// Its keys and offsets, where any entry sets tags or restores something.
    gone: Vec<(Box<[u8]>, u64)>,
}

impl Newest {
    pub(super) fn of(fresh: &[Arc<Stored>]) -> Self {
        let mut keys: Vec<_> =
            fresh.iter().enumerate().filter_map(|(at, stored)| Some((key_of(stored)?, at))).collect();
        keys.sort_unstable();
        let beside = |change| tags_of(change).is_some() || restore_of(change).is_some();
        let tagged = fresh.iter().any(|stored| beside(&stored.entry.change));
        let mut newest = Self { keys: Vec::with_capacity(keys.len()), ..Self::default() };
        let mut keys = keys.into_iter().peekable();
        while let Some((key, first)) = keys.next() {
            let (mut last, mut all) = (first, Vec::new());
            let mut versioned = fresh[first].version().is_some();
            while let Some((_, at)) = keys.next_if(|(next, _)| *next == key) {
                all.push(last);
                versioned |= fresh[at].version().is_some();
                last = at;
            }
            let mut dropped = |stored: &Stored| {
                blobs_of(stored, &mut newest.superseded);
                if tagged {
                    newest.gone.push((key.clone(), stored.position.offset));
                }
            };
            if versioned {
                all.push(last);
                let delta = KeyDelta::of(all.iter().map(|at| &fresh[*at]));
                delta.dropped.iter().for_each(|stored| dropped(stored));
                newest.versioned.push((key, delta));
            } else {
                all.iter().for_each(|at| dropped(&fresh[*at]));
                newest.keys.push((key, last));
            }
        }
        newest
    }
}

/// The blobs that the object of a row is made of.
pub(super) fn owned_by_row(packs: &Packs, key: &[u8], found: &[u8]) -> Vec<BlobName> {
    match row::body(key, found).map(|(_, place)| place) {
        Some(BodyPlace::Blob { name, .. }) => vec![name],
        Some(BodyPlace::Manifest { pack, at, crc32c, bytes, .. }) => {
            match packs.read(pack, at, bytes as usize, crc32c) {
                Ok(manifest) => {
                    decode_manifest(&manifest).into_iter().flatten().map(|piece| piece.blob).collect()
                }
                Err(error) => {
                    tracing::error!(%error, "a manifest is damaged; the blobs that it named stay");
                    Vec::new()
                }
            }
        }
        _ => Vec::new(),
    }
}

fn unfit(stored: &Stored, what: &str) -> StoreError {
    StoreError::Index(format!("the entry at offset {} {what}", stored.position.offset))
}
