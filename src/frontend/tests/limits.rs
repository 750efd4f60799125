//! Limits of what clients have going on: what is over one is refused at once, and nobody else notices.
//!
//! Must never measure time: what is going on is held open.

use http::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::memory::Memory;
use super::multipart::text;
use super::real::Real;
use super::rest::answer;
use super::support::{
    ACCESS_KEY, OTHER_KEY, OTHER_SECRET, Running, assert_complete_error, read_all, server_config, told,
};
use crate::client::sign::payload_hash;
use crate::client::{Client, Response};
use crate::config::Limits;

async fn limited(limits: Limits) -> Running {
    let (commit, memory) = Memory::commit();
    let running = Running::start_limited(server_config(), &limits, commit, memory).await;
    // Over a connection that does not stay.
    let (mut headers, ..) =
        running.sign("PUT", "/bucket", &[], &payload_hash(b""), &[("connection", "close")]);
    headers.push(("content-length".into(), "0".into()));
    assert_eq!(running.send(Method::PUT, "/bucket", &headers, "").await.status, 200);
    running
}

/// Asks until the answer is a refusal for the sake of a limit.
async fn until_refused(client: &Client) -> Response {
    let refused = async {
        loop {
            let answer = client.put("bucket", "probe", "x").await.expect("answered");
            if answer.status != 200 {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), refused).await.expect("a refusal")
}

async fn until_taken(client: &Client) {
    let taken = async {
        while client.put("bucket", "probe", "x").await.expect("answered").status != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), taken).await.expect("room again");
}

#[track_caller]
fn assert_slow_down(answer: &Response, says: &str) {
    assert_eq!(told(answer), (503, "SlowDown"));
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert!(text(answer, "Message").contains(says), "{answer:?}");
    assert_complete_error(answer);
}

impl Running {
    /// A PUT whose body does not come.
    async fn stuck(&self) -> TcpStream {
        let head = self.raw_head("PUT", "/bucket/stuck", &payload_hash(b"x"), "content-length: 1\r\n");
        self.raw(&head).await
    }
}

#[tokio::test]
async fn one_key_cannot_take_the_uploads_of_another() {
    let running = limited(Limits { uploads_per_key: 2, uploads: 3, ..Limits::default() }).await;
    let other = running.client_of(OTHER_KEY, OTHER_SECRET);
    let (first, _second) = (running.stuck().await, running.stuck().await);
    let answer = until_refused(&running.client).await;
    assert_slow_down(&answer, "Too many uploads with this access key");
    for _ in 0..20 {
        assert_eq!(other.put("bucket", "key", "x").await.expect("answered").status, 200);
    }
    assert_eq!(running.client.get("bucket", "key").await.expect("answered").status, 200, "no upload");
    assert_eq!(running.client.delete("bucket", "key").await.expect("answered").status, 204);
    // With the body of one there is room again.
    let mut first = first;
    first.write_all(b"x").await.expect("open");
    until_taken(&running.client).await;
}

#[tokio::test]
async fn all_together_are_limited_too() {
    let running = limited(Limits { uploads_per_key: 2, uploads: 2, ..Limits::default() }).await;
    let stuck = (running.stuck().await, running.stuck().await);
    let other = running.client_of(OTHER_KEY, OTHER_SECRET);
    let answer = until_refused(&other).await;
    assert_slow_down(&answer, "Too many uploads of all clients");
    // A client that goes away gives its place back.
    drop(stuck);
    until_taken(&other).await;
}

/// A request goes on until its answer is out: who does not read holds only its own places.
#[tokio::test]
async fn an_answer_that_nobody_reads_counts() {
    let running = limited(Limits { requests_per_key: 1, ..Limits::default() }).await;
    let body = vec![7; 8 << 20];
    assert_eq!(running.client.put("bucket", "large", body).await.expect("answered").status, 200);
    let mut head = running.raw_head("GET", "/bucket/large", &payload_hash(b""), "connection: close\r\n");
    let mut reader = running.raw(&std::mem::take(&mut head)).await;
    let mut first = [0; 12];
    reader.read_exact(&mut first).await.expect("answered");
    assert_eq!(&first, b"HTTP/1.1 200");
    let answer = until_refused(&running.client).await;
    assert_slow_down(&answer, "Too many requests with this access key");
    let other = running.client_of(OTHER_KEY, OTHER_SECRET);
    assert_eq!(other.get("bucket", "large").await.expect("answered").status, 200);
    let rest = read_all(reader).await;
    assert!(rest.len() >= 8 << 20, "{}", rest.len());
    until_taken(&running.client).await;
}

