//! Random operations through the S3 API against a small model, with restarts in between: bytes, versions,
//! tags, lists and the events at a target are what the answers said.
//!
//! Must never ask the product what to expect: the model learns from answers alone. An operation is one arm of
//! [`Op`].

mod kept;
mod told;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use bytes::Bytes;
use http::Method;
use tidings::client::sign::encode_path;
use tidings::client::{Listing, Response};

use self::kept::{Kept, Made, Mode};
use self::told::{Told, element, elements};
use crate::targets::world::{Receiver, World, target};

/// One never has versioning, the other is switched back and forth.
const BUCKETS: [&str; 2] = ["bucket", "kept"];

/// What a client does.
#[derive(Debug, Clone, Copy)]
enum Op {
    Put,
    Copy,
    Multipart,
    Delete,
    DeleteVersion,
    DeleteMany,
    Tag,
    Get,
    List,
    ListVersions,
    Switch,
    Restart,
}

const OPS: [(Op, u8); 12] = [
    (Op::Put, 12),
    (Op::Copy, 6),
    (Op::Multipart, 4),
    (Op::Delete, 5),
    (Op::DeleteVersion, 6),
    (Op::DeleteMany, 3),
    (Op::Tag, 4),
    (Op::Get, 5),
    (Op::List, 4),
    (Op::ListVersions, 4),
    (Op::Switch, 2),
    (Op::Restart, 1),
];

struct Model {
    world: World,
    random: fastrand::Rng,
    kept: BTreeMap<&'static str, Kept>,
    /// Every change that makes an event, in order.
    changes: Vec<Told>,
}

/// A body or a document that was answered as success.
#[track_caller]
fn ok(answer: &Response) -> String {
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(answer.status.is_success(), "{}: {text}", answer.status);
    text
}

