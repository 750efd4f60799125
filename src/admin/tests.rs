//! The route table walked with every kind of caller, and what the routes answer.

mod audit;
mod dead;
mod document;
mod functions;
mod listener;
mod scf;
mod scf_actions;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use axum::response::Response;
use http::{Request, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::Notify;
use tower::ServiceExt as _;

use super::service::{Entrance, Peer};
use super::*;
use crate::config::secret_file::SecretFileError;
use crate::metrics::{TargetSnapshot, TargetState};
use crate::queue::Books;
use crate::queue::dead::DeadLetters;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const LOCAL: &str = "127.0.0.1:40000";
const REMOTE: &str = "192.0.2.7:40000";

/// One target, `orders`, and a gate that a change waits at.
#[derive(Default)]
struct Fake {
    dead: std::sync::Mutex<Option<DeadLetters>>,
    /// What a function was last made of.
    made: std::sync::Mutex<Option<crate::functions::FunctionChange>>,
    paused: AtomicBool,
    unready: AtomicBool,
    slow: AtomicBool,
    entered: Notify,
    go_on: Notify,
    changed: Notify,
}

impl Fake {
    fn view(&self) -> TargetView {
        let paused = self.paused.load(Ordering::SeqCst);
        let state = if paused { TargetState::Paused } else { TargetState::Up };
        let snapshot = TargetSnapshot {
            books: Books { matched: 3, delivered: 1, backlog: 2, ..Books::default() },
            in_flight_limit: 10,
            oldest_undelivered_us: Some(1_000_000),
            last_success_us: Some(2_000_000),
            ..TargetSnapshot::new("orders".into(), "kafka".into(), state)
        };
        let failure = FailureView {
            time: "1970-01-01T00:00:01Z".into(),
            class: "timeout",
            message: "no answer".into(),
        };
        TargetView {
            encoding: Some("s3"),
            destination: Some("events-{bucket}".into()),
            rate_limit: Some(5),
            last_failure: paused.then_some(failure),
            blocked: paused.then(|| "the dead letters are full".into()),
            ..TargetView::new(&snapshot, 3_000_000)
        }
    }
}

fn bucket(max_bytes: Option<u64>, max_objects: Option<u64>) -> BucketView {
    let counted = max_bytes.or(max_objects).map(|_| 5);
    let (name, created) = ("photos".to_owned(), rfc3339(1_000_000));
    BucketView { name, created, max_bytes, max_objects, bytes: counted, objects: counted }
}

fn rule() -> RuleView {
    RuleView {
        id: "1".into(),
        source: "bucket",
        form: Some("function"),
        bucket: "photos".into(),
        target: "f".into(),
        arn: Some("arn:tidings:lambda:here::function:f".into()),
        events: vec!["cos:ObjectCreated:*".into()],
        prefix: "in/".into(),
        suffix: String::new(),
        enabled: true,
        allow_overlap: false,
        active: true,
    }
}

#[async_trait]
impl AdminBackend for Fake {
    async fn ready(&self) -> Result<Vec<String>, String> {
        let notes = vec!["orders is nearly full".to_owned()];
        if self.unready.load(Ordering::SeqCst) { Err("the journal is full".into()) } else { Ok(notes) }
    }

    async fn metrics_text(&self) -> String {
        "tidings_build_info 1\n".into()
    }

    async fn targets(&self) -> Vec<TargetView> {
        vec![self.view()]
    }

    async fn target(&self, name: &str) -> Option<TargetView> {
        (name == "orders").then(|| self.view())
    }

    async fn set_paused(&self, name: &str, paused: bool) -> Result<TargetView, ChangeError> {
        if name != "orders" {
            return Err(ChangeError::NoSuchTarget);
        }
        if self.slow.load(Ordering::SeqCst) {
            self.entered.notify_one();
            self.go_on.notified().await;
        }
        self.paused.store(paused, Ordering::SeqCst);
        self.changed.notify_one();
        Ok(self.view())
    }

    async fn buckets(&self) -> Result<Vec<BucketView>, ChangeError> {
        Ok(vec![bucket(None, None)])
    }

    async fn set_quota(&self, name: &str, wish: QuotaWish) -> Result<BucketView, ChangeError> {
        match wish {
            _ if name != "photos" => Err(ChangeError::NoSuchBucket),
            QuotaWish::Unlimited => Ok(bucket(None, None)),
            QuotaWish::Limits { max_bytes, max_objects } => Ok(bucket(max_bytes, max_objects)),
        }
    }

    async fn rules(&self, query: RuleQuery) -> Result<RulePage, ChangeError> {
        let known = query.bucket.is_none_or(|bucket| bucket == "photos");
        let target = query.target.filter(|name| name == "hello").map(|name| format!("function:{name}"));
        let one = RuleView { target: target.unwrap_or(rule().target), ..rule() };
        Ok(RulePage { rules: if known { vec![one] } else { vec![] }, more: false })
    }

    async fn trigger(&self, wish: TriggerWish) -> Result<RuleView, ChangeError> {
        match wish {
            TriggerWish::Add { bucket, .. } if bucket == "gone" => Err(ChangeError::NoSuchBucket),
            TriggerWish::Change { id, .. } if id == "gone" => Err(ChangeError::NoSuchTrigger),
            _ => Ok(rule()),
        }
    }

    async fn dead_letters(&self, _: &str) -> Result<DeadLetters, ChangeError> {
        self.dead.lock().expect("held briefly").clone().ok_or(ChangeError::NoSuchTarget)
    }

    async fn can_replay(&self, _: &str) -> Result<(), ChangeError> {
        Ok(())
    }

    async fn forget(&self, name: &str, discard: bool) -> Result<Forgotten, ChangeError> {
        let books = Books { forgotten: u64::from(discard), ..Books::default() };
        if name == "orders" {
            Ok(Forgotten { name: name.into(), books })
        } else {
            Err(ChangeError::NoSuchTarget)
        }
    }

    async fn reload(&self, accept: &[String]) -> Result<Reloaded, ChangeError> {
        Ok(Reloaded { rebuilt: accept.to_vec(), ..Reloaded::default() })
    }

    fn functions(&self) -> &dyn FunctionBackend {
        self
    }

    fn scf(&self) -> &dyn ScfBackend {
        self
    }

    async fn store_stat(&self) -> StoreStat {
        let damage = vec![BodyDamageView { key: Some("k".into()), at: Some(7), ..BodyDamageView::default() }];
        StoreStat { live_bytes: 5, damaged: 1, damage, ..StoreStat::default() }
    }
    async fn journal_stat(&self) -> JournalStat {
        JournalStat { epoch: 1, durable_end: 9, ..JournalStat::default() }
    }
}

/// A bound on waiting, so that what never happens fails instead of hanging. Far above what it takes, and far
/// below the bounds under which the listener would save itself.
async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), work).await.unwrap_or_else(|_| panic!("too late: {what}"))
}

