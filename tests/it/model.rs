//! Random operations through the S3 API against a small model, with restarts in between: bytes, lists and the
//! events at a target are what the answers said.
//!
//! Must never ask the product what to expect: the model learns from answers alone. An operation is one arm of
//! [`Op`]; what versions need beside it is a list of bodies for each key.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::Method;
use tidings::client::{Listing, Response};

use crate::targets::world::{Receiver, World, target};

/// What a client does.
#[derive(Debug, Clone, Copy)]
enum Op {
    Put,
    Copy,
    Multipart,
    Delete,
    DeleteMany,
    Get,
    List,
    Restart,
}

const OPS: [(Op, u8); 8] = [
    (Op::Put, 12),
    (Op::Copy, 4),
    (Op::Multipart, 3),
    (Op::Delete, 4),
    (Op::DeleteMany, 2),
    (Op::Get, 5),
    (Op::List, 4),
    (Op::Restart, 1),
];

struct Model {
    world: World,
    random: fastrand::Rng,
    objects: BTreeMap<String, Bytes>,
    /// Key and request id of every change that makes an event, in order.
    changes: Vec<(String, String)>,
}

impl Model {
    fn op(&mut self) -> Op {
        let all: u8 = OPS.iter().map(|(_, weight)| weight).sum();
        let mut at = self.random.u8(..all);
        for (op, weight) in OPS {
            if at < weight {
                return op;
            }
            at -= weight;
        }
        Op::List
    }

    /// Keys whose prefixes nest, with characters that must be escaped somewhere.
    fn key(&mut self) -> String {
        format!("{}/{} &+%é/{}", self.random.u8(..2), self.random.u8(..2), self.random.u8(..3))
    }

    /// Empty, in the record, or in a blob of its own: a record takes 1 KiB here.
    fn body(&mut self) -> Bytes {
        let len = *self.random.choice(&[0, 1, 700, 1024, 1025, 5_000, 300_000]).expect("some");
        let mut body = vec![0; len];
        self.random.fill(&mut body);
        body.into()
    }

    async fn ask(&self, method: Method, path: &str, query: &[(&str, &str)], body: &str) -> Response {
        let body = Bytes::from(body.to_owned());
        self.world.s3().request(method, path, query, &[], body).await.expect("an answer")
    }

    fn changed(&mut self, key: &str, answer: &Response) {
        assert!(answer.status.is_success(), "{}", String::from_utf8_lossy(&answer.body));
        let id = answer.header("x-amz-request-id").expect("every answer has one").to_owned();
        self.changes.push((key.to_owned(), id));
    }

    async fn run(&mut self, op: Op) {
        let (key, s3) = (self.key(), self.world.s3());
        match op {
            Op::Put => {
                let body = self.body();
                let answer = s3.put("bucket", &key, body.clone()).await.expect("an answer");
                self.changed(&key, &answer);
                self.objects.insert(key, body);
            }
            Op::Copy => {
                let (from, source) = (self.key(), "x-amz-copy-source");
                let path = tidings::client::sign::encode_path(&format!("/bucket/{from}"));
                let headers = [(source, path.as_str()), ("x-amz-metadata-directive", "REPLACE")];
                let answer = s3.put_with("bucket", &key, "", &headers).await.expect("an answer");
                match self.objects.get(&from).cloned() {
                    Some(body) => {
                        self.changed(&key, &answer);
                        self.objects.insert(key, body);
                    }
                    None => assert_eq!(answer.error_code(), Some("NoSuchKey")),
                }
            }
            Op::Multipart => self.multipart(key).await,
            Op::Delete => {
                let answer = s3.delete("bucket", &key).await.expect("an answer");
                assert_eq!(answer.status, 204);
                if self.objects.remove(&key).is_some() {
                    self.changed(&key, &answer);
                }
            }
            Op::DeleteMany => {
                let mut keys = vec![key, self.key(), self.key()];
                keys.sort();
                keys.dedup();
                let named: String = keys
                    .iter()
                    .map(|key| format!("<Object><Key>{}</Key></Object>", key.replace('&', "&amp;")))
                    .collect();
                let body = format!("<Delete>{named}</Delete>");
                let answer = self.ask(Method::POST, "/bucket", &[("delete", "")], &body).await;
                assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
                for key in keys {
                    if self.objects.remove(&key).is_some() {
                        self.changed(&key, &answer);
                    }
                }
            }
            Op::Get => {
                let answer = s3.get("bucket", &key).await.expect("an answer");
                match self.objects.get(&key) {
                    Some(body) => assert!(answer.status == 200 && answer.body == body, "{key}"),
                    None => assert_eq!(answer.status, 404, "{key}"),
                }
            }
            Op::List => self.check_list().await,
            Op::Restart => {
                drop(s3);
                self.world.stop().await;
                self.world.open(&[]).await.expect("opens again");
            }
        }
    }

