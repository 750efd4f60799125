//! Keys and rows of restores and of their timers.
//!
//! Must never hold what only one process knows, and decoding must never panic.

use std::sync::Arc;

use super::super::index::{Batch, Space};
use super::super::row::{ROW_VERSION, damaged, object_key, open, seal};
use super::super::tags::tags_key;
use crate::fail;
use crate::queue::{Change, Restore, RestoreChange, Stored, decode_restore, encode_restore};
use crate::store::{DueRestore, StoreError};

/// Bytes that a timer's key has before that of its restore.
pub(in crate::store::embedded) const DUE_BYTES: usize = 8;

/// The restore that a change is about.
pub(in crate::store::embedded) fn restore_of(change: &Change) -> Option<&Arc<RestoreChange>> {
    match change {
        Change::Restore(change) => Some(change),
        _ => None,
    }
}

/// The index key of the restore of the object with this index key that the change at `of` made.
pub(in crate::store::embedded) fn restore_key(bucket: &str, key: &str, of: u64) -> Vec<u8> {
    let mut object = Vec::new();
    object_key(&mut object, bucket, key);
    tags_key(&object, of)
}

/// The index key of the restore that a change is about.
pub(in crate::store::embedded) fn key_of_change(change: &RestoreChange) -> Vec<u8> {
    restore_key(&change.bucket, &change.key, change.of)
}

/// The key of the timer of what a change says, if it leaves something to be done.
pub(in crate::store::embedded) fn timer_of(change: &RestoreChange, key: &[u8]) -> Option<Vec<u8>> {
    change.now.as_ref().map(|now| timer_key(now.due_us(), key))
}

/// The index key of a timer: times sort as numbers do, those before the epoch too.
pub(in crate::store::embedded) fn timer_key(due_us: i64, restore: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(DUE_BYTES + restore.len());
    key.extend_from_slice(&due_bytes(due_us));
    key.extend_from_slice(restore);
    key
}

/// The beginning of the keys of all timers of one time.
pub(in crate::store::embedded) fn due_bytes(due_us: i64) -> [u8; DUE_BYTES] {
    (due_us.cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

/// What the key of a timer says; none if it makes no sense.
pub(in crate::store::embedded) fn due_of(timer: &[u8]) -> Option<DueRestore> {
    let (due, restore) = timer.split_first_chunk::<DUE_BYTES>()?;
    let (object, of) = restore.split_last_chunk::<8>()?;
    let object = std::str::from_utf8(object.strip_suffix(b"\0")?).ok()?;
    let (bucket, key) = object.split_once('\0')?;
    Some(DueRestore {
        due_us: (u64::from_be_bytes(*due) ^ (1 << 63)).cast_signed(),
        bucket: bucket.into(),
        key: key.into(),
        of: u64::from_be_bytes(*of),
    })
}

/// Adds the rows and timers of all restores that entries change, but rows of objects that did not outlive the
/// batch: `gone` has their index keys and offsets.
pub(in crate::store::embedded) fn add_all(
    batch: &mut Batch,
    fresh: &[Arc<Stored>],
    gone: &[(Box<[u8]>, u64)],
) {
    for change in fresh.iter().filter_map(|stored| restore_of(&stored.entry.change)) {
        let key = key_of_change(change);
        if let Some(was_due) = change.was_due_us {
            batch.remove(Space::RestoreTimers, &timer_key(was_due, &key));
        }
        match &change.now {
            Some(now) => {
                batch.put(Space::Restores, &key, |out| put_row(out, &key, now));
                if !fail::mutant("restore-timer-lost") {
                    batch.put(Space::RestoreTimers, &timer_key(now.due_us(), &key), |_| {});
                }
            }
            None => batch.remove(Space::Restores, &key),
        }
    }
    for (object, of) in gone {
        batch.remove(Space::Restores, &tags_key(object, *of));
    }
}

fn put_row(out: &mut Vec<u8>, key: &[u8], restore: &Restore) {
    let from = out.len();
    out.push(ROW_VERSION);
    encode_restore(restore, out);
    seal(out, from, key);
}

/// The restore of a row.
pub(in crate::store::embedded) fn restore_row(key: &[u8], row: &[u8]) -> Result<Restore, StoreError> {
    open(key, row).and_then(|row| decode_restore(row).ok()).ok_or_else(|| damaged(key))
}
