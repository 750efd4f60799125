//! How often an event failed, and by whose fault: a policy bounds the failures of the code and those of the
//! host apart.
//!
//! It lives in memory: what is forgotten is tried more often, never given up earlier. Must never count what
//! nothing bounds.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// Events that are counted at once; the one that was counted first is forgotten for one more.
const EVENTS: usize = 16_384;

/// Who is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The code.
    Code,
    /// The host, or that as many ran as may.
    Host,
}

/// The failures of one function's events.
#[derive(Debug, Default)]
pub struct Tally(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    failures: HashMap<Arc<str>, [u32; 2]>,
    /// By when they were counted first. Some may be settled since.
    order: VecDeque<Arc<str>>,
}

impl Tally {
    /// Counts a failure of an event; gives how many of its kind came before.
    pub fn count(&self, event: &Arc<str>, fault: Fault) -> u32 {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !counted.failures.contains_key(event) {
            if counted.order.len() >= EVENTS
                && let Some(first) = counted.order.pop_front()
            {
                counted.failures.remove(&first);
            }
            counted.order.push_back(Arc::clone(event));
        }
        let kinds = counted.failures.entry(Arc::clone(event)).or_default();
        let of_kind = match fault {
            Fault::Code => &mut kinds[0],
            Fault::Host => &mut kinds[1],
        };
        let before = *of_kind;
        *of_kind = before.saturating_add(1);
        before
    }

    /// An event is settled: were it sent again, it would begin anew.
    pub fn forget(&self, event: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).failures.remove(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_counted_apart_and_events_are_bounded() {
        let tally = Tally::default();
        let event = |n: usize| Arc::from(format!("event-{n}"));
        let (one, two) = (event(1), event(2));
        assert_eq!([0, 1].map(|_| tally.count(&one, Fault::Host)), [0, 1]);
        assert_eq!([0, 1].map(|_| tally.count(&one, Fault::Code)), [0, 1]);
        assert_eq!((tally.count(&two, Fault::Code), tally.count(&one, Fault::Host)), (0, 2));
        tally.forget(&one);
        assert_eq!((tally.count(&one, Fault::Host), tally.count(&two, Fault::Code)), (0, 1));
        for n in 0..3 * EVENTS {
            tally.count(&event(n), Fault::Code);
        }
        let counted = tally.0.lock().expect("no panic");
        assert!(counted.failures.len() <= EVENTS && counted.order.len() <= EVENTS);
    }
}
