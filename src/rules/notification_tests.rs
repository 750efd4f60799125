//! What a bucket's own rules may be, and that they come back as they were put.

use proptest::prelude::*;

use super::*;
use crate::event::EventKind;
use crate::queue::TargetNo;
use crate::rules::bucket_rule::{decoded, encoded};
use crate::rules::{KafkaTopic, Named};

fn names() -> Names {
    let mut names = Names::default();
    for (n, name) in ["a", "b", "hook"].into_iter().enumerate() {
        let target = TargetNo(u32::try_from(n).expect("few"));
        names.add(
            &name.into(),
            Named { target, invokes: name == "hook", tested: true, topic: None, region: None },
        );
    }
    names
}

fn rule(id: &str, to: &str, events: &[&str], filter: &[(&str, &str)]) -> PutRule {
    PutRule {
        id: Some(id.into()),
        form: Form::Queue,
        to: format!("arn:tidings:sqs:here::{to}"),
        events: events.iter().map(|event| (*event).into()).collect(),
        filter: filter.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        broker: None,
    }
}

fn put(before: &Notification, rules: Vec<PutRule>) -> Result<Notification, Refused> {
    let mut ids = (1..).map(|n| format!("made-{n}"));
    let names = names();
    let around = Around { region: "here", names: &names };
    before.replaced_by(rules, around, || ids.next().expect("endless"))
}

fn fresh(rules: Vec<PutRule>) -> Result<Notification, Refused> {
    put(&Notification::default(), rules)
}

const CREATED: &[&str] = &["s3:ObjectCreated:*"];

#[test]
fn what_is_put_comes_back_from_its_setting_word_for_word() {
    let rules = vec![
        rule("one", "a", &["s3:ObjectCreated:Put", "cos:ObjectRemove:*"], &[("Prefix", "in/%20+%2B")]),
        rule("two", "b", CREATED, &[("SUFFIX", ".jpg"), ("prefix", "out/")]),
    ];
    let made = fresh(rules.clone()).expect("valid");
    let back = Notification::of_setting(made.setting().as_ref()).expect("readable");
    assert_eq!(back, made);
    for (put, kept) in rules.iter().zip(back.rules()) {
        assert_eq!((&put.to, &put.events, &put.filter), (&kept.to, &kept.events, &kept.filter));
    }
    assert_eq!((back.rules()[0].prefix(), back.rules()[1].suffix()), ("in/  +".into(), ".jpg".into()));
    assert_eq!(fresh(vec![]).expect("valid").setting(), None, "no rules are no setting");
    for bad in ["", "{}", "{\"v\":2,\"rules\":[]}", "[]", "{\"v\":1,\"rules\":[{}]}"] {
        assert_eq!(Notification::of_setting(Some(&Bytes::from(bad))), Err(Unreadable), "{bad}");
    }
}

#[test]
fn words_that_mean_nothing_are_refused() {
    let why = |rule: PutRule| fresh(vec![rule]).expect_err("refused");
    for event in ["s3:ObjectGone:*", "s3:TestEvent", "", "*", "s3:ObjectTagging:*", "s3:objectcreated:put"] {
        assert_eq!(why(rule("i", "a", &[event], &[])), Refused::UnknownEvent(event.into()));
    }
    assert_eq!(why(rule("i", "a", &[], &[])), Refused::NoEvent);
    let filter = |filter: &[(&str, &str)]| why(rule("i", "a", CREATED, filter));
    assert_eq!(filter(&[("infix", "x")]), Refused::FilterName("infix".into()));
    assert_eq!(filter(&[("prefix", "x"), ("PREFIX", "y")]), Refused::FilterTwice("prefix"));
    assert_eq!(filter(&[("suffix", "x"), ("suffix", "x")]), Refused::FilterTwice("suffix"));
    assert_eq!(filter(&[("suffix", "100%")]), Refused::FilterEncoding("100%".into()));
    assert_eq!(filter(&[("suffix", "%ff")]), Refused::FilterEncoding("%ff".into()));
    assert_eq!(filter(&[("prefix", &"x".repeat(1_025))]), Refused::FilterTooLong);
    assert!(fresh(vec![rule("i", "a", CREATED, &[("prefix", &"x".repeat(1_024))])]).is_ok());
    assert_eq!(why(rule(&"i".repeat(256), "a", CREATED, &[])), Refused::BadId);
    assert!(matches!(why(rule("i", "nobody", CREATED, &[])), Refused::UnknownDestination(_)));
    let twice =
        vec![rule("i", "a", CREATED, &[("prefix", "a")]), rule("i", "a", CREATED, &[("prefix", "b")])];
    assert_eq!(fresh(twice), Err(Refused::SameId("i".into())));
    let many = |n: usize| {
        let one = |n| rule(&format!("{n}"), "a", CREATED, &[("prefix", &format!("{n}/"))]);
        fresh((0..n).map(one).collect())
    };
    assert_eq!(many(MAX_RULES).expect("as many as there may be").rules().len(), MAX_RULES);
    assert_eq!(many(MAX_RULES + 1), Err(Refused::TooMany(MAX_RULES)));
}

