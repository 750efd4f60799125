//! What `tidings check --connect` says about a topic: everything that could lose, hide or refuse an event.
//!
//! Must never change anything at the brokers.

use rdkafka::admin::{AdminOptions, ConfigResource, ResourceSpecifier};
use tidings_common::Inspection;
use tidings_connector::Finding;
use tokio::runtime::Handle;

use crate::config::MAX_MESSAGE_BYTES;
use crate::{KafkaConfig, Sasl};

/// Copies that must have an event before it is acknowledged.
const SAFE_IN_SYNC: i64 = 2;
/// A consumer may be away as long, in milliseconds: a day.
const SAFE_RETENTION: i64 = 24 * HOUR;
/// In milliseconds.
const HOUR: i64 = 3_600_000;

/// Asks for the settings of the topic, which the brokers know with so few copies, and judges them. `None`:
/// which topics there are is known when events name them. Blocks for at most `connect_timeout`.
pub(crate) fn findings(config: &KafkaConfig, copies: Option<usize>) -> Vec<Finding> {
    let topic = config.topic.source();
    let mut found = vec![Finding::ok(format!("Kafka answers at {}", config.brokers()))];
    if config.security.is_readable() {
        found.push(Finding::warning(
            "the password or token can be read on the way to Kafka: add `tls = true`",
        ));
    }
    let Some(copies) = copies else {
        found.push(Finding::ok(format!("topics follow `{topic}`: each is looked up when first used")));
        return found;
    };
    let settings = settings(config);
    let judged = judge(topic, copies, |key| settings.as_ref().ok()?.get(key)?.value.clone());
    let quiet = judged.is_empty();
    found.extend(judged);
    match settings {
        Err(why) => found.push(Finding::warning(format!(
            "the settings of topic `{topic}` cannot be looked at ({why}): allow DescribeConfigs, or see to \
             min.insync.replicas, unclean.leader.election.enable, cleanup.policy and retention yourself"
        ))),
        Ok(_) if quiet => found.push(Finding::ok(format!("topic `{topic}` is safe, with {copies} copies"))),
        Ok(_) => {}
    }
    found
}

fn settings(config: &KafkaConfig) -> Result<ConfigResource, String> {
    if config.security.sasl == Sasl::OauthBearer {
        return Err("the client library asks for settings without tokens".to_owned());
    }
    let admin = config.admin()?;
    let options = AdminOptions::new().request_timeout(Some(config.connect_timeout()));
    let topic = [ResourceSpecifier::Topic(config.topic.source())];
    let told = Handle::current().block_on(admin.describe_configs(&topic, &options));
    match told.map_err(|e| e.to_string())?.into_iter().next() {
        Some(settings) => settings.map_err(|code| code.to_string()),
        None => Err("the cluster said nothing".to_owned()),
    }
}

/// Everything that is wrong with a topic of so many copies. A setting that is not told is not judged.
fn judge(topic: &str, copies: usize, setting: impl Fn(&str) -> Option<String>) -> Vec<Finding> {
    let number = |key: &str| setting(key).and_then(|value| value.parse::<i64>().ok());
    let mut of = Inspection::of(format!("topic `{topic}`"));
    of.copies(copies);
    let needed = number("min.insync.replicas").unwrap_or(SAFE_IN_SYNC);
    let unwritable = number("min.insync.replicas").is_some_and(|needed| needed > copies as i64);
    of.error(
        unwritable,
        format!(
            "has {copies} copies and needs {needed} for each event: nothing can be written; lower \
             min.insync.replicas, or raise the replication factor"
        ),
    );
    of.warn(
        needed < SAFE_IN_SYNC && !unwritable,
        format!(
            "acknowledges an event that {needed} broker has: it may be lost with it; set \
             min.insync.replicas to {SAFE_IN_SYNC}"
        ),
    );
    of.warn(
        setting("unclean.leader.election.enable").as_deref() == Some("true"),
        "may be led by a broker that missed acknowledged events, which are then gone: set \
         unclean.leader.election.enable to false",
    );
    let policy = setting("cleanup.policy").unwrap_or_default();
    of.warn(
        policy.contains("compact"),
        "is compacted: of each object the last event stays, and a consumer that is late never sees the \
         others; set cleanup.policy to delete",
    );
    let kept = |key| number(key).filter(|_| policy.contains("delete")).unwrap_or(-1);
    let (time, bytes) = (kept("retention.ms"), kept("retention.bytes"));
    let minutes = time / (HOUR / 60);
    of.warn(
        (0..SAFE_RETENTION).contains(&time),
        format!("deletes events after {minutes} min, read or not: raise retention.ms"),
    );
    of.warn(
        bytes >= 0,
        format!(
            "deletes its oldest events beyond {bytes} bytes a partition, read or not: set retention.bytes to \
             -1"
        ),
    );
    let most = number("max.message.bytes").unwrap_or(i64::MAX);
    of.warn(
        most < MAX_MESSAGE_BYTES as i64,
        format!(
            "takes {most} bytes at once, and an event may have {MAX_MESSAGE_BYTES}: a larger one is \
             rejected; raise max.message.bytes"
        ),
    );
    of.end()
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