    async fn multipart(&mut self, key: String) {
        let (path, body) = (format!("/bucket/{key}"), self.body());
        let begun = self.ask(Method::POST, &path, &[("uploads", "")], "").await;
        let text = String::from_utf8_lossy(&begun.body).into_owned();
        let id = text.split("<UploadId>").nth(1).and_then(|rest| rest.split('<').next()).expect("an id");
        let query = [("partNumber", "3"), ("uploadId", id)];
        let part = self.world.s3().request(Method::PUT, &path, &query, &[], body.clone()).await;
        let part = part.expect("an answer");
        let etag = part.etag().expect("an ETag");
        if self.random.u8(..4) == 0 {
            let aborted = self.ask(Method::DELETE, &path, &[("uploadId", id)], "").await;
            assert_eq!(aborted.status, 204);
            return;
        }
        let list = format!(
            "<CompleteMultipartUpload><Part><PartNumber>3</PartNumber><ETag>{etag}</ETag></Part>\
             </CompleteMultipartUpload>"
        );
        let done = self.ask(Method::POST, &path, &[("uploadId", id)], &list).await;
        self.changed(&key, &done);
        self.objects.insert(key, body);
    }

    /// All pages, of a size that cuts them anywhere.
    async fn check_list(&mut self) {
        let prefix = *self.random.choice(&["", "0/", "1/1", "2"]).expect("some");
        let size = self.random.u8(1..6).to_string();
        let (mut found, mut next) = (Vec::new(), None::<String>);
        loop {
            let mut query = vec![("prefix", prefix), ("max-keys", &size)];
            if let Some(token) = &next {
                query.push(("continuation-token", token));
            }
            let answer = self.world.s3().list_v2("bucket", &query).await.expect("an answer");
            let page = Listing::parse(&answer.body).expect("a list");
            found.extend(page.objects.into_iter().map(|object| (object.key, object.size)));
            next = page.next;
            if next.is_none() {
                break;
            }
        }
        let wanted = self.objects.iter().filter(|(key, _)| key.starts_with(prefix));
        let wanted: Vec<_> = wanted.map(|(key, body)| (key.clone(), body.len() as u64)).collect();
        assert_eq!(found, wanted, "prefix {prefix:?}");
    }

    /// Each key's events are its changes, in order; a restart may repeat some.
    async fn check_events(&self, receiver: &Receiver) {
        let came = receiver.wait_for(self.changes.len()).await;
        self.world.settled("all").await;
        let of = |all: &[(String, String)]| {
            let mut by_key = BTreeMap::<String, Vec<String>>::new();
            for (key, id) in all {
                let ids = by_key.entry(key.clone()).or_default();
                if !ids.contains(id) {
                    ids.push(id.clone());
                }
            }
            by_key
        };
        let decode = |(key, id): &(String, String)| (decoded(key), id.clone());
        let came: Vec<_> = came.iter().map(decode).collect();
        assert_eq!(of(&came), of(&self.changes));
    }
}

/// The key of a record, which is written as in a form.
fn decoded(key: &str) -> String {
    let mut pieces = key.split('%');
    let mut bytes = pieces.next().unwrap_or_default().replace('+', " ").into_bytes();
    for piece in pieces {
        let (hex, rest) = piece.split_at(2);
        bytes.push(u8::from_str_radix(hex, 16).expect("two hex digits"));
        bytes.extend_from_slice(rest.replace('+', " ").as_bytes());
    }
    String::from_utf8(bytes).expect("UTF-8")
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_clients_do_bytes_lists_and_events_are_what_they_were_told() {
    let seed = std::env::var("TIDINGS_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    println!("TIDINGS_SEED={seed}");
    let receiver = Receiver::start(true).await;
    let world = World::start(&target("all", &receiver.url, "", "")).await;
    let random = fastrand::Rng::with_seed(seed);
    let mut model = Model { world, random, objects: BTreeMap::new(), changes: Vec::new() };
    for step in 0..400 {
        let op = model.op();
        println!("{step}: {op:?}");
        model.run(op).await;
    }
    model.check_list().await;
    for (key, body) in model.objects.clone() {
        let answer = model.world.s3().get("bucket", &key).await.expect("an answer");
        assert!(answer.status == 200 && answer.body == body, "{key}");
    }
    model.check_events(&receiver).await;
    model.world.stop().await;
}
