//! COS's own protocol as its clients meet it, over the real store: every answer in COS's words, each change
//! with the event that a client of S3 would cause.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::Method;

use super::multipart::text;
use super::qsign::{HOST, fields, key_time, target};
use super::real::Real;
use super::support::{ACCESS_KEY, OTHER_KEY, OTHER_SECRET, SECRET, told};
use crate::client::Response;
use crate::config::credentials::Scope;
use crate::event::EventKind;

const CRC64: &str = "x-cos-hash-crc64ecma";
/// CRC-64/XZ of `hello`.
const OF_HELLO: &str = "11177612005948864433";

/// What every answer of COS's has and no answer of S3's.
#[track_caller]
fn assert_is_cos(response: &Response) {
    let id = response.header("x-cos-request-id").expect("an id");
    let id = String::from_utf8(BASE64.decode(id).expect("base64")).expect("text");
    assert_eq!(id.split('_').count(), 4, "{id}");
    let of_s3 = response.headers.keys().find(|name| name.as_str().starts_with("x-amz-"));
    assert_eq!(of_s3, None, "{response:?}");
}

/// An error of COS's: complete, in its words.
#[track_caller]
fn assert_error(response: &Response, status: u16, code: &str) {
    assert_is_cos(response);
    assert_eq!(told(response), (status, code), "{response:?}");
    assert_eq!(text(response, "RequestId"), response.header("x-cos-request-id").expect("an id"));
    assert_eq!(text(response, "TraceId"), response.header("x-cos-trace-id").expect("a trace"));
    assert!(!text(response, "Message").is_empty() && !text(response, "Resource").is_empty());
}

#[tokio::test]
async fn objects_come_and_go_in_the_words_of_cos() {
    let real = Real::with_bucket().await;
    let md5 = BASE64.encode(<md5::Md5 as md5::Digest>::digest(b"hello"));
    let headers = [
        ("content-md5", &*md5),
        ("content-type", "text/plain"),
        ("x-cos-meta-color", "Blue"),
        ("x-cos-storage-class", "STANDARD_IA"),
        ("x-cos-acl", "default"),
        ("x-cos-tagging", "a=b"),
    ];
    let put = real.cos(Method::PUT, "/a key+ä", &[], &headers, "hello").await;
    assert_eq!(put.status, 200, "{put:?}");
    assert_is_cos(&put);
    assert_eq!(put.header(CRC64), Some(OF_HELLO));
    for method in [Method::GET, Method::HEAD] {
        let got = real.cos(method.clone(), "/a key+ä", &[], &[("range", "bytes=1-2")], "").await;
        let is_get = method == Method::GET;
        assert_eq!(got.status.as_u16(), if is_get { 206 } else { 200 }, "{got:?}");
        assert_eq!(got.header(CRC64), Some(OF_HELLO), "of all of it");
        assert_is_cos(&got);
        assert_eq!(got.body, if is_get { "el" } else { "" });
        assert_eq!(got.header("x-cos-meta-color"), Some("Blue"));
        assert_eq!(got.header("x-cos-storage-class"), Some("STANDARD_IA"));
        assert_eq!(got.header("x-cos-tagging-count"), Some("1"));
    }
    let source = format!("{HOST}/a%20key%2B%C3%A4");
    let replaced = [
        ("x-cos-copy-source", &*source),
        ("x-cos-metadata-directive", "Replaced"),
        ("x-cos-meta-color", "red"),
        ("x-cos-forbid-overwrite", "true"),
    ];
    let copied = real.cos(Method::PUT, "/copy", &[], &replaced, "").await;
    assert_eq!((copied.status.as_u16(), &*text(&copied, "CRC64")), (200, OF_HELLO), "{copied:?}");
    assert!(!String::from_utf8_lossy(&copied.body).contains("xmlns"));
    assert_error(&real.cos(Method::PUT, "/copy", &[], &replaced, "").await, 412, "PreconditionFailed");
    let head = real.cos(Method::HEAD, "/copy", &[], &[], "").await;
    assert_eq!(head.header("x-cos-meta-color"), Some("red"));
    let gone = real.cos(Method::DELETE, "/copy", &[], &[], "").await;
    assert_eq!(gone.status, 204);
    assert_is_cos(&gone);
    assert_error(&real.cos(Method::GET, "/copy", &[], &[], "").await, 404, "NoSuchKey");
    let events: Vec<_> = real.events().iter().map(|e| (e.kind, e.key.to_string(), e.size)).collect();
    assert_eq!(
        events,
        [
            (EventKind::CreatedPut, "a key+ä".to_owned(), 5),
            (EventKind::CreatedCopy, "copy".to_owned(), 5),
            (EventKind::RemovedDelete, "copy".to_owned(), 0),
        ]
    );
    assert_eq!(*real.events()[0].request.id, *put.header("x-cos-request-id").expect("an id"));
    // The same object in S3's words.
    let s3 = real.ask(Method::GET, "/bucket/a key+ä", &[], &[], "").await;
    assert_eq!((s3.header("x-amz-meta-color"), s3.header(CRC64)), (Some("Blue"), None));
    assert!(s3.headers.keys().all(|name| !name.as_str().starts_with("x-cos-")), "{s3:?}");
}

