//! POST Object as browsers and scripts send it, of both families: what works, and every way in which a form
//! must not work (A21).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac};
use http::Method;
use jiff::Timestamp;
use sha1::{Digest, Sha1};
use sha2::Sha256;

use super::multipart::text;
use super::qsign::key_time;
use super::real::Real;
use super::support::{ACCESS_KEY, REGION, SECRET, told};
use crate::client::Response;
use crate::client::sign::amz_date;
use crate::config::credentials::Scope;
use crate::event::EventKind;
use crate::frontend::family::Family;
use crate::frontend::guard::{hmac_sha1, signing_key};

/// A form in the making.
#[derive(Clone)]
struct Form {
    family: Family,
    pair: (&'static str, &'static str),
    /// Conditions beside those that name the signature.
    conditions: String,
    expires: i64,
    fields: Vec<(String, String)>,
    filename: &'static str,
    file: Vec<u8>,
    /// Parts after the file.
    behind: Vec<(&'static str, &'static str)>,
}

impl Form {
    fn new(family: Family) -> Self {
        Self {
            family,
            pair: (ACCESS_KEY, SECRET),
            conditions: "{\"bucket\": \"bucket\"}, [\"starts-with\", \"$key\", \"in/\"]".into(),
            expires: 600,
            fields: vec![("key".into(), "in/a".into())],
            filename: "a.txt",
            file: b"hello".to_vec(),
            behind: Vec::new(),
        }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.retain(|(known, _)| known != name);
        self.fields.push((name.into(), value.into()));
        self
    }

    fn allowing(mut self, condition: &str) -> Self {
        self.conditions = format!("{}, {condition}", self.conditions);
        self
    }

