//! Blobs that a reader will open later: they stay although nobody owns them any more.
//!
//! Must never keep one longer than its readers.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::row::BlobName;

/// Each pinned blob, and how many readers will open it.
#[derive(Default)]
pub(super) struct Pins(Mutex<HashMap<BlobName, usize>>);

impl Pins {
    fn lock(&self) -> MutexGuard<'_, HashMap<BlobName, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn has(&self, name: &BlobName) -> bool {
        self.lock().contains_key(name)
    }
}

/// Keeps its blobs until it is dropped.
pub(super) struct Pin {
    pins: Arc<Pins>,
    names: Vec<BlobName>,
}

impl Pin {
    pub(super) fn new(pins: Arc<Pins>, names: Vec<BlobName>) -> Self {
        let mut counts = pins.lock();
        for name in &names {
            *counts.entry(*name).or_default() += 1;
        }
        drop(counts);
        Self { pins, names }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut counts = self.pins.lock();
        for name in &self.names {
            if let Entry::Occupied(mut count) = counts.entry(*name) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
        }
    }
}
