//! Every row of the AMQP table.

use std::sync::Arc;

use lapin::protocol::AMQPError;
use lapin::{ChannelState, ConnectionState};
use tidings_connector::ErrorClass as Class;

use super::*;

/// The code of a channel's or a connection's end, and what it means.
const CODES: &[(u16, Verdict)] = &[
    (311, Verdict::Poison(Class::TooLarge)),
    (312, Verdict::NoWay(Class::Unroutable)),
    (313, Verdict::NoWay(Class::Unroutable)),
    (320, Verdict::Retry(Class::Connect)),
    (402, Verdict::Fault(Class::Unroutable)),
    (403, Verdict::NoWay(Class::Auth)),
    (404, Verdict::Fault(Class::Unroutable)),
    (405, Verdict::Retry(Class::Nack)),
    (406, Verdict::Poison(Class::TooLarge)),
    (501, Verdict::Fault(Class::Encode)),
    (502, Verdict::Fault(Class::Encode)),
    (503, Verdict::Fault(Class::Encode)),
    (504, Verdict::Fault(Class::Encode)),
    (505, Verdict::Fault(Class::Encode)),
    (506, Verdict::Retry(Class::Throttle)),
    (530, Verdict::Fault(Class::Auth)),
    (540, Verdict::Fault(Class::Encode)),
    (541, Verdict::Retry(Class::Nack)),
];

#[test]
fn every_code() {
    for (code, expected) in CODES {
        let error = AMQPError::from_id(*code, "".into()).expect("a code of the protocol");
        assert_eq!(verdict(&ErrorKind::ProtocolError(error).into()), *expected, "{code}");
    }
    let known: Vec<u16> = (0..1_000).filter(|code| AMQPError::from_id(*code, "".into()).is_some()).collect();
    assert_eq!(known, CODES.iter().map(|(code, _)| *code).collect::<Vec<_>>());
}

#[test]
fn every_answer() {
    assert_eq!(answered(Proof::Routed), Verdict::Delivered);
    assert_eq!(answered(Proof::Returned), Verdict::NoWay(Class::Unroutable));
    assert_eq!(answered(Proof::Refused), Verdict::Retry(Class::Nack));
}

#[test]
fn every_error_of_the_library() {
    let of = |kind: ErrorKind| verdict(&kind.into());
    for kind in [
        ErrorKind::InvalidChannel(1),
        ErrorKind::InvalidChannelState(ChannelState::Closed, ""),
        ErrorKind::InvalidConnectionState(ConnectionState::Error),
        ErrorKind::MissingHeartbeatError,
        ErrorKind::RuntimeShutdownError(Arc::new(io::ErrorKind::Other.into())),
        ErrorKind::IOError(Arc::new(io::ErrorKind::ConnectionReset.into())),
        ErrorKind::IOError(Arc::new(io::ErrorKind::ConnectionRefused.into())),
    ] {
        assert_eq!(of(kind.clone()), Verdict::Retry(Class::Connect), "{kind:?}");
    }
    let timed_out = ErrorKind::IOError(Arc::new(io::ErrorKind::TimedOut.into()));
    assert_eq!(of(timed_out), Verdict::Retry(Class::Timeout));
    assert_eq!(of(ErrorKind::ChannelsLimitReached), Verdict::Retry(Class::Throttle));
    assert_eq!(of(ErrorKind::AuthProviderError(String::new())), Verdict::Fault(Class::Auth));
    for kind in [ErrorKind::FutureCompleted, ErrorKind::NoDefaultRuntime] {
        assert_eq!(of(kind.clone()), Verdict::Retry(Class::Unknown), "{kind:?}");
    }
}

#[test]
fn certificates_fault_and_other_tls_failures_do_not() {
    let of = |error: rustls::Error| io_error(&io::Error::other(io::Error::other(error)));
    let bad = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
    assert_eq!(of(bad), Verdict::Fault(Class::Tls));
    let refused = rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRequired);
    assert_eq!(of(refused), Verdict::Fault(Class::Tls));
    assert_eq!(of(rustls::Error::DecryptError), Verdict::Retry(Class::Tls));
    assert_eq!(io_error(&io::Error::other("something else")), Verdict::Retry(Class::Connect));
}

#[test]
fn a_verdict_about_many_rejects_nobody() {
    let poison = |alone| outcome(Verdict::Poison(Class::TooLarge), alone, Scope::Target, "");
    assert!(matches!(poison(false), Outcome::Retry { after: None, .. }));
    assert!(matches!(poison(true), Outcome::Rejected { .. }));
}

#[test]
fn a_missing_way_affects_what_names_it() {
    let of = |alone, scope| outcome(Verdict::NoWay(Class::Auth), alone, scope, "");
    assert!(matches!(of(true, Scope::Destination), Outcome::Faulted { scope: Scope::Destination, .. }));
    assert!(matches!(of(false, Scope::Destination), Outcome::Retry { .. }));
    for alone in [true, false] {
        assert!(matches!(of(alone, Scope::Target), Outcome::Faulted { scope: Scope::Target, .. }));
    }
}

#[test]
fn the_other_verdicts_are_what_they_say() {
    for scope in [Scope::Target, Scope::Destination] {
        let of = |verdict| outcome(verdict, true, scope, "");
        assert_eq!(of(Verdict::Delivered), Outcome::Delivered);
        assert!(matches!(of(Verdict::Retry(Class::Nack)), Outcome::Retry { after: None, .. }));
        assert!(matches!(of(Verdict::Fault(Class::Auth)), Outcome::Faulted { scope: Scope::Target, .. }));
    }
}
