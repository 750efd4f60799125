//! What came of one attempt, as the lane must decide it.
//!
//! Each variant is one decision. A connector's `error.rs` maps its protocol's errors here in one exhaustive
//! match; what it does not know is `Retry`.

use std::sync::Arc;
use std::time::{Duration, Instant};

/// What came of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The far side said that it has the event.
    Delivered,
    /// Not known to be delivered; this key tries again later, in order.
    Retry {
        /// The far side's own wish (`Retry-After`); the lane caps it.
        after: Option<Duration>,
        /// Why.
        why: Cause,
    },
    /// The far side asks the whole target to slow down.
    Throttled {
        /// Nothing is sent to the target before this moment; the lane caps it.
        until: Instant,
        /// Why.
        why: Cause,
    },
    /// This event can never be accepted by this target, whatever happens.
    Rejected {
        /// Why.
        why: Cause,
    },
    /// The far side cannot take anything until somebody mends it: keep, alarm, probe.
    Faulted {
        /// How much is affected.
        scope: Scope,
        /// Why.
        why: Cause,
    },
}

impl Outcome {
    /// Not known to be delivered, and the far side wishes for no pause.
    pub fn retry(class: ErrorClass, text: &str) -> Self {
        Self::Retry { after: None, why: Cause::new(class, text) }
    }
}

/// How much a fault affects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Every event of the target.
    Target,
    /// Only what a template sent to the same destination.
    Destination,
    /// Every event of the target, and no probe mends it: the far side asks never to be called again.
    /// Nothing is sent until an operator resumes the target.
    Gone,
}

/// Why an attempt did not deliver: a closed class for metrics and a text for people, at most 512 bytes, no
/// secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// The metric label.
    pub class: ErrorClass,
    /// For people; never used to decide anything.
    pub text: Arc<str>,
}

/// The longest text a cause keeps, in bytes.
const CAUSE_TEXT_BYTES: usize = 512;

impl Cause {
    /// A cause with its text cut to 512 bytes at a character boundary, control characters replaced by spaces.
    pub fn new(class: ErrorClass, text: &str) -> Self {
        let mut clean = String::with_capacity(text.len().min(CAUSE_TEXT_BYTES));
        for c in text.chars() {
            let c = if c.is_control() { ' ' } else { c };
            if clean.len() + c.len_utf8() > CAUSE_TEXT_BYTES {
                break;
            }
            clean.push(c);
        }
        Self { class, text: clean.into() }
    }
}

macro_rules! error_classes {
    ($($(#[$doc:meta])* $variant:ident => $label:literal),+ $(,)?) => {
        /// Why attempts fail, as a closed set of metric labels.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ErrorClass { $($(#[$doc])* $variant),+ }

        impl ErrorClass {
            /// Every class, in declaration order.
            pub const ALL: &'static [ErrorClass] = &[$(ErrorClass::$variant),+];

            /// The metric label.
            pub fn label(self) -> &'static str {
                match self { $(ErrorClass::$variant => $label),+ }
            }
        }
    };
}

error_classes! {
    /// A name did not resolve.
    Dns => "dns",
    /// Not reachable, connection lost, or the answer never came on this connection.
    Connect => "connect",
    /// A certificate or protocol version was refused by either side.
    Tls => "tls",
    /// Credentials or permissions.
    Auth => "auth",
    /// A deadline passed.
    Timeout => "timeout",
    /// The far side asks to slow down, or is full.
    Throttle => "throttle",
    /// An HTTP status 4xx (or an equal verdict about the request).
    Http4xx => "http_4xx",
    /// An HTTP status 5xx (or an equal verdict about the far side).
    Http5xx => "http_5xx",
    /// The topic, stream, queue or route does not exist.
    Unroutable => "unroutable",
    /// The broker refused this message for now.
    Nack => "nack",
    /// The message cannot be put into the protocol's form.
    Encode => "encode",
    /// Larger than the far side accepts.
    TooLarge => "too_large",
    /// It would go on with a loop of functions that trigger each other.
    Loop => "loop",
    /// Nothing was said: the receipt was dropped, the connector panicked, or the error is not in the table.
    Unknown => "unknown",
}

/// What a far side reported beside the outcome, for run logs and `target show`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Where it landed (`topic/partition@offset`, stream sequence, HTTP status).
    pub place: Option<Arc<str>>,
}
