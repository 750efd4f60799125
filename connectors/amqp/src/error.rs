//! The table of AMQP's answers and errors: what each means for the event that met it.
//!
//! Must never hold a second table, and never call anything delivered or rejected that is not in this one.

use lapin::{Error, ErrorKind};
use tidings_common::{Verdict, judge_io};
use tidings_connector::ErrorClass as Class;

use crate::returns::Proof;

/// What the broker's answer to one message means.
pub(crate) fn answered(proof: Proof) -> Verdict {
    match proof {
        Proof::Routed => Verdict::Delivered,
        Proof::Returned => Verdict::NoWay(Class::Unroutable),
        Proof::Refused => Verdict::Retry(Class::Nack),
    }
}

/// What the end of a channel or a connection means. What is not known is a Retry.
pub(crate) fn verdict(error: &Error) -> Verdict {
    match error.kind() {
        ErrorKind::ProtocolError(error) => code(error.get_id()),
        ErrorKind::IOError(error) => judge_io(error),
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

/// The protocol's reply codes.
fn code(code: u16) -> Verdict {
    match code {
        // CONTENT-TOO-LARGE; RabbitMQ's answer to a message above its `max_message_size` is
        // PRECONDITION-FAILED.
        311 | 406 => Verdict::Poison(Class::TooLarge),
        // NO-ROUTE, NO-CONSUMERS.
        312 | 313 => Verdict::NoWay(Class::Unroutable),
        // ACCESS-REFUSED: permission to write may depend on the routing key.
        403 => Verdict::NoWay(Class::Auth),
        // INVALID-PATH; NOT-FOUND: the exchange, which no template makes.
        402 | 404 => Verdict::Fault(Class::Unroutable),
        // NOT-ALLOWED: a virtual host that does not exist, or that this user may not enter.
        530 => Verdict::Fault(Class::Auth),
        // The two sides do not speak the same protocol; NOT-IMPLEMENTED.
        501..=505 | 540 => Verdict::Fault(Class::Encode),
        // CONNECTION-FORCED.
        320 => Verdict::Retry(Class::Connect),
        // RESOURCE-ERROR.
        506 => Verdict::Retry(Class::Throttle),
        // RESOURCE-LOCKED, INTERNAL-ERROR.
        405 | 541 => Verdict::Retry(Class::Nack),
        _ => Verdict::Retry(Class::Unknown),
    }
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;
