//! Attacks on every operation that there is, in both protocols: each ends in a refusal, and nothing happened.
//!
//! Must never know an operation by itself: the rows are those of the table of scopes, so that a new one is
//! attacked too.

use std::time::Duration;

use http::Method;
use jiff::Timestamp;

use super::access::{Row, Things, operations, row_of, things};
use super::qsign::{HOST, fields, target};
use super::real::Real;
use super::support::{ACCESS_KEY, REGION, SECRET, assert_complete_error};
use crate::client::Response;
use crate::client::sign::{Parts, Signer, amz_date, canonical_query, encode_path, payload_hash};
use crate::config::credentials::Scope;

const GARBAGE: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// Every word that may stand for the hash of a body, but the hash itself.
const PAYLOADS: [&str; 4] = [
    "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
    "UNSIGNED-PAYLOAD",
];

/// A request as it is sent.
struct Sent {
    what: String,
    method: Method,
    target: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Sent {
    fn new(what: &str, row: &Row, target: &str, headers: &[(&str, &str)]) -> Self {
        Self {
            what: what.to_owned(),
            method: row.method.clone(),
            target: target.to_owned(),
            headers: headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
            body: row.body.clone(),
        }
    }

    fn header(mut self, what: &str, name: &str, change: impl Fn(&str) -> String) -> Self {
        what.clone_into(&mut self.what);
        for (_, value) in self.headers.iter_mut().filter(|(n, _)| n == name) {
            *value = change(value);
        }
        self
    }

    fn without(mut self, what: &str, name: &str) -> Self {
        what.clone_into(&mut self.what);
        self.headers.retain(|(n, _)| n != name);
        self
    }
}

/// One operation, asked for in S3's protocol.
struct S3<'a> {
    row: &'a Row,
    path: String,
    query: Vec<(&'a str, &'a str)>,
    host: String,
}

impl<'a> S3<'a> {
    fn new(real: &Real, row: &'a Row, bucket: &str) -> Self {
        let path = if row.needs_no_bucket() { "/".into() } else { format!("/{bucket}{}", row.path) };
        let query = row.query.iter().map(|(n, v)| (*n, v.as_str())).collect();
        Self { row, path, query, host: real.running.address.to_string() }
    }

    fn target(&self, more: &str) -> String {
        let query = [canonical_query(&self.query), more.to_owned()].join("&");
        format!("{}?{}", encode_path(&self.path), query.trim_matches('&'))
    }

    fn signed(&self, signer: &Signer, payload: &str, at: Timestamp) -> Sent {
        let date = amz_date(at);
        let mut headers =
            vec![("host", &*self.host), ("x-amz-content-sha256", payload), ("x-amz-date", &*date)];
        if payload.starts_with("STREAMING") {
            headers.push(("x-amz-decoded-content-length", "1"));
        }
        if payload.ends_with("TRAILER") {
            headers.push(("x-amz-trailer", "x-amz-checksum-crc32"));
        }
        headers.extend(self.row.headers.iter().map(|(n, v)| (*n, v.as_str())));
        let (path, query) = (encode_path(&self.path), canonical_query(&self.query));
        let method = self.row.method.as_str();
        let signed =
            signer.sign(&Parts { method, path: &path, query: &query, headers: &headers, payload }, at);
        headers.push(("authorization", &signed.authorization));
        Sent::new("signed", self.row, &self.target(""), &headers)
    }

