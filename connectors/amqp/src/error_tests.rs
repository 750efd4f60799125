//! Every row of the AMQP table.

use std::io;
use std::sync::Arc;

use lapin::protocol::AMQPError;
use lapin::{ChannelState, ConnectionState};

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
    let stranger = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
    let stranger = ErrorKind::IOError(Arc::new(io::Error::other(stranger)));
    assert_eq!(of(stranger), Verdict::Fault(Class::Tls));
    assert_eq!(of(ErrorKind::ChannelsLimitReached), Verdict::Retry(Class::Throttle));
    assert_eq!(of(ErrorKind::AuthProviderError(String::new())), Verdict::Fault(Class::Auth));
    for kind in [ErrorKind::FutureCompleted, ErrorKind::NoDefaultRuntime] {
        assert_eq!(of(kind.clone()), Verdict::Retry(Class::Unknown), "{kind:?}");
    }
}
