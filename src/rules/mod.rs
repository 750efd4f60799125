//! Which targets get an event: the rules of every target and those of the event's bucket, matched in one walk
//! over the key each.
//!
//! One set of rules with several views: the configuration's rules name patterns of buckets; a bucket's own
//! come from its notification configuration and from triggers of functions, and lie in its settings. Must
//! never do more work for rules that do not match: a thousand rules cost no more than one. Pure but for
//! bounded caches of what each bucket's name and setting resolve to. Must never know where targets are.

mod arn;
mod bucket_rule;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod names;
mod notification;
mod own;
mod refused;
mod replication;
#[cfg(test)]
mod tests;
mod trie;
mod trigger;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;

pub use arn::{Form, function_of};
pub use bucket_rule::Broker;
pub use names::{KafkaTopic, Named, Names};
pub use notification::{Around, BucketRule, MAX_RULES, Notification, PutRule, Unreadable};
pub use refused::Refused;
pub use replication::{Replication, ReplicationRule};
pub use trigger::{MAX_TRIGGERS, NewTrigger, TriggerRefused};

use crate::config::{Rule, pattern};
use crate::event::EventKind;
use crate::queue::{DeliveryTo, TargetNo};
use own::OwnCache;
use trie::BucketRules;

/// Buckets' names whose rules are kept resolved; beyond it the cache starts anew.
const MAX_CACHED_BUCKETS: usize = 16_384;
/// Trie nodes kept by the cache, about 100 bytes each; beyond it the cache starts anew.
const MAX_CACHED_NODES: usize = 262_144;

/// The rules of every target, in configuration order.
pub struct RuleSet {
    configured: Arc<Configured>,
    names: Arc<Names>,
    own: OwnCache,
    replication: OwnCache,
}

/// The configuration's rules, compiled: shared by sets that differ in other things.
struct Configured {
    rules: Vec<Numbered>,
    /// Every different bucket pattern, with the rules that have it.
    patterns: Vec<(String, Vec<u32>)>,
    cache: RwLock<Cache>,
}

/// Who gets an event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Matched {
    /// One delivery for each target.
    pub deliveries: Vec<DeliveryTo>,
    /// Those of them that only a rule of the bucket named: such a rule never keeps a change from being made.
    pub shedding: Vec<TargetNo>,
}

/// One rule at its place in the configuration's order.
#[derive(Clone)]
struct Numbered {
    target: TargetNo,
    rule: Rule,
}

/// What buckets' names resolve to. Buckets matched by the same patterns share one trie.
#[derive(Default)]
struct Cache {
    buckets: HashMap<Box<str>, Arc<BucketRules>>,
    tries: HashMap<Box<[u32]>, Arc<BucketRules>>,
    nodes: usize,
}

impl RuleSet {
    /// Compiles the rules of every target. The order of the pairs and of each target's rules is the
    /// configuration's.
    pub fn build(rules: &[(TargetNo, Vec<Rule>)]) -> Self {
        // Grouped by target, so that the rules of one target are neighbours in the numbering.
        let (mut grouped, mut places) = (Vec::<Vec<Numbered>>::new(), HashMap::new());
        for (target, rules) in rules {
            let place = *places.entry(*target).or_insert_with(|| {
                grouped.push(Vec::new());
                grouped.len() - 1
            });
            grouped[place].extend(rules.iter().map(|rule| Numbered { target: *target, rule: rule.clone() }));
        }
        let configured = Arc::new(Configured::new(grouped.into_iter().flatten().collect()));
        Self { configured, names: Arc::default(), own: OwnCache::default(), replication: OwnCache::default() }
    }

    /// The same, with the targets that buckets' own rules can reach.
    pub fn reaching(self, names: Names) -> Self {
        Self { names: Arc::new(names), own: OwnCache::default(), replication: OwnCache::default(), ..self }
    }

    /// The same with one more target, or with another one in the place of that of its name. What is compiled
    /// of the configuration stays, unless this changes a rule of it.
    pub fn with(&self, name: &Arc<str>, named: Named, rules: &[Rule]) -> Self {
        let of_target = named.target;
        let mut names = (*self.names).clone();
        names.add(name, named);
        Self {
            configured: self.with_rules(of_target, rules),
            names: Arc::new(names),
            own: OwnCache::default(),
            replication: OwnCache::default(),
        }
    }

    /// The same without a target: neither the configuration's rules nor a bucket's own name it any more.
    pub fn without(&self, name: &str) -> Self {
        let mut names = (*self.names).clone();
        let configured = match names.get(name) {
            Some(named) => self.with_rules(named.target, &[]),
            None => Arc::clone(&self.configured),
        };
        names.remove(name);
        Self {
            configured,
            names: Arc::new(names),
            own: OwnCache::default(),
            replication: OwnCache::default(),
        }
    }