    /// Every attack of A1 to A8 that a signed request can be made into.
    fn attacks(&self) -> Vec<Sent> {
        let now = Timestamp::now();
        let (hash, right) = (payload_hash(self.row.body.as_bytes()), Signer::new(REGION, ACCESS_KEY, SECRET));
        let good = || self.signed(&right, &hash, now);
        let garbled = |value: &str| format!("{}{GARBAGE}", &value[..value.len() - GARBAGE.len()]);
        let by = |what: &str, key: &str, secret: &str| Sent {
            what: what.to_owned(),
            ..self.signed(&Signer::new(REGION, key, secret), &hash, now)
        };
        let mut all = vec![
            by("another secret", ACCESS_KEY, "guess"),
            by("an empty secret", ACCESS_KEY, ""),
            by("a key of nobody", "AKIDNOBODY", SECRET),
            good().header("a garbage signature", "authorization", garbled),
            good().without("nobody", "authorization"),
            good().without("no date", "x-amz-date"),
            good().without("no hash", "x-amz-content-sha256"),
        ];
        for payload in PAYLOADS {
            let sent = self.signed(&right, payload, now);
            all.push(sent.header(&format!("garbage, {payload}"), "authorization", garbled));
        }
        for (from, to) in [
            (REGION, "us-east-1"),
            ("/s3/", "/sts/"),
            ("/aws4_request", "/aws4"),
            (&amz_date(now)[..8], "20200101"),
            ("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
            ("SignedHeaders=host;", "SignedHeaders="),
            (";x-amz-date", ""),
        ] {
            all.push(good().header(&format!("{to} for {from}"), "authorization", |v| v.replace(from, to)));
        }
        let later = Duration::from_mins(16);
        for (what, at) in [("16 minutes ago", now - later), ("in 16 minutes", now + later)] {
            all.push(Sent { what: what.to_owned(), ..self.signed(&right, &hash, at) });
        }
        all.extend(self.in_query(&right, now));
        all
    }

    /// A2, A3: credentials in the query.
    fn in_query(&self, right: &Signer, now: Timestamp) -> Vec<Sent> {
        let credential = right.credential(&amz_date(now)[..8]).replace('/', "%2F");
        let garbage = format!(
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={credential}&X-Amz-Date={}\
             &X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature={GARBAGE}",
            amz_date(now)
        );
        let trailer = [("x-amz-content-sha256", PAYLOADS[0]), ("x-amz-decoded-content-length", "1")];
        let alone = format!("X-Amz-Credential={credential}");
        let v2 = format!("AWSAccessKeyId={ACCESS_KEY}&Expires=9999999999&Signature=AAAA");
        let both = self.signed(right, &payload_hash(self.row.body.as_bytes()), now);
        vec![
            Sent::new("a garbage signature in the query", self.row, &self.target(&garbage), &[]),
            Sent::new("the same, a streaming body", self.row, &self.target(&garbage), &trailer),
            Sent::new("a credential alone in the query", self.row, &self.target(&alone), &[]),
            Sent::new("the same, a streaming body", self.row, &self.target(&alone), &trailer),
            Sent::new("version 2 in the query", self.row, &self.target(&v2), &[]),
            Sent { what: "both".into(), target: self.target(&garbage), ..both },
        ]
    }
}

/// Host and path of a row in COS's protocol.
fn place_by_cos<'a>(row: &'a Row, bucket: &str) -> (String, &'a str) {
    let (more, path) = match row.path {
        path if path.starts_with('/') => ("", path),
        more => (more, "/"),
    };
    (HOST.replacen("bucket", &format!("{bucket}{more}"), 1), path)
}

/// The same operation in COS's protocol.
fn attacks_by_cos(row: &Row, bucket: &str) -> Vec<Sent> {
    let (host, path) = place_by_cos(row, bucket);
    let query: Vec<_> = row.query.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let names: Vec<_> = row.headers.iter().map(|(n, v)| (n.replace("x-amz-", "x-cos-"), v)).collect();
    let mut own = vec![("host", &*host)];
    own.extend(names.iter().map(|(n, v)| (n.as_str(), v.as_str())));
    let by = |key: &str, secret: &str| fields((key, secret), &row.method, path, &query, &own);
    let right = by(ACCESS_KEY, SECRET);
    let garbled = format!("{}{}", &right[..right.len() - 40], &GARBAGE[..40]);
    let unsigned_host = fields((ACCESS_KEY, SECRET), &row.method, path, &query, &[]);
    let here = target(path, &query);
    let sent = |what: &str, target: &str, authorization: &str, more: &[(&str, &str)]| {
        let signed = [("authorization", authorization)];
        let signed = if authorization.is_empty() { &[][..] } else { &signed[..] };
        Sent::new(&format!("COS: {what}"), row, target, &[&own, signed, more].concat())
    };
    let and = |more: &str| format!("{here}{}{more}", if here.contains('?') { '&' } else { '?' });
    let encoded = garbled.replace(';', "%3B");
    vec![
        sent("another secret", &here, &by(ACCESS_KEY, "guess"), &[]),
        sent("an empty secret", &here, &by(ACCESS_KEY, ""), &[]),
        sent("a key of nobody", &here, &by("AKIDNOBODY", SECRET), &[]),
        sent("a garbage signature", &here, &garbled, &[]),
        sent("no host is signed", &here, &unsigned_host, &[]),
        sent("nobody", &here, "", &[]),
        sent("another algorithm", &here, &right.replace("=sha1&", "=md5&"), &[]),
        sent("no signature", &here, &right[..right.len() - 53], &[]),
        sent("a parameter more", &and("unsigned"), &right, &[]),
        sent("a header more", &here, &right, &[("x-cos-meta-a", "b")]),
        sent("a header of S3", &here, &right, &[("x-amz-content-sha256", PAYLOADS[0])]),
        sent("a header of ours", &here, &right, &[("x-tidings-hops", "0")]),
        sent("in the query", &and(&encoded), "", &[]),
        sent("both", &and(&encoded), &right, &[]),
    ]
}

