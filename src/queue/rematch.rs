//! Giving a target what it was never given: entries that today's rules match, on the way of a replay.
//!
//! The log has no label for them, so everything on the way is read and decoded, a bounded number at a time,
//! and compaction leaves out nothing of it until it was given. They stand beside the balance of the books:
//! nothing of them was ever matched. Must never give one where no replay asked for it, nor one of which the
//! order within its key would suffer: they come in log order, with everything that was given before.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use super::embedded::{EmbeddedQueue, Inner};
use super::entry::{DeliveryTo, Entry, Stored, TargetNo};
use super::progress::Progress;
use super::replay::Given;
use super::rows::Need;
use crate::event::Event;

/// The rule of this moment under which a target gets an event, if there is one.
pub type RematchFn = Arc<dyn Fn(TargetNo, &Event) -> Option<Arc<str>> + Send + Sync>;

/// The rule of an entry that was given under one which is not there any more.
const RULE_GONE: &str = "rematch";

impl EmbeddedQueue {
    /// From now on a replay may ask for what these rules match. Heard once; without it they match nothing.
    pub fn rematch_by(&self, rules: RematchFn) {
        let _ = self.inner.rematch.set(rules);
    }
}

/// What a reader finds on its way: what is for it, and which of that is so only by the rules of now.
#[derive(Default)]
pub(super) struct Picked {
    pub(super) mine: Vec<Arc<Stored>>,
    pub(super) rematched: HashSet<u64>,
}

impl Inner {
    /// Of entries that were read, those that are for a target; below `until` also those that the rules of now
    /// match.
    pub(super) fn pick(&self, target: TargetNo, read: Vec<Arc<Stored>>, until: Option<u64>) -> Picked {
        let mut picked = Picked::default();
        for stored in read {
            if stored.rule_for(target).is_some() {
                picked.mine.push(stored);
            } else if until.is_some_and(|until| stored.position.offset < until)
                && let Some(rule) = self.rule_now(target, &stored)
            {
                picked.rematched.insert(stored.position.offset);
                picked.mine.push(Arc::new(under(&stored, target, rule)));
            }
        }
        picked
    }

    fn rule_now(&self, target: TargetNo, stored: &Stored) -> Option<Arc<str>> {
        self.rematch.get()?(target, stored.entry.event.as_ref()?)
    }

    /// An entry that is read again, as its target gets it; none if it never was for the target.
    pub(super) fn mine_again(&self, target: TargetNo, stored: Arc<Stored>) -> Option<Arc<Stored>> {
        if stored.rule_for(target).is_some() {
            return Some(stored);
        }
        let progress = self.routes.get(target)?;
        if !progress.was_rematched(stored.position.offset) {
            return None;
        }
        let rule = self.rule_now(target, &stored).unwrap_or_else(|| RULE_GONE.into());
        Some(Arc::new(under(&stored, target, rule)))
    }

    /// What must stay whole of the log, beyond what labels say, by synced rows and by who is just going back.
    pub(super) fn whole<'a>(&self, needs: impl Iterator<Item = &'a Need>) -> Vec<Range<u64>> {
        let going = self.rewinding().clone();
        let going = going.into_values().filter(|back| back.rematch).map(|back| back.from..u64::MAX);
        let mut whole: Vec<_> = going.collect();
        whole.extend(needs.filter_map(|need| need.whole.clone()));
        whole
    }
}

/// The entry as if it had been for this target alone.
fn under(stored: &Stored, target: TargetNo, rule: Arc<str>) -> Stored {
    let deliveries = vec![DeliveryTo { target, rule }];
    let entry = Entry { deliveries, shed: Vec::new(), ..stored.entry.clone() };
    Stored { position: stored.position, entry, body: bytes::Bytes::new(), bare: stored.bare, charge: 0 }
}

impl Progress {
    /// True if this is given and not delivered although it was not for the target when it happened.
    fn was_rematched(&self, offset: u64) -> bool {
        let state = self.state();
        state.replay.as_ref().and_then(|replay| replay.out.get(&offset)) == Some(&Given::Rematched)
    }
}

#[cfg(test)]
#[path = "rematch_tests.rs"]
mod tests;