#[test]
fn names_are_made_where_none_is_given() {
    let without = |filter| PutRule { id: None, ..rule("", "a", CREATED, &[("prefix", filter)]) };
    let empty = PutRule { id: Some(String::new()), ..without("c") };
    let made = fresh(vec![without("a"), without("b"), empty]).expect("valid");
    let ids: Vec<_> = made.rules().iter().map(|rule| rule.id.as_str()).collect();
    assert_eq!(ids, ["made-1", "made-2", "made-3"]);
}

/// AWS's rule: `jpg` and `pg` overlap, `jpg` and `png` do not; one side alone is not enough.
#[test]
fn two_rules_of_one_event_must_share_no_key() {
    let put = &["s3:ObjectCreated:Put"][..];
    let gone = &["cos:ObjectRemove:*"][..];
    for (one, other, fits) in [
        ((CREATED, vec![("suffix", "jpg")]), (CREATED, vec![("suffix", "png")]), true),
        ((CREATED, vec![("suffix", "jpg")]), (CREATED, vec![("suffix", "pg")]), false),
        ((CREATED, vec![("prefix", "a/")]), (CREATED, vec![("prefix", "b/")]), true),
        ((CREATED, vec![("prefix", "Log")]), (CREATED, vec![("prefix", "Lo")]), false),
        (
            (CREATED, vec![("prefix", "a"), ("suffix", "x")]),
            (CREATED, vec![("prefix", "a"), ("suffix", "y")]),
            true,
        ),
        ((CREATED, vec![("prefix", "a"), ("suffix", "x")]), (CREATED, vec![("prefix", "a")]), false),
        ((CREATED, vec![("prefix", "a")]), (CREATED, vec![("suffix", "x")]), false),
        ((CREATED, vec![]), (CREATED, vec![("prefix", "a")]), false),
        ((CREATED, vec![]), (gone, vec![]), true),
        ((CREATED, vec![]), (put, vec![]), false),
        ((CREATED, vec![("prefix", "%61/")]), (put, vec![("prefix", "a/")]), false),
    ] {
        let rules = vec![rule("1", "a", one.0, &one.1), rule("2", "b", other.0, &other.1)];
        let refused = Err(Refused::Overlap("1".into(), "2".into()));
        let made = fresh(rules);
        assert!(if fits { made.is_ok() } else { made == refused }, "{one:?} {other:?}: {made:?}");
    }
}

