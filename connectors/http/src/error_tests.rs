//! Every row of the HTTP table, and every form of `Retry-After`.

use super::*;

#[derive(Debug, PartialEq, Eq)]
enum Row {
    Delivered,
    Retry(Class),
    Fault(Class),
    Gone(Class),
    Reject(Class),
}

fn row(status: u16) -> Row {
    match answered(status, None, Instant::now(), "") {
        Outcome::Delivered => Row::Delivered,
        Outcome::Retry { after: None, why } => Row::Retry(why.class),
        Outcome::Faulted { scope: Scope::Target, why } => Row::Fault(why.class),
        Outcome::Faulted { scope: Scope::Gone, why } => Row::Gone(why.class),
        Outcome::Rejected { why } => Row::Reject(why.class),
        other => panic!("{status}: {other:?}"),
    }
}

#[test]
fn every_row() {
    let rows: &[(&[u16], Row)] = &[
        (&[200, 201, 202, 204, 299], Row::Delivered),
        (&[300, 301, 302, 303, 304, 307, 308, 399], Row::Fault(Class::Unroutable)),
        (&[408], Row::Retry(Class::Timeout)),
        (&[409, 423, 425], Row::Retry(Class::Http4xx)),
        (&[429], Row::Retry(Class::Throttle)),
        (&[500, 502, 503, 504, 507, 520, 599], Row::Retry(Class::Http5xx)),
        (&[401, 403, 407, 511], Row::Fault(Class::Auth)),
        (&[404], Row::Fault(Class::Unroutable)),
        (&[410], Row::Gone(Class::Unroutable)),
        (&[405, 421, 426, 451], Row::Fault(Class::Http4xx)),
        (&[501, 505], Row::Fault(Class::Http5xx)),
        (&[400, 414, 415, 422, 431], Row::Reject(Class::Http4xx)),
        (&[413], Row::Reject(Class::TooLarge)),
        (&[100, 101, 402, 406, 411, 412, 417, 418, 424, 428, 499, 600, 999], Row::Retry(Class::Unknown)),
    ];
    for (statuses, expected) in rows {
        for status in *statuses {
            assert_eq!(row(*status), *expected, "{status}");
        }
    }
}

#[test]
fn only_the_listed_statuses_are_rejected_or_delivered() {
    for status in 100..1_000 {
        match row(status) {
            Row::Delivered => assert!((200..300).contains(&status), "{status} is delivered"),
            Row::Reject(_) => {
                assert!([400, 413, 414, 415, 422, 431].contains(&status), "{status} is rejected")
            }
            Row::Gone(_) => assert_eq!(status, 410),
            Row::Retry(_) | Row::Fault(_) => {}
        }
    }
}

#[test]
fn a_receiver_that_asks_for_a_pause_slows_the_target_down() {
    let now = Instant::now();
    let after = Some(Duration::from_secs(7));
    for status in [429, 503] {
        match answered(status, after, now, "") {
            Outcome::Throttled { until, .. } => assert_eq!(until, now + Duration::from_secs(7)),
            other => panic!("{status}: {other:?}"),
        }
    }
    assert!(matches!(answered(500, after, now, ""), Outcome::Retry { after: Some(_), .. }));
    assert!(matches!(answered(200, after, now, ""), Outcome::Delivered));
}

#[test]
fn retry_after_forms() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    let pause = |value| retry_after(value, now).map(|d| d.as_secs());
    assert_eq!(pause("120"), Some(120));
    assert_eq!(pause(" 0 "), Some(0));
    assert_eq!(pause("86400"), Some(3_600));
    assert_eq!(pause("99999999999999999999999999"), Some(3_600));
    assert_eq!(pause("Sun, 06 Nov 1994 08:51:37 GMT"), Some(120));
    assert_eq!(pause("Sun, 06 Nov 1994 08:49:37 GMT"), Some(0));
    assert_eq!(pause("Sat, 05 Nov 1994 08:49:37 GMT"), Some(0));
    assert_eq!(pause("Wed, 01 Jan 2098 00:00:00 GMT"), Some(3_600));
    for bad in ["", "soon", "-5", "1.5", "Sun, 99 Nov 1994 08:49:37 GMT"] {
        assert_eq!(pause(bad), None, "{bad:?}");
    }
}
