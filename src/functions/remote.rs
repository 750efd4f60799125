//! Calls of functions that run elsewhere: each is a run of the log, and some answers mean less than they say.
//!
//! Must never call an answer a success that says that the code failed, nor write down more of it than its
//! status.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tidings_connector::{
    Cause, Connector, ConnectorConfig, ErrorClass, Fault, Finding, Header, Message, Outcome, Template,
};
use tidings_function::{Call, Ended, Fault as Whose, Policy, Status, Tally};
use tidings_http::{Attempted, HttpConfig, Watch};

use super::answered::ended;
use super::elsewhere::Preset;
use super::emulator::names_error;
use super::pool::looped;
use super::run::Run;
use super::runlog::RunLog;
use crate::event::MAX_HOPS;

/// The largest answer that is looked at, in bytes: what AWS lets a function give back.
const ANSWER: usize = 6 << 20;

/// A function elsewhere.
#[derive(Clone)]
pub(super) struct Remote(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) name: Arc<str>,
    /// Or why it cannot be called.
    pub(super) config: Result<HttpConfig, String>,
    pub(super) preset: Preset,
    pub(super) policy: Policy,
    /// How often its events failed so far.
    pub(super) tally: Tally,
    pub(super) revision: u64,
    pub(super) log: RunLog,
    /// The clock, in microseconds since the Unix epoch.
    pub(super) now: fn() -> i64,
}

impl Remote {
    /// Sends an event that somebody typed.
    pub(super) async fn invoke(&self, call: Call) -> Ended {
        let start = (self.0.now)();
        let ended = match &self.0.config {
            Err(why) => Ended::without_run(Status::State, why.as_str()),
            Ok(config) => {
                let config =
                    config.clone().watched(Arc::new(Eyes { of: Arc::clone(&self.0), wants: ANSWER }));
                match config.send_once(self.typed(&call)).await {
                    Err(fault) => Ended::without_run(Status::State, fault.message),
                    Ok(attempted) => ended(&self.0.judge(&attempted), attempted),
                }
            }
        };
        self.0.log.append(Run::new(&self.0.name, 0, &call, &ended, start)).await;
        ended
    }

    /// The message of an event that somebody typed.
    fn typed(&self, call: &Call) -> Message {
        let header = |name, value: &str| Header { name, value: value.into() };
        let structured = serde_json::from_slice::<serde_json::Value>(&call.event)
            .is_ok_and(|event| event.get("specversion").is_some());
        let mut headers = match structured {
            true => vec![header("content-type", "application/cloudevents+json")],
            false => vec![header("content-type", "application/json")],
        };
        if self.0.preset == Preset::Knative && !structured {
            headers.extend([
                header("ce-specversion", "1.0"),
                header("ce-id", &call.request_id),
                header("ce-type", "tidings.function.invoke"),
                header("ce-source", "tidings"),
            ]);
        }
        let (key, destination) = (Bytes::new(), "".into());
        Message { id: Arc::clone(&call.request_id), key, payload: call.event.clone(), headers, destination }
    }

    /// Why it cannot be called, if it cannot.
    pub(super) fn problem(&self) -> Option<String> {
        self.0.config.as_ref().err().cloned()
    }
}

impl Inner {
    /// What an answer means: of AWS's emulator 200 says only that there is an answer.
    fn judge(&self, attempted: &Attempted) -> Outcome {
        let failed = |class, what: &str| Outcome::retry(class, what);
        match (&attempted.outcome, &attempted.body) {
            (Outcome::Delivered, _) if attempted.function_error => {
                failed(ErrorClass::Http5xx, "the code failed: its answer has X-Amz-Function-Error")
            }
            (Outcome::Delivered, None) if self.preset == Preset::Lambda => failed(
                ErrorClass::Unknown,
                "its answer did not come whole: whether the code failed is unknown",
            ),
            (Outcome::Delivered, Some(body)) if self.preset == Preset::Lambda => match names_error(body) {
                Some(false) => Outcome::Delivered,
                Some(true) => failed(ErrorClass::Http5xx, "the code failed: its answer names an errorType"),
                // The emulator says so too when the code took too long: 200, and a sentence.
                None => failed(ErrorClass::Unknown, "its answer is no JSON: what became of it is unknown"),
            },
            // So the emulator answers whoever asks while it works.
            (Outcome::Rejected { .. }, _)
                if self.preset == Preset::Lambda && attempted.status == Some(400) =>
            {
                failed(ErrorClass::Throttle, "it works on another event")
            }
            (outcome, _) => outcome.clone(),
        }
    }

