//! Every kind of event that there is, from the operation that makes it, over the four protocols and in the
//! four encodings: its names in both families, and that `tidings event sample` shows what really arrives.
//!
//! Must never take a name from the product's code: the table is the documentation's.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use axum::Router;
use axum::response::AppendHeaders;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::Method;
use jiff::Timestamp;
use serde_json::{Map, Value};
use tidings::client::sign::amz_date;
use tidings::client::{Client, Response};
use tokio::net::TcpListener;

use crate::consumer::Topic;
use crate::far::{FarSide, Raw};
use crate::nats::Stream;
use crate::rabbitmq::Queue;
use crate::receiver::Receiver;
use crate::server::Server;
use crate::{books, replication, restores, turn};

const BUCKET: &str = "live-kinds";
/// One whose removals leave markers.
const VERSIONED: &str = "live-kinds-v";
/// One that gets replicas.
const REPLICATED: &str = "live-kinds-r";
/// One that has an origin.
const ORIGINAL: &str = "live-kinds-o";

/// Every kind: bucket and key of the object that has it here, its name in COS's family and in S3's.
const KINDS: [(&str, &str, &str, &str); 10] = [
    (BUCKET, "put", "cos:ObjectCreated:Put", "s3:ObjectCreated:Put"),
    (BUCKET, "post", "cos:ObjectCreated:Post", "s3:ObjectCreated:Post"),
    (BUCKET, "copy", "cos:ObjectCreated:Copy", "s3:ObjectCreated:Copy"),
    (
        BUCKET,
        "multipart",
        "cos:ObjectCreated:CompleteMultipartUpload",
        "s3:ObjectCreated:CompleteMultipartUpload",
    ),
    (ORIGINAL, "pulled", "cos:ObjectCreated:Origin", "s3:ObjectCreated:Origin"),
    (REPLICATED, "replica", "cos:ObjectCreated:Replication", "s3:ObjectCreated:Replication"),
    (BUCKET, "gone", "cos:ObjectRemove:Delete", "s3:ObjectRemoved:Delete"),
    (VERSIONED, "marked", "cos:ObjectRemove:DeleteMarkerCreated", "s3:ObjectRemoved:DeleteMarkerCreated"),
    (BUCKET, "archived", "cos:ObjectRestore:Post", "s3:ObjectRestore:Post"),
    (BUCKET, "archived", "cos:ObjectRestore:Completed", "s3:ObjectRestore:Completed"),
];
/// Objects that are put before what is shown of them.
const PUT_BEFORE: [(&str, &str); 3] = [(BUCKET, "gone"), (VERSIONED, "marked"), (BUCKET, "archived")];

/// One target: where its messages have the key and the name, and in which family the name is.
struct Target {
    name: &'static str,
    encoding: &'static str,
    key: &'static str,
    event: &'static str,
    is_s3: bool,
    /// Its rules are written in S3's names.
    by_s3: bool,
}

const TARGETS: [Target; 4] = [
    Target {
        name: "kafka",
        encoding: "s3",
        key: "/Records/0/s3/object/key",
        event: "/Records/0/eventName",
        is_s3: true,
        by_s3: false,
    },
    Target {
        name: "nats",
        encoding: "cloudevents",
        key: "/s3/object/key",
        event: "/eventName",
        is_s3: true,
        by_s3: true,
    },
    Target {
        name: "amqp",
        encoding: "cloudevents-structured",
        key: "/subject",
        event: "/type",
        is_s3: false,
        by_s3: true,
    },
    Target {
        name: "http",
        encoding: "cos",
        key: "/Records/0/cos/cosObject/key",
        event: "/Records/0/event/eventName",
        is_s3: false,
        by_s3: false,
    },
];

/// Members and headers whose text differs from event to event. That they are there, of which type, and
/// whether they say anything, does not.
const VARIABLE: [&str; 24] = [
    "userIdentity/principalId",
    "eventTime",
    "sourceIPAddress",
    "x-amz-request-id",
    "x-amz-id-2",
    "configurationId",
    "eTag",
    "versionId",
    "sequencer",
    "eventId",
    "lifecycleRestorationExpiryTime",
    "id",
    "time",
    "sequence",
    "x-cos-request-id",
    "requestSourceIP",
    "vid",
    "reservedInfo",
    "eventQueue",
    "tidings-event-id",
    "tidings-sequencer",
    "ce-id",
    "ce-time",
    "ce-sequence",
];

