//! What an object is beside its bytes: tags, storage class, access control; and what tools ask of a bucket.

use http::Method;

use super::multipart::text;
use super::real::Real;
use super::support::{assert_complete_error, told};
use crate::client::Response;

const TAGGING: [(&str, &str); 1] = [("tagging", "")];

impl Real {
    async fn put_tagged(&self, key: &str, headers: &[(&str, &str)]) -> Response {
        self.running.client.put_with("bucket", key, "hello", headers).await.expect("answered")
    }

    async fn set_tags(&self, key: &str, tags: &[(&str, &str)]) -> Response {
        let tag = |(k, v): &(&str, &str)| format!("<Tag><Key>{k}</Key><Value>{v}</Value></Tag>");
        let set: String = tags.iter().map(tag).collect();
        let body = format!("<Tagging><TagSet>{set}</TagSet></Tagging>");
        self.ask(Method::PUT, &format!("/bucket/{key}"), &TAGGING, &[], body).await
    }

    /// Tags as `key=value` in order, and the count that HEAD shows.
    async fn tags(&self, key: &str) -> (Vec<String>, Option<String>) {
        let path = format!("/bucket/{key}");
        let got = self.ask(Method::GET, &path, &TAGGING, &[], "").await;
        assert_eq!(got.status, 200, "{got:?}");
        let body = String::from_utf8(got.body.to_vec()).expect("text");
        let between = |text: &str, name: &str| {
            let (_, rest) = text.split_once(&format!("<{name}>"))?;
            Some(rest.split_once(&format!("</{name}>"))?.0.to_owned())
        };
        let tag = |part: &str| Some(format!("{}={}", between(part, "Key")?, between(part, "Value")?));
        let head = self.ask(Method::HEAD, &path, &[], &[], "").await;
        let count = head.header("x-amz-tagging-count").map(str::to_owned);
        (body.split("<Tag>").skip(1).filter_map(tag).collect(), count)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_belong_to_one_object_and_make_no_event() {
    let mut real = Real::with_bucket().await;
    let tagged = real.put_tagged("key", &[("x-amz-tagging", "a=1&b=two+words&c")]).await;
    assert_eq!(tagged.status, 200, "{tagged:?}");
    let made = (vec!["a=1".to_owned(), "b=two words".into(), "c=".into()], Some("3".to_owned()));
    assert_eq!(real.tags("key").await, made);
    let events = real.events().len();
    // Later ones take the place of all.
    assert_eq!(real.set_tags("key", &[("a", "2"), ("x/y", "ü")]).await.status, 200);
    let later = (vec!["a=2".to_owned(), "x/y=ü".into()], Some("2".to_owned()));
    assert_eq!(real.tags("key").await, later);
    real.checkpointed().await;
    assert_eq!(real.tags("key").await, later);
    real = real.restart().await;
    assert_eq!(real.tags("key").await, later);
    let got = real.ask(Method::GET, "/bucket/key", &[], &[], "").await;
    assert_eq!((got.header("x-amz-tagging-count"), got.header("x-amz-tagging")), (Some("2"), None));
    let gone = real.ask(Method::DELETE, "/bucket/key", &TAGGING, &[], "").await;
    assert_eq!(gone.status, 204, "{gone:?}");
    assert_eq!(real.tags("key").await, (vec![], None));
    real.set_tags("key", &[("a", "3")]).await;
    assert_eq!(real.events().len(), events, "tags are no event");
    // What takes the object's place has tags of its own.
    real.put_tagged("key", &[]).await;
    assert_eq!(real.tags("key").await, (vec![], None));
    real = real.restart().await;
    assert_eq!(real.tags("key").await, (vec![], None));
    assert_eq!(told(&real.set_tags("none", &[]).await), (404, "NoSuchKey"));
    assert_eq!(real.events().len(), events + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_tags_change_nothing() {
    let real = Real::with_bucket().await;
    real.put_tagged("key", &[("x-amz-tagging", "a=1")]).await;
    let long = "k".repeat(129);
    let eleven: Vec<String> = (0..11).map(|n| n.to_string()).collect();
    let eleven: Vec<(&str, &str)> = eleven.iter().map(|n| (n.as_str(), "v")).collect();
    for (tags, code) in [
        (&[("a", "1"), ("a", "2")][..], "InvalidTag"),
        (&[(&long, "v")], "InvalidTag"),
        (&[("", "v")], "InvalidTag"),
        (&[("aws:x", "v")], "InvalidTag"),
        (&[("a", "&lt;b&gt;")], "InvalidTag"),
        (&eleven, "BadRequest"),
    ] {
        let refused = real.set_tags("key", tags).await;
        assert_eq!(told(&refused), (400, code), "{tags:?}");
        assert_complete_error(&refused);
        assert_eq!(real.tags("key").await.0, ["a=1"]);
    }
    let document = "<Tagging><TagSet><Tag><Key>b</Key><Value>2</Value></Tag></TagSet></Tagging>";
    let wrong = [("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")];
    let refused = real.ask(Method::PUT, "/bucket/key", &TAGGING, &wrong, document).await;
    assert_eq!(told(&refused), (400, "BadDigest"), "a damaged document");
    for (headers, code) in [
        ([("x-amz-tagging", "a=1&a=2")], "InvalidArgument"),
        ([("x-amz-tagging", "a=%00")], "InvalidTag"),
        ([("x-amz-acl", "public-read")], "AccessControlListNotSupported"),
        ([("x-amz-grant-read", "id=\"1\"")], "AccessControlListNotSupported"),
        ([("x-amz-storage-class", "standard")], "InvalidStorageClass"),
        ([("x-cos-storage-class", "LUKEWARM")], "InvalidStorageClass"),
    ] {
        assert_eq!(told(&real.put_tagged("key", &headers).await), (400, code), "{headers:?}");
    }
    let both = [("x-amz-storage-class", "STANDARD_IA"), ("x-cos-storage-class", "STANDARD")];
    assert_eq!(told(&real.put_tagged("key", &both).await), (400, "InvalidArgument"));
    assert_eq!(real.tags("key").await.0, ["a=1"]);
    assert_eq!(real.events().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_take_tags_and_classes_as_their_directives_say() {
    let real = Real::with_bucket().await;
    let headers = [("x-amz-tagging", "a=1"), ("x-amz-storage-class", "STANDARD_IA"), ("x-amz-meta-m", "1")];
    assert_eq!(real.put_tagged("key", &headers).await.status, 200);
    // Those that were set later count.
    real.set_tags("key", &[("a", "2")]).await;
    let copy = async |to: &str, headers: &[(&str, &str)]| {
        let headers = [headers, &[("x-amz-copy-source", "bucket/key")]].concat();
        real.ask(Method::PUT, &format!("/bucket/{to}"), &[], &headers, "").await
    };
    let class = async |key: &str| {
        let head = real.ask(Method::HEAD, &format!("/bucket/{key}"), &[], &[], "").await;
        (head.header("x-amz-storage-class").map(str::to_owned), head.header("x-amz-meta-m").is_some())
    };
    assert_eq!(class("key").await, (Some("STANDARD_IA".into()), true));
    assert_eq!(copy("plain", &[]).await.status, 200);
    assert_eq!(real.tags("plain").await.0, ["a=2"]);
    assert_eq!(class("plain").await, (None, true), "a copy's class is its own");
    let replace = ("x-amz-tagging-directive", "REPLACE");
    let other = [replace, ("x-amz-tagging", "b=3"), ("x-cos-storage-class", "INTELLIGENT_TIERING")];
    assert_eq!(copy("other", &other).await.status, 200);
    assert_eq!(real.tags("other").await.0, ["b=3"]);
    assert_eq!(class("other").await, (Some("INTELLIGENT_TIERING".into()), true));
    assert_eq!(copy("none", &[replace]).await.status, 200);
    assert_eq!(real.tags("none").await, (vec![], None));
    for (headers, code) in [
        (&[("x-amz-tagging", "b=3")][..], "InvalidArgument"),
        (&[("x-amz-tagging-directive", "KEEP")], "InvalidArgument"),
        (&[replace, ("x-amz-tagging", "b=3&b=4")], "InvalidArgument"),
    ] {
        assert_eq!(told(&copy("x", headers).await), (400, code), "{headers:?}");
    }
    // Onto itself: only what changes it may be asked for.
    assert_eq!(told(&copy("key", &[]).await), (400, "InvalidRequest"));
    assert_eq!(told(&copy("key", &[replace]).await), (400, "InvalidRequest"));
    assert_eq!(copy("key", &[("x-amz-storage-class", "STANDARD")]).await.status, 200);
    assert_eq!(class("key").await, (None, true));
    assert_eq!(real.tags("key").await.0, ["a=2"]);

    let list = real.running.client.list_v2("bucket", &[]).await.expect("answered");
    let list = String::from_utf8(list.body.to_vec()).expect("text");
    assert_eq!(list.matches("<StorageClass>STANDARD</StorageClass>").count(), 3, "{list}");
    assert_eq!(list.matches("<StorageClass>INTELLIGENT_TIERING</StorageClass>").count(), 1, "{list}");

    let headers = [("x-amz-tagging", "p=1"), ("x-amz-storage-class", "ONEZONE_IA")];
    let id = real.begin("parts", &headers).await;
    let parts = real.ask(Method::GET, "/bucket/parts", &[("uploadId", &id)], &[], "").await;
    assert_eq!(text(&parts, "StorageClass"), "ONEZONE_IA");
    let uploads = real.ask(Method::GET, "/bucket", &[("uploads", "")], &[], "").await;
    assert_eq!(text(&uploads, "StorageClass"), "ONEZONE_IA");
    let list = real.parts("parts", &id, &[(1, b"hello".to_vec())]).await;
    assert_eq!(real.complete("parts", &id, &list).await.status, 200);
    assert_eq!(real.tags("parts").await, (vec!["p=1".to_owned()], Some("1".into())));
    assert_eq!(class("parts").await.0, Some("ONEZONE_IA".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_that_race_with_overwrites_go_to_nobody_else() {
    let real = Real::with_bucket().await;
    for round in 0..20 {
        let own = format!("own={round}");
        let tag = [("late", "1")];
        let header = [("x-amz-tagging", own.as_str())];
        let (put, _) = futures_util::join!(real.put_tagged("key", &header), real.set_tags("key", &tag));
        assert_eq!(put.status, 200);
        let (tags, count) = real.tags("key").await;
        assert!(tags == [own] || tags == ["late=1"], "{tags:?}");
        assert_eq!(count.as_deref(), Some("1"));
        real.put_tagged("key", &[]).await;
        assert_eq!(real.tags("key").await, (vec![], None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_only_access_control_list_is_the_owners() {
    let real = Real::with_bucket().await;
    real.put_tagged("key", &[("x-amz-acl", "private")]).await;
    let acl = [("acl", "")];
    let policy = |grantee: &str, permission: &str| {
        format!(
            "<AccessControlPolicy><Owner><ID>1250000000</ID></Owner><AccessControlList><Grant>{grantee}\
             <Permission>{permission}</Permission></Grant></AccessControlList></AccessControlPolicy>"
        )
    };
    let grantee = |kind: &str, what: &str| {
        format!(
            "<Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"{kind}\">\
             {what}</Grantee>"
        )
    };
    let everybody = "<URI>http://acs.amazonaws.com/groups/global/AllUsers</URI>";
    for path in ["/bucket", "/bucket/key"] {
        let got = real.ask(Method::GET, path, &acl, &[], "").await;
        assert_eq!((got.status.as_u16(), &*text(&got, "Permission")), (200, "FULL_CONTROL"));
        assert_eq!(text(&got, "ID"), "1250000000");
        let canned = [("x-amz-acl", "private")];
        assert_eq!(real.ask(Method::PUT, path, &acl, &canned, "").await.status, 200);
        let ours = policy(&grantee("CanonicalUser", "<ID>1250000000</ID>"), "FULL_CONTROL");
        let put = real.ask(Method::PUT, path, &acl, &[], ours).await;
        assert_eq!(put.status, 200, "{path}: {put:?}");
        for (headers, body, code) in [
            (&[("x-amz-acl", "public-read")][..], String::new(), "AccessControlListNotSupported"),
            (&[("x-amz-grant-read", "id=\"1\"")], String::new(), "AccessControlListNotSupported"),
            (&[], policy(&grantee("Group", everybody), "READ"), "AccessControlListNotSupported"),
            (&[], policy(&grantee("CanonicalUser", "<ID>1</ID>"), "READ"), "AccessControlListNotSupported"),
            (&[], String::new(), "MissingSecurityHeader"),
        ] {
            let refused = real.ask(Method::PUT, path, &acl, headers, body).await;
            assert_eq!(told(&refused), (400, code), "{path} {headers:?}");
        }
    }
    let none = real.ask(Method::GET, "/bucket/none", &acl, &[], "").await;
    assert_eq!(told(&none), (404, "NoSuchKey"));
    assert_eq!(real.events().len(), 1, "lists are no events");
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_are_told_what_is_not_configured() {
    let real = Real::with_bucket().await;
    for (query, code) in [
        ("policy", "NoSuchBucketPolicy"),
        ("policyStatus", "NoSuchBucketPolicy"),
        ("lifecycle", "NoSuchLifecycleConfiguration"),
        ("encryption", "ServerSideEncryptionConfigurationNotFoundError"),
        ("object-lock", "ObjectLockConfigurationNotFoundError"),
        ("publicAccessBlock", "NoSuchPublicAccessBlockConfiguration"),
        ("website", "NoSuchWebsiteConfiguration"),
        ("replication", "ReplicationConfigurationNotFoundError"),
        ("tagging", "NoSuchTagSet"),
    ] {
        let answer = real.ask(Method::GET, "/bucket", &[(query, "")], &[], "").await;
        assert_eq!(told(&answer), (404, code), "{query}");
        assert_complete_error(&answer);
        let nowhere = real.ask(Method::GET, "/nowhere", &[(query, "")], &[], "").await;
        assert_eq!(told(&nowhere), (404, "NoSuchBucket"), "{query}");
    }
    for (query, element) in [
        ("requestPayment", "<Payer>BucketOwner</Payer>"),
        ("accelerate", "<AccelerateConfiguration"),
        ("logging", "<BucketLoggingStatus"),
        ("ownershipControls", "<ObjectOwnership>BucketOwnerEnforced</ObjectOwnership>"),
    ] {
        let answer = real.ask(Method::GET, "/bucket", &[(query, "")], &[], "").await;
        let body = String::from_utf8_lossy(&answer.body);
        assert!(answer.status == 200 && body.contains(element), "{query}: {body}");
    }
    let tags = "<Tagging><TagSet><Tag><Key>team</Key><Value>a b</Value></Tag></TagSet></Tagging>";
    assert_eq!(real.ask(Method::PUT, "/bucket", &TAGGING, &[], tags).await.status, 200);
    let real = real.restart().await;
    let got = real.ask(Method::GET, "/bucket", &TAGGING, &[], "").await;
    assert_eq!((&*text(&got, "Key"), &*text(&got, "Value")), ("team", "a b"));
    assert_eq!(real.ask(Method::DELETE, "/bucket", &TAGGING, &[], "").await.status, 204);
    let none = real.ask(Method::GET, "/bucket", &TAGGING, &[], "").await;
    assert_eq!(told(&none), (404, "NoSuchTagSet"));
    assert_eq!(real.events().len(), 0);
}
