//! The table of HTTP's answers and failures: what each means for the event that met it.
//!
//! Must never hold a second table, never call anything delivered or rejected that is not in this one, and
//! never show a URL's path or query.

use std::error::Error;
use std::time::{Duration, Instant, SystemTime};

use tidings_common::{Verdict, judge};
use tidings_connector::{ErrorClass as Class, Outcome, Scope};

/// The longest pause that a receiver may ask for.
const RETRY_AFTER_CAP: Duration = Duration::from_secs(3_600);

/// The table of answers.
fn verdict(status: u16) -> Verdict {
    match status {
        200..=299 => Verdict::Delivered,
        // Never followed: where an event may go is the operator's decision.
        300..=399 => Verdict::Fault(Class::Unroutable),
        400 | 414 | 415 | 422 | 431 => Verdict::Poison(Class::Http4xx),
        413 => Verdict::Poison(Class::TooLarge),
        401 | 403 | 407 | 511 => Verdict::Fault(Class::Auth),
        404 | 410 => Verdict::Fault(Class::Unroutable),
        405 | 421 | 426 | 451 => Verdict::Fault(Class::Http4xx),
        501 | 505 => Verdict::Fault(Class::Http5xx),
        408 => Verdict::Retry(Class::Timeout),
        409 | 423 | 425 => Verdict::Retry(Class::Http4xx),
        429 => Verdict::Retry(Class::Throttle),
        500 | 502..=504 | 506..=510 | 512..=599 => Verdict::Retry(Class::Http5xx),
        _ => Verdict::Retry(Class::Unknown),
    }
}

/// What one answer means. `after`: the receiver's own wish; with 429 and 503 it concerns the whole target.
pub(crate) fn answered(status: u16, after: Option<Duration>, now: Instant, text: &str) -> Outcome {
    match (verdict(status).outcome(true, Scope::Target, text), after) {
        // "Stop": whoever goes on asking is taken for an attacker.
        (Outcome::Faulted { why, .. }, _) if status == 410 => Outcome::Faulted { scope: Scope::Gone, why },
        (Outcome::Retry { why, .. }, Some(after)) if matches!(status, 429 | 503) => {
            Outcome::Throttled { until: now + after, why }
        }
        (Outcome::Retry { why, .. }, after) => Outcome::Retry { after, why },
        (outcome, _) => outcome,
    }
}

/// What it means that a request failed, and its innermost reason in words. The words never hold the URL.
pub(crate) fn silence(error: reqwest::Error) -> (Verdict, String) {
    let error = error.without_url();
    // `Connect`: not reachable, connection lost, answer truncated, or no HTTP.
    let verdict = judge(&error).unwrap_or(Verdict::Retry(match (error.is_dns(), error.is_timeout()) {
        (true, _) => Class::Dns,
        (false, true) => Class::Timeout,
        (false, false) => Class::Connect,
    }));
    let mut innermost: &dyn Error = &error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    (verdict, innermost.to_string())
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
