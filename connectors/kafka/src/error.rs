//! The table of Kafka's errors: what each means for the event that met it.
//!
//! Must never hold a second table, and never call anything delivered or rejected that is not in this one.

use std::time::Duration;

use rdkafka::types::RDKafkaErrorCode as Code;
use tidings_connector::{Cause, ErrorClass, Outcome, Scope};

/// What one error code means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The broker has it.
    Delivered,
    /// Not known to be written; waiting may mend it.
    Retry(ErrorClass),
    /// Nothing gets through to this topic until somebody mends it.
    TopicFault(ErrorClass),
    /// Nothing gets through at all until somebody mends it.
    Fault(ErrorClass),
    /// The record is unacceptable; true of the batch it travelled in, which may be more than the record.
    Poison(ErrorClass),
    /// The producer cannot be used any more. Nothing is wrong with the event.
    Broken,
}

/// The table. A code that is not in it may mean anything, so it is a Retry.
pub(crate) fn verdict(code: Code) -> Verdict {
    use ErrorClass as Class;
    match code {
        Code::NoError | Code::DuplicateSequenceNumber => Verdict::Delivered,

        Code::Resolve => Verdict::Retry(Class::Dns),
        Code::BrokerTransportFailure
        | Code::AllBrokersDown
        | Code::BrokerDestroy
        | Code::DestroyBroker
        | Code::NodeUpdate
        | Code::WaitingForCoordinator
        | Code::WaitCache
        | Code::LeaderNotAvailable
        | Code::NotLeaderForPartition
        | Code::BrokerNotAvailable
        | Code::ReplicaNotAvailable
        | Code::NetworkException
        | Code::CoordinatorLoadInProgress
        | Code::CoordinatorNotAvailable
        | Code::NotCoordinator
        | Code::NotController
        | Code::FencedLeaderEpoch
        | Code::UnknownLeaderEpoch
        | Code::StaleControllerEpoch
        | Code::StaleBrokerEpoch
        | Code::PreferredLeaderNotAvailable
        | Code::EligibleLeadersNotAvailable
        | Code::RebootstrapRequired
        | Code::PurgeQueue
        | Code::PurgeInflight => Verdict::Retry(Class::Connect),
        Code::MessageTimedOut | Code::OperationTimedOut | Code::TimedOutQueue | Code::RequestTimedOut => {
            Verdict::Retry(Class::Timeout)
        }
        Code::QueueFull | Code::ThrottlingQuotaExceeded => Verdict::Retry(Class::Throttle),
        Code::ISRInsufficient
        | Code::NotEnoughReplicas
        | Code::NotEnoughReplicasAfterAppend
        | Code::KafkaStorageError
        | Code::LogDirNotFound
        | Code::InvalidMessage
        | Code::InvalidDifferentRecord
        | Code::OutOfOrderSequenceNumber
        | Code::UnknownProducerId
        | Code::InvalidProducerEpoch
        | Code::InvalidProducerIdMapping => Verdict::Retry(Class::Nack),

        Code::UnknownTopicOrPartition
        | Code::UnknownTopic
        | Code::UnknownPartition
        | Code::UnknownTopicId
        | Code::InvalidTopic => Verdict::TopicFault(Class::Unroutable),
        Code::TopicAuthorizationFailed => Verdict::TopicFault(Class::Auth),

        Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState
        | Code::SecurityDisabled => Verdict::Fault(Class::Auth),
        Code::SSL => Verdict::Fault(Class::Tls),
        Code::InvalidRequiredAcks
        | Code::UnsupportedVersion
        | Code::UnsupportedForMessageFormat
        | Code::UnsupportedCompressionType
        | Code::UnsupportedFeature => Verdict::Fault(Class::Encode),

        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge => Verdict::Poison(Class::TooLarge),
        Code::InvalidRecord | Code::PolicyViolation => Verdict::Poison(Class::Encode),

        Code::Fatal | Code::Fenced | Code::ProducerFenced | Code::GaplessGuarantee => Verdict::Broken,

        _ => Verdict::Retry(Class::Unknown),
    }
}

/// What the library says of a connection. A broker that does not take our certificate says so after the
/// handshake, and the library counts that as a connection that broke.
pub(crate) fn of_connection(code: Code, reason: &str) -> Code {
    let alert = code == Code::BrokerTransportFailure && reason.contains("SSL alert number");
    if alert { Code::SSL } else { code }
}