/// Sends one and sees it refused.
async fn refused(real: &Real, operation: &str, sent: Sent) {
    let end = (real.queue.stat().durable_end, real.events().len());
    let answer = real.running.send(sent.method.clone(), &sent.target, &sent.headers, sent.body).await;
    let what = format!("{operation}: {}", sent.what);
    assert!(matches!(answer.status.as_u16(), 400 | 403), "{what}: {answer:?}");
    let code = answer.error_code().unwrap_or_default().to_owned();
    assert!(sent.method == Method::HEAD || !code.is_empty(), "{what}: {answer:?}");
    assert_eq!((real.queue.stat().durable_end, real.events().len()), end, "{what}: something happened");
    let told = String::from_utf8_lossy(&answer.body);
    assert!(!told.contains(SECRET) && !told.contains("planted"), "{what}: {told}");
}

/// A1 to A8: whatever is wrong with who asks, no operation of either protocol does anything.
#[tokio::test(flavor = "multi_thread")]
async fn no_operation_is_done_for_a_signature_that_is_wrong() {
    let real = Real::with_bucket().await;
    let kept = things(&real.running.client, 0).await;
    let mut attacks = 0;
    for operation in operations() {
        let row = row_of(&operation, &kept);
        let of_s3 = S3::new(&real, &row, &kept.bucket).attacks();
        for sent in of_s3.into_iter().chain(attacks_by_cos(&row, &kept.bucket)) {
            refused(&real, &operation, sent).await;
            attacks += 1;
        }
    }
    assert!(attacks > 1_000, "{attacks} attacks");
}

