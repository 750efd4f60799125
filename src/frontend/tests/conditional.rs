//! Conditional deletions and copies, and requests that race, over the real store.

use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::real::Real;
use super::support::{assert_complete_error, read_all, told};
use crate::client::Response;
use crate::client::sign::payload_hash;

const SIZE: &str = "x-amz-if-match-size";
const TIME: &str = "x-amz-if-match-last-modified-time";

impl Real {
    async fn delete_if(&self, key: &str, headers: &[(&str, &str)]) -> Response {
        self.ask(Method::DELETE, &format!("/bucket/{key}"), &[], headers, "").await
    }

    async fn put_if(&self, key: &str, body: &'static str, headers: &[(&str, &str)]) -> Response {
        self.running.client.put_with("bucket", key, body, headers).await.expect("answered")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_obey_their_conditions() {
    let real = Real::with_bucket().await;
    let put = real.put_if("key", "hello", &[]).await;
    let etag = format!("\"{}\"", put.etag().expect("an ETag"));
    let head = real.running.client.head("bucket", "key").await.expect("answered");
    let made = head.header("last-modified").expect("a time").to_owned();
    let past = "Thu, 01 Jan 1998 00:00:00 GMT";
    let failed = (412, "PreconditionFailed");
    for (headers, answer) in [
        (&[("if-match", "\"00\"")][..], failed),
        (&[(SIZE, "4")], failed),
        (&[(SIZE, "-1")], failed),
        (&[(SIZE, "five")], (400, "InvalidArgument")),
        (&[(TIME, past)], failed),
        (&[(TIME, "yesterday")], (400, "InvalidArgument")),
        // Each of them must hold.
        (&[("if-match", &etag), (SIZE, "4")], failed),
        (&[("if-match", "*"), (TIME, past)], failed),
        (&[("if-none-match", "*")], (501, "NotImplemented")),
        (&[("if-unmodified-since", past)], (501, "NotImplemented")),
    ] {
        let refused = real.delete_if("key", headers).await;
        assert_eq!(told(&refused), answer, "{headers:?}");
        assert_complete_error(&refused);
    }
    // An object that is not there has no ETag to match; size and time say nothing about it.
    assert_eq!(told(&real.delete_if("none", &[("if-match", "*")]).await), (404, "NoSuchKey"));
    assert_eq!(real.delete_if("none", &[(SIZE, "5"), (TIME, past)]).await.status, 204);
    assert_eq!(real.events().len(), 1, "nothing happened");
    let gone = real.delete_if("key", &[("if-match", &etag), (SIZE, "5"), (TIME, &made)]).await;
    assert_eq!(gone.status, 204, "{gone:?}");
    assert_eq!(real.events().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_key_of_a_list_has_its_conditions() {
    let real = Real::with_bucket().await;
    let mut etags = Vec::new();
    for key in ["a", "b", "c"] {
        etags.push(real.put_if(key, "hello", &[]).await.etag().expect("an ETag").to_owned());
    }
    let object = |key: &str, more: &str| format!("<Object><Key>{key}</Key>{more}</Object>");
    let body = format!(
        "<Delete>{}{}{}{}</Delete>",
        object("a", &format!("<ETag>&quot;{}&quot;</ETag><Size>5</Size>", etags[0])),
        object("b", "<ETag>\"00\"</ETag>"),
        object("c", "<LastModifiedTime>Thu, 01 Jan 1998 00:00:00 GMT</LastModifiedTime>"),
        object("none", "<ETag>\"00\"</ETag>"),
    );
    let md5 = md5_of(&body);
    let answer = real.ask(Method::POST, "/bucket", &[("delete", "")], &[("content-md5", &md5)], body).await;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert_eq!(answer.status, 200, "{text}");
    assert!(text.contains("<Deleted><Key>a</Key></Deleted>"), "{text}");
    assert_eq!(text.matches("<Code>PreconditionFailed</Code>").count(), 2, "{text}");
    assert_eq!(text.matches("<Code>NoSuchKey</Code>").count(), 1, "{text}");
    assert_eq!(real.events().len(), 4, "one key went");
}

fn md5_of(body: &str) -> String {
    use base64::Engine as _;
    use md5::Digest as _;
    base64::engine::general_purpose::STANDARD.encode(md5::Md5::digest(body))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_obeys_the_conditions_of_its_target() {
    let real = Real::with_bucket().await;
    real.put_if("source", "new", &[]).await;
    let there = format!("\"{}\"", real.put_if("there", "old", &[]).await.etag().expect("an ETag"));
    let copy = async |to: &str, condition: (&str, &str)| {
        let headers = [("x-amz-copy-source", "bucket/source"), condition];
        real.ask(Method::PUT, &format!("/bucket/{to}"), &[], &headers, "").await
    };
    assert_eq!(told(&copy("there", ("if-none-match", "*")).await), (412, "PreconditionFailed"));
    assert_eq!(told(&copy("there", ("if-match", "\"00\"")).await), (412, "PreconditionFailed"));
    assert_eq!(told(&copy("none", ("if-match", "*")).await), (404, "NoSuchKey"));
    assert_eq!(told(&copy("none", ("if-match", "not an etag")).await), (400, "InvalidArgument"));
    assert_eq!(real.events().len(), 2);
    assert_eq!(copy("there", ("if-match", &there)).await.status, 200);
    assert_eq!(copy("none", ("if-none-match", "*")).await.status, 200);
    assert_eq!(real.events().len(), 4);
    let id = real.begin("key", &[]).await;
    let query = [("partNumber", "1"), ("uploadId", id.as_str())];
    let headers = [("x-amz-copy-source", "bucket/source"), ("if-none-match", "*")];
    let part = real.ask(Method::PUT, "/bucket/key", &query, &headers, "").await;
    assert_eq!(told(&part), (501, "NotImplemented"), "parts have no conditions");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_race_for_a_key_one_wins() {
    let real = Real::with_bucket().await;
    for round in 0..5 {
        let key = format!("key {round}");
        let racing = (0..16).map(|_| real.put_if(&key, "x", &[("if-none-match", "*")]));
        let answers = futures_util::future::join_all(racing).await;
        assert_eq!(answers.iter().filter(|a| a.status == 200).count(), 1, "{answers:?}");
        assert_eq!(answers.iter().filter(|a| told(a) == (412, "PreconditionFailed")).count(), 15);
        let going = (0..16).map(|_| real.delete_if(&key, &[("if-match", "*")]));
        let answers = futures_util::future::join_all(going).await;
        assert_eq!(answers.iter().filter(|a| a.status == 204).count(), 1, "{answers:?}");
        assert_eq!(answers.iter().filter(|a| told(a) == (404, "NoSuchKey")).count(), 15);
    }
    assert_eq!(real.events().len(), 10);
}

/// The body is asked for once the conditions were seen to hold; then the object goes.
#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_goes_during_the_upload_is_a_conflict() {
    let real = Real::with_bucket().await;
    real.put_if("key", "old", &[]).await;
    let running = &real.running;
    let more = [("if-match", "*")];
    let (headers, ..) = running.sign("PUT", "/bucket/key", &[], &payload_hash(b"new"), &more);
    let mut head = "PUT /bucket/key HTTP/1.1\r\n".to_owned();
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += "content-length: 3\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n";
    let mut socket = running.raw(head.as_bytes()).await;
    let mut told = [0; 25];
    socket.read_exact(&mut told).await.expect("an interim answer");
    assert!(told.starts_with(b"HTTP/1.1 100 Continue"), "{}", String::from_utf8_lossy(&told));
    assert_eq!(real.delete_if("key", &[]).await.status, 204);
    socket.write_all(b"new").await.expect("writable");
    let answer = read_all(socket).await;
    assert!(answer.starts_with("HTTP/1.1 409") && answer.contains("ConditionalRequestConflict"), "{answer}");
    assert_eq!(real.events().len(), 2, "nothing was made");
}
