//! Dead letters in the real binary: an HTTP receiver that rejects some events, a kill at every failpoint of
//! theirs, and what is true after the restart.
//!
//! Must never trust the server about what it sent: the receiver writes down what came.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use http::Method;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use crate::checker::Delivery;
use crate::far::{FarSide, Fault};
use crate::server::{Ready, Server};
use crate::{books, turn};

/// A failpoint that was not reached after this long is not on any path.
const REACHED_WITHIN: Duration = Duration::from_secs(60);
/// How often the foreign process is asked.
const ASK_EVERY: Duration = Duration::from_millis(50);
const LETTERS: &str = "/v1/targets/live/dead-letters";

/// One attempt as it arrived.
#[derive(Debug, Clone)]
struct Attempt {
    key: String,
    replay: Option<String>,
    taken: bool,
}

/// Takes every event but those of keys that begin with `bad`; takes these when they are replayed.
#[derive(Clone, Default)]
struct Picky(Arc<Mutex<Vec<Attempt>>>);

impl Picky {
    fn attempts(&self) -> Vec<Attempt> {
        self.0.lock().expect("held briefly").clone()
    }

    async fn listen(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/events", listener.local_addr().expect("an address"));
        let router = Router::new().route("/events", post(take)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }
}

async fn take(State(picky): State<Picky>, headers: HeaderMap, body: String) -> StatusCode {
    let event: Value = serde_json::from_str(&body).expect("JSON");
    let key = event["Records"][0]["s3"]["object"]["key"].as_str().expect("a key").to_owned();
    let replay = headers.get("tidings-replay").and_then(|v| v.to_str().ok()).map(str::to_owned);
    let taken = !key.starts_with("bad") || replay.is_some();
    picky.0.lock().expect("held briefly").push(Attempt { key, replay, taken });
    if taken { StatusCode::OK } else { StatusCode::BAD_REQUEST }
}

/// The receiver as a target.
struct At(String);

#[async_trait]
impl FarSide for At {
    fn connector(&self) -> String {
        format!("[target.live.connector.http]\nurl = {:?}\n", self.0)
    }
    async fn read_all(&self) -> Vec<Delivery> {
        unreachable!("the receiver itself is asked")
    }
    async fn kill(&self) -> Fault {
        unreachable!("only the server dies here")
    }
    async fn stop(&self) -> Fault {
        unreachable!("only the server dies here")
    }
}

/// One server, and what its clients and operators were told.
struct Scene {
    server: Server,
    token: String,
    far: Picky,
    next: u32,
    acknowledged: BTreeSet<String>,
    /// Keys that were shown as dead letters, by offset.
    shown: BTreeMap<u64, String>,
    /// Those somebody wished to be gone.
    purging: BTreeSet<String>,
    replaying: BTreeSet<String>,
}

impl Scene {
    async fn new() -> Self {
        let far = Picky::default();
        let server = Server::new(&At(far.listen().await), "");
        Self {
            server,
            token: String::new(),
            far,
            next: 0,
            acknowledged: BTreeSet::new(),
            shown: BTreeMap::new(),
            purging: BTreeSet::new(),
            replaying: BTreeSet::new(),
        }
    }

    async fn admin(&self, ready: &Ready, method: Method, path: &str) -> Option<Value> {
        let bearer = format!("Bearer {}", self.token);
        let answer = ready.admin.send(method, path, &[("authorization", &bearer)], "").await.ok()?;
        serde_json::from_slice(&answer.body).ok()
    }

    async fn put(&mut self, ready: &Ready, kind: &str) {
        self.next += 1;
        let key = format!("{kind}-{}", self.next);
        if let Ok(answer) = ready.s3.put("live-dead", &key, "body").await
            && answer.status == 200
        {
            self.acknowledged.insert(key);
        }
    }

    /// The letters as the server shows them.
    async fn letters(&mut self, ready: &Ready) -> Vec<u64> {
        let Some(page) = self.admin(ready, Method::GET, &format!("{LETTERS}?limit=1000")).await else {
            return Vec::new();
        };
        let letters = page["dead_letters"].as_array().cloned().unwrap_or_default();
        let named =
            letters.iter().filter_map(|l| Some((l["offset"].as_u64()?, l["key"].as_str()?.to_owned())));
        let named: Vec<_> = named.collect();
        self.shown.extend(named.iter().cloned());
        named.into_iter().map(|(offset, _)| offset).collect()
    }

