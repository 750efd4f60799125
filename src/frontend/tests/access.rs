//! Authorization over the wire: every operation with every scope and pattern, and the ways around it.
//!
//! Must never leave an operation out: one of `operations.rs` without a row here fails.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::Method;

use super::multipart::text;
use super::real::Real;
use super::support::{Running, assert_complete_error, told};
use crate::client::sign::payload_hash;
use crate::client::{Client, Response};
use crate::config::credentials::Scope;
use crate::frontend::access::scope_of;
use crate::frontend::routes;

const KEY: &str = "AKIDLIMITED";
const SECRET: &str = "planted-secret-of-somebody-limited";

/// How one operation is asked for, and what it needs and answers then.
pub(super) struct Row {
    needs: Scope,
    pub(super) method: Method,
    /// Path without the bucket.
    pub(super) path: &'static str,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: String,
    answers: u16,
}

fn row(needs: Scope, method: Method, path: &'static str, answers: u16) -> Row {
    Row { needs, method, path, query: vec![], headers: vec![], body: String::new(), answers }
}

impl Row {
    fn query(mut self, name: &'static str, value: &str) -> Self {
        self.query.push((name, value.to_owned()));
        self
    }

    fn body(mut self, body: impl Into<String>) -> Self {
        self.body = body.into();
        self
    }

    fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    fn copy(mut self, bucket: &str) -> Self {
        self.headers.push(("x-amz-copy-source", format!("/{bucket}/key")));
        self
    }

    async fn ask(&self, client: &Client, bucket: &str) -> Response {
        let path = if self.needs_no_bucket() { "/".to_owned() } else { format!("/{bucket}{}", self.path) };
        let query: Vec<_> = self.query.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let headers: Vec<_> = self.headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let body = Bytes::from(self.body.clone());
        client.request(self.method.clone(), &path, &query, &headers, body).await.expect("answered")
    }

    pub(super) fn needs_no_bucket(&self) -> bool {
        self.path == "/"
    }
}

/// What an operation's request is about: a bucket with an object `key` and an upload with one part.
pub(super) struct Things {
    pub(super) bucket: String,
    upload: String,
    etag: String,
}

