//! What is put comes back: bodies, headers, metadata, events; and buckets around it.

use http::Method;

use super::support::{ACCESS_KEY, OTHER_KEY, OTHER_SECRET, REGION, Running, assert_complete_error, told};
use crate::client::Client;
use crate::event::EventKind;

#[tokio::test]
async fn an_object_comes_back_with_its_headers_and_makes_one_event() {
    let running = Running::with_bucket().await;
    let headers = [
        ("content-type", "image/png"),
        ("cache-control", "max-age=60"),
        ("content-disposition", "attachment; filename=\"a.png\""),
        ("content-encoding", "gzip"),
        ("content-language", "de"),
        ("expires", "Thu, 01 Dec 2033 16:00:00 GMT"),
        ("x-amz-meta-owner", "Zoe"),
    ];
    let put =
        running.client.put_with("bucket", "in/a b+c%2F.png", "hello", &headers).await.expect("answered");
    assert_eq!(put.status, 200, "{put:?}");
    assert_eq!(put.etag(), Some("5d41402abc4b2a76b9719d911017c592"));

    let got = running.client.get("bucket", "in/a b+c%2F.png").await.expect("answered");
    assert_eq!((got.status.as_u16(), &got.body[..]), (200, &b"hello"[..]));
    for (name, value) in headers {
        assert_eq!(got.headers.get(name).map(|v| v.as_bytes()), Some(value.as_bytes()), "{name}");
    }
    assert_eq!(got.header("content-length"), Some("5"));
    assert_eq!(got.header("accept-ranges"), Some("bytes"));
    assert_eq!(got.header("x-content-type-options"), Some("nosniff"));
    assert!(got.header("last-modified").is_some_and(|at| at.ends_with(" GMT")));
    let head = running.client.head("bucket", "in/a b+c%2F.png").await.expect("answered");
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), Some("5"));
    assert_eq!(head.etag(), put.etag());

    let events = running.memory.events();
    assert_eq!(events.len(), 1);
    let event = &events[0];
    assert_eq!(
        (event.kind, &*event.bucket, &*event.key),
        (EventKind::CreatedPut, "bucket", "in/a b+c%2F.png")
    );
    assert_eq!((event.size, &*event.etag), (5, "5d41402abc4b2a76b9719d911017c592"));
    assert_eq!(Some(&*event.request.id), put.header("x-amz-request-id"), "the event names the answer");
    assert_eq!(event.request.id.len(), 16);
    assert_eq!(&*event.request.principal, ACCESS_KEY);
    assert_eq!(event.request.source_ip, Some(running.address.ip()));
    assert!(put.header("x-amz-id-2").is_some());
}

#[tokio::test]
async fn deleting_twice_makes_one_event() {
    let running = Running::with_bucket().await;
    running.client.put("bucket", "key", "x").await.expect("answered");
    for _ in 0..2 {
        let deleted = running.client.delete("bucket", "key").await.expect("answered");
        assert_eq!(deleted.status, 204);
    }
    let kinds: Vec<_> = running.memory.events().iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::CreatedPut, EventKind::RemovedDelete]);
    let got = running.client.get("bucket", "key").await.expect("answered");
    assert_eq!(told(&got), (404, "NoSuchKey"));
    assert_complete_error(&got);
    let head = running.client.head("bucket", "key").await.expect("answered");
    assert_eq!((head.status.as_u16(), head.body.len()), (404, 0));
    let version = [("versionId", "null")];
    let path = "/bucket/key";
    let null =
        running.client.request(Method::DELETE, path, &version, &[], "".into()).await.expect("answered");
    assert_eq!(null.status, 204, "the null version is the object");
    let version = [("versionId", "3/L4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY")];
    let other =
        running.client.request(Method::DELETE, path, &version, &[], "".into()).await.expect("answered");
    assert_eq!(told(&other), (400, "InvalidArgument"));
}

