//! Replication between two servers of different regions: what arrives, what it is there, and that it arrives
//! through `kill -9` of either.
//!
//! Must never count a repeat as a second event: events are told by their ids.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use http::Method;
use tidings::client::{Client, Response};

use crate::checker::Kind;
use crate::far::FarSide;
use crate::receiver::Receiver;
use crate::server::{Ready, Server};
use crate::{books, seed, turn};

/// Larger than what travels in a record.
const LARGE: usize = 1 << 20;
const ACCESS: &str = "AKIDREPLICATOR";
const SECRET: &str = "a-secret-of-two-servers";
const ENABLED: &str = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";

/// A port that is free now.
pub(crate) fn free() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").port()
}

/// Whom a server takes replicas from.
pub(crate) fn taking(from: u16) -> String {
    format!("[replication]\npull_from = [\"http://127.0.0.1:{from}\"]\n")
}

/// Lets a server listen at a port, and take replicas of whoever has the secret.
pub(crate) fn prepare(server: &Server, port: u16) {
    let text = server.configuration();
    server.configure(&text.replacen("127.0.0.1:0", &format!("127.0.0.1:{port}"), 1));
    fs::create_dir_all(server.data()).expect("a writable directory");
    let pair = |access: &str, more: &str| {
        format!("[[credential]]\naccess_key = {access:?}\nsecret_key = {SECRET:?}\n{more}\n")
    };
    let both = pair("AKIDADMIN", "") + &pair(ACCESS, "scope = \"replication\"");
    let file = server.data().join("credentials.toml");
    fs::write(&file, both).expect("a writable directory");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("a file of ours");
}

/// A server at `here` that replicates to the one at `there`, and takes replicas of it too.
pub(crate) fn replicating(
    far: &[(&str, &dyn FarSide, &str)],
    here: (&str, u16),
    there: (&str, u16),
) -> Server {
    let target = format!(
        "[target.peer]\nbackoff_max = \"500ms\"\nbackoff_min = \"100ms\"\n\
         [target.peer.connector.replication]\n\
         region = {:?}\nendpoint = \"http://127.0.0.1:{}\"\nown_endpoint = \"http://127.0.0.1:{}\"\n\
         access_key = {ACCESS:?}\nsecret_key_file = \"PEER_SECRET\"\n",
        there.0, there.1, here.1
    );
    let server = Server::with(far, &(taking(there.1) + &target)).of_region(here.0);
    prepare(&server, here.1);
    let file = server.data().with_file_name("peer.secret");
    fs::write(&file, SECRET).expect("a writable directory");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("a file of ours");
    server.configure(&server.configuration().replace("PEER_SECRET", &file.display().to_string()));
    server
}

async fn ask(
    s3: &Client,
    method: Method,
    path: &str,
    query: &[(&str, &str)],
    headers: &[(&str, &str)],
    body: impl Into<bytes::Bytes>,
) -> Response {
    s3.request(method, path, query, headers, body.into()).await.expect("an answer")
}

/// Makes a bucket with versions.
pub(crate) async fn bucket(s3: &Client, name: &str) {
    assert_eq!(s3.create_bucket(name).await.expect("an answer").status, 200);
    let set = ask(s3, Method::PUT, &format!("/{name}"), &[("versioning", "")], &[], ENABLED).await;
    assert_eq!(set.status, 200);
}

/// Sends what is done in a bucket to one of a peer.
pub(crate) async fn rule(s3: &Client, from: &str, region: &str, to: &str, markers: bool) {
    let markers = if markers { "Enabled" } else { "Disabled" };
    let document = format!(
        "<ReplicationConfiguration><Role>role</Role><Rule><Status>Enabled</Status><Prefix></Prefix>\
         <Destination><Bucket>qcs::cos:{region}::{to}</Bucket></Destination>\
         <DeleteMarkerReplication><Status>{markers}</Status></DeleteMarkerReplication></Rule>\
         </ReplicationConfiguration>"
    );
    let set = ask(s3, Method::PUT, &format!("/{from}"), &[("replication", "")], &[], document).await;
    assert_eq!(set.status, 200, "{set:?}");
}

/// An object of two parts.
async fn multipart(s3: &Client, path: &str) {
    let begun = ask(s3, Method::POST, path, &[("uploads", "")], &[], "").await;
    let text = String::from_utf8_lossy(&begun.body).into_owned();
    let (id, _) = text.split_once("<UploadId>").and_then(|(_, rest)| rest.split_once('<')).expect("an id");
    let mut parts = String::new();
    for (number, size) in [("1", 5 << 20), ("2", 100)] {
        let query = [("partNumber", number), ("uploadId", id)];
        let part = ask(s3, Method::PUT, path, &query, &[], vec![b'p'; size]).await;
        let etag = part.etag().expect("an ETag");
        parts += &format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>");
    }
    let document = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    let done = ask(s3, Method::POST, path, &[("uploadId", id)], &[], document).await;
    assert_eq!(done.status, 200, "{done:?}");
}