#[tokio::test]
async fn uploads_have_a_crc_of_each_part_and_of_the_whole() {
    let real = Real::with_bucket().await;
    let begun = real.cos(Method::POST, "/whole", &[("uploads", "")], &[("x-cos-meta-a", "1")], "").await;
    let id = text(&begun, "UploadId");
    let (first, second) = (vec![b'a'; 2048], b"hello".to_vec());
    let mut list = String::new();
    for (number, body) in [("1", first.clone()), ("2", second.clone())] {
        let query = [("partNumber", number), ("uploadId", &*id)];
        let crc64 = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Xz, &body).to_string();
        let put = real.cos(Method::PUT, "/whole", &query, &[], body).await;
        assert_eq!((put.status.as_u16(), put.header(CRC64)), (200, Some(&*crc64)), "{put:?}");
        let etag = put.header("etag").expect("an ETag");
        list += &format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>");
    }
    let listed = real.cos(Method::GET, "/whole", &[("uploadId", &*id)], &[], "").await;
    assert_eq!(text(&listed, "Key"), "whole");
    let body = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
    let whole = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Xz, &[first, second].concat()).to_string();
    // Asked again it is the same answer.
    for _ in 0..2 {
        let done = real.cos(Method::POST, "/whole", &[("uploadId", &*id)], &[], body.clone()).await;
        assert_eq!((done.status.as_u16(), done.header(CRC64)), (200, Some(&*whole)), "{done:?}");
        assert_is_cos(&done);
    }
    let head = real.cos(Method::HEAD, "/whole", &[], &[], "").await;
    assert_eq!((head.header(CRC64), head.header("x-cos-meta-a")), (Some(&*whole), Some("1")));
    assert_eq!(real.events().len(), 1);
}

#[tokio::test]
async fn buckets_are_named_by_their_hosts() {
    let real = Real::with_bucket().await;
    let of = async |host: &str, method: Method, path: &str, query: &[(&str, &str)]| {
        let headers = [("host", host)];
        let authorization = fields((ACCESS_KEY, SECRET), &method, path, query, &headers);
        let headers = [headers[0], ("authorization", &*authorization)];
        let headers = headers.map(|(n, v)| (n.to_owned(), v.to_owned()));
        real.running.send(method, &target(path, query), &headers, "").await
    };
    let made = of("b-1250000000.cos.ap-guangzhou.tencentcos.cn", Method::PUT, "/", &[]).await;
    assert_eq!(made.status, 200, "{made:?}");
    let again = of("b-1250000000.s3.test:9000", Method::PUT, "/", &[]).await;
    assert_error(&again, 409, "BucketAlreadyOwnedByYou");
    let path_style = of("127.0.0.1:9000", Method::HEAD, "/b-1250000000", &[]).await;
    assert_eq!(path_style.header("x-cos-bucket-region"), Some("ap-guangzhou"), "{path_style:?}");
    let elsewhere = of("b-1250000000.cos.ap-beijing.myqcloud.com", Method::PUT, "/", &[]).await;
    assert_error(&elsewhere, 400, "InvalidRequest");
    for host in ["service.cos.myqcloud.com", "cos.ap-guangzhou.myqcloud.com", "127.0.0.1:9000"] {
        let listed = of(host, Method::GET, "/", &[("max-keys", "1"), ("marker", "")]).await;
        assert_eq!(
            (text(&listed, "Name"), text(&listed, "Location")),
            ("b-1250000000".into(), "ap-guangzhou".into())
        );
        assert_eq!(
            (text(&listed, "IsTruncated"), text(&listed, "NextMarker")),
            ("true".into(), "b-1250000000".into())
        );
        let rest = of(host, Method::GET, "/", &[("marker", "b-1250000000")]).await;
        assert_eq!((text(&rest, "Name"), text(&rest, "IsTruncated")), ("bucket".into(), "false".into()));
    }
}

