//! When a signature counts.

use super::*;

/// A7: clocks.
#[test]
fn dates_are_within_their_bounds() {
    let minutes = |m: i64| NOW + m * 60;
    for at in [minutes(-15), NOW, minutes(15)] {
        assert!(Head::signed().check_at(true, at).is_ok(), "{at}");
    }
    for at in [minutes(-16), minutes(16), minutes(60 * 24 * 365)] {
        assert_eq!(Head::signed().check_at(true, at), Err(Refusal::Skewed), "{at}");
    }
    assert_eq!(Head::signed().without("x-amz-date").refusal(), (403, "AccessDenied"));
    for date in
        ["", "20261123", "20261123T040000", "2026-11-23T04:00Z", "20261340T040000Z", "20261123T250000Z"]
    {
        let head = Head::signed().set("x-amz-date", date);
        assert_eq!(head.refusal(), (403, "AccessDenied"), "{date}");
        assert!(Head::presigned().swap(DATE, date).check().is_err(), "{date}");
    }
    // Presigned: from a quarter of an hour early to the last second, and no longer.
    for (at, good) in [(minutes(-16), false), (minutes(-15), true), (NOW + 3600, true), (NOW + 3601, false)] {
        assert_eq!(Head::presigned().check_at(true, at).is_ok(), good, "{at}");
    }
    for (expires, good) in [
        ("1", true),
        ("604800", true),
        ("0", false),
        ("-1", false),
        ("+60", false),
        ("604801", false),
        ("1e18", false),
        ("999999999999999999", false),
        ("", false),
        ("60s", false),
    ] {
        let head = Head::presigned().swap("X-Amz-Expires=3600", &format!("X-Amz-Expires={expires}"));
        assert_eq!(head.check().is_ok(), good, "{expires}");
    }
}

#[test]
fn dates_are_read_exactly() {
    assert_eq!(parse_date(DATE), Some(NOW));
    assert_eq!(parse_date("19700101T000001Z"), Some(1));
    assert_eq!(parse_date("20240229T235959Z"), Some(1_709_251_199));
    for wrong in
        ["20230229T000000Z", "20261123t040000Z", "20261123T040000z", "2026112 T040000Z", "20261123T0400é0Z"]
    {
        assert_eq!(parse_date(wrong), None, "{wrong}");
    }
}
