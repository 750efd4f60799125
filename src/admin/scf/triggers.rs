//! Triggers in the vendor's words: the name of one is its bucket's host, its description is JSON in text.
//!
//! Must never touch a rule that is not the function's, nor one of which only a part was named.

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::backend::{AdminBackend, ChangeError};
use super::super::rules::{RuleQuery, RuleView, TriggerState, TriggerWish};
use super::answer::{Answer, Refusal};
use super::show::Page;
use super::words::Words;
use crate::functions::FunctionView;

/// The one kind of triggers.
const KIND: &str = "cos";

/// A trigger's description.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    event: String,
    #[serde(default)]
    filter: Filter,
    /// Lists write it, and clients hand it back.
    #[serde(default, rename = "bucketUrl")]
    _bucket_url: Option<String>,
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "PascalCase")]
struct Filter {
    prefix: String,
    suffix: String,
}

/// What a request says of a trigger.
struct Named {
    function: FunctionView,
    bucket: String,
    description: Description,
}

impl Named {
    fn of(backend: &dyn AdminBackend, words: &mut Words) -> Result<Self, Refusal> {
        let function = words.function()?;
        words.qualifier()?;
        if !words.need("Type")?.eq_ignore_ascii_case(KIND) {
            return Err(Refusal::unsupported("`Type` may be `cos`: objects' changes are what triggers here"));
        }
        let host = words.need("TriggerName")?;
        let bucket = backend.scf().bucket_at(&host).ok_or_else(|| {
            let like = backend.scf().host_of("BUCKET");
            let why = format!("`TriggerName` must be the bucket's host in this region, such as {like}");
            Refusal::new("InvalidParameterValue.TriggerName", why)
        })?;
        let description = serde_json::from_str(&words.need("TriggerDesc")?).map_err(|_| {
            let like = r#"{"event":"cos:ObjectCreated:*","filter":{"Prefix":"in/","Suffix":".jpg"}}"#;
            Refusal::new("InvalidParameterValue.TriggerDesc", format!("`TriggerDesc` must be such as {like}"))
        })?;
        Ok(Self { function: backend.functions().show(&function)?, bucket, description })
    }

    /// The rule that it names.
    async fn rule(&self, backend: &dyn AdminBackend) -> Result<RuleView, Refusal> {
        let Description { event, filter, .. } = &self.description;
        let bucket = Some(self.bucket.clone());
        let query = RuleQuery { bucket, target: Some(self.function.name.clone()), triggers: true };
        let mut rules = backend.rules(query).await?.rules.into_iter().filter(|rule| {
            rule.target == self.function.target
                && rule.events.contains(event)
                && (&rule.prefix, &rule.suffix) == (&filter.prefix, &filter.suffix)
        });
        let rule = rules.next().ok_or(ChangeError::NoSuchTrigger)?;
        match rule.events.len() {
            1 => Ok(rule),
            _ => Err(Refusal::unsupported(
                "the trigger is part of a rule with several events: change the bucket's notification \
                 configuration",
            )),
        }
    }

    async fn change(self, backend: &dyn AdminBackend, to: TriggerState) -> Result<RuleView, Refusal> {
        let rule = self.rule(backend).await?;
        let wish = TriggerWish::Change { id: rule.id, bucket: Some(rule.bucket), to };
        Ok(backend.trigger(wish).await?)
    }
}

fn enabled(words: &mut Words) -> Result<Option<bool>, Refusal> {
    match words.said("Enable")?.as_deref() {
        None => Ok(None),
        Some("OPEN" | "1") => Ok(Some(true)),
        Some("CLOSE" | "0") => Ok(Some(false)),
        Some(_) => Err(Refusal::new("InvalidParameterValue.Enable", "`Enable` may be `OPEN` or `CLOSE`")),
    }
}