/// A28: keys are stored exactly, or refused.
#[tokio::test]
async fn odd_keys_are_stored_exactly() {
    let running = Running::with_bucket().await;
    let longest = "k".repeat(1024);
    let keys = [
        "..",
        ".",
        "../x",
        "a/../../b",
        "a//b",
        "/abs",
        "a/",
        "new\nline",
        "tab\t",
        "C:\\x",
        "a?b#c",
        "%41",
        "*",
        "é",
        "e\u{301}",
        "\u{10FFFF}",
        "a&b<c>\"'",
        "\u{1}",
        &longest,
    ];
    for (n, key) in keys.iter().enumerate() {
        let put = running.client.put("bucket", key, n.to_string()).await.expect("answered");
        assert_eq!(put.status, 200, "{key:?}: {put:?}");
    }
    for (n, key) in keys.iter().enumerate() {
        let got = running.client.get("bucket", key).await.expect("answered");
        assert_eq!(&got.body[..], n.to_string().as_bytes(), "{key:?}");
    }
    let page = running.client.list_v2("bucket", &[]).await.expect("answered");
    let listed = crate::client::Listing::parse(&page.body).expect("a listing");
    let mut expected = keys.map(str::to_owned).to_vec();
    expected.sort();
    assert_eq!(listed.objects.iter().map(|o| o.key.clone()).collect::<Vec<_>>(), expected);

    let long = running.client.put("bucket", &"k".repeat(1025), "").await.expect("answered");
    assert_eq!(told(&long), (400, "KeyTooLongError"));
    let nul = running.client.put("bucket", "a\0b", "").await.expect("answered");
    assert_eq!(told(&nul), (400, "InvalidURI"));
    assert_complete_error(&nul);
    assert_eq!(running.memory.events().len(), keys.len());
}

#[tokio::test]
async fn buckets_live_and_die() {
    let running = Running::start().await;
    let client = &running.client;
    let made = client.create_bucket("photos-1250000000").await.expect("answered");
    assert_eq!((made.status.as_u16(), made.header("location")), (200, Some("/photos-1250000000")));
    let again = client.create_bucket("photos-1250000000").await.expect("answered");
    assert_eq!(told(&again), (409, "BucketAlreadyOwnedByYou"));
    let endpoint = format!("http://{}", running.address);
    let other = Client::new(&endpoint, REGION, OTHER_KEY, OTHER_SECRET).expect("a client");
    let taken = other.create_bucket("photos-1250000000").await.expect("answered");
    assert_eq!(told(&taken), (409, "BucketAlreadyExists"));

    let get = |path: &'static str, query: &'static [(&'static str, &'static str)]| async move {
        client.request(Method::GET, path, query, &[], "".into()).await.expect("answered")
    };
    let all = get("/", &[]).await;
    let text = String::from_utf8(all.body.to_vec()).expect("text");
    assert!(
        text.contains("<Name>photos-1250000000</Name>") && text.contains("<ID>1250000000</ID>"),
        "{text}"
    );
    let location = get("/photos-1250000000", &[("location", "")]).await;
    let text = String::from_utf8(location.body.to_vec()).expect("text");
    assert!(text.contains(">ap-guangzhou</LocationConstraint>"), "{text}");
    let head =
        client.request(Method::HEAD, "/photos-1250000000", &[], &[], "".into()).await.expect("answered");
    assert_eq!((head.status.as_u16(), head.header("x-amz-bucket-region")), (200, Some(REGION)));
    let missing = client.request(Method::HEAD, "/nowhere", &[], &[], "".into()).await.expect("answered");
    assert_eq!((missing.status.as_u16(), missing.body.len()), (404, 0));

    client.put("photos-1250000000", "k", "x").await.expect("answered");
    let full = client.delete_bucket("photos-1250000000").await.expect("answered");
    assert_eq!(told(&full), (409, "BucketNotEmpty"));
    client.delete("photos-1250000000", "k").await.expect("answered");
    let gone = client.delete_bucket("photos-1250000000").await.expect("answered");
    assert_eq!(gone.status, 204);
    let gone = client.delete_bucket("photos-1250000000").await.expect("answered");
    assert_eq!(told(&gone), (404, "NoSuchBucket"));
}

