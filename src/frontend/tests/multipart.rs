//! Multipart uploads over the real store: what S3 says of every answer, one event for each object, and no
//! file left behind.

use std::time::Duration;

use http::Method;

use super::real::Real;
use super::support::{assert_complete_error, told};
use crate::client::Response;
use crate::event::EventKind;

/// The text of the first element with this name.
pub(super) fn text(response: &Response, name: &str) -> String {
    let body = std::str::from_utf8(&response.body).expect("UTF-8");
    let of = |body: &str| {
        let (_, rest) = body.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(text, _)| text.replace("&quot;", "\""))
    };
    of(body).unwrap_or_else(|| panic!("no {name} in {body}"))
}

fn count(response: &Response, name: &str) -> usize {
    std::str::from_utf8(&response.body).expect("UTF-8").matches(&format!("<{name}>")).count()
}

fn etag(response: &Response) -> String {
    response.header("etag").expect("an ETag").to_owned()
}

/// Bytes that tell one part from another.
fn part(n: u8, size: usize) -> Vec<u8> {
    (0..size).map(|at| (at as u8).wrapping_mul(n)).collect()
}

impl Real {
    pub(super) async fn begin(&self, key: &str, headers: &[(&str, &str)]) -> String {
        let begun = self.ask(Method::POST, &format!("/bucket/{key}"), &[("uploads", "")], headers, "").await;
        assert_eq!(begun.status, 200, "{begun:?}");
        text(&begun, "UploadId")
    }

    async fn upload(&self, key: &str, id: &str, number: u32, body: Vec<u8>) -> Response {
        let number = number.to_string();
        let query = [("partNumber", number.as_str()), ("uploadId", id)];
        self.ask(Method::PUT, &format!("/bucket/{key}"), &query, &[], body).await
    }

    pub(super) async fn complete(&self, key: &str, id: &str, list: &str) -> Response {
        self.complete_with(key, id, list, &[]).await
    }

    async fn complete_with(&self, key: &str, id: &str, list: &str, headers: &[(&str, &str)]) -> Response {
        let body = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
        self.ask(Method::POST, &format!("/bucket/{key}"), &[("uploadId", id)], headers, body).await
    }

    /// Uploads these parts and gives the list that names them.
    pub(super) async fn parts(&self, key: &str, id: &str, parts: &[(u32, Vec<u8>)]) -> String {
        let mut list = String::new();
        for (number, body) in parts {
            let put = self.upload(key, id, *number, body.clone()).await;
            assert_eq!(put.status, 200, "{put:?}");
            list += &listed(*number, &etag(&put));
        }
        list
    }

    async fn get(&self, query: &[(&str, &str)], headers: &[(&str, &str)]) -> Response {
        self.ask(Method::GET, "/bucket/key", query, headers, "").await
    }

    /// Lets the index go on until only `files` blobs are left.
    pub(super) async fn until_blobs(&self, files: usize) {
        let waiting = async {
            while self.blob_files() != files {
                self.running.client.put("bucket", "tick", "x").await.expect("answered");
                self.checkpointed().await;
            }
        };
        let found = tokio::time::timeout(Duration::from_secs(30), waiting).await;
        assert!(found.is_ok(), "{} blobs instead of {files}", self.blob_files());
    }
}

