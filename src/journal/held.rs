//! A lock's guard that knows its thread: taking the same lock twice breaks off at once, and not only when
//! somebody waits in between.
//!
//! Must never cost anything where debug assertions are off.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

thread_local! {
    /// Locks that this thread holds; nothing is noted without debug assertions.
    static HELD: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// A guard of one lock.
pub struct Held<G> {
    guard: G,
    lock: usize,
}

impl<G> Held<G> {
    /// Takes the lock at this address.
    pub(super) fn take<T>(lock: *const T, take: impl FnOnce() -> G) -> Self {
        let lock = lock.addr();
        if cfg!(debug_assertions) {
            HELD.with_borrow_mut(|held| {
                assert!(!held.contains(&lock), "a thread takes a lock that it holds: it may wait for itself");
                held.push(lock);
            });
        }
        Self { guard: take(), lock }
    }
}

impl<G> Drop for Held<G> {
    fn drop(&mut self) {
        if cfg!(debug_assertions) {
            // A thread that ends has no list any more.
            let _ = HELD.try_with(|held| held.borrow_mut().retain(|lock| *lock != self.lock));
        }
    }
}

impl<G: Deref> Deref for Held<G> {
    type Target = G::Target;

    fn deref(&self) -> &G::Target {
        &self.guard
    }
}

impl<G: DerefMut> DerefMut for Held<G> {
    fn deref_mut(&mut self) -> &mut G::Target {
        &mut self.guard
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::RwLock;

    use super::*;

    #[test]
    fn a_lock_taken_twice_by_one_thread_breaks_off() {
        let (one, other) = (RwLock::new(1), RwLock::new(2));
        let take = |lock: &RwLock<i32>| *Held::take(&raw const *lock, || lock.read().expect("not poisoned"));
        let held = Held::take(&raw const one, || one.read().expect("not poisoned"));
        assert!(catch_unwind(AssertUnwindSafe(|| take(&one))).is_err());
        assert_eq!((take(&other), *held), (2, 1), "another one may be taken");
        drop(held);
        assert_eq!(take(&one), 1, "and the same one again, once it was given back");
    }
}
