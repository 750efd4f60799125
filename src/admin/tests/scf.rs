//! The API of SCF: whose requests are taken, and what becomes of the vendor's words.
//!
//! Must never run code, nor sign with the product's own signer: there is one here, written after the vendor's.

use std::collections::BTreeMap;

use bytes::Bytes;
use hmac::{Hmac, Mac as _};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::config::credentials::{Credential, Scope};
use crate::functions::FunctionChange;

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
struct Call<'a> {
    headers: BTreeMap<&'a str, String>,
    signed: &'a str,
    scope: String,
    access_key: &'a str,
    body: String,
}

fn call<'a>(action: &str, body: &Value) -> Call<'a> {
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
    async fn scf(&self, call: Call<'_>) -> Value {
        let answer = self.send(call.authorized()).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["content-type"], "application/json");
        let mut body = json(answer).await;
        assert_eq!(body["Response"]["RequestId"], "r-1");
        body["Response"].take()
    }

    async fn acted(&self, action: &str, body: Value) -> Value {
        let answer = self.scf(call(action, &body)).await;
        assert!(answer.get("Error").is_none(), "{action} {body}: {answer}");
        answer
    }

    async fn refused(&self, action: &str, body: Value) -> String {
        code_of(&self.scf(call(action, &body)).await)
    }

    fn made(&self) -> FunctionChange {
        self.fake.made.lock().expect("held briefly").take().expect("something was made")
    }
}

