//! The API of SCF: whose requests are taken.
//!
//! Must never run code, nor sign with the product's own signer: there is one here, after the vendor's.

use std::collections::BTreeMap;

use bytes::Bytes;
use hmac::{Hmac, Mac as _};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::config::credentials::{Credential, Scope};

const NOW: i64 = 1_800_000_000;
const SECRET: &str = "secret-secret";
const DATE: &str = "2027-01-15";

#[async_trait]
impl ScfBackend for Fake {
    fn credential(&self, access_key: &str) -> Option<Arc<Credential>> {
        let unlimited = Credential::unlimited(SECRET.into());
        let some = vec!["photos".to_owned(), "ph*".to_owned()];
        Some(Arc::new(match access_key {
            "admin" => unlimited,
            "writer" => Credential { scope: Scope::Write, ..unlimited },
            "limited" => Credential { buckets: some, ..unlimited },
            _ => return None,
        }))
    }

    fn now_s(&self) -> i64 {
        NOW
    }

    fn request_id(&self) -> String {
        "r-1".into()
    }

    fn region(&self) -> &str {
        "ap-guangzhou"
    }

    fn appid(&self) -> &str {
        "1250000000"
    }

    fn host_of(&self, bucket: &str) -> String {
        format!("{bucket}.cos.ap-guangzhou.myqcloud.com")
    }

    fn bucket_at(&self, host: &str) -> Option<String> {
        host.strip_suffix(".cos.ap-guangzhou.myqcloud.com").map(str::to_owned)
    }

    async fn object(&self, bucket: &str, key: &str, _: u64) -> Result<Bytes, ChangeError> {
        match (bucket, key) {
            ("code-1250000000", "f.zip") => Ok("zipped".into()),
            ("code-1250000000", _) => Err(ChangeError::BadRequest("the bucket has no such object".into())),
            _ => Err(ChangeError::NoSuchBucket),
        }
    }
}

/// One request as the vendor's SDK for Python makes it.
pub(super) struct Call<'a> {
    headers: BTreeMap<&'a str, String>,
    signed: &'a str,
    scope: String,
    access_key: &'a str,
    body: String,
}

pub(super) fn call<'a>(action: &str, body: &Value) -> Call<'a> {
    let headers = BTreeMap::from([
        ("content-type", "application/json".to_owned()),
        ("host", "http://127.0.0.1:9001".to_owned()),
        ("x-tc-action", action.to_owned()),
        ("x-tc-region", "ap-guangzhou".to_owned()),
        ("x-tc-timestamp", NOW.to_string()),
        ("x-tc-version", "2018-04-16".to_owned()),
    ]);
    let scope = format!("{DATE}/scf/tc3_request");
    Call { headers, signed: "content-type;host", scope, access_key: "admin", body: body.to_string() }
}

impl Call<'_> {
    fn with(mut self, header: &'static str, value: impl Into<String>) -> Self {
        self.headers.insert(header, value.into());
        self
    }

    fn signature(&self) -> String {
        let hash = |text: &str| hex::encode(Sha256::digest(text));
        let mac = |key: &[u8], text: &str| {
            let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length");
            mac.update(text.as_bytes());
            mac.finalize().into_bytes().to_vec()
        };
        let of = |name: &str| format!("{name}:{}\n", self.headers.get(name).cloned().unwrap_or_default());
        let headers: String = self.signed.split(';').map(of).collect();
        let canonical = format!("POST\n/\n\n{headers}\n{}\n{}", self.signed, hash(&self.body));
        let (time, scope) = (&self.headers["x-tc-timestamp"], &self.scope);
        let text = format!("TC3-HMAC-SHA256\n{time}\n{scope}\n{}", hash(&canonical));
        let mut parts = scope.split('/');
        let mut key = format!("TC3{SECRET}").into_bytes();
        for part in parts.by_ref() {
            key = mac(&key, part);
        }
        hex::encode(mac(&key, &text))
    }

    fn authorized(self) -> Self {
        let Self { access_key, signed, scope, .. } = &self;
        let signature = self.signature();
        let value = format!(
            "TC3-HMAC-SHA256 Credential={access_key}/{scope}, SignedHeaders={signed}, Signature={signature}"
        );
        self.with("authorization", value)
    }
}

