//! The table of Kafka's errors: what each means for the event that met it.
//!
//! Must never hold a second table, and never call anything delivered or rejected that is not in this one.

use rdkafka::types::RDKafkaErrorCode as Code;
use tidings_common::Verdict::{self, Delivered, Fault, NoWay, Poison, Retry};
use tidings_connector::ErrorClass as Class;

/// One match, written as the table that it is.
macro_rules! table {
    ($code:expr, else $otherwise:expr, { $($verdict:expr => $($name:ident)+;)+ }) => {
        match $code {
            $($(Code::$name)|+ => $verdict,)+
            _ => $otherwise,
        }
    };
}

/// The table. A code that is not in it may mean anything, so it is a Retry. Poison is true of the batch that
/// a record travelled in, which may be more than the record.
pub(crate) fn verdict(code: Code) -> Verdict {
    table!(code, else Retry(Class::Unknown), {
        Delivered => NoError DuplicateSequenceNumber;

        Retry(Class::Dns) => Resolve;
        Retry(Class::Connect) =>
            BrokerTransportFailure AllBrokersDown BrokerDestroy DestroyBroker NodeUpdate WaitingForCoordinator
            WaitCache LeaderNotAvailable NotLeaderForPartition BrokerNotAvailable ReplicaNotAvailable
            NetworkException CoordinatorLoadInProgress CoordinatorNotAvailable NotCoordinator NotController
            FencedLeaderEpoch UnknownLeaderEpoch StaleControllerEpoch StaleBrokerEpoch
            PreferredLeaderNotAvailable EligibleLeadersNotAvailable RebootstrapRequired PurgeQueue
            PurgeInflight
            // The producer is beyond use; nothing is wrong with the event.
            Fatal Fenced ProducerFenced GaplessGuarantee;
        Retry(Class::Timeout) => MessageTimedOut OperationTimedOut TimedOutQueue RequestTimedOut;
        Retry(Class::Throttle) => QueueFull ThrottlingQuotaExceeded;
        Retry(Class::Nack) =>
            ISRInsufficient NotEnoughReplicas NotEnoughReplicasAfterAppend KafkaStorageError LogDirNotFound
            InvalidMessage InvalidDifferentRecord OutOfOrderSequenceNumber UnknownProducerId
            InvalidProducerEpoch InvalidProducerIdMapping;

        NoWay(Class::Unroutable) =>
            UnknownTopicOrPartition UnknownTopic UnknownPartition UnknownTopicId InvalidTopic;
        NoWay(Class::Auth) => TopicAuthorizationFailed;

        Fault(Class::Auth) =>
            ClusterAuthorizationFailed TransactionalIdAuthorizationFailed Authentication
            SaslAuthenticationFailed UnsupportedSASLMechanism IllegalSASLState SecurityDisabled;
        Fault(Class::Tls) => SSL;
        Fault(Class::Encode) =>
            InvalidRequiredAcks UnsupportedVersion UnsupportedForMessageFormat UnsupportedCompressionType
            UnsupportedFeature;

        Poison(Class::TooLarge) => MessageSizeTooLarge MessageBatchTooLarge;
        Poison(Class::Encode) => InvalidRecord PolicyViolation;
    })
}

/// True if the producer cannot be used any more.
pub(crate) fn is_fatal(code: Code) -> bool {
    matches!(code, Code::Fatal | Code::Fenced | Code::ProducerFenced | Code::GaplessGuarantee)
}

/// What the library says of a connection. A broker that does not take our certificate says so after the
/// handshake, and the library counts that as a connection that broke.
pub(crate) fn of_connection(code: Code, reason: &str) -> Code {
    let about_trust =
        ["SSL alert number", "certificate verify failed"].iter().any(|why| reason.contains(why));
    if code == Code::BrokerTransportFailure && about_trust { Code::SSL } else { code }
}

#[cfg(test)]
mod tests {
    use rdkafka::types::RDKafkaRespErr;

    use super::*;

