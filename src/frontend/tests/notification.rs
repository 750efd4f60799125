//! Notification configurations over the wire: put, shown as put, refused for the right reason, and what they
//! make of changes.
//!
//! Must never read the stored form: what counts is what is shown and who gets what.

use std::sync::atomic::{AtomicU32, Ordering};

use http::Method;

use super::real::Real;
use super::support::{assert_complete_error, told};
use crate::client::Response;
use crate::event::EventKind;
use crate::queue::{Column, Queue as _, Reader, TargetNo};
use crate::rules::{Named, Names, RuleSet};

/// Targets by name; the last one invokes, and takes no test event.
const TARGETS: [&str; 3] = ["orders", "audit", "hook"];

/// A server with targets that nobody serves.
async fn started() -> Real {
    let real = Real::with_bucket().await;
    reach(&real, &TARGETS);
    real
}

fn reach(real: &Real, targets: &[&str]) {
    let mut names = Names::default();
    for (n, name) in (1..).zip(TARGETS) {
        real.queue.add_reader(TargetNo(n), 1).expect("opens");
        if targets.contains(&name) {
            names.add(
                &name.into(),
                Named {
                    target: TargetNo(n),
                    invokes: name == "hook",
                    tested: name != "hook",
                    topic: None,
                    region: None,
                },
            );
        }
    }
    real.commit.set_rules(RuleSet::build(&[]).reaching(names));
}

async fn put(real: &Real, bucket: &str, body: &str) -> Response {
    real.ask(Method::PUT, bucket, &[("notification", "")], &[], body.to_owned()).await
}