impl World {
    async fn send(&self, call: Call<'_>) -> Response {
        let mut request = Request::builder().method("POST").uri("/");
        for (name, value) in call.headers {
            request = request.header(name, value);
        }
        let mut request = request.body(Body::from(call.body)).expect("a request");
        request.extensions_mut().insert(Peer(LOCAL.parse().expect("an address")));
        let entrance = Entrance { loopback: true, deadline: Duration::from_secs(30) };
        let answer = self.admin.router(entrance).oneshot(request).await.expect("infallible");
        document::checked("POST", "/", answer).await
    }

    /// The answer's object, of a request that is signed as it is sent.
    pub(super) async fn scf(&self, call: Call<'_>) -> Value {
        let answer = self.send(call.authorized()).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["content-type"], "application/json");
        let mut body = json(answer).await;
        assert_eq!(body["Response"]["RequestId"], "r-1");
        body["Response"].take()
    }
}

pub(super) fn code_of(answer: &Value) -> String {
    let message = answer["Error"]["Message"].as_str().unwrap_or_default();
    assert!(!message.is_empty() && !message.contains("hunter2"), "{answer}");
    answer["Error"]["Code"].as_str().expect("a code").to_owned()
}

#[test]
fn the_signer_here_is_that_of_the_vendors_sdk() {
    let mut signed = call("GetFunction", &Value::Null);
    signed.body = r#"{"FunctionName": "hello"}"#.to_owned();
    assert_eq!(signed.signature(), "6a49d74e42da178b48c268c4bce2946f8eab8ea351ab0df5da990fa1a54a7b06");
}

#[tokio::test]
async fn only_a_fresh_signature_of_this_very_request_by_a_key_that_may_do_everything_is_taken() {
    let world = world();
    let get = || call("GetFunction", &json!({ "FunctionName": "hello" }));
    assert_eq!(world.scf(get()).await["FunctionName"], "hello");
    // Headers in any number and order, their values as they are or in lower case, as the scheme says.
    let all = || Call { signed: "host;x-tc-action;content-type", ..get() };
    assert_eq!(world.scf(all()).await["FunctionName"], "hello");
    let lower = all().with("x-tc-action", "getfunction").authorized().with("x-tc-action", "GetFunction");
    assert_eq!(json(world.send(lower).await).await["Response"]["FunctionName"], "hello");
    let other = all().authorized().with("x-tc-action", "DeleteFunction");
    let other = json(world.send(other).await).await;
    assert_eq!(code_of(&other["Response"]), "AuthFailure.SignatureFailure", "an action that was signed");
    let of = async |call: Call<'_>| code_of(&world.scf(call).await);
    let signed = |time: i64| get().with("x-tc-timestamp", time.to_string());
    for (time, fine) in [(NOW - 300, true), (NOW + 300, true), (NOW - 301, false), (NOW + 301, false)] {
        let answer = world.scf(signed(time)).await;
        assert_eq!(answer.get("Error").is_none(), fine, "{time}: {answer}");
        assert!(fine || code_of(&answer) == "AuthFailure.SignatureExpire", "{time}: {answer}");
    }
    let invalid = "AuthFailure.InvalidAuthorization";
    let other_scope = |scope: &str| Call { scope: scope.to_owned(), ..get() };
    for (call, code) in [
        (signed(NOW - 86_400), invalid),
        (get().with("x-tc-timestamp", "-1"), invalid),
        (get().with("x-tc-timestamp", "99999999999999"), invalid),
        (other_scope("2027-01-15/cvm/tc3_request"), invalid),
        (other_scope("2027-01-15/scf/aws4_request"), invalid),
        (other_scope("2027-01-14/scf/tc3_request"), invalid),
        (Call { signed: "content-type", ..get() }, invalid),
        (Call { signed: "host", ..get() }, invalid),
        (Call { signed: "content-type;host;x-tc-nothing", ..get() }, invalid),
        (Call { signed: "content-type;host;host", ..get() }, invalid),
        (Call { signed: "Content-Type;host", ..get() }, invalid),
        (get().with("x-tc-content-sha256", "UNSIGNED-PAYLOAD"), invalid),
        (get().with("x-tc-token", "t"), "AuthFailure.TokenFailure"),
        (Call { access_key: "nobody", ..get() }, "AuthFailure.SecretIdNotFound"),
        (Call { access_key: "writer", ..get() }, "AuthFailure.UnauthorizedOperation"),
        (Call { access_key: "limited", ..get() }, "AuthFailure.UnauthorizedOperation"),
        (get().with("x-tc-action", "GetAccount"), "InvalidAction"),
        (get().with("x-tc-action", "getFunction"), "InvalidAction"),
        (get().with("x-tc-version", "2018-04-17"), "NoSuchVersion"),
        (get().with("x-tc-region", "ap-beijing"), "UnsupportedRegion"),
        (get().with("content-type", "multipart/form-data"), "InvalidRequest"),
    ] {
        let told = format!("{:?} {}", call.headers, call.signed);
        assert_eq!(of(call).await, code, "{told}");
    }
    assert!(world.audit().is_empty());
}