/// Every operation that exists. `things` are in the bucket that is asked about.
pub(super) fn row_of(operation: &str, things: &Things) -> Row {
    use Scope::{Admin, Read, Write};
    let upload = |row: Row| row.query("uploadId", &things.upload);
    match operation {
        "CreateBucket" => row(Admin, Method::PUT, "-made", 200),
        "DeleteBucket" => row(Admin, Method::DELETE, "", 409),
        "HeadBucket" => row(Read, Method::HEAD, "", 200),
        "GetBucketLocation" => row(Read, Method::GET, "", 200).query("location", ""),
        "ListBuckets" => row(Read, Method::GET, "/", 200),
        "ListObjects" => row(Read, Method::GET, "", 200),
        "ListObjectsV2" => row(Read, Method::GET, "", 200).query("list-type", "2"),
        "PutObject" => row(Write, Method::PUT, "/new", 200).body("new"),
        "GetObject" => row(Read, Method::GET, "/key", 200),
        "HeadObject" => row(Read, Method::HEAD, "/key", 200),
        "DeleteObject" => row(Write, Method::DELETE, "/key", 204),
        "DeleteObjects" => row(Write, Method::POST, "", 200)
            .query("delete", "")
            .body("<Delete><Object><Key>key</Key></Object><Object><Key>none</Key></Object></Delete>"),
        "RestoreObject" => row(Write, Method::POST, "/cold", 202)
            .query("restore", "")
            .body("<RestoreRequest><Days>1</Days></RestoreRequest>"),
        "CreateMultipartUpload" => row(Write, Method::POST, "/big", 200).query("uploads", ""),
        "UploadPart" => upload(row(Write, Method::PUT, "/big", 200).query("partNumber", "2").body("part")),
        "UploadPartCopy" => {
            let copy = row(Write, Method::PUT, "/big", 200).query("partNumber", "3").copy(&things.bucket);
            upload(copy)
        }
        "CompleteMultipartUpload" => upload(row(Write, Method::POST, "/big", 200)).body(format!(
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{}</ETag></Part>\
             </CompleteMultipartUpload>",
            things.etag
        )),
        "AbortMultipartUpload" => upload(row(Write, Method::DELETE, "/big", 204)),
        "ListParts" => upload(row(Read, Method::GET, "/big", 200)),
        "ListMultipartUploads" => row(Read, Method::GET, "", 200).query("uploads", ""),
        "CopyObject" => row(Write, Method::PUT, "/copy", 200).copy(&things.bucket),
        "GetObjectAttributes" => row(Read, Method::GET, "/key", 200)
            .query("attributes", "")
            .header("x-amz-object-attributes", "ETag,ObjectSize"),
        "GetObjectTagging" => row(Read, Method::GET, "/key", 200).query("tagging", ""),
        "PutObjectTagging" => row(Write, Method::PUT, "/key", 200).query("tagging", "").body(TAGS),
        "DeleteObjectTagging" => row(Write, Method::DELETE, "/key", 204).query("tagging", ""),
        "PutBucketTagging" => row(Admin, Method::PUT, "", 200).query("tagging", "").body(TAGS),
        "DeleteBucketTagging" => row(Admin, Method::DELETE, "", 204).query("tagging", ""),
        "GetBucketVersioning" => row(Read, Method::GET, "", 200).query("versioning", ""),
        "PutBucketVersioning" => row(Admin, Method::PUT, "", 200).query("versioning", "").body(VERSIONING),
        "ListObjectVersions" => row(Read, Method::GET, "", 200).query("versions", ""),
        "PutBucketCors" => row(Admin, Method::PUT, "", 200).query("cors", "").body(CORS),
        "PutBucketNotificationConfiguration" => {
            row(Admin, Method::PUT, "", 200).query("notification", "").body(NOTIFICATION)
        }
        "PutBucketOrigin" => row(Admin, Method::PUT, "", 200).query("origin", "").body(ORIGIN),
        "GetBucketOrigin" => row(Admin, Method::GET, "", 404).query("origin", ""),
        "DeleteBucketOrigin" => row(Admin, Method::DELETE, "", 204).query("origin", ""),
        "DeleteBucketCors" => row(Admin, Method::DELETE, "", 204).query("cors", ""),
        "PutObjectAcl" => {
            row(Write, Method::PUT, "/key", 200).query("acl", "").header("x-amz-acl", "private")
        }
        "PutBucketAcl" => row(Admin, Method::PUT, "", 200).query("acl", "").header("x-amz-acl", "private"),
        "GetObjectAcl" => row(Read, Method::GET, "/key", 200).query("acl", ""),
        "GetObjectRetention" => row(Read, Method::GET, "/key", 404).query("retention", ""),
        "GetObjectLegalHold" => row(Read, Method::GET, "/key", 404).query("legal-hold", ""),
        other => match OF_BUCKETS.iter().find(|(name, ..)| *name == other) {
            Some((_, query, answers)) => row(Read, Method::GET, "", *answers).query(query, ""),
            None => of_replication(other),
        },
    }
}

/// The same of what replication needs.
fn of_replication(operation: &str) -> Row {
    use Scope::{Admin, Pull, Replication};
    match operation {
        // The bucket has no versions.
        "PutBucketReplication" => row(Admin, Method::PUT, "", 400).query("replication", "").body(REPLICATION),
        "DeleteBucketReplication" => row(Admin, Method::DELETE, "", 204).query("replication", ""),
        // It names no version.
        "ReplicateObject" => row(Replication, Method::PUT, "", 400).header("x-amz-tidings-key", "key"),
        "PullReplica" => row(Pull, Method::GET, "", 412)
            .query("tidings-pull", "fffffffffffffffffffffffe")
            .query("tidings-key", "key"),
        other => panic!("{other} is an operation without a row: say here what it needs"),
    }
}