/// What a body of this size is said to have everywhere.
const SIZE: usize = 1_024;
const META: [(&str, &str); 2] = [("content-type", "image/jpeg"), ("x-amz-meta-mykey", "myvalue")];

async fn ask(
    s3: &Client,
    method: Method,
    path: &str,
    query: &[(&str, &str)],
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Response {
    let answer = s3.request(method, path, query, headers, body.into()).await.expect("an answer");
    assert!(answer.status.is_success(), "{path} {query:?}: {answer:?}");
    answer
}

/// Does what makes each kind, through the public API.
async fn walk(s3: &Client) {
    let body = || vec![b'x'; SIZE];
    for bucket in [BUCKET, VERSIONED, ORIGINAL] {
        assert_eq!(s3.create_bucket(bucket).await.expect("an answer").status, 200);
    }
    let versioning = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    let (put, post) = (Method::PUT, Method::POST);
    ask(s3, put.clone(), &format!("/{VERSIONED}"), &[("versioning", "")], &[], versioning.into()).await;
    ask(s3, put.clone(), &format!("/{BUCKET}/put"), &[], &META, body()).await;
    form(s3, "post", body()).await;
    let source = [("x-amz-copy-source", "live-kinds/put")];
    ask(s3, put.clone(), &format!("/{BUCKET}/copy"), &[], &source, Vec::new()).await;
    let path = format!("/{BUCKET}/multipart");
    let begun = ask(s3, post.clone(), &path, &[("uploads", "")], &META, Vec::new()).await;
    let text = String::from_utf8_lossy(&begun.body).into_owned();
    let (_, id) = text.split_once("<UploadId>").expect("an id");
    let (id, _) = id.split_once('<').expect("an end");
    let part = ask(s3, put.clone(), &path, &[("partNumber", "1"), ("uploadId", id)], &[], body()).await;
    let parts = format!(
        "<CompleteMultipartUpload><Part><ETag>{}</ETag><PartNumber>1</PartNumber></Part>\
         </CompleteMultipartUpload>",
        part.etag().expect("an ETag")
    );
    ask(s3, post.clone(), &path, &[("uploadId", id)], &[], parts.into()).await;
    pull(s3, "pulled").await;
    for (bucket, key) in PUT_BEFORE {
        let archived = [META[0], META[1], ("x-amz-storage-class", "ARCHIVE")];
        let headers = if key == "archived" { &archived[..] } else { &META[..] };
        ask(s3, put.clone(), &format!("/{bucket}/{key}"), &[], headers, body()).await;
    }
    for path in [format!("/{BUCKET}/gone"), format!("/{VERSIONED}/marked")] {
        ask(s3, Method::DELETE, &path, &[], &[], Vec::new()).await;
    }
    let wish = "<RestoreRequest><Days>1</Days></RestoreRequest>";
    ask(s3, post, &format!("/{BUCKET}/archived"), &[("restore", "")], &[], wish.into()).await;
    restores::readable(s3, BUCKET, "archived").await;
}

/// A PUT to a server that replicates here.
async fn replicate(from: &Client, to: &Client) {
    replication::bucket(to, REPLICATED).await;
    replication::bucket(from, "source").await;
    replication::rule(from, "source", "test-1", REPLICATED, true).await;
    ask(from, Method::PUT, "/source/replica", &[], &META, vec![b'x'; SIZE]).await;
}

/// A GET of what only an origin has.
async fn pull(s3: &Client, key: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let headers = META.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let answer = move || async move { (AppendHeaders(headers), vec![b'x'; SIZE]) };
    let origin = Router::new().route(&format!("/{key}"), get(answer));
    let serving = tokio::spawn(async move { axum::serve(listener, origin).await });
    let document = format!(
        "<OriginConfiguration><OriginRule><OriginType>Mirror</OriginType><OriginInfo><HostInfo>\
         <HostName>127.0.0.1:{port}</HostName></HostInfo></OriginInfo></OriginRule></OriginConfiguration>"
    );
    let query = [("origin", "")];
    ask(s3, Method::PUT, &format!("/{ORIGINAL}"), &query, &[], document.into()).await;
    let got = ask(s3, Method::GET, &format!("/{ORIGINAL}/{key}"), &[], &[], Vec::new()).await;
    assert_eq!(got.body.len(), SIZE);
    serving.abort();
}

/// A browser's form.
async fn form(s3: &Client, key: &str, file: Vec<u8>) {
    let now = Timestamp::now();
    let date = amz_date(now);
    let expiration = now.checked_add(jiff::SignedDuration::from_secs(600)).expect("a time");
    let fields = [
        ("key", key.to_owned()),
        ("Content-Type", META[0].1.to_owned()),
        (META[1].0, META[1].1.to_owned()),
        ("x-amz-algorithm", "AWS4-HMAC-SHA256".to_owned()),
        ("x-amz-credential", s3.signer().credential(&date[..8])),
        ("x-amz-date", date.clone()),
    ];
    let conditions: Vec<_> =
        fields.iter().map(|(name, value)| format!("{{\"{name}\": \"{value}\"}}")).collect();
    let policy = format!(
        "{{\"expiration\": \"{expiration}\", \"conditions\": [{{\"bucket\": \"{BUCKET}\"}}, {}]}}",
        conditions.join(", ")
    );
    let policy = BASE64.encode(policy);
    let signature = s3.signer().sign_text(&policy, now);
    let signed = [("policy", policy), ("x-amz-signature", signature)];
    let mut body = Vec::new();
    for (name, value) in fields.iter().chain(&signed) {
        let part = format!("--line\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        body.extend_from_slice(part.as_bytes());
    }
    let disposition = "Content-Disposition: form-data; name=\"file\"; filename=\"cat.jpg\"";
    body.extend_from_slice(format!("--line\r\n{disposition}\r\n\r\n").as_bytes());
    body.extend_from_slice(&file);
    body.extend_from_slice(b"\r\n--line--\r\n");
    let request = reqwest::Client::new().post(format!("http://{}/{BUCKET}", s3.authority())).body(body);
    let answer = request.header("content-type", "multipart/form-data; boundary=line").send().await;
    let answer = answer.expect("an answer");
    assert_eq!(answer.status(), 204, "{:?}", answer.text().await);
}

/// A message's members and headers by their paths; what differs from event to event says only whether it is
/// empty.
fn shape(payload: &Value, headers: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    fn walk(at: String, value: &Value, out: &mut BTreeMap<String, String>) {
        match value {
            Value::Object(members) => {
                members.iter().for_each(|(name, value)| walk(format!("{at}/{name}"), value, out));
            }
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(n, item)| walk(format!("{at}/{n}"), item, out));
            }
            scalar if VARIABLE.iter().any(|name| at.ends_with(&format!("/{name}"))) => {
                let is = match scalar {
                    Value::String(text) if text.is_empty() => "an empty text",
                    Value::String(_) => "a text",
                    Value::Number(_) => "a number",
                    _ => "neither",
                };
                out.insert(at, is.to_owned());
            }
            scalar => {
                out.insert(at, scalar.to_string());
            }
        }
    }
    let mut out = BTreeMap::new();
    walk(String::new(), payload, &mut out);
    let ours = |name: &str| {
        let name = name.to_ascii_lowercase();
        ["tidings-", "ce-", "ce_", "cloudevents:"].iter().any(|start| name.starts_with(start))
            || name == "content-type"
    };
    let headers: Map<String, Value> = headers
        .iter()
        .filter(|(name, _)| ours(name))
        .map(|(name, value)| (name.clone(), value.as_str().into()))
        .collect();
    walk("header".into(), &Value::Object(headers), &mut out);
    out
}

