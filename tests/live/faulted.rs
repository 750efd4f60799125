//! Targets that are configured wrongly, or whose far side is: faulted, everything kept, alarmed; and once
//! somebody repairs the far side or a file, they go on by themselves.
//!
//! Must never restart the server, reload its configuration or resume a target: nobody tells it of the repair.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use http::Method;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::checker::Delivery;
use crate::consumer::Topic;
use crate::far::{FarSide, Fault};
use crate::finish::conclude;
use crate::load::{Load, Plan};
use crate::nats::{self, Stream};
use crate::server::{Ready, Server};
use crate::{seed, turn};

/// Changes while the target is faulted, and after that.
const CHANGES: u64 = 2_000;
/// What is wrong is shown within this time.
const SHOWN_WITHIN: std::time::Duration = std::time::Duration::from_secs(60);
/// How often the foreign process is asked.
const ASK_EVERY: std::time::Duration = std::time::Duration::from_millis(50);
/// The password of the user `tidings` of the test broker, and one that is not.
const PASSWORD: &str = "correct-horse";
const WRONG: &str = "planted-wrong-one";

/// Certificates for 127.0.0.1, made for tests.
fn pem(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("connectors/http/tests/tls").join(name)
}

/// A far side reached by another connector than its own: with what is wrong in it.
struct Misconfigured<'a> {
    far: &'a dyn FarSide,
    connector: String,
}

#[async_trait]
impl FarSide for Misconfigured<'_> {
    fn connector(&self) -> String {
        self.connector.clone()
    }
    async fn read_all(&self) -> Vec<Delivery> {
        self.far.read_all().await
    }
    async fn kill(&self) -> Fault {
        unreachable!("nobody dies here")
    }
    async fn stop(&self) -> Fault {
        unreachable!("nobody stands still here")
    }
}

/// The target is faulted with this class, and people and machines are told; nothing of what it shall get is
/// given up.
async fn faulted(server: &Server, ready: &Ready, class: &str) -> Value {
    let bearer = format!("Bearer {}", server.token());
    let headers = [("authorization", bearer.as_str())];
    let (mut view, mut metrics) = (Value::Null, String::new());
    let alarm = "tidings_circuit_state{target=\"live\",state=\"faulted\"} 1";
    let shown = async {
        loop {
            let answer = ready.admin.send(Method::GET, "/v1/targets/live", &headers, "").await;
            view = serde_json::from_slice(&answer.expect("an answer").body).expect("JSON");
            let answer = ready.admin.send(Method::GET, "/metrics", &[], "").await.expect("an answer");
            metrics = String::from_utf8_lossy(&answer.body).into_owned();
            if view["state"] == "faulted" && metrics.lines().any(|line| line == alarm) {
                return;
            }
            sleep(ASK_EVERY).await;
        }
    };
    let shown = timeout(SHOWN_WITHIN, shown).await.is_ok();
    let circuit: Vec<_> = metrics.lines().filter(|line| line.starts_with("tidings_circuit_state{")).collect();
    assert!(shown, "not faulted: {view} {circuit:?}");
    assert_eq!(view["last_failure"]["class"], class, "{view}");
    assert!(!view.to_string().contains(WRONG), "it tells the secret: {view}");
    let (books, waits) = (&view["books"], view["books"]["backlog"].as_u64().expect("a number"));
    assert_eq!(waits + books["held"].as_u64().expect("a number"), books["matched"], "{view}");
    assert_eq!((&books["delivered"], &view["dead_letters"]), (&0.into(), &0.into()), "{view}");
    let answer = ready.admin.send(Method::GET, "/readyz", &[], "").await.expect("an answer");
    assert_eq!(answer.status, 200, "a broken target keeps nobody from making changes");
    view
}

