//! Rules for operators: the configuration's and the buckets' own, and triggers of functions.
//!
//! Must never change a bucket's rules but through the commit path.

use super::Parts;
use crate::admin::{ChangeError, MAX_RULES_SHOWN, RulePage, RuleQuery, RuleView, TriggerState, TriggerWish};
use crate::commit::CommitError;
use crate::config::{self, pattern};
use crate::event::EventKind;
use crate::rules::{Around, BucketRule, Form, Names, NewTrigger, TriggerRefused, function_of};
use crate::store::Store as _;

impl Parts {
    /// The rules that a query asks for.
    pub(super) fn rule_page(&self, query: &RuleQuery) -> Result<RulePage, ChangeError> {
        let mut page = RulePage::default();
        let names = self.commit.reachable();
        let wanted = |target: &str| match query.target.as_deref() {
            None => true,
            Some(wanted) => wanted == target || (query.triggers && wanted == function_of(target)),
        };
        if !query.triggers {
            let configured = self.targets.all().into_iter().filter_map(|entry| entry.configured);
            for target in configured.filter(|target| wanted(&target.name)) {
                let fits = |rule: &&config::Rule| {
                    query.bucket.as_deref().is_none_or(|bucket| pattern::matches(&rule.bucket, bucket))
                };
                page.rules.extend(target.rules.iter().filter(fits).map(|rule| of_target(&target.name, rule)));
            }
        }
        let buckets = match &query.bucket {
            Some(name) => self.store.bucket(name).map(|found| found.into_iter().collect()),
            None => self.store.buckets(),
        };
        for bucket in buckets.map_err(|e| of_commit(e.into()))? {
            let rules = self.commit.rules_of(&bucket.name);
            let rules = match rules {
                // Removed since it was listed.
                Err(CommitError::NoSuchBucket) => continue,
                rules => rules.map_err(of_commit)?,
            };
            let of_query = rules
                .rules()
                .iter()
                .filter(|rule| wanted(&rule.target) && (!query.triggers || rule.form == Form::Function));
            page.rules.extend(of_query.map(|rule| view(&bucket.name, rule, &names)));
            if page.rules.len() > MAX_RULES_SHOWN {
                page.more = true;
                page.rules.truncate(MAX_RULES_SHOWN);
                break;
            }
        }
        Ok(page)
    }

    /// Does what is wished of a trigger, durably, and shows it as it is then, or was.
    pub(super) async fn wish_trigger(&self, wish: TriggerWish) -> Result<RuleView, ChangeError> {
        // One after the other: a function's triggers are counted in all buckets.
        let _alone = self.targets.triggering.lock().await;
        match wish {
            TriggerWish::Add { function, bucket, event, prefix, suffix, allow_overlap, enabled } => {
                let new = NewTrigger { function, event, prefix, suffix, allow_overlap };
                self.add_trigger(&bucket, new, enabled).await
            }
            TriggerWish::Change { id, bucket, to } => self.change_trigger(&id, bucket, to).await,
        }
    }

    async fn add_trigger(
        &self,
        bucket: &str,
        new: NewTrigger,
        enabled: bool,
    ) -> Result<RuleView, ChangeError> {
        let commit = &self.commit;
        let named = commit.named_targets().map_err(of_commit)?;
        let (names, id) = (commit.reachable(), commit.new_rule_id());
        let target = names.function(&new.function).ok();
        let of_function = target.and_then(|target| named.get(target)).map_or(0, |named| named.triggers);
        let (region, account) = (self.targets.around.server.region.clone(), self.account());
        let changed = commit.change_triggers(bucket, move |now| {
            let around = Around { region: &region, names: &names };
            let (next, id) = now.with_trigger(&new, around, &account, of_function, id)?;
            // In the same change: it never matched.
            let off = if enabled { None } else { next.switched(&id, false) };
            Ok((off.unwrap_or(next), id))
        });
        let id = changed.await.map_err(of_commit)?.map_err(of_trigger)?;
        self.show_trigger(bucket, &id)
    }

