//! Triggers: rules whose target is a function, with the constraints that COS has.
//!
//! What is decided here, where COS's documents differ: a wildcard and a single event conflict where their
//! filters share keys; rules of every kind in the bucket count, and switched-off ones too, since they may be
//! switched on again. Must never let a trigger in that shares an event with another rule unless its maker
//! allows it.

use super::arn::{Form, arn_of_function};
use super::bucket_rule::Broker;
use super::bucket_rule::{BucketRule, Meaning, encoded};
use super::notification::{Around, MAX_RULES, Notification};
use super::refused::Refused;
use crate::event::EventSet;

/// The most triggers of one function.
pub const MAX_TRIGGERS: usize = 10;

/// A trigger that somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTrigger {
    /// The function's name.
    pub function: String,
    /// The event's name, of either family.
    pub event: String,
    /// Only keys that begin so; empty: all.
    pub prefix: String,
    /// Only keys that end so; empty: all.
    pub suffix: String,
    /// Events that another rule matches too are meant.
    pub allow_overlap: bool,
}

/// Why a trigger is not made: nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TriggerRefused {
    /// A word of it means nothing.
    #[error(transparent)]
    Words(#[from] Refused),
    /// The suffix does not begin with a dot.
    #[error("a suffix must begin with `.`")]
    Suffix,
    /// The function has as many as it may have.
    #[error("the function has {MAX_TRIGGERS} triggers already: remove one first")]
    TooMany,
    /// Another rule is for the same event, or for one that a wildcard means.
    #[error(
        "NotifyRuleEventConflict: the rule `{0}` of the bucket is for the same event; \
             `--allow-overlap` (`allow_overlap=true`) allows both"
    )]
    EventConflict(String),
    /// Another rule of the same event has a prefix that shares keys with this one.
    #[error(
        "NotifyRulePrefixConflict: the rule `{0}` of the bucket is for the same event and keys; \
             `--allow-overlap` (`allow_overlap=true`) allows both"
    )]
    PrefixConflict(String),
    /// Another rule of the same event has a suffix that shares keys with this one.
    #[error(
        "NotifyRuleSuffixConflict: the rule `{0}` of the bucket is for the same event and keys; \
             `--allow-overlap` (`allow_overlap=true`) allows both"
    )]
    SuffixConflict(String),
}

impl TriggerRefused {
    /// COS's name of a conflict; none: it is not one.
    pub fn cos_code(&self) -> Option<&'static str> {
        match self {
            Self::EventConflict(_) => Some("NotifyRuleEventConflict"),
            Self::PrefixConflict(_) => Some("NotifyRulePrefixConflict"),
            Self::SuffixConflict(_) => Some("NotifyRuleSuffixConflict"),
            Self::Words(_) | Self::Suffix | Self::TooMany => None,
        }
    }
}

impl Notification {
    /// The same with one more trigger, and its id. One that is there already stays as it is. `of_function`:
    /// how many triggers the function has, in all buckets.
    pub fn with_trigger(
        &self,
        new: &NewTrigger,
        around: Around<'_>,
        account: &str,
        of_function: usize,
        id: String,
    ) -> Result<(Self, String), TriggerRefused> {
        let rule = new.rule(around, account, id)?;
        let meaning = rule.meaning()?;
        let mut meanings = Vec::with_capacity(self.rules().len());
        for other in self.rules() {
            let its = other.meaning()?;
            if other.form == Form::Function && other.target == rule.target && its == meaning {
                return Ok((self.clone(), other.id.clone()));
            }
            meanings.push((other, its));
        }
        if self.rules().len() >= MAX_RULES {
            return Err(Refused::TooMany(MAX_RULES).into());
        }
        if of_function >= MAX_TRIGGERS {
            return Err(TriggerRefused::TooMany);
        }
        if !new.allow_overlap
            && let Some((other, its)) = meanings.iter().find(|(_, its)| meaning.meets(its))
        {
            return Err(conflict(&meaning, its, other.id.clone()));
        }
        let id = rule.id.clone();
        Ok((self.and(rule), id))
    }

    /// The same with a rule switched on or off; none: there is no such rule.
    pub fn switched(&self, id: &str, on: bool) -> Option<Self> {
        self.with(id, |rule| rule.disabled = !on)
    }

    /// The same without a rule; none: there is no such rule.
    pub fn without_rule(&self, id: &str) -> Option<Self> {
        self.without(id)
    }
}

impl NewTrigger {
    fn rule(&self, around: Around<'_>, account: &str, id: String) -> Result<BucketRule, TriggerRefused> {
        if EventSet::parse(&self.event).is_none() {
            return Err(Refused::UnknownEvent(self.event.clone()).into());
        }
        if !self.suffix.is_empty() && !self.suffix.starts_with('.') {
            return Err(TriggerRefused::Suffix);
        }
        let target = around.names.function(&self.function)?.to_string();
        let filter = [("Prefix", &self.prefix), ("Suffix", &self.suffix)];
        let filter = filter.into_iter().filter(|(_, value)| !value.is_empty());
        Ok(BucketRule {
            id,
            form: Form::Function,
            to: arn_of_function(&self.function, around.region, account),
            target,
            events: vec![self.event.clone()],
            filter: filter.map(|(name, value)| (name.to_owned(), encoded(value))).collect(),
            disabled: false,
            overlaps: self.allow_overlap,
            broker: Broker::default(),
        })
    }
}

/// What COS calls it that two rules share events.
fn conflict(one: &Meaning, other: &Meaning, id: String) -> TriggerRefused {
    let prefixes = !one.prefix.is_empty() || !other.prefix.is_empty();
    let suffixes = !one.suffix.is_empty() || !other.suffix.is_empty();
    match one.events == other.events {
        true if prefixes => TriggerRefused::PrefixConflict(id),
        true if suffixes => TriggerRefused::SuffixConflict(id),
        _ => TriggerRefused::EventConflict(id),
    }
}

#[cfg(test)]
#[path = "trigger_tests.rs"]
mod tests;
