//! Buckets' own rules, compiled: each bucket's setting becomes a trie once, and stays one until it changes.
//!
//! Must never match by a setting that the caller did not see, and must never keep more than its bound.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;

use super::names::Names;
use super::notification::{Notification, Unreadable};
use super::replication::Replication;
use super::trie::BucketRules;
use super::{MAX_CACHED_BUCKETS, MAX_CACHED_NODES};
use crate::config::Rule;
use crate::event::EventKind;
use crate::queue::{DeliveryTo, TargetNo};

/// What a node of a trie takes, in bytes, about.
const NODE_BYTES: usize = 100;

/// One bucket's own rules as they match now.
#[derive(Debug)]
pub(super) struct OwnRules {
    /// The setting that they are made of.
    value: Bytes,
    /// By number: who gets what a rule matches, and the rule's name.
    rules: Vec<DeliveryTo>,
    trie: BucketRules,
}

/// The compiled rules of buckets.
#[derive(Debug, Default)]
pub(super) struct OwnCache(RwLock<Kept>);

#[derive(Debug, Default)]
struct Kept {
    buckets: HashMap<Box<str>, Arc<OwnRules>>,
    weight: usize,
}

impl OwnRules {
    /// A bucket's rules of replication. The name of each delivery's rule is the bucket that it goes to.
    fn of_replication(value: &Bytes, names: &Names) -> Result<Self, Unreadable> {
        let replication = Replication::of_setting(value)?;
        let (mut deliveries, mut rules) = (Vec::new(), Vec::<(TargetNo, Rule)>::new());
        for rule in replication.rules.iter().filter(|rule| rule.enabled) {
            let Some(named) = names.get(&rule.target) else { continue };
            let to_match = rule.to_match();
            deliveries.push(DeliveryTo { target: named.target, rule: Arc::clone(&to_match.name) });
            rules.push((named.target, to_match));
        }
        let numbered = (0_u32..).zip(&rules).map(|(n, (target, rule))| (n, *target, rule));
        Ok(Self { value: value.clone(), rules: deliveries, trie: BucketRules::build(numbered) })
    }

    /// Only rules that are switched on and whose target is one of `names` match.
    fn compile(value: &Bytes, names: &Names) -> Result<Self, Unreadable> {
        let notification = Notification::of_setting(Some(value))?;
        let (mut deliveries, mut rules) = (Vec::new(), Vec::<(TargetNo, Rule)>::new());
        for rule in notification.rules().iter().filter(|rule| !rule.disabled) {
            let Some(named) = names.get(&rule.target) else { continue };
            let to_match = rule.to_match().map_err(|_| Unreadable)?;
            deliveries.push(DeliveryTo { target: named.target, rule: Arc::clone(&to_match.name) });
            rules.push((named.target, to_match));
        }
        let numbered = (0_u32..).zip(&rules).map(|(n, (target, rule))| (n, *target, rule));
        Ok(Self { value: value.clone(), rules: deliveries, trie: BucketRules::build(numbered) })
    }

    /// Adds a delivery for each target that gets an event of this kind at this key and has none yet: the
    /// target's first matching rule names it. Gives how many nodes were visited.
    pub(super) fn add(&self, key: &[u8], kind: EventKind, deliveries: &mut Vec<DeliveryTo>) -> usize {
        let mut matched = Vec::new();
        let visited = self.trie.collect(key, kind, &mut matched);
        matched.sort_unstable();
        for n in matched {
            let delivery = &self.rules[n as usize];
            if deliveries.iter().all(|other| other.target != delivery.target) {
                deliveries.push(delivery.clone());
            }
        }
        visited
    }

    /// What they take of the cache's bound: nodes, and the setting's bytes as if they were some.
    fn weight(&self) -> usize {
        self.trie.nodes() + self.value.len() / NODE_BYTES
    }

    /// True for the setting that they are made of. The same bytes in the same place are not compared.
    fn is_of(&self, value: &Bytes) -> bool {
        let same = std::ptr::eq(self.value.as_ptr(), value.as_ptr()) && self.value.len() == value.len();
        same || self.value == *value
    }
}

impl OwnCache {
    /// The rules of a bucket whose setting is `value`.
    pub(super) fn of(&self, bucket: &str, value: &Bytes, names: &Names) -> Result<Arc<OwnRules>, Unreadable> {
        self.compiled(bucket, value, names, OwnRules::compile)
    }

    /// The rules of replication of a bucket whose setting is `value`.
    pub(super) fn of_replication(
        &self,
        bucket: &str,
        value: &Bytes,
        names: &Names,
    ) -> Result<Arc<OwnRules>, Unreadable> {
        self.compiled(bucket, value, names, OwnRules::of_replication)
    }

    fn compiled(
        &self,
        bucket: &str,
        value: &Bytes,
        names: &Names,
        compile: impl FnOnce(&Bytes, &Names) -> Result<OwnRules, Unreadable>,
    ) -> Result<Arc<OwnRules>, Unreadable> {
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner).buckets.get(bucket).cloned();
        if let Some(kept) = kept.filter(|kept| kept.is_of(value)) {
            return Ok(kept);
        }
        // Built outside the lock: two callers may build the same trie, nobody waits for one.
        let made = Arc::new(compile(value, names)?);
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let before = kept.buckets.remove(bucket).map_or(0, |before| before.weight());
        kept.weight -= before;
        if kept.buckets.len() >= MAX_CACHED_BUCKETS || kept.weight + made.weight() > MAX_CACHED_NODES {
            *kept = Kept::default();
        }
        kept.weight += made.weight();
        kept.buckets.insert(bucket.into(), Arc::clone(&made));
        Ok(made)
    }
}