#[test]
fn a_rule_that_is_put_back_as_it_was_keeps_what_was_said_of_it_and_its_target_may_be_gone() {
    let rules = vec![rule("one", "a", CREATED, &[]), rule("two", "b", &["cos:ObjectRemove:*"], &[])];
    let mut before = fresh(rules.clone()).expect("valid");
    (before.rules[0].disabled, before.rules[0].overlaps) = (true, true);
    before.rules[1].target = "vanished".into();
    before.rules[1].to = "arn:tidings:sqs:here::vanished".into();
    let back = vec![rules[0].clone(), PutRule { to: before.rules[1].to.clone(), ..rules[1].clone() }];
    assert_eq!(put(&before, back.clone()), Ok(before.clone()));
    let also = PutRule { id: Some("three".into()), ..rule("", "b", CREATED, &[]) };
    assert!(put(&before, vec![back[0].clone(), also]).is_ok(), "it may overlap");
    let other = rule("one", "a", &["s3:ObjectCreated:Put"], &[]);
    assert!(!put(&before, vec![other]).expect("valid").rules()[0].disabled, "another rule of that name");
    let renamed = PutRule { id: Some("new".into()), ..back[1].clone() };
    assert!(matches!(put(&before, vec![renamed]), Err(Refused::UnknownDestination(_))));
}

/// S3's document has no words for a broker: a client that puts back what it was shown changes nothing.
#[test]
fn what_was_said_of_a_broker_is_kept_and_is_changed_only_by_who_can_say_it() {
    let names = {
        let mut names = names();
        let topic = KafkaTopic { name: "events".into(), brokers: vec!["kafka:9092".into()] };
        let named =
            Named { target: TargetNo(9), invokes: false, tested: true, topic: Some(topic), region: None };
        names.add(&"pipeline".into(), named);
        names
    };
    let around = Around { region: "here", names: &names };
    let put = |before: &Notification, rule: PutRule| before.replaced_by(vec![rule], around, || "x".into());
    let broker = Broker { id: "ckafka-1".into(), endpoint: "kafka://kafka:9092".into() };
    let of_topic = PutRule { form: Form::Topic, to: "events".into(), ..rule("one", "", CREATED, &[]) };
    let said = PutRule { broker: Some(broker.clone()), ..of_topic.clone() };
    let made = put(&Notification::default(), said.clone()).expect("valid");
    let back = Notification::of_setting(made.setting().as_ref()).expect("readable");
    assert_eq!((&back.rules()[0].broker, &*back.rules()[0].target), (&broker, "pipeline"));
    assert_eq!(put(&made, of_topic.clone()), Ok(made.clone()), "who cannot say it takes nothing away");
    let without = put(&made, PutRule { broker: Some(Broker::default()), ..of_topic.clone() });
    assert_eq!(without.expect("valid").rules()[0].broker, Broker::default());
    let elsewhere = Broker { endpoint: "kafka://other:9092".into(), ..broker.clone() };
    let refused = put(&made, PutRule { broker: Some(elsewhere.clone()), ..of_topic.clone() });
    assert_eq!(refused, Err(Refused::Endpoint(elsewhere.endpoint)));
    for id in ["a\u{7}".to_owned(), "x".repeat(256)] {
        let refused =
            put(&made, PutRule { broker: Some(Broker { id, ..broker.clone() }), ..of_topic.clone() });
        assert_eq!(refused, Err(Refused::BadBroker));
    }
}

proptest! {
    /// Two rules that are let in together never match one event, whatever the key.
    #[test]
    fn no_key_is_matched_twice(
        filters in prop::collection::vec(("[ab]{0,3}", "[ab]{0,3}"), 2..5),
        keys in prop::collection::vec("[ab]{1,6}", 1..30),
    ) {
        let one = |(n, (prefix, suffix)): (usize, &(String, String))| {
            rule(&n.to_string(), "a", CREATED, &[("prefix", prefix), ("suffix", suffix)])
        };
        let Ok(made) = fresh(filters.iter().enumerate().map(one).collect()) else { return Ok(()) };
        for key in keys {
            let matching = made.rules().iter().filter(|rule| {
                let meaning = rule.meaning().expect("checked");
                let created = meaning.events.contains(EventKind::CreatedPut);
                created && key.starts_with(&meaning.prefix) && key.ends_with(&meaning.suffix)
            });
            prop_assert!(matching.count() <= 1, "{}", key);
        }
    }

    /// What a trigger says is what its rule in the configuration says.
    #[test]
    fn encoded_text_comes_back(text in "\\PC{0,12}") {
        prop_assert_eq!(decoded(&encoded(&text)), Some(text));
    }
}