#[tokio::test]
async fn buckets_are_made_here_or_not_at_all() {
    let running = Running::start().await;
    let with = |region: &str| {
        format!(
            "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
        )
    };
    let create = |body: String| running.client.request(Method::PUT, "/abc", &[], &[], body.into());
    let elsewhere = create(with("eu-west-1")).await.expect("answered");
    assert_eq!(told(&elsewhere), (400, "IllegalLocationConstraintException"));
    let junk = create("<CreateBucket".into()).await.expect("answered");
    assert_eq!(told(&junk), (400, "MalformedXML"));
    assert_complete_error(&junk);
    let here = create(with(REGION)).await.expect("answered");
    assert_eq!(here.status, 200, "{here:?}");
    for name in ["Abc", "ab", "..", "a_b", "192.168.1.1", "xn--abc", "abc-s3alias"] {
        let refused = running.client.create_bucket(name).await.expect("answered");
        assert_eq!(told(&refused), (400, "InvalidBucketName"), "{name}");
    }
}

#[tokio::test]
async fn a_bucket_may_be_in_the_host() {
    let running = Running::with_bucket().await;
    let signer = running.client.signer();
    let at = jiff::Timestamp::now();
    let date = crate::client::sign::amz_date(at);
    let payload = crate::client::sign::payload_hash(b"");
    let headers = [
        ("host", "bucket.s3.test"),
        ("x-amz-content-sha256", payload.as_str()),
        ("x-amz-date", date.as_str()),
    ];
    let parts = crate::client::sign::Parts {
        method: "PUT",
        path: "/a/b",
        query: "",
        headers: &headers,
        payload: &payload,
    };
    let authorization = signer.sign(&parts, at).authorization;
    let mut all = headers.to_vec();
    all.push(("authorization", &authorization));
    let put = running.client.send(Method::PUT, "/a/b", &all, "").await.expect("answered");
    assert_eq!(put.status, 200, "{put:?}");
    let got = running.client.get("bucket", "a/b").await.expect("answered");
    assert_eq!((got.status.as_u16(), got.body.len()), (200, 0));
}