    /// The fields that sign, and the policy.
    fn signed(&self) -> Vec<(String, String)> {
        let now = Timestamp::now();
        let expiration = now.checked_add(jiff::SignedDuration::from_secs(self.expires)).expect("a time");
        let policy = |names: &[(&str, &str)]| {
            let own = names.iter().map(|(name, value)| format!("{{\"{name}\": \"{value}\"}}"));
            let all: Vec<_> = own.chain([self.conditions.clone()]).collect();
            format!("{{\"expiration\": \"{expiration}\", \"conditions\": [{}]}}", all.join(", "))
        };
        let (key, secret) = self.pair;
        let fields = match self.family {
            Family::S3 => {
                let date = amz_date(now);
                let credential = format!("{key}/{}/{REGION}/s3/aws4_request", &date[..8]);
                let mut fields = vec![
                    ("x-amz-algorithm", "AWS4-HMAC-SHA256".to_owned()),
                    ("x-amz-credential", credential),
                    ("x-amz-date", date.clone()),
                ];
                let names: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
                let policy = BASE64.encode(policy(&names));
                let step = |key: &[u8], text: &str| {
                    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any key");
                    mac.update(text.as_bytes());
                    mac.finalize().into_bytes().to_vec()
                };
                let day = step(format!("AWS4{secret}").as_bytes(), &date[..8]);
                let key = step(&step(&step(&day, REGION), "s3"), "aws4_request");
                fields.push(("x-amz-signature", hex::encode(step(&key, &policy))));
                fields.push(("policy", policy));
                fields
            }
            Family::Cos => {
                let time = key_time();
                let names = [("q-sign-algorithm", "sha1"), ("q-ak", key), ("q-sign-time", &*time)];
                let text = policy(&names);
                let signature = hmac_sha1(&signing_key(secret, &time), &hex::encode(Sha1::digest(&text)));
                vec![
                    ("q-sign-algorithm", "sha1".to_owned()),
                    ("q-ak", key.to_owned()),
                    ("q-key-time", time),
                    ("q-signature", hex::encode(signature)),
                    ("policy", BASE64.encode(text)),
                ]
            }
        };
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn body(&self, fields: &[(String, String)]) -> Vec<u8> {
        let mut out = Vec::new();
        let part = |out: &mut Vec<u8>, head: &str, data: &[u8]| {
            out.extend_from_slice(
                format!("--xyz\r\nContent-Disposition: form-data; {head}\r\n\r\n").as_bytes(),
            );
            out.extend_from_slice(data);
            out.extend_from_slice(b"\r\n");
        };
        for (name, value) in fields {
            part(&mut out, &format!("name=\"{name}\""), value.as_bytes());
        }
        let file = format!("name=\"file\"; filename=\"{}\"\r\nContent-Type: text/evil", self.filename);
        part(&mut out, &file, &self.file);
        for (name, value) in &self.behind {
            part(&mut out, &format!("name=\"{name}\""), value.as_bytes());
        }
        out.extend_from_slice(b"--xyz--\r\n");
        out
    }

    async fn send(&self, real: &Real) -> Response {
        let fields = [self.fields.clone(), self.signed()].concat();
        post(real, "/bucket", self.body(&fields)).await
    }
}

async fn post(real: &Real, target: &str, body: Vec<u8>) -> Response {
    let headers = [
        ("content-type".to_owned(), "multipart/form-data; boundary=xyz".to_owned()),
        ("content-length".to_owned(), body.len().to_string()),
    ];
    real.running.send(Method::POST, target, &headers, body).await
}

const BOTH: [Family; 2] = [Family::S3, Family::Cos];

#[tokio::test]
async fn a_form_of_either_family_makes_an_object() {
    for family in BOTH {
        let real = Real::with_bucket().await;
        let prefix = if family == Family::S3 { "x-amz" } else { "x-cos" };
        let form = Form::new(family)
            .with("key", "in/${filename}")
            .with("Content-Type", "text/plain")
            .with(&format!("{prefix}-meta-color"), "blue")
            .with("acl", "private")
            .allowing("[\"starts-with\", \"$Content-Type\", \"text/\"]")
            .allowing(&format!("{{\"{prefix}-meta-color\": \"blue\", \"acl\": \"private\"}}"))
            .allowing("[\"content-length-range\", 1, 5]");
        let form = Form { filename: "C:\\dir\\..\\ä b.txt", behind: vec![("submit", "Upload")], ..form };
        let answer = form.send(&real).await;
        assert_eq!(answer.status, 204, "{answer:?}");
        assert_eq!(answer.header("etag"), Some("\"5d41402abc4b2a76b9719d911017c592\""));
        let events = real.events();
        let id = answer.header(&format!("{prefix}-request-id")).expect("an id");
        let [event] = &events[..] else { panic!("{events:?}") };
        assert_eq!((event.kind, &*event.key, event.size), (EventKind::CreatedPost, "in/ä b.txt", 5));
        assert_eq!((&*event.request.id, &*event.request.principal), (id, ACCESS_KEY));
        let crc64 = (family == Family::Cos).then_some("11177612005948864433");
        assert_eq!(answer.header("x-cos-hash-crc64ecma"), crc64);
        let got = real.ask(Method::GET, "/bucket/in/ä b.txt", &[], &[], "").await;
        assert_eq!((&*got.body, got.header("content-type")), (&b"hello"[..], Some("text/plain")));
        assert_eq!(got.header("x-amz-meta-color"), Some("blue"));
    }
}

#[tokio::test]
async fn a_form_is_answered_as_it_wants() {
    let real = Real::with_bucket().await;
    for family in BOTH {
        for (wanted, status) in [("200", 200), ("201", 201), ("204", 204), ("301", 204), ("", 204)] {
            let form = Form::new(family).with("success_action_status", wanted);
            let form = form.allowing("[\"starts-with\", \"$success_action_status\", \"\"]");
            let answer = form.send(&real).await;
            assert_eq!(answer.status.as_u16(), status, "{wanted}: {answer:?}");
            if status == 201 {
                let got = ["Bucket", "Key", "ETag"].map(|name| text(&answer, name));
                assert_eq!(got, ["bucket", "in/a", "\"5d41402abc4b2a76b9719d911017c592\""]);
                assert!(text(&answer, "Location").ends_with("/bucket/in/a"), "{answer:?}");
            }
        }
        for (page, location) in [
            ("https://app.example.com/done", "https://app.example.com/done?"),
            ("https://app.example.com/done?a=1", "https://app.example.com/done?a=1&"),
        ] {
            let form = Form::new(family).with("success_action_redirect", page);
            let answer =
                form.allowing(&format!("{{\"success_action_redirect\": \"{page}\"}}")).send(&real).await;
            let rest = "bucket=bucket&key=in%2Fa&etag=%225d41402abc4b2a76b9719d911017c592%22";
            assert_eq!(answer.status, 303);
            assert_eq!(answer.header("location"), Some(&*format!("{location}{rest}")));
        }
        for page in ["javascript:alert(1)", "/done", "https://", "nothing"] {
            let form = Form::new(family).with("success_action_redirect", page);
            let form = form.allowing("[\"starts-with\", \"$success_action_redirect\", \"\"]");
            assert_eq!(form.send(&real).await.status, 204, "{page}");
        }
    }
    assert!(real.events().iter().all(|event| event.kind == EventKind::CreatedPost));
}

/// What a form is, as it was sent, and what it is told.
type Case = (&'static str, Form, (u16, &'static str));

