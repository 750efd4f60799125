//! Every row of the table.

use std::io;

use async_nats::error::Error;
use async_nats::rustls;
use tidings_connector::Cause;

use super::*;

const ROWS: &[(Met, Verdict)] = &[
    (Met::Stored, Verdict::Delivered),
    (Met::Echoed, Verdict::Delivered),
    (Met::OtherStream, Verdict::NoWay(Class::Unroutable)),
    (Met::NoResponders, Verdict::NoWay(Class::Unroutable)),
    (Met::Denied, Verdict::NoWay(Class::Auth)),
    (Met::TooLarge, Verdict::Poison(Class::TooLarge)),
    (Met::Unwritable, Verdict::Poison(Class::Encode)),
    (Met::Lost, Verdict::Retry(Class::Connect)),
    (Met::Silent, Verdict::Retry(Class::Timeout)),
    (Met::Unreadable, Verdict::Retry(Class::Unknown)),
    (Met::Refused(10_077), Verdict::Retry(Class::Throttle)),
    (Met::Refused(10_002), Verdict::Retry(Class::Throttle)),
    (Met::Refused(10_023), Verdict::Retry(Class::Throttle)),
    (Met::Refused(10_028), Verdict::Retry(Class::Throttle)),
    (Met::Refused(10_047), Verdict::Retry(Class::Throttle)),
    (Met::Refused(10_122), Verdict::Retry(Class::Throttle)),
    (Met::Refused(10_167), Verdict::Retry(Class::Throttle)),
    (Met::Refused(10_158), Verdict::Retry(Class::Nack)),
    (Met::Refused(10_004), Verdict::Retry(Class::Connect)),
    (Met::Refused(10_005), Verdict::Retry(Class::Connect)),
    (Met::Refused(10_006), Verdict::Retry(Class::Connect)),
    (Met::Refused(10_007), Verdict::Retry(Class::Connect)),
    (Met::Refused(10_008), Verdict::Retry(Class::Connect)),
    (Met::Refused(10_009), Verdict::Retry(Class::Connect)),
    (Met::Refused(10_041), Verdict::Retry(Class::Connect)),
    (Met::Refused(10_118), Verdict::Retry(Class::Connect)),
    (Met::Refused(10_059), Verdict::NoWay(Class::Unroutable)),
    (Met::Refused(10_060), Verdict::NoWay(Class::Unroutable)),
    (Met::Refused(10_035), Verdict::Fault(Class::Unroutable)),
    (Met::Refused(10_039), Verdict::Fault(Class::Unroutable)),
    (Met::Refused(10_076), Verdict::Fault(Class::Unroutable)),
    (Met::Refused(10_109), Verdict::Fault(Class::Unroutable)),
    (Met::Refused(10_054), Verdict::Poison(Class::TooLarge)),
    (Met::Refused(10_097), Verdict::Poison(Class::TooLarge)),
];

#[test]
fn every_row() {
    for (met, expected) in ROWS {
        assert_eq!(verdict(*met), *expected, "{met:?}");
    }
}

#[test]
fn a_code_that_is_not_in_the_table_is_retried() {
    let listed = |code| ROWS.iter().any(|(met, _)| *met == Met::Refused(code));
    for code in (0..100_000).filter(|code| !listed(*code)) {
        assert_eq!(verdict(Met::Refused(code)), Verdict::Retry(Class::Unknown), "{code}");
    }
}

#[test]
fn a_subject_without_a_stream_affects_what_names_it() {
    for scope in [Scope::Target, Scope::Destination] {
        for met in [Met::NoResponders, Met::OtherStream, Met::Denied, Met::Refused(10_060)] {
            let told = outcome(met, scope, "x");
            assert!(matches!(&told, Outcome::Faulted { scope: s, .. } if *s == scope), "{met:?}: {told:?}");
        }
        let disabled = outcome(Met::Refused(10_076), scope, "x");
        assert!(matches!(disabled, Outcome::Faulted { scope: Scope::Target, .. }), "{disabled:?}");
    }
}

#[test]
fn connections_fail_for_a_while_or_until_somebody_mends_them() {
    let retry = |class| Outcome::Retry { after: None, why: Cause::new(class, "") };
    let fault = |class| Outcome::Faulted { scope: Scope::Target, why: Cause::new(class, "") };
    let handshake = |why| io::Error::new(io::ErrorKind::InvalidData, why);
    let stranger = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
    let cases: [(ConnectError, Outcome); 11] = [
        (Error::new(Kind::Dns), retry(Class::Dns)),
        (Error::new(Kind::TimedOut), retry(Class::Timeout)),
        (Error::new(Kind::Io), retry(Class::Connect)),
        (Error::with_source(Kind::Io, io::Error::other("reset")), retry(Class::Connect)),
        (Error::new(Kind::MaxReconnects), retry(Class::Connect)),
        (Error::new(Kind::Authentication), fault(Class::Auth)),
        (Error::new(Kind::AuthorizationViolation), fault(Class::Auth)),
        (Error::new(Kind::Tls), fault(Class::Tls)),
        (Error::with_source(Kind::Io, handshake(stranger)), fault(Class::Tls)),
        (Error::with_source(Kind::Io, handshake(rustls::Error::DecryptError)), retry(Class::Tls)),
        (Error::new(Kind::ServerParse), fault(Class::Unknown)),
    ];
    for (error, expected) in cases {
        let told = connect_fault("nats://h:1", &error);
        let class = |outcome: &Outcome| match outcome {
            Outcome::Retry { why, .. } | Outcome::Faulted { why, .. } => why.class,
            other => panic!("{other:?}"),
        };
        let same = std::mem::discriminant(&told.outcome) == std::mem::discriminant(&expected);
        assert!(same && class(&told.outcome) == class(&expected), "{error}: {:?}", told.outcome);
        assert!(told.message.starts_with("NATS at nats://h:1: "), "{}", told.message);
    }
}
