//! What people do with functions: create, try, bind, change an object, read the run log; update and go back.
//!
//! Must never look for anything that the commands do not show.

use serde_json::json;

use crate::world::{World, rule};

/// The shape of the official demo handlers.
const PYTHON: &str = r#"
import json
def main_handler(event, context):
    for record in event['Records']:
        bucket, appid = record['cos']['cosBucket']['name'], record['cos']['cosBucket']['appid']
        key = record['cos']['cosObject']['key']
        key = key.replace('/' + str(appid) + '/' + bucket + '/', '', 1)
        print('key is', key, context.request_id, context['function_name'])
    return {'key': key, 'name': record['event']['eventName']}
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn create_try_bind_change_and_read_the_log() {
    let world = World::start(&rule("hello", "in/")).await;
    let made = world.create("hello", PYTHON, &["--runtime", "python3"]).await;
    assert_eq!((&made["version"], &made["target"]), (&json!(1), &json!("function:hello")));
    let tried = world.json(&["function", "invoke", "hello", "--template", "cos-delete"]).await;
    let result: serde_json::Value =
        serde_json::from_str(tried["result"].as_str().expect("one")).expect("JSON");
    assert_eq!(result, json!({ "key": "in/cat.jpg", "name": "cos:ObjectRemove:Delete" }));
    assert!(tried["log"].as_str().expect("one").contains("key is in/cat.jpg"), "{tried}");
    assert!(tried["memory_bytes"].as_u64() > Some(1 << 20), "{tried}");
    world.put("in/one").await;
    world.put("out/two").await;
    let gone = world.s3().delete("bucket", "in/one").await.expect("an answer");
    assert_eq!(gone.status, 204);
    let runs =
        world.until(&["function", "logs", "hello"], |v| v["runs"].as_array().map(Vec::len) == Some(3)).await;
    let runs = runs["runs"].as_array().expect("a list");
    for (run, event) in runs[1..].iter().zip(["cos:ObjectCreated:Put", "cos:ObjectRemove:Delete"]) {
        assert_eq!((&run["status"], &run["object"]), (&json!(200), &json!("bucket/in/one")), "{run} {event}");
        assert_eq!(run["request_id"], run["event_id"]);
    }
    let of = world
        .json(&["function", "logs", "hello", "--request-id", runs[2]["request_id"].as_str().expect("one")])
        .await;
    assert_eq!(of["runs"], json!([runs[2]]));
    let target = world.json(&["target", "show", "function:hello"]).await;
    assert_eq!((&target["kind"], &target["books"]["delivered"]), (&json!("function"), &json!(2)), "{target}");
    assert_eq!(target["budget"]["when_full"], "shed");
    assert_eq!(target["books_imbalance"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_runtime_gives_its_result() {
    let world = World::start("").await;
    let records = "return event.Records.length";
    let asynchronous = format!("exports.main_handler = async (event, context) => {{ {records} }}\n");
    world.create("asynchronous", &asynchronous, &["--runtime", "nodejs"]).await;
    let callback = "exports.main_handler = (event, context, callback) => \
                    setTimeout(() => callback(null, event.Records.length), 5)\n";
    world.create("callback", callback, &["--runtime", "nodejs"]).await;
    // A program of one's own: it serves HTTP on the port that it is told.
    let bootstrap = r#"#!/usr/bin/python3
import http.server, json, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        event = json.loads(self.rfile.read(int(self.headers['content-length'])))
        body = str(len(event['Records'])).encode()
        assert self.path == '/event-invoke' and self.headers['x-scf-name'] == 'custom'
        self.send_response(200)
        self.send_header('content-length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), Handler).serve_forever()
"#;
    world.create("custom", bootstrap, &["--runtime", "custom"]).await;
    for name in ["asynchronous", "callback", "custom"] {
        let ended = world.invoke(name).await;
        assert_eq!((&ended["status"], &ended["result"]), (&json!(200), &json!("1")), "{name}: {ended}");
    }
    let listed = world.json(&["function", "ls"]).await;
    let names: Vec<_> = listed["functions"].as_array().expect("a list").iter().map(|f| &f["name"]).collect();
    assert_eq!(names, ["asynchronous", "callback", "custom"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn code_is_a_folder_and_old_versions_come_back() {
    let world = World::start("").await;
    world.file("code/index.py", "from lib import two\ndef main_handler(event, context): return two.two()\n");
    world.file("code/lib/two.py", "def two(): return 2\n");
    let folder = world.dir.path().join("code");
    let folder = folder.to_str().expect("UTF-8");
    world.json(&["function", "create", "folder", "--code", folder, "--env", "SECRET=hunter2"]).await;
    assert_eq!(world.invoke("folder").await["result"], "2");
    let text = "import os\ndef main_handler(event, context): return len(os.environ['SECRET'])\n";
    let changed = world.json(&["function", "update", "folder", "--text", text, "--timeout", "9"]).await;
    assert_eq!((&changed["version"], &changed["timeout_s"]), (&json!(2), &json!(9)));
    assert_eq!(world.invoke("folder").await["result"], "7");
    let back = world.json(&["function", "update", "folder", "--restore", "1"]).await;
    assert_eq!((&back["version"], &back["versions"][1]["number"]), (&json!(1), &json!(2)));
    assert_eq!(world.invoke("folder").await["result"], "2");
    // Values show nowhere; the record is for its owner only.
    let shown = world.json(&["function", "show", "folder"]).await;
    assert_eq!(shown["environment"], json!(["SECRET"]));
    for place in ["log", "data/audit.log"] {
        let text = std::fs::read_to_string(world.dir.path().join(place)).expect("there");
        assert!(!text.contains("hunter2"), "{place}");
    }
    let (code, said) = world.run(&["function", "update", "folder", "--restore", "7"]).await;
    assert_eq!(code, 1, "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn templates_are_listed_saved_and_begun_with() {
    let world = World::start("").await;
    let templates = world.json(&["function", "templates"]).await;
    assert_eq!(templates["events"].as_array().map(Vec::len), Some(30));
    for template in templates["functions"].as_array().expect("a list") {
        let name = template["name"].as_str().expect("a name");
        let made = world.json(&["function", "create", name, "--from", name]).await;
        assert_eq!(made["problem"], json!(null));
    }
    assert_eq!(world.invoke("hello").await["status"], 200);
    assert_eq!(world.invoke("sqlite-row").await["result"], r#"{"rows": 1}"#);
    let event = world.file("mine.json", r#"{"Records": []}"#);
    let saved = world.json(&["function", "update", "hello", "--test", &format!("mine={event}")]).await;
    assert_eq!(saved["templates"], json!(["mine"]));
    let ended = world.json(&["function", "invoke", "hello", "--template", "mine"]).await;
    assert!(ended["result"].as_str().expect("one").contains("\"records\": 0"), "{ended}");
    let ended = world.json(&["function", "invoke", "hello", "--event", &event]).await;
    assert!(ended["result"].as_str().expect("one").contains("\"records\": 0"), "{ended}");
    for wrong in [["--template", "nothing"], ["--event", &world.file("no.json", "{")]] {
        let (code, said) = world.run(&[&["function", "invoke", "hello"][..], &wrong].concat()).await;
        assert_eq!(code, 1, "{said}");
    }
}