/// Changes while the target is faulted, then the repair, then changes again: all arrive, in order.
async fn repaired(test: &str, far: &dyn FarSide, class: &str, repair: impl Future<Output = ()>) {
    // Asked again every second or so, instead of minutes later.
    let mut server = Server::new(far, "[target.live]\nbackoff_max = \"1s\"\n");
    let ready = server.start().await;
    let bucket = format!("live-{test}");
    let made = ready.s3.create_bucket(&bucket).await.expect("an answer");
    assert_eq!(made.status, 200, "{made:?}");
    let plan = Plan { seed: seed(test), keys: 200, ..crate::stuck::PLAN };
    let load = Load::start(&bucket, plan);
    load.serve(Some(ready.s3.clone()));
    load.acknowledged(CHANGES).await;
    load.serve(None);
    let view = faulted(&server, &ready, class).await;
    println!("{test}: {} {}", view["state"], view["last_failure"]);
    repair.await;
    load.serve(Some(ready.s3.clone()));
    load.acknowledged(load.acknowledged_now() + CHANGES).await;
    load.stop();
    let shared = load.finished().await;
    assert_eq!(shared.refused(), 0, "a broken target refuses nothing");
    conclude(test, &mut server, &ready, &shared, far, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_not_there_keeps_everything_until_somebody_makes_it() {
    let _turn = turn().await;
    let stream = Stream::named("faulted-missing");
    repaired("nats-missing", &stream, "unroutable", stream.make()).await;
}

/// A server that speaks TLS and is the test server behind it.
async fn behind_tls() -> String {
    let chain = CertificateDer::from_pem_file(pem("server.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(pem("server.key")).expect("its key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("versions").with_no_client_auth().with_single_cert(vec![chain], key);
    let acceptor = TlsAcceptor::from(Arc::new(config.expect("a pair")));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    // Ends with the test's runtime.
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            tokio::spawn(encrypted(near, acceptor.clone()));
        }
    });
    address
}

/// One connection: the server's first line goes in clear, and says that everything else does not.
async fn encrypted(mut near: TcpStream, acceptor: TlsAcceptor) -> std::io::Result<()> {
    let mut far = BufReader::new(TcpStream::connect(nats::address()).await?);
    let mut info = String::new();
    far.read_line(&mut info).await?;
    near.write_all(info.replacen('{', "{\"tls_required\":true,", 1).as_bytes()).await?;
    let mut near = acceptor.accept(near).await?;
    copy_bidirectional(&mut near, &mut far).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_trusted_gets_nothing_until_its_authority_is() {
    let _turn = turn().await;
    let stream = Stream::create("faulted-tls").await;
    let dir = TempDir::new().expect("a directory");
    let ca = dir.path().join("ca.pem");
    fs::copy(pem("other-ca.pem"), &ca).expect("copied");
    let (clear, encrypted) = (format!("{:?}", nats::address()), format!("\"tls://{}\"", behind_tls().await));
    let connector = stream.connector().replace(&clear, &encrypted) + &format!("ca_file = {ca:?}\n");
    assert!(connector.contains(&encrypted), "{connector}");
    let far = Misconfigured { far: &stream, connector };
    let repair = async {
        fs::copy(pem("ca.pem"), &ca).expect("copied");
    };
    repaired("nats-untrusted", &far, "tls", repair).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_of_a_kafka_target_keep_everything_until_the_file_is_right() {
    let _turn = turn().await;
    let topic = Topic::create("faulted-auth").await;
    let broker = std::env::var("TIDINGS_TEST_KAFKA_SASL")
        .expect("live tests need a broker that asks who one is: run `cargo xtask test`");
    let dir = TempDir::new().expect("a directory");
    let password = dir.path().join("password");
    fs::write(&password, WRONG).expect("written");
    let (clear, asks) = (format!("{:?}", crate::broker::address()), format!("{broker:?}"));
    let connector = topic.connector().replace(&clear, &asks)
        + &format!(
            "tls = true\nca_file = {:?}\nsasl = \"scram-sha-512\"\nusername = \"tidings\"\n\
             password_file = {password:?}\n",
            pem("ca.pem")
        );
    assert!(connector.contains(&asks), "{connector}");
    let far = Misconfigured { far: &topic, connector };
    let repair = async {
        fs::write(&password, PASSWORD).expect("written");
    };
    repaired("kafka-wrong", &far, "auth", repair).await;
}