struct World {
    fake: Arc<Fake>,
    admin: Admin,
    data: TempDir,
}

fn world() -> World {
    let data = tempfile::tempdir().expect("a folder");
    let fake = Arc::new(Fake::default());
    let audit = AuditLog::open(data.path()).expect("the audit log opens");
    let token = Token::parse(TOKEN).expect("a token");
    World { admin: Admin::new(fake.clone(), token, audit), fake, data }
}

/// One request: method, path, peer, host and token.
#[derive(Clone, Copy)]
struct Ask<'a> {
    method: &'a str,
    path: &'a str,
    peer: &'a str,
    host: &'a str,
    token: Option<&'a str>,
}

const GOOD: Ask<'static> =
    Ask { method: "GET", path: "/v1/targets", peer: LOCAL, host: "localhost:9001", token: Some(TOKEN) };

impl World {
    async fn ask_on(&self, loopback: bool, ask: Ask<'_>, body: Body) -> Response {
        let mut request = Request::builder().method(ask.method).uri(ask.path).header("host", ask.host);
        if let Some(token) = ask.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut request = request.body(body).expect("a request");
        request.extensions_mut().insert(Peer(ask.peer.parse().expect("an address")));
        let entrance = Entrance { loopback, deadline: Duration::from_secs(30) };
        let answer = self.admin.router(entrance).oneshot(request).await.expect("infallible");
        document::checked(ask.method, ask.path, answer).await
    }

    async fn ask(&self, ask: Ask<'_>) -> Response {
        self.ask_on(true, ask, Body::empty()).await
    }

    fn audit(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.data.path().join("audit.log")).expect("the audit log");
        text.lines().map(|l| serde_json::from_str(l).expect("a JSON line")).collect()
    }
}

async fn json(response: Response) -> Value {
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("a body");
    serde_json::from_slice(&body).expect("JSON")
}

async fn code(response: Response) -> String {
    let body = json(response).await;
    for text in ["message", "hint"] {
        assert!(body["error"][text].as_str().is_some_and(|m| !m.is_empty()), "{body}");
    }
    body["error"]["code"].as_str().expect("a code").to_owned()
}

fn concrete(route: &Route) -> (&'static str, String) {
    let method = match route.method {
        Verb::Get => "GET",
        Verb::Post => "POST",
    };
    let wish = match route.action {
        Action::DeadReplay | Action::DeadPurge => "?all=true",
        Action::TargetReplay => "?from=7",
        Action::BucketQuota => "?max_bytes=7",
        Action::TriggerAdd => "?function=f&bucket=photos&event=e",
        Action::TriggerEnable | Action::TriggerDisable | Action::TriggerRemove => "?id=1",
        _ => "",
    };
    let path = route.path.replace("{name}", "orders").replace("{bucket}", "photos");
    (method, path.replace("{function}", "hello").replace("{offset}", "1") + wish)
}