#[tokio::test]
async fn lists_and_versions_are_those_of_cos() {
    let real = Real::with_bucket().await;
    for key in ["/a/1", "/a/2", "/b"] {
        assert_eq!(real.cos(Method::PUT, key, &[], &[], "x").await.status, 200);
    }
    let query = [("delimiter", "/"), ("max-keys", "1"), ("encoding-type", "url")];
    let page = real.cos(Method::GET, "/", &query, &[], "").await;
    assert_eq!((text(&page, "NextMarker"), text(&page, "IsTruncated")), ("a/".into(), "true".into()));
    let page = real.cos(Method::GET, "/", &[("delimiter", "/"), ("marker", "a/")], &[], "").await;
    assert_eq!((text(&page, "Key"), text(&page, "StorageClass")), ("b".into(), "STANDARD".into()));
    let never = real.cos(Method::GET, "/", &[("versions", "")], &[], "").await;
    assert_eq!(text(&never, "VersionId"), "", "COS has no name for them");
    let of_s3 = real.ask(Method::GET, "/bucket", &[("versions", "")], &[], "").await;
    assert_eq!(text(&of_s3, "VersionId"), "null");
    for (status, named) in [("Enabled", true), ("Suspended", false)] {
        let body = format!("<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>");
        assert_eq!(real.cos(Method::PUT, "/", &[("versioning", "")], &[], body).await.status, 200);
        let got = real.cos(Method::GET, "/", &[("versioning", "")], &[], "").await;
        assert_eq!(text(&got, "Status"), status);
        let put = real.cos(Method::PUT, "/b", &[], &[], "y").await;
        assert_eq!(put.header("x-cos-version-id").is_some(), named, "{status}");
        let gone = real.cos(Method::DELETE, "/b", &[], &[], "").await;
        assert_eq!(gone.header("x-cos-delete-marker"), Some("true"));
        assert_eq!(gone.header("x-cos-version-id").is_some(), named, "{status}");
        let missing = real.cos(Method::GET, "/b", &[], &[], "").await;
        assert_error(&missing, 404, "NoSuchKey");
        assert_eq!(missing.header("x-cos-delete-marker"), Some("true"));
    }
    let body = "<Delete><Object><Key>a/1</Key></Object><Object><Key>none</Key></Object></Delete>";
    let deleted = real.cos(Method::POST, "/", &[("delete", "")], &[], body).await;
    assert_eq!(text(&deleted, "DeleteMarker"), "true", "{deleted:?}");
}

#[tokio::test]
async fn what_is_not_there_says_so() {
    let real = Real::with_bucket().await;
    real.cos(Method::PUT, "/key", &[], &[], "x").await;
    let events = real.events().len();
    for (method, path, query, headers, status, code) in [
        (Method::POST, "/key", &[("append", ""), ("position", "0")][..], &[][..], 501, "NotImplemented"),
        (Method::GET, "/", &[("origin", "")], &[], 404, "OriginConfigurationNotFoundError"),
        (Method::PUT, "/", &[("domain", "")], &[], 501, "NotImplemented"),
        (Method::DELETE, "/", &[("domain", "")], &[], 501, "NotImplemented"),
        (Method::GET, "/key", &[("imageInfo", "")], &[], 501, "NotImplemented"),
        (Method::PUT, "/key", &[], &[("x-cos-acl", "public-read")], 400, "InvalidArgument"),
        (Method::PUT, "/key", &[], &[("x-cos-grant-read", "id=\"1\"")], 400, "InvalidArgument"),
        (Method::PUT, "/key", &[], &[("x-cos-traffic-limit", "819200")], 501, "NotImplemented"),
        (Method::PUT, "/key", &[], &[("x-cos-storage-class", "LUKEWARM")], 400, "InvalidArgument"),
        (Method::PUT, "/key", &[], &[("x-tidings-marker", "1")], 403, "AccessDenied"),
        (Method::PUT, "/key", &[], &[("x-cos-security-token", "t")], 400, "InvalidSecurityToken"),
        (Method::GET, "/", &[("replication", "")], &[], 404, "ReplicationConfigurationnotFoundError"),
        (Method::GET, "/", &[("cors", "")], &[], 404, "NoSuchCORSConfiguration"),
    ] {
        let answer = real.cos(method, path, query, headers, "").await;
        assert_error(&answer, status, code);
    }
    let long = format!("/{}", "k".repeat(1025));
    assert_error(&real.cos(Method::PUT, &long, &[], &[], "x").await, 400, "KeyTooLong");
    assert_eq!(real.events().len(), events, "nothing happened");
}