/// Makes a trigger; one that is there stays.
pub(super) async fn create(backend: &dyn AdminBackend, mut words: Words) -> Answer {
    let named = Named::of(backend, &mut words)?;
    let enabled = enabled(&mut words)?.unwrap_or(true);
    words.end()?;
    let Named { function, bucket, description: Description { event, filter, .. } } = named;
    let Filter { prefix, suffix } = filter;
    let allow_overlap = false;
    let function = function.name;
    let wish = TriggerWish::Add { function, bucket, event, prefix, suffix, allow_overlap, enabled };
    let rule = backend.trigger(wish).await.map_err(|error| match error {
        ChangeError::BadRequest(why) => Refusal::new("InvalidParameterValue.TriggerDesc", why),
        ChangeError::Conflict(why) if why.starts_with("NotifyRule") => {
            Refusal::new("InvalidParameterValue.CosNotifyRuleConflict", why)
        }
        ChangeError::Conflict(why) => Refusal::new("LimitExceeded.Trigger", why),
        other => other.into(),
    })?;
    let info = shown(backend, &rule).into_iter().next().unwrap_or_default();
    Ok(json!({ "TriggerInfo": info }))
}

/// Removes a trigger; what it matched is delivered.
pub(super) async fn delete(backend: &dyn AdminBackend, mut words: Words) -> Answer {
    let named = Named::of(backend, &mut words)?;
    words.end()?;
    named.change(backend, TriggerState::Removed).await?;
    Ok(json!({}))
}

/// Lets a trigger match, or not.
pub(super) async fn switch(backend: &dyn AdminBackend, mut words: Words) -> Answer {
    let named = Named::of(backend, &mut words)?;
    let missing = || Refusal::new("MissingParameter", "`Enable` is missing: `OPEN` or `CLOSE`");
    let on = enabled(&mut words)?.ok_or_else(missing)?;
    words.end()?;
    named.change(backend, if on { TriggerState::Enabled } else { TriggerState::Disabled }).await?;
    Ok(json!({}))
}

/// Some triggers of a function.
pub(super) async fn list(backend: &dyn AdminBackend, mut words: Words) -> Answer {
    let name = words.function()?;
    // Nobody writes down when a rule was made: they stand in their order.
    let page = Page::of(&mut words, "OrderBy", &["add_time", "mod_time"])?;
    words.end()?;
    let all = of(backend, &backend.functions().show(&name)?).await?;
    let count = all.len();
    Ok(json!({ "Triggers": page.cut(all), "TotalCount": count }))
}

/// Every trigger of a function.
pub(super) async fn of(backend: &dyn AdminBackend, function: &FunctionView) -> Result<Vec<Value>, Refusal> {
    let query = RuleQuery { bucket: None, target: Some(function.name.clone()), triggers: true };
    let rules = backend.rules(query).await?.rules;
    let own = rules.iter().filter(|rule| rule.target == function.target);
    Ok(own.flat_map(|rule| shown(backend, rule)).collect())
}

/// A rule as triggers: one for each of its events.
fn shown(backend: &dyn AdminBackend, rule: &RuleView) -> Vec<Value> {
    let host = backend.scf().host_of(&rule.bucket);
    let of_event = |event: &String| {
        let filter = json!({ "Prefix": rule.prefix, "Suffix": rule.suffix });
        let description = json!({ "event": event, "filter": filter, "bucketUrl": host });
        json!({
            "Type": KIND,
            "TriggerName": host,
            "TriggerDesc": description.to_string(),
            "Enable": u8::from(rule.enabled),
            "AvailableStatus": if rule.active || !rule.enabled { "Available" } else { "Unavailable" },
            "BindStatus": "on",
            "ResourceId": rule.id,
            "TriggerAttribute": "single",
            "Qualifier": "$LATEST",
            "CustomArgument": "",
            "Description": "",
            "AddTime": "",
            "ModTime": "",
        })
    };
    rule.events.iter().map(of_event).collect()
}
