//! HTTP as the far side: a receiver in a process of its own, which can be killed and stopped like a broker.
//!
//! Must never answer 2xx before what it got is in its file, nor for a request whose signature is wrong.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::checker::Delivery;
use crate::far::{FarSide, Fault, Raw};
use crate::turn;
use crate::volume::{killed, quiet, stopped};

/// A start may take this long.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Names the directory of a receiver: this binary is one if it is set.
const DIRECTORY: &str = "TIDINGS_LIVE_RECEIVER";
/// The address of a receiver that is started again.
const ADDRESS: &str = "TIDINGS_LIVE_RECEIVER_ADDRESS";
/// What the names of the headers begin with that are kept.
const KEPT: [&str; 3] = ["tidings-", "ce-", "content-type"];
/// The key of the signatures, as its receiver knows it.
const KEY: &[u8] = b"the receiver of the live tests";

/// A receiver and the process that may be running.
pub(crate) struct Receiver {
    dir: TempDir,
    address: SocketAddr,
    process: Arc<tokio::sync::Mutex<Child>>,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let dir = TempDir::with_prefix_in("receiver-", env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        fs::write(dir.path().join("secret"), format!("whsec_{}\n", STANDARD.encode(KEY))).expect("writable");
        let (child, address) = launch(dir.path(), None).await;
        Self { dir, address, process: Arc::new(tokio::sync::Mutex::new(child)) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    async fn signal(&self, name: &'static str) {
        signal(self.process.lock().await.id().expect("running"), name).await;
    }
}

/// This very binary, as a receiver; returns once it listens.
async fn launch(dir: &Path, address: Option<SocketAddr>) -> (Child, SocketAddr) {
    let mut command = Command::new(std::env::current_exe().expect("a path"));
    command.args(["--exact", "receiver::keeps_what_it_acknowledged", "--nocapture"]).env(DIRECTORY, dir);
    if let Some(address) = address {
        command.env(ADDRESS, address.to_string());
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("this binary starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let listening = async {
        while let Some(line) = lines.next_line().await.expect("readable output") {
            if let Some((_, address)) = line.split_once("listening ") {
                return address.trim().parse().expect("an address");
            }
        }
        panic!("the receiver ended at its start");
    };
    let address = timeout(START_TIMEOUT, listening).await.expect("the receiver starts in time");
    // Whatever else the test runner says there must be taken: without a reader it would end.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (child, address)
}

async fn signal(pid: u32, name: &str) {
    let status = Command::new("sh").arg("-c").arg(format!("kill -{name} {pid}")).status().await;
    assert!(status.expect("a shell").success(), "kill -{name} {pid}");
}

#[async_trait]
impl FarSide for Receiver {
    fn connector(&self) -> String {
        let (address, secret) = (self.address, self.dir.path().join("secret"));
        format!(
            "[target.live.connector.http]\nurl = \"http://{address}/\"\ntimeout = \"5s\"\n\
             signing_secret_file = {secret:?}\n"
        )
    }

    async fn read_raw(&self) -> Vec<Raw> {
        let file = fs::read_to_string(file(self.dir.path())).expect("the receiver's file");
        let parsed = file.lines().map(|line| {
            let (headers, payload) = line.split_once('\t').expect("headers and a payload");
            let headers = serde_json::from_str(headers).expect("JSON");
            Raw { payload: payload.into(), headers, key: None, partition: 0 }
        });
        parsed.collect()
    }

    async fn read_all(&self) -> Vec<Delivery> {
        let judged = |raw: Raw| {
            let delivery = raw.record();
            let id = raw.headers.get("tidings-event-id");
            assert_eq!(id, Some(&delivery.event_id), "header and payload name one event");
            delivery
        };
        self.read_raw().await.into_iter().map(judged).collect()
    }

    async fn kill(&self) -> Fault {
        let mut child = self.process.lock().await;
        child.start_kill().expect("a child of ours");
        child.wait().await.expect("a child of ours");
        let (dir, address, process) = (self.dir.path().to_owned(), self.address, Arc::clone(&self.process));
        let restart = async move {
            let (child, again) = launch(&dir, Some(address)).await;
            assert_eq!(again, address, "the receiver is where it was");
            *process.lock().await = child;
        };
        // The process ends with the test, in whatever state it is.
        Fault::new(move || Box::pin(restart), || ())
    }

    async fn stop(&self) -> Fault {
        self.signal("STOP").await;
        let pid = self.process.lock().await.id().expect("running");
        Fault::new(move || Box::pin(signal(pid, "CONT")), || ())
    }
}

fn file(dir: &Path) -> PathBuf {
    dir.join("arrived")
}

/// The receiver's process. Returns when the process that started it is gone.
async fn serve(dir: PathBuf) {
    let address = std::env::var(ADDRESS).unwrap_or_else(|_| "127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(&address).await.expect("the address is free");
    println!("listening {}", listener.local_addr().expect("bound"));
    let arrived = File::options().append(true).create(true).open(file(&dir)).expect("a file");
    let router = Router::new().route("/", post(take)).with_state(Arc::new(Mutex::new(arrived)));
    let alone = tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0]));
    tokio::select! {
        served = async { axum::serve(listener, router).await } => served.expect("serves until it is killed"),
        _ = alone => {}
    }
}

/// One line for each request, written whole by one call: a kill keeps what was written.
async fn take(State(arrived): State<Arc<Mutex<File>>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let signed = [header("webhook-id"), ".", header("webhook-timestamp"), "."].concat();
    let signature = header("webhook-signature").strip_prefix("v1,").unwrap_or_default();
    let mac = Hmac::<sha2::Sha256>::new_from_slice(KEY).expect("a key");
    let mac = mac.chain_update(signed.as_bytes()).chain_update(&body);
    if mac.verify_slice(&STANDARD.decode(signature).unwrap_or_default()).is_err() {
        return StatusCode::UNAUTHORIZED;
    }
    if body.contains(&b'\n') {
        return StatusCode::BAD_REQUEST;
    }
    let kept = headers.iter().filter(|(name, _)| KEPT.iter().any(|start| name.as_str().starts_with(start)));
    let kept: BTreeMap<_, _> = kept.map(|(name, _)| (name.as_str(), header(name.as_str()))).collect();
    // JSON writes no tab as it is.
    let kept = serde_json::to_string(&kept).unwrap_or_default();
    let line = [kept.as_bytes(), b"\t", &body, b"\n"].concat();
    let written = arrived.lock().expect("nobody panics here").write_all(&line);
    if written.is_ok() { StatusCode::NO_CONTENT } else { StatusCode::INSUFFICIENT_STORAGE }
}

/// Also the receiver's process, when it is started as one.
#[tokio::test(flavor = "multi_thread")]
async fn keeps_what_it_acknowledged() {
    if let Some(dir) = std::env::var_os(DIRECTORY) {
        return serve(dir.into()).await;
    }
    let receiver = Receiver::start().await;
    let post = |id: u32, signed: u32| {
        let body = format!(
            r#"{{"Records":[{{"eventName":"ObjectRemoved:Delete","s3":{{"bucket":{{"name":"b"}},
            "object":{{"key":"k","sequencer":"{id}"}}}},"tidings":{{"eventId":"{id}"}}}}]}}"#
        );
        let body = body.replace('\n', "");
        let mac = Hmac::<sha2::Sha256>::new_from_slice(KEY).expect("a key");
        let mac = mac.chain_update(format!("{signed}.1.{body}")).finalize().into_bytes();
        let request = reqwest::Client::new().post(format!("http://{}/", receiver.address)).body(body);
        let request = request.header("tidings-event-id", id.to_string()).header("webhook-id", id.to_string());
        let signature = format!("v1,{}", STANDARD.encode(mac));
        request.header("webhook-timestamp", "1").header("webhook-signature", signature).send()
    };
    for id in [1, 2, 1] {
        assert_eq!(post(id, id).await.expect("an answer").status(), 204);
    }
    assert_eq!(post(3, 4).await.expect("an answer").status(), 401, "another request's signature");
    let fault = receiver.kill().await;
    post(3, 3).await.expect_err("nobody listens");
    fault.mend().await;
    assert_eq!(post(4, 4).await.expect("an answer").status(), 204);
    let ids: Vec<_> = receiver.read_all().await.into_iter().map(|delivery| delivery.event_id).collect();
    assert_eq!(ids, ["1", "2", "1", "4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_100k_changes_reach_a_receiver_once_and_in_order() {
    let _turn = turn().await;
    quiet("http-volume", Box::new(Receiver::start().await), 100_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_killed_in_the_middle_loses_nothing() {
    let _turn = turn().await;
    killed("http-killed", Box::new(Receiver::start().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_stands_still_for_half_a_minute_loses_nothing() {
    let _turn = turn().await;
    stopped("http-stopped", Box::new(Receiver::start().await)).await;
}