    /// Some changes, most of them good; then one letter is purged, and one sent again.
    async fn work(&mut self, ready: &Ready) {
        let before = self.letters(ready).await.len();
        for _ in 0..3 {
            self.put(ready, "bad").await;
            for _ in 0..8 {
                self.put(ready, "good").await;
            }
        }
        let began = Instant::now();
        let mut letters = Vec::new();
        while began.elapsed() < Duration::from_secs(8) && letters.len() < before + 3 {
            sleep(ASK_EVERY).await;
            letters = self.letters(ready).await;
            if letters.is_empty() && books::try_read(&ready.admin).await.is_none() {
                return;
            }
        }
        if let [first, second, ..] = letters[..] {
            self.purging.insert(self.shown[&first].clone());
            self.admin(ready, Method::POST, &format!("{LETTERS}/purge?offset={first}")).await;
            self.replaying.insert(self.shown[&second].clone());
            self.admin(ready, Method::POST, &format!("{LETTERS}/replay?offset={second}")).await;
        }
    }

    /// One life that ends at a failpoint, and one that shows what is true.
    async fn die_at(&mut self, point: &str) {
        self.server.launch(Some(point));
        let ready = self.server.ready().await.expect("the failpoint lies behind the start");
        self.token = self.server.token();
        let made = ready.s3.create_bucket("live-dead").await.expect("an answer");
        assert_eq!(made.status, 200, "{made:?}");
        let began = Instant::now();
        while books::try_read(&ready.admin).await.is_some() {
            assert!(began.elapsed() < REACHED_WITHIN, "failpoint {point} was not reached");
            self.work(&ready).await;
        }
        let status = self.server.ended().await;
        assert_eq!(status.signal(), Some(9), "at {point}: {status}");
        let sent_before = self.far.attempts().len();
        let shown = self.shown.clone();
        let ready = self.server.start().await;
        self.judge(point, &ready, sent_before, &shown).await;
        self.work(&ready).await;
        let shown = self.shown.clone();
        self.judge(point, &ready, self.far.attempts().len(), &shown).await;
        self.server.stop().await;
    }

    async fn judge(&mut self, point: &str, ready: &Ready, sent_before: usize, shown: &BTreeMap<u64, String>) {
        let reading = books::drained(&ready.admin, "live").await.books;
        let settled = reading.delivered + reading.backlog + reading.held + reading.set_aside;
        assert_eq!(reading.matched, settled, "{point}: {reading:?}");
        let letters = self.letters(ready).await;
        let dead: BTreeSet<&String> = letters.iter().map(|offset| &self.shown[offset]).collect();
        let attempts = self.far.attempts();
        let taken: BTreeSet<&String> = attempts.iter().filter(|a| a.taken).map(|a| &a.key).collect();
        for key in &self.acknowledged {
            let there = taken.contains(key) || dead.contains(key) || self.purging.contains(key);
            assert!(there, "{point}: {key} was acknowledged, and is nowhere");
        }
        for attempt in &attempts[sent_before.min(attempts.len())..] {
            let was_dead = shown.values().any(|key| *key == attempt.key);
            let wished = self.replaying.contains(&attempt.key) && attempt.replay.is_some();
            assert!(!was_dead || wished, "{point}: a dead letter was sent again: {attempt:?}");
        }
    }
}

/// The names of all failpoints of dead letters.
fn failpoints(dir: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).expect("the sources") {
        let path = entry.expect("the sources").path();
        if path.is_dir() {
            failpoints(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("the sources");
            let names = text.split("\"dead.").skip(1).filter_map(|rest| rest.split_once('"'));
            found.extend(names.map(|(name, _)| format!("dead.{name}")));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_at_the_failpoints_of_dead_letters_lose_nothing_and_send_nothing_again() {
    let _turn = turn().await;
    let mut points = BTreeSet::new();
    failpoints(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut points);
    assert!(points.len() >= 8, "only {points:?}");
    for point in &points {
        let mut scene = Scene::new().await;
        scene.die_at(point).await;
        let (letters, all) = (scene.shown.len(), scene.acknowledged.len());
        println!("{point}: {all} changes, {letters} dead letters, {} attempts", scene.far.attempts().len());
    }
}