/// Every form that the policy forbids, or that is not whole.
fn forbidden(family: Family) -> Vec<Case> {
    let (form, prefix) = (Form::new(family), if family == Family::S3 { "x-amz" } else { "x-cos" });
    let other = if family == Family::S3 { "x-cos-meta-a" } else { "x-amz-meta-a" };
    let meta = format!("{prefix}-meta-a");
    let denied = (403, "AccessDenied");
    let many = "m".repeat(21 << 10);
    vec![
        ("expired", Form { expires: -1, ..form.clone() }, denied),
        ("wrong prefix", form.clone().with("key", "out/a"), denied),
        ("another bucket in the policy", form.clone().allowing("{\"bucket\": \"other\"}"), denied),
        ("another bucket in the form", form.clone().with("bucket", "other"), denied),
        ("an extra field", form.clone().with(&meta, "1"), denied),
        ("an extra redirect", form.clone().with("success_action_redirect", "https://evil.example"), denied),
        ("a missing field", form.clone().allowing("{\"acl\": \"private\"}"), denied),
        (
            "another secret",
            Form { pair: (ACCESS_KEY, "wrong"), ..form.clone() },
            (403, "SignatureDoesNotMatch"),
        ),
        (
            "an unknown key",
            Form { pair: ("AKIDNOBODY", SECRET), ..form.clone() },
            (403, "InvalidAccessKeyId"),
        ),
        ("a reader", Form { pair: ("AKIDREAD", "read"), ..form.clone() }, denied),
        ("another's bucket", Form { pair: ("AKIDELSE", "else"), ..form.clone() }, denied),
        ("too large", form.clone().allowing("[\"content-length-range\", 0, 4]"), (400, "EntityTooLarge")),
        ("too small", form.clone().allowing("[\"content-length-range\", 6, 9]"), (400, "EntityTooSmall")),
        (
            "another condition",
            form.clone().allowing("[\"not\", \"$key\", \"x\"]"),
            (400, "InvalidPolicyDocument"),
        ),
        ("no key", Form { fields: vec![], ..form.clone() }, denied),
        ("an empty key", form.clone().with("key", "").allowing("{\"key\": \"\"}"), denied),
        ("two files", Form { behind: vec![("file", "x")], ..form.clone() }, (400, "InvalidArgument")),
        ("a key behind", Form { behind: vec![("Key", "in/b")], ..form.clone() }, (400, "InvalidArgument")),
        (
            "a replica",
            form.clone()
                .with(&format!("{prefix}-tidings-version"), "1")
                .allowing(&format!("{{\"{prefix}-tidings-version\": \"1\"}}")),
            if family == Family::S3 { denied } else { (501, "NotImplemented") },
        ),
        (
            "both families",
            form.clone().with(other, "1").allowing(&format!("{{\"{other}\": \"1\"}}")),
            (400, "InvalidArgument"),
        ),
        ("a large field", form.clone().with(&meta, &many), (400, "MaxPostPreDataLengthExceededError")),
        (
            "a public list",
            form.clone().with("acl", "public-read").allowing("{\"acl\": \"public-read\"}"),
            (400, if family == Family::S3 { "AccessControlListNotSupported" } else { "InvalidArgument" }),
        ),
        (
            "a wrong MD5",
            form.clone()
                .with("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")
                .allowing("[\"starts-with\", \"$content-md5\", \"\"]"),
            (400, "BadDigest"),
        ),
    ]
}

/// A21: every form that must not work, and nothing happens.
#[tokio::test]
async fn what_the_policy_does_not_allow_does_not_happen() {
    let real = Real::with_bucket().await;
    real.running.client.create_bucket("other").await.expect("answered");
    real.running.keys.set("AKIDREAD", "read", Scope::Read, &["bucket"]);
    real.running.keys.set("AKIDELSE", "else", Scope::Admin, &["other*"]);
    for family in BOTH {
        for (what, form, wanted) in forbidden(family) {
            let answer = form.send(&real).await;
            assert_eq!(told(&answer), wanted, "{what} {family:?}: {answer:?}");
        }
    }
    assert_eq!(real.events().len(), 0);
    real.until_blobs(0).await;
}