#[tokio::test]
async fn connections_are_limited_by_key_and_by_address() {
    let running = limited(Limits { connections_per_key: 1, ..Limits::default() }).await;
    assert_eq!(running.client.put("bucket", "key", "x").await.expect("answered").status, 200);
    let head = running.raw_head("GET", "/bucket/key", &payload_hash(b""), "");
    // The client's connection is open: another one with its key is refused, and closed.
    let answer = read_all(running.raw(&head).await).await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("connection: close"), "{answer}");
    assert!(answer.contains("Too many connections with this access key"), "{answer}");
    let other = running.client_of(OTHER_KEY, OTHER_SECRET);
    assert_eq!(other.get("bucket", "key").await.expect("answered").status, 200);

    let running = limited(Limits { connections_per_address: 2, ..Limits::default() }).await;
    assert_eq!(running.client.put("bucket", "key", "x").await.expect("answered").status, 200);
    let second = running.raw(b"").await;
    let closed = async {
        loop {
            // The first connection may still be on its way out.
            let third = running.raw(b"").await;
            if read_to_end_at_once(third).await {
                return;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), closed).await.expect("one too many is closed");
    assert_eq!(
        running.client.get("bucket", "key").await.expect("answered").status,
        200,
        "who is in stays in"
    );
    drop(second);
}

/// True if the server closes without a word; false if it waits for a request.
async fn read_to_end_at_once(mut socket: TcpStream) -> bool {
    let _ = socket.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    let mut got = Vec::new();
    let _ = socket.read_to_end(&mut got).await;
    got.is_empty()
}

#[tokio::test(flavor = "multi_thread")]
async fn open_uploads_are_limited_and_counted_over_restarts() {
    let real = Real::with_bucket().await;
    assert_eq!(real.commit.limit_open_uploads(2, 3).expect("readable"), 0);
    let begin = async |client: &Client| {
        let query = [("uploads", "")];
        client.request(Method::POST, "/bucket/big", &query, &[], "".into()).await.expect("answered")
    };
    let client = &real.running.client;
    let first = text(&begin(client).await, "UploadId");
    let second = text(&begin(client).await, "UploadId");
    let end = real.queue.stat().durable_end;
    assert_slow_down(&begin(client).await, "Too many multipart uploads with this access key");
    let other = real.running.client_of(OTHER_KEY, OTHER_SECRET);
    assert_eq!(begin(&other).await.status, 200);
    assert_slow_down(&begin(&other).await, "Too many multipart uploads of all clients");
    assert_eq!(real.queue.stat().durable_end, end + 1, "what is refused leaves no entry");

    // One is aborted, one becomes an object: each makes room, once.
    let query = [("uploadId", first.as_str())];
    for status in [204, 404] {
        let aborted = client.request(Method::DELETE, "/bucket/big", &query, &[], "".into()).await;
        assert_eq!(aborted.expect("answered").status, status);
    }
    let query = [("partNumber", "1"), ("uploadId", second.as_str())];
    let part =
        client.request(Method::PUT, "/bucket/big", &query, &[], "part".into()).await.expect("answered");
    let etag = part.header("etag").expect("an ETag");
    let list = format!("<Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>");
    let list = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
    for _ in 0..2 {
        let query = [("uploadId", second.as_str())];
        let done = client.request(Method::POST, "/bucket/big", &query, &[], list.clone().into()).await;
        assert_eq!(done.expect("answered").status, 200);
    }
    assert_eq!(begin(client).await.status, 200);

    let real = real.restart().await;
    real.checkpointed().await;
    assert_eq!(real.commit.limit_open_uploads(2, 3).expect("readable"), 2, "one of each key");
    let client = real.running.client_of(ACCESS_KEY, super::support::SECRET);
    assert_eq!(begin(&client).await.status, 200);
    assert_slow_down(&begin(&client).await, "Too many multipart uploads of all clients");
    real.commit.expire_uploads(std::time::Duration::ZERO, i64::MAX).await.expect("ended");
    assert_eq!(begin(&client).await.status, 200);
}

