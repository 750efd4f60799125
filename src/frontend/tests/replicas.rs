//! `?replication` as clients set, see and remove it; and that nobody but a peer can say what a replica is.
//! Replicas themselves travel in `tests/live`, between two servers.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;

use super::multipart::text;
use super::real::Real;
use super::support::{assert_complete_error, told};
use crate::client::Response;
use crate::commit::{CommitError, Conditions, NewBody, PutObject, Replica};
use crate::config::credentials::Scope;
use crate::event::{EventKind, Position, RequestInfo, VersionId};
use crate::queue::TargetNo;
use crate::rules::{Named, Names, RuleSet};
use crate::store::Store as _;

const QUERY: [(&str, &str); 1] = [("replication", "")];
const ENABLED: &str = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
const SUSPENDED: &str = "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>";

/// One rule, as COS's document has it.
fn rule(id: &str, to: &str, more: &str) -> String {
    format!(
        "<Rule><Status>Enabled</Status><ID>{id}</ID><Prefix>in/</Prefix><Destination><Bucket>{to}</Bucket>\
         </Destination>{more}</Rule>"
    )
}

fn document(rules: &str) -> String {
    format!("<ReplicationConfiguration><Role>qcs::cam::uin/1:uin/2</Role>{rules}</ReplicationConfiguration>")
}

/// A bucket with versions, and one target that replicates to `there`.
async fn real() -> Real {
    let real = Real::with_bucket().await;
    let mut names = Names::default();
    let named = |n, region: Option<&str>| Named {
        target: TargetNo(n),
        invokes: false,
        tested: true,
        topic: None,
        region: region.map(Arc::from),
    };
    names.add(&"peer".into(), named(1, Some("there")));
    names.add(&"queue".into(), named(2, None));
    real.commit.set_rules(RuleSet::build(&[]).reaching(names));
    assert_eq!(real.ask(Method::PUT, "/bucket", &[("versioning", "")], &[], ENABLED).await.status, 200);
    real
}

