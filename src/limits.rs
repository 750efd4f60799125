//! Counts of what is going on, by whom, below a bound for each and below another for all; and how long a
//! client may leave what was sent to it unread.
//!
//! Must never keep anything of those who have nothing going on: its memory is bounded by what it counts.

mod stall;

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use self::stall::Stall;

/// Which bound was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// That of this one.
    Each,
    /// That of all together.
    All,
}

/// What is going on, by key.
pub struct Counts<K> {
    each: usize,
    all: usize,
    state: Mutex<State<K>>,
}

struct State<K> {
    total: usize,
    of: HashMap<K, usize>,
}

impl<K: Eq + Hash + Clone> Counts<K> {
    /// Counts up to `each` for one key and up to `all` together.
    pub fn new(each: usize, all: usize) -> Self {
        Self { each, all, state: Mutex::new(State { total: 0, of: HashMap::new() }) }
    }

    fn state(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more, if both bounds allow it.
    pub fn add(&self, key: &K) -> Result<(), Over> {
        let mut state = self.state();
        if state.total >= self.all {
            return Err(Over::All);
        }
        match state.of.get_mut(key) {
            Some(count) if *count >= self.each => return Err(Over::Each),
            Some(count) => *count += 1,
            None if self.each == 0 => return Err(Over::Each),
            None => drop(state.of.insert(key.clone(), 1)),
        }
        state.total += 1;
        Ok(())
    }

    /// Counts one more that is there already, whatever the bounds say.
    pub fn note(&self, key: &K) {
        let mut state = self.state();
        state.total += 1;
        *state.of.entry(key.clone()).or_default() += 1;
    }

    /// Counts one less.
    pub fn remove(&self, key: &K) {
        let mut state = self.state();
        let Some(count) = state.of.get_mut(key) else { return };
        *count -= 1;
        if *count == 0 {
            state.of.remove(key);
        }
        state.total -= 1;
    }

    /// Counts one more until the slot is dropped.
    pub fn take(self: &Arc<Self>, key: &K) -> Result<Slot<K>, Over> {
        self.add(key)?;
        Ok(Slot { counts: Arc::clone(self), key: key.clone() })
    }

    /// How many there are of all.
    pub fn total(&self) -> usize {
        self.state().total
    }
}

/// One that is going on.
pub struct Slot<K: Eq + Hash + Clone> {
    counts: Arc<Counts<K>>,
    key: K,
}

impl<K: Eq + Hash + Clone> Drop for Slot<K> {
    fn drop(&mut self) {
        self.counts.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cannot_take_the_place_of_all() {
        let counts = Arc::new(Counts::new(2, 3));
        let (first, _second) = (counts.take(&"a").expect("free"), counts.take(&"a").expect("free"));
        assert_eq!(counts.take(&"a").err(), Some(Over::Each));
        let third = counts.take(&"b").expect("free");
        assert_eq!(counts.take(&"b").err(), Some(Over::All));
        drop(first);
        let again = counts.take(&"b").expect("free again");
        assert_eq!(counts.take(&"c").err(), Some(Over::All));
        drop((third, again, _second));
        assert_eq!(counts.total(), 0);
        assert!(counts.state().of.is_empty(), "nothing is kept of those who left");
    }

    #[test]
    fn what_is_there_already_counts_beyond_the_bounds() {
        let counts = Counts::new(1, 1);
        counts.note(&"a");
        counts.note(&"a");
        counts.remove(&"b");
        assert_eq!((counts.total(), counts.add(&"a")), (2, Err(Over::All)));
        counts.remove(&"a");
        counts.remove(&"a");
        assert_eq!(counts.add(&"a"), Ok(()));
    }
}