#[tokio::test]
async fn what_is_changed_after_it_was_signed_is_refused() {
    let world = world();
    let signed = || call("DeleteFunction", &json!({ "FunctionName": "hello" })).authorized();
    let of = async |call: Call<'_>| code_of(&json(world.send(call).await).await["Response"]);
    let wrong = "AuthFailure.SignatureFailure";
    let body = Call { body: json!({ "FunctionName": "other" }).to_string(), ..signed() };
    assert_eq!(of(body).await, wrong);
    assert_eq!(of(signed().with("host", "localhost:9001")).await, wrong);
    assert_eq!(of(signed().with("content-type", "application/json; charset=utf-8")).await, wrong);
    assert_eq!(of(signed().with("x-tc-timestamp", (NOW + 1).to_string())).await, wrong);
    let digit = signed().headers["authorization"].clone();
    let (start, last) = digit.split_at(digit.len() - 1);
    let other = if last == "0" { "1" } else { "0" };
    assert_eq!(of(signed().with("authorization", format!("{start}{other}"))).await, wrong);
    for value in
        ["Bearer 0123456789abcdef0123456789abcdef", "TC3-HMAC-SHA256 ", "TC3-HMAC-SHA256 Credential=x", ""]
    {
        assert_eq!(of(signed().with("authorization", value)).await, "AuthFailure.InvalidAuthorization");
    }
    // On a loopback listener no other host is answered, whoever signed it.
    for host in [
        "evil.example",
        "http://evil.example",
        "http://127.0.0.1.evil.example:1",
        "https://",
        "ftp://127.0.0.1",
    ] {
        let call = call("GetFunction", &json!({ "FunctionName": "hello" })).with("host", host).authorized();
        assert_eq!(world.send(call).await.status(), StatusCode::MISDIRECTED_REQUEST, "{host}");
    }
    assert!(world.audit().is_empty(), "nothing was begun");
}

#[tokio::test]
async fn bodies_are_bounded_by_what_their_action_needs() {
    let world = world();
    let large = |action: &str, bytes: usize| {
        call(action, &json!({ "FunctionName": "hello", "x": "x".repeat(bytes) }))
    };
    let of = async |call: Call<'_>| code_of(&world.scf(call).await);
    assert_eq!(of(large("GetFunction", 64 << 10)).await, "RequestSizeLimitExceeded");
    assert_eq!(of(large("GetFunction", 60 << 10)).await, "UnknownParameter");
    assert_eq!(of(large("InvokeFunction", 1 << 20)).await, "UnknownParameter");
    assert_eq!(of(large("InvokeFunction", 13 << 20)).await, "RequestSizeLimitExceeded");
    assert_eq!(of(large("UpdateFunctionCode", 14 << 20)).await, "UnknownParameter");
}
