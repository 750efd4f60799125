//! The two traits a connector implements, and what passes through them.
//!
//! Must never hold policy: retry, order, deadlines, rate, dead letters and metrics belong to the lane.

use std::path::PathBuf;

use async_trait::async_trait;

use crate::{Message, Outcome, Receipt};

/// A connector's checked configuration: everything needed to reach one far side, secrets resolved.
///
/// Implementers: one type per connector crate. Callers: the lane (`connect`) and `tidings check --connect`
/// (`check`).
#[async_trait]
pub trait ConnectorConfig: Send + Sync {
    /// Reaches the far side. Called by the lane at start, after a rebuild, and as the probe of a target that
    /// is Down. Must return within its own configured connect bound; the lane drops the future past the
    /// attempt deadline.
    async fn connect(&self) -> Result<Box<dyn Connector>, Fault>;

    /// Verifies the far side without sending an event: reachable, authorised, the destination exists,
    /// settings safe.
    async fn check(&self) -> Vec<Finding>;

    /// The short protocol name used in metrics and messages: `kafka`, `nats`, `amqp` or `http`.
    fn kind(&self) -> &'static str;

    /// The template that names the destination (topic, subject, routing key), rendered by the lane into
    /// [`Message::destination`]. `None` where the destination is fixed (HTTP).
    fn destination(&self) -> Option<&crate::Template>;

    /// The addresses that it was told to ask first, each `host:port`, where the far side has several and a
    /// client of a bucket may name one: brokers of Kafka.
    fn brokers(&self) -> &[String] {
        &[]
    }

    /// The region of the server that it replicates objects to; none: it replicates nothing.
    fn region(&self) -> Option<&str> {
        None
    }

    /// A stable text of everything that changes what is sent or where, without secrets. Two equal texts mean
    /// that a reload may keep the running connector.
    fn fingerprint(&self) -> String;

    /// The files that a connection reads beside the configuration: secrets, certificates. A reload that finds
    /// one of them changed connects anew.
    fn files(&self) -> Vec<PathBuf> {
        Vec::new()
    }
}

/// One connected far side.
///
/// The lane owns retry, order, deadlines, limits, dead letters and metrics; a connector has none of them.
#[async_trait]
pub trait Connector: Send + Sync {
    /// How much the lane may have outstanding here. Constant for the life of this connector unless the far
    /// side teaches otherwise (AIMD); the lane asks before every batch.
    fn limits(&self) -> Limits;

    /// Attempts every message of the batch. Awaits local buffers only, since the lane stays within
    /// [`Connector::limits`].
    ///
    /// One caller at a time. No two deliveries of one batch share a key. Each delivery's receipt is settled
    /// exactly once, now or later, from any thread; a receipt that is dropped unsettled is a Retry. Returns
    /// within the lane's bound; past it the lane drops this future and the connector.
    async fn deliver(&self, batch: Vec<Delivery>);

    /// False once nothing can be delivered here any more (a fatal protocol error): the lane drops this
    /// connector and connects again. Asked before every batch; every receipt that such a connector holds or
    /// gets settles as Retry.
    fn healthy(&self) -> bool {
        true
    }

    /// Ends gently: waits for what is outstanding within the connector's own bound, then lets go.
    async fn close(self: Box<Self>);
}

/// One attempt to hand one message to the far side.
pub struct Delivery {
    /// What to send. The same bytes at every attempt within one configuration epoch.
    pub message: Message,
    /// 1 for the first attempt of this event at this target.
    pub attempt: u32,
    /// The one-shot token through which the result comes back.
    pub receipt: Receipt,
}

/// How much may be outstanding at one connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Messages handed over and not settled yet.
    pub in_flight: usize,
    /// Messages in one call of `deliver`.
    pub batch: usize,
    /// Payload bytes handed over and not settled yet.
    pub bytes: usize,
}

/// Why a far side could not be reached.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// How the lane treats it: only `Retry`, `Throttled` and `Faulted` make sense here.
    pub outcome: Outcome,
    /// One sentence for people: what happened, where, what to do next.
    pub message: String,
}

/// One thing that `check` found out about a far side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// One sentence for people: what was found, why it matters, what to change.
    pub message: String,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Verified and fine.
    Ok,
    /// Works, but may lose or reorder in a situation that the message names.
    Warning,
    /// Does not work, or loses acknowledged events silently: refused.
    Error,
}

impl Finding {
    /// Something that is fine.
    pub fn ok(message: impl Into<String>) -> Self {
        Self { severity: Severity::Ok, message: message.into() }
    }

    /// Something that may lose or reorder events.
    pub fn warning(message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, message: message.into() }
    }

    /// Something that does not work.
    pub fn error(message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, message: message.into() }
    }
}

impl Fault {
    /// A fault that waiting may mend.
    pub fn retry(class: crate::ErrorClass, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { outcome: Outcome::retry(class, &message), message }
    }

    /// A fault that only a person can mend: wrong credentials, missing topic, untrusted certificate.
    pub fn faulted(class: crate::ErrorClass, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            outcome: Outcome::Faulted {
                scope: crate::Scope::Target,
                why: crate::Cause::new(class, &message),
            },
            message,
        }
    }
}

/// Stops compiling if a trait ceases to be object safe.
#[cfg(test)]
fn _object_safe(_: &dyn Connector, _: &dyn ConnectorConfig) {}
