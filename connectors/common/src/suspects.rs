//! Who was in a batch that the far side refused as a whole: each travels alone next time, so that the culprit
//! is found and nobody else is rejected with it.
//!
//! Must never grow without bound: whoever is forgotten travels with others, and is found at a later refusal.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// The most that are remembered. Beyond it one is forgotten for each that comes.
const MAX: usize = 65_536;

/// Messages under suspicion, by what names them.
#[derive(Default)]
pub struct Suspects {
    names: Mutex<HashSet<Box<[u8]>>>,
    /// How many there are, so that the usual case needs no lock.
    count: AtomicUsize,
}

impl Suspects {
    /// Remembers one.
    pub fn note(&self, name: &[u8]) {
        self.with(|names| {
            if names.len() >= MAX
                && let Some(other) = names.iter().next().cloned()
            {
                names.remove(&other);
            }
            names.insert(name.into());
        });
    }

    /// True, once, if it was remembered.
    pub fn take(&self, name: &[u8]) -> bool {
        self.count.load(Ordering::Acquire) > 0 && self.with(|names| names.remove(name))
    }

    /// True if it is remembered.
    pub fn has(&self, name: &[u8]) -> bool {
        self.count.load(Ordering::Acquire) > 0 && self.with(|names| names.contains(name))
    }

    fn with<T>(&self, work: impl FnOnce(&mut HashSet<Box<[u8]>>) -> T) -> T {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let result = work(&mut names);
        self.count.store(names.len(), Ordering::Release);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suspicion_lasts_for_one_attempt() {
        let suspects = Suspects::default();
        assert!(!suspects.has(b"a") && !suspects.take(b"a"));
        suspects.note(b"a");
        suspects.note(b"a");
        assert!(suspects.has(b"a") && !suspects.has(b"b"));
        assert!(suspects.take(b"a") && !suspects.take(b"a"));
    }

    #[test]
    fn no_more_are_remembered_than_the_bound() {
        let suspects = Suspects::default();
        (0..=MAX as u64).for_each(|n| suspects.note(&n.to_be_bytes()));
        assert_eq!(suspects.count.load(Ordering::Acquire), MAX);
        assert!(suspects.has(&(MAX as u64).to_be_bytes()), "the newest is");
    }
}