fn code_of(answer: &Value) -> String {
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

#[tokio::test]
async fn functions_are_made_of_the_vendors_words_or_not_at_all() {
    let world = world();
    let wish = json!({
        "FunctionName": "fresh", "Runtime": "Python3.6", "Handler": "index.main_handler", "Timeout": 9,
        "MemorySize": 256, "InitTimeout": 60, "Description": "d", "Type": "Event", "CodeSource": "ZipFile",
        "Code": { "ZipFile": "emlw" }, "Namespace": "default", "PublicNetConfig": { "PublicNetStatus": "ENABLE" },
        "Environment": { "Variables": [{ "Key": "TOKEN", "Value": "hunter2" }] }, "Layers": [],
        "VpcConfig": { "VpcId": "", "SubnetId": "" }, "AsyncRunEnable": "FALSE",
    });
    world.acted("CreateFunction", wish.clone()).await;
    let made = world.made();
    assert_eq!((made.timeout_s, made.memory_mb, made.start_timeout_s), (Some(9), Some(256), Some(60)));
    assert_eq!(made.environment, BTreeMap::from([("TOKEN".to_owned(), Some("hunter2".to_owned()))]));
    assert_eq!(made.code.and_then(|code| code.zip).as_deref(), Some("emlw"));
    assert_eq!(made.network, Some(crate::functions::Network::All));
    let lines = world.audit();
    let told = ["who", "action", "target", "asked"].map(|name| lines[1][name].as_str().expect("text"));
    assert_eq!(
        (told, &lines[1]["result"]),
        (["admin", "function:create", "fresh", "CreateFunction"], &"done".into())
    );
    assert!(!format!("{lines:?}").contains("hunter2"));
    let object =
        json!({ "CosBucketName": "code", "CosObjectName": "/f.zip", "CosBucketRegion": "ap-guangzhou" });
    let mut of_object = wish.clone();
    (of_object["Code"], of_object["CodeSource"]) = (object, "Cos".into());
    world.acted("CreateFunction", of_object).await;
    assert_eq!(world.made().code.and_then(|code| code.zip).as_deref(), Some("emlwcGVk"));
    for (name, value, code) in [
        ("FunctionName", json!("hello"), "ResourceInUse.Function"),
        ("FunctionName", json!("1x"), "InvalidParameterValue.FunctionName"),
        ("FunctionName", json!(7), "InvalidParameter"),
        ("FunctionName", Value::Null, "MissingParameter"),
        ("Runtime", Value::Null, "MissingParameter.Runtime"),
        ("Namespace", json!("other"), "ResourceNotFound.Namespace"),
        ("Type", json!("HTTP"), "UnsupportedOperation"),
        ("CodeSource", json!("Git"), "UnsupportedOperation"),
        ("MemorySize", json!(-1), "InvalidParameterValue"),
        ("MemorySize", json!("256"), "InvalidParameter"),
        ("Role", json!("hunter2"), "UnsupportedOperation"),
        ("Layers", json!([{ "LayerName": "hunter2", "LayerVersion": 1 }]), "UnsupportedOperation"),
        ("DeadLetterConfig", json!({ "Type": "TOPIC", "Name": "hunter2" }), "UnsupportedOperation"),
        ("PublicNetConfig", json!({ "PublicNetStatus": "maybe" }), "InvalidParameterValue.PublicNetConfig"),
        ("hunter2", json!("x"), "UnknownParameter"),
        ("Code", Value::Null, "MissingParameter.Code"),
        ("Code", json!({}), "MissingParameter.Code"),
        ("Code", json!({ "DemoId": "demo" }), "UnsupportedOperation"),
        ("Code", json!({ "ZipFile": "emlw", "GitUrl": "hunter2" }), "UnsupportedOperation"),
        ("Code", json!({ "ZipFile": "emlw", "CosBucketName": "code" }), "InvalidParameterValue"),
        ("Code", json!({ "CosBucketName": "code" }), "MissingParameter"),
        ("Code", json!({ "CosBucketName": "code", "CosObjectName": "other" }), "InvalidParameterValue"),
        ("Code", json!({ "CosBucketName": "gone", "CosObjectName": "f.zip" }), "ResourceNotFound.Cos"),
        (
            "Code",
            json!({ "CosBucketName": "code", "CosObjectName": "f.zip", "CosBucketRegion": "ap-beijing" }),
            "InvalidParameterValue.CosBucketRegion",
        ),
        ("Environment", json!({ "Variables": [{ "Value": "hunter2" }] }), "MissingParameter"),
        (
            "Environment",
            json!({ "Variables": [{ "Key": "A", "Value": "hunter2" }, { "Key": "A", "Value": "" }] }),
            "InvalidParameterValue.Environment",
        ),
    ] {
        let mut bad = wish.clone();
        bad[name] = value;
        assert_eq!(world.refused("CreateFunction", bad.clone()).await, code, "{name}: {bad}");
    }
    assert!(world.fake.made.lock().expect("held briefly").is_none(), "nothing was made");
}

#[tokio::test]
async fn functions_are_changed_shown_and_removed_in_the_vendors_words() {
    let world = world();
    let shown = world.acted("GetFunction", json!({ "FunctionName": "hello", "Qualifier": "$LATEST" })).await;
    let told =
        ["Status", "Runtime", "AddTime", "AvailableStatus"].map(|name| shown[name].as_str().expect("text"));
    assert_eq!(told, ["Active", "Python3", "1970-01-01 00:00:01", "Unavailable"]);
    // What is shown can be handed back: hidden values stay, variables that are not named go.
    let environment = shown["Environment"].clone();
    assert_eq!(environment, json!({ "Variables": [{ "Key": "TOKEN", "Value": "******" }] }));
    let configure = async |environment: Value| {
        let wish = json!({ "FunctionName": "hello", "Timeout": 5, "Environment": environment });
        world.acted("UpdateFunctionConfiguration", wish).await;
        world.made()
    };
    let same = configure(environment).await;
    assert_eq!((same.timeout_s, same.environment.len()), (Some(5), 0));
    let other = configure(json!({ "Variables": [{ "Key": "A", "Value": "******" }] })).await.environment;
    let wanted = [("A".to_owned(), Some("******".to_owned())), ("TOKEN".to_owned(), None)];
    assert_eq!(other, BTreeMap::from(wanted));
    for body in [
        json!({ "FunctionName": "hello", "ZipFile": "emlw", "Handler": "a.b" }),
        json!({ "FunctionName": "hello", "Code": { "CosBucketName": "code", "CosObjectName": "f.zip" } }),
    ] {
        world.acted("UpdateFunctionCode", body).await;
        assert!(world.made().code.is_some());
    }
    let twice = json!({ "FunctionName": "hello", "ZipFile": "emlw", "Code": { "ZipFile": "emlw" } });
    assert_eq!(world.refused("UpdateFunctionCode", twice).await, "InvalidParameterValue");
    let published = json!({ "FunctionName": "hello", "ZipFile": "emlw", "Publish": "TRUE" });
    assert_eq!(world.refused("UpdateFunctionCode", published).await, "UnsupportedOperation");

    let list = world.acted("ListFunctions", json!({ "Limit": 10, "Offset": 0, "Order": "DESC" })).await;
    assert_eq!((&list["TotalCount"], &list["Functions"][0]["FunctionName"]), (&json!(1), &json!("hello")));
    let none = world.acted("ListFunctions", json!({ "SearchKey": "other" })).await;
    assert_eq!(none["TotalCount"], 0);
    for (body, code) in [
        (json!({ "Limit": 1_001 }), "InvalidParameterValue.Limit"),
        (json!({ "Offset": -1 }), "InvalidParameterValue.Offset"),
        (json!({ "Order": "up" }), "InvalidParameterValue.Order"),
        (json!({ "Orderby": "Size" }), "InvalidParameterValue.OrderBy"),
        (json!({ "Filters": [{ "Name": "Role", "Values": ["x"] }] }), "UnsupportedOperation"),
    ] {
        assert_eq!(world.refused("ListFunctions", body).await, code);
    }
    let gone = json!({ "FunctionName": "gone" });
    for action in ["GetFunction", "DeleteFunction", "ListTriggers", "GetFunctionEventInvokeConfig"] {
        assert_eq!(world.refused(action, gone.clone()).await, "ResourceNotFound.Function", "{action}");
    }
    let version = json!({ "FunctionName": "hello", "Qualifier": "3" });
    assert_eq!(world.refused("DeleteFunction", version).await, "InvalidParameterValue.Qualifier");
    world.acted("DeleteFunction", json!({ "FunctionName": "hello" })).await;
}

#[tokio::test]
async fn triggers_are_named_by_their_buckets_host_and_their_description() {
    let world = world();
    let host = "photos.cos.ap-guangzhou.myqcloud.com";
    let description = r#"{"event":"cos:ObjectCreated:*","filter":{"Prefix":"in/","Suffix":""}}"#;
    let named = json!({
        "FunctionName": "hello", "Type": "cos", "TriggerName": host, "TriggerDesc": description,
        "Qualifier": "$DEFAULT", "Namespace": "default",
    });
    let with = |name: &str, value: Value| {
        let mut body = named.clone();
        body[name] = value;
        body
    };
    let made = world.acted("CreateTrigger", with("Enable", "OPEN".into())).await["TriggerInfo"].take();
    assert_eq!(
        (&made["TriggerName"], &made["Enable"], &made["Type"]),
        (&json!(host), &json!(1), &json!("cos"))
    );
    let told: Value = serde_json::from_str(made["TriggerDesc"].as_str().expect("text")).expect("JSON");
    assert_eq!((&told["event"], &told["filter"]["Prefix"]), (&json!("cos:ObjectCreated:*"), &json!("in/")));
    let list = world.acted("ListTriggers", json!({ "FunctionName": "hello" })).await;
    assert_eq!((&list["TotalCount"], &list["Triggers"][0]), (&json!(1), &made));
    let shown = world.acted("GetFunction", json!({ "FunctionName": "hello" })).await;
    assert_eq!(shown["Triggers"], list["Triggers"]);
    // What a list shows names the trigger again.
    let again = with("TriggerDesc", made["TriggerDesc"].clone());
    world.acted("DeleteTrigger", again).await;
    world.acted("UpdateTriggerStatus", with("Enable", "CLOSE".into())).await;
    let missing = "MissingParameter";
    assert_eq!(world.refused("UpdateTriggerStatus", named.clone()).await, missing);
    let other = r#"{"event":"cos:ObjectCreated:Put","filter":{"Prefix":"in/","Suffix":""}}"#;
    let description_of = "InvalidParameterValue.TriggerDesc";
    for (action, name, value, code) in [
        ("DeleteTrigger", "TriggerDesc", json!(other), "ResourceNotFound.Trigger"),
        (
            "DeleteTrigger",
            "TriggerName",
            json!("other.cos.ap-guangzhou.myqcloud.com"),
            "ResourceNotFound.Trigger",
        ),
        (
            "CreateTrigger",
            "TriggerName",
            json!("photos.cos.ap-beijing.myqcloud.com"),
            "InvalidParameterValue.TriggerName",
        ),
        ("CreateTrigger", "TriggerName", json!("gone.cos.ap-guangzhou.myqcloud.com"), "ResourceNotFound.Cos"),
        ("CreateTrigger", "FunctionName", json!("gone"), "ResourceNotFound.Function"),
        ("CreateTrigger", "Type", json!("timer"), "UnsupportedOperation"),
        ("CreateTrigger", "TriggerDesc", json!("cos:ObjectCreated:*"), description_of),
        (
            "CreateTrigger",
            "TriggerDesc",
            json!(r#"{"event":"x","filter":{"Regex":"hunter2"}}"#),
            description_of,
        ),
        ("CreateTrigger", "TriggerDesc", Value::Null, missing),
        ("CreateTrigger", "Enable", json!("maybe"), "InvalidParameterValue.Enable"),
        ("CreateTrigger", "CustomArgument", json!("hunter2"), "UnsupportedOperation"),
        ("CreateTrigger", "Description", json!("hunter2"), "UnsupportedOperation"),
    ] {
        assert_eq!(world.refused(action, with(name, value.clone())).await, code, "{action} {name} {value}");
    }
}

#[tokio::test]
async fn runs_are_started_and_shown_in_the_vendors_words() {
    let world = world();
    let event = json!({ "FunctionName": "hello", "ClientContext": "{}", "LogType": "Tail", "InvocationType": "RequestResponse" });
    let ended = world.acted("Invoke", event).await["Result"].take();
    assert_eq!(
        (&ended["InvokeResult"], &ended["RetMsg"], &ended["Log"]),
        (&json!(0), &json!("2"), &json!("said"))
    );
    let ended = world.acted("InvokeFunction", json!({ "FunctionName": "hello", "Event": "{ }" })).await;
    assert_eq!((&ended["Result"]["RetMsg"], &ended["Result"]["Log"]), (&json!("3"), &json!("")));
    let queued = json!({ "FunctionName": "hello", "InvocationType": "Event" });
    assert_eq!(world.refused("Invoke", queued).await, "UnsupportedOperation");

    let logs = async |more: Value| {
        let mut body = more;
        body["FunctionName"] = "hello".into();
        world.acted("GetFunctionLogs", body).await
    };
    let all = logs(json!({ "Limit": 5, "Order": "desc", "OrderBy": "start_time" })).await;
    let run = &all["Data"][0];
    assert_eq!(
        (&all["TotalCount"], &run["RetCode"], &run["InvokeFinished"]),
        (&json!(1), &json!(0), &json!(1))
    );
    assert_eq!(run["StartTime"], "1970-01-01 00:00:01");
    let failed = logs(json!({ "Filter": { "RetCode": "not0" } })).await;
    assert_eq!(failed["Data"][0]["RetCode"], 430);
    assert_eq!(logs(json!({ "Filter": { "RetCode": "TimeLimitExceeded" } })).await["TotalCount"], 0);
    let day = |from: &str, until: &str| json!({ "StartTime": from, "EndTime": until });
    assert_eq!(logs(day("1970-01-01 00:00:01", "1970-01-02 00:00:00")).await["TotalCount"], 1);
    assert_eq!(logs(day("1970-01-01 00:00:02", "1970-01-02 00:00:00")).await["TotalCount"], 0);
    assert_eq!(logs(json!({ "Offset": 1 })).await["Data"], json!([]));
    for (body, code) in [
        (day("1970-01-01 00:00:00", "1970-01-02 00:00:01"), "InvalidParameterValue.StartTimeOrEndTime"),
        (day("1970-01-02 00:00:00", "1970-01-01 00:00:00"), "InvalidParameterValue.StartTimeOrEndTime"),
        (day("yesterday", "today"), "InvalidParameterValue.DateTime"),
        (json!({ "Limit": 1_001 }), "InvalidParameterValue.Limit"),
        (json!({ "Filter": { "RetCode": "1" } }), "InvalidParameterValue.RetCode"),
        (json!({ "SearchContext": { "Keyword": "hunter2" } }), "UnsupportedOperation"),
    ] {
        let mut body = body;
        body["FunctionName"] = "hello".into();
        assert_eq!(world.refused("GetFunctionLogs", body).await, code);
    }
    let of = json!({ "FunctionName": "hello", "FunctionRequestId": "r7" });
    let status = world.acted("GetRequestStatus", of).await;
    assert_eq!((&status["Data"][0]["RequestId"], &status["Data"][0]["RetCode"]), (&json!("r7"), &json!(0)));
}

#[tokio::test]
async fn retries_are_as_the_vendor_counts_them_or_for_ever() {
    let world = world();
    let shown = world.acted("GetFunctionEventInvokeConfig", json!({ "FunctionName": "hello" })).await;
    let scf = json!({ "MsgTTL": 21_600, "RetryConfig": [{ "RetryNum": 2 }, { "RetryNum": -1 }] });
    assert_eq!(shown["AsyncTriggerConfig"], scf);
    let update = |config: Value| json!({ "FunctionName": "hello", "AsyncTriggerConfig": config });
    let of = |age: i64, retries: &[i64]| {
        let retries: Vec<_> = retries.iter().map(|number| json!({ "RetryNum": number })).collect();
        update(json!({ "MsgTTL": age, "RetryConfig": retries }))
    };
    for (wish, retry, max) in [
        (update(scf), "ScfDefault", Some(2)),
        (of(21_600, &[0]), "ScfDefault", Some(0)),
        (of(-1, &[-1]), "Forever", None),
        (of(-1, &[5]), "Forever", Some(5)),
    ] {
        world.acted("UpdateFunctionEventInvokeConfig", wish).await;
        let made = world.made();
        assert_eq!((format!("{:?}", made.retry.expect("said")).as_str(), made.max_retries), (retry, max));
    }
    for wish in [of(60, &[1]), of(21_600, &[-1]), of(21_600, &[]), of(21_600, &[1, 1]), of(21_600, &[-2])] {
        let refused = world.refused("UpdateFunctionEventInvokeConfig", wish).await;
        assert_eq!(refused, "InvalidParameterValue.AsyncTriggerConfig");
    }
    let missing = json!({ "FunctionName": "hello" });
    assert_eq!(world.refused("UpdateFunctionEventInvokeConfig", missing).await, "MissingParameter");
}