/// Names of a key's versions, the newest first, markers with a star.
async fn versions(s3: &Client, bucket: &str, key: &str) -> Vec<String> {
    let query = [("versions", ""), ("prefix", key)];
    let listed = ask(s3, Method::GET, &format!("/{bucket}"), &query, &[], "").await;
    let text = String::from_utf8_lossy(&listed.body).into_owned();
    let mut found = Vec::new();
    for (at, _) in text.match_indices("<VersionId>") {
        let (id, _) = text[at + 11..].split_once('<').expect("an end");
        let marker = text[..at].rfind("<DeleteMarker>") > text[..at].rfind("<Version>");
        found.push(format!("{id}{}", if marker { "*" } else { "" }));
    }
    found
}

/// What an answer says of an object, without what is of its server alone.
fn said(answer: &Response) -> BTreeMap<String, String> {
    let of_server = ["date", "last-modified", "x-amz-request-id", "x-amz-id-2"];
    let all = answer.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_default()));
    all.filter(|(name, _)| !of_server.contains(name)).map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
}

/// Both servers, with the other's bucket in each one's rules.
struct Pair {
    a: Server,
    b: Server,
    far: Receiver,
}

impl Pair {
    async fn start(markers: bool) -> (Self, Ready, Ready) {
        let far = Receiver::start().await;
        let (here, there) = (("test-2", free()), ("test-3", free()));
        let mut a = replicating(&[], here, there);
        let mut b = replicating(&[("live", &far, "live-*")], there, here);
        let (on_a, on_b) = (a.start().await, b.start().await);
        bucket(&on_a.s3, "live-a").await;
        bucket(&on_b.s3, "live-b").await;
        rule(&on_a.s3, "live-a", there.0, "live-b", markers).await;
        // And back: nothing may come that way.
        rule(&on_b.s3, "live-b", here.0, "live-a", true).await;
        (Self { a, b, far }, on_a, on_b)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_are_what_their_sources_are_and_go_no_further() {
    let _turn = turn().await;
    let (mut pair, a, b) = Pair::start(true).await;
    let meta = [
        ("content-type", "text/x"),
        ("x-amz-meta-of", "\u{fc}ber"),
        ("cache-control", "no-cache"),
        ("x-amz-tagging", "k=v"),
    ];
    let strange = "dir/../a b+\u{e9}%41";
    let put = ask(&a.s3, Method::PUT, &format!("/live-a/{strange}"), &[], &meta, "body").await;
    assert_eq!(put.status, 200, "{put:?}");
    for (key, size) in [("empty", 0), ("large", LARGE), ("marked", 10)] {
        let put = ask(&a.s3, Method::PUT, &format!("/live-a/{key}"), &[], &meta[..1], vec![b'x'; size]).await;
        assert_eq!(put.status, 200, "{put:?}");
    }
    multipart(&a.s3, "/live-a/parts").await;
    let source = [("x-amz-copy-source", "/live-a/large")];
    assert_eq!(ask(&a.s3, Method::PUT, "/live-a/copy", &[], &source, "").await.status, 200);
    let cold = [("x-amz-storage-class", "ARCHIVE")];
    assert_eq!(ask(&a.s3, Method::PUT, "/live-a/cold", &[], &cold, "cold").await.status, 200);
    books::drained(&a.admin, "peer").await;
    assert_eq!(ask(&a.s3, Method::DELETE, "/live-a/marked", &[], &[], "").await.status, 204);
    books::drained(&a.admin, "peer").await;
    let keys = [strange, "empty", "large", "parts", "copy"];
    for key in keys {
        let of = async |s3: &Client, bucket| s3.get(bucket, key).await.expect("an answer");
        let (there, here) = (of(&a.s3, "live-a").await, of(&b.s3, "live-b").await);
        assert_eq!((here.status.as_u16(), here.body.len()), (200, there.body.len()), "{key}");
        assert!(here.body == there.body, "{key}: other bytes");
        assert_eq!(said(&here), said(&there), "{key}");
        assert!(said(&here).contains_key("x-amz-version-id"), "{key}");
    }
    let cold = ask(&b.s3, Method::HEAD, "/live-b/cold", &[], &[], "").await;
    assert_eq!(cold.header("x-amz-storage-class"), Some("ARCHIVE"));
    for key in keys.iter().chain(&["cold", "marked"]) {
        assert_eq!(versions(&a.s3, "live-a", key).await, versions(&b.s3, "live-b", key).await, "{key}");
    }
    assert!(versions(&b.s3, "live-b", "marked").await[0].ends_with('*'));
    assert_eq!(b.s3.get("live-b", "marked").await.expect("an answer").status, 404);
    books::drained(&b.admin, "live").await;
    let mut told: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for delivery in pair.far.read_all().await {
        told.entry((delivery.key.to_string(), format!("{:?}", delivery.kind)))
            .or_default()
            .insert(delivery.event_id);
    }
    let of = |name: &str| format!("{:?}", Kind::Other(name.to_owned()));
    let replicated = || of("ObjectCreated:Replication");
    let marked = of("ObjectRemoved:DeleteMarkerCreated");
    for key in keys.iter().chain(&["cold", "marked"]) {
        let events = told.remove(&(format!("live-b/{key}"), replicated()));
        assert_eq!(events.map(|ids| ids.len()), Some(1), "{key}");
    }
    assert_eq!(told.remove(&("live-b/marked".to_owned(), marked)).map(|ids| ids.len()), Some(1));
    assert!(told.is_empty(), "{told:?}");
    let back = books::drained(&b.admin, "peer").await;
    assert_eq!(back.books.matched, 0, "a replica is on its way back");
    pair.a.stop().await;
    pair.b.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_rule_leaves_out_stays_and_what_is_overwritten_meanwhile_is_skipped() {
    let _turn = turn().await;
    let (mut pair, a, b) = Pair::start(false).await;
    for key in ["kept", "overwritten"] {
        assert_eq!(a.s3.put("live-a", key, "first").await.expect("an answer").status, 200);
    }
    books::drained(&a.admin, "peer").await;
    pair.b.stop().await;
    assert_eq!(ask(&a.s3, Method::DELETE, "/live-a/kept", &[], &[], "").await.status, 204);
    for n in 0..5 {
        let put = a.s3.put("live-a", "overwritten", format!("{n}")).await.expect("an answer");
        assert_eq!(put.status, 200);
    }
    let newest = versions(&a.s3, "live-a", "overwritten").await;
    let again = pair.b.start().await;
    assert_eq!(again.s3.authority(), b.s3.authority(), "at the same address");
    books::drained(&a.admin, "peer").await;
    pair.b.stop().await;
    let b = pair.b.start().await;
    assert_eq!(b.s3.get("live-b", "kept").await.expect("an answer").body, "first", "no marker came");
    assert_eq!(b.s3.get("live-b", "overwritten").await.expect("an answer").body, "4");
    let here = versions(&b.s3, "live-b", "overwritten").await;
    assert_eq!(here, [newest[0].clone(), newest[5].clone()], "what was newest when it was asked for");
    pair.a.stop().await;
    pair.b.stop().await;
}

/// Both die again and again, at any time and where it hurts most; what a client was told arrives once, in
/// order.
#[tokio::test(flavor = "multi_thread")]
async fn kills_of_either_lose_double_and_reorder_nothing() {
    const KEYS: usize = 6;
    let _turn = turn().await;
    let mut rng = fastrand::Rng::with_seed(seed("replication"));
    let (mut pair, mut a, mut b) = Pair::start(true).await;
    let mut last = BTreeMap::new();
    for life in 0..8 {
        match life % 4 {
            0 => pair.b.kill().await,
            1 => pair.a.kill().await,
            point => {
                pair.b.stop().await;
                pair.b.launch(Some(["replica.asked", "ack.before"][point - 2]));
                b = pair.b.ready().await.expect("it starts");
            }
        }
        if life % 4 == 1 {
            a = pair.a.start().await;
        }
        for n in 0..30 {
            let (key, size) = (format!("k{}", rng.usize(..KEYS)), if n % 10 == 0 { LARGE / 8 } else { 20 });
            let body = vec![b'a' + rng.u8(..26); size];
            let put = a.s3.put("live-a", &key, body.clone()).await.expect("an answer");
            assert_eq!(put.status, 200);
            last.insert(key, body);
        }
        if life % 4 >= 2 {
            pair.b.ended().await;
        }
        if life % 4 != 1 {
            b = pair.b.start().await;
        }
    }
    books::drained(&a.admin, "peer").await;
    for (key, body) in &last {
        let got = b.s3.get("live-b", key).await.expect("an answer");
        assert!(got.body == body[..], "{key}: {} bytes instead of {}", got.body.len(), body.len());
        let (there, here) = (versions(&a.s3, "live-a", key).await, versions(&b.s3, "live-b", key).await);
        assert_eq!(there[0], here[0], "{key}: the newest");
        let mut all = there.iter();
        assert!(here.iter().all(|one| all.any(|other| one == other)), "{key}: {here:?} of {there:?}");
    }
    books::drained(&b.admin, "live").await;
    let mut told: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for delivery in pair.far.read_all().await {
        assert_eq!(delivery.kind, Kind::Other("ObjectCreated:Replication".to_owned()));
        told.entry(delivery.key.to_string()).or_default().insert(delivery.event_id);
    }
    for key in last.keys() {
        let (events, made) =
            (told[&format!("live-b/{key}")].len(), versions(&b.s3, "live-b", key).await.len());
        assert_eq!(events, made, "{key}: one event for each version");
    }
    pair.a.stop().await;
    pair.b.stop().await;
}
