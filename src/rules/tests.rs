//! The rules' tests: against a naive matcher, and by counting visited nodes.

use proptest::prelude::*;

use super::*;
use crate::event::EventSet;

fn rule(name: &str, bucket: &str, events: EventSet, prefix: &str, suffix: &str) -> Rule {
    Rule { name: name.into(), bucket: bucket.into(), events, prefix: prefix.into(), suffix: suffix.into() }
}

fn events(name: &str) -> EventSet {
    EventSet::parse(name).expect("a known event")
}

fn names(deliveries: &[DeliveryTo]) -> Vec<(u32, &str)> {
    deliveries.iter().map(|d| (d.target.0, &*d.rule)).collect()
}

/// What the rules mean, said as plainly as possible.
fn naive(rules: &[(TargetNo, Vec<Rule>)], bucket: &str, key: &str, kind: EventKind) -> Vec<DeliveryTo> {
    fn glob(pattern: &[u8], name: &[u8]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some((b'*', rest)) => (0..=name.len()).any(|n| glob(rest, &name[n..])),
            Some((byte, rest)) => name.first() == Some(byte) && glob(rest, &name[1..]),
        }
    }
    let fits = |r: &&Rule| {
        glob(r.bucket.as_bytes(), bucket.as_bytes())
            && r.events.contains(kind)
            && key.as_bytes().starts_with(r.prefix.as_bytes())
            && key.as_bytes().ends_with(r.suffix.as_bytes())
    };
    let delivery = |(target, rules): &(TargetNo, Vec<Rule>)| {
        let first = rules.iter().find(fits)?;
        Some(DeliveryTo { target: *target, rule: Arc::clone(&first.name) })
    };
    rules.iter().filter_map(delivery).collect()
}

#[test]
fn the_first_matching_rule_of_each_target_names_the_delivery() {
    let all = events("cos:ObjectCreated:*");
    let put = events("s3:ObjectCreated:Put");
    let removed = events("cos:ObjectRemove:*");
    let set = RuleSet::build(&[
        (TargetNo(7), vec![rule("late", "*", all, "in/a/", ".json"), rule("wide", "*", all, "in/", "")]),
        (
            TargetNo(3),
            vec![rule("wide-first", "orders-*", all, "", ""), rule("never", "orders-*", put, "", "")],
        ),
        (TargetNo(9), vec![rule("gone", "*", removed, "", "")]),
        (TargetNo(4), vec![]),
    ]);
    let put = EventKind::CreatedPut;
    assert_eq!(names(&set.matching("orders-1", "in/a/x.json", put)), [(7, "late"), (3, "wide-first")]);
    assert_eq!(names(&set.matching("orders-1", "in/b/x.json", put)), [(7, "wide"), (3, "wide-first")]);
    assert_eq!(names(&set.matching("other", "in/b", put)), [(7, "wide")]);
    assert_eq!(names(&set.matching("other", "out", put)), []);
    assert_eq!(names(&set.matching("other", "out", EventKind::RemovedMarker)), [(9, "gone")]);
}

#[test]
fn a_target_named_twice_keeps_one_order() {
    let all = events("cos:ObjectCreated:*");
    let set = RuleSet::build(&[
        (TargetNo(1), vec![rule("one", "*", all, "a", "")]),
        (TargetNo(2), vec![rule("two", "*", all, "", "")]),
        (TargetNo(1), vec![rule("three", "*", all, "", "")]),
    ]);
    assert_eq!(names(&set.matching("b", "ab", EventKind::CreatedPut)), [(1, "one"), (2, "two")]);
    assert_eq!(names(&set.matching("b", "x", EventKind::CreatedPut)), [(1, "three"), (2, "two")]);
}

#[test]
fn prefix_and_suffix_may_overlap_and_are_bytes() {
    let all = events("cos:ObjectCreated:*");
    let set = RuleSet::build(&[(TargetNo(1), vec![rule("r", "*", all, "ab\u{e9}", "\u{e9}ab")])]);
    let hit = |key: &str| !set.matching("b", key, EventKind::CreatedPut).is_empty();
    assert!(hit("ab\u{e9}ab") && hit("ab\u{e9}/\u{e9}ab"));
    assert!(!hit("ab\u{e8}/\u{e9}ab") && !hit("ab\u{e9}") && !hit(""));
}