/// A1 to A15 of the attacks, by COS's rules: nothing happens.
#[tokio::test]
async fn only_the_right_signature_does_anything() {
    let real = Real::with_bucket().await;
    let send = async |method: Method, target: &str, headers: &[(&str, &str)]| {
        let headers: Vec<_> = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        real.running.send(method, target, &headers, "hello").await
    };
    let host = ("host", HOST);
    let right = fields((ACCESS_KEY, SECRET), &Method::PUT, "/key", &[], &[host]);
    let by = |pair| fields(pair, &Method::PUT, "/key", &[], &[host]);
    let (wrong, unknown, empty) =
        (by((ACCESS_KEY, OTHER_SECRET)), by(("AKIDNOBODY", SECRET)), by((ACCESS_KEY, "")));
    let signature = right.rsplit('=').next().expect("a signature").to_owned();
    let garbage = right.replace(&signature, &"0".repeat(40));
    let old = right.replace(&right[right.find("q-sign-time=").expect("there")..][..34], "q-sign-time=1;2");
    let unsigned_host = fields((ACCESS_KEY, SECRET), &Method::PUT, "/key", &[], &[]);
    for (what, target, authorization, more, status, code) in [
        ("another secret", "/key", &wrong, &[][..], 403, "SignatureDoesNotMatch"),
        ("an empty secret", "/key", &empty, &[], 403, "SignatureDoesNotMatch"),
        ("an unknown key", "/key", &unknown, &[], 403, "InvalidAccessKeyId"),
        ("a garbage signature", "/key", &garbage, &[], 403, "SignatureDoesNotMatch"),
        ("no host", "/key", &unsigned_host, &[], 403, "AccessDenied"),
        ("two times", "/key", &old, &[], 400, "InvalidRequest"),
        ("another key", "/other", &right, &[], 403, "SignatureDoesNotMatch"),
        ("an encoded slash", "/%2Fkey", &right, &[], 403, "SignatureDoesNotMatch"),
        ("a parameter", "/key?tagging", &right, &[], 403, "AccessDenied"),
        ("a header", "/key", &right, &[("x-cos-copy-source", "x/y")], 403, "AccessDenied"),
        ("S3's header", "/key", &right, &[("x-amz-copy-source", "x/y")], 400, "InvalidRequest"),
        ("both", "/key?X-Amz-Signature=0", &right, &[], 400, "InvalidRequest"),
        ("both of COS's", "/key?q-signature=0", &right, &[], 400, "InvalidRequest"),
    ] {
        let headers = [&[host, ("authorization", &**authorization)], more].concat();
        let answer = send(Method::PUT, target, &headers).await;
        assert_error(&answer, status, code);
        assert_eq!(real.events().len(), 0, "{what}");
    }
    // Signed for a host, used for another.
    for other in ["other.cos.ap-guangzhou.myqcloud.com", "127.0.0.1"] {
        let answer = send(Method::PUT, "/key", &[("host", other), ("authorization", &right)]).await;
        assert_error(&answer, 403, "SignatureDoesNotMatch");
    }
    let get = send(Method::GET, "/key", &[host, ("authorization", &right)]).await;
    assert_error(&get, 403, "SignatureDoesNotMatch");
    let anonymous = send(Method::PUT, "/key", &[host]).await;
    assert_eq!(told(&anonymous), (403, "AccessDenied"));
    // A key that is gone, and one that may less.
    real.running.keys.set("AKIDREAD", "read", Scope::Read, &["bucket"]);
    real.running.keys.set("AKIDELSE", "else", Scope::Admin, &["other*"]);
    for pair in [("AKIDREAD", "read"), ("AKIDELSE", "else")] {
        let answer = send(Method::PUT, "/key", &[host, ("authorization", &by(pair))]).await;
        assert_error(&answer, 403, "AccessDenied");
    }
    real.running.keys.remove(OTHER_KEY);
    let answer = send(Method::PUT, "/key", &[host, ("authorization", &by((OTHER_KEY, OTHER_SECRET)))]).await;
    assert_error(&answer, 403, "InvalidAccessKeyId");
    assert_eq!(real.events().len(), 0);
    assert_eq!(send(Method::PUT, "/key", &[host, ("authorization", &right)]).await.status, 200);
    assert_eq!(real.events().len(), 1);
}

