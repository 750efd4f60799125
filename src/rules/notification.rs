//! A bucket's own rules: what a notification configuration says of them and what triggers do, how they are
//! stored, and what is refused when they are put.
//!
//! A configuration and the triggers of functions are two views of one list. Must never forget how a rule was
//! written when it was put, nor let two rules match one event unless a trigger was allowed to.

use std::collections::HashSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::arn::{self, Form};
use super::bucket_rule::Broker;
pub use super::bucket_rule::BucketRule;
use super::names::Names;
use super::refused::Refused;

/// The most rules that a bucket may have of its own.
pub const MAX_RULES: usize = 1_000;
/// The longest name of a rule, in characters.
const MAX_ID: usize = 255;
/// The version of the stored form.
const VERSION: u8 = 1;

/// A bucket's own rules, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    #[serde(rename = "v")]
    version: u8,
    rules: Vec<BucketRule>,
}

/// A rule that somebody puts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutRule {
    /// Its name; none: one is made.
    pub id: Option<String>,
    /// Where it stands.
    pub form: Form,
    /// The destination.
    pub to: String,
    /// Its events.
    pub events: Vec<String>,
    /// Its filter.
    pub filter: Vec<(String, String)>,
    /// What is said of its broker; none: its document has no words for it.
    pub broker: Option<Broker>,
}

/// What a destination is looked for in.
#[derive(Debug, Clone, Copy)]
pub struct Around<'a> {
    /// The server's region.
    pub region: &'a str,
    /// The targets that run.
    pub names: &'a Names,
}

/// A bucket's own rules are written in a form that this version does not know, or damaged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the bucket's own rules cannot be read: a newer tidings wrote them, or they are damaged")]
pub struct Unreadable;

impl Default for Notification {
    fn default() -> Self {
        Self { version: VERSION, rules: Vec::new() }
    }
}

impl Notification {
    /// The rules in a bucket's setting.
    pub fn of_setting(value: Option<&Bytes>) -> Result<Self, Unreadable> {
        let Some(value) = value else { return Ok(Self::default()) };
        let read: Self = serde_json::from_slice(value).map_err(|_| Unreadable)?;
        if read.version == VERSION { Ok(read) } else { Err(Unreadable) }
    }

    /// As a bucket's setting has it; none: there are no rules.
    pub fn setting(&self) -> Option<Bytes> {
        let some = !self.rules.is_empty();
        some.then(|| serde_json::to_vec(self).expect("text is always JSON").into())
    }

    /// The rules, in their order.
    pub fn rules(&self) -> &[BucketRule] {
        &self.rules
    }

    /// The rule of this name.
    pub fn rule(&self, id: &str) -> Option<&BucketRule> {
        self.rules.iter().find(|rule| rule.id == id)
    }

    /// These rules in place of all that were there. A rule that is put as it was keeps what its trigger said
    /// of it, and its target may have gone meanwhile. `new_id` makes names.
    pub fn replaced_by(
        &self,
        put: Vec<PutRule>,
        around: Around<'_>,
        mut new_id: impl FnMut() -> String,
    ) -> Result<Self, Refused> {
        if put.len() > MAX_RULES {
            return Err(Refused::TooMany(MAX_RULES));
        }
        let mut rules = Vec::with_capacity(put.len());
        for new in put {
            let same = self.rules.iter().find(|rule| rule.is(&new));
            rules.push(match same {
                Some(same) => same.clone(),
                None => new.checked(around, &mut new_id)?,
            });
        }
        let next = Self { version: VERSION, rules };
        next.check()?;
        Ok(next)
    }

    /// Names are unique, and no two rules match one event.
    fn check(&self) -> Result<(), Refused> {
        let mut ids = HashSet::new();
        if let Some(again) = self.rules.iter().find(|rule| !ids.insert(rule.id.as_str())) {
            return Err(Refused::SameId(again.id.clone()));
        }
        let meanings = self.rules.iter().map(BucketRule::meaning).collect::<Result<Vec<_>, _>>()?;
        for (n, (one, meaning)) in self.rules.iter().zip(&meanings).enumerate() {
            let later = self.rules.iter().zip(&meanings).skip(n + 1);
            let mut both =
                later.filter(|(other, its)| !one.overlaps && !other.overlaps && meaning.meets(its));
            if let Some((other, _)) = both.next() {
                return Err(Refused::Overlap(one.id.clone(), other.id.clone()));
            }
        }
        Ok(())
    }

    /// The same with one more rule.
    pub(super) fn and(&self, rule: BucketRule) -> Self {
        let rules = self.rules.iter().cloned().chain([rule]).collect();
        Self { version: VERSION, rules }
    }

    /// The same with one rule changed; none: there is no such rule.
    pub(super) fn with(&self, id: &str, change: impl FnOnce(&mut BucketRule)) -> Option<Self> {
        let mut next = self.clone();
        change(next.rules.iter_mut().find(|rule| rule.id == id)?);
        Some(next)
    }

    /// The same without one rule; none: there is no such rule.
    pub(super) fn without(&self, id: &str) -> Option<Self> {
        let rules: Vec<_> = self.rules.iter().filter(|rule| rule.id != id).cloned().collect();
        (rules.len() < self.rules.len()).then_some(Self { version: VERSION, rules })
    }
}

impl PutRule {
    fn checked(self, around: Around<'_>, new_id: &mut impl FnMut() -> String) -> Result<BucketRule, Refused> {
        let broker = self.broker.unwrap_or_default();
        broker.check()?;
        let (form, at) = (self.form, &*broker.endpoint);
        let target = arn::resolve(&self.to, form, at, around.region, around.names)?.to_string();
        let id = self.id.filter(|id| !id.is_empty()).unwrap_or_else(new_id);
        if id.chars().count() > MAX_ID || id.chars().any(char::is_control) {
            return Err(Refused::BadId);
        }
        let Self { to, events, filter, .. } = self;
        let (disabled, overlaps) = (false, false);
        let rule = BucketRule { id, form, to, target, events, filter, disabled, overlaps, broker };
        rule.meaning().map(|_| rule)
    }
}

#[cfg(test)]
#[path = "notification_tests.rs"]
mod tests;
