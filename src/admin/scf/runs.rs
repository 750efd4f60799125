//! Functions tried out, and what became of their runs.
//!
//! Must never accept an event that it does not run: nothing here keeps one that somebody typed.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::backend::AdminBackend;
use super::answer::{Answer, Refusal};
use super::show::{Page, time};
use super::words::Words;
use crate::functions::{Invoked, MAX_RUNS, Run, RunQuery};

/// The event of a request that names none.
const NO_EVENT: &str = "{}";
/// SCF's code of a run that succeeded.
const SUCCESS: u16 = 200;
/// A run that was ended for want of memory.
const MEMORY: u16 = 434;
/// A run that took too long.
const TIMEOUT: u16 = 433;
/// A run whose code failed.
const CODE: u16 = 430;
/// The longest stretch of time that a list of runs may be about, in seconds.
const LONGEST: Duration = Duration::from_secs(86_400);

/// Runs a function with an event, and waits for its end.
pub(super) async fn invoke(backend: &dyn AdminBackend, mut words: Words) -> Answer {
    match words.said("InvocationType")?.as_deref() {
        None | Some("RequestResponse") => {}
        Some(_) => {
            return Err(Refusal::unsupported(
                "`InvocationType` may be `RequestResponse`: only objects' changes are queued for functions",
            ));
        }
    }
    run(backend, words, "ClientContext").await
}

/// The same under the vendor's newer name.
pub(super) async fn invoke_event(backend: &dyn AdminBackend, words: Words) -> Answer {
    run(backend, words, "Event").await
}

async fn run(backend: &dyn AdminBackend, mut words: Words, event: &str) -> Answer {
    let name = words.function()?;
    words.qualifier()?;
    let event = words.said(event)?.unwrap_or_else(|| NO_EVENT.to_owned());
    let tail = match words.said("LogType")?.as_deref() {
        None | Some("None") => false,
        Some("Tail") => true,
        Some(_) => return Err(Refusal::value("`LogType` may be `None` or `Tail`")),
    };
    words.end()?;
    let ended = backend.functions().invoke(&name, None, event.into()).await?;
    let Invoked { request_id, status, result, message, duration_ms, memory_bytes, log, .. } = ended;
    Ok(json!({ "Result": {
        "FunctionRequestId": request_id,
        "InvokeResult": if status == SUCCESS { 0 } else { status },
        "RetMsg": result.unwrap_or_default(),
        "ErrMsg": message,
        "Duration": duration_ms,
        "BillDuration": duration_ms,
        "MemUsage": memory_bytes,
        "Log": if tail { log } else { String::new() },
    } }))
}

/// Runs of a function, the latest first unless it says otherwise.
pub(super) async fn logs(backend: &dyn AdminBackend, mut words: Words) -> Answer {
    let name = words.function()?;
    words.qualifier()?;
    let wanted = Wanted::of(&mut words, words_filter)?;
    // The latest runs are all that is looked through.
    let most = i64::try_from(MAX_RUNS).unwrap_or(i64::MAX);
    let orders = ["function_name", "duration", "mem_usage", "start_time"];
    let page = Page::within(&mut words, "OrderBy", &orders, most)?.downwards_first();
    words.end()?;
    let mut runs = wanted.read(backend, &name).await?;
    match page.by.as_deref() {
        Some("duration") => runs.sort_by_key(|run| run.duration_ms),
        Some("mem_usage") => runs.sort_by_key(|run| run.memory_bytes),
        _ => {}
    }
    let count = runs.len();
    Ok(json!({ "Data": page.cut(runs.iter().map(logged).collect()), "TotalCount": count }))
}

/// What became of one request: every attempt.
pub(super) async fn status(backend: &dyn AdminBackend, mut words: Words) -> Answer {
    let name = words.function()?;
    let request_id = words.need("FunctionRequestId")?;
    let wanted = Wanted { request_id: Some(request_id), ..Wanted::of(&mut words, |_| Ok(None))? };
    words.end()?;
    let runs = wanted.read(backend, &name).await?;
    let shown = runs.iter().map(|run| {
        json!({
            "FunctionName": run.function,
            "RequestId": run.request_id,
            "StartTime": started(run),
            "RetCode": if run.status == SUCCESS { 0 } else { -1 },
            "RetMsg": run.message,
            "Duration": run.duration_ms,
            "MemUsage": run.memory_bytes,
            "RetryNum": run.retry,
        })
    });
    Ok(json!({ "Data": shown.collect::<Vec<_>>(), "TotalCount": runs.len() }))
}

