//! The table of what a publish, or a connection, may meet: what each means for the event.
//!
//! Must never hold a second table, and never call anything delivered or rejected that is not in this one.

use std::error::Error as _;

use async_nats::{ConnectError, ConnectErrorKind as Kind};
use tidings_common::{Verdict, judge};
use tidings_connector::{ErrorClass as Class, Fault, Outcome, Scope};

/// What one publish met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Met {
    /// The expected stream has it, now or since an earlier attempt.
    Stored,
    /// The server has read it; who else has is not known, and nobody asked.
    Echoed,
    /// Another stream than the expected one says that it has it.
    OtherStream,
    /// No stream takes this subject.
    NoResponders,
    /// JetStream refused it, with this code.
    Refused(u64),
    /// An answer that is not JetStream's.
    Unreadable,
    /// It is larger than the server takes.
    TooLarge,
    /// It cannot be put into the protocol's form.
    Unwritable,
    /// The server does not let this user publish there.
    Denied,
    /// The connection ended before the answer.
    Lost,
    /// No answer in time.
    Silent,
}

/// The table.
pub(crate) fn verdict(met: Met) -> Verdict {
    match met {
        Met::Stored | Met::Echoed => Verdict::Delivered,
        Met::OtherStream | Met::NoResponders => Verdict::NoWay(Class::Unroutable),
        Met::Denied => Verdict::NoWay(Class::Auth),
        Met::Refused(code) => refused(code),
        Met::TooLarge => Verdict::Poison(Class::TooLarge),
        Met::Unwritable => Verdict::Poison(Class::Encode),
        Met::Lost => Verdict::Retry(Class::Connect),
        Met::Silent => Verdict::Retry(Class::Timeout),
        Met::Unreadable => Verdict::Retry(Class::Unknown),
    }
}

/// JetStream's own codes. One that is not here may mean anything, so it is a Retry.
fn refused(code: u64) -> Verdict {
    match code {
        // The stream is full and refuses new messages; account, memory or disk are.
        10_077 | 10_002 | 10_023 | 10_028 | 10_047 | 10_122 => Verdict::Retry(Class::Throttle),
        // Too many publishes wait.
        10_167 => Verdict::Retry(Class::Throttle),
        // The same id is being stored right now.
        10_158 => Verdict::Retry(Class::Nack),
        // The cluster has no leader, or not enough members.
        10_004 | 10_005 | 10_006 | 10_007 | 10_008 | 10_009 | 10_041 | 10_118 => {
            Verdict::Retry(Class::Connect)
        }
        // Stream not found; not the expected one.
        10_059 | 10_060 => Verdict::NoWay(Class::Unroutable),
        // JetStream not enabled, at all or for this account; no account; the stream is sealed.
        10_035 | 10_039 | 10_076 | 10_109 => Verdict::Fault(Class::Unroutable),
        // Message or headers larger than the stream takes.
        10_054 | 10_097 => Verdict::Poison(Class::TooLarge),
        _ => Verdict::Retry(Class::Unknown),
    }
}

/// The outcome of one attempt. `subject_scope`: what a fault of a subject affects: the target, or one
/// destination of a template.
pub(crate) fn outcome(met: Met, subject_scope: Scope, text: &str) -> Outcome {
    verdict(met).outcome(true, subject_scope, text)
}

/// What a failed connection to `server` means for the target. A failed handshake comes as an I/O error with
/// the reason inside.
pub(crate) fn connect_fault(server: &str, error: &ConnectError) -> Fault {
    let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
    let verdict = judge(error).unwrap_or(match error.kind() {
        Kind::Authentication | Kind::AuthorizationViolation => Verdict::Fault(Class::Auth),
        Kind::Tls => Verdict::Fault(Class::Tls),
        Kind::ServerParse => Verdict::Fault(Class::Unknown),
        Kind::Dns => Verdict::Retry(Class::Dns),
        Kind::TimedOut => Verdict::Retry(Class::Timeout),
        Kind::Io | Kind::MaxReconnects => Verdict::Retry(Class::Connect),
    });
    verdict.fault(format!("NATS at {server}: {}{source}", error.kind()))
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;
