//! `[store]`: what it says, and how it is judged.
//!
//! Must never open anything.

use std::time::Duration;

use super::check::{Checker, GIB, HOUR, KIB, MIB, MS};
use super::raw;
use super::tree::KeyPath;

/// `[store]`: the index and the bodies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// Bodies up to this size travel in their record; larger ones get a file of their own. At most 64 KiB.
    pub inline_bytes: u64,
    /// The largest object that one PUT may carry.
    pub max_object_bytes: u64,
    /// The index's page cache.
    pub index_cache_bytes: u64,
    /// How often the index is made durable, so that the log may be trimmed.
    pub checkpoint_interval: Duration,
    /// The smallest part of an upload that is not its last one.
    pub min_part_bytes: u64,
    /// Bytes that bodies may take on the disk, if limited; beyond it what brings more is answered 503.
    pub max_bytes: Option<u64>,
    /// Bytes a second that may be read and written to win space back from packs of bodies; 0: never.
    pub reclaim_rate: u64,
    /// Bytes a second at which bodies are read in the background, to find damage; 0: never.
    pub scrub_rate: u64,
    /// How long after its beginning an upload that was neither completed nor aborted is ended.
    pub upload_expiry: Duration,
}

impl Checker<'_> {
    /// `[store]`.
    pub(super) fn store(&mut self, raw: &raw::Store) -> Store {
        let at = KeyPath::of(&["store"]);
        self.size(&at.key("inline_bytes"), raw.inline_bytes, 0..=64 * KIB);
        self.size(&at.key("max_object_bytes"), raw.max_object_bytes, 1..=5 * 1024 * GIB);
        self.size(&at.key("index_cache_bytes"), raw.index_cache_bytes, MIB..=1024 * GIB);
        self.span(&at.key("checkpoint_interval"), raw.checkpoint_interval, 100 * MS..=HOUR);
        self.size(&at.key("min_part_bytes"), raw.min_part_bytes, 0..=5 * GIB);
        self.span(&at.key("upload_expiry"), raw.upload_expiry, HOUR..=365 * 24 * HOUR);
        self.size(&at.key("reclaim_rate"), raw.reclaim_rate, 0..=1024 * GIB);
        self.size(&at.key("scrub_rate"), raw.scrub_rate, 0..=1024 * GIB);
        if let Some(max) = raw.max_bytes {
            self.size(&at.key("max_bytes"), max, MIB..=1024 * 1024 * GIB);
        }
        Store {
            max_bytes: raw.max_bytes.map(|size| size.0),
            inline_bytes: raw.inline_bytes.0,
            max_object_bytes: raw.max_object_bytes.0,
            index_cache_bytes: raw.index_cache_bytes.0,
            checkpoint_interval: raw.checkpoint_interval.0,
            min_part_bytes: raw.min_part_bytes.0,
            upload_expiry: raw.upload_expiry.0,
            reclaim_rate: raw.reclaim_rate.0,
            scrub_rate: raw.scrub_rate.0,
        }
    }
}
