//! A policy's rules, one by one.

use super::*;

const NOW: &str = "2026-11-23T04:00:00Z";

const WAYS: Ways = Ways { free: &["policy", "sig"], needed: &["ak"], aliases: &[("q-time", "time")] };

/// What a policy of these conditions says to a form.
fn told(conditions: &str, fields: &[(&str, &str)]) -> Result<(), String> {
    told_until("2026-11-23T05:00:00.000Z", conditions, fields)
}

fn told_until(expiration: &str, conditions: &str, fields: &[(&str, &str)]) -> Result<(), String> {
    let text = format!("{{\"expiration\": \"{expiration}\", \"conditions\": [{conditions}]}}");
    let code = |error: S3Error| error.code().as_str().to_owned();
    let (policy, plain) = Policy::parse(&BASE64.encode(&text)).map_err(code)?;
    assert_eq!(plain, text);
    let now = NOW.parse().expect("a time");
    policy.check(&Fields::of(fields), "photos", &WAYS, now).map_err(code)
}

fn denied() -> Result<(), String> {
    Err("AccessDenied".into())
}

fn invalid() -> Result<(), String> {
    Err("InvalidPolicyDocument".into())
}

const AK: &str = "{\"ak\": \"A\"}";

#[test]
fn every_condition_must_hold() {
    let of = |condition: &str, fields: &[(&str, &str)]| {
        told(&format!("{AK}, {condition}"), &[&[("ak", "A")], fields].concat())
    };
    for (condition, key, good) in [
        ("[\"starts-with\", \"$key\", \"user/\"]", "user/a", true),
        ("[\"starts-with\", \"$key\", \"user/\"]", "users/a", false),
        ("[\"starts-with\", \"$key\", \"user/\"]", "/user/a", false),
        ("[\"starts-with\", \"$key\", \"\"]", "any", true),
        ("[\"eq\", \"$key\", \"a\"]", "a", true),
        ("[\"EQ\", \"$Key\", \"a\"]", "a", true),
        ("[\"eq\", \"$key\", \"a\"]", "A", false),
        ("[\"eq\", \"$key\", \"a\"]", "a ", false),
        ("{\"key\": \"a\"}", "a", true),
        ("{\"key\": \"a\"}", "b", false),
        ("{\"key\": \"a\", \"bucket\": \"photos\"}", "a", true),
        ("{\"key\": \"a\", \"bucket\": \"other\"}", "a", false),
        ("{\"key\": \"a\"}, {\"key\": \"b\"}", "a", false),
    ] {
        let told = of(condition, &[("key", key)]);
        assert_eq!(told, if good { Ok(()) } else { denied() }, "{condition} {key}");
    }
    assert_eq!(of("[\"starts-with\", \"$key\", \"\"]", &[]), denied(), "a field that is not there");
    let types = "[\"starts-with\", \"$Content-Type\", \"image/\"]";
    assert_eq!(of(types, &[("content-type", "image/png, image/gif")]), Ok(()));
    assert_eq!(of(types, &[("content-type", "image/png,text/html")]), denied());
    assert_eq!(of("{\"q-time\": \"1;2\"}", &[("time", "1;2")]), Ok(()));
    assert_eq!(of("{\"q-time\": \"1;2\"}", &[("time", "1;3")]), denied());
}

#[test]
fn every_field_is_named() {
    assert_eq!(told(AK, &[("ak", "A"), ("policy", "p"), ("sig", "s"), ("x-ignore-me", "1")]), Ok(()));
    assert_eq!(told(AK, &[("ak", "A"), ("key", "k")]), denied());
    assert_eq!(told(AK, &[("ak", "A"), ("x-amz-meta-a", "1")]), denied());
    assert_eq!(told("", &[]), denied(), "what it is signed with");
    assert_eq!(told(AK, &[("ak", "A"), ("bucket", "photos")]), Ok(()));
    assert_eq!(told(AK, &[("ak", "A"), ("bucket", "other")]), denied());
}

#[test]
fn policies_expire() {
    for (expiration, good) in [
        ("2026-11-23T04:00:01Z", true),
        ("2026-11-23T04:00:00Z", false),
        ("2026-11-23T03:59:59.999Z", false),
        ("2020-01-01T00:00:00Z", false),
    ] {
        let told = told_until(expiration, AK, &[("ak", "A")]);
        assert_eq!(told, if good { Ok(()) } else { denied() }, "{expiration}");
    }
    for expiration in ["", "tomorrow", "1795406400"] {
        assert_eq!(told_until(expiration, AK, &[("ak", "A")]), invalid(), "{expiration}");
    }
}

#[test]
fn conditions_that_nobody_knows_are_refused() {
    for condition in [
        "{}",
        "[]",
        "\"key\"",
        "1",
        "null",
        "{\"key\": 1}",
        "{\"key\": [\"a\"]}",
        "[\"ends-with\", \"$key\", \"a\"]",
        "[\"not\", \"$key\", \"a\"]",
        "[\"eq\", \"key\", \"a\"]",
        "[\"eq\", \"$key\"]",
        "[\"eq\", \"$key\", \"a\", \"b\"]",
        "[\"eq\", \"$key\", 1]",
        "[\"content-length-range\", -1, 2]",
        "[\"content-length-range\", 1]",
        "[\"content-length-range\", \"a\", 2]",
        "[\"content-length-range\", 0.5, 2]",
    ] {
        assert_eq!(
            told(&format!("{AK}, {condition}"), &[("ak", "A"), ("key", "a")]),
            invalid(),
            "{condition}"
        );
    }
    let many = vec![AK; MAX_CONDITIONS + 1].join(",");
    assert_eq!(told(&many, &[("ak", "A")]), invalid());
    for text in ["", "{", "[]", "{\"conditions\": []}", "{\"expiration\": \"2026-11-23T05:00:00Z\"}"] {
        assert!(Policy::parse(&BASE64.encode(text)).is_err(), "{text}");
    }
    assert!(Policy::parse("not base64").is_err());
}

#[test]
fn sizes_are_the_narrowest() {
    let text = "{\"expiration\": \"2026-11-23T05:00:00Z\", \"conditions\": [[\"content-length-range\", 1, \
                \"10\"], [\"content-length-range\", 0, 5]]}";
    let (policy, _) = Policy::parse(&BASE64.encode(text)).expect("a policy");
    assert_eq!((policy.least, policy.most), (1, 5));
}