fn started(run: &Run) -> String {
    run.start.as_deref().map(time).unwrap_or_default()
}

fn logged(run: &Run) -> Value {
    json!({
        "FunctionName": run.function,
        "RequestId": run.request_id,
        "StartTime": started(run),
        "RetCode": if run.status == SUCCESS { 0 } else { run.status },
        "RetMsg": run.message,
        "InvokeFinished": 1,
        "Duration": run.duration_ms,
        "BillDuration": run.duration_ms,
        "MemUsage": run.memory_bytes,
        "Log": run.log,
        "Level": "",
        "Source": "",
        "RetryNum": run.retry,
    })
}

/// Which ends of runs somebody wants to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    Good,
    Bad,
    With(u16),
}

fn words_filter(words: &mut Words) -> Result<Option<Ends>, Refusal> {
    let Some(mut filter) = words.object("Filter")? else { return Ok(None) };
    let code = filter.said("RetCode")?;
    filter.end()?;
    match code.as_deref() {
        None => Ok(None),
        Some("is0") => Ok(Some(Ends::Good)),
        Some("not0") => Ok(Some(Ends::Bad)),
        Some("TimeLimitExceeded") => Ok(Some(Ends::With(TIMEOUT))),
        Some("ResourceLimitExceeded") => Ok(Some(Ends::With(MEMORY))),
        Some("UserCodeException") => Ok(Some(Ends::With(CODE))),
        Some(_) => {
            let known = "is0, not0, TimeLimitExceeded, ResourceLimitExceeded or UserCodeException";
            Err(Refusal::new("InvalidParameterValue.RetCode", format!("`RetCode` may be {known}")))
        }
    }
}

/// Which runs somebody wants to see.
struct Wanted {
    request_id: Option<String>,
    ends: Option<Ends>,
    from: Option<jiff::Timestamp>,
    until: Option<jiff::Timestamp>,
}

impl Wanted {
    fn of(
        words: &mut Words,
        ends: impl Fn(&mut Words) -> Result<Option<Ends>, Refusal>,
    ) -> Result<Self, Refusal> {
        let (from, until) = (moment(words, "StartTime")?, moment(words, "EndTime")?);
        if let (Some(from), Some(until)) = (from, until)
            && (until < from || until.duration_since(from).unsigned_abs() > LONGEST)
        {
            let why = "`EndTime` must be after `StartTime`, by a day at most";
            return Err(Refusal::new("InvalidParameterValue.StartTimeOrEndTime", why));
        }
        Ok(Self { request_id: words.said("FunctionRequestId")?, ends: ends(words)?, from, until })
    }

    async fn read(self, backend: &dyn AdminBackend, function: &str) -> Result<Vec<Run>, Refusal> {
        let Self { request_id, ends, from, until } = self;
        let failed = matches!(ends, Some(Ends::Bad | Ends::With(_)));
        let query = RunQuery { after: None, limit: MAX_RUNS, failed, request_id };
        let mut runs = backend.functions().runs(function, query).await?.runs;
        runs.retain(|run| {
            let fits = match ends {
                None => true,
                Some(Ends::Good) => run.status == SUCCESS,
                Some(Ends::Bad) => run.status != SUCCESS,
                Some(Ends::With(status)) => run.status == status,
            };
            let start: Option<jiff::Timestamp> = run.start.as_deref().and_then(|start| start.parse().ok());
            fits && start.is_none_or(|start| {
                from.is_none_or(|from| start >= from) && until.is_none_or(|until| start <= until)
            })
        });
        Ok(runs)
    }
}

/// A time as the vendor writes it, in UTC.
fn moment(words: &mut Words, name: &str) -> Result<Option<jiff::Timestamp>, Refusal> {
    let Some(text) = words.said(name)? else { return Ok(None) };
    let time: Option<jiff::civil::DateTime> = text.parse().ok();
    let time = time.and_then(|time| time.to_zoned(jiff::tz::TimeZone::UTC).ok());
    let wrong = || {
        let why = format!("`{name}` must be a time such as 2026-01-31 12:00:00, in UTC");
        Refusal::new("InvalidParameterValue.DateTime", why)
    };
    time.map(|time| Some(time.timestamp())).ok_or_else(wrong)
}