    /// The same, unless its event failed too often by now.
    fn bounded(&self, outcome: Outcome, event: &Arc<str>) -> Outcome {
        let outcome = match outcome {
            Outcome::Retry { after, why } => self.again(after, why, event),
            outcome => outcome,
        };
        if matches!(outcome, Outcome::Delivered | Outcome::Rejected { .. }) {
            self.tally.forget(event);
        }
        outcome
    }

    fn again(&self, after: Option<Duration>, why: Cause, event: &Arc<str>) -> Outcome {
        let of_code = matches!(why.class, ErrorClass::Http5xx | ErrorClass::Http4xx | ErrorClass::Timeout);
        let fault = if of_code { Whose::Code } else { Whose::Host };
        match self.policy.gives_up(&self.tally, event, fault) {
            Some(retries) => {
                let text = format!("{} (given up after {retries} retries)", why.text);
                Outcome::Rejected { why: Cause::new(why.class, &text) }
            }
            None => Outcome::Retry { after: after.or(self.policy.pause), why },
        }
    }
}

/// Writes every attempt of the lane down.
struct Eyes {
    of: Arc<Inner>,
    wants: usize,
}

impl Eyes {
    fn call(&self, message: &Message, attempt: u32) -> Call {
        let hops = message.headers.iter().find(|header| header.name == "tidings-hops");
        Call {
            event: Bytes::new(),
            request_id: Arc::clone(&message.id),
            event_id: Some(Arc::clone(&message.id)),
            object: Some(String::from_utf8_lossy(&message.key).into()),
            retry: attempt.saturating_sub(1),
            hops: hops.map_or(0, |header| header.value.parse().unwrap_or(u8::MAX)),
        }
    }

    async fn write(&self, call: &Call, ended: &Ended) {
        let took = i64::try_from(ended.duration.as_micros()).unwrap_or(i64::MAX);
        let start = (self.of.now)().saturating_sub(took);
        self.of.log.append(Run::new(&self.of.name, 0, call, ended, start)).await;
    }
}

#[async_trait]
impl Watch for Eyes {
    fn wants(&self) -> usize {
        self.wants
    }

    async fn refuse(&self, message: &Message, attempt: u32) -> Option<Outcome> {
        let call = self.call(message, attempt);
        if call.hops < MAX_HOPS {
            return None;
        }
        let ended = looped(call.hops);
        self.write(&call, &ended).await;
        Some(Outcome::Rejected { why: Cause::new(ErrorClass::Loop, &ended.message) })
    }

    async fn ended(&self, message: &Message, attempt: u32, attempted: Attempted) -> Outcome {
        let call = self.call(message, attempt);
        let outcome = self.of.bounded(self.of.judge(&attempted), &call.request_id);
        self.write(&call, &ended(&outcome, attempted)).await;
        outcome
    }
}

/// The far side of its lane.
#[async_trait]
impl ConnectorConfig for Remote {
    async fn connect(&self) -> Result<Box<dyn Connector>, Fault> {
        let cannot = |why: &String| Fault::faulted(ErrorClass::Unroutable, why.as_str());
        let config = self.0.config.as_ref().map_err(cannot)?;
        let wants = if self.0.preset == Preset::Lambda { ANSWER } else { 0 };
        config.clone().watched(Arc::new(Eyes { of: Arc::clone(&self.0), wants })).connect().await
    }

    async fn check(&self) -> Vec<Finding> {
        match &self.0.config {
            Ok(config) => config.check().await,
            Err(why) => vec![Finding::error(why.as_str())],
        }
    }

    fn kind(&self) -> &'static str {
        "function"
    }

    fn destination(&self) -> Option<&Template> {
        None
    }

    fn fingerprint(&self) -> String {
        format!("elsewhere {} {}", self.0.name, self.0.revision)
    }
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote").field("name", &self.0.name).finish_non_exhaustive()
    }
}
