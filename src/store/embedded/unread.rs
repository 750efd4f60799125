//! What reads may not claim while the index has not read all of the log, because part of it is damaged.
//!
//! Rows that were applied are served: the damaged records may have replaced any of them, but most likely did
//! not. What can be read behind the damage names the keys that it changed, and these are not served, nor is
//! the absence of anything: neither "no such key" nor a list, which says that there is nothing else. Must
//! never answer "not there" of something that a durable record may have made.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use super::buckets::bucket_of;
use super::restores::restore_of;
use super::tags::tags_of;
use crate::queue::{Change, Feed, ReadError, Stored, key_hash};
use crate::store::StoreError;

/// Entries asked of the queue at once: with the largest inline bodies they are 32 MiB.
pub(super) const ASK_ENTRIES: usize = 512;
/// How often in a row nothing must come before the replay at start believes that there is nothing: the feed
/// may also give nothing because it passed offsets that compaction left out.
pub(super) const REPLAY_EMPTY: u32 = 2;
/// Changed keys that are remembered; beyond it no row is believed.
const KEYS: usize = 1 << 20;

/// What is known of the part of the log that the index did not read.
#[derive(Default)]
pub(super) struct Unread {
    /// Without it nothing else counts.
    any: AtomicBool,
    changed: RwLock<Changed>,
}

/// Keys that the part of the log changes that the index did not read.
#[derive(Debug, Default)]
pub(super) struct Changed {
    hashes: HashSet<u64>,
    /// Any key may be among them.
    all: bool,
}

impl Changed {
    /// What the log changes behind the damage at which the index stopped, as far as it can be read up to
    /// `tail`. `feed` goes on at `next` afterwards.
    pub(super) fn behind(feed: &mut dyn Feed, next: u64, tail: u64) -> Self {
        let (mut changed, mut empty) = (Self::default(), 0);
        while empty < REPLAY_EMPTY {
            match feed.next(ASK_ENTRIES, Duration::ZERO) {
                Ok(entries) => {
                    empty = if entries.is_empty() { empty + 1 } else { 0 };
                    entries.iter().for_each(|stored| changed.note(stored));
                }
                Err(ReadError::Corrupt { to, .. }) if to + 1 < tail => feed.seek(to + 1),
                Err(ReadError::Corrupt { .. }) => break,
                Err(_) => {
                    // Nobody knows which keys.
                    changed.all = true;
                    break;
                }
            }
        }
        feed.seek(next);
        changed
    }

    /// Adds what an entry changes.
    fn note(&mut self, stored: &Stored) {
        // It changes nothing, and its key is empty: that would be its bucket's place.
        if stored.entry.change == Change::Notice {
            return;
        }
        let hash = match (&stored.entry.event, bucket_of(&stored.entry.change)) {
            _ if let Some(tags) = tags_of(&stored.entry.change) => key_hash(&tags.bucket, &tags.key),
            _ if let Some(of) = restore_of(&stored.entry.change) => key_hash(&of.bucket, &of.key),
            (_, Some(name)) => key_hash(name, ""),
            (Some(event), None) => key_hash(&event.bucket, &event.key),
            (None, None) => return,
        };
        self.all |= self.hashes.len() >= KEYS;
        if !self.all {
            self.hashes.insert(hash);
        }
    }
}

impl Unread {
    /// Part of the log was not read: these keys it changes, and maybe others.
    pub(super) fn begin(&self, changed: Changed) {
        *self.changed.write().unwrap_or_else(PoisonError::into_inner) = changed;
        self.any.store(true, Ordering::Release);
    }

    /// All of it is read.
    pub(super) fn end(&self) {
        self.any.store(false, Ordering::Release);
    }

    /// An error if something may be there that no row shows.
    pub(super) fn check_absence(&self) -> Result<(), StoreError> {
        if self.any.load(Ordering::Acquire) { Err(StoreError::Unread) } else { Ok(()) }
    }

    /// Passes on what the index has under a key (empty: of the bucket), unless it may be another by now.
    pub(super) fn check<T>(&self, bucket: &str, key: &str, row: Option<T>) -> Result<Option<T>, StoreError> {
        if !self.any.load(Ordering::Acquire) {
            return Ok(row);
        }
        let changed = self.changed.read().unwrap_or_else(PoisonError::into_inner);
        let known = row.is_some() && !changed.all && !changed.hashes.contains(&key_hash(bucket, key));
        if known { Ok(row) } else { Err(StoreError::Unread) }
    }
}
