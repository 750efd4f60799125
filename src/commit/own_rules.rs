//! Buckets' own rules on the commit path: changed alone with their bucket's lock, so that each change of an
//! object is matched by the rules from before or by those of now, in the order of the log.
//!
//! Must never answer that rules are set before their record is durable, and never let the event that
//! announces them come after one that they match.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::detached::Detached;
use super::{Commit, CommitError, Inner};
use crate::event::{EventKind, RequestInfo};
use crate::fail;
use crate::queue::{Change, DeliveryTo, Entry, MAX_SETTING_BYTES, Permit, Setting};
use crate::rules::{Form, Names, Notification};
use crate::store::{Bucket, StoreError};

/// What a notice takes, in bytes: more than any does.
const NOTICE_BYTES: usize = 1_024;

/// How many rules of buckets name each target.
#[derive(Default)]
pub(super) struct Named(Mutex<Option<Counted>>);

#[derive(Default)]
struct Counted {
    by_bucket: HashMap<Arc<str>, Vec<(Arc<str>, NamedBy)>>,
    by_target: BTreeMap<Arc<str>, NamedBy>,
}

/// How many rules of buckets name a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NamedBy {
    /// All of them.
    pub rules: usize,
    /// Those that are triggers of a function.
    pub triggers: usize,
}

/// Who announces rules with a test event, and to whom.
#[derive(Debug)]
pub struct Announce {
    /// Who asked.
    pub request: RequestInfo,
    permit: Permit,
}

impl Counted {
    fn set(&mut self, bucket: &Arc<str>, rules: &Notification) {
        for (target, before) in self.by_bucket.remove(bucket).unwrap_or_default() {
            let now = self.by_target.entry(Arc::clone(&target)).or_default();
            now.rules -= before.rules;
            now.triggers -= before.triggers;
            if now.rules == 0 {
                self.by_target.remove(&target);
            }
        }
        let mut named: BTreeMap<Arc<str>, NamedBy> = BTreeMap::new();
        for rule in rules.rules() {
            let by = named.entry(rule.target.as_str().into()).or_default();
            by.rules += 1;
            by.triggers += usize::from(rule.form == Form::Function);
        }
        for (target, by) in &named {
            let now = self.by_target.entry(Arc::clone(target)).or_default();
            now.rules += by.rules;
            now.triggers += by.triggers;
        }
        if !named.is_empty() {
            self.by_bucket.insert(Arc::clone(bucket), named.into_iter().collect());
        }
    }
}

impl Named {
    /// Notes what a bucket's rules are now. Before anybody has asked nothing is counted.
    pub(super) fn note(&self, bucket: &Arc<str>, rules: &Notification) {
        if let Some(counted) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            counted.set(bucket, rules);
        }
    }
}

/// The own rules of a bucket.
pub(super) fn of_bucket(bucket: &Bucket) -> Result<Notification, CommitError> {
    let rules = Notification::of_setting(bucket.setting(Setting::Notification));
    Ok(rules.map_err(|e| StoreError::Index(format!("bucket {}: {e}", bucket.name)))?)
}

impl Commit {
    /// The targets that buckets' own rules can reach now.
    pub fn reachable(&self) -> Arc<Names> {
        Arc::clone(self.inner.rules.begin().rules.names())
    }

    /// The own rules of a bucket.
    pub fn rules_of(&self, bucket: &str) -> Result<Notification, CommitError> {
        of_bucket(&self.inner.require_bucket(bucket)?)
    }

    /// Changes triggers, as [`Commit::change_rules`] does: an operator's setting, possible while changes of
    /// objects are refused.
    pub async fn change_triggers<T: Send + 'static, E: Send + 'static>(
        &self,
        bucket: &str,
        change: impl FnOnce(&Notification) -> Result<(Notification, T), E> + Send + 'static,
    ) -> Result<Result<T, E>, CommitError> {
        let permit = self.inner.queue.reserve_setting().await?;
        self.change_rules(permit, bucket, change, None).await
    }

    /// A name for a rule: unique but for one in 2^64.
    pub fn new_rule_id(&self) -> String {
        self.inner.new_rule_id()
    }