#[tokio::test]
async fn every_route_admits_only_whom_its_row_names() {
    let world = world();
    *world.fake.dead.lock().expect("held briefly") = Some(dead::letters(world.data.path(), 1).await);
    for route in ROUTES {
        if route.access == Access::Signed {
            continue; // no token opens it: see scf.rs
        }
        let (method, path) = concrete(route);
        let ask = Ask { method, path: &path, ..GOOD };
        let open = route.access == Access::OpenOnLoopback;
        // The fake has no lane to go back or to try out.
        let laneless = matches!(route.action, Action::TargetReplay | Action::TargetTest);
        let fine = if laneless { StatusCode::NOT_FOUND } else { StatusCode::OK };
        let status = async |loopback, ask| world.ask_on(loopback, ask, Body::empty()).await.status();
        assert_eq!(status(true, ask).await, fine, "{path}: right token");
        assert_eq!(status(false, Ask { peer: REMOTE, host: "tidings.example", ..ask }).await, fine);
        let denied = StatusCode::UNAUTHORIZED;
        let bare = if open { StatusCode::OK } else { denied };
        assert_eq!(status(true, Ask { token: None, ..ask }).await, bare, "{path}: no token");
        let wrong = [&TOKEN[1..], "", "0123456789abcdef0123456789abcdeF", "x"];
        for token in wrong {
            assert_eq!(status(true, Ask { token: Some(token), ..ask }).await, bare, "{path}: {token:?}");
        }
        // From elsewhere nothing is open, and a loopback peer that names another host is not trusted to be
        // local.
        let elsewhere = Ask { peer: REMOTE, token: None, ..ask };
        assert_eq!(status(false, elsewhere).await, denied, "{path}: remote without token");
        let rebound = Ask { host: "evil.example", token: None, ..ask };
        assert_eq!(status(false, rebound).await, denied, "{path}: rebound name, open listener");
        // On a loopback listener the wrong host is turned away even with the token.
        for host in ["evil.example", "evil.example:9001", "192.0.2.1", "localhost.evil.example", ""] {
            let ask = Ask { host, ..ask };
            assert_eq!(status(true, ask).await, StatusCode::MISDIRECTED_REQUEST, "{path}: host {host:?}");
        }
        assert_eq!(status(true, Ask { peer: "[::ffff:127.0.0.1]:1", token: None, ..ask }).await, bare);
    }
}

#[tokio::test]
async fn a_denied_change_changes_nothing_and_leaves_no_line() {
    let world = world();
    for (token, host) in [(None, "localhost"), (Some("x"), "localhost"), (Some(TOKEN), "evil.example")] {
        let ask = Ask { method: "POST", path: "/v1/targets/orders/pause", token, host, ..GOOD };
        assert_ne!(world.ask(ask).await.status(), StatusCode::OK);
    }
    assert!(!world.fake.paused.load(Ordering::SeqCst));
    assert!(world.audit().is_empty());
}

#[tokio::test]
async fn unknown_paths_and_methods_tell_nothing_without_the_token() {
    let world = world();
    for (method, path, with) in [
        ("GET", "/", StatusCode::METHOD_NOT_ALLOWED),
        ("GET", "/v1", StatusCode::NOT_FOUND),
        ("GET", "/v1/target", StatusCode::NOT_FOUND),
        ("GET", "/v1/targets/", StatusCode::NOT_FOUND),
        ("GET", "/v1/targets/orders/pause", StatusCode::METHOD_NOT_ALLOWED),
        ("DELETE", "/v1/journal", StatusCode::METHOD_NOT_ALLOWED),
        ("OPTIONS", "/v1/targets", StatusCode::METHOD_NOT_ALLOWED),
        ("POST", "/metrics", StatusCode::METHOD_NOT_ALLOWED),
    ] {
        let ask = Ask { method, path, ..GOOD };
        let answer = world.ask(ask).await;
        assert_eq!(answer.status(), with, "{method} {path}");
        assert!(answer.headers().keys().all(|h| !h.as_str().starts_with("access-control")));
        assert_eq!(answer.headers().contains_key("allow"), with == StatusCode::METHOD_NOT_ALLOWED);
        code(answer).await;
        let without = world.ask(Ask { token: None, ..ask }).await;
        assert_eq!(without.status(), StatusCode::UNAUTHORIZED, "{method} {path}");
        assert_eq!(without.headers()["www-authenticate"], "Bearer");
        assert_eq!(code(without).await, "unauthorized");
    }
}

