//! What becomes of events that fail, in the vendor's words: retries of failures of the code, and how long the
//! others are tried.
//!
//! Must never promise another policy than the one that is in force.

use serde_json::json;

use super::super::backend::AdminBackend;
use super::answer::{Answer, Refusal};
use super::words::Words;
use crate::functions::{FunctionChange, Retry};

/// Without an end: ours to say, the vendor's are all bounded.
const FOR_EVER: i64 = -1;
/// Seconds that SCF tries an event unless told otherwise: the one bound that is there.
const SCF_AGE_S: i64 = 21_600;
/// Retries of failures of the code that SCF makes unless told otherwise.
const SCF_RETRIES: i64 = 2;

/// What is in force.
pub(super) fn get(backend: &dyn AdminBackend, mut words: Words) -> Answer {
    let name = words.function()?;
    words.qualifier()?;
    words.end()?;
    let view = backend.functions().show(&name)?;
    let (age, retries) = match view.retry {
        Retry::Forever => (FOR_EVER, FOR_EVER),
        Retry::ScfDefault => (SCF_AGE_S, SCF_RETRIES),
    };
    let retries = view.max_retries.map_or(retries, i64::from);
    let config = json!({
        "MsgTTL": age,
        "RetryConfig": [{ "RetryNum": retries }, { "RetryNum": FOR_EVER }],
    });
    Ok(json!({ "AsyncTriggerConfig": config }))
}

/// Another policy.
pub(super) async fn update(backend: &dyn AdminBackend, mut words: Words) -> Answer {
    let name = words.function()?;
    let missing = |what: &str| Refusal::new("MissingParameter", format!("`{what}` is missing"));
    let mut config = words.object("AsyncTriggerConfig")?.ok_or_else(|| missing("AsyncTriggerConfig"))?;
    let age = config.number("MsgTTL")?.ok_or_else(|| missing("MsgTTL"))?;
    let listed = config.objects("RetryConfig")?.unwrap_or_default();
    config.end()?;
    words.end()?;
    let mut numbers = Vec::with_capacity(listed.len());
    for mut one in listed {
        numbers.push(one.number("RetryNum")?.ok_or_else(|| missing("RetryNum"))?);
        one.end()?;
    }
    let wrong = |why: &str| Refusal::new("InvalidParameterValue.AsyncTriggerConfig", why);
    // As `get` writes it: the second number says that failures of the system are bound by age alone.
    let retries = match numbers[..] {
        [retries] | [retries, FOR_EVER] => retries,
        _ => return Err(wrong("`RetryConfig` must hold one `RetryNum`")),
    };
    let retry = match age {
        FOR_EVER => Retry::Forever,
        SCF_AGE_S => Retry::ScfDefault,
        _ => return Err(wrong("`MsgTTL` may be 21600 (six hours, as SCF has it), or -1: for ever")),
    };
    let max_retries = match (retries, retry) {
        (FOR_EVER, Retry::Forever) => None,
        (FOR_EVER, Retry::ScfDefault) => return Err(wrong("`RetryNum` may be -1 where `MsgTTL` is")),
        _ => Some(u32::try_from(retries).map_err(|_| wrong("`RetryNum` is out of its bounds"))?),
    };
    let change = FunctionChange { retry: Some(retry), max_retries, ..FunctionChange::default() };
    backend.functions().update(&name, change).await?;
    Ok(json!({}))
}