impl Real {
    async fn replication(&self, method: Method, body: &str) -> Response {
        self.ask(method, "/bucket", &QUERY, &[], body.to_owned()).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_is_shown_until_it_is_removed_and_keeps_versions() {
    let real = real().await;
    let none = real.replication(Method::GET, "").await;
    assert_eq!(told(&none), (404, "ReplicationConfigurationNotFoundError"));
    let filter = "<Rule><Status>Disabled</Status><Filter><Prefix>out/</Prefix></Filter><Priority>3</Priority>\
        <Destination><Bucket>arn:aws:s3:::copies</Bucket></Destination></Rule>";
    let both = document(&(rule("one", "qcs::cos:there::copies", "") + filter));
    let put = real.replication(Method::PUT, &both).await;
    assert_eq!(put.status, 200, "{put:?}");
    let shown = real.replication(Method::GET, "").await;
    let body = String::from_utf8_lossy(&shown.body).into_owned();
    for part in [
        "<Role>qcs::cam::uin/1:uin/2</Role>",
        "<ID>one</ID><Prefix>in/</Prefix>",
        "<Bucket>qcs::cos:there::copies</Bucket>",
        "<DeleteMarkerReplication><Status>Enabled</Status></DeleteMarkerReplication>",
        "<Filter><Prefix>out/</Prefix></Filter>",
        "<DeleteMarkerReplication><Status>Disabled</Status></DeleteMarkerReplication>",
        "<Priority>3</Priority><Status>Disabled</Status>",
        "<Bucket>arn:aws:s3:::copies</Bucket>",
    ] {
        assert!(body.contains(part), "{part}: {body}");
    }
    let again = real.replication(Method::PUT, &body).await;
    assert_eq!(again.status, 200, "what is shown can be put: {again:?}");
    assert_eq!(real.replication(Method::GET, "").await.body, shown.body);
    let suspend = real.ask(Method::PUT, "/bucket", &[("versioning", "")], &[], SUSPENDED).await;
    assert_eq!(told(&suspend), (409, "InvalidBucketState"));
    assert_eq!(real.replication(Method::DELETE, "").await.status, 204);
    assert_eq!(real.replication(Method::GET, "").await.status, 404);
    let suspend = real.ask(Method::PUT, "/bucket", &[("versioning", "")], &[], SUSPENDED).await;
    assert_eq!(suspend.status, 200);
    let put = real.replication(Method::PUT, &both).await;
    assert_eq!(told(&put), (400, "InvalidRequest"), "its versions have no names any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_would_do_another_thing_than_it_says_is_refused() {
    let real = real().await;
    let there = "qcs::cos:there::copies";
    for (rules, wanted) in [
        (String::new(), (400, "MalformedXML")),
        (rule("a", "qcs::cos:nowhere::copies", ""), (400, "InvalidArgument")),
        (rule("a", "copies", ""), (400, "InvalidArgument")),
        (rule("a", "qcs::cos:there::A", ""), (400, "InvalidArgument")),
        (rule("a", "arn:aws:sqs:there::copies", ""), (400, "InvalidArgument")),
        (rule("a", there, "") + &rule("a", there, ""), (400, "InvalidArgument")),
        (rule("a", there, "") + &rule("b", "qcs::cos:there::others", ""), (501, "NotImplemented")),
        (
            rule(
                "a",
                there,
                "<ExistingObjectReplication><Status>Enabled</Status></ExistingObjectReplication>",
            ),
            (501, "NotImplemented"),
        ),
    ] {
        let put = real.replication(Method::PUT, &document(&rules)).await;
        assert_eq!(told(&put), wanted, "{rules}");
        assert_complete_error(&put);
        assert_eq!(real.replication(Method::GET, "").await.status, 404, "{rules}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_does_is_for_the_peer_and_what_matches_no_rule_is_not() {
    let real = real().await;
    let off = "<DeleteMarkerReplication><Status>Disabled</Status></DeleteMarkerReplication>";
    let put = document(&rule("a", "qcs::cos:there::copies", off));
    assert_eq!(real.replication(Method::PUT, &put).await.status, 200);
    for key in ["in/a", "out/b"] {
        assert_eq!(real.ask(Method::PUT, &format!("/bucket/{key}"), &[], &[], "body").await.status, 200);
    }
    assert_eq!(real.ask(Method::DELETE, "/bucket/in/a", &[], &[], "").await.status, 204);
    let to: Vec<_> = real.deliveries().into_iter().map(|(key, to)| (key, to.len())).collect();
    assert_eq!(to, [("in/a".to_owned(), 1), ("out/b".to_owned(), 0), ("in/a".to_owned(), 0)]);
    let with = document(&rule("a", "qcs::cos:there::copies", ""));
    assert_eq!(real.replication(Method::PUT, &with).await.status, 200);
    assert_eq!(real.ask(Method::DELETE, "/bucket/in/a", &[], &[], "").await.status, 204);
    let (_, last) = real.deliveries().pop().expect("a marker");
    assert_eq!(last, ["copies"], "the rule's name says where it goes");
}

/// What two servers named.
fn named(offset: u64) -> VersionId {
    VersionId::At(Position { epoch: 77, offset })
}

/// A replica's object, with nothing in it.
fn replica() -> PutObject {
    PutObject {
        bucket: "bucket".into(),
        key: "key".into(),
        kind: EventKind::CreatedReplication,
        size: 0,
        etag: "e".into(),
        crc64: 0,
        headers: Vec::new(),
        body: NewBody::Inline(Bytes::new()),
        conditions: Conditions::default(),
        request: RequestInfo { id: "id".into(), source_ip: None, principal: "AKIDPEER".into(), hops: 0 },
    }
}

/// A try that its source gave up may go on here: what came on top meanwhile stays on top, whoever made it,
/// and what is there already is not made again.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_comes_late_or_again_changes_nothing() {
    let real = real().await;
    let begin = |offset| real.commit.begin_replica("bucket", "key", named(offset)).expect("a bucket");
    let put = async |replicated: Replica| {
        let permit = real.commit.reserve(1_000).await.expect("space");
        real.commit.put_replica(permit, replica(), replicated).await
    };
    let mark = async |replicated: Replica| {
        let permit = real.commit.reserve(1_000).await.expect("space");
        let request = replica().request;
        real.commit.mark_replica(permit, ("bucket", "key"), replicated, request).await
    };
    let newest = || {
        let newest = real.store.version("bucket", "key", None).expect("read").expect("a version");
        (newest.object.version, newest.marker)
    };
    let (first, again) = (begin(1).expect("new"), begin(1).expect("new"));
    put(first).await.expect("made");
    put(again).await.expect("there already");
    assert!(begin(1).is_none(), "there already");
    let (late, marked_late) = (begin(2).expect("new"), begin(3).expect("new"));
    put(begin(4).expect("new")).await.expect("made");
    assert!(matches!(put(late).await, Err(CommitError::Replaced)));
    assert!(matches!(mark(marked_late).await, Err(CommitError::Replaced)));
    assert_eq!(newest(), (named(4), false));
    let (marker, again) = (begin(5).expect("new"), begin(5).expect("new"));
    mark(marker).await.expect("made");
    mark(again).await.expect("there already");
    assert_eq!(newest(), (named(5), true));
    let behind_a_client = begin(6).expect("new");
    assert_eq!(real.ask(Method::PUT, "/bucket/key", &[], &[], "own").await.status, 200);
    assert!(matches!(put(behind_a_client).await, Err(CommitError::Replaced)));
    let kinds: Vec<_> = real.events().iter().map(|event| event.kind).collect();
    use EventKind::{CreatedPut, CreatedReplication, RemovedMarker};
    assert_eq!(kinds, [CreatedReplication, CreatedReplication, RemovedMarker, CreatedPut]);
    let suspended = real.ask(Method::PUT, "/bucket", &[("versioning", "")], &[], SUSPENDED).await;
    assert_eq!(suspended.status, 200);
    let none = real.commit.begin_replica("bucket", "key", named(7));
    assert!(matches!(none, Err(CommitError::NotVersioned)));
}

/// Forged markers: on everything that makes, copies or removes an object, by a client who may do all of that.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_but_a_peer_says_what_a_replica_is() {
    let real = real().await;
    assert_eq!(real.ask(Method::PUT, "/bucket/key", &[], &[], "body").await.status, 200);
    let begun = real.ask(Method::POST, "/bucket/big", &[("uploads", "")], &[], "").await;
    let id = text(&begun, "UploadId");
    let part = [("partNumber", "1"), ("uploadId", id.as_str())];
    let (end, events) = (real.queue.stat().durable_end, real.events().len());
    for (method, path, query, more) in [
        (Method::PUT, "/bucket/new", &[][..], &[][..]),
        (Method::PUT, "/bucket", &[], &[]),
        (Method::PUT, "/bucket/copy", &[], &[("x-amz-copy-source", "/bucket/key")]),
        (Method::POST, "/bucket/other", &[("uploads", "")], &[]),
        (Method::PUT, "/bucket/big", &part, &[]),
        (Method::PUT, "/bucket/big", &part, &[("x-amz-copy-source", "/bucket/key")]),
        (Method::POST, "/bucket/big", &[("uploadId", id.as_str())], &[]),
        (Method::DELETE, "/bucket/key", &[], &[]),
    ] {
        for name in ["x-amz-tidings-version", "x-amz-tidings-key", "x-amz-tidings-other"] {
            let headers: Vec<_> = more.iter().copied().chain([(name, "fffffffffffffffffffffffe")]).collect();
            let answer = real.ask(method.clone(), path, query, &headers, "").await;
            assert_eq!(told(&answer), (403, "AccessDenied"), "{method} {path} {query:?} {name}");
        }
    }
    // And who may replicate may do nothing else.
    real.running.keys.set("AKIDPEER", "replicator", Scope::Replication, &["*"]);
    let peer = real.running.client_of("AKIDPEER", "replicator");
    for (method, path) in [(Method::PUT, "/bucket/new"), (Method::GET, "/bucket/key"), (Method::GET, "/")] {
        let answer = peer.request(method.clone(), path, &[], &[], "".into()).await.expect("answered");
        assert_eq!(told(&answer), (403, "AccessDenied"), "{method} {path}");
    }
    let wish = [
        ("x-amz-tidings-key", "new"),
        ("x-amz-tidings-version", "fffffffffffffffffffffffe"),
        ("x-amz-tidings-etag", "e"),
        ("x-amz-tidings-pull", "http://127.0.0.1:1/bucket"),
    ];
    let answer = peer.request(Method::PUT, "/bucket", &[], &wish, "".into()).await.expect("answered");
    assert_eq!(told(&answer), (403, "AccessDenied"), "no operator named the source");
    assert_eq!((real.queue.stat().durable_end, real.events().len()), (end, events));
}