#[test]
fn a_thousand_rules_cost_no_more_than_one() {
    let all = events("cos:ObjectCreated:*");
    let kinds = ["cos:ObjectRemove:*", "cos:ObjectRestore:*", "cos:ObjectCreated:Post"].map(events);
    let wanted = || rule("wanted", "*", all, "orders/2026/", ".json");
    let visited = |others: &[Rule], bucket: &str| {
        let target = |(n, r): (usize, &Rule)| (TargetNo(n as u32 + 1), vec![r.clone()]);
        let mut rules = vec![(TargetNo(0), vec![wanted()])];
        rules.extend(others.iter().enumerate().map(target));
        let set = RuleSet::build(&rules);
        let mut matched = Vec::new();
        let key = b"orders/2026/11/x.json";
        let visited = set.configured.resolve(bucket).collect(key, EventKind::CreatedPut, &mut matched);
        assert_eq!(matched, [0]);
        visited
    };
    let alone = visited(&[], "shop");
    let thousand = |make: &dyn Fn(usize) -> Rule| (0..1_000).map(make).collect::<Vec<_>>();
    let name = |n: usize| format!("r{n}");
    // By what the others differ, and how many splits of the wanted rule's edges that may cost.
    let cases: [(&str, Vec<Rule>, usize); 5] = [
        ("prefix", thousand(&|n| rule(&name(n), "*", all, &format!("tenant-{n}/"), ".json")), 0),
        ("shared prefix", thousand(&|n| rule(&name(n), "*", all, &format!("orders/20{n:03}/"), "")), 3),
        ("suffix", thousand(&|n| rule(&name(n), "*", all, "orders/2026/", &format!(".x{n}"))), 0),
        ("kind", thousand(&|n| rule(&name(n), "*", kinds[n % 3], "orders/2026/", ".json")), 0),
        ("bucket", thousand(&|n| rule(&name(n), &format!("b{n}*"), all, "", "")), 0),
    ];
    for (by, others, splits) in cases {
        let many = visited(&others, "shop");
        assert!(many <= alone + splits, "{by}: {many} nodes with 1,001 rules, {alone} with one");
    }
}

#[test]
fn rules_that_an_earlier_one_covers_cost_nothing() {
    let all = events("cos:ObjectCreated:*");
    let put = events("cos:ObjectCreated:Put");
    let rules =
        (0..1_000).map(|n| rule(&format!("r{n}"), "*", if n % 2 == 0 { all } else { put }, "in/", ".json"));
    let set = RuleSet::build(&[(TargetNo(1), rules.collect())]);
    let mut matched = Vec::new();
    set.configured.resolve("shop").collect(b"in/x.json", EventKind::CreatedPut, &mut matched);
    assert_eq!(matched, [0], "only the first rule is in the trie");
}

#[test]
fn the_cache_is_bounded_and_shared() {
    let all = events("cos:ObjectCreated:*");
    let set = RuleSet::build(&[(TargetNo(1), vec![rule("r", "a*", all, "", "")])]);
    for n in 0..MAX_CACHED_BUCKETS + 10 {
        assert_eq!(set.matching(&format!("a{n}"), "k", EventKind::CreatedPut).len(), 1);
    }
    let cache = set.configured.cache.read().expect("not poisoned");
    assert_eq!(
        (cache.buckets.len(), cache.tries.len()),
        (10, 1),
        "it started anew, and buckets share one trie"
    );
    drop(cache);

    // Each bucket has a trie of its own: the nodes are bounded, too.
    let own =
        |n: usize| rule("r", &format!("b{n:05}*"), all, &format!("{}{n}", "x".repeat(n % 7)), &n.to_string());
    let shared = (0..200).map(|n| rule("s", "*", all, &format!("{n:03}"), &format!("{n:03}")));
    let rules: Vec<Rule> = (0..1_500).map(own).chain(shared).collect();
    let set = RuleSet::build(&[(TargetNo(1), rules)]);
    for n in 0..1_500 {
        set.matching(&format!("b{n:05}"), "k", EventKind::CreatedPut);
        let cache = set.configured.cache.read().expect("not poisoned");
        let held: usize = cache.tries.values().map(|trie| trie.nodes()).sum();
        assert!(cache.nodes == held && held <= MAX_CACHED_NODES, "{held}");
    }
    assert!(
        set.configured.cache.read().expect("not poisoned").buckets.len() < 1_500,
        "the bound was reached"
    );
}

/// A bucket's own rules as its setting has them.
fn own(rules: Vec<PutRule>, names: &Names) -> Bytes {
    let around = Around { region: "here", names };
    let made = Notification::default().replaced_by(rules, around, || "made".into());
    made.expect("valid").setting().expect("some")
}