/// What `tidings event sample` says of a kind.
fn sample(kind: &str, bucket: &str, key: &str, target: &Target) -> BTreeMap<String, String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    command.args(["event", "sample", kind, "--bucket", bucket, "--key", key, "--region", "test-1", "--json"]);
    command.args(["--encoding", target.encoding, "--protocol", target.name]);
    let output = command.output().expect("started");
    assert!(output.status.success(), "{output:?}");
    let shown: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let payload = serde_json::from_str(shown["payload"].as_str().expect("text")).expect("JSON");
    let headers = shown["headers"].as_object().expect("headers").iter();
    let headers = headers.map(|(name, value)| (name.clone(), value.as_str().expect("text").to_owned()));
    shape(&payload, &headers.collect())
}

/// Judges all that one target got.
fn judge(target: &Target, messages: Vec<Raw>) {
    let mut arrived = BTreeMap::new();
    for Raw { payload, headers, .. } in messages {
        let payload: Value = serde_json::from_slice(&payload).expect("JSON");
        let text =
            |pointer: &str| payload.pointer(pointer).and_then(Value::as_str).expect(pointer).to_owned();
        let (key, named) = (text(target.key), text(target.event));
        let key = key.rsplit('/').next().expect("a key").to_owned();
        let in_cos = headers.get("tidings-event").expect("a name").clone();
        let row = KINDS.iter().find(|(.., cos, _)| *cos == in_cos);
        let (.., s3) = row.unwrap_or_else(|| panic!("{}: nobody makes {in_cos}", target.name));
        let wanted = if target.is_s3 { &s3["s3:".len()..] } else { in_cos.as_str() };
        assert_eq!(named, wanted, "{}: {key}", target.name);
        let again = arrived.insert((key.clone(), in_cos.clone()), shape(&payload, &headers));
        assert_eq!(again, None, "{}: {key} {in_cos} came twice", target.name);
    }
    let wanted = KINDS.iter().map(|(_, key, cos, _)| (*key, *cos));
    let puts = PUT_BEFORE.iter().map(|(_, key)| (*key, KINDS[0].2));
    let wanted: BTreeSet<_> = wanted.chain(puts).collect();
    let got: BTreeSet<_> = arrived.keys().map(|(key, kind)| (key.as_str(), kind.as_str())).collect();
    assert_eq!(got, wanted, "{}: the events", target.name);
    for (bucket, key, cos, s3) in KINDS {
        let real = &arrived[&(key.to_owned(), cos.to_owned())];
        for name in [cos, s3] {
            assert_eq!(&sample(name, bucket, key, target), real, "{}: the sample of {name}", target.name);
        }
        println!(
            "{:<5} {:<22} {cos}: as its sample, {} members and headers",
            target.name,
            target.encoding,
            real.len()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_arrives_through_four_protocols_under_its_names_and_as_its_sample() {
    let _turn = turn().await;
    let test = "kinds";
    let (kafka, nats) = (Topic::create(test).await, Stream::create(test).await);
    let (amqp, http) = (Queue::create(test, "quorum").await, Receiver::start().await);
    let far: [&dyn FarSide; 4] = [&kafka, &nats, &*amqp, &http];
    let all: Vec<_> =
        TARGETS.iter().zip(far).map(|(target, far)| (target.name, far, "live-kinds*")).collect();
    let (here, there) = (("test-1", replication::free()), ("test-2", replication::free()));
    let quick = "[restore]\narchive_standard = \"50ms\"\n[origin]\nallow_private = true\n";
    let mut server = Server::with(&all, &format!("{quick}{}", replication::taking(there.1)));
    replication::prepare(&server, here.1);
    let mut source = replication::replicating(&[], there, here);
    let mut configuration = server.configuration();
    for target in &TARGETS {
        let connector = format!("[target.{}.connector", target.name);
        let encoded = format!("[target.{}]\nencoding = {:?}\n{connector}", target.name, target.encoding);
        configuration = configuration.replacen(&connector, &encoded, 1);
        let rule = format!("[[target.{}.rule]]\n", target.name);
        let (before, behind) = configuration.split_once(&rule).expect("a rule");
        let (bucket, behind) = behind.split_once("events = ").expect("events");
        let (_, behind) = behind.split_once('\n').expect("an end");
        // Each kind by its own name: a wildcard would hide a wrong one.
        let names: Vec<_> = KINDS.iter().map(|(.., cos, s3)| if target.by_s3 { s3 } else { cos }).collect();
        configuration = format!("{before}{rule}{bucket}events = {names:?}\n{behind}");
    }
    server.configure(&configuration);
    let ready = server.start().await;
    walk(&ready.s3).await;
    let from = source.start().await;
    replicate(&from.s3, &ready.s3).await;
    books::drained(&from.admin, "peer").await;
    for target in &TARGETS {
        books::drained(&ready.admin, target.name).await;
    }
    for (target, far) in TARGETS.iter().zip(far) {
        judge(target, far.read_raw().await);
    }
    server.stop().await;
    source.stop().await;
}
