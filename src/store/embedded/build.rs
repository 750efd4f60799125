//! From entries to edits: which change of a key counts, where its body goes, which row it becomes.
//!
//! Must never make a row that promises a body that is not there, and never touch the index: it only fills a
//! batch.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::META_PACK_END;
use super::index::{Batch, Index, Space};
use super::overlay::{TargetDelta, bucket_of, key_of, target_of};
use super::packs::{PackEnd, PackWriter};
use super::row::{self, BlobName, BodyPlace};
use crate::queue::{BodyRef, Change, Stored};
use crate::store::StoreError;

/// Packs being written, and the batch being filled.
pub(super) struct Builder {
    pub(super) packs: PackWriter,
    pub(super) batch: Batch,
}

impl Builder {
    /// Writes bodies to the pack and fills the batch with rows.
    pub(super) fn build(
        &mut self,
        index: &dyn Index,
        fresh: &[Arc<Stored>],
        newest: &[(Box<[u8]>, usize)],
    ) -> Result<(), StoreError> {
        self.batch.clear();
        let mut pack_begun = false;
        for (key, at) in newest {
            let stored = &fresh[*at];
            let Change::PutObject(meta) = &stored.entry.change else {
                self.batch.remove(Space::Objects, key);
                continue;
            };
            let place = match &meta.body {
                BodyRef::Empty => BodyPlace::Empty,
                BodyRef::Inline { crc32c } => {
                    check_body(stored)?;
                    if !std::mem::replace(&mut pack_begun, true) {
                        self.packs.begin()?;
                    }
                    let PackEnd { pack, at } = self.packs.append(&stored.body)?;
                    BodyPlace::Pack { pack, at, crc32c: *crc32c }
                }
                BodyRef::Blob { name, crc32c } => {
                    let name = row::blob_name(name).ok_or_else(|| unfit(stored, "names no blob"))?;
                    self.batch.put(Space::Blobs, &name, |_| {});
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
        self.settings(index, fresh)
    }

    fn settings(&mut self, index: &dyn Index, fresh: &[Arc<Stored>]) -> Result<(), StoreError> {
        let mut targets = BTreeMap::<_, TargetDelta>::new();
        for stored in fresh {
            match (bucket_of(&stored.entry.change), target_of(&stored.entry.change)) {
                (Some((name, Some(bucket))), _) => {
                    self.batch.put(Space::Buckets, name.as_bytes(), |out| row::put_bucket(out, &bucket));
                }
                (Some((name, None)), _) => self.batch.remove(Space::Buckets, name.as_bytes()),
                (None, Some(target)) => targets.entry(target).or_default().add(stored),
                (None, None) => {}
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

/// The last entry of every changed key, sorted by key; blobs of the others are superseded.
pub(super) fn newest_per_key(
    fresh: &[Arc<Stored>],
    superseded: &mut Vec<BlobName>,
) -> Vec<(Box<[u8]>, usize)> {
    let mut keys: Vec<_> =
        fresh.iter().enumerate().filter_map(|(at, stored)| Some((key_of(stored)?, at))).collect();
    keys.sort_unstable();
    let mut newest: Vec<(Box<[u8]>, usize)> = Vec::with_capacity(keys.len());
    for (key, at) in keys {
        match newest.last_mut() {
            Some((last, earlier)) if *last == key => {
                superseded.extend(blob_of(&fresh[*earlier]));
                *earlier = at;
            }
            _ => newest.push((key, at)),
        }
    }
    newest
}

fn blob_of(stored: &Stored) -> Option<BlobName> {
    match &stored.entry.change {
        Change::PutObject(meta) => match &meta.body {
            BodyRef::Blob { name, .. } => row::blob_name(name),
            _ => None,
        },
        _ => None,
    }
}

/// An entry whose body is not there must not become a row that promises it.
fn check_body(stored: &Stored) -> Result<(), StoreError> {
    let size = stored.entry.event.as_ref().map_or(0, |e| e.size);
    if stored.body.len() as u64 == size { Ok(()) } else { Err(unfit(stored, "came without its whole body")) }
}

fn unfit(stored: &Stored, what: &str) -> StoreError {
    StoreError::Index(format!("the entry at offset {} {what}", stored.position.offset))
}