#[tokio::test]
async fn a_form_that_is_touched_is_none() {
    let real = Real::with_bucket().await;
    for family in BOTH {
        let form = Form::new(family);
        let signed = [form.fields.clone(), form.signed()].concat();
        let body = form.body(&signed);
        for gone in signed.iter().map(|(name, _)| name).filter(|name| *name != "key") {
            let fields: Vec<_> = signed.iter().filter(|(name, _)| name != gone).cloned().collect();
            let answer = post(&real, "/bucket", form.body(&fields)).await;
            assert!(matches!(answer.status.as_u16(), 400 | 403), "{gone}: {answer:?}");
        }
        for twice in &signed {
            let fields = [signed.clone(), vec![twice.clone()]].concat();
            let answer = post(&real, "/bucket", form.body(&fields)).await;
            assert_eq!(told(&answer), (400, "MalformedPOSTRequest"), "{twice:?}");
        }
        for (name, value) in &signed {
            let other = if name == "key" {
                "in/../b\0".to_owned()
            } else {
                format!("{}x", &value[..value.len() - 1])
            };
            let fields: Vec<_> = signed
                .iter()
                .map(|(n, v)| (n.clone(), if n == name { other.clone() } else { v.clone() }))
                .collect();
            let answer = post(&real, "/bucket", form.body(&fields)).await;
            assert!(matches!(answer.status.as_u16(), 400 | 403), "{name}: {answer:?}");
        }
        // Where it goes is part of what is signed.
        for (target, wanted) in [
            ("/other", (403, "AccessDenied")),
            ("/", (405, "MethodNotAllowed")),
            ("/bucket/in/a", (405, "MethodNotAllowed")),
            ("/bucket?uploads", (501, "NotImplemented")),
        ] {
            assert_eq!(told(&post(&real, target, body.clone()).await), wanted, "{target}");
        }
        // The file before what allows it; no file; a form that breaks off; both signatures.
        let first = Form { behind: vec![("policy", "x")], ..form.clone() }.body(&form.fields);
        assert_eq!(told(&post(&real, "/bucket", first).await), (403, "AccessDenied"));
        let text = String::from_utf8(body.clone()).expect("text");
        let no_file = text.replace("name=\"file\"", "name=\"other\"").into_bytes();
        assert_eq!(told(&post(&real, "/bucket", no_file).await), (400, "InvalidArgument"));
        let cut = body[..body.len() - 10].to_vec();
        assert_eq!(told(&post(&real, "/bucket", cut).await), (400, "IncompleteBody"));
        let other = Form::new(if family == Family::S3 { Family::Cos } else { Family::S3 });
        let mut both = [form.fields.clone(), form.signed(), other.signed()].concat();
        both.dedup_by(|a, b| a.0 == b.0);
        let answer = post(&real, "/bucket", form.body(&both)).await;
        assert_eq!(answer.status, 400, "{answer:?}");
    }
    let form = Form::new(Family::S3);
    let body = form.body(&[form.fields.clone(), form.signed()].concat());
    let (mut headers, ..) = real.running.sign("POST", "/bucket", &[], "UNSIGNED-PAYLOAD", &[]);
    headers.push(("content-type".into(), "multipart/form-data; boundary=xyz".into()));
    let answer = real.running.send(Method::POST, "/bucket", &headers, body).await;
    assert_eq!(told(&answer), (400, "InvalidRequest"), "signed twice");
    assert_eq!(real.events().len(), 0);
}

/// What is larger than a record takes goes to a file, frame by frame; one that is given up leaves nothing.
#[tokio::test]
async fn large_files_are_streamed() {
    let real = Real::with_bucket().await;
    let file: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let form = Form { file: file.clone(), ..Form::new(Family::Cos) };
    assert_eq!(form.send(&real).await.status, 204);
    let got = real.ask(Method::GET, "/bucket/in/a", &[], &[], "").await;
    assert!(got.body == file, "3 MB did not come back");
    assert_eq!(real.blob_files(), 1);
    let form = form.allowing("[\"content-length-range\", 0, 2999999]");
    assert_eq!(told(&form.send(&real).await), (400, "EntityTooLarge"));
    let form = Form { file: vec![0; 9 << 20], ..Form::new(Family::S3) };
    assert_eq!(told(&form.send(&real).await), (400, "EntityTooLarge"), "the largest object is 8 MiB");
    assert_eq!(real.events().len(), 1);
    real.until_blobs(1).await;
}