const VERSIONING: &str = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
const CORS: &str = "<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin>\
                    <AllowedMethod>GET</AllowedMethod></CORSRule></CORSConfiguration>";
const NOTIFICATION: &str = "<NotificationConfiguration></NotificationConfiguration>";
const ORIGIN: &str = "<OriginConfiguration><OriginRule><OriginType>Mirror</OriginType><OriginInfo><HostInfo>\
                      <HostName>origin.example.com</HostName></HostInfo></OriginInfo></OriginRule>\
                      </OriginConfiguration>";
const REPLICATION: &str = "<ReplicationConfiguration><Role>role</Role><Rule><Status>Enabled</Status>\
     <Prefix></Prefix><Destination>\
     <Bucket>qcs::cos:there::bucket</Bucket></Destination></Rule></ReplicationConfiguration>";
const TAGS: &str = "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>";

/// What is only asked of buckets: the operation, its query, and what it answers where nothing is set.
const OF_BUCKETS: [(&str, &str, u16); 16] = [
    ("GetBucketCors", "cors", 404),
    ("GetBucketTagging", "tagging", 404),
    ("GetBucketAcl", "acl", 200),
    ("GetBucketNotificationConfiguration", "notification", 200),
    ("GetBucketPolicy", "policy", 404),
    ("GetBucketPolicyStatus", "policyStatus", 404),
    ("GetBucketLifecycleConfiguration", "lifecycle", 404),
    ("GetBucketEncryption", "encryption", 404),
    ("GetObjectLockConfiguration", "object-lock", 404),
    ("GetPublicAccessBlock", "publicAccessBlock", 404),
    ("GetBucketWebsite", "website", 404),
    ("GetBucketReplication", "replication", 404),
    ("GetBucketAccelerateConfiguration", "accelerate", 200),
    ("GetBucketLogging", "logging", 200),
    ("GetBucketRequestPayment", "requestPayment", 200),
    ("GetBucketOwnershipControls", "ownershipControls", 200),
];

/// The names of all operations, read from the code itself: each has an input of its own, or is of a route.
pub(super) fn operations() -> BTreeSet<String> {
    let code = include_str!("../operations.rs");
    let words = code.split(|c: char| !c.is_alphanumeric());
    let of_router = words.filter_map(|word| word.strip_suffix("Input")).filter(|name| !name.is_empty());
    of_router.chain(routes::operations()).map(str::to_owned).collect()
}