    /// Every target that rules of buckets name, and how many do. Counted from the store once, then by every
    /// change.
    pub fn named_targets(&self) -> Result<BTreeMap<Arc<str>, NamedBy>, CommitError> {
        // Held while the store is read: a change of rules that it does not show yet is noted after this.
        let mut named = self.inner.named.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counted) = &*named {
            return Ok(counted.by_target.clone());
        }
        let mut counted = Counted::default();
        for bucket in self.inner.store.buckets()? {
            counted.set(&bucket.name, &of_bucket(&bucket)?);
        }
        Ok(named.insert(counted).by_target.clone())
    }

    /// Takes space for the event that announces rules.
    pub async fn announce(&self, request: RequestInfo) -> Result<Announce, CommitError> {
        Ok(Announce { permit: self.reserve(NOTICE_BYTES).await?, request })
    }

    /// Changes a bucket's own rules. `change` gets those of now, and what it gives besides is given back; its
    /// error changes nothing. `permit` must have room for them. With `announce` a test event goes to each
    /// target of their queue and topic configurations, whether or not anything changed.
    pub async fn change_rules<T, E>(
        &self,
        permit: Permit,
        bucket: &str,
        change: impl FnOnce(&Notification) -> Result<(Notification, T), E> + Send + 'static,
        announce: Option<Announce>,
    ) -> Result<Result<T, E>, CommitError>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        let bucket: Arc<str> = bucket.into();
        Detached::new(async move {
            let _bucket = inner.bucket_lock(&bucket).write().await;
            let now = inner.require_bucket(&bucket)?;
            let (rules, given) = match change(&of_bucket(&now)?) {
                Ok(changed) => changed,
                Err(error) => return Ok(Err(error)),
            };
            let value = rules.setting();
            if value.as_ref().is_some_and(|value| value.len() > MAX_SETTING_BYTES) {
                return Err(CommitError::SettingTooLarge);
            }
            let setting = Setting::Notification;
            let mut announce = announce;
            if let Some(announce) = announce.take_if(|_| fail::mutant("rules-announced-early")) {
                inner.send_notice(&bucket, &rules, announce).await?;
            }
            if now.setting(setting) != value.as_ref() {
                let change = Change::SetBucketSetting { bucket: Arc::clone(&bucket), setting, value };
                inner.append_setting(permit, change).await?;
                inner.named.note(&bucket, &rules);
            }
            if let Some(announce) = announce {
                inner.send_notice(&bucket, &rules, announce).await?;
            }
            Ok(Ok(given))
        })
        .await
    }
}

impl Inner {
    pub(super) fn new_rule_id(&self) -> String {
        let n = self.random.lock().unwrap_or_else(PoisonError::into_inner).u64(..);
        format!("{n:016x}")
    }

    /// Appends the test event, in the bucket's lock: whatever the rules match comes after it.
    async fn send_notice(
        &self,
        bucket: &Arc<str>,
        rules: &Notification,
        announce: Announce,
    ) -> Result<(), CommitError> {
        let under = self.rules.begin();
        let mut deliveries: Vec<DeliveryTo> = Vec::new();
        // A function would take it for an event of an object, and fail.
        for rule in rules.rules().iter().filter(|rule| rule.form != Form::Function) {
            let named = under.rules.names().get(&rule.target).filter(|named| named.tested);
            let Some(named) = named else { continue };
            if deliveries.iter().all(|other| other.target != named.target) {
                deliveries.push(DeliveryTo { target: named.target, rule: rule.id.as_str().into() });
            }
        }
        if deliveries.is_empty() {
            return Ok(());
        }
        let Announce { request, mut permit } = announce;
        let event = self.event(EventKind::Test, Arc::clone(bucket), "".into(), 0, "".into(), request);
        let shedding: Vec<_> = deliveries.iter().map(|delivery| delivery.target).collect();
        let mut entry = Entry { change: Change::Notice, event: Some(event), deliveries, shed: Vec::new() };
        self.queue.admit(&mut permit, &mut entry, &shedding)?;
        self.queue.append(permit, entry, Bytes::new()).await?;
        drop(under);
        Ok(())
    }
}
