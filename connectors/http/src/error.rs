//! The table of HTTP's answers and failures: what each means for the event that met it.
//!
//! Must never hold a second table, never call anything delivered or rejected that is not in this one, and
//! never show a URL's path or query.

use std::error::Error;
use std::time::{Duration, Instant, SystemTime};

use tidings_connector::{Cause, ErrorClass, Outcome, Scope};

use crate::guard::Blocked;

/// The longest pause that a receiver may ask for.
const RETRY_AFTER_CAP: Duration = Duration::from_secs(3_600);

/// What one answer means. `after`: the receiver's own wish.
pub(crate) fn answered(status: u16, after: Option<Duration>, now: Instant, text: &str) -> Outcome {
    use ErrorClass as Class;
    let retry = |class| Outcome::Retry { after, why: Cause::new(class, text) };
    let slow_down = |class| match after {
        Some(after) => Outcome::Throttled { until: now + after, why: Cause::new(class, text) },
        None => retry(class),
    };
    let fault = |class| Outcome::Faulted { scope: Scope::Target, why: Cause::new(class, text) };
    let reject = |class| Outcome::Rejected { why: Cause::new(class, text) };
    match status {
        200..=299 => Outcome::Delivered,

        // Never followed: where an event may go is the operator's decision.
        300..=399 => fault(Class::Unroutable),

        400 | 414 | 415 | 422 | 431 => reject(Class::Http4xx),
        413 => reject(Class::TooLarge),

        401 | 403 | 407 | 511 => fault(Class::Auth),
        404 | 410 => fault(Class::Unroutable),
        405 | 421 | 426 | 451 => fault(Class::Http4xx),
        501 | 505 => fault(Class::Http5xx),

        408 => retry(Class::Timeout),
        409 | 423 | 425 => retry(Class::Http4xx),
        429 => slow_down(Class::Throttle),
        503 => slow_down(Class::Http5xx),
        500 | 502 | 504 | 506..=510 | 512..=599 => retry(Class::Http5xx),

        _ => retry(Class::Unknown),
    }
}

/// Why no answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Silence {
    /// The name did not resolve.
    Dns,
    /// A certificate or protocol version was refused.
    Tls,
    /// TLS failed in another way.
    TlsBroken,
    /// The deadline passed.
    Timeout,
    /// The name's addresses may not be called.
    Blocked,
    /// Not reachable, connection lost, answer truncated, or no HTTP.
    Connect,
}

/// What silence means.
pub(crate) fn unanswered(silence: Silence, text: &str) -> Outcome {
    use ErrorClass as Class;
    let retry = |class| Outcome::Retry { after: None, why: Cause::new(class, text) };
    let fault = |class| Outcome::Faulted { scope: Scope::Target, why: Cause::new(class, text) };
    match silence {
        Silence::Dns => retry(Class::Dns),
        Silence::Tls => fault(Class::Tls),
        Silence::TlsBroken => retry(Class::Tls),
        Silence::Timeout => retry(Class::Timeout),
        Silence::Blocked => fault(Class::Unroutable),
        Silence::Connect => retry(Class::Connect),
    }
}

/// Why a request failed, and its innermost reason in words. The words never hold the URL.
pub(crate) fn silence(error: reqwest::Error) -> (Silence, String) {
    let error = error.without_url();
    let silence = match find::<rustls::Error>(&error) {
        Some(tls) => tls_silence(tls),
        None if find::<Blocked>(&error).is_some() => Silence::Blocked,
        None if error.is_dns() => Silence::Dns,
        None if error.is_timeout() => Silence::Timeout,
        None => Silence::Connect,
    };
    let mut innermost: &dyn Error = &error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    (silence, innermost.to_string())
}

/// The first error of type `E` in a chain of errors.
pub(crate) fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // An I/O error shows what it carries by `get_ref`; its `source` skips it.
        let carried = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match carried {
            Some(carried) => Some(carried),
            None => error.source(),
        };
    }
    None
}

fn tls_silence(error: &rustls::Error) -> Silence {
    use rustls::Error as Tls;
    match error {
        Tls::InvalidCertificate(_)
        | Tls::NoCertificatesPresented
        | Tls::UnsupportedNameType
        | Tls::InvalidCertRevocationList(_)
        | Tls::PeerIncompatible(_)
        | Tls::NoApplicationProtocol
        | Tls::AlertReceived(_) => Silence::Tls,
        _ => Silence::TlsBroken,
    }
}

/// The pause that a `Retry-After` header asks for, at most an hour. Seconds, or a date; `None` if it is
/// neither.
pub(crate) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than fit are more than the cap.
        let seconds = value.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(RETRY_AFTER_CAP));
    }
    let date = SystemTime::from(jiff::fmt::rfc2822::parse(value).ok()?.timestamp());
    Some(date.duration_since(now).unwrap_or_default().min(RETRY_AFTER_CAP))
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;
