//! What the real program keeps to itself while clients, receivers and operators do everything wrong: A16, A61
//! and A62 against its log at its most talkative, its metrics, its answers and its files.
//!
//! Must never plant a secret without making sure that the server used it.

use std::fs::{self, File};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use reqwest::Method;
use tidings::client::Client;
use tidings::client::sign::{Parts, Signer, amz_date, payload_hash};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::program::Program;
use crate::targets::world::WAIT;

const BODY: &str = "planted-body-of-an-object";
const AUTHORIZATION: &str = "Bearer planted-authorization";
/// `planted-signing-secret-of-24by`, as Standard Webhooks writes it.
const SIGNING: &str = "whsec_cGxhbnRlZC1zaWduaW5nLXNlY3JldC1vZi0yNGJ5";

/// A receiver that repeats every header in its answer, and rejects.
async fn echo(State(asked): State<Arc<AtomicUsize>>, headers: HeaderMap) -> (StatusCode, String) {
    assert_eq!(headers["authorization"], AUTHORIZATION, "the secret is used");
    asked.fetch_add(1, Ordering::SeqCst);
    (StatusCode::BAD_REQUEST, format!("you said {headers:?}"))
}

async fn receiver() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/", listener.local_addr().expect("bound"));
    let asked = Arc::new(AtomicUsize::new(0));
    let router = Router::new().route("/", post(echo)).with_state(Arc::clone(&asked));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, asked)
}

/// Starts the program with everything logged to a file.
async fn start(program: &mut Program) {
    let log = File::options().create(true).append(true).open(program.dir.path().join("log")).expect("a log");
    let mut command = program.command(&["serve"]);
    let mut child = command.env("TIDINGS_LOG", "trace").stderr(Stdio::from(log)).spawn().expect("starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let ready = async {
        while let Some(line) = lines.next_line().await.expect("readable") {
            if let Some(address) = line.strip_prefix("listening s3 ") {
                program.s3 = address.to_owned();
            } else if let Some(address) = line.strip_prefix("listening admin ") {
                program.admin = address.to_owned();
            } else if line == "ready" {
                return;
            }
        }
        panic!("the server ended at its start");
    };
    timeout(WAIT, ready).await.expect("ready in time");
    program.child = Some(child);
}

/// Everything that was told so far, with where.
#[derive(Default)]
struct Told(Vec<(String, String)>);

impl Told {
    fn note(&mut self, place: &str, text: impl Into<String>) {
        self.0.push((place.to_owned(), text.into()));
    }

    fn holds_none_of(&self, secrets: &[(&str, &str)]) {
        for (place, text) in &self.0 {
            for (what, secret) in secrets {
                assert!(secret.len() >= 8, "{what} is no secret: {secret:?}");
                assert!(!text.contains(secret), "{what} is in {place}");
            }
        }
    }
}

/// The S3 side: requests that are good, wrong and worse. Gives the signature that one should have had.
async fn ask_s3(program: &Program, told: &mut Told) -> String {
    let client = program.client();
    assert_eq!(client.create_bucket("bucket").await.expect("an answer").status, 200);
    assert_eq!(client.put("bucket", "bad", BODY).await.expect("an answer").status, 200);
    let text = fs::read_to_string(program.data().join("credentials.toml")).expect("made");
    let table: toml::Table = text.parse().expect("TOML");
    let field = |name: &str| table["credential"][0][name].as_str().expect("a string").to_owned();
    let (key, secret) = (field("access_key"), field("secret_key"));
    for (key, secret) in [(&*key, "guess"), ("AKIDNOBODY", &*secret), ("A\u{1b}[31m\nB", "x")] {
        let other = Client::new(&program.s3, "ap-guangzhou", key, secret).expect("an address");
        let Ok(answer) = other.put("bucket", "key", BODY).await else { continue };
        told.note("an answer of S3", String::from_utf8_lossy(&answer.body));
    }
    // Signed rightly but for its last letter: what it should have been is known here.
    let (at, hash) = (jiff::Timestamp::now(), payload_hash(b""));
    let (date, host) = (amz_date(at), program.s3.trim_start_matches("http://").to_owned());
    let headers = [("host", host.as_str()), ("x-amz-content-sha256", &hash), ("x-amz-date", &date)];
    let parts = Parts { method: "GET", path: "/bucket/bad", query: "", headers: &headers, payload: &hash };
    let right = Signer::new("ap-guangzhou", &key, &secret).sign(&parts, at);
    let last = if right.signature.ends_with('0') { '1' } else { '0' };
    let wrong = format!("{}{last}", &right.authorization[..right.authorization.len() - 1]);
    let request = reqwest::Client::new().get(format!("{}/bucket/bad", program.s3));
    let request = request.header("x-amz-content-sha256", &hash).header("x-amz-date", &date);
    let answer = request.header("authorization", wrong).send().await.expect("an answer");
    assert_eq!(answer.status(), 403);
    told.note("an answer to a wrong signature", answer.text().await.expect("whole"));
    right.signature
}