async fn as_limited(real: &Real, row: &Row, bucket: &str, more: &[(&str, &str)]) -> Response {
    let now = Timestamp::now();
    let signer = Signer::new(REGION, "AKIDLIMITED", "limited");
    let mut sent = S3::new(real, row, bucket).signed(&signer, &payload_hash(row.body.as_bytes()), now);
    sent.headers.extend(more.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
    real.running.send(sent.method, &sent.target, &sent.headers, sent.body).await
}

async fn as_limited_by_cos(real: &Real, row: &Row, bucket: &str, more: &[(&str, &str)]) -> Response {
    let (host, path) = place_by_cos(row, bucket);
    let query: Vec<_> = row.query.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let headers = [("host", &*host)];
    let authorization = fields(("AKIDLIMITED", "limited"), &row.method, path, &query, &headers);
    let headers = [&headers[..], &[("authorization", &*authorization)], more].concat();
    let headers: Vec<_> = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    real.running.send(row.method.clone(), &target(path, &query), &headers, row.body.clone()).await
}

/// A17, A24, A25: no header makes a bucket somebody's who may not use it, and the answer is that for a bucket
/// that is not there.
#[tokio::test(flavor = "multi_thread")]
async fn no_header_opens_a_bucket_of_somebody_else() {
    let real = Real::with_bucket().await;
    let kept = things(&real.running.client, 0).await;
    real.running.keys.set("AKIDLIMITED", "limited", Scope::Admin, &["mine-*"]);
    let mine = "mine-1.cos.ap-guangzhou.myqcloud.com";
    let spoofs: [&[(&str, &str)]; 6] = [
        &[],
        &[("x-forwarded-host", mine), ("x-original-host", mine), ("forwarded", "host=mine-1")],
        &[("x-forwarded-for", "127.0.0.1"), ("x-real-ip", "127.0.0.1")],
        &[("userid", ACCESS_KEY), ("username", ACCESS_KEY), ("groups", "admin"), ("principal", "*")],
        &[("x-original-url", "/mine-1/key"), ("x-rewrite-url", "/mine-1/key")],
        &[("x-http-method-override", "HEAD"), ("x-method-override", "GET")],
    ];
    for operation in operations() {
        let row = row_of(&operation, &kept);
        if row.needs_no_bucket() {
            continue;
        }
        let end = (real.queue.stat().durable_end, real.events().len());
        for more in spoofs {
            let what = format!("{operation} with {more:?}");
            let answer = as_limited(&real, &row, &kept.bucket, more).await;
            let nowhere = as_limited(&real, &row, "nobody-has-this", more).await;
            assert_eq!((answer.status, nowhere.status), (403.into_status(), 403.into_status()), "{what}");
            if row.method != Method::HEAD {
                assert_eq!(answer.error_code(), Some("AccessDenied"), "{what}: {answer:?}");
                assert_complete_error(&answer);
            }
            if row.headers.is_empty() {
                let answer = as_limited_by_cos(&real, &row, &kept.bucket, more).await;
                let nowhere = as_limited_by_cos(&real, &row, "nobody-has-this", more).await;
                assert_eq!(answer.status, nowhere.status, "{what}, by COS: it tells what exists");
                let unknown = matches!(answer.error_code(), Some("NotImplemented" | "MethodNotAllowed"));
                assert!(answer.status == 403 || unknown, "{what}, by COS: {answer:?}");
            }
        }
        assert_eq!((real.queue.stat().durable_end, real.events().len()), end, "{operation}: it happened");
    }
}

trait IntoStatus {
    fn into_status(self) -> http::StatusCode;
}

impl IntoStatus for u16 {
    fn into_status(self) -> http::StatusCode {
        http::StatusCode::from_u16(self).expect("a status")
    }
}

/// A19, A20: who may only read removes no version and no key of a list; who may use another bucket only,
/// neither.
#[tokio::test]
async fn versions_and_lists_need_the_scope_that_their_bucket_needs() {
    let real = Real::with_bucket().await;
    let Things { bucket, .. } = things(&real.running.client, 0).await;
    let versioned = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    let path = format!("/{bucket}");
    let set = real.ask(Method::PUT, &path, &[("versioning", "")], &[], versioned).await;
    assert_eq!(set.status, 200);
    let mut ids = Vec::new();
    for body in ["one", "two"] {
        let put = real.running.client.put(&bucket, "v", body).await.expect("answered");
        ids.push(put.header("x-amz-version-id").expect("a version").to_owned());
    }
    let client = real.running.client_of("AKIDLIMITED", "limited");
    let object = format!("/{bucket}/v");
    let list = |id: &str| {
        let object =
            |key: &str, id: &str| format!("<Object><Key>{key}</Key><VersionId>{id}</VersionId></Object>");
        format!("<Delete>{}{}<Object><Key>key</Key></Object></Delete>", object("v", id), object("v", "null"))
    };
    for (scope, pattern) in [(Scope::Read, &*bucket), (Scope::Admin, "mine-*")] {
        real.running.keys.set("AKIDLIMITED", "limited", scope, &[pattern]);
        let events = real.events().len();
        for id in &ids {
            let query = [("versionId", id.as_str())];
            let get = client.request(Method::GET, &object, &query, &[], "".into()).await.expect("answered");
            assert_eq!(get.status == 200, scope == Scope::Read, "{scope:?}: {get:?}");
            let gone = client.request(Method::DELETE, &object, &query, &[], "".into()).await;
            assert_eq!(gone.expect("answered").status, 403, "{scope:?}");
            let query = [("delete", "")];
            let all = client.request(Method::POST, &path, &query, &[], list(id).into()).await;
            let all = all.expect("answered");
            assert_eq!((all.status.as_u16(), all.error_code()), (403, Some("AccessDenied")), "{scope:?}");
        }
        assert_eq!(real.events().len(), events, "{scope:?}");
    }
    for (id, body) in ids.iter().zip(["one", "two"]) {
        let query = [("versionId", id.as_str())];
        assert_eq!(&*real.ask(Method::GET, &object, &query, &[], "").await.body, body.as_bytes());
    }
    // With the scope, each key and version of a list is removed and told for itself.
    real.running.keys.set("AKIDLIMITED", "limited", Scope::Write, &[&bucket]);
    let before = real.events().len();
    let all = client.request(Method::POST, &path, &[("delete", "")], &[], list(&ids[0]).into()).await;
    assert_eq!(all.expect("answered").status, 200);
    let removed = real.events()[before..].iter().map(|event| event.key.to_string()).collect::<Vec<_>>();
    assert_eq!(removed, ["v", "key"], "the null version was not there");
}
