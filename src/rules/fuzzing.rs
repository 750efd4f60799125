//! What a fuzzer calls: rules against the plainest reading of what they say.
//!
//! Must never be part of a product: the feature `fuzzing` brings it, and `fuzz/` alone asks for that.

use std::sync::Arc;

use bytes::Bytes;

use super::{Notification, RuleSet};
use crate::config::{Rule, pattern};
use crate::event::{EventKind, EventSet};
use crate::queue::{DeliveryTo, TargetNo};

/// More lines of rules are not looked at: the plain reading is slow.
const MAX_RULES: usize = 32;

/// A bucket and a key, then a line for each rule: target, pattern, events, prefix and suffix between tabs.
/// Who gets what is as the plain reading of each rule says, and a bucket's own rules that can be read are
/// written as they are.
pub fn rules(bytes: &[u8]) {
    stored(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut lines = text.split('\n');
    let (Some(bucket), Some(key)) = (lines.next(), lines.next()) else { return };
    let rules: Vec<(TargetNo, Vec<Rule>)> = lines.take(MAX_RULES).filter_map(rule).collect();
    let set = RuleSet::build(&rules);
    for kind in EventKind::ALL {
        assert_eq!(set.matching(bucket, key, *kind), plainly(&rules, bucket, key, *kind), "{kind:?}");
        assert_eq!(set.matching(bucket, key, *kind), set.matching(bucket, key, *kind), "asked once more");
    }
}

fn rule(line: &str) -> Option<(TargetNo, Vec<Rule>)> {
    let mut words = line.split('\t');
    let mut next = || words.next().map(str::to_owned);
    let (target, bucket, events, prefix, suffix) = (next()?, next()?, next()?, next()?, next()?);
    let events = events.split(',').filter_map(EventSet::parse).fold(EventSet::default(), EventSet::union);
    let rule = Rule { name: line.into(), bucket, events, prefix, suffix };
    Some((TargetNo(u32::from(target.bytes().next().unwrap_or_default() % 8) + 1), vec![rule]))
}

/// What rules mean, said as plainly as possible.
fn plainly(rules: &[(TargetNo, Vec<Rule>)], bucket: &str, key: &str, kind: EventKind) -> Vec<DeliveryTo> {
    let fits = |rule: &Rule| {
        plain_match(rule.bucket.as_bytes(), bucket.as_bytes())
            && rule.events.contains(kind)
            && key.as_bytes().starts_with(rule.prefix.as_bytes())
            && key.as_bytes().ends_with(rule.suffix.as_bytes())
    };
    let mut targets: Vec<TargetNo> = Vec::new();
    for (target, _) in rules {
        if !targets.contains(target) {
            targets.push(*target);
        }
    }
    let first = |target: &TargetNo| {
        let mut own = rules.iter().filter(|(other, _)| other == target).flat_map(|(_, rules)| rules);
        let rule = own.find(|rule| fits(rule))?;
        Some(DeliveryTo { target: *target, rule: Arc::clone(&rule.name) })
    };
    targets.iter().filter_map(first).collect()
}

/// A pattern by a table of every beginning of both: slow, and nothing to get wrong.
fn plain_match(pattern: &[u8], name: &[u8]) -> bool {
    let mut row = vec![false; name.len() + 1];
    row[0] = true;
    for part in pattern {
        let mut next = vec![false; name.len() + 1];
        for at in 0..=name.len() {
            next[at] = match part {
                b'*' => row[at] || at > 0 && next[at - 1],
                byte => at > 0 && row[at - 1] && name[at - 1] == *byte,
            };
        }
        row = next;
    }
    let found = row[name.len()];
    if let (Ok(pattern), Ok(name)) = (std::str::from_utf8(pattern), std::str::from_utf8(name)) {
        assert_eq!(pattern::matches(pattern, name), found, "{pattern:?} and {name:?}");
    }
    found
}

/// A bucket's own rules as its setting holds them, damaged or written by another version.
fn stored(bytes: &[u8]) {
    let value = Bytes::copy_from_slice(bytes);
    let Ok(read) = Notification::of_setting(Some(&value)) else { return };
    let again = Notification::of_setting(read.setting().as_ref());
    assert_eq!(again.as_ref(), Ok(&read), "what is written can be read");
    let set = RuleSet::build(&[]);
    for kind in EventKind::ALL {
        let _ = set.matched("bucket", Some(&value), "in/key.jpg", *kind);
    }
}