fn listed(number: u32, etag: &str) -> String {
    format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_becomes_one_object_with_one_event() {
    let real = Real::with_bucket().await;
    let id = real.begin("key", &[("content-type", "video/mp4"), ("x-amz-meta-a", "b")]).await;
    let (one, two, three) = (part(3, 300_000), part(5, 4096), part(7, 10));
    let list = real.parts("key", &id, &[(1, one.clone()), (4, two.clone()), (9, three.clone())]).await;
    assert_eq!(real.events(), [], "parts are no events");
    assert_eq!(told(&real.get(&[], &[]).await), (404, "NoSuchKey"));

    let done = real.complete("key", &id, &list).await;
    assert_eq!(done.status, 200, "{done:?}");
    let whole = [one, two, three].concat();
    let expected = {
        use md5::{Digest as _, Md5};
        let sums: Vec<u8> = [300_000, 304_096, 304_106]
            .iter()
            .scan(0, |from, to| Some(std::mem::replace(from, *to)..*to))
            .flat_map(|range| Md5::digest(&whole[range]).to_vec())
            .collect();
        format!("{}-3", hex::encode(Md5::digest(sums)))
    };
    assert_eq!(text(&done, "ETag").trim_matches('"'), expected);
    let events = real.events();
    assert_eq!(events.len(), 1);
    let event = &events[0];
    assert_eq!((event.kind, &*event.key), (EventKind::CreatedMultipart, "key"));
    assert_eq!((event.size, &*event.etag), (304_106, &*expected));

    for restarted in [false, true] {
        let real = &real;
        let got = real.get(&[], &[]).await;
        assert!(got.body == whole, "the bytes, {restarted}");
        assert_eq!(etag(&got).trim_matches('"'), expected);
        assert_eq!(got.header("content-type"), Some("video/mp4"));
        assert_eq!(got.header("x-amz-meta-a"), Some("b"));
        let got = real.get(&[], &[("range", "bytes=299990-304100")]).await;
        assert_eq!(got.status, 206);
        assert!(got.body == whole[299_990..=304_100], "over three parts");
        let got = real.get(&[("partNumber", "4")], &[]).await;
        assert_eq!((got.status.as_u16(), got.header("x-amz-mp-parts-count")), (206, Some("3")));
        assert_eq!(got.header("content-range"), Some("bytes 300000-304095/304106"));
        assert!(got.body == whole[300_000..304_096]);
        let none = real.get(&[("partNumber", "2")], &[]).await;
        assert_eq!(told(&none), (416, "InvalidPartNumber"));
        let both = real.get(&[("partNumber", "4")], &[("range", "bytes=0-1")]).await;
        assert_eq!(told(&both), (400, "InvalidRequest"));
        real.checkpointed().await;
    }
    let real = real.restart().await;
    assert!(real.get(&[], &[]).await.body == whole, "after a restart");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_completion_answers_the_same_and_makes_no_event() {
    let real = Real::with_bucket().await;
    let id = real.begin("key", &[]).await;
    let list = real.parts("key", &id, &[(1, part(3, 2000)), (2, part(5, 10))]).await;
    let first = real.complete("key", &id, &list).await;
    assert_eq!(first.status, 200, "{first:?}");
    // The object is another one meanwhile: the answer is still that of the upload.
    real.running.client.put("bucket", "key", "later").await.expect("answered");
    let again = real.complete("key", &id, &list).await;
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    let conditional = real.complete_with("key", &id, &list, &[("if-none-match", "*")]).await;
    assert_eq!(conditional.status, 200, "a repetition is no second write");
    real.checkpointed().await;
    let real = real.restart().await;
    let again = real.complete("key", &id, &list).await;
    assert_eq!((again.status.as_u16(), text(&again, "ETag")), (200, text(&first, "ETag")));
    assert_eq!(real.events().len(), 2, "one upload, one PUT");
    assert_eq!(&real.get(&[], &[]).await.body[..], b"later");
    // Done is done.
    let other = real.complete("key", &id, &listed(1, &"0".repeat(32))).await;
    assert_eq!(told(&other), (404, "NoSuchUpload"));
    assert_eq!(told(&real.upload("key", &id, 3, part(1, 10)).await), (404, "NoSuchUpload"));
    let abort = real.ask(Method::DELETE, "/bucket/key", &[("uploadId", &id)], &[], "").await;
    assert_eq!(told(&abort), (404, "NoSuchUpload"));
    real.until_blobs(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_lists_are_refused_as_the_specification_says() {
    let real = Real::with_bucket().await;
    let id = real.begin("key", &[]).await;
    let put = real.upload("key", &id, 1, part(3, 500)).await;
    let (small, small_tag) = (listed(1, &etag(&put)), etag(&put));
    let put = real.upload("key", &id, 2, part(5, 2000)).await;
    let (large, large_tag) = (listed(2, &etag(&put)), etag(&put));
    let other = real.begin("other", &[]).await;
    let foreign = real.parts("other", &other, &[(3, part(9, 2000))]).await;
    let many: String = (1..=10_001).map(|n| listed(n, &large_tag)).collect();
    for (what, list, code) in [
        ("out of order", format!("{large}{small}"), (400, "InvalidPartOrder")),
        ("twice", format!("{large}{large}"), (400, "InvalidPartOrder")),
        ("too small", format!("{small}{large}"), (400, "EntityTooSmall")),
        ("unknown", listed(3, &large_tag), (400, "InvalidPart")),
        ("another ETag", listed(2, &small_tag), (400, "InvalidPart")),
        ("no ETag at all", listed(2, "hello"), (400, "InvalidPart")),
        ("number 0", listed(0, &large_tag), (400, "InvalidPart")),
        ("number 10001", listed(10_001, &large_tag), (400, "InvalidPart")),
        ("of another upload", foreign, (400, "InvalidPart")),
        ("empty", String::new(), (400, "MalformedXML")),
        ("10,001 parts", many, (400, "MalformedXML")),
    ] {
        let answer = real.complete("key", &id, &list).await;
        assert_eq!(told(&answer), code, "{what}");
        assert_complete_error(&answer);
    }
    for (what, key, id) in [
        ("another key", "other", id.as_str()),
        ("not ours", "key", "hello"),
        ("never begun", "key", "00000000000000000000000000000000"),
    ] {
        assert_eq!(told(&real.complete(key, id, &large).await), (404, "NoSuchUpload"), "{what}");
        assert_eq!(told(&real.upload(key, id, 1, part(1, 1)).await), (404, "NoSuchUpload"), "{what}");
    }
    for number in [0, 10_001] {
        assert_eq!(told(&real.upload("key", &id, number, part(1, 1)).await), (400, "InvalidArgument"));
    }
    assert_eq!(real.events(), []);
    // A list may leave parts out, and its last one may be small.
    let done = real.complete("key", &id, &small).await;
    assert_eq!(done.status, 200, "{done:?}");
    assert!(real.get(&[], &[]).await.body == part(3, 500));
    // The part left out goes; the other upload's stays.
    real.until_blobs(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_hold_for_a_completion_too() {
    let real = Real::with_bucket().await;
    real.running.client.put("bucket", "key", "there").await.expect("answered");
    let id = real.begin("key", &[]).await;
    let list = real.parts("key", &id, &[(1, part(3, 20))]).await;
    let refused = real.complete_with("key", &id, &list, &[("if-none-match", "*")]).await;
    assert_eq!(told(&refused), (412, "PreconditionFailed"));
    let refused = real.complete_with("key", &id, &list, &[("x-amz-mp-object-size", "21")]).await;
    assert_eq!(told(&refused), (400, "InvalidRequest"));
    assert_eq!(real.events().len(), 1);
    let there = etag(&real.get(&[], &[]).await);
    let headers = [("if-match", there.as_str()), ("x-amz-mp-object-size", "20")];
    assert_eq!(real.complete_with("key", &id, &list, &headers).await.status, 200);
    assert_eq!(real.events().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_and_uploads_are_listed_in_pages() {
    let real = Real::with_bucket().await;
    let mut ids = Vec::new();
    for key in ["a/1", "a/2", "b", "b", "c/1"] {
        ids.push((key, real.begin(key, &[]).await));
    }
    real.checkpointed().await;
    ids.push(("d", real.begin("d", &[]).await));
    // Of the same key: by beginning, and by id within a millisecond.
    ids.sort();
    let id = &ids[2].1;
    for n in [7, 2, 9000] {
        real.upload("b", id, n, part(n as u8, 100)).await;
    }
    real.checkpointed().await;
    real.upload("b", id, 2, part(1, 50)).await;

    let query = [("uploadId", id.as_str()), ("max-parts", "2")];
    let page = real.ask(Method::GET, "/bucket/b", &query, &[], "").await;
    assert_eq!((count(&page, "PartNumber"), text(&page, "IsTruncated")), (2, "true".to_owned()));
    assert_eq!((text(&page, "PartNumber"), text(&page, "Size")), ("2".to_owned(), "50".to_owned()));
    let next = text(&page, "NextPartNumberMarker");
    assert_eq!(next, "7");
    let query = [("uploadId", id.as_str()), ("part-number-marker", &next)];
    let page = real.ask(Method::GET, "/bucket/b", &query, &[], "").await;
    assert_eq!((text(&page, "PartNumber"), text(&page, "IsTruncated")), ("9000".into(), "false".into()));

    let all = real.ask(Method::GET, "/bucket", &[("uploads", "")], &[], "").await;
    let body = String::from_utf8(all.body.to_vec()).expect("UTF-8");
    let found: Vec<_> = body.split("<UploadId>").skip(1).map(|rest| &rest[..32]).collect();
    assert_eq!(found, ids.iter().map(|(_, id)| id.as_str()).collect::<Vec<_>>());
    // One at a time, with and without common prefixes.
    for (delimiter, expected) in [("", 6), ("/", 5)] {
        let (mut key, mut upload, mut seen) = (String::new(), String::new(), Vec::new());
        loop {
            let query = [
                ("uploads", ""),
                ("max-uploads", "1"),
                ("delimiter", delimiter),
                ("key-marker", &key),
                ("upload-id-marker", &upload),
            ];
            let page = real.ask(Method::GET, "/bucket", &query, &[], "").await;
            assert_eq!(page.status, 200, "{page:?}");
            let body = std::str::from_utf8(&page.body).expect("UTF-8");
            let is_prefix = body.contains("<CommonPrefixes>");
            seen.push(if is_prefix { text(&page, "Prefix") } else { text(&page, "UploadId") });
            if text(&page, "IsTruncated") == "false" {
                break;
            }
            key = text(&page, "NextKeyMarker");
            upload = if is_prefix { String::new() } else { text(&page, "NextUploadIdMarker") };
        }
        seen.dedup();
        assert_eq!(seen.len(), expected, "{seen:?}");
    }
    let prefixed = real.ask(Method::GET, "/bucket", &[("uploads", ""), ("prefix", "a/")], &[], "").await;
    assert_eq!(count(&prefixed, "Upload"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn aborted_and_expired_uploads_and_overwritten_objects_leave_no_file() {
    let real = Real::with_bucket().await;
    let id = real.begin("key", &[]).await;
    real.parts("key", &id, &[(1, part(3, 2000)), (1, part(5, 2000)), (2, part(7, 10))]).await;
    real.until_blobs(2).await;
    let abort = real.ask(Method::DELETE, "/bucket/key", &[("uploadId", &id)], &[], "").await;
    assert_eq!(abort.status, 204, "{abort:?}");
    assert_eq!(told(&real.upload("key", &id, 1, part(1, 1)).await), (404, "NoSuchUpload"));
    real.until_blobs(0).await;

    // Overwritten and deleted, in the overlay and in the index.
    for settled in [false, true] {
        for what in ["overwritten", "deleted"] {
            let id = real.begin(what, &[]).await;
            let list = real.parts(what, &id, &[(1, part(3, 2000)), (2, part(7, 10))]).await;
            assert_eq!(real.complete(what, &id, &list).await.status, 200);
            if settled {
                real.checkpointed().await;
            }
        }
        real.running.client.put("bucket", "overwritten", "x").await.expect("answered");
        real.running.client.delete("bucket", "deleted").await.expect("answered");
    }
    real.until_blobs(0).await;

    let begun = real.begin("key", &[]).await;
    real.parts("key", &begun, &[(1, part(3, 2000))]).await;
    let done = real.begin("done", &[]).await;
    let list = real.parts("done", &done, &[(1, part(3, 2000))]).await;
    assert_eq!(real.complete("done", &done, &list).await.status, 200);
    real.checkpointed().await;
    let (hour, now) = (Duration::from_secs(3600), jiff::Timestamp::now().as_microsecond());
    assert_eq!(real.commit.expire_uploads(hour, now).await.expect("possible"), 0);
    let later = now + 3_600_000_000;
    assert_eq!(real.commit.expire_uploads(hour, later).await.expect("possible"), 1);
    assert_eq!(told(&real.upload("key", &begun, 1, part(1, 1)).await), (404, "NoSuchUpload"));
    assert_eq!(real.complete("done", &done, &list).await.status, 200, "remembered");
    real.until_blobs(1).await;
    let day = now + 24 * 3_600_000_000 + 1_000_000;
    assert!(real.commit.expire_uploads(hour, day).await.expect("possible") >= 1);
    assert_eq!(told(&real.complete("done", &done, &list).await), (404, "NoSuchUpload"), "forgotten");
    let got = real.ask(Method::GET, "/bucket/done", &[], &[], "").await;
    assert_eq!(got.body.len(), 2000, "the object stays");

    // A bucket goes with its uploads.
    real.running.client.create_bucket("gone").await.expect("answered");
    let begun = real.ask(Method::POST, "/gone/k", &[("uploads", "")], &[], "").await;
    let id = text(&begun, "UploadId");
    let query = [("partNumber", "1"), ("uploadId", id.as_str())];
    assert_eq!(real.ask(Method::PUT, "/gone/k", &query, &[], "part").await.status, 200);
    assert_eq!(real.running.client.delete_bucket("gone").await.expect("answered").status, 204);
    real.running.client.create_bucket("gone").await.expect("answered");
    assert_eq!(told(&real.ask(Method::PUT, "/gone/k", &query, &[], "part").await), (404, "NoSuchUpload"));
    real.until_blobs(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn checksums_of_the_whole_come_from_those_of_the_parts() {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD as BASE64;
    use s3s::crypto::{Checksum as _, Crc32, Crc64Nvme, Sha256};

    let real = Real::with_bucket().await;
    let (one, two) = (part(3, 3000), part(7, 100));
    let whole = [one.clone(), two.clone()].concat();
    let enabled = [("x-amz-checksum-mode", "ENABLED")];

    // What boto3 does: CRC32 declared, composite by default.
    let id = real.begin("key", &[("x-amz-checksum-algorithm", "CRC32")]).await;
    let mut list = String::new();
    for (number, body) in [(1, &one), (2, &two)] {
        let sum = BASE64.encode(Crc32::checksum(body));
        let (n, headers) = (number.to_string(), [("x-amz-checksum-crc32", sum.as_str())]);
        let query = [("partNumber", n.as_str()), ("uploadId", &id)];
        let put = real.ask(Method::PUT, "/bucket/key", &query, &headers, body.clone()).await;
        assert_eq!(put.header("x-amz-checksum-crc32"), Some(sum.as_str()), "{put:?}");
        let (tag, number) = (etag(&put), number);
        list += &format!(
            "<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag>\
             <ChecksumCRC32>{sum}</ChecksumCRC32></Part>"
        );
    }
    let query = [("partNumber", "3"), ("uploadId", id.as_str())];
    let wrong =
        real.ask(Method::PUT, "/bucket/key", &query, &[("x-amz-checksum-crc32", "AAAAAA==")], "x").await;
    assert_eq!(told(&wrong), (400, "BadDigest"));
    let other = BASE64.encode(Sha256::checksum(b"x"));
    let wrong = real.ask(Method::PUT, "/bucket/key", &query, &[("x-amz-checksum-sha256", &other)], "x").await;
    assert_eq!(told(&wrong), (400, "InvalidRequest"));
    let lie = list.replacen("<ChecksumCRC32>", "<ChecksumCRC32>AAAA", 1);
    assert_eq!(told(&real.complete("key", &id, &lie).await), (400, "InvalidPart"));
    let declared = [("x-amz-checksum-crc32", "AAAAAA==")];
    assert_eq!(told(&real.complete_with("key", &id, &list, &declared).await), (400, "BadDigest"));
    let done = real.complete("key", &id, &list).await;
    let composite =
        BASE64.encode(Crc32::checksum(&[Crc32::checksum(&one), Crc32::checksum(&two)].concat())) + "-2";
    assert_eq!(
        (text(&done, "ChecksumCRC32"), text(&done, "ChecksumType")),
        (composite.clone(), "COMPOSITE".into())
    );
    let got = real.get(&[], &enabled).await;
    assert_eq!(got.header("x-amz-checksum-crc32"), Some(composite.as_str()));
    assert_eq!(got.header("x-amz-checksum-type"), Some("COMPOSITE"));

    // What the AWS CLI does: CRC64NVME of the whole; parts that declare nothing are computed here.
    let id = real.begin("key", &[("x-amz-checksum-algorithm", "CRC64NVME")]).await;
    let list = real.parts("key", &id, &[(1, one), (2, two)]).await;
    let sum = BASE64.encode(Crc64Nvme::checksum(&whole));
    let declared = [("x-amz-checksum-crc64nvme", sum.as_str()), ("x-amz-checksum-type", "FULL_OBJECT")];
    let done = real.complete_with("key", &id, &list, &declared).await;
    assert_eq!(
        (text(&done, "ChecksumCRC64NVME"), text(&done, "ChecksumType")),
        (sum.clone(), "FULL_OBJECT".into())
    );
    assert_eq!(real.get(&[], &enabled).await.header("x-amz-checksum-crc64nvme"), Some(sum.as_str()));
    assert_eq!(real.events().len(), 2);
}

/// Whoever reads an object gets all of it, even if it is replaced and its files are due meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_parts_is_not_cut_off_by_an_overwrite() {
    use crate::store::Store as _;
    use futures_util::TryStreamExt as _;
    let real = Real::with_bucket().await;
    let id = real.begin("key", &[]).await;
    let parts: Vec<_> = (1..=5).map(|n| (n, part(n as u8, 600_000))).collect();
    let list = real.parts("key", &id, &parts).await;
    assert_eq!(real.complete("key", &id, &list).await.status, 200);
    real.checkpointed().await;
    let object = real.store.object("bucket", "key").expect("readable").expect("there");
    let mut body = real.store.read(&object, 0..object.size).await.expect("readable");
    let first = body.try_next().await.expect("readable").expect("bytes");
    real.running.client.delete("bucket", "key").await.expect("answered");
    for _ in 0..3 {
        real.running.client.put("bucket", "tick", "x").await.expect("answered");
        real.checkpointed().await;
    }
    let mut got = first.to_vec();
    while let Some(run) = body.try_next().await.expect("still there") {
        got.extend_from_slice(&run);
    }
    assert!(got == parts.into_iter().flat_map(|(_, body)| body).collect::<Vec<_>>());
    drop(body);
    real.until_blobs(0).await;
    assert!(matches!(real.store.read(&object, 0..1).await, Err(crate::store::StoreError::Gone)));
}
