//! COS's own document of a notification configuration over the wire: the rules that S3's makes too, and words
//! about a broker that S3 has none for.
//!
//! Must never read the stored form: what counts is what is shown and who gets what.

use http::Method;

use super::real::Real;
use super::support::{OTHER_KEY, OTHER_SECRET, told};
use crate::client::Response;
use crate::config::credentials::Scope;
use crate::queue::{Queue as _, TargetNo};
use crate::rules::{KafkaTopic, Named, Names, RuleSet};

const QUERY: &[(&str, &str)] = &[("notification", "")];

/// A server with a target that writes to a topic, and one that invokes.
async fn started() -> Real {
    let real = Real::with_bucket().await;
    let mut names = Names::default();
    let topic = KafkaTopic { name: "events".into(), brokers: vec!["kafka:9092".into()] };
    for (n, name, topic) in [(1, "pipeline", Some(topic)), (2, "hook", None)] {
        real.queue.add_reader(TargetNo(n), 1).expect("opens");
        let invokes = topic.is_none();
        names
            .add(&name.into(), Named { target: TargetNo(n), invokes, tested: !invokes, topic, region: None });
    }
    real.commit.set_rules(RuleSet::build(&[]).reaching(names));
    real
}

fn document(configurations: &str) -> String {
    format!("<NotificationConfiguration>{configurations}</NotificationConfiguration>")
}

fn topic(inside: &str) -> String {
    document(&format!("<TopicConfiguration>{inside}</TopicConfiguration>"))
}

