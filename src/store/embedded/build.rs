//! From entries to edits: which change of a key counts, where its body goes, which row it becomes.
//!
//! Must never make a row that promises a body that is not there, and never touch the index: it only fills a
//! batch.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::META_PACK_END;
use super::buckets::{self, BucketDelta, bucket_of};
use super::index::{Batch, Index, Space};
use super::overlay::key_of;
use super::pack_writer::PackWriter;
use super::packs::{PackEnd, Packs};
use super::row::{self, BlobName, BodyPlace};
use super::row_edit;
use super::tags::{self, tags_of};
use super::targets::{TargetDelta, target_of};
use super::uploads::UploadEdits;
use crate::queue::{BodyRef, Stored, decode_manifest};
use crate::store::StoreError;

/// Packs being written, and the batch being filled.
pub(super) struct Builder {
    pub(super) packs: PackWriter,
    pub(super) batch: Batch,
}

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
        let mut superseded = newest.superseded.clone();
        UploadEdits::add_all(index, &mut self.batch, &mut superseded, fresh)?;
        // Parts of an object that did not outlive its batch had their rows already.
        for name in &newest.superseded {
            self.batch.remove(Space::Blobs, name);
        }
        let mut pack_begun = false;
        for (key, at) in &newest.keys {
            let stored = &fresh[*at];
            let Some(meta) = stored.entry.change.object() else {
                self.batch.remove(Space::Objects, key);
                continue;
            };
            let place = match &meta.body {
                BodyRef::Empty => BodyPlace::Empty,
                BodyRef::Inline { crc32c } => {
                    let size = stored.entry.event.as_ref().map_or(0, |e| e.size);
                    let PackEnd { pack, at } = self.append(stored, size, &mut pack_begun)?;
                    BodyPlace::Pack { pack, at, crc32c: *crc32c }
                }
                BodyRef::Manifest { crc32c, bytes, parts } => {
                    let PackEnd { pack, at } = self.append(stored, u64::from(*bytes), &mut pack_begun)?;
                    BodyPlace::Manifest { pack, at, crc32c: *crc32c, bytes: *bytes, parts: *parts }
                }
                BodyRef::Blob { name, crc32c } => {
                    let name = row::blob_name(name).ok_or_else(|| unfit(stored, "names no blob"))?;
                    let size = stored.entry.event.as_ref().map_or(0, |e| e.size);
                    self.batch.put(Space::Blobs, &name, |out| row_edit::put_number(out, &name, size));
                    BodyPlace::Blob { name, crc32c: *crc32c }
                }
            };
            self.batch.put(Space::Objects, key, |out| {
                row::put_object(out, key, stored, place);
            });
        }
        if pack_begun {
            self.packs.flush()?;
            let end = self.packs.end().to_bytes();
            self.batch.put(Space::Meta, META_PACK_END, |out| out.extend_from_slice(&end));
        }
        tags::add_all(&mut self.batch, fresh, &newest.gone);
        self.settings(index, fresh)?;
        Ok(superseded)
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
            let key = row::target_key(number);
            let base = index.get(Space::Targets, &key)?;
            let base = base.map(|row| row::target(&key, &row)).transpose()?;
            if let Some(target) = delta.over(base) {
                self.batch.put(Space::Targets, &key, |out| row::put_target(out, &target));
            }
        }
        Ok(())
    }
}

/// The last entry of every changed key, and what the others leave behind.
pub(super) struct Newest {
    /// Each key with the place of its last entry, sorted by key.
    keys: Vec<(Box<[u8]>, usize)>,
    /// Blobs of the earlier ones.
    superseded: Vec<BlobName>,
    /// Keys and offsets of the earlier ones, where any entry sets tags.
    gone: Vec<(Box<[u8]>, u64)>,
}

impl Newest {
    pub(super) fn of(fresh: &[Arc<Stored>]) -> Self {
        let mut keys: Vec<_> =
            fresh.iter().enumerate().filter_map(|(at, stored)| Some((key_of(stored)?, at))).collect();
        keys.sort_unstable();
        let tagged = fresh.iter().any(|stored| tags_of(&stored.entry.change).is_some());
        let mut gone = Vec::new();
        let (mut newest, mut superseded) = (Vec::<(Box<[u8]>, usize)>::with_capacity(keys.len()), Vec::new());
        for (key, at) in keys {
            match newest.last_mut() {
                Some((last, earlier)) if *last == key => {
                    blobs_of(&fresh[*earlier], &mut superseded);
                    if tagged {
                        gone.push((key, fresh[*earlier].position.offset));
                    }
                    *earlier = at;
                }
                _ => newest.push((key, at)),
            }
        }
        Self { keys: newest, superseded, gone }
    }
}

fn blobs_of(stored: &Stored, out: &mut Vec<BlobName>) {
    match stored.entry.change.object().map(|meta| &meta.body) {
        Some(BodyRef::Blob { name, .. }) => out.extend(row::blob_name(name)),
        Some(BodyRef::Manifest { .. }) => {
            out.extend(decode_manifest(&stored.body).into_iter().flatten().map(|piece| piece.blob));
        }
        _ => {}
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
