//! The table of what a publish, or a connection, may meet: what each means for the event.
//!
//! Must never hold a second table, and never call anything delivered or rejected that is not in this one.

use std::error::Error as _;
use std::io;

use async_nats::{ConnectError, ConnectErrorKind, rustls};
use tidings_connector::{Cause, ErrorClass, Fault, Outcome, Scope};

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
    /// The same, and not for long: the stream may be without a leader for a moment.
    NoRespondersYet,
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
    /// More was handed over than may be outstanding.
    Full,
}

/// What it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Somebody has it.
    Delivered,
    /// Not known to be stored; waiting may mend it.
    Retry(ErrorClass),
    /// Nothing gets through to this subject until somebody mends it.
    SubjectFault(ErrorClass),
    /// Nothing gets through at all until somebody mends it.
    Fault(ErrorClass),
    /// The message is unacceptable.
    Poison(ErrorClass),
}

/// The table.
pub(crate) fn verdict(met: Met) -> Verdict {
    use ErrorClass as Class;
    match met {
        Met::Stored | Met::Echoed => Verdict::Delivered,
        Met::OtherStream | Met::NoResponders => Verdict::SubjectFault(Class::Unroutable),
        Met::NoRespondersYet => Verdict::Retry(Class::Unroutable),
        Met::Denied => Verdict::SubjectFault(Class::Auth),
        Met::Refused(code) => refused(code),
        Met::TooLarge => Verdict::Poison(Class::TooLarge),
        Met::Unwritable => Verdict::Poison(Class::Encode),
        Met::Lost => Verdict::Retry(Class::Connect),
        Met::Silent => Verdict::Retry(Class::Timeout),
        Met::Full => Verdict::Retry(Class::Throttle),
        Met::Unreadable => Verdict::Retry(Class::Unknown),
    }
}

/// JetStream's own codes. One that is not here may mean anything, so it is a Retry.
fn refused(code: u64) -> Verdict {
    use ErrorClass as Class;
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
        10_059 | 10_060 => Verdict::SubjectFault(Class::Unroutable),
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
    match verdict(met) {
        Verdict::Delivered => Outcome::Delivered,
        Verdict::Retry(class) => Outcome::Retry { after: None, why: Cause::new(class, text) },
        Verdict::SubjectFault(class) => {
            Outcome::Faulted { scope: subject_scope, why: Cause::new(class, text) }
        }
        Verdict::Fault(class) => Outcome::Faulted { scope: Scope::Target, why: Cause::new(class, text) },
        Verdict::Poison(class) => Outcome::Rejected { why: Cause::new(class, text) },
    }
}

/// What a failed connection to `server` means for the target.
pub(crate) fn connect_fault(server: &str, error: &ConnectError) -> Fault {
    use ErrorClass as Class;
    let tls = is_tls(error);
    let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
    let message = format!("NATS at {server}: {}{source}", error.kind());
    match error.kind() {
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
            Fault::faulted(Class::Auth, message)
        }
        ConnectErrorKind::Tls => Fault::faulted(Class::Tls, message),
        ConnectErrorKind::ServerParse => Fault::faulted(Class::Unknown, message),
        ConnectErrorKind::Io if tls => Fault::faulted(Class::Tls, message),
        ConnectErrorKind::Dns => Fault::retry(Class::Dns, message),
        ConnectErrorKind::TimedOut => Fault::retry(Class::Timeout, message),
        ConnectErrorKind::Io | ConnectErrorKind::MaxReconnects => Fault::retry(Class::Connect, message),
    }
}

/// A failed handshake comes as an I/O error with the reason inside.
fn is_tls(error: &ConnectError) -> bool {
    let io = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    io.and_then(io::Error::get_ref).is_some_and(|inner| inner.is::<rustls::Error>())
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;
