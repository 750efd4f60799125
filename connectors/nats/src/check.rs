//! What `tidings check --connect` says about a stream: everything that could lose, hide or repeat an event.
//!
//! Must never change anything at the server.

use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{Config, DiscardPolicy, PersistenceMode, RetentionPolicy, StorageType};
use tidings_connector::{ErrorClass, Fault, Finding, Severity};

use crate::NatsConfig;

/// How long a connection waits to hear whether its stream is there.
const ASK_LIMIT: Duration = Duration::from_secs(1);
/// Repeats come at most so much later, unless the target was away.
const SAFE_WINDOW: Duration = Duration::from_secs(120);
/// Copies below this number survive no failure.
const SAFE_REPLICAS: usize = 3;

pub(crate) fn error(message: impl Into<String>) -> Finding {
    Finding { severity: Severity::Error, message: message.into() }
}

fn warning(message: impl Into<String>) -> Finding {
    Finding { severity: Severity::Warning, message: message.into() }
}

/// A fault if the server knows for certain that the stream is not there. Publishing would tell it too, but
/// not where somebody else listens to the subject. A user that may not ask gets no answer, and goes on.
pub(crate) async fn missing_stream(config: &NatsConfig, client: &Client) -> Option<Fault> {
    let name = config.stream.as_ref()?;
    let mut jetstream = async_nats::jetstream::new(client.clone());
    jetstream.set_timeout(config.connect_timeout.min(ASK_LIMIT));
    match jetstream.get_stream(name).await.err()?.kind() {
        GetStreamErrorKind::JetStream(told) if told.error_code() == ErrorCode::STREAM_NOT_FOUND => {
            let server = config.servers.join(", ");
            let message = format!("stream `{name}` does not exist at {server}: create it");
            Some(Fault::faulted(ErrorClass::Unroutable, message))
        }
        _ => None,
    }
}

/// Asks for the stream, and judges it.
pub(crate) async fn findings(config: &NatsConfig, client: &Client) -> Vec<Finding> {
    let answers = format!("NATS answers at {}", config.servers.join(", "));
    let mut findings = vec![Finding { severity: Severity::Ok, message: answers }];
    let Some(name) = &config.stream else {
        findings.push(warning(
            "core NATS: an event is lost, and counted as delivered, wherever nobody listens or somebody is \
             slow; name a `stream` where that matters",
        ));
        return findings;
    };
    let mut jetstream = async_nats::jetstream::new(client.clone());
    jetstream.set_timeout(config.ack_timeout);
    match jetstream.get_stream(name).await {
        Ok(stream) => {
            let info = stream.cached_info();
            findings.extend(judge(config, &info.config, info.state.consumer_count));
        }
        Err(why) => findings.push(match why.kind() {
            GetStreamErrorKind::JetStream(told) if told.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                error(format!("stream `{name}` does not exist: create it"))
            }
            GetStreamErrorKind::JetStream(told) => error(format!("stream `{name}` cannot be used: {told}")),
            // A user that may only publish gets no answer.
            _ => warning(format!(
                "stream `{name}` cannot be looked at ({why}): its settings are not checked; allow \
                 $JS.API.STREAM.INFO.{name}"
            )),
        }),
    }
    findings
}

fn judge(target: &NatsConfig, stream: &Config, consumers: usize) -> Vec<Finding> {
    let name = &stream.name;
    let mut found = Vec::new();
    let mut add = |wrong: bool, finding: Finding| found.extend(wrong.then_some(finding));
    let subject = target.subject.source();
    let takes = stream.subjects.iter().any(|pattern| matches(pattern, subject));
    add(
        target.subject.is_fixed() && !takes,
        error(format!("stream `{name}` does not take subject `{subject}`: add it to the stream's subjects")),
    );
    add(stream.no_ack, error(format!("stream `{name}` acknowledges nothing: set no_ack to false")));
    add(stream.sealed, error(format!("stream `{name}` is sealed: it takes nothing any more")));
    let unheard = stream.retention == RetentionPolicy::Interest && consumers == 0;
    add(
        unheard,
        error(format!("stream `{name}` keeps what has consumers, and has none: every event would vanish")),
    );
    add(
        stream.retention == RetentionPolicy::Interest && !unheard,
        warning(format!("stream `{name}` drops at once what no consumer asks for: use retention limits")),
    );
    add(
        stream.retention == RetentionPolicy::WorkQueue,
        warning(format!("stream `{name}` is a work queue: an event is gone once one consumer has it")),
    );
    let limits = limits(stream);
    add(
        stream.discard == DiscardPolicy::Old && !limits.is_empty(),
        warning(format!(
            "stream `{name}` deletes its oldest events at its limit ({}), read or not: use discard new, and \
             events wait here instead",
            limits.join(", ")
        )),
    );
    add(
        !stream.max_age.is_zero(),
        warning(format!("stream `{name}` deletes events after {} s, read or not", stream.max_age.as_secs())),
    );
    add(
        stream.storage == StorageType::Memory,
        warning(format!("stream `{name}` is in memory: a restart of its server loses acknowledged events")),
    );
    add(
        stream.num_replicas < SAFE_REPLICAS,
        warning(format!(
            "stream `{name}` has {} of {SAFE_REPLICAS} recommended copies: an acknowledged event may be lost \
             with its server",
            stream.num_replicas
        )),
    );
    add(
        stream.persist_mode == Some(PersistenceMode::Async),
        warning(format!("stream `{name}` acknowledges before it writes: set persist_mode to default")),
    );
    add(
        stream.duplicate_window < SAFE_WINDOW,
        warning(format!(
            "stream `{name}` recognises repeats for {} ms only: set its duplicate window to at least {} s",
            stream.duplicate_window.as_millis(),
            SAFE_WINDOW.as_secs()
        )),
    );
    if found.is_empty() {
        found.push(Finding { severity: Severity::Ok, message: format!("stream `{name}` is safe") });
    }
    found
}

fn limits(stream: &Config) -> Vec<&'static str> {
    let limits = [
        ("max_bytes", stream.max_bytes),
        ("max_msgs", stream.max_messages),
        ("max_msgs_per_subject", stream.max_messages_per_subject),
    ];
    limits.into_iter().filter(|(_, limit)| *limit > 0).map(|(name, _)| name).collect()
}

/// Whether a stream's subject, which may have wildcards, takes a fixed one.
fn matches(pattern: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for part in pattern.split('.') {
        match (part, tokens.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (part, Some(token)) if part == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