fn put_rule(id: &str, to: &str, prefix: &str) -> PutRule {
    PutRule {
        id: Some(id.into()),
        form: Form::Queue,
        to: format!("arn:tidings:sqs:here::{to}"),
        events: vec!["s3:ObjectCreated:*".into()],
        filter: vec![("prefix".into(), prefix.into())],
        broker: None,
    }
}

fn reaching(targets: &[(&str, u32)]) -> Names {
    let mut names = Names::default();
    for (name, n) in targets {
        names.add(
            &(*name).into(),
            Named { target: TargetNo(*n), invokes: false, tested: true, topic: None, region: None },
        );
    }
    names
}

#[test]
fn a_bucket_s_own_rules_come_after_the_configuration_s_and_only_they_shed() {
    let all = events("cos:ObjectCreated:*");
    let names = reaching(&[("a", 1), ("b", 2), ("gone", 3)]);
    let setting = own(
        vec![put_rule("to-a", "a", "in/"), put_rule("to-b", "b", "out/"), put_rule("to-gone", "gone", "x/")],
        &names,
    );
    let set = RuleSet::build(&[(TargetNo(1), vec![rule("configured", "*", all, "in/a", "")])]);
    let set = set.reaching(reaching(&[("a", 1), ("b", 2)]));
    let matched = |key: &str, kind| set.matched("shop", Some(&setting), key, kind).expect("readable");
    let put = EventKind::CreatedPut;
    let both = matched("in/a", put);
    assert_eq!((names_of(&both), &both.shedding[..]), (vec![(1, "configured")], &[][..]));
    let only = matched("in/b", put);
    assert_eq!((names_of(&only), &only.shedding[..]), (vec![(1, "to-a")], &[TargetNo(1)][..]));
    assert_eq!(names_of(&matched("out/", put)), [(2, "to-b")]);
    assert_eq!(names_of(&matched("x/", put)), [], "its target is not configured any more");
    assert_eq!(names_of(&matched("in/b", EventKind::RemovedDelete)), []);
    assert_eq!(names_of(&matched("in/b", EventKind::Test)), []);
    let none = set.matched("other", None, "in/b", put).expect("readable");
    assert_eq!(names_of(&none), []);
    let back = set.reaching(reaching(&[("gone", 3)])).matched("shop", Some(&setting), "x/", put);
    assert_eq!(names_of(&back.expect("readable")), [(3, "to-gone")], "it matches again");
}

fn names_of(matched: &Matched) -> Vec<(u32, &str)> {
    names(&matched.deliveries)
}

fn named(target: TargetNo) -> Named {
    Named { target, invokes: true, tested: false, topic: None, region: None }
}

/// What is compiled of the configuration is shared, and buckets' rules reach a target that came at once.
#[test]
fn a_target_without_rules_comes_and_goes_without_compiling_the_configuration_anew() {
    let all = events("cos:ObjectCreated:*");
    let set = RuleSet::build(&[(TargetNo(1), vec![rule("configured", "*", all, "", "")])]);
    let setting = own(vec![put_rule("mine", "f", "")], &reaching(&[("f", 2)]));
    let who = |set: &RuleSet| {
        let matched = set.matched("shop", Some(&setting), "k", EventKind::CreatedPut).expect("readable");
        matched.deliveries.iter().map(|delivery| delivery.target.0).collect::<Vec<_>>()
    };
    let named = || named(TargetNo(2));
    let with = set.with(&"f".into(), named(), &[]);
    assert!(Arc::ptr_eq(&set.configured, &with.configured));
    let without = with.without("f");
    assert!(Arc::ptr_eq(&set.configured, &without.configured));
    assert_eq!((who(&set), who(&with), who(&without)), (vec![1], vec![1, 2], vec![1]));
    let ruled = set.with(&"f".into(), named(), &[rule("its", "shop", all, "", "")]);
    let again = ruled.with(&"f".into(), named(), &[rule("its", "shop", all, "", "")]);
    assert!(Arc::ptr_eq(&ruled.configured, &again.configured), "it changed nothing");
    assert_eq!((who(&ruled), who(&ruled.without("f"))), (vec![1, 2], vec![1]));
}