#[tokio::test]
async fn many_keys_are_deleted_each_for_itself() {
    let running = Running::with_bucket().await;
    for key in ["a", "b", "c&<d>"] {
        running.client.put("bucket", key, "x").await.expect("answered");
    }
    let delete = |body: String, more: Vec<(&'static str, String)>| {
        let client = running.client.clone();
        async move {
            let more: Vec<_> = more.iter().map(|(n, v)| (*n, v.as_str())).collect();
            client
                .request(Method::POST, "/bucket", &[("delete", "")], &more, body.into())
                .await
                .expect("answered")
        }
    };
    let objects =
        |keys: &[&str]| keys.iter().map(|k| format!("<Object><Key>{k}</Key></Object>")).collect::<String>();
    let body = format!("<Delete>{}</Delete>", objects(&["a", "missing", "c&amp;&lt;d&gt;", ""]));
    let answer = delete(body, vec![]).await;
    let text = String::from_utf8(answer.body.to_vec()).expect("text");
    assert_eq!(answer.status, 200, "{text}");
    assert_eq!(text.matches("<Deleted>").count(), 3, "{text}");
    assert!(text.contains("<Key>c&amp;&lt;d&gt;</Key>"), "{text}");
    assert_eq!(text.matches("<Error>").count(), 1, "the empty key: {text}");
    assert_eq!(running.memory.events().len(), 3 + 2, "two of them held something");

    let quiet = delete(format!("<Delete><Quiet>true</Quiet>{}</Delete>", objects(&["b"])), vec![]).await;
    assert!(!String::from_utf8_lossy(&quiet.body).contains("<Deleted>"));
    assert_eq!(running.memory.events().len(), 3 + 3);

    // A38: one too many, none, and a checksum that does not match.
    let many: Vec<String> = (0..1001).map(|n| n.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(
        told(&delete(format!("<Delete>{}</Delete>", objects(&many)), vec![]).await),
        (400, "MalformedXML")
    );
    assert_eq!(told(&delete("<Delete></Delete>".into(), vec![]).await), (400, "MalformedXML"));
    running.client.put("bucket", "kept", "x").await.expect("answered");
    let body = format!("<Delete>{}</Delete>", objects(&["kept"]));
    let wrong = delete(body.clone(), vec![("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==".into())]).await;
    assert_eq!(told(&wrong), (400, "BadDigest"));
    assert_complete_error(&wrong);
    let wrong = delete(body, vec![("x-amz-checksum-crc32", "AAAAAA==".into())]).await;
    assert_eq!(told(&wrong), (400, "BadDigest"));
    assert_eq!(running.client.get("bucket", "kept").await.expect("answered").status, 200);
}

#[tokio::test]
async fn what_does_not_exist_says_so() {
    let running = Running::with_bucket().await;
    for (method, path, query) in [
        (Method::GET, "/bucket", "inventory"),
        // Each is a parameter of another operation, which this one must not take for nothing.
        (Method::DELETE, "/bucket", "uploads"),
        (Method::DELETE, "/bucket", "uploadId"),
        (Method::DELETE, "/bucket", "versionId"),
        (Method::DELETE, "/bucket/key", "uploads"),
        (Method::DELETE, "/bucket/key", "partNumber"),
        (Method::PUT, "/bucket/key", "uploads"),
        (Method::PUT, "/bucket/key", "uploadId"),
        (Method::PUT, "/bucket/key", "delete"),
        (Method::PUT, "/bucket", "policy"),
        (Method::DELETE, "/bucket/key", "cors"),
        (Method::DELETE, "/bucket", "acl"),
        (Method::DELETE, "/bucket", "notification"),
        (Method::PUT, "/bucket/key", "notification"),
        (Method::DELETE, "/bucket", "policy"),
        (Method::POST, "/bucket/key", "tagging"),
        (Method::PUT, "/bucket/key", "cors"),
        (Method::DELETE, "/bucket", "website"),
    ] {
        let parameters = [(query, "")];
        let request = running.client.request(method.clone(), path, &parameters, &[], "".into());
        let answer = request.await.expect("answered");
        assert_eq!(told(&answer), (501, "NotImplemented"), "{method} {path}?{query}");
        assert_complete_error(&answer);
    }
    let still = running.client.request(Method::HEAD, "/bucket", &[], &[], "".into()).await.expect("answered");
    assert_eq!(still.status, 200, "the bucket is still there");
    running.nothing_happened().await;
}

#[tokio::test]
async fn a_reader_sees_an_object_that_was_replaced_and_never_a_damaged_one() {
    let running = Running::with_bucket().await;
    running.client.put("bucket", "key", "hello").await.expect("answered");
    running.memory.replace_under_readers(2);
    let got = running.client.get("bucket", "key").await.expect("answered");
    assert_eq!((got.status.as_u16(), &got.body[..]), (200, &b"hello"[..]), "looked up again");
    running.memory.replace_under_readers(usize::MAX);
    assert_eq!(told(&running.client.get("bucket", "key").await.expect("answered")), (500, "InternalError"));
    running.memory.replace_under_readers(0);
    running.memory.damage();
    let damaged = running.client.get("bucket", "key").await.expect("answered");
    assert_eq!(told(&damaged), (500, "InternalError"));
    assert!(!String::from_utf8_lossy(&damaged.body).contains("checksum"));
}

/// A69: a bug costs one answer, and nothing else.
#[tokio::test]
async fn a_panic_is_an_answer() {
    let running = Running::with_bucket().await;
    running.client.put("bucket", "key", "hello").await.expect("answered");
    running.memory.break_down();
    let broken = running.client.get("bucket", "key").await.expect("answered");
    assert_eq!(told(&broken), (500, "InternalError"));
    assert_complete_error(&broken);
    assert_eq!(running.client.put("bucket", "key", "again").await.expect("answered").status, 200);
}
