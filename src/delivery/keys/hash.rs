//! The hash by which a key is known, and the map's hasher that passes it through.
//!
//! Must never be stored: it may differ between two versions of tidings.

use std::hash::{DefaultHasher, Hasher};

use crate::queue::Stored;

/// Passes a hash through: keys are hashed once, with SipHash.
#[derive(Default)]
pub(super) struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("only hashes are looked up here");
    }
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// The hash by which a key is known: of bucket and key, or of the offset where there is no event (which is a
/// bug).
pub(super) fn key_hash(stored: &Stored) -> u64 {
    let mut hasher = DefaultHasher::new();
    match &stored.entry.event {
        Some(event) => {
            hasher.write(event.bucket.as_bytes());
            hasher.write_u8(0xff);
            hasher.write(event.key.as_bytes());
        }
        None => hasher.write_u64(stored.position.offset),
    }
    hasher.finish()
}