fn version_of(answer: &Response) -> Option<String> {
    answer.header("x-amz-version-id").map(str::to_owned)
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

    fn bucket(&mut self) -> &'static str {
        self.random.choice(BUCKETS).expect("some")
    }

    /// Keys whose prefixes nest, with characters that must be escaped somewhere.
    fn key(&mut self) -> String {
        format!("{}/{} &+%é/{}", self.random.u8(..2), self.random.u8(..2), self.random.u8(..2))
    }

    /// Empty, in the record, or in a blob of its own: a record takes 1 KiB here.
    fn body(&mut self) -> Bytes {
        let len = *self.random.choice(&[0, 1, 700, 1024, 1025, 5_000, 300_000]).expect("some");
        let mut body = vec![0; len];
        self.random.fill(&mut body);
        body.into()
    }

    fn tags(&mut self) -> BTreeMap<String, String> {
        (0..self.random.u8(..3)).map(|n| (format!("tag{n}"), self.random.u16(..).to_string())).collect()
    }

    /// A version of this key, now and then one of another's; none: the current object.
    fn some_version(&mut self, bucket: &str, key: &str) -> Option<String> {
        let other = self.key();
        let of = if self.random.u8(..8) == 0 { &other } else { key };
        let versions = self.kept[bucket].versions(of);
        let named = self.random.choice(versions).map(|made| made.name().to_owned());
        named.filter(|_| self.random.u8(..4) > 0)
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Response {
        let s3 = self.world.s3();
        let asked = s3.request(method, path, query, headers, body.into());
        let answer = asked.await.expect("an answer");
        assert!(answer.status.as_u16() < 500, "{answer:?}");
        answer
    }

    fn changed(
        &mut self,
        bucket: &str,
        key: &str,
        name: &'static str,
        version: Option<String>,
        by: &Response,
    ) {
        let request = by.header("x-amz-request-id").expect("every answer has one").to_owned();
        self.changes.push(Told { bucket: bucket.to_owned(), key: key.to_owned(), name, version, request });
    }

    fn of(&mut self, bucket: &str) -> &mut Kept {
        self.kept.get_mut(bucket).expect("one of the two")
    }

    /// A change made a new version.
    fn made(&mut self, bucket: &str, key: &str, name: &'static str, mut made: Made, by: &Response) {
        ok(by);
        made.version = version_of(by);
        self.changed(bucket, key, name, made.version.clone(), by);
        self.of(bucket).add(key, made);
    }

    async fn run(&mut self, op: Op) {
        let (bucket, key) = (self.bucket(), self.key());
        match op {
            Op::Put => {
                let (body, tags) = (self.body(), self.tags());
                let pairs: Vec<_> = tags.iter().map(|(name, value)| format!("{name}={value}")).collect();
                let (pairs, path) = (pairs.join("&"), format!("/{bucket}/{key}"));
                let headers = [("x-amz-tagging", pairs.as_str())];
                let headers = if tags.is_empty() { &[][..] } else { &headers };
                let answer = self.ask(Method::PUT, &path, &[], headers, body.clone()).await;
                let made = Made { version: None, marker: false, body, tags };
                self.made(bucket, &key, "ObjectCreated:Put", made, &answer);
            }
            Op::Copy => self.copy(bucket, &key).await,
            Op::Multipart => self.multipart(bucket, &key).await,
            Op::Delete => {
                let answer = self.ask(Method::DELETE, &format!("/{bucket}/{key}"), &[], &[], "").await;
                assert_eq!(answer.status, 204);
                let (marker, id) = (answer.header("x-amz-delete-marker").is_some(), version_of(&answer));
                self.deleted(bucket, &key, None, marker.then_some(id), &answer);
            }
            Op::DeleteVersion => {
                let Some(version) = self.some_version(bucket, &key) else { return };
                let (path, query) = (format!("/{bucket}/{key}"), [("versionId", version.as_str())]);
                let answer = self.ask(Method::DELETE, &path, &query, &[], "").await;
                assert_eq!(answer.status, 204);
                let marker = answer.header("x-amz-delete-marker").is_some();
                self.deleted(bucket, &key, Some(&version), marker.then(|| version_of(&answer)), &answer);
            }
            Op::DeleteMany => self.delete_many(bucket, key).await,
            Op::Tag => self.tag(bucket, &key).await,
            Op::Get => {
                let version = self.some_version(bucket, &key);
                self.check_version(bucket, &key, version.as_deref()).await;
            }
            Op::List => self.check_list(bucket).await,
            Op::ListVersions => self.check_versions(bucket).await,
            Op::Switch => {
                let (mode, word) = match self.kept["kept"].mode {
                    Mode::Enabled => (Mode::Suspended, "Suspended"),
                    _ => (Mode::Enabled, "Enabled"),
                };
                let body =
                    format!("<VersioningConfiguration><Status>{word}</Status></VersioningConfiguration>");
                ok(&self.ask(Method::PUT, "/kept", &[("versioning", "")], &[], body).await);
                self.of("kept").switch(mode);
            }
            Op::Restart => {
                self.world.stop().await;
                self.world.open(&[]).await.expect("opens again");
            }
        }
    }

    /// A removal was answered; `marker`: a delete marker with this name was made, or is gone.
    fn deleted(
        &mut self,
        bucket: &str,
        key: &str,
        version: Option<&str>,
        marker: Option<Option<String>>,
        by: &Response,
    ) {
        const GONE: &str = "ObjectRemoved:Delete";
        let never = self.kept[bucket].mode == Mode::Never;
        match version {
            None if !never => {
                let name = marker.expect("a delete marker comes on top");
                self.changed(bucket, key, "ObjectRemoved:DeleteMarkerCreated", name.clone(), by);
                self.of(bucket).add(key, Made::marker(name));
            }
            version => {
                let name = version.unwrap_or("null");
                let gone = self.of(bucket).remove(key, name);
                let was_marker = gone.as_ref().is_some_and(|gone| gone.marker);
                assert_eq!(marker.is_some(), was_marker, "{bucket} {key} {name}");
                if gone.is_some() {
                    let told = Some(name.to_owned()).filter(|_| !never);
                    self.changed(bucket, key, GONE, told, by);
                }
            }
        }
    }

    async fn copy(&mut self, bucket: &str, key: &str) {
        let (from, source) = (self.bucket(), self.key());
        let version = self.some_version(from, &source);
        let suffix = version.as_ref().map_or_else(String::new, |id| format!("?versionId={id}"));
        let named = encode_path(&format!("/{from}/{source}")) + &suffix;
        let headers = [("x-amz-copy-source", named.as_str()), ("x-amz-metadata-directive", "REPLACE")];
        let answer = self.ask(Method::PUT, &format!("/{bucket}/{key}"), &[], &headers, "").await;
        match self.kept[from].version(&source, version.as_deref()).cloned() {
            Some(found) if found.marker => assert_eq!(answer.error_code(), Some("InvalidRequest")),
            Some(found) => {
                let of = answer.header("x-amz-copy-source-version-id").map(str::to_owned);
                assert_eq!(of, found.version, "{from} {source}");
                self.made(bucket, key, "ObjectCreated:Copy", found, &answer);
            }
            None => {
                let code = if version.is_some() { "NoSuchVersion" } else { "NoSuchKey" };
                assert_eq!(answer.error_code(), Some(code), "{from} {source}");
            }
        }
    }

    async fn delete_many(&mut self, bucket: &str, key: String) {
        let keys: BTreeSet<_> = [key, self.key(), self.key()].into();
        let named: Vec<_> = keys
            .into_iter()
            .map(|key| {
                let version = self.some_version(bucket, &key);
                (key, version)
            })
            .collect();
        let listed = named.iter().map(|(key, version)| {
            let version = version.as_ref().map(|id| format!("<VersionId>{id}</VersionId>"));
            let (key, version) = (key.replace('&', "&amp;"), version.unwrap_or_default());
            format!("<Object><Key>{key}</Key>{version}</Object>")
        });
        let body = format!("<Delete>{}</Delete>", listed.collect::<String>());
        let answer = self.ask(Method::POST, &format!("/{bucket}"), &[("delete", "")], &[], body).await;
        let said = elements(&ok(&answer), "Deleted");
        assert_eq!(said.len(), named.len());
        for ((key, version), said) in named.iter().zip(said) {
            assert_eq!((element(&said, "Key").as_ref(), &element(&said, "VersionId")), (Some(key), version));
            let marker = element(&said, "DeleteMarker").map(|_| element(&said, "DeleteMarkerVersionId"));
            self.deleted(bucket, key, version.as_deref(), marker, &answer);
        }
    }

    async fn tag(&mut self, bucket: &str, key: &str) {
        let (version, tags) = (self.some_version(bucket, key), self.tags());
        let found = self.kept[bucket].version(key, version.as_deref()).cloned();
        let set =
            tags.iter().map(|(name, value)| format!("<Tag><Key>{name}</Key><Value>{value}</Value></Tag>"));
        let body = format!("<Tagging><TagSet>{}</TagSet></Tagging>", set.collect::<String>());
        let mut query = vec![("tagging", "")];
        query.extend(version.as_deref().map(|id| ("versionId", id)));
        let answer = self.ask(Method::PUT, &format!("/{bucket}/{key}"), &query, &[], body).await;
        match found {
            Some(found) if !found.marker => {
                ok(&answer);
                assert_eq!(version_of(&answer), found.version);
                self.of(bucket).tag(key, version.as_deref(), tags);
            }
            _ => assert!(answer.status.is_client_error(), "{answer:?}"),
        }
    }

    async fn multipart(&mut self, bucket: &str, key: &str) {
        let (path, body) = (format!("/{bucket}/{key}"), self.body());
        let begun = self.ask(Method::POST, &path, &[("uploads", "")], &[], "").await;
        let id = element(&ok(&begun), "UploadId").expect("an id");
        let query = [("partNumber", "3"), ("uploadId", id.as_str())];
        let part = self.ask(Method::PUT, &path, &query, &[], body.clone()).await;
        let etag = part.etag().expect("an ETag");
        let of_upload = [("uploadId", id.as_str())];
        if self.random.u8(..4) == 0 {
            let aborted = self.ask(Method::DELETE, &path, &of_upload, &[], "").await;
            assert_eq!(aborted.status, 204);
            return;
        }
        let list = format!(
            "<CompleteMultipartUpload><Part><PartNumber>3</PartNumber><ETag>{etag}</ETag></Part>\
             </CompleteMultipartUpload>"
        );
        let done = self.ask(Method::POST, &path, &of_upload, &[], list.clone()).await;
        let made = Made { version: None, marker: false, body, tags: BTreeMap::new() };
        self.made(bucket, key, "ObjectCreated:CompleteMultipartUpload", made, &done);
        if self.random.bool() {
            let again = self.ask(Method::POST, &path, &of_upload, &[], list).await;
            assert_eq!((ok(&again), version_of(&again)), (ok(&done), version_of(&done)));
        }
    }

    /// One version, or the current object: whether it is there, its bytes, its name and its tags.
    async fn check_version(&self, bucket: &str, key: &str, version: Option<&str>) {
        let path = format!("/{bucket}/{key}");
        let query: Vec<_> = version.map(|id| ("versionId", id)).into_iter().collect();
        let answer = self.ask(Method::GET, &path, &query, &[], "").await;
        let what = format!("{bucket} {key} {version:?}");
        let Some(made) = self.kept[bucket].version(key, version) else {
            assert_eq!(answer.status, 404, "{what}");
            let hidden = version.is_none() && !self.kept[bucket].versions(key).is_empty();
            return assert_eq!(answer.header("x-amz-delete-marker"), hidden.then_some("true"), "{what}");
        };
        if made.marker {
            return assert_eq!(answer.status, 405, "{what}");
        }
        assert!(answer.status == 200 && answer.body == made.body, "{what}");
        assert_eq!(version_of(&answer), made.version, "{what}");
        let count = answer.header("x-amz-tagging-count").map_or(0, |n| n.parse().expect("a number"));
        assert_eq!(count, made.tags.len(), "{what}");
        let query: Vec<_> = query.into_iter().chain([("tagging", "")]).collect();
        let tags = ok(&self.ask(Method::GET, &path, &query, &[], "").await);
        let tags = elements(&tags, "Key").into_iter().zip(elements(&tags, "Value")).collect();
        assert_eq!(made.tags, tags, "{what}");
    }

    fn prefix(&mut self) -> &'static str {
        self.random.choice(["", "0/", "1/1", "2"]).expect("some")
    }

    /// All pages, of a size that cuts them anywhere.
    async fn check_list(&mut self, bucket: &str) {
        let (prefix, size) = (self.prefix(), self.random.u8(1..6).to_string());
        let (mut found, mut next) = (Vec::new(), None::<String>);
        loop {
            let mut query = vec![("prefix", prefix), ("max-keys", &size)];
            query.extend(next.as_deref().map(|token| ("continuation-token", token)));
            let answer = self.world.s3().list_v2(bucket, &query).await.expect("an answer");
            let page = Listing::parse(&answer.body).expect("a list");
            found.extend(page.objects.into_iter().map(|object| (object.key, object.size)));
            next = page.next;
            if next.is_none() {
                break;
            }
        }
        assert_eq!(found, self.kept[bucket].listed(prefix), "{bucket}, prefix {prefix:?}");
    }

    /// The same of versions.
    async fn check_versions(&mut self, bucket: &str) {
        let (prefix, size) = (self.prefix(), self.random.u8(1..6).to_string());
        let (mut found, mut markers) = (Vec::new(), Vec::new());
        let mut next = (None::<String>, None::<String>);
        loop {
            let mut query = vec![("versions", ""), ("prefix", prefix), ("max-keys", &size)];
            query.extend(next.0.as_deref().map(|key| ("key-marker", key)));
            query.extend(next.1.as_deref().map(|id| ("version-id-marker", id)));
            let page = ok(&self.ask(Method::GET, &format!("/{bucket}"), &query, &[], "").await);
            for (all, name) in [(&mut found, "Version"), (&mut markers, "DeleteMarker")] {
                all.extend(elements(&page, name).iter().map(|version| {
                    let of = |name| element(version, name).expect("there");
                    (of("Key"), of("VersionId"), of("IsLatest") == "true")
                }));
            }
            next = (element(&page, "NextKeyMarker"), element(&page, "NextVersionIdMarker"));
            if next.0.is_none() {
                break;
            }
        }
        let kept = &self.kept[bucket];
        assert_eq!(found, kept.listed_versions(prefix, false), "{bucket}, prefix {prefix:?}");
        assert_eq!(markers, kept.listed_versions(prefix, true), "{bucket}, prefix {prefix:?}");
    }

    /// Each object's events are its changes, in order; a restart may repeat some.
    async fn check_events(&self, receiver: &Receiver) {
        receiver.wait_for(self.changes.len()).await;
        self.world.settled("all").await;
        let mut seen = HashSet::new();
        let came = receiver.records();
        let came = came.iter().map(told::of_record).filter(|(sequencer, _)| seen.insert(sequencer.clone()));
        let came = told::by_object(came.map(|(_, told)| told));
        assert_eq!(came, told::by_object(self.changes.clone()));
    }

    async fn check_all(&mut self) {
        for bucket in BUCKETS {
            self.check_list(bucket).await;
            self.check_versions(bucket).await;
            let keys = self.kept[bucket].keys.iter();
            let every: Vec<_> = keys
                .flat_map(|(key, made)| made.iter().map(move |made| (key.clone(), made.name().to_owned())))
                .collect();
            for (key, version) in every {
                self.check_version(bucket, &key, Some(&version)).await;
                self.check_version(bucket, &key, None).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_clients_do_bytes_versions_lists_and_events_are_what_they_were_told() {
    let seed = std::env::var("TIDINGS_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    println!("TIDINGS_SEED={seed}");
    let receiver = Receiver::start(true).await;
    let world = World::start(&target("all", &receiver.url, "", "")).await;
    ok(&world.s3().create_bucket("kept").await.expect("an answer"));
    let kept = BUCKETS.map(|bucket| (bucket, Kept::default())).into();
    let random = fastrand::Rng::with_seed(seed);
    let mut model = Model { world, random, kept, changes: Vec::new() };
    for step in 0..600 {
        let op = model.op();
        println!("{step}: {op:?}");
        model.run(op).await;
    }
    model.check_all().await;
    model.check_events(&receiver).await;
    model.world.stop().await;
    model.world.open(&[]).await.expect("opens again");
    model.check_all().await;
    model.world.stop().await;
}