/// Uploads whose time is over, in a bucket that goes at the same moment: each is ended once, and counted away
/// once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_that_expire_while_their_bucket_goes_are_ended_once() {
    const KEPT: usize = 40;
    const GOING: usize = 30;
    let real = Real::with_bucket().await;
    let client = &real.running.client;
    let begin = async |bucket: &str| {
        let path = format!("/{bucket}/big");
        client.request(Method::POST, &path, &[("uploads", "")], &[], "".into()).await.expect("answered")
    };
    assert_eq!(real.commit.limit_open_uploads(KEPT + GOING, usize::MAX).expect("readable"), 0);
    for round in 0..4 {
        assert_eq!(client.create_bucket("going").await.expect("answered").status, 200);
        for _ in 0..GOING {
            assert_eq!(begin("going").await.status, 200, "round {round}");
        }
        // Only the index tells which are old.
        real.checkpointed().await;
        let end = real.queue.stat().durable_end;
        // Whichever is first, the other comes in its middle.
        let begun = async || {
            while real.queue.stat().durable_end == end {
                tokio::task::yield_now().await
            }
        };
        let expire = async {
            if round % 2 == 0 {
                begun().await;
            }
            real.commit.expire_uploads(std::time::Duration::ZERO, i64::MAX).await.expect("possible");
        };
        let delete = async {
            if round % 2 == 1 {
                begun().await;
            }
            assert_eq!(client.delete_bucket("going").await.expect("answered").status, 204, "round {round}");
        };
        let both = async { tokio::join!(expire, delete) };
        tokio::time::timeout(std::time::Duration::from_secs(60), both).await.expect("both end");
        let ended = real.queue.stat().durable_end - end;
        assert_eq!(ended, GOING as u64 + 1, "round {round}: each upload's end, and the bucket's");
    }
    // Nothing was counted away twice: there is room for so many, and for no more.
    for _ in 0..KEPT + GOING {
        assert_eq!(begin("bucket").await.status, 200);
    }
    assert_slow_down(&begin("bucket").await, "Too many multipart uploads with this access key");
}

/// `store.max_bytes`: what brings more is refused, the rest goes on, and removals make room.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_have_a_disk_budget_of_their_own() {
    let real = Real::with_bucket().await;
    let (client, store) = (&real.running.client, std::sync::Arc::clone(&real.store));
    real.commit.limit_bodies(250_000, move || store.body_bytes().total());
    let both = (real.commit.reserve_body(200_000), real.commit.reserve_body(200_000));
    assert!(both.0.is_ok() && both.1.is_err(), "two that come at once do not share the same room");
    drop(both);
    let put = async |key: &str, bytes: usize| {
        client.put("bucket", key, vec![1; bytes]).await.is_ok_and(|answer| answer.status == 200)
    };
    let until_put = async |key: &str| {
        let put = async { while !put(key, 66_000).await {} };
        tokio::time::timeout(std::time::Duration::from_secs(60), put).await.expect("room again");
    };
    let refused = async |key: &str| {
        let head = format!("/bucket/{key}");
        let head = real.running.raw_head("PUT", &head, &payload_hash(b""), "content-length: 66000\r\n");
        let said = answer(&mut real.running.raw(&head).await).await;
        assert!(said.starts_with("HTTP/1.1 503") && said.contains("SlowDown"), "{key}: {said}");
    };
    assert!(put("one", 150_000).await && put("two", 66_000).await);
    real.checkpointed().await;
    let (end, files) = (real.queue.stat().durable_end, real.blob_files());
    refused("three").await;
    refused("two").await;
    let copy =
        client.request(Method::PUT, "/bucket/copy", &[], &[("x-amz-copy-source", "bucket/one")], "".into());
    assert_slow_down(&copy.await.expect("answered"), "No space");
    assert_eq!((real.queue.stat().durable_end, real.blob_files()), (end, files), "nothing happened");
    assert!(put("empty", 0).await, "nothing takes no room");
    assert_eq!(client.get("bucket", "one").await.expect("answered").body.len(), 150_000);
    assert_eq!(client.delete("bucket", "two").await.expect("answered").status, 204);
    until_put("two").await;
}
