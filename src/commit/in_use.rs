//! The rules of this moment, and whether changes that began under earlier ones are still on their way.
//!
//! Must never let go of earlier rules while a change that was matched by them may still be appended.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use super::Commit;
use crate::event::Event;
use crate::queue::{Setting, TargetNo};
use crate::rules::RuleSet;

/// One set of rules. A change holds it from the match to the end of its append.
pub(super) struct Ruled {
    pub(super) rules: RuleSet,
    ended: CancellationToken,
}

impl Ruled {
    fn new(rules: RuleSet) -> Arc<Self> {
        Arc::new(Self { rules, ended: CancellationToken::new() })
    }
}

impl Drop for Ruled {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

impl Commit {
    /// The rule of this moment under which a target gets an event, whenever it happened.
    pub fn rule_now(&self, target: TargetNo, event: &Event) -> Option<Arc<str>> {
        let ruled = self.inner.rules.begin();
        // One that is gone, or cannot be read now, has no rules of its own.
        let bucket = self.inner.store.bucket(&event.bucket).ok().flatten();
        let own = bucket.as_ref().and_then(|bucket| bucket.setting(Setting::Notification));
        let matched = ruled.rules.matched(&event.bucket, own, &event.key, event.kind);
        matched
            .unwrap_or_default()
            .deliveries
            .into_iter()
            .find(|delivery| delivery.target == target)
            .map(|delivery| delivery.rule)
    }
}

/// The rules of this moment and the earlier ones that are still in use.
pub(super) struct InUse {
    now: ArcSwap<Ruled>,
    earlier: Mutex<Vec<CancellationToken>>,
}

impl InUse {
    pub(super) fn new(rules: RuleSet) -> Self {
        Self { now: ArcSwap::new(Ruled::new(rules)), earlier: Mutex::default() }
    }

    /// The rules of this moment.
    pub(super) fn begin(&self) -> Arc<Ruled> {
        self.now.load_full()
    }

    /// Changes that begin from now on see the rules, whole, that `change` makes of those of this moment.
    pub(super) fn change(&self, change: impl FnOnce(&RuleSet) -> RuleSet) {
        let mut earlier = self.earlier.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.now.load_full();
        earlier.retain(|ended| !ended.is_cancelled());
        earlier.push(now.ended.clone());
        self.now.store(Ruled::new(change(&now.rules)));
    }

    /// Waits until every change that began under earlier rules is appended, or never will be.
    pub(super) async fn earlier_ended(&self) {
        let earlier = self.earlier.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for ended in earlier {
            ended.cancelled().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn earlier_rules_are_in_use_until_their_last_change_ended() {
        let rules = || RuleSet::build(&[]);
        let in_use = InUse::new(rules());
        assert!(in_use.earlier_ended().now_or_never().is_some(), "there are no earlier ones");
        let (one, two) = (in_use.begin(), in_use.begin());
        in_use.change(|_| rules());
        let three = in_use.begin();
        in_use.change(|_| rules());
        let _now = in_use.begin();
        drop((one, three));
        assert!(in_use.earlier_ended().now_or_never().is_none(), "one is still on its way");
        drop(two);
        assert!(in_use.earlier_ended().now_or_never().is_some(), "changes under today's rules do not count");
    }
}