#[tokio::test]
async fn targets_are_shown_and_the_journal_too() {
    let world = world();
    let list = json(world.ask(GOOD).await).await;
    let one = json(world.ask(Ask { path: "/v1/targets/orders", ..GOOD }).await).await;
    assert_eq!(list["targets"], Value::Array(vec![one.clone()]));
    assert_eq!(one["state"], "up");
    assert_eq!(one["books"]["matched"], 3);
    assert_eq!(one["undelivered"]["ready"], 2);
    assert_eq!(one["books_imbalance"], 0);
    assert_eq!(one["oldest_undelivered_age_seconds"], 2.0);
    assert_eq!(one["last_success"], "1970-01-01T00:00:02Z");
    for name in ["nobody", "ORDERS", "%6frders", &"a".repeat(65)] {
        let path = format!("/v1/targets/{name}");
        let answer = world.ask(Ask { path: &path, ..GOOD }).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{name}");
        assert_eq!(code(answer).await, "no_such_target");
    }
    let journal = json(world.ask(Ask { path: "/v1/journal", ..GOOD }).await).await;
    assert_eq!((&journal["epoch"], &journal["durable_end"]), (&1.into(), &9.into()));
}

#[tokio::test]
async fn readiness_says_why_not_and_liveness_does_not_care() {
    let world = world();
    let ready = Ask { path: "/readyz", token: None, ..GOOD };
    let answer = json(world.ask(ready).await).await;
    assert_eq!((&answer["ready"], &answer["notes"][0]), (&true.into(), &"orders is nearly full".into()));
    world.fake.unready.store(true, Ordering::SeqCst);
    let answer = world.ask(ready).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    let body = json(answer).await;
    assert_eq!(
        (&body["error"]["code"], &body["error"]["message"]),
        (&"not_ready".into(), &"the journal is full".into())
    );
    assert_eq!(world.ask(Ask { path: "/livez", ..ready }).await.status(), StatusCode::OK);
    let metrics = world.ask(Ask { path: "/metrics", ..ready }).await;
    assert_eq!(metrics.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(metrics.headers()["cache-control"], "no-store");
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_stop_a_change() {
    let world = world();
    world.fake.slow.store(true, Ordering::SeqCst);
    let ask = Ask { method: "POST", path: "/v1/targets/orders/pause", ..GOOD };
    tokio::select! {
        _ = world.ask(ask) => panic!("answered before the change was made"),
        () = world.fake.entered.notified() => {} // the request is dropped here
    }
    world.fake.go_on.notify_one();
    soon("the change", world.fake.changed.notified()).await;
    assert!(world.fake.paused.load(Ordering::SeqCst));
    // The closing line is written by a thread of its own.
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while world.audit().len() < 2 {
        assert!(std::time::Instant::now() < deadline, "no closing line");
        tokio::task::yield_now().await;
    }
    assert_eq!(world.audit()[1]["result"], "done");
}

#[tokio::test]
async fn a_body_beyond_the_bound_is_refused() {
    let world = world();
    let ask = Ask { method: "POST", path: "/v1/targets/orders/pause", ..GOOD };
    let answer = world.ask_on(true, ask, Body::from(vec![b' '; (64 << 10) + 1])).await;
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert!(!world.fake.paused.load(Ordering::SeqCst));
    assert_eq!(world.ask_on(true, ask, Body::from("{}")).await.status(), StatusCode::OK);
}

#[test]
fn tokens_are_made_once_for_the_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut random = fastrand::Rng::with_seed(1);
    let mut fill = |bytes: &mut [u8]| random.fill(bytes);
    let data = tempfile::tempdir().expect("a folder");
    assert!(matches!(Token::load(data.path()), Err(SecretFileError::Io { .. })));
    let made = Token::load_or_create(data.path(), &mut fill).expect("made");
    let again = Token::load_or_create(data.path(), &mut fill).expect("found");
    assert_eq!(made.expose(), again.expose());
    assert_eq!(made.expose().len(), 64);
    assert_eq!(format!("{made:?}").find(made.expose()), None);
    let path = data.path().join("admin.token");
    assert_eq!(std::fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
    let other = tempfile::tempdir().expect("a folder");
    assert_ne!(Token::load_or_create(other.path(), &mut fill).expect("made").expose(), made.expose());

    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("set");
    assert!(matches!(
        Token::load_or_create(data.path(), &mut fill),
        Err(SecretFileError::Exposed { mode: 0o640, .. })
    ));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("set");
    for bad in ["", "short", "0123456789abcdef 0123456789abcdef", &"x".repeat(1025)] {
        std::fs::write(&path, bad).expect("written");
        assert!(
            matches!(Token::load_or_create(data.path(), &mut fill), Err(SecretFileError::Malformed { .. })),
            "{bad:?}"
        );
    }
}
