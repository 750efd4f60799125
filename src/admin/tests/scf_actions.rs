//! The actions of the API of SCF: what becomes of the vendor's words.
//!
//! Must never run code.

use std::collections::BTreeMap;

use serde_json::json;

use super::scf::{call, code_of};
use super::*;
use crate::functions::FunctionChange;

impl World {
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

#[tokio::test]
async fn functions_are_made_of_the_vendors_words_or_not_at_all() {
    let world = world();
    let wish = json!({
        "FunctionName": "fresh", "Runtime": "Python3.6", "Handler": "index.main_handler", "Timeout": 9,
        "MemorySize": 256, "InitTimeout": 60, "Description": "d", "Type": "Event", "CodeSource": "ZipFile",
        "Code": { "ZipFile": "emlw" }, "PublicNetConfig": { "PublicNetStatus": "ENABLE" },
        "Environment": { "Variables": [{ "Key": "TOKEN", "Value": "hunter2" }] }, "Layers": [],
        "VpcConfig": { "VpcId": "", "SubnetId": "" }, "AsyncRunEnable": "FALSE", "Namespace": "default",
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
    let event = json!({
        "FunctionName": "hello", "ClientContext": "{}", "LogType": "Tail",
        "InvocationType": "RequestResponse",
    });
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
