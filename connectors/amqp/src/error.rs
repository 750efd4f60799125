//! The table of AMQP's answers and errors: what each means for the event that met it.
//!
//! Must never hold a second table, and never call anything delivered or rejected that is not in this one.

use std::io;

use lapin::protocol::{AMQPErrorKind, AMQPHardError as Hard, AMQPSoftError as Soft};
use lapin::{Error, ErrorKind};
use tidings_connector::{Cause, ErrorClass, Outcome, Scope};

use crate::returns::Proof;

/// What one answer or error means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The broker has it.
    Delivered,
    /// Not known to be written; waiting may mend it.
    Retry(ErrorClass),
    /// Nothing gets through to this destination until somebody mends it.
    NoWay(ErrorClass),
    /// Nothing gets through at all until somebody mends it.
    Fault(ErrorClass),
    /// The message is unacceptable; true of all that were outstanding on the channel, which may be many.
    Poison(ErrorClass),
}

/// What the broker's answer to one message means.
pub(crate) fn answered(proof: Proof) -> Verdict {
    match proof {
        Proof::Routed => Verdict::Delivered,
        Proof::Returned => soft(&Soft::NOROUTE),
        Proof::Refused => Verdict::Retry(ErrorClass::Nack),
    }
}

/// What the end of a channel or a connection means. What is not known is a Retry.
pub(crate) fn verdict(error: &Error) -> Verdict {
    use ErrorClass as Class;
    match error.kind() {
        ErrorKind::ProtocolError(error) => match error.kind() {
            AMQPErrorKind::Soft(error) => soft(error),
            AMQPErrorKind::Hard(error) => hard(error),
        },
        ErrorKind::IOError(error) => io_error(error),
        ErrorKind::AuthProviderError(_) => Verdict::Fault(Class::Auth),
        ErrorKind::InvalidProtocolVersion(_) => Verdict::Fault(Class::Encode),
        ErrorKind::ChannelsLimitReached => Verdict::Retry(Class::Throttle),
        ErrorKind::InvalidChannel(_)
        | ErrorKind::InvalidChannelState(..)
        | ErrorKind::InvalidConnectionState(_)
        | ErrorKind::RuntimeShutdownError(_)
        | ErrorKind::MissingHeartbeatError => Verdict::Retry(Class::Connect),
        _ => Verdict::Retry(Class::Unknown),
    }
}

/// Errors that end a channel, and the reasons of returns.
fn soft(error: &Soft) -> Verdict {
    use ErrorClass as Class;
    match error {
        // RabbitMQ's answer to a message above its `max_message_size` is PRECONDITION_FAILED.
        Soft::CONTENTTOOLARGE | Soft::PRECONDITIONFAILED => Verdict::Poison(Class::TooLarge),
        Soft::NOROUTE | Soft::NOCONSUMERS => Verdict::NoWay(Class::Unroutable),
        // Permission to write may depend on the routing key.
        Soft::ACCESSREFUSED => Verdict::NoWay(Class::Auth),
        // The exchange, which no template makes.
        Soft::NOTFOUND => Verdict::Fault(Class::Unroutable),
        Soft::RESOURCELOCKED => Verdict::Retry(Class::Nack),
    }
}

/// Errors that end a connection.
fn hard(error: &Hard) -> Verdict {
    use ErrorClass as Class;
    match error {
        Hard::CONNECTIONFORCED => Verdict::Retry(Class::Connect),
        Hard::RESOURCEERROR => Verdict::Retry(Class::Throttle),
        Hard::INTERNALERROR => Verdict::Retry(Class::Nack),
        Hard::INVALIDPATH => Verdict::Fault(Class::Unroutable),
        // A virtual host that does not exist, or that this user may not enter.
        Hard::NOTALLOWED => Verdict::Fault(Class::Auth),
        Hard::FRAMEERROR
        | Hard::SYNTAXERROR
        | Hard::COMMANDINVALID
        | Hard::CHANNELERROR
        | Hard::UNEXPECTEDFRAME
        | Hard::NOTIMPLEMENTED => Verdict::Fault(Class::Encode),
    }
}

fn io_error(error: &io::Error) -> Verdict {
    use rustls::Error as Tls;
    // An I/O error shows what it carries by `get_ref`, at whatever depth.
    let mut carried = error.get_ref();
    while let Some(inner) = carried {
        match inner.downcast_ref::<Tls>() {
            Some(
                Tls::InvalidCertificate(_)
                | Tls::NoCertificatesPresented
                | Tls::UnsupportedNameType
                | Tls::InvalidCertRevocationList(_)
                | Tls::PeerIncompatible(_)
                | Tls::AlertReceived(_),
            ) => return Verdict::Fault(ErrorClass::Tls),
            Some(_) => return Verdict::Retry(ErrorClass::Tls),
            None => carried = inner.downcast_ref::<io::Error>().and_then(io::Error::get_ref),
        }
    }
    match error.kind() {
        io::ErrorKind::TimedOut => Verdict::Retry(ErrorClass::Timeout),
        _ => Verdict::Retry(ErrorClass::Connect),
    }
}

/// The outcome of one attempt.
///
/// `alone`: the verdict is about this message and no other. An error that ends a channel may be about one
/// culprit among many innocents, so it is a Retry for all of them, and each travels alone next time.
/// `scope`: what a missing way affects: the target, or one destination of a template.
pub(crate) fn outcome(verdict: Verdict, alone: bool, scope: Scope, text: &str) -> Outcome {
    let why = |class| Cause::new(class, text);
    match verdict {
        Verdict::Delivered => Outcome::Delivered,
        Verdict::Retry(class) => Outcome::Retry { after: None, why: why(class) },
        Verdict::Fault(class) => Outcome::Faulted { scope: Scope::Target, why: why(class) },
        Verdict::NoWay(class) if alone || scope == Scope::Target => {
            Outcome::Faulted { scope, why: why(class) }
        }
        Verdict::Poison(class) if alone => Outcome::Rejected { why: why(class) },
        Verdict::NoWay(class) | Verdict::Poison(class) => Outcome::Retry { after: None, why: why(class) },
    }
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;