    fn with_rules(&self, of: TargetNo, rules: &[Rule]) -> Arc<Configured> {
        let now = &self.configured.rules;
        if now.iter().filter(|rule| rule.target == of).map(|numbered| &numbered.rule).eq(rules) {
            return Arc::clone(&self.configured);
        }
        let others = now.iter().filter(|rule| rule.target != of).cloned();
        let new = rules.iter().map(|rule| Numbered { target: of, rule: rule.clone() });
        Arc::new(Configured::new(others.chain(new).collect()))
    }

    /// The targets that buckets' own rules can reach.
    pub fn names(&self) -> &Arc<Names> {
        &self.names
    }

    /// Who gets an event of this kind at this key, by the configuration's rules and then by the bucket's own,
    /// which are in `setting`.
    pub fn matched(
        &self,
        bucket: &str,
        setting: Option<&Bytes>,
        key: &str,
        kind: EventKind,
    ) -> Result<Matched, Unreadable> {
        let mut deliveries = self.matching(bucket, key, kind);
        let Some(setting) = setting else { return Ok(Matched { deliveries, shedding: Vec::new() }) };
        let configured = deliveries.len();
        self.own.of(bucket, setting, &self.names)?.add(key.as_bytes(), kind, &mut deliveries);
        let shedding = deliveries[configured..].iter().map(|delivery| delivery.target).collect();
        Ok(Matched { deliveries, shedding })
    }

    /// Who gets an event of this kind at this key by the configuration's rules: one delivery for each target
    /// with a matching rule, in the targets' order; `rule` names the target's first matching rule. Prefix and
    /// suffix are compared byte by byte.
    pub fn matching(&self, bucket: &str, key: &str, kind: EventKind) -> Vec<DeliveryTo> {
        self.configured.matching(bucket, key, kind)
    }
}

impl Configured {
    /// `rules` are grouped by their targets.
    fn new(rules: Vec<Numbered>) -> Self {
        let mut places: HashMap<&str, usize> = HashMap::new();
        let mut patterns: Vec<(String, Vec<u32>)> = Vec::new();
        for (n, Numbered { rule, .. }) in (0_u32..).zip(&rules) {
            let place = *places.entry(&rule.bucket).or_insert_with(|| {
                patterns.push((rule.bucket.clone(), Vec::new()));
                patterns.len() - 1
            });
            patterns[place].1.push(n);
        }
        Self { rules, patterns, cache: RwLock::default() }
    }

    fn matching(&self, bucket: &str, key: &str, kind: EventKind) -> Vec<DeliveryTo> {
        if self.rules.is_empty() {
            return Vec::new();
        }
        let mut matched = Vec::new();
        self.resolve(bucket).collect(key.as_bytes(), kind, &mut matched);
        matched.sort_unstable();
        let mut deliveries: Vec<DeliveryTo> = Vec::new();
        for n in matched {
            let Numbered { target, rule } = &self.rules[n as usize];
            if deliveries.last().is_none_or(|last| last.target != *target) {
                deliveries.push(DeliveryTo { target: *target, rule: Arc::clone(&rule.name) });
            }
        }
        deliveries
    }

    /// The compiled rules of one bucket, from the cache or made now.
    fn resolve(&self, bucket: &str) -> Arc<BucketRules> {
        let cached = self.cache.read().unwrap_or_else(PoisonError::into_inner).buckets.get(bucket).cloned();
        cached.unwrap_or_else(|| self.compile(bucket))
    }

    fn compile(&self, bucket: &str) -> Arc<BucketRules> {
        let mut rules: Vec<u32> = Vec::new();
        for (pattern, of) in &self.patterns {
            if pattern::matches(pattern, bucket) {
                rules.extend(of);
            }
        }
        rules.sort_unstable();
        let known =
            self.cache.read().unwrap_or_else(PoisonError::into_inner).tries.get(rules.as_slice()).cloned();
        // Built outside the lock: two callers may build the same trie, nobody waits for one.
        let trie = known.unwrap_or_else(|| {
            let rule = |n: &u32| (*n, self.rules[*n as usize].target, &self.rules[*n as usize].rule);
            Arc::new(BucketRules::build(rules.iter().map(rule)))
        });
        let mut cache = self.cache.write().unwrap_or_else(PoisonError::into_inner);
        let more = if cache.tries.contains_key(rules.as_slice()) { 0 } else { trie.nodes() };
        if cache.buckets.len() >= MAX_CACHED_BUCKETS || cache.nodes + more > MAX_CACHED_NODES {
            *cache = Cache::default();
        }
        if cache.tries.insert(rules.into(), Arc::clone(&trie)).is_none() {
            cache.nodes += trie.nodes();
        }
        cache.buckets.insert(bucket.into(), Arc::clone(&trie));
        trie
    }
}

impl fmt::Debug for RuleSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuleSet").field("rules", &self.configured.rules.len()).finish_non_exhaustive()
    }
}