/// An object and an upload with one part, in a bucket of their own that `admin` makes.
pub(super) async fn things(admin: &Client, n: usize) -> Things {
    let bucket = format!("photos-{n}");
    let ask = async |method, path: &str, query: &[(&str, &str)], body: &'static str| {
        let path = format!("/{bucket}{path}");
        let answer = admin.request(method, &path, query, &[], body.into()).await.expect("answered");
        assert_eq!(answer.status, 200, "{answer:?}");
        answer
    };
    ask(Method::PUT, "", &[], "").await;
    ask(Method::PUT, "/key", &[], "body").await;
    let cold = (&format!("/{bucket}/cold"), [("x-amz-storage-class", "ARCHIVE")]);
    let put = admin.request(Method::PUT, cold.0, &[], &cold.1, Bytes::from("body")).await;
    assert_eq!(put.expect("answered").status, 200);
    let upload = text(&ask(Method::POST, "/big", &[("uploads", "")], "").await, "UploadId");
    let query = [("partNumber", "1"), ("uploadId", upload.as_str())];
    let part = ask(Method::PUT, "/big", &query, "part").await;
    let etag = part.header("etag").expect("an ETag").to_owned();
    Things { bucket, upload, etag }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_asks_for_its_scope_in_its_bucket() {
    let real = Real::with_bucket().await;
    let admin = &real.running.client;
    let limited = real.running.client_of(KEY, SECRET);
    let operations = operations();
    assert!(operations.len() >= 20 && operations.contains("UploadPartCopy"), "{operations:?}");
    let mut kept = things(admin, 0).await;
    let mut made = 0;
    for operation in &operations {
        let needs = row_of(operation, &kept).needs;
        assert_eq!(scope_of(operation), Some(needs), "{operation}");
        for scope in [Scope::Pull, Scope::Replication, Scope::Read, Scope::Write, Scope::Admin] {
            for (patterns, covers) in [
                (vec!["photos-*"], true),
                (vec!["other", "*-made", "photos-*-*", "photos-*"], true),
                (vec!["photos", "photos-*-", "hotos-*", "other-*"], false),
                (vec!["bucket"], false),
            ] {
                real.running.keys.set(KEY, SECRET, scope, &patterns);
                let row = row_of(operation, &kept);
                let allowed = scope.allows(needs) && (covers || row.needs_no_bucket());
                let what = format!("{operation} with {scope:?} of {patterns:?}");
                if allowed {
                    let answer = row.ask(&limited, &kept.bucket).await;
                    assert_eq!(answer.status.as_u16(), row.answers, "{what}: {answer:?}");
                    made += 1;
                    kept = things(admin, made).await;
                    continue;
                }
                let (end, events) = (real.queue.stat().durable_end, real.events().len());
                let answer = row.ask(&limited, &kept.bucket).await;
                let nowhere = row.ask(&limited, "nobody-has-this").await;
                for answer in [&answer, &nowhere] {
                    assert_eq!(answer.status, 403, "{what}: {answer:?}");
                    assert!(
                        row.method == Method::HEAD || answer.error_code() == Some("AccessDenied"),
                        "{what}"
                    );
                }
                assert_eq!(told_in_full(&answer), told_in_full(&nowhere), "{what}: it tells what exists");
                assert_eq!((real.queue.stat().durable_end, real.events().len()), (end, events), "{what}");
            }
        }
    }
}

/// All of an error but the request's own words.
fn told_in_full(answer: &Response) -> (u16, Option<String>, Option<String>) {
    let of = |name: &str| (!answer.body.is_empty()).then(|| text(answer, name));
    (answer.status.as_u16(), of("Code"), of("Message"))
}

/// A18: the source of a copy is read, so it must be readable, however it is written.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_copied_from_a_bucket_that_may_not_be_read() {
    let real = Real::with_bucket().await;
    let client = real.running.client_of(KEY, SECRET);
    for bucket in ["mine", "secret"] {
        real.running.client.create_bucket(bucket).await.expect("answered");
        real.running.client.put(bucket, "key", "top").await.expect("answered");
    }
    real.running.keys.set(KEY, SECRET, Scope::Write, &["mine"]);
    let begun = client.request(Method::POST, "/mine/big", &[("uploads", "")], &[], Bytes::new()).await;
    let upload = text(&begun.expect("answered"), "UploadId");
    let part = [("partNumber", "1"), ("uploadId", upload.as_str())];
    let events = real.events().len();
    for (source, code) in [
        ("secret/key", (403, "AccessDenied")),
        ("/secret/key", (403, "AccessDenied")),
        ("secret%2Fkey", (403, "AccessDenied")),
        ("%2Fsecret%2Fkey", (403, "AccessDenied")),
        ("%73ecret/key", (403, "AccessDenied")),
        ("secret/none", (403, "AccessDenied")),
        ("nobody-has-this/key", (403, "AccessDenied")),
        ("secret/key?versionId=null", (403, "AccessDenied")),
        ("/secret/key?versionId=mine/key", (403, "AccessDenied")),
        ("mine/../secret/key", (404, "NoSuchKey")),
        ("mine%2F..%2Fsecret%2Fkey", (404, "NoSuchKey")),
        ("//secret/key", (400, "InvalidArgument")),
        ("mine", (400, "InvalidArgument")),
        ("arn:aws:s3:ap-guangzhou:123456789012:accesspoint/secret/object/key", (501, "NotImplemented")),
    ] {
        for (path, query) in [("/mine/copy", &[][..]), ("/mine/big", &part[..])] {
            let headers = [("x-amz-copy-source", source)];
            let answer = client.request(Method::PUT, path, query, &headers, Bytes::new()).await;
            let answer = answer.expect("answered");
            assert_eq!(told(&answer), code, "{source} to {path}");
            assert_complete_error(&answer);
        }
    }
    assert_eq!(real.events().len(), events);
    // A scope of the source alone is not enough for its target.
    real.running.keys.set(KEY, SECRET, Scope::Write, &["secret"]);
    let headers = [("x-amz-copy-source", "secret/key")];
    let answer = client.request(Method::PUT, "/mine/copy", &[], &headers, Bytes::new()).await;
    assert_eq!(told(&answer.expect("answered")), (403, "AccessDenied"));
    real.running.keys.set(KEY, SECRET, Scope::Write, &["secret", "mine"]);
    let answer = client.request(Method::PUT, "/mine/copy", &[], &headers, Bytes::new()).await;
    assert_eq!(answer.expect("answered").status, 200);
}

