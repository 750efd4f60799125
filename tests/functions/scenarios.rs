//! The scenarios of `config/examples`, as their own files tell them: the configuration beside each, the
//! command of its README, and the code that `function create --from` writes.
//!
//! Must never hold a second copy of what stands in those files.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::world::World;

/// Where the READMEs have the service that a scenario calls.
const SERVICE: &str = "http://127.0.0.1:8080";

/// One request that a service got.
#[derive(Clone)]
struct Asked {
    path: String,
    id: Option<String>,
    body: Vec<u8>,
}

impl Asked {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

/// A service on this machine: it refuses the first request, and keeps what it is asked.
#[derive(Clone, Default)]
struct Service(Arc<Mutex<Vec<Asked>>>);

impl Service {
    async fn start() -> (Self, String) {
        let service = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let router = Router::new().fallback(answer).with_state(service.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (service, url)
    }

    fn asked(&self) -> Vec<Asked> {
        self.0.lock().expect("not poisoned").clone()
    }
}

async fn answer(
    State(service): State<Service>,
    uri: Uri,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> (StatusCode, &'static str) {
    let id = headers.get("idempotency-key").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let mut asked = service.0.lock().expect("not poisoned");
    asked.push(Asked { path: uri.path().to_owned(), id, body: body.to_vec() });
    match asked.len() {
        1 => (StatusCode::SERVICE_UNAVAILABLE, "not yet"),
        _ => (StatusCode::OK, r#"{"labels": ["cat", "sofa"]}"#),
    }
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples").join(name)
}

fn read(name: &str, file: &str) -> String {
    std::fs::read_to_string(folder(name).join(file)).expect("there")
}

/// The words of the commands in a README, lines that end in a backslash joined.
fn commands(readme: &str) -> Vec<Vec<String>> {
    let joined = readme.replace("\\\n", " ");
    let lines = joined.lines().filter_map(|line| line.strip_prefix("tidings "));
    lines.map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

/// A server with the configuration of a scenario, its buckets, and what its README says to do.
async fn scenario(name: &str, buckets: &[&str]) -> (World, Service) {
    let world = World::start(&read(name, "tidings.toml")).await;
    for bucket in buckets {
        let made = world.s3().create_bucket(bucket).await.expect("an answer");
        assert_eq!(made.status, 200, "{made:?}");
    }
    let (service, url) = Service::start().await;
    let commands = commands(&read(name, "README.md"));
    assert!(!commands.is_empty(), "the README of {name} has no command");
    for command in commands {
        let words: Vec<_> = command.iter().map(|word| word.replace(SERVICE, &url)).collect();
        world.json(&words.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
    // What runs is the file beside the README.
    let code = world.data().join("functions/code");
    let made = std::fs::read_dir(code).expect("listed").flatten().next().expect("code").path();
    assert_eq!(std::fs::read_to_string(made.join("index.py")).expect("there"), read(name, "index.py"));
    (world, service)
}

async fn put(world: &World, bucket: &str, key: &str, body: impl Into<Vec<u8>>) {
    let answer = world.s3().put(bucket, key, body.into()).await.expect("an answer");
    assert_eq!(answer.status, 200, "{key}: {answer:?}");
}

async fn get(world: &World, bucket: &str, key: &str) -> Option<Vec<u8>> {
    let (s3, path) = (world.s3(), format!("/{bucket}/{key}"));
    let answer = s3.request(http::Method::GET, &path, &[], &[], Default::default()).await;
    let answer = answer.expect("an answer");
    (answer.status == 200).then(|| answer.body.to_vec())
}

/// Waits until a scenario's function has got so many events.
async fn delivered(world: &World, name: &str, count: u64) {
    let whole = |v: &Value| v["books"]["delivered"] == count && v["books_imbalance"] == 0;
    world.until(&["target", "show", &format!("function:{name}")], whole).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cdn_is_asked_to_forget_what_changed() {
    let (world, cdn) = scenario("cdn-refresh", &["site"]).await;
    put(&world, "site", "index.html", "one").await;
    put(&world, "site", "index.html", "two").await;
    world.s3().delete("site", "index.html").await.expect("an answer");
    put(&world, "bucket", "other.html", "nobody's").await;
    delivered(&world, "cdn-refresh", 3).await;
    let asked = cdn.asked();
    assert_eq!(asked.len(), 4, "the first was refused, and asked again");
    for asked in asked {
        assert_eq!(asked.path, "/refresh");
        let urls = asked.json()["urls"].clone();
        let url = urls[0].as_str().expect("a text");
        assert!(url.starts_with("http") && url.ends_with("://cdn.example.com/index.html"), "{urls}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_is_called_on_create_overwrite_and_delete_in_order() {
    let (world, service) = scenario("call-service", &["orders"]).await;
    put(&world, "orders", "7.json", "{}").await;
    put(&world, "orders", "7.json", "{ }").await;
    world.s3().delete("orders", "7.json").await.expect("an answer");
    delivered(&world, "call-service", 3).await;
    let asked = service.asked();
    let told: Vec<_> = asked.iter().map(|asked| asked.json()).collect();
    let said: Vec<_> = told.iter().map(|told| (&told["action"], &told["size"])).collect();
    let (written, deleted) = (json!("written"), json!("deleted"));
    assert_eq!(said[..3], [(&written, &json!(2)), (&written, &json!(2)), (&written, &json!(3))]);
    assert_eq!(said[3].0, &deleted);
    assert!(told.iter().all(|told| told["key"] == "7.json" && told["bucket"] == "orders"), "{told:?}");
    assert!(asked[0].id.is_some() && asked[0].id == asked[1].id, "an attempt of the same event");
    assert!(asked[1].id != asked[2].id && asked[2].id != asked[3].id, "other events");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_change_is_a_row_in_a_database_that_is_an_object() {
    let (world, _) = scenario("sqlite-row", &["orders", "reports"]).await;
    put(&world, "orders", "a", "12345").await;
    put(&world, "orders", "b", "1").await;
    world.s3().delete("orders", "a").await.expect("an answer");
    delivered(&world, "sqlite-row", 3).await;
    let database = world.file("changes.db", get(&world, "reports", "changes.db").await.expect("written"));
    let ask = "import sqlite3, sys\nfor row in sqlite3.connect(sys.argv[1]).execute(\
               'SELECT event, key, size FROM changes ORDER BY event, key'): print(*row)";
    let rows = std::process::Command::new("python3").args(["-c", ask, &database]).output().expect("starts");
    let rows = String::from_utf8(rows.stdout).expect("UTF-8");
    let rows: Vec<_> = rows.lines().collect();
    assert_eq!(rows[..2], ["cos:ObjectCreated:Put a 5", "cos:ObjectCreated:Put b 1"]);
    assert!(rows.len() == 3 && rows[2].starts_with("cos:ObjectRemove:Delete a "), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zip_file_is_unpacked_into_another_bucket() {
    let (world, _) = scenario("unpack-zip", &["uploads", "unpacked"]).await;
    let pack = "import sys, zipfile\nwith zipfile.ZipFile(sys.argv[1], 'w') as out:\n \
                out.writestr('readme.txt', 'hello')\n out.writestr('a b/\u{e9}.txt', 'deep')\n";
    let zip = world.file("in.zip", "");
    let packed = std::process::Command::new("python3").args(["-c", pack, &zip]).status().expect("starts");
    assert!(packed.success());
    put(&world, "uploads", "in/photos.zip", std::fs::read(&zip).expect("there")).await;
    put(&world, "uploads", "in/photos.txt", "no archive").await;
    delivered(&world, "unpack-zip", 1).await;
    assert_eq!(get(&world, "unpacked", "files/readme.txt").await.as_deref(), Some(&b"hello"[..]));
    assert_eq!(get(&world, "unpacked", "files/a b/\u{e9}.txt").await.as_deref(), Some(&b"deep"[..]));
    let log = world.json(&["function", "logs", "unpack-zip"]).await;
    assert_eq!(log["runs"].as_array().map(Vec::len), Some(1), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_labels_of_an_image_are_written_as_an_object() {
    let (world, service) = scenario("image-recognition", &["photos", "labels"]).await;
    put(&world, "photos", "in/cat.jpg", "a picture").await;
    delivered(&world, "image-recognition", 1).await;
    let asked = service.asked();
    assert!(asked.iter().all(|asked| (&*asked.path, &*asked.body) == ("/recognise", b"a picture")));
    let labels = get(&world, "labels", "labels/in/cat.jpg.json").await.expect("written");
    assert_eq!(labels, br#"{"labels": ["cat", "sofa"]}"#);
}
