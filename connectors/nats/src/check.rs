//! What `tidings check --connect` says about a stream: everything that could lose, hide or repeat an event.
//!
//! Must never change anything at the server.

use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, PersistenceMode, RetentionPolicy, StorageType, Stream,
};
use tidings_common::Inspection;
use tidings_connector::{ErrorClass, Fault, Finding};

use crate::NatsConfig;

/// How long a connection waits to hear whether its stream is there.
const ASK_LIMIT: Duration = Duration::from_secs(1);
/// Repeats come at most so much later, unless the target was away.
const SAFE_WINDOW: Duration = Duration::from_secs(120);

/// Asks for the stream.
async fn ask(client: &Client, name: &str, within: Duration) -> Result<Stream, GetStreamErrorKind> {
    let mut jetstream = async_nats::jetstream::new(client.clone());
    jetstream.set_timeout(within);
    jetstream.get_stream(name).await.map_err(|why| why.kind())
}

fn is_missing(why: &GetStreamErrorKind) -> bool {
    matches!(why, GetStreamErrorKind::JetStream(told) if told.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

/// A fault if the server knows for certain that the stream is not there. Publishing would tell it too, but
/// not where somebody else listens to the subject. A user that may not ask gets no answer, and goes on.
pub(crate) async fn missing_stream(config: &NatsConfig, client: &Client) -> Option<Fault> {
    let name = config.stream.as_ref()?;
    let why = ask(client, name, config.options.connect_timeout.0.min(ASK_LIMIT)).await.err()?;
    let message = || {
        let servers = config.options.servers.join(", ");
        format!("stream `{name}` does not exist at {servers}: create it")
    };
    is_missing(&why).then(|| Fault::faulted(ErrorClass::Unroutable, message()))
}

/// Asks for the stream, and judges it.
pub(crate) async fn findings(config: &NatsConfig, client: &Client) -> Vec<Finding> {
    let mut found = vec![Finding::ok(format!("NATS answers at {}", config.options.servers.join(", ")))];
    let Some(name) = &config.stream else {
        found.push(Finding::warning(
            "core NATS: an event is lost, and counted as delivered, wherever nobody listens or somebody is \
             slow; name a `stream` where that matters",
        ));
        return found;
    };
    match ask(client, name, config.options.ack_timeout.0).await {
        Ok(stream) => {
            let info = stream.cached_info();
            found.extend(judge(config, &info.config, info.state.consumer_count));
        }
        Err(why) if is_missing(&why) => {
            found.push(Finding::error(format!("stream `{name}` does not exist: create it")));
        }
        Err(GetStreamErrorKind::JetStream(told)) => {
            found.push(Finding::error(format!("stream `{name}` cannot be used: {told}")));
        }
        // A user that may only publish gets no answer.
        Err(why) => found.push(Finding::warning(format!(
            "stream `{name}` cannot be looked at ({why}): its settings are not checked; allow \
             $JS.API.STREAM.INFO.{name}"
        ))),
    }
    found
}

fn judge(target: &NatsConfig, stream: &Config, consumers: usize) -> Vec<Finding> {
    let mut of = Inspection::of(format!("stream `{}`", stream.name));
    let subject = target.subject.source();
    let takes = stream.subjects.iter().any(|pattern| matches(pattern, subject));
    of.error(
        target.subject.is_fixed() && !takes,
        format!("does not take subject `{subject}`: add it to the stream's subjects"),
    );
    of.error(stream.no_ack, "acknowledges nothing: set no_ack to false");
    of.error(stream.sealed, "is sealed: it takes nothing any more");
    let (interest, heard) = (stream.retention == RetentionPolicy::Interest, consumers > 0);
    of.error(interest && !heard, "keeps what has consumers, and has none: every event would vanish");
    of.warn(interest && heard, "drops at once what no consumer asks for: use retention limits");
    let work = stream.retention == RetentionPolicy::WorkQueue;
    of.warn(work, "is a work queue: an event is gone once one consumer has it");
    let limits = limits(stream).join(", ");
    of.warn(
        stream.discard == DiscardPolicy::Old && !limits.is_empty(),
        format!(
            "deletes its oldest events at its limit ({limits}), read or not: use discard new, and events \
             wait here instead"
        ),
    );
    let age = stream.max_age.as_secs();
    of.warn(!stream.max_age.is_zero(), format!("deletes events after {age} s, read or not"));
    let in_memory = stream.storage == StorageType::Memory;
    of.warn(in_memory, "is in memory: a restart of its server loses acknowledged events");
    of.copies(stream.num_replicas);
    let early = stream.persist_mode == Some(PersistenceMode::Async);
    of.warn(early, "acknowledges before it writes: set persist_mode to default");
    let (window, safe) = (stream.duplicate_window.as_millis(), SAFE_WINDOW.as_secs());
    of.warn(
        stream.duplicate_window < SAFE_WINDOW,
        format!("recognises repeats for {window} ms only: set its duplicate window to at least {safe} s"),
    );
    match of.end() {
        found if found.is_empty() => vec![Finding::ok(format!("stream `{}` is safe", stream.name))],
        found => found,
    }
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
