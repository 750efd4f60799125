//! A whole tidings on loopback, its receivers, and how operators and clients reach it.
//!
//! Must never judge: it only asks and answers. Keys that begin with `bad` are rejected for good.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use secrecy::ExposeSecret as _;
use serde_json::Value;
use tempfile::TempDir;
use tidings::app::{App, Source};
use tidings::client::{Client, Response};
use tidings::config;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Far longer than anything here takes.
pub const WAIT: Duration = Duration::from_secs(60);

/// A far side that is never there: port 9 takes nothing.
pub const NOBODY: &str = "http://127.0.0.1:9/";

/// A far side: what it took, in its order. It takes nothing while it is not told to.
#[derive(Clone)]
pub struct Receiver {
    pub url: String,
    taken: Arc<Mutex<Vec<Value>>>,
    pub takes: watch::Sender<bool>,
    /// It says that it is gone for good, to everything.
    pub gone: watch::Sender<bool>,
    /// What it wants to read as the authorization; none: whatever comes.
    pub wants: watch::Sender<Option<String>>,
    /// Requests, taken or not.
    pub asked: watch::Sender<usize>,
    count: watch::Sender<usize>,
}

impl Receiver {
    pub async fn start(takes: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/events", listener.local_addr().expect("bound"));
        let (takes, gone) = (watch::Sender::new(takes), watch::Sender::new(false));
        let (asked, count) = (watch::Sender::new(0), watch::Sender::new(0));
        let wants = watch::Sender::new(None);
        let receiver = Self { url, taken: Arc::default(), takes, gone, wants, asked, count };
        let router = Router::new().route("/events", post(take)).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        receiver
    }

    /// Waits until so many events were taken; gives each one's key and request id.
    pub async fn wait_for(&self, count: usize) -> Vec<(String, String)> {
        let mut taken = self.count.subscribe();
        // What it gives is a lock on the count, which `take` asks for while it holds the records.
        let waited = tokio::time::timeout(WAIT, taken.wait_for(|n| *n >= count)).await.is_ok();
        assert!(waited, "{} of {count} events came", *self.count.borrow());
        self.taken()
    }

    /// Every event that came so far: key and request id.
    pub fn taken(&self) -> Vec<(String, String)> {
        let of = |record: &Value| {
            let request = &record["responseElements"]["x-amz-request-id"];
            (text(&record["s3"]["object"]["key"]), text(request))
        };
        self.records().iter().map(of).collect()
    }

    /// Every record that was taken, in its order.
    pub fn records(&self) -> Vec<Value> {
        self.taken.lock().expect("nobody panics here").clone()
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

async fn take(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let mut value: Value = serde_json::from_slice(&body).expect("JSON");
    let record = value["Records"][0].take();
    receiver.asked.send_modify(|asked| *asked += 1);
    if *receiver.gone.borrow() {
        return StatusCode::GONE;
    }
    let authorization = headers.get("authorization").and_then(|value| value.to_str().ok());
    if receiver.wants.borrow().as_deref().is_some_and(|wanted| authorization != Some(wanted)) {
        return StatusCode::UNAUTHORIZED;
    }
    if !*receiver.takes.borrow() {
        return StatusCode::INTERNAL_SERVER_ERROR;
    }
    if text(&record["s3"]["object"]["key"]).starts_with("bad") {
        return StatusCode::BAD_REQUEST;
    }
    let mut taken = receiver.taken.lock().expect("nobody panics here");
    taken.push(record);
    receiver.count.send_replace(taken.len());
    StatusCode::OK
}

/// A running tidings and its configuration file.
pub struct World {
    pub dir: TempDir,
    app: Option<App>,
    client: Option<Client>,
}

impl World {
    /// Starts with these target tables.
    pub async fn start(targets: &str) -> Self {
        let mut world = Self { dir: tempfile::tempdir().expect("a directory"), app: None, client: None };
        world.configure(targets);
        world.open(&[]).await.expect("starts");
        let made = world.s3().create_bucket("bucket").await.expect("an answer");
        assert!(made.status.is_success());
        world
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("tidings.toml")
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Writes the configuration file; nobody reads it yet.
    pub fn configure(&self, targets: &str) {
        let data = self.data();
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\ndata = {data:?}\n[admin]\nlisten = \"127.0.0.1:0\"\n\
             [store]\ninline_bytes = \"1KiB\"\n{targets}"
        );
        std::fs::write(self.file(), text).expect("written");
    }

    pub async fn open(&mut self, accept: &[String]) -> anyhow::Result<()> {
        let file = self.file();
        let source: Source = Arc::new(move || config::load(Some(&file), std::iter::empty()));
        let config = source().map_err(|wrong| anyhow::anyhow!("{wrong}"))?;
        let app = App::start_with(config, Some(source), accept).await?;
        let access = app.credentials().access_keys().next().expect("one was made");
        let secret = app.credentials().secret(access).expect("of the same");
        let endpoint = format!("http://{}", app.s3_address());
        self.client = Some(Client::new(&endpoint, "ap-guangzhou", access, secret.expose_secret())?);
        self.app = Some(app);
        Ok(())
    }

    pub async fn stop(&mut self) {
        self.client = None;
        self.app.take().expect("runs").stop().await.expect("stops in order");
    }

    pub fn app(&self) -> &App {
        self.app.as_ref().expect("runs")
    }

    pub fn s3(&self) -> Client {
        self.client.clone().expect("runs")
    }

    pub async fn put(&self, key: &str, body: impl Into<Bytes>) -> Response {
        self.s3().put("bucket", key, body).await.expect("an answer")
    }

    /// Status and JSON, or text, of an answer of the admin API.
    pub async fn admin(&self, method: &str, path: &str) -> (u16, Value) {
        let token = std::fs::read_to_string(self.data().join("admin.token")).expect("made at the start");
        let url = format!("http://{}{path}", self.app().admin_address());
        let method = method.parse().expect("a method");
        let request = reqwest::Client::new().request(method, url).bearer_auth(token.trim());
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        let body = answer.text().await.expect("whole");
        (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
    }

    /// The answer to a reload that must succeed.
    pub async fn reload(&self, targets: &str) -> Value {
        self.configure(targets);
        let (status, answer) = self.admin("POST", "/v1/reload").await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    pub async fn target(&self, name: &str) -> Value {
        let (status, view) = self.admin("GET", &format!("/v1/targets/{name}")).await;
        assert_eq!(status, 200, "{view}");
        assert_eq!(view["books_imbalance"], 0, "{view}");
        view
    }

    /// Waits until the target has everything.
    pub async fn settled(&self, name: &str) {
        let books = self.app().settled(name, WAIT).await.expect("registered");
        assert_eq!((books.backlog + books.held, books.imbalance()), (0, 0), "{name}: {books:?}");
    }

    /// The value of one series.
    pub async fn metric(&self, series: &str) -> f64 {
        let (_, text) = self.admin("GET", "/metrics").await;
        let text = text.as_str().expect("a text").to_owned();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series}")).parse().expect("a number")
    }
}

/// One target's table: every event of keys that begin with `prefix` goes to `url`.
pub fn target(name: &str, url: &str, prefix: &str, more: &str) -> String {
    format!(
        "[target.{name}]\nbackoff_min = \"10ms\"\nbackoff_max = \"50ms\"\n{more}\n\
         [target.{name}.connector.http]\nurl = {url:?}\n\
         [[target.{name}.rule]]\nprefix = {prefix:?}\n\
         events = [\"cos:ObjectCreated:*\", \"cos:ObjectRemove:*\"]\n"
    )
}
