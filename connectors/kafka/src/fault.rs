//! Why a cluster or its topic cannot be used, in words for people.
//!
//! Must never judge an error by itself: the table in `error.rs` does.

use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode as Code;
use tidings_connector::{ErrorClass, Fault};

use crate::KafkaConfig;
use crate::error::{Verdict, verdict};
use crate::outstanding::Outstanding;

/// No broker answered. What the library said about its connections tells why better than the missing answer
/// does.
pub(crate) fn unreachable(config: &KafkaConfig, outstanding: &Outstanding, error: &KafkaError) -> Fault {
    let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
    let (code, reason) = outstanding.trouble().unwrap_or_else(|| (code, code.to_string()));
    let message = format!("no Kafka broker answers at {}: {reason}", config.brokers);
    match verdict(code) {
        Verdict::Fault(class) | Verdict::TopicFault(class) => Fault::faulted(class, message),
        Verdict::Retry(class) => Fault::retry(class, message),
        Verdict::Delivered | Verdict::Poison(_) | Verdict::Broken => {
            Fault::retry(ErrorClass::Unknown, message)
        }
    }
}

/// The brokers do not give us the topic.
pub(crate) fn missing_topic(config: &KafkaConfig, code: Code) -> Fault {
    let topic = config.topic.source();
    match verdict(code) {
        Verdict::TopicFault(ErrorClass::Unroutable) => Fault::faulted(
            ErrorClass::Unroutable,
            format!("topic `{topic}` does not exist at {}: create it", config.brokers),
        ),
        Verdict::TopicFault(class) | Verdict::Fault(class) => {
            Fault::faulted(class, format!("topic `{topic}` cannot be used: {code}"))
        }
        _ => Fault::retry(ErrorClass::Connect, format!("topic `{topic}` cannot be used yet: {code}")),
    }
}