#[test]
fn another_setting_counts_at_once_and_one_that_cannot_be_read_is_no_setting() {
    let names = reaching(&[("a", 1)]);
    let set = RuleSet::build(&[]).reaching(names.clone());
    let (old, new) =
        (own(vec![put_rule("old", "a", "")], &names), own(vec![put_rule("new", "a", "")], &names));
    let put = EventKind::CreatedPut;
    for (setting, name) in [(&old, "old"), (&new, "new"), (&Bytes::copy_from_slice(&old), "old")] {
        let matched = set.matched("shop", Some(setting), "k", put).expect("readable");
        assert_eq!(names_of(&matched), [(1, name)]);
    }
    assert_eq!(set.matched("shop", Some(&Bytes::from("{}")), "k", put), Err(Unreadable));
}

#[test]
fn a_thousand_rules_of_a_bucket_cost_no_more_than_one() {
    let names = reaching(&[("a", 1)]);
    let visited = |n: usize| {
        let rules = (0..n).map(|n| put_rule(&n.to_string(), "a", &format!("tenant-{n:04}/"))).collect();
        let setting = own(rules, &names);
        assert!(setting.len() < crate::queue::MAX_SETTING_BYTES, "{}", setting.len());
        let cache = OwnCache::default();
        let compiled = cache.of("shop", &setting, &names).expect("readable");
        let again = cache.of("shop", &setting, &names).expect("readable");
        assert!(Arc::ptr_eq(&compiled, &again), "it is compiled once");
        let mut deliveries = Vec::new();
        let visited = compiled.add(b"tenant-0000/x", EventKind::CreatedPut, &mut deliveries);
        assert_eq!(super::tests::names(&deliveries), [(1, "0")]);
        visited
    };
    // The wanted prefix is cut where others leave it: at most once for each of its four digits.
    assert!(visited(1_000) <= visited(1) + 4, "{} and {}", visited(1_000), visited(1));
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let text = || "[ab\u{e9}/]{0,3}";
    let kinds = prop::collection::vec(0..EventKind::ALL.len(), 1..4);
    ("[a-z]{1,6}", "[ab*]{1,4}", kinds, text(), text()).prop_map(|(name, bucket, kinds, prefix, suffix)| {
        let one = |set: EventSet, n: usize| set.union(events(EventKind::ALL[n].cos_name()));
        rule(&name, &bucket, kinds.into_iter().fold(EventSet::default(), one), &prefix, &suffix)
    })
}

fn some_rules() -> impl Strategy<Value = Vec<Rule>> {
    prop::collection::vec(any_rule(), 0..3)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn it_agrees_with_the_naive_matcher(
        rules in prop::collection::vec(prop::collection::vec(any_rule(), 0..12), 0..4),
        asked in prop::collection::vec(("[ab]{1,3}", "[ab\u{e9}/]{1,6}", 0..EventKind::ALL.len()), 1..20),
    ) {
        let rules: Vec<(TargetNo, Vec<Rule>)> =
            rules.into_iter().enumerate().map(|(n, rules)| (TargetNo(n as u32), rules)).collect();
        let set = RuleSet::build(&rules);
        for (bucket, key, kind) in asked {
            let kind = EventKind::ALL[kind];
            prop_assert_eq!(set.matching(&bucket, &key, kind), naive(&rules, &bucket, &key, kind));
        }
    }

    /// Targets that come, change and go one by one leave the set that all of them at once would have made.
    #[test]
    fn one_by_one_they_are_the_set_that_all_at_once_make(
        steps in prop::collection::vec((0_u32..4, some_rules(), any::<bool>()), 0..9),
        asked in prop::collection::vec(("[ab]{1,3}", "[ab\u{e9}/]{1,6}", 0..EventKind::ALL.len()), 1..9),
    ) {
        let (mut set, mut now) = (RuleSet::build(&[]), std::collections::BTreeMap::new());
        for (n, rules, there) in steps {
            let (name, target) = (Arc::from(format!("t{n}")), TargetNo(n));
            set = match there {
                true => set.with(&name, named(target), &rules),
                false => set.without(&name),
            };
            match there {
                true => drop(now.insert(target, rules)),
                false => drop(now.remove(&target)),
            }
            for (bucket, key, kind) in &asked {
                let (rules, kind) = (now.clone().into_iter().collect::<Vec<_>>(), EventKind::ALL[*kind]);
                let mut matching = set.matching(bucket, key, kind);
                matching.sort_by_key(|delivery| delivery.target);
                prop_assert_eq!(matching, naive(&rules, bucket, key, kind));
            }
            for n in 0..4 {
                let named = set.names().get(&format!("t{n}")).map(|named| named.target);
                prop_assert_eq!(named, now.contains_key(&TargetNo(n)).then_some(TargetNo(n)));
            }
        }
    }
}
