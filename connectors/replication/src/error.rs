//! The table of a peer's answers and failures: what each means for the change that met it.
//!
//! Must never hold a second table, and never call anything delivered or rejected that is not in this one.

use std::error::Error;

use tidings_common::{Verdict, judge};
use tidings_connector::{ErrorClass as Class, Outcome, Scope};

/// The table of answers. A change belongs to its bucket: what is wrong with one must not keep the others.
fn verdict(status: u16, code: &str) -> Verdict {
    match (status, code) {
        // Made, there already, or there is a newer one whose own event brings it.
        (200 | 204, _) => Verdict::Delivered,
        (300..=399, _) => Verdict::Fault(Class::Unroutable),
        // The bucket is gone, is not versioned, or may not hold more: somebody mends it, and it goes on.
        (404, "NoSuchBucket") | (409, "InvalidBucketState") => Verdict::Retry(Class::Unroutable),
        (403, "QuotaExceeded") => Verdict::Retry(Class::Throttle),
        // The credential's: no bucket takes it.
        (403, "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "RequestTimeTooSkewed") | (401 | 407, _) => {
            Verdict::Fault(Class::Auth)
        }
        // The credential is known, and may not replicate into this bucket: others go on.
        (403, _) => Verdict::NoWay(Class::Auth),
        // No tidings, or an older one.
        (404 | 405 | 501, _) => Verdict::Fault(Class::Unroutable),
        // Names and sizes that the peer can never take.
        (400, "KeyTooLongError" | "EntityTooLarge" | "InvalidArgument") | (413, _) => {
            Verdict::Poison(Class::TooLarge)
        }
        (400, _) => Verdict::Fault(Class::Http4xx),
        (408, _) => Verdict::Retry(Class::Timeout),
        (429 | 503, _) => Verdict::Retry(Class::Throttle),
        // 424: the peer could not pull it from us.
        (402..=499, _) => Verdict::Retry(Class::Http4xx),
        (500..=599, _) => Verdict::Retry(Class::Http5xx),
        _ => Verdict::Retry(Class::Unknown),
    }
}

/// What one answer means.
pub(crate) fn answered(status: u16, code: &str) -> Outcome {
    let text = match code {
        "" => format!("the peer answered {status}"),
        code => format!("the peer answered {status} {code}"),
    };
    verdict(status, code).outcome(true, Scope::Destination, &text)
}

/// What it means that a request failed, and its innermost reason in words. The words never hold the URL.
pub(crate) fn silence(error: reqwest::Error) -> (Verdict, String) {
    let error = error.without_url();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_table_calls_so_is_delivered_or_rejected() {
        for status in 100..=999 {
            let outcome = answered(status, "");
            assert_eq!(outcome == Outcome::Delivered, matches!(status, 200 | 204), "{status}: {outcome:?}");
            let rejected = matches!(outcome, Outcome::Rejected { .. });
            assert_eq!(rejected, status == 413, "{status}: {outcome:?}");
        }
    }

    #[test]
    fn what_is_wrong_with_one_bucket_keeps_no_other_back() {
        for (status, code) in
            [(404, "NoSuchBucket"), (409, "InvalidBucketState"), (403, "QuotaExceeded"), (424, "PullFailed")]
        {
            assert!(matches!(answered(status, code), Outcome::Retry { .. }), "{status} {code}");
        }
        let scope = |status, code| match answered(status, code) {
            Outcome::Faulted { scope, .. } => scope,
            other => panic!("{status} {code}: {other:?}"),
        };
        for (status, code) in [(403, "AccessDenied"), (403, "")] {
            assert_eq!(scope(status, code), Scope::Destination, "{status} {code}");
        }
        for (status, code) in [
            (403, "InvalidAccessKeyId"),
            (403, "SignatureDoesNotMatch"),
            (403, "RequestTimeTooSkewed"),
            (401, ""),
            (404, "NoSuchKey"),
            (501, "NotImplemented"),
            (307, ""),
        ] {
            assert_eq!(scope(status, code), Scope::Target, "{status} {code}");
        }
        assert!(matches!(answered(400, "KeyTooLongError"), Outcome::Rejected { .. }));
    }
}