#[tokio::test]
async fn a_list_of_buckets_shows_what_may_be_seen() {
    let running = Running::with_bucket().await;
    for bucket in ["a-1", "a-2", "b-1", "b-2", "c-1"] {
        running.client.create_bucket(bucket).await.expect("answered");
    }
    let client = running.client_of(KEY, SECRET);
    let list = async |query: &[(&str, &str)]| {
        let answer = client.request(Method::GET, "/", query, &[], Bytes::new()).await.expect("answered");
        let body = String::from_utf8(answer.body.to_vec()).expect("UTF-8");
        body.split("<Name>")
            .skip(1)
            .map(|rest| rest[..rest.find('<').expect("an end")].to_owned())
            .collect::<Vec<_>>()
    };
    running.keys.set(KEY, SECRET, Scope::Read, &["a-*", "c-1"]);
    assert_eq!(list(&[]).await, ["a-1", "a-2", "c-1"]);
    assert_eq!(list(&[("prefix", "b")]).await, [""; 0]);
    // The page's end counts what is shown, and no token names a hidden one.
    let page = [("max-buckets", "2")];
    assert_eq!(list(&page).await, ["a-1", "a-2"]);
    let answer = client.request(Method::GET, "/", &page, &[], Bytes::new()).await.expect("answered");
    assert_eq!(text(&answer, "ContinuationToken"), "a-2");
    running.keys.set(KEY, SECRET, Scope::Read, &["none-*"]);
    assert_eq!(list(&[]).await, [""; 0]);
}

