//! Functions made, configured and removed.
//!
//! Must never make one that is not as it was asked for: what cannot be is refused, not left out.

use std::collections::BTreeMap;

use serde_json::json;

use super::super::backend::{AdminBackend, ChangeError};
use super::super::rules::{RuleQuery, TriggerState, TriggerWish};
use super::answer::{Answer, Refusal};
use super::code;
use super::words::Words;
use crate::config::credentials::Credential;
use crate::functions::{FunctionChange, FunctionView, Network};

/// What stands in place of a variable's value: nobody is shown one. Whoever hands it back means the one that
/// is there.
pub(super) const HIDDEN: &str = "******";

/// Makes a function.
pub(super) async fn create(backend: &dyn AdminBackend, caller: &Credential, mut words: Words) -> Answer {
    let name = words.function()?;
    if backend.functions().show(&name).is_ok() {
        let why = format!("there is a function `{name}` already");
        return Err(Refusal::new("ResourceInUse.Function", why));
    }
    if words.said("Type")?.is_some_and(|kind| kind != "Event") {
        return Err(Refusal::unsupported("`Type` may be `Event`: functions here are invoked with events"));
    }
    let handler = words.said("Handler")?;
    let mut change = FunctionChange { handler, ..settings(&mut words)? };
    if change.runtime.is_none() {
        let why = "`Runtime` is missing: Python3.6 (any Python3), Nodejs12.16 (any Nodejs) or CustomRuntime";
        return Err(Refusal::new("MissingParameter.Runtime", why));
    }
    let variables = variables(&mut words)?.unwrap_or_default();
    change.environment = variables.into_iter().map(|(name, value)| (name, Some(value))).collect();
    change.code = Some(code::take(backend, caller, words).await?);
    backend.functions().create(&name, change).await?;
    Ok(json!({}))
}

/// Changes everything but the code.
pub(super) async fn configure(backend: &dyn AdminBackend, mut words: Words) -> Answer {
    let name = words.function()?;
    let mut change = settings(&mut words)?;
    if let Some(variables) = variables(&mut words)? {
        change.environment = replaced(&backend.functions().show(&name)?, variables);
    }
    words.end()?;
    backend.functions().update(&name, change).await?;
    Ok(json!({}))
}

/// The variables that are named are all there are then.
fn replaced(now: &FunctionView, wanted: BTreeMap<String, String>) -> BTreeMap<String, Option<String>> {
    let mut changes = BTreeMap::new();
    for name in now.environment.iter().filter(|name| !wanted.contains_key(*name)) {
        changes.insert(name.clone(), None);
    }
    let kept = |name: &String, value: &str| value == HIDDEN && now.environment.contains(name);
    for (name, value) in wanted {
        if !kept(&name, &value) {
            changes.insert(name, Some(value));
        }
    }
    changes
}

/// Removes a function, then its triggers: without it they match nothing.
pub(super) async fn delete(backend: &dyn AdminBackend, mut words: Words) -> Answer {
    let name = words.function()?;
    words.qualifier()?;
    words.end()?;
    let target = backend.functions().show(&name)?.target;
    let query = RuleQuery { bucket: None, target: Some(name.clone()), triggers: true };
    let triggers = backend.rules(query).await?.rules;
    backend.functions().remove(&name, false).await?;
    for rule in triggers.into_iter().filter(|rule| rule.target == target) {
        let to = TriggerState::Removed;
        let gone = backend.trigger(TriggerWish::Change { id: rule.id, bucket: Some(rule.bucket), to }).await;
        match gone {
            Ok(_) | Err(ChangeError::NoSuchTrigger | ChangeError::NoSuchBucket) => {}
            Err(error) => {
                let why = format!("the function is gone, and a trigger of it is not: {error}");
                return Err(Refusal::new("FailedOperation.DeleteFunction", why));
            }
        }
    }
    Ok(json!({}))
}

/// What making and configuring have in common.
fn settings(words: &mut Words) -> Result<FunctionChange, Refusal> {
    Ok(FunctionChange {
        runtime: words.said("Runtime")?,
        description: words.text("Description")?,
        memory_mb: words.count("MemorySize")?,
        timeout_s: words.count("Timeout")?,
        start_timeout_s: words.count("InitTimeout")?,
        network: network(words)?,
        ..FunctionChange::default()
    })
}

fn network(words: &mut Words) -> Result<Option<Network>, Refusal> {
    let Some(mut public) = words.object("PublicNetConfig")? else { return Ok(None) };
    let status = public.said("PublicNetStatus")?;
    public.end()?;
    match status.as_deref() {
        None => Ok(None),
        Some("ENABLE") => Ok(Some(Network::All)),
        Some("DISABLE") => Ok(Some(Network::None)),
        Some(_) => Err(Refusal::new(
            "InvalidParameterValue.PublicNetConfig",
            "`PublicNetStatus` may be `ENABLE` or `DISABLE`",
        )),
    }
}

/// The variables that a request names; none: it names no environment.
fn variables(words: &mut Words) -> Result<Option<BTreeMap<String, String>>, Refusal> {
    let Some(mut environment) = words.object("Environment")? else { return Ok(None) };
    let mut variables = BTreeMap::new();
    for mut variable in environment.objects("Variables")?.unwrap_or_default() {
        let (name, value) = (variable.need("Key")?, variable.text("Value")?.unwrap_or_default());
        variable.end()?;
        if variables.insert(name, value).is_some() {
            return Err(Refusal::new("InvalidParameterValue.Environment", "a variable stands twice"));
        }
    }
    environment.end()?;
    Ok(Some(variables))
}