    async fn change_trigger(
        &self,
        id: &str,
        bucket: Option<String>,
        to: TriggerState,
    ) -> Result<RuleView, ChangeError> {
        let page = self.rule_page(&RuleQuery { bucket, target: None, triggers: true })?;
        let mut found = page.rules.into_iter().filter(|rule| rule.id == id);
        let mut rule = found.next().ok_or(ChangeError::NoSuchTrigger)?;
        if let Some(other) = found.next() {
            return Err(ChangeError::Conflict(format!(
                "the buckets {} and {} both have a trigger of this id: say which with `--bucket` (`bucket`)",
                rule.bucket, other.bucket
            )));
        }
        let of = id.to_owned();
        let changed = self.commit.change_triggers(&rule.bucket, move |now| {
            let next = match to {
                TriggerState::Enabled => now.switched(&of, true),
                TriggerState::Disabled => now.switched(&of, false),
                TriggerState::Removed => now.without_rule(&of),
            };
            next.map(|next| (next, ())).ok_or(())
        });
        changed.await.map_err(of_commit)?.map_err(|()| ChangeError::NoSuchTrigger)?;
        if to == TriggerState::Removed {
            (rule.enabled, rule.active) = (false, false);
            return Ok(rule);
        }
        self.show_trigger(&rule.bucket, id)
    }

    fn show_trigger(&self, bucket: &str, id: &str) -> Result<RuleView, ChangeError> {
        let rules = self.commit.rules_of(bucket).map_err(of_commit)?;
        let rule = rules.rule(id).ok_or(ChangeError::NoSuchTrigger)?;
        Ok(view(bucket, rule, &self.commit.reachable()))
    }

    fn account(&self) -> String {
        self.targets.around.account.appid.clone()
    }

    /// Sentences about buckets' rules that match nothing, because nobody of that name is configured.
    pub(super) fn notes_on_rules(&self) -> Vec<String> {
        let named = match self.commit.named_targets() {
            Ok(named) => named,
            Err(error) => return vec![format!("the rules of buckets cannot be read: {error}")],
        };
        let names = self.commit.reachable();
        let gone = named.iter().filter(|(target, _)| names.get(target).is_none());
        let told = gone.map(|(target, by)| {
            format!(
                "{} rule(s) of buckets name `{target}`, which is not configured: they match nothing until it \
                 is; see GET /v1/rules?target={target}",
                by.rules
            )
        });
        told.collect()
    }
}

fn of_target(target: &str, rule: &config::Rule) -> RuleView {
    let kinds = EventKind::ALL.iter().filter(|kind| rule.events.contains(**kind));
    RuleView {
        id: rule.name.to_string(),
        source: "configuration",
        form: None,
        bucket: rule.bucket.clone(),
        target: target.to_owned(),
        arn: None,
        events: kinds.map(|kind| kind.cos_name().to_owned()).collect(),
        prefix: rule.prefix.clone(),
        suffix: rule.suffix.clone(),
        enabled: true,
        allow_overlap: true,
        active: true,
    }
}

fn view(bucket: &str, rule: &BucketRule, names: &Names) -> RuleView {
    RuleView {
        id: rule.id.clone(),
        source: "bucket",
        form: Some(rule.form.label()),
        bucket: bucket.to_owned(),
        target: rule.target.clone(),
        arn: Some(rule.to.clone()),
        events: rule.events.clone(),
        prefix: rule.prefix(),
        suffix: rule.suffix(),
        enabled: !rule.disabled,
        allow_overlap: rule.overlaps,
        active: !rule.disabled && names.get(&rule.target).is_some(),
    }
}

fn of_trigger(why: TriggerRefused) -> ChangeError {
    match why {
        TriggerRefused::Words(_) | TriggerRefused::Suffix => ChangeError::BadRequest(why.to_string()),
        TriggerRefused::TooMany
        | TriggerRefused::EventConflict(_)
        | TriggerRefused::PrefixConflict(_)
        | TriggerRefused::SuffixConflict(_) => ChangeError::Conflict(why.to_string()),
    }
}

fn of_commit(error: CommitError) -> ChangeError {
    match error {
        CommitError::NoSuchBucket => ChangeError::NoSuchBucket,
        CommitError::Full(full) => ChangeError::Unavailable(full.to_string()),
        CommitError::Store(error) => ChangeError::Unavailable(error.to_string()),
        CommitError::SettingTooLarge => {
            ChangeError::Conflict("the bucket's rules take more than 256 KiB: remove some first".into())
        }
        other => ChangeError::Unknown(other.to_string()),
    }
}