/// The outcome of one attempt.
///
/// `single`: the verdict is about this message and no other. A batch that was refused may hold one culprit
/// and many innocents, so a poison verdict about a batch is a Retry, and the message travels alone next time.
/// `topic_scope`: what a missing topic affects: the target, or one destination of a template.
pub(crate) fn outcome(code: Code, single: bool, topic_scope: Scope, text: &str) -> Outcome {
    let after = None::<Duration>;
    match verdict(code) {
        Verdict::Delivered => Outcome::Delivered,
        Verdict::Retry(class) => Outcome::Retry { after, why: Cause::new(class, text) },
        Verdict::TopicFault(class) => Outcome::Faulted { scope: topic_scope, why: Cause::new(class, text) },
        Verdict::Fault(class) => Outcome::Faulted { scope: Scope::Target, why: Cause::new(class, text) },
        Verdict::Poison(class) if single => Outcome::Rejected { why: Cause::new(class, text) },
        Verdict::Poison(class) => Outcome::Retry { after, why: Cause::new(class, text) },
        Verdict::Broken => Outcome::Retry { after, why: Cause::new(ErrorClass::Connect, text) },
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::types::RDKafkaRespErr;

    use super::*;

    const ROWS: &[(Code, Verdict)] = &[
        (Code::NoError, Verdict::Delivered),
        (Code::DuplicateSequenceNumber, Verdict::Delivered),
        (Code::LeaderNotAvailable, Verdict::Retry(ErrorClass::Connect)),
        (Code::CoordinatorNotAvailable, Verdict::Retry(ErrorClass::Connect)),
        (Code::NotLeaderForPartition, Verdict::Retry(ErrorClass::Connect)),
        (Code::NetworkException, Verdict::Retry(ErrorClass::Connect)),
        (Code::BrokerTransportFailure, Verdict::Retry(ErrorClass::Connect)),
        (Code::AllBrokersDown, Verdict::Retry(ErrorClass::Connect)),
        (Code::PurgeQueue, Verdict::Retry(ErrorClass::Connect)),
        (Code::PurgeInflight, Verdict::Retry(ErrorClass::Connect)),
        (Code::Resolve, Verdict::Retry(ErrorClass::Dns)),
        (Code::MessageTimedOut, Verdict::Retry(ErrorClass::Timeout)),
        (Code::RequestTimedOut, Verdict::Retry(ErrorClass::Timeout)),
        (Code::OperationTimedOut, Verdict::Retry(ErrorClass::Timeout)),
        (Code::QueueFull, Verdict::Retry(ErrorClass::Throttle)),
        (Code::ThrottlingQuotaExceeded, Verdict::Retry(ErrorClass::Throttle)),
        (Code::NotEnoughReplicas, Verdict::Retry(ErrorClass::Nack)),
        (Code::NotEnoughReplicasAfterAppend, Verdict::Retry(ErrorClass::Nack)),
        (Code::KafkaStorageError, Verdict::Retry(ErrorClass::Nack)),
        (Code::InvalidDifferentRecord, Verdict::Retry(ErrorClass::Nack)),
        (Code::OutOfOrderSequenceNumber, Verdict::Retry(ErrorClass::Nack)),
        (Code::InvalidProducerEpoch, Verdict::Retry(ErrorClass::Nack)),
        (Code::UnknownTopicOrPartition, Verdict::TopicFault(ErrorClass::Unroutable)),
        (Code::UnknownTopic, Verdict::TopicFault(ErrorClass::Unroutable)),
        (Code::UnknownPartition, Verdict::TopicFault(ErrorClass::Unroutable)),
        (Code::InvalidTopic, Verdict::TopicFault(ErrorClass::Unroutable)),
        (Code::TopicAuthorizationFailed, Verdict::TopicFault(ErrorClass::Auth)),
        (Code::ClusterAuthorizationFailed, Verdict::Fault(ErrorClass::Auth)),
        (Code::SaslAuthenticationFailed, Verdict::Fault(ErrorClass::Auth)),
        (Code::Authentication, Verdict::Fault(ErrorClass::Auth)),
        (Code::SSL, Verdict::Fault(ErrorClass::Tls)),
        (Code::InvalidRequiredAcks, Verdict::Fault(ErrorClass::Encode)),
        (Code::UnsupportedVersion, Verdict::Fault(ErrorClass::Encode)),
        (Code::UnsupportedForMessageFormat, Verdict::Fault(ErrorClass::Encode)),
        (Code::UnsupportedCompressionType, Verdict::Fault(ErrorClass::Encode)),
        (Code::MessageSizeTooLarge, Verdict::Poison(ErrorClass::TooLarge)),
        (Code::MessageBatchTooLarge, Verdict::Poison(ErrorClass::TooLarge)),
        (Code::InvalidRecord, Verdict::Poison(ErrorClass::Encode)),
        (Code::PolicyViolation, Verdict::Poison(ErrorClass::Encode)),
        (Code::Fatal, Verdict::Broken),
        (Code::Fenced, Verdict::Broken),
        (Code::ProducerFenced, Verdict::Broken),
        (Code::BrokerDestroy, Verdict::Retry(ErrorClass::Connect)),
        (Code::DestroyBroker, Verdict::Retry(ErrorClass::Connect)),
        (Code::NodeUpdate, Verdict::Retry(ErrorClass::Connect)),
        (Code::WaitingForCoordinator, Verdict::Retry(ErrorClass::Connect)),
        (Code::WaitCache, Verdict::Retry(ErrorClass::Connect)),
        (Code::BrokerNotAvailable, Verdict::Retry(ErrorClass::Connect)),
        (Code::ReplicaNotAvailable, Verdict::Retry(ErrorClass::Connect)),
        (Code::CoordinatorLoadInProgress, Verdict::Retry(ErrorClass::Connect)),
        (Code::NotCoordinator, Verdict::Retry(ErrorClass::Connect)),
        (Code::NotController, Verdict::Retry(ErrorClass::Connect)),
        (Code::FencedLeaderEpoch, Verdict::Retry(ErrorClass::Connect)),
        (Code::UnknownLeaderEpoch, Verdict::Retry(ErrorClass::Connect)),
        (Code::StaleControllerEpoch, Verdict::Retry(ErrorClass::Connect)),
        (Code::StaleBrokerEpoch, Verdict::Retry(ErrorClass::Connect)),
        (Code::PreferredLeaderNotAvailable, Verdict::Retry(ErrorClass::Connect)),
        (Code::EligibleLeadersNotAvailable, Verdict::Retry(ErrorClass::Connect)),
        (Code::RebootstrapRequired, Verdict::Retry(ErrorClass::Connect)),
        (Code::TimedOutQueue, Verdict::Retry(ErrorClass::Timeout)),
        (Code::ISRInsufficient, Verdict::Retry(ErrorClass::Nack)),
        (Code::LogDirNotFound, Verdict::Retry(ErrorClass::Nack)),
        (Code::InvalidMessage, Verdict::Retry(ErrorClass::Nack)),
        (Code::UnknownProducerId, Verdict::Retry(ErrorClass::Nack)),
        (Code::InvalidProducerIdMapping, Verdict::Retry(ErrorClass::Nack)),
        (Code::UnknownTopicId, Verdict::TopicFault(ErrorClass::Unroutable)),
        (Code::TransactionalIdAuthorizationFailed, Verdict::Fault(ErrorClass::Auth)),
        (Code::UnsupportedSASLMechanism, Verdict::Fault(ErrorClass::Auth)),
        (Code::IllegalSASLState, Verdict::Fault(ErrorClass::Auth)),
        (Code::SecurityDisabled, Verdict::Fault(ErrorClass::Auth)),
        (Code::UnsupportedFeature, Verdict::Fault(ErrorClass::Encode)),
        (Code::GaplessGuarantee, Verdict::Broken),
        (Code::Unknown, Verdict::Retry(ErrorClass::Unknown)),
        (Code::InvalidArgument, Verdict::Retry(ErrorClass::Unknown)),
    ];

    #[test]
    fn every_row() {
        for (code, expected) in ROWS {
            assert_eq!(verdict(*code), *expected, "{code:?}");
        }
    }

    #[test]
    fn whatever_is_not_in_the_table_is_retried() {
        let listed = |code: &Code| ROWS.iter().any(|(listed, _)| listed == code);
        let mut seen = 0;
        for code in (-200..200).filter_map(|n| RDKafkaRespErr::try_from(n).ok()).map(Code::from) {
            seen += 1;
            if !listed(&code) {
                assert_eq!(verdict(code), Verdict::Retry(ErrorClass::Unknown), "{code:?}");
            }
        }
        assert!(seen > 100, "only {seen} codes were tried");
    }

    #[test]
    fn a_refused_batch_rejects_nobody() {
        let of = |single| outcome(Code::MessageSizeTooLarge, single, Scope::Target, "too large");
        assert!(matches!(of(false), Outcome::Retry { after: None, .. }));
        assert!(matches!(of(true), Outcome::Rejected { .. }));
    }

    #[test]
    fn a_broker_s_own_alert_is_no_broken_connection() {
        let broken = Code::BrokerTransportFailure;
        let alert =
            "Receive failed: error:0A000412:SSL routines::sslv3 alert bad certificate: SSL alert number 42";
        assert_eq!(of_connection(broken, alert), Code::SSL);
        let end = "Receive failed: error:0A000126:SSL routines::unexpected eof while reading";
        assert_eq!(of_connection(broken, end), broken);
        assert_eq!(of_connection(Code::Authentication, alert), Code::Authentication);
    }

    #[test]
    fn a_missing_topic_affects_what_names_it() {
        let of = |scope| outcome(Code::UnknownTopic, false, scope, "no such topic");
        assert!(matches!(of(Scope::Target), Outcome::Faulted { scope: Scope::Target, .. }));
        assert!(matches!(of(Scope::Destination), Outcome::Faulted { scope: Scope::Destination, .. }));
    }
}
