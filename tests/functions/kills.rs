//! `kill -9` over and over while functions run, archived objects are restored and objects are fetched:
//! what was answered happened once, its event arrives, and every event reaches the function.
//!
//! Must never pause the clients for a kill, nor count a repeat as a second event: events are told by their
//! ids. `TIDINGS_KILLS` says how often, `TIDINGS_SEED` repeats the choices.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use http::Method;
use serde_json::{Value, json};
use tidings::client::{Client, Response};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::world::{WAIT, World};

/// Kills unless `TIDINGS_KILLS` says otherwise.
const KILLS: u64 = 20;
const CODE: &str = "def main_handler(e, c): return 1";
const RESTORE: &str = "<RestoreRequest><Days>1</Days><GlacierJobParameters><Tier>Expedited</Tier>\
                       </GlacierJobParameters></RestoreRequest>";

/// Ids of events, by key and name.
type Arrived = Arc<Mutex<BTreeMap<(String, String), BTreeSet<String>>>>;

/// A listener of this process, which no kill touches; gives its address.
async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

async fn take(State(arrived): State<Arrived>, body: String) {
    let event: Value = serde_json::from_str(&body).expect("JSON");
    let record = &event["Records"][0];
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let of = (text(&record["s3"]["object"]["key"]), text(&record["eventName"]));
    let mut arrived = arrived.lock().expect("nobody panics here");
    arrived.entry(of).or_default().insert(text(&record["tidings"]["eventId"]));
}

/// What clients were told.
#[derive(Debug, Default)]
struct Told {
    /// Objects that were put, restored, and fetched.
    put: BTreeSet<String>,
    restored: BTreeSet<String>,
    fetched: BTreeSet<String>,
}

/// The clients of one life, which ends under them.
#[derive(Clone)]
struct Clients {
    s3: Client,
    life: u64,
    told: Arc<Mutex<Told>>,
    answered: Arc<watch::Sender<u64>>,
}

impl Clients {
    /// True if it was done; none once nobody answers. Nothing here deserves a 4xx.
    async fn ask(&self, method: Method, path: &str, query: &[(&str, &str)], archive: bool) -> Option<bool> {
        let class = [("x-amz-storage-class", "ARCHIVE")];
        let body = if query.is_empty() { "body" } else { RESTORE };
        let body = if method == Method::GET { "" } else { body };
        let asked = self.s3.request(method, path, query, &class[..usize::from(archive)], body.into()).await;
        let Response { status, body, .. } = asked.ok()?;
        let known = status.is_success() || status.is_server_error();
        assert!(known, "{path}: {status} {}", String::from_utf8_lossy(&body));
        Some(status.is_success())
    }

    fn note(&self, done: bool, note: impl FnOnce(&mut Told) -> bool) {
        if done {
            assert!(note(&mut self.told.lock().expect("nobody panics here")), "a key of its own");
            self.answered.send_modify(|n| *n += 1);
        }
    }

    async fn put(self) {
        for n in 0.. {
            let key = format!("put-{}-{n}", self.life);
            let Some(done) = self.ask(Method::PUT, &format!("/bucket/{key}"), &[], false).await else {
                return;
            };
            self.note(done, |told| told.put.insert(key));
        }
    }

    async fn restore(self) {
        for n in 0.. {
            let key = format!("archived-{}-{n}", self.life);
            let path = format!("/bucket/{key}");
            let Some(there) = self.ask(Method::PUT, &path, &[], true).await else { return };
            self.note(there, |told| told.put.insert(key.clone()));
            if there {
                let Some(begun) = self.ask(Method::POST, &path, &[("restore", "")], false).await else {
                    return;
                };
                self.note(begun, |told| told.restored.insert(key));
            }
        }
    }

    async fn fetch(self) {
        for n in 0.. {
            let key = format!("fetched-{}-{n}", self.life);
            let Some(done) = self.ask(Method::GET, &format!("/original/{key}"), &[], false).await else {
                return;
            };
            self.note(done, |told| told.fetched.insert(key));
        }
    }

    /// All of them, until nobody answers.
    async fn work(self) {
        let (putting, restoring) = (tokio::spawn(self.clone().put()), tokio::spawn(self.clone().restore()));
        let fetching = tokio::spawn(self.fetch());
        for client in [putting, restoring, fetching] {
            client.await.expect("a client found nothing wrong");
        }
    }
}

fn configuration(audit: &str) -> String {
    let created = "\"cos:ObjectCreated:*\"";
    format!(
        "[queue]\nsegment_bytes = \"1MiB\"\nmax_bytes = \"64MiB\"\nretain_bytes = 0\n\
         [store]\ncheckpoint_interval = \"1s\"\n[restore]\narchive_expedited = \"20ms\"\n\
         [origin]\nallow_private = true\n\
         [[functions.rule]]\nfunction = \"works\"\nname = \"to-works\"\nevents = [{created}]\n\
         [target.audit.connector.http]\nurl = \"http://{audit}/\"\n\
         [[target.audit.rule]]\nevents = [{created}, \"cos:ObjectRestore:*\"]\n"
    )
}