/// A18: a copy reads only what its key may read.
#[tokio::test]
async fn a_copy_needs_its_source() {
    let real = Real::with_bucket().await;
    real.running.client.create_bucket("secret").await.expect("answered");
    real.running.client.put("secret", "key", "x").await.expect("answered");
    real.running.keys.set("AKIDHERE", "here", Scope::Write, &["bucket"]);
    for source in [
        "secret.cos.ap-guangzhou.myqcloud.com/key",
        "cos.ap-guangzhou.myqcloud.com/secret/key",
        "bucket.cos.ap-guangzhou.myqcloud.com.evil/../secret/key",
    ] {
        let headers = [("host", HOST), ("x-cos-copy-source", source)];
        let authorization = fields(("AKIDHERE", "here"), &Method::PUT, "/stolen", &[], &headers);
        let headers = [headers[0], headers[1], ("authorization", &*authorization)];
        let headers = headers.map(|(n, v)| (n.to_owned(), v.to_owned()));
        let answer = real.running.send(Method::PUT, "/stolen", &headers, "").await;
        assert!(matches!(told(&answer), (403, "AccessDenied") | (400, "InvalidArgument")), "{answer:?}");
    }
    assert_eq!(real.events().len(), 1);
}

#[tokio::test]
async fn presigned_urls_and_absolute_targets_work() {
    let real = Real::with_bucket().await;
    let presigned = |method: Method, query: &[(&str, &str)]| {
        let fields = fields((ACCESS_KEY, SECRET), &method, "/key", query, &[("host", HOST)]);
        let pairs: Vec<_> = fields.split('&').filter_map(|part| part.split_once('=')).collect();
        target("/key", &[query, &pairs].concat())
    };
    let host = [("host".to_owned(), HOST.to_owned())];
    let put = real.running.send(Method::PUT, &presigned(Method::PUT, &[]), &host, "hello").await;
    assert_eq!((put.status.as_u16(), put.header(CRC64)), (200, Some(OF_HELLO)), "{put:?}");
    let query = [("response-content-disposition", "attachment; filename=\"a b\"")];
    let got = real.running.send(Method::GET, &presigned(Method::GET, &query), &host, "").await;
    assert_eq!((&*got.body, got.header("content-disposition")), (&b"hello"[..], Some(query[0].1)));
    assert_is_cos(&got);
    let wrong = real.running.send(Method::DELETE, &presigned(Method::GET, &[]), &host, "").await;
    assert_error(&wrong, 403, "SignatureDoesNotMatch");
    // As a client sends it to a proxy.
    let authorization = fields((ACCESS_KEY, SECRET), &Method::GET, "/key", &[], &[("host", HOST)]);
    let ask = |authority: &str| {
        format!(
            "GET http://{authority}/key HTTP/1.1\r\nhost: {HOST}\r\nauthorization: {authorization}\r\n\
             connection: close\r\n\r\n"
        )
    };
    let answer = super::support::read_all(real.running.raw(ask(HOST).as_bytes()).await).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
    // Some clients look names up letter by letter.
    for name in
        ["Content-Length: 5", "ETag: \"", "Last-Modified: ", "Date: ", "Server: ", "x-cos-request-id: "]
    {
        assert!(answer.contains(&format!("\r\n{name}")), "{name} in {answer}");
    }
    let other = super::support::read_all(real.running.raw(ask("elsewhere").as_bytes()).await).await;
    assert!(other.starts_with("HTTP/1.1 400") && other.contains("<TraceId>"), "{other}");
    assert_eq!(key_time().split(';').count(), 2);
}

/// The same limits hold for both families.
#[tokio::test]
async fn a_body_that_does_not_fit_its_md5_is_not_stored() {
    let real = Real::with_bucket().await;
    let md5 = BASE64.encode([0; 16]);
    let answer = real.cos(Method::PUT, "/key", &[], &[("content-md5", &md5)], "hello").await;
    assert_error(&answer, 400, "BadDigest");
    let delete = "<Delete><Object><Key>key</Key></Object></Delete>";
    let answer = real.cos(Method::POST, "/", &[("delete", "")], &[("content-md5", &md5)], delete).await;
    assert_error(&answer, 400, "BadDigest");
    assert_eq!(real.events().len(), 0);
}