/// The admin side: what it shows, and what it answers to who may not ask. A26: neither listener takes what
/// the other one does.
async fn ask_admin(program: &Program, token: &str, told: &mut Told) {
    for path in [
        "/metrics",
        "/v1/targets",
        "/v1/targets/echo",
        "/v1/targets/echo/dead-letters",
        "/v1/journal",
        "/v1/store",
        "/v1/functions",
        "/v1/rules",
        "/v1/config",
        "/debug/pprof",
        "/v1/openapi.json",
    ] {
        let (_, text) = program.get(path).await;
        told.note(path, text);
    }
    let client = reqwest::Client::new();
    let changes = format!("{}/v1/targets/echo/pause", program.admin);
    let wrong = format!("{}x", &token[..token.len() - 1]);
    for (what, request) in [
        ("no token", client.post(&changes)),
        ("a wrong token", client.post(&changes).bearer_auth(&wrong)),
        ("a token in the query", client.post(format!("{changes}?token={token}"))),
        ("a token in a cookie", client.post(&changes).header("cookie", format!("token={token}"))),
        ("a token by Basic", client.post(&changes).basic_auth("admin", Some(token))),
        ("a form of another site", {
            let form = client.post(&changes).header("origin", "http://evil.example");
            form.header("content-type", "application/x-www-form-urlencoded").body(format!("token={token}"))
        }),
        ("a signature of S3", client.post(&changes).header("authorization", "AWS4-HMAC-SHA256 Credential=x")),
    ] {
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), 401, "{what}");
        let said = format!("{:?}", answer.headers());
        let said = said + &answer.text().await.expect("whole");
        assert!(!said.contains("set-cookie") && !said.contains("access-control"), "{what}: {said}");
        told.note(what, said);
    }
    let rebound = client.post(&changes).header("host", "evil.example").bearer_auth(token);
    assert_eq!(rebound.send().await.expect("an answer").status(), 421);
    let on_s3 = client.put(format!("{}/bucket/key", program.s3)).bearer_auth(token).body("x");
    let answer = on_s3.send().await.expect("an answer");
    assert_eq!(answer.status(), 403, "the token opens no bucket");
    told.note("the token at S3", answer.text().await.expect("whole"));
    let (_, view) = program.get("/v1/targets/echo").await;
    assert!(view.contains("\"paused\":false") || !view.contains("\"state\":\"paused\""), "{view}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_told_whoever_asks_and_whatever_fails() {
    let (url, asked) = receiver().await;
    let mut program = Program::new("", "");
    let dir = program.dir.path().to_owned();
    let path = |name: &str| dir.join(name);
    for (name, text) in [("authorization", AUTHORIZATION), ("signing", SIGNING)] {
        fs::write(path(name), text).expect("written");
    }
    let target = format!(
        "[target.echo]\nbackoff_min = \"10ms\"\nbackoff_max = \"50ms\"\n[target.echo.connector.http]\n\
         url = {url:?}\nauthorization_file = {:?}\nsigning_secret_file = {:?}\n\
         [[target.echo.rule]]\nevents = [\"cos:ObjectCreated:*\"]\n",
        path("authorization"),
        path("signing")
    );
    program.configure("", &target);
    start(&mut program).await;
    let mut told = Told::default();
    let signature = ask_s3(&program, &mut told).await;
    let rejected = async {
        while asked.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await
        }
    };
    timeout(WAIT, rejected).await.expect("the receiver is asked");
    let token = fs::read_to_string(program.data().join("admin.token")).expect("made").trim().to_owned();
    ask_admin(&program, &token, &mut told).await;
    // A secret where none belongs, and a file that cannot be read: told by name, not by content.
    for wrong in [
        target.replace("authorization_file", "authorization_flie"),
        target.replace("url = ", "password = \"planted-typed-secret\"\nurl = "),
    ] {
        program.configure("", &wrong);
        let (_, text) = program.ask(Method::POST, "/v1/reload").await;
        told.note("a refused reload", text);
        let (_, out, errors) = program.output(&["check"]).await;
        told.note("check", out + &errors);
    }
    program.configure("", &target);
    let limits = fs::read_to_string(format!("/proc/{}/limits", program.pid())).expect("readable");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit");
    assert!(core.split_whitespace().any(|word| word == "0"), "a core would hold every secret: {core}");
    assert_eq!(program.terminate().await, Some(0));
    let log = fs::read_to_string(path("log")).expect("readable");
    assert!(log.lines().count() > 10 && log.contains("TRACE"), "the log tells all it can: {log}");
    assert!(!log.contains('\u{1b}'), "the log holds a terminal's commands");
    told.note("the log", log);
    told.note("the audit log", fs::read_to_string(program.data().join("audit.log")).unwrap_or_default());
    let text = fs::read_to_string(program.data().join("credentials.toml")).expect("made");
    let secret = text.split("secret_key = \"").nth(1).and_then(|rest| rest.split('"').next());
    told.holds_none_of(&[
        ("the secret key", secret.expect("a secret")),
        ("the right signature of a wrong request", &signature),
        ("the admin token", &token),
        ("the receiver's authorization", "planted-authorization"),
        ("the signing secret", &SIGNING[6..]),
        ("a body", BODY),
        ("a secret in the wrong place", "planted-typed-secret"),
    ]);
}

/// A16: nobody is let in by a file that names nobody, or that anybody may read.
#[tokio::test]
async fn nothing_starts_with_credentials_that_protect_nothing() {
    use std::os::unix::fs::PermissionsExt as _;
    let program = Program::new("", "");
    fs::create_dir_all(program.data()).expect("made");
    let file = program.data().join("credentials.toml");
    let good = "[[credential]]\naccess_key = \"AKIDEXAMPLE\"\nsecret_key = \"planted-secret\"\n";
    for (what, text, mode) in [
        ("nobody", String::new(), 0o600),
        ("no secret", good.replace("planted-secret", ""), 0o600),
        ("a short one", good.replace("planted-secret", "admin"), 0o600),
        ("readable by others", good.to_owned(), 0o644),
        ("writable by others", good.to_owned(), 0o602),
    ] {
        fs::write(&file, text).expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("set");
        let (code, said) = program.run(&["serve"]).await;
        assert!(code.is_some_and(|code| code != 0), "{what}: {said}");
        assert!(said.contains("credentials.toml") && !said.contains("planted"), "{what}: {said}");
    }
}