    const ROWS: &[(Code, Verdict)] = &[
        (Code::NoError, Delivered),
        (Code::DuplicateSequenceNumber, Delivered),
        (Code::LeaderNotAvailable, Retry(Class::Connect)),
        (Code::CoordinatorNotAvailable, Retry(Class::Connect)),
        (Code::NotLeaderForPartition, Retry(Class::Connect)),
        (Code::NetworkException, Retry(Class::Connect)),
        (Code::BrokerTransportFailure, Retry(Class::Connect)),
        (Code::AllBrokersDown, Retry(Class::Connect)),
        (Code::PurgeQueue, Retry(Class::Connect)),
        (Code::PurgeInflight, Retry(Class::Connect)),
        (Code::Resolve, Retry(Class::Dns)),
        (Code::MessageTimedOut, Retry(Class::Timeout)),
        (Code::RequestTimedOut, Retry(Class::Timeout)),
        (Code::OperationTimedOut, Retry(Class::Timeout)),
        (Code::QueueFull, Retry(Class::Throttle)),
        (Code::ThrottlingQuotaExceeded, Retry(Class::Throttle)),
        (Code::NotEnoughReplicas, Retry(Class::Nack)),
        (Code::NotEnoughReplicasAfterAppend, Retry(Class::Nack)),
        (Code::KafkaStorageError, Retry(Class::Nack)),
        (Code::InvalidDifferentRecord, Retry(Class::Nack)),
        (Code::OutOfOrderSequenceNumber, Retry(Class::Nack)),
        (Code::InvalidProducerEpoch, Retry(Class::Nack)),
        (Code::UnknownTopicOrPartition, NoWay(Class::Unroutable)),
        (Code::UnknownTopic, NoWay(Class::Unroutable)),
        (Code::UnknownPartition, NoWay(Class::Unroutable)),
        (Code::InvalidTopic, NoWay(Class::Unroutable)),
        (Code::TopicAuthorizationFailed, NoWay(Class::Auth)),
        (Code::ClusterAuthorizationFailed, Fault(Class::Auth)),
        (Code::SaslAuthenticationFailed, Fault(Class::Auth)),
        (Code::Authentication, Fault(Class::Auth)),
        (Code::SSL, Fault(Class::Tls)),
        (Code::InvalidRequiredAcks, Fault(Class::Encode)),
        (Code::UnsupportedVersion, Fault(Class::Encode)),
        (Code::UnsupportedForMessageFormat, Fault(Class::Encode)),
        (Code::UnsupportedCompressionType, Fault(Class::Encode)),
        (Code::MessageSizeTooLarge, Poison(Class::TooLarge)),
        (Code::MessageBatchTooLarge, Poison(Class::TooLarge)),
        (Code::InvalidRecord, Poison(Class::Encode)),
        (Code::PolicyViolation, Poison(Class::Encode)),
        (Code::Fatal, Retry(Class::Connect)),
        (Code::Fenced, Retry(Class::Connect)),
        (Code::ProducerFenced, Retry(Class::Connect)),
        (Code::GaplessGuarantee, Retry(Class::Connect)),
        (Code::Unknown, Retry(Class::Unknown)),
        (Code::InvalidArgument, Retry(Class::Unknown)),
    ];

    #[test]
    fn every_row() {
        for (code, expected) in ROWS {
            assert_eq!(verdict(*code), *expected, "{code:?}");
            let fatal = [Code::Fatal, Code::Fenced, Code::ProducerFenced, Code::GaplessGuarantee];
            assert_eq!(is_fatal(*code), fatal.contains(code), "{code:?}");
        }
    }

    #[test]
    fn whatever_is_not_in_the_table_is_retried() {
        let named: Vec<Code> = ROWS.iter().map(|(code, _)| *code).collect();
        let harmless =
            [Code::UnknownTopicId, Code::TransactionalIdAuthorizationFailed, Code::SecurityDisabled];
        let faults = [Code::UnsupportedSASLMechanism, Code::IllegalSASLState, Code::UnsupportedFeature];
        let mut seen = 0;
        for code in (-200..200).filter_map(|n| RDKafkaRespErr::try_from(n).ok()).map(Code::from) {
            let listed = [&named[..], &harmless, &faults].iter().any(|list| list.contains(&code));
            seen += 1;
            if !listed {
                assert!(matches!(verdict(code), Retry(_)), "{code:?} is {:?}", verdict(code));
            }
        }
        assert!(seen > 100, "only {seen} codes were tried");
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
        // On a slow machine the library meets its own refusal of a certificate so.
        let ours =
            "error:0A000086:SSL routines::certificate verify failed (after 10ms in state SSL_HANDSHAKE)";
        assert_eq!(of_connection(broken, ours), Code::SSL);
    }
}
