//! Functions that run elsewhere: how each preset calls, what its answers mean, which addresses are called.
//!
//! Must never call anything but a receiver of its own on this machine.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use serde_json::{Value, json};

use crate::world::{World, rule};

const ALLOWED: &str = "[functions]\nallow_addresses = [\"127.0.0.0/8\"]\n";
const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";

pub(crate) struct Seen {
    path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

type Answer = (StatusCode, HeaderMap, &'static str);

/// Somebody's functions: each path answers as it was told to, others with 200.
#[derive(Clone, Default)]
pub(crate) struct Receiver {
    pub(crate) address: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    answers: Arc<Mutex<BTreeMap<&'static str, Answer>>>,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = format!("http://{}", listener.local_addr().expect("bound"));
        let receiver = Self { address, ..Self::default() };
        let app = axum::Router::new().fallback(take).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        receiver
    }

    pub(crate) fn answer(
        &self,
        path: &'static str,
        status: u16,
        headers: &[(&'static str, &str)],
        body: &'static str,
    ) {
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            all.insert(*name, value.parse().expect("a value"));
        }
        let status = StatusCode::from_u16(status).expect("a status");
        self.answers.lock().expect("no panic").insert(path, (status, all, body));
    }

    /// What a path has got, one after the other.
    pub(crate) fn got<T>(&self, path: &str, of: impl Fn(&Seen) -> T) -> Vec<T> {
        self.seen.lock().expect("no panic").iter().filter(|seen| seen.path == path).map(of).collect()
    }
}

async fn take(State(receiver): State<Receiver>, uri: Uri, headers: HeaderMap, body: Bytes) -> Answer {
    let body = serde_json::from_slice(&body).unwrap_or_default();
    let seen = Seen { path: uri.path().to_owned(), headers, body };
    let answer = receiver.answers.lock().expect("no panic").get(uri.path()).cloned();
    receiver.seen.lock().expect("no panic").push(seen);
    answer.unwrap_or((StatusCode::OK, HeaderMap::new(), "{\"done\": true}"))
}

pub(crate) fn text(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

/// Waits until so many runs of a function ended with this status.
async fn runs(world: &World, name: &str, status: u16, many: usize) {
    let of = |v: &Value| {
        let runs = v["runs"].as_array().expect("a list").iter();
        runs.filter(|run| run["status"] == status && run["event_id"].is_string()).count() >= many
    };
    world.until(&["function", "logs", name, "--limit", "100"], of).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_preset_is_called_as_its_kind_is() {
    let names = ["scf", "lambda", "faas", "knative", "hook"];
    let rules: Vec<_> = names.iter().map(|name| rule(name, &format!("{name}/"))).collect();
    let world = World::start(&format!("{ALLOWED}{}", rules.concat())).await;
    let receiver = Receiver::start().await;
    let lambda = "/2015-03-31/functions/function/invocations";
    receiver.answer(lambda, 200, &[], "{\"errorType\": \"KeyError\", \"errorMessage\": \"planted\"}");
    receiver.answer("/hook", 500, &[], "planted");
    let (old, new) = (world.file("old", OLD), world.file("new", NEW));
    let hook = format!("{}/hook?token=planted", receiver.address);
    let mut shown = Vec::new();
    for (name, preset, url, more) in [
        ("scf", "scf", &receiver.address, vec![]),
        ("lambda", "lambda", &receiver.address, vec![]),
        ("faas", "openfaas", &receiver.address, vec![]),
        ("knative", "knative", &receiver.address, vec![]),
        ("hook", "webhook", &hook, vec!["--secret-file", &*old, "--secret-file", &*new]),
    ] {
        let create = ["function", "create", name, "--url", url, "--preset", preset];
        shown.push(world.json(&[&create[..], &more].concat()).await.to_string());
        world.put(&format!("{name}/key")).await;
    }
    assert!(shown[4].contains(&receiver.address), "{}", shown[4]);
    assert!(shown.iter().all(|shown| !shown.contains("planted") && !shown.contains("whsec")), "{shown:?}");
    for (name, status) in [("scf", 200), ("faas", 200), ("knative", 200), ("lambda", 430), ("hook", 430)] {
        runs(&world, name, status, 1).await;
    }
    // Told so once, each is delivered by a later attempt.
    receiver.answer(lambda, 200, &[], "{\"statusCode\": 200}");
    receiver.answer("/hook", 202, &[], "");
    runs(&world, "lambda", 200, 1).await;
    runs(&world, "hook", 200, 1).await;
    let scf = receiver.got("/event-invoke", |seen| (text(&seen.headers, "x-scf-name"), seen.body.clone()));
    assert_eq!(scf[0].1["Records"][0]["event"]["eventName"], "cos:ObjectCreated:Put", "{:?}", scf[0]);
    let records = receiver.got(lambda, |seen| seen.body["Records"][0]["s3"]["object"]["key"].clone());
    assert!(records.len() >= 2 && records.iter().all(|key| key == "lambda/key"), "{records:?}");
    assert_eq!(receiver.got("/function/faas", |seen| seen.body["Records"][0]["cos"].is_object()), [true]);
    let knative = receiver.got("/", |seen| {
        (text(&seen.headers, "ce-type"), text(&seen.headers, "ce-specversion"), seen.body.is_object())
    });
    assert_eq!(knative, [("cos:ObjectCreated:Put".to_owned(), "1.0".to_owned(), true)]);
    let signed = receiver.got("/hook", |seen| {
        let signatures = text(&seen.headers, "webhook-signature");
        (text(&seen.headers, "webhook-id"), signatures.split(' ').count(), seen.body["id"].clone())
    });
    assert!(signed.len() >= 2 && signed.iter().all(|one| *one == signed[0]), "{signed:?}");
    assert_eq!((signed[0].1, &json!(signed[0].0)), (2, &signed[0].2), "{signed:?}");
    // The old secret goes.
    world.json(&["function", "update", "hook", "--secret-file", &new]).await;
    world.put("hook/again").await;
    runs(&world, "hook", 200, 2).await;
    let signatures = receiver.got("/hook", |seen| text(&seen.headers, "webhook-signature"));
    assert_eq!(signatures.last().map(|last| last.split(' ').count()), Some(1), "{signatures:?}");
    // An event that somebody types, and its answer.
    let ended = world.invoke("faas").await;
    assert_eq!((&ended["status"], &ended["result"]), (&json!(200), &json!("{\"done\": true}")), "{ended}");
    for name in names {
        let target = world.json(&["target", "show", &format!("function:{name}")]).await;
        assert_eq!(
            (&target["kind"], &target["books_imbalance"]),
            (&json!("function"), &json!(0)),
            "{target}"
        );
    }
    let log = std::fs::read_to_string(world.dir.path().join("log")).expect("there");
    assert!(!log.contains("planted") && !log.contains("whsec"), "a secret is in the log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_say_stop_are_obeyed_and_redirects_are_not() {
    let rules = [rule("gone", "gone/"), rule("moved", "moved/"), rule("bad", "bad/")].concat();
    let world = World::start(&format!("{ALLOWED}{rules}")).await;
    let receiver = Receiver::start().await;
    receiver.answer("/gone", 410, &[], "");
    receiver.answer("/moved", 302, &[("location", "/elsewhere")], "");
    receiver.answer("/bad", 422, &[], "");
    for name in ["gone", "moved", "bad"] {
        let url = format!("{}/{name}", receiver.address);
        world.json(&["function", "create", name, "--url", &url, "--preset", "openfaas"]).await;
        world.put(&format!("{name}/key")).await;
    }
    for (name, status) in [("gone", 435), ("moved", 435), ("bad", 400)] {
        runs(&world, name, status, 1).await;
    }
    world.until(&["target", "show", "function:bad"], |v| v["books"]["dead_lettered"] == 1).await;
    assert_eq!(receiver.got("/elsewhere", |_| ()).len(), 0);
    // Stopped until somebody resumes it.
    let asked = receiver.got("/gone", |_| ()).len();
    receiver.answer("/gone", 200, &[], "");
    world.json(&["target", "resume", "function:gone"]).await;
    runs(&world, "gone", 200, 1).await;
    assert_eq!(asked, 1);
}

/// A trigger's function may run elsewhere, and what its receiver asks for holds: 503 with a wish stops the
/// target for so long, 429 without one makes its window smaller, and nothing is lost by either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_asks_for_less_gets_less_and_all_of_it() {
    let world = World::start(ALLOWED).await;
    let receiver = Receiver::start().await;
    let url = format!("{}/busy", receiver.address);
    let more = ["--preset", "openfaas", "--concurrency", "8"];
    world.json(&[&["function", "create", "busy", "--url", &url][..], &more].concat()).await;
    let trigger = ["trigger", "add", "busy", "--bucket", "bucket", "--event", "cos:ObjectCreated:*"];
    world.json(&[&trigger[..], &["--prefix", "in/"]].concat()).await;
    receiver.answer("/busy", 503, &[("retry-after", "3")], "");
    let asked = std::time::Instant::now();
    world.put("in/0").await;
    world.put("out/0").await;
    runs(&world, "busy", 432, 1).await;
    receiver.answer("/busy", 200, &[], "");
    for n in 1..5 {
        world.put(&format!("in/{n}")).await;
    }
    runs(&world, "busy", 200, 5).await;
    assert!(asked.elapsed() >= std::time::Duration::from_secs(3), "called before the time it asked for");
    // Nobody was called between: one answer of 503, and then each once.
    let log = world.json(&["function", "logs", "busy", "--limit", "100"]).await;
    let all: Vec<_> = log["runs"].as_array().expect("a list").iter().map(|run| &run["status"]).collect();
    assert_eq!(all.iter().filter(|status| ***status == json!(432)).count(), 1, "{log}");
    // Too many at once, says the receiver, and is asked one by one in the end; all the same everything comes.
    receiver.answer("/busy", 429, &[], "");
    for n in 10..30 {
        world.put(&format!("in/{n}")).await;
    }
    runs(&world, "busy", 432, 10).await;
    receiver.answer("/busy", 200, &[], "");
    let whole = |v: &Value| v["books"]["delivered"] == 25 && v["books_imbalance"] == 0;
    let target = world.until(&["target", "show", "function:busy"], whole).await;
    assert_eq!(target["books"]["matched"], 25, "{target}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_that_no_list_names_are_not_called() {
    let mut world = World::start(&rule("named", "in/")).await;
    let receiver = Receiver::start().await;
    let port = receiver.address.rsplit(':').next().expect("a port").to_owned();
    for host in ["127.0.0.1", "127.1", "2130706433", "[::ffff:127.0.0.1]", "169.254.169.254", "[::1]"] {
        let url = format!("http://{host}:{port}/");
        let (code, said) =
            world.run(&["function", "create", "inner", "--url", &url, "--preset", "scf"]).await;
        assert!(code == 1 && said.contains("may not be called"), "{host}: {said}");
    }
    // A name is judged by the address that it has when it is called.
    let url = format!("http://localhost:{port}/named");
    world.json(&["function", "create", "named", "--url", &url, "--preset", "openfaas"]).await;
    world.put("in/key").await;
    let ended = world.invoke("named").await;
    assert_ne!(ended["status"], 200, "{ended}");
    assert!(ended["message"].as_str().expect("one").contains("allow_addresses"), "{ended}");
    assert_eq!(receiver.got("/named", |_| ()).len(), 0);
    // What it waits for comes once the operator lists it, and stops once he does not.
    world.stop().await;
    let listed = ALLOWED.replace("]\n", ", \"::1\"]\n").replace("[functions, \"::1\"]", "[functions]");
    world.configure(&format!("{listed}{}", rule("named", "in/")));
    world.open().await;
    runs(&world, "named", 200, 1).await;
    let url = format!("http://127.0.0.1:{port}/named");
    world.json(&["function", "update", "named", "--url", &url]).await;
    world.stop().await;
    world.configure(&rule("named", "in/"));
    world.open().await;
    let shown = world.json(&["function", "show", "named"]).await;
    assert!(shown["problem"].as_str().expect("one").contains("allow_addresses"), "{shown}");
    let (code, said) = world.run(&["function", "update", "named", "--role", "write:bucket"]).await;
    assert!(code == 1, "{said}");
}