async fn shown(real: &Real) -> String {
    let answer = real.cos(Method::GET, "/", QUERY, &[], "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let text = std::str::from_utf8(&answer.body).expect("UTF-8").to_owned();
    let (_, document) = text.split_once("?>").expect("a declaration");
    document.to_owned()
}

async fn put(real: &Real, body: &str) -> Response {
    real.cos(Method::PUT, "/", QUERY, &[], body.to_owned()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_put_is_shown_in_both_families_and_reaches_its_target() {
    let real = started().await;
    let filter =
        "<Filter><S3Key><FilterRule><Name>Prefix</Name><Value>in/</Value></FilterRule></S3Key></Filter>";
    let function = "<CloudFunctionConfiguration><Event>cos:ObjectRemove:*</Event><Id>gone</Id>\
                    <CloudFunction>arn:tidings:lambda:ap-guangzhou::function:hook</CloudFunction>\
                    </CloudFunctionConfiguration>";
    let of_topic = format!(
        "<TopicConfiguration><Id>rule-1</Id><Event>cos:ObjectCreated:*</Event>{filter}<Topic>events</Topic>\
         <KafkaID>ckafka-&lt;1&gt;</KafkaID><Endpoint>kafka://kafka:9092</Endpoint></TopicConfiguration>"
    );
    let body = document(&format!("{of_topic}{function}"));
    // Who connects is not the client's to say, and a client that knows it may leave it empty.
    let sent = body.replace("</Endpoint>", "</Endpoint><User></User><Password/>");
    let answer = put(&real, &sent).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0), "{answer:?}");
    assert_eq!(shown(&real).await, body);

    // In S3's words, which have none for a broker; put back so, it is what it was.
    let of_s3 = real.ask(Method::GET, "/bucket", QUERY, &[], "").await;
    let of_s3 = std::str::from_utf8(&of_s3.body).expect("UTF-8").to_owned();
    assert!(of_s3.contains("<Topic>events</Topic>") && !of_s3.contains("kafka"), "{of_s3}");
    let skip = [("x-amz-skip-destination-validation", "true")];
    let end = real.queue.stat().durable_end;
    let again = real.ask(Method::PUT, "/bucket", QUERY, &skip, of_s3).await;
    assert_eq!(again.status, 200, "{again:?}");
    assert_eq!((shown(&real).await.len(), real.queue.stat().durable_end == end), (body.len(), false));

    real.running.client.put("bucket", "in/a", "x").await.expect("answered");
    let mut pipeline = real.queue.open(TargetNo(1), 0).await.expect("opens");
    let first = pipeline.next(1).await.expect("readable");
    let event = first[0].entry.event.as_ref().expect("an event");
    let rule = first[0].rule_for(TargetNo(1)).expect("for it");
    assert_eq!((&*event.key, &**rule), ("in/a", "rule-1"), "no test event came before it: COS has none");
    drop(pipeline);

    let real = real.restart().await;
    assert!(shown(&real).await.contains(&of_topic));
    assert_eq!(put(&real, &document("")).await.status, 200);
    assert_eq!(shown(&real).await, document(""));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_understood_is_refused_and_changes_nothing() {
    let real = started().await;
    let good = "<Event>cos:ObjectCreated:*</Event><Topic>events</Topic>";
    assert_eq!(put(&real, &topic(&format!("<Id>kept</Id>{good}"))).await.status, 200);
    let (kept, end) = (shown(&real).await, real.queue.stat().durable_end);
    let with = |more: &str| topic(&format!("{good}{more}"));
    for (body, code, status) in [
        (with("<User>me</User>"), "InvalidArgument", 400),
        (with("<Password>planted-password</Password>"), "InvalidArgument", 400),
        (with("<Endpoint>kafka://elsewhere:9092</Endpoint>"), "InvalidArgument", 400),
        (with("<Endpoint>kafka:9092</Endpoint>"), "InvalidArgument", 400),
        (with("<Region>ap-beijing</Region>"), "MalformedXML", 400),
        (with("<KafkaID>1</KafkaID><KafkaID>2</KafkaID>"), "MalformedXML", 400),
        (with("<Topic>events</Topic>"), "MalformedXML", 400),
        (with("<KafkaID><b/></KafkaID>"), "MalformedXML", 400),
        (topic("<Event>cos:ObjectCreated:*</Event>"), "MalformedXML", 400),
        (topic("<Topic>events</Topic>"), "MalformedXML", 400),
        (topic("<Event>cos:ObjectGone</Event><Topic>events</Topic>"), "InvalidArgument", 400),
        (topic("<Event>cos:ObjectCreated:*</Event><Topic>nobody</Topic>"), "InvalidArgument", 400),
        (document("<Other/>"), "MalformedXML", 400),
        (format!("{}<x/>", document("")), "MalformedXML", 400),
        ("<Other></Other>".into(), "MalformedXML", 400),
        ("<NotificationConfiguration><".into(), "MalformedXML", 400),
        (String::new(), "MissingRequestBodyError", 400),
        (format!("{}{}", document(""), " ".repeat(1 << 20)), "InvalidRequest", 400),
    ] {
        let answer = put(&real, &body).await;
        assert_eq!(told(&answer), (status, code), "{body}: {answer:?}");
        assert!(!String::from_utf8_lossy(&answer.body).contains("planted-password"), "{answer:?}");
    }
    let elsewhere = real.cos(Method::PUT, "/", &[("notification", ""), ("acl", "")], &[], document("")).await;
    assert_eq!(told(&elsewhere).0, 501, "{elsewhere:?}");
    let of_object = real.cos(Method::PUT, "/key", QUERY, &[], document("")).await;
    assert_eq!(told(&of_object).0, 501, "{of_object:?}");
    assert_eq!((shown(&real).await, real.queue.stat().durable_end), (kept, end));
}

/// The route has the same gate as S3's operation: its scope, and a signature that covers all.
#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_put_rules_may_not_in_the_words_of_cos_either() {
    let real = started().await;
    real.running.keys.set(OTHER_KEY, OTHER_SECRET, Scope::Write, &["bucket"]);
    let body = topic("<Event>cos:ObjectCreated:*</Event><Topic>events</Topic>");
    let pair = (OTHER_KEY, OTHER_SECRET);
    let put = real.cos_as(pair, Method::PUT, "/", QUERY, &[], body).await;
    assert_eq!(told(&put), (403, "AccessDenied"));
    let get = real.cos_as(pair, Method::GET, "/", QUERY, &[], "").await;
    assert_eq!(get.status, 200, "to read is within its scope: {get:?}");
    let wrong = real.cos_as((OTHER_KEY, "wrong"), Method::GET, "/", QUERY, &[], "").await;
    assert_eq!(told(&wrong), (403, "SignatureDoesNotMatch"));
    assert_eq!(shown(&real).await, document(""));
}
