//! COS's constraints on triggers, row by row.

use super::*;
use crate::queue::TargetNo;
use crate::rules::{Named, Names};

fn names() -> Names {
    let mut names = Names::default();
    for (n, name) in ["hook", "other", "queue"].into_iter().enumerate() {
        let target = TargetNo(u32::try_from(n).expect("few"));
        names.add(
            &name.into(),
            Named { target, invokes: name != "queue", tested: true, topic: None, region: None },
        );
    }
    names
}

fn trigger(function: &str, event: &str, prefix: &str, suffix: &str) -> NewTrigger {
    NewTrigger {
        function: function.into(),
        event: event.into(),
        prefix: prefix.into(),
        suffix: suffix.into(),
        allow_overlap: false,
    }
}

fn add(
    to: &Notification,
    new: &NewTrigger,
    of_function: usize,
) -> Result<(Notification, String), TriggerRefused> {
    let (names, id) = (names(), format!("t{}", to.rules().len()));
    to.with_trigger(new, Around { region: "here", names: &names }, "125", of_function, id)
}

const CREATED: &str = "cos:ObjectCreated:*";

#[test]
fn conflicts_have_the_names_that_cos_gives_them() {
    for (there, new, code) in [
        ((CREATED, "", ""), (CREATED, "", ""), Some("NotifyRuleEventConflict")),
        ((CREATED, "", ""), ("s3:ObjectCreated:*", "", ""), Some("NotifyRuleEventConflict")),
        ((CREATED, "", ""), ("cos:ObjectCreated:Put", "a/", ""), Some("NotifyRuleEventConflict")),
        (("cos:ObjectCreated:Put", "a/", ""), (CREATED, "a/b/", ""), Some("NotifyRuleEventConflict")),
        (("cos:ObjectCreated:Put", "a/", ""), (CREATED, "b/", ""), None),
        ((CREATED, "Lo", ""), (CREATED, "Log", ""), Some("NotifyRulePrefixConflict")),
        ((CREATED, "Log", ""), (CREATED, "", ".x"), Some("NotifyRulePrefixConflict")),
        ((CREATED, "", ".jpg"), (CREATED, "", ".jpg"), Some("NotifyRuleSuffixConflict")),
        ((CREATED, "", ""), (CREATED, "", ".jpg"), Some("NotifyRuleSuffixConflict")),
        ((CREATED, "", ".jpg"), (CREATED, "", ".png"), None),
        ((CREATED, "a/", ".jpg"), (CREATED, "a/", ".png"), None),
        ((CREATED, "", ""), ("cos:ObjectRemove:*", "", ""), None),
    ] {
        let (before, _) = add(&Notification::default(), &trigger("other", there.0, there.1, there.2), 0)
            .expect("the first");
        let new = trigger("hook", new.0, new.1, new.2);
        let made = add(&before, &new, 0);
        assert_eq!(
            made.as_ref().err().and_then(TriggerRefused::cos_code),
            code,
            "{there:?} {new:?} {made:?}"
        );
        let allowed = add(&before, &NewTrigger { allow_overlap: true, ..new }, 0);
        assert_eq!(allowed.expect("allowed").0.rules().len(), 2);
    }
}

#[test]
fn what_cos_does_not_know_is_refused() {
    let why = |new: &NewTrigger, of_function| {
        add(&Notification::default(), new, of_function).expect_err("refused").to_string()
    };
    assert!(why(&trigger("hook", CREATED, "", "jpg"), 0).contains("begin with `.`"));
    assert!(why(&trigger("hook", "cos:ObjectGone", "", ""), 0).contains("not supported"));
    assert!(why(&trigger("nobody", CREATED, "", ""), 0).contains("no target"));
    assert!(why(&trigger("queue", CREATED, "", ""), 0).contains("is no function"));
    assert!(why(&trigger("hook", CREATED, "", ""), MAX_TRIGGERS).contains("10 triggers"));
    assert!(add(&Notification::default(), &trigger("hook", CREATED, "", ""), MAX_TRIGGERS - 1).is_ok());
}

#[test]
fn the_same_trigger_again_is_the_one_that_is_there() {
    let new = trigger("hook", CREATED, "a+ b%", ".x");
    let (one, id) = add(&Notification::default(), &new, 0).expect("valid");
    assert_eq!(add(&one, &new, MAX_TRIGGERS), Ok((one.clone(), id.clone())));
    let rule = one.rule(&id).expect("there");
    assert_eq!(
        (rule.prefix(), rule.suffix(), &*rule.to),
        (new.prefix.clone(), new.suffix.clone(), "arn:tidings:lambda:here:125:function:hook")
    );
    let other = NewTrigger { function: "other".into(), ..new };
    assert!(add(&one, &other, 0).is_err(), "COS lets one function have an event");
}

#[test]
fn a_trigger_that_is_switched_off_keeps_its_place() {
    let (one, id) = add(&Notification::default(), &trigger("hook", CREATED, "", ""), 0).expect("valid");
    let off = one.switched(&id, false).expect("there");
    assert!(off.rules()[0].disabled && off.switched(&id, true).expect("there") == one);
    assert!(add(&off, &trigger("other", CREATED, "", ""), 0).is_err(), "it may be switched on again");
    assert_eq!(off.without_rule(&id).expect("there").setting(), None);
    assert_eq!((one.switched("none", true), one.without_rule("none")), (None, None));
}