async fn get(real: &Real, bucket: &str) -> String {
    let answer = real.ask(Method::GET, bucket, &[("notification", "")], &[], "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let text = std::str::from_utf8(&answer.body).expect("UTF-8");
    let (_, rest) = text.split_once("<NotificationConfiguration").expect("a configuration");
    let (_, rest) = rest.split_once('>').expect("an element");
    rest.strip_suffix("</NotificationConfiguration>").expect("an end").to_owned()
}

fn document(configurations: &[String]) -> String {
    let all = configurations.concat();
    format!(
        "<NotificationConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{all}\
         </NotificationConfiguration>"
    )
}

fn queue(id: &str, to: &str, events: &[&str], filter: &[(&str, &str)]) -> String {
    let events: String = events.iter().map(|event| format!("<Event>{event}</Event>")).collect();
    let rules = filter
        .iter()
        .map(|(name, value)| format!("<FilterRule><Name>{name}</Name><Value>{value}</Value></FilterRule>"));
    let rules: String = rules.collect();
    let filter = if rules.is_empty() { rules } else { format!("<Filter><S3Key>{rules}</S3Key></Filter>") };
    format!(
        "<QueueConfiguration>{events}{filter}<Id>{id}</Id><Queue>arn:aws:sqs:ap-guangzhou:1:{to}</Queue>\
         </QueueConfiguration>"
    )
}

const CREATED: &[&str] = &["s3:ObjectCreated:*"];

/// Far longer than anything here takes.
const WAIT: std::time::Duration = std::time::Duration::from_secs(20);

/// What a target is given next: kind, key and rule of each event.
async fn given(reader: &mut Box<dyn Reader>, target: u32, count: usize) -> Vec<(EventKind, String, String)> {
    let mut given = Vec::new();
    while given.len() < count {
        let next = tokio::time::timeout(WAIT, reader.next(count - given.len())).await;
        let next = next.unwrap_or_else(|_| panic!("{} of {count} events came", given.len()));
        let entries = next.expect("readable");
        let settled: Vec<_> = entries.iter().map(|s| (s.position.offset, Column::Delivered)).collect();
        reader.settle(&settled);
        given.extend(entries.iter().map(|stored| {
            let event = stored.entry.event.as_ref().expect("an event");
            let rule = stored.rule_for(TargetNo(target)).expect("for it");
            (event.kind, event.key.to_string(), rule.to_string())
        }));
    }
    given
}

fn event(kind: EventKind, key: &str, rule: &str) -> (EventKind, String, String) {
    (kind, key.to_owned(), rule.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_put_is_shown_and_takes_effect_after_its_test_event() {
    let real = started().await;
    real.running.client.put("bucket", "in/before", "x").await.expect("answered");
    let both = [
        queue("one", "orders", CREATED, &[("Prefix", "in/%2Ba+b"), ("SUFFIX", ".x")]),
        queue("two", "audit", &["cos:ObjectRemove:*", "s3:ObjectCreated:Put"], &[("prefix", "out/")]),
    ];
    let answer = put(&real, "/bucket", &document(&both)).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0), "{answer:?}");
    assert_eq!(get(&real, "/bucket").await, both.concat());
    for key in ["in/+a b.x", "in/+a b.y", "out/1"] {
        real.running.client.put("bucket", key, "x").await.expect("answered");
    }
    real.running.client.delete("bucket", "out/1").await.expect("answered");
    let mut orders = real.queue.open(TargetNo(1), 0).await.expect("opens");
    let mut audit = real.queue.open(TargetNo(2), 0).await.expect("opens");
    let wanted = [event(EventKind::Test, "", "one"), event(EventKind::CreatedPut, "in/+a b.x", "one")];
    assert_eq!(given(&mut orders, 1, 2).await, wanted);
    let wanted = [
        event(EventKind::Test, "", "two"),
        event(EventKind::CreatedPut, "out/1", "two"),
        event(EventKind::RemovedDelete, "out/1", "two"),
    ];
    assert_eq!(given(&mut audit, 2, 3).await, wanted);
    for reader in [&orders, &audit] {
        let books = reader.progress().books();
        assert_eq!((books.imbalance(), books.backlog), (0, 0), "{books:?}");
    }
    drop((orders, audit));

    // It survives, and a target that is not configured any more does not get in the way.
    let real = real.restart().await;
    reach(&real, &["audit"]);
    assert_eq!(get(&real, "/bucket").await, both.concat());
    real.running.client.put("bucket", "in/+a b.x", "x").await.expect("answered");
    assert_eq!(put(&real, "/bucket", &document(&both)).await.status, 200, "nothing of it is new");
    reach(&real, &TARGETS);
    real.running.client.put("bucket", "in/+a b.x", "x").await.expect("answered");
    let mut orders = real.queue.open(TargetNo(1), 0).await.expect("opens");
    assert_eq!(given(&mut orders, 1, 1).await, [event(EventKind::CreatedPut, "in/+a b.x", "one")]);
    assert_eq!(orders.progress().books().backlog, 0);

    // None at all.
    assert_eq!(put(&real, "/bucket", &document(&[])).await.status, 200);
    assert_eq!(get(&real, "/bucket").await, "");
    let end = real.queue.stat().durable_end;
    assert_eq!(put(&real, "/bucket", &document(&[])).await.status, 200);
    assert_eq!(real.queue.stat().durable_end, end, "nothing is written for nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_means_nothing_is_refused_and_changes_nothing() {
    let real = started().await;
    let kept = [queue("kept", "orders", CREATED, &[("prefix", "in/")])];
    assert_eq!(put(&real, "/bucket", &document(&kept)).await.status, 200);
    let end = real.queue.stat().durable_end;
    let one =
        |to: &str, events: &[&str], filter: &[(&str, &str)]| document(&[queue("i", to, events, filter)]);
    let lambda = "<CloudFunctionConfiguration><Event>s3:ObjectCreated:*</Event>\
                  <CloudFunction>arn:aws:lambda:ap-guangzhou:1:function:orders</CloudFunction>\
                  </CloudFunctionConfiguration>";
    let bridge = "<EventBridgeConfiguration></EventBridgeConfiguration>";
    let overlap = [
        queue("1", "orders", CREATED, &[]),
        queue("2", "audit", &["s3:ObjectCreated:Put"], &[("suffix", "x")]),
    ];
    let same = [
        queue("1", "orders", CREATED, &[("prefix", "a")]),
        queue("1", "orders", CREATED, &[("prefix", "b")]),
    ];
    let elsewhere = one("orders", CREATED, &[]).replace("ap-guangzhou", "us-east-1");
    let no_arn = one("orders", CREATED, &[]).replace("arn:aws:sqs:ap-guangzhou:1:", "");
    for (body, code, status) in [
        (one("orders", &["s3:ObjectGone"], &[]), "InvalidArgument", 400),
        (one("orders", &["s3:TestEvent"], &[]), "InvalidArgument", 400),
        (one("orders", &[], &[]), "MalformedXML", 400),
        (one("nobody", CREATED, &[]), "InvalidArgument", 400),
        (elsewhere, "InvalidArgument", 400),
        (no_arn, "InvalidArgument", 400),
        (one("orders", CREATED, &[("infix", "x")]), "InvalidArgument", 400),
        (one("orders", CREATED, &[("prefix", "%zz")]), "InvalidArgument", 400),
        (one("orders", CREATED, &[("prefix", "a"), ("Prefix", "b")]), "InvalidArgument", 400),
        (document(&overlap), "InvalidArgument", 400),
        (document(&same), "InvalidArgument", 400),
        (document(&[lambda.to_owned()]), "InvalidArgument", 400),
        (document(&[bridge.to_owned()]), "NotImplemented", 501),
        ("<NotificationConfiguration><".into(), "MalformedXML", 400),
        ("<Other></Other>".into(), "MalformedXML", 400),
        (String::new(), "MissingRequestBodyError", 400),
        (format!("{}{}", document(&[]), " ".repeat(1 << 20)), "InvalidRequest", 400),
    ] {
        let answer = put(&real, "/bucket", &body).await;
        assert_eq!(told(&answer), (status, code), "{body}: {answer:?}");
        assert_complete_error(&answer);
    }
    assert_eq!(told(&put(&real, "/nobody", &document(&kept)).await), (404, "NoSuchBucket"));
    let twice =
        real.ask(Method::PUT, "/bucket", &[("notification", ""), ("acl", "")], &[], document(&[])).await;
    assert!(twice.status.is_client_error() || twice.status == 501, "{twice:?}");
    assert_eq!((get(&real, "/bucket").await, real.queue.stat().durable_end), (kept.concat(), end));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_made_anew_has_no_rules_and_functions_get_no_test_event() {
    let real = started().await;
    let function = "<CloudFunctionConfiguration><Event>cos:ObjectCreated:*</Event><Id>f</Id>\
                    <CloudFunction>arn:tidings:lambda:ap-guangzhou::function:hook</CloudFunction>\
                    </CloudFunctionConfiguration>";
    let body = document(&[function.to_owned()]);
    assert_eq!(put(&real, "/bucket", &body).await.status, 200);
    assert_eq!(get(&real, "/bucket").await, function);
    real.ask(Method::DELETE, "/bucket", &[], &[], "").await;
    assert_eq!(told(&put(&real, "/bucket", &body).await), (404, "NoSuchBucket"));
    real.running.client.create_bucket("bucket").await.expect("answered");
    assert_eq!(get(&real, "/bucket").await, "");
    real.running.client.put("bucket", "unmatched", "x").await.expect("answered");
    assert_eq!(put(&real, "/bucket", &body).await.status, 200);
    real.running.client.put("bucket", "matched", "x").await.expect("answered");
    let also = document(&[function.to_owned(), queue("q", "hook", &["s3:ObjectRemoved:*"], &[])]);
    assert_eq!(put(&real, "/bucket", &also).await.status, 200);
    real.running.client.delete("bucket", "matched").await.expect("answered");
    let mut hook = real.queue.open(TargetNo(3), 0).await.expect("opens");
    let wanted =
        [event(EventKind::CreatedPut, "matched", "f"), event(EventKind::RemovedDelete, "matched", "q")];
    assert_eq!(given(&mut hook, 3, 2).await, wanted);
}

/// Nobody is told where the client says so.
#[tokio::test(flavor = "multi_thread")]
async fn without_validation_there_is_no_test_event() {
    let real = started().await;
    let body = document(&[queue("one", "orders", CREATED, &[])]);
    let skip = [("x-amz-skip-destination-validation", "true")];
    let answer = real.ask(Method::PUT, "/bucket", &[("notification", "")], &skip, body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    real.running.client.put("bucket", "key", "x").await.expect("answered");
    let mut orders = real.queue.open(TargetNo(1), 0).await.expect("opens");
    assert_eq!(given(&mut orders, 1, 1).await, [event(EventKind::CreatedPut, "key", "one")]);
}

/// Each change is matched by the rules of its place in the log: never by older ones than its neighbour's, and
/// never by older ones than those that were called set before it began.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_is_matched_by_the_rules_of_its_place_in_the_log() {
    const CONFIGURATIONS: u32 = 40;
    let real = started().await;
    let body = |n: u32| document(&[queue(&n.to_string(), "orders", CREATED, &[])]);
    assert_eq!(put(&real, "/bucket", &body(0)).await.status, 200);
    let set = AtomicU32::new(0);
    let made = AtomicU32::new(0);
    let setting = async {
        for n in 1..=CONFIGURATIONS {
            assert_eq!(put(&real, "/bucket", &body(n)).await.status, 200);
            set.store(n, Ordering::SeqCst);
        }
    };
    let writer = async |w: u32| {
        for n in 0.. {
            let before = set.load(Ordering::SeqCst);
            let answer = real.running.client.put("bucket", &format!("{before}-{w}-{n}"), "x").await;
            assert_eq!(answer.expect("answered").status, 200);
            made.fetch_add(1, Ordering::SeqCst);
            if before == CONFIGURATIONS {
                return;
            }
        }
    };
    tokio::join!(setting, writer(0), writer(1), writer(2));
    let mut orders = real.queue.open(TargetNo(1), 0).await.expect("opens");
    let all = (made.load(Ordering::SeqCst) + CONFIGURATIONS + 1) as usize;
    let mut newest = 0;
    let mut tests = 0;
    for (kind, key, rule) in given(&mut orders, 1, all).await {
        let rule: u32 = rule.parse().expect("a number");
        assert!(rule >= newest, "{key} by {rule} after {newest}");
        newest = rule;
        match key.split_once('-') {
            Some((before, _)) => assert!(rule >= before.parse().expect("a number"), "{key} by {rule}"),
            None => {
                assert_eq!((kind, rule), (EventKind::Test, tests), "each announces itself before it matches");
                tests += 1;
            }
        }
    }
    assert_eq!((newest, tests), (CONFIGURATIONS, CONFIGURATIONS + 1));
}