/// A14, A17: other spellings of a forbidden bucket, and other ways to name it.
#[tokio::test]
async fn no_spelling_leads_to_a_forbidden_bucket() {
    let running = Running::with_bucket().await;
    for bucket in ["mine", "secret"] {
        running.client.create_bucket(bucket).await.expect("answered");
        running.client.put(bucket, "key", "top").await.expect("answered");
    }
    let events = running.memory.events().len();
    running.keys.set(KEY, SECRET, Scope::Admin, &["mine"]);
    let client = running.client_of(KEY, SECRET);
    let signed = |method: &str, path: &str, host: &str, more: &[(&str, &str)]| {
        let payload = payload_hash(b"");
        // Signed as the verifier sees it: decoded once, and encoded anew.
        let path = path.replace("%2F", "/").replace("%73", "s").replace("%25", "%");
        let path = &crate::client::sign::encode_path(&path);
        let at = jiff::Timestamp::now();
        let date = crate::client::sign::amz_date(at);
        let mut headers = vec![("host", host), ("x-amz-content-sha256", &payload), ("x-amz-date", &date)];
        headers.extend_from_slice(more);
        let parts =
            crate::client::sign::Parts { method, path, query: "", headers: &headers, payload: &payload };
        let signed = client.signer().sign(&parts, at);
        headers.push(("authorization", &signed.authorization));
        headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect::<Vec<_>>()
    };
    let here = running.address.to_string();
    for (path, host, more, status) in [
        ("/secret/key", here.as_str(), &[][..], 403),
        ("/%73ecret/key", &here, &[], 403),
        ("/secret%2Fkey", &here, &[], 403),
        ("/mine%2F..%2Fsecret%2Fkey", &here, &[], 404),
        ("/mine/../secret/key", &here, &[], 404),
        ("/mine%252Fkey", &here, &[], 400),
        ("//secret/key", &here, &[], 400),
        ("/mine*/key", &here, &[], 400),
        ("/SECRET/key", &here, &[], 400),
        ("/key", "secret.s3.test", &[], 403),
        ("/mine/key", "secret.s3.test", &[], 403),
        ("/key", "SECRET.s3.test:9000", &[], 403),
        ("/secret/key", "mine.s3.test", &[], 404),
        ("/secret/key", &here, &[("x-forwarded-host", "mine.s3.test")], 403),
        ("/secret/key", &here, &[("x-original-url", "/mine/key")], 403),
        ("/secret/key", &here, &[("x-http-method-override", "HEAD")], 403),
    ] {
        for method in [Method::GET, Method::DELETE] {
            let headers = signed(method.as_str(), path, host, more);
            let answer = running.send(method.clone(), path, &headers, "").await;
            let expected = if method == Method::DELETE && status == 404 { 204 } else { status };
            assert_eq!(answer.status, expected, "{method} {path} at {host} {more:?}: {answer:?}");
        }
    }
    assert_eq!(running.memory.events().len(), events, "something was removed");
}

/// A15: what a removed or changed credential signed is void at once; its presigned URLs too.
#[tokio::test]
async fn a_removed_credential_is_void_and_so_are_its_urls() {
    let running = Running::with_bucket().await;
    running.client.put("bucket", "key", "top").await.expect("answered");
    running.keys.set(KEY, SECRET, Scope::Write, &["bucket"]);
    let client = running.client_of(KEY, SECRET);
    let target = |method: &Method| {
        let url = client.presign(method, "bucket", "key", 3_600);
        url.split_once(&running.address.to_string()).expect("a URL").1.to_owned()
    };
    let (get, put) = (target(&Method::GET), target(&Method::PUT));
    assert_eq!(running.send(Method::GET, &get, &[], "").await.status, 200);
    running.keys.set(KEY, SECRET, Scope::Read, &["bucket"]);
    assert_eq!(running.send(Method::GET, &get, &[], "").await.status, 200);
    assert_eq!(told(&running.send(Method::PUT, &put, &[], "x").await), (403, "AccessDenied"), "fewer rights");
    running.keys.set(KEY, SECRET, Scope::Admin, &["another"]);
    assert_eq!(
        told(&running.send(Method::GET, &get, &[], "").await),
        (403, "AccessDenied"),
        "another bucket"
    );
    running.keys.set(KEY, "another-planted-secret", Scope::Admin, &["*"]);
    assert_eq!(told(&running.send(Method::GET, &get, &[], "").await), (403, "SignatureDoesNotMatch"));
    running.keys.remove(KEY);
    for (method, target) in [(Method::GET, &get), (Method::PUT, &put)] {
        assert_eq!(told(&running.send(method, target, &[], "x").await), (403, "InvalidAccessKeyId"));
    }
    assert_eq!(told(&client.get("bucket", "key").await.expect("answered")), (403, "InvalidAccessKeyId"));
    assert_eq!(running.memory.events().len(), 1);
}