async fn fetched_from(s3: &Client, origin: &str) {
    assert_eq!(s3.create_bucket("original").await.expect("an answer").status, 200);
    let document = format!(
        "<OriginConfiguration><OriginRule><OriginType>Mirror</OriginType><OriginInfo><HostInfo>\
         <HostName>{origin}</HostName></HostInfo></OriginInfo></OriginRule></OriginConfiguration>"
    );
    let set = s3.request(Method::PUT, "/original", &[("origin", "")], &[], document.into()).await;
    assert_eq!(set.expect("an answer").status, 200);
}

/// A restored object can be read.
async fn readable(s3: &Client, key: &str) {
    let read = async {
        loop {
            let got = s3.get("bucket", key).await.expect("an answer");
            if got.status == 200 {
                return;
            }
            assert_eq!(got.error_code(), Some("InvalidObjectState"), "{key}: {got:?}");
        }
    };
    timeout(WAIT, read).await.unwrap_or_else(|_| panic!("{key} was restored and never done"));
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_while_functions_restores_and_fetches_run_lose_and_double_nothing() {
    let seed = number("TIDINGS_SEED").unwrap_or_else(|| uuid::Uuid::now_v7().as_u64_pair().1);
    println!("TIDINGS_SEED={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let (arrived, told) = (Arrived::default(), Arc::<Mutex<Told>>::default());
    let audit = serve(Router::new().route("/", post(take)).with_state(arrived.clone())).await;
    let origin = Router::new().route("/{key}", get(async |Path(key): Path<String>| key));
    let origin = serve(origin).await;
    let mut world = World::start(&configuration(&audit)).await;
    world.create("works", CODE, &[]).await;
    fetched_from(&world.s3(), &origin).await;
    let kills = number("TIDINGS_KILLS").unwrap_or(KILLS);
    for life in 0..=kills {
        let answered = Arc::new(watch::Sender::new(0));
        let (mut count, goal) = (answered.subscribe(), rng.u64(1..80));
        let clients = Clients { s3: world.s3(), life, told: told.clone(), answered };
        let working = tokio::spawn(clients.work());
        let reached = timeout(WAIT, count.wait_for(|n| *n >= goal)).await.map(drop);
        assert!(reached.is_ok(), "{goal} answers did not come");
        world.kill().await;
        working.await.expect("the clients found nothing wrong");
        world.open().await;
    }
    // The last life has no end before everything came.
    let told = told.lock().map(|mut told| std::mem::take(&mut *told)).expect("nobody panics here");
    for key in &told.restored {
        readable(&world.s3(), key).await;
    }
    let all = |view: &Value| view["books"]["backlog"] == 0 && view["books"]["held"] == 0;
    let audited = world.until(&["target", "show", "audit"], all).await;
    let worked = world.until(&["target", "show", "function:works"], all).await;
    let arrived = arrived.lock().map(|arrived| arrived.clone()).expect("nobody panics here");
    judge(&told, &arrived);
    let created = arrived.keys().filter(|(_, name)| name.starts_with("ObjectCreated:")).count();
    for (view, matched) in [(&audited, arrived.len()), (&worked, created)] {
        let books = ["matched", "delivered", "shed", "dead_lettered"].map(|column| &view["books"][column]);
        assert_eq!(books, [&json!(matched), &json!(matched), &json!(0), &json!(0)], "{view}");
        assert_eq!(view["books_imbalance"], 0, "{view}");
    }
    println!(
        "{kills} kills: {} put, {} restored, {} fetched",
        told.put.len(),
        told.restored.len(),
        told.fetched.len()
    );
    println!("figure: kill_cycles_with_functions={kills}");
    assert!(![&told.put, &told.restored, &told.fetched].iter().any(|keys| keys.is_empty()));
    assert!(world.stop().await.success());
}

/// Everything that was answered is there once, and nothing else but what nobody knows.
fn judge(told: &Told, arrived: &BTreeMap<(String, String), BTreeSet<String>>) {
    for (of, ids) in arrived {
        assert_eq!(ids.len(), 1, "{of:?} happened more than once");
    }
    let came = |key: &str, name: &str| arrived.contains_key(&(key.to_owned(), name.to_owned()));
    for key in &told.put {
        assert!(came(key, "ObjectCreated:Put"), "{key} was put, and nobody was told");
    }
    for key in &told.fetched {
        assert!(came(key, "ObjectCreated:Origin"), "{key} was fetched, and nobody was told");
    }
    for key in &told.restored {
        assert!(came(key, "ObjectRestore:Post"), "{key} was restored, and nobody was told");
    }
    for (key, name) in arrived.keys() {
        match name.as_str() {
            "ObjectCreated:Put" | "ObjectCreated:Origin" => {}
            "ObjectRestore:Post" => assert!(came(key, "ObjectRestore:Completed"), "{key} is never done"),
            "ObjectRestore:Completed" => assert!(came(key, "ObjectRestore:Post"), "{key} never began"),
            other => panic!("{key}: {other} was asked for by nobody"),
        }
    }
}
