//! Every way to prove who one is, and what happens when the proof is wrong, against a running Kafka whose
//! listeners ask for it: `TIDINGS_TEST_KAFKA_SASL` and `TIDINGS_TEST_KAFKA_MUTUAL`.
//!
//! Must never use a certificate outside `connectors/http/tests/tls`: they are for 127.0.0.1 and made for
//! tests.

#![allow(clippy::unwrap_used)]

mod live;
mod support;

use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use live::{Live, address};
use tidings_connector::contract::{Driver, Harness as _, messages, run_all};
use tidings_connector::{ConnectorConfig as _, ErrorClass, Fault, Outcome, Severity};
use tidings_kafka::{KafkaConfig, KafkaOptions, Sasl};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

/// The password of the user `tidings`.
const PASSWORD: &str = "correct-horse";
const WRONG: &str = "planted-wrong-one";

fn pem(name: &str) -> String {
    format!("{}/../http/tests/tls/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A new file with this content.
fn file(text: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(support::fresh("secret"));
    std::fs::write(&path, text).unwrap();
    path
}

fn text(path: &std::path::Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// An unsigned token for the user `tidings`, which the test broker takes until the year 2100.
fn token() -> String {
    let part = |json: &str| URL_SAFE_NO_PAD.encode(json);
    let claims = part(r#"{"sub":"tidings","iat":1600000000,"exp":4102444800}"#);
    format!("{}.{claims}.", part(r#"{"alg":"none"}"#))
}

fn tls(variable: &str, topic: &str) -> KafkaOptions {
    KafkaOptions { tls: true, ca_file: pem("ca.pem"), ..support::options(&address(variable), topic) }
}

/// Options for the user `tidings` whose password or token is in this file.
fn sasl(sasl: Sasl, secret: &std::path::Path, topic: &str) -> KafkaOptions {
    let options = KafkaOptions { sasl, ..tls("TIDINGS_TEST_KAFKA_SASL", topic) };
    match sasl {
        Sasl::OauthBearer => KafkaOptions { token_file: text(secret), ..options },
        _ => KafkaOptions { username: "tidings".into(), password_file: text(secret), ..options },
    }
}

fn mutual(topic: &str) -> KafkaOptions {
    let (cert_file, key_file) = (pem("client.pem"), pem("client.key"));
    KafkaOptions { cert_file, key_file, ..tls("TIDINGS_TEST_KAFKA_MUTUAL", topic) }
}

/// Delivers through `live`, and reads it back.
async fn delivers(live: &Live) {
    let target = live.target(false).await;
    let connector = target.config.connect().await.unwrap();
    Driver::new().deliver(&*connector, &messages(&target, 20), 1).await;
    connector.close().await;
    assert_eq!(live.arrived(&target, 20).await.len(), 20);
}

async fn fault(config: &KafkaConfig) -> Fault {
    let fault = config.connect().await.err().expect("a fault");
    assert!(!format!("{fault} {fault:?}").contains(WRONG), "{fault:?}");
    let found = config.check().await;
    assert_eq!((found.len(), found[0].severity), (1, Severity::Error), "{found:?}");
    fault
}

#[track_caller]
fn assert_faulted(fault: &Fault, class: ErrorClass) {
    let faulted = matches!(&fault.outcome, Outcome::Faulted { why, .. } if why.class == class);
    assert!(faulted, "{class:?} expected: {fault:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract_with_a_password_and_tls() {
    let password = file(PASSWORD);
    let options = move |topic: &str| sasl(Sasl::ScramSha512, &password, topic);
    run_all(Live::new(Box::new(options), &[PASSWORD])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_other_way_in_delivers() {
    for (mechanism, secret) in
        [(Sasl::Plain, PASSWORD), (Sasl::ScramSha256, PASSWORD), (Sasl::OauthBearer, &token())]
    {
        let secret = file(secret);
        delivers(&Live::new(Box::new(move |topic| sasl(mechanism, &secret, topic)), &[])).await;
    }
    delivers(&Live::new(Box::new(mutual), &[])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_secret_faults_the_target_until_its_file_is_repaired() {
    for (mechanism, good) in
        [(Sasl::Plain, PASSWORD), (Sasl::ScramSha512, PASSWORD), (Sasl::OauthBearer, &token())]
    {
        let secret = file(WRONG);
        let path = secret.clone();
        let live = Live::new(Box::new(move |topic| sasl(mechanism, &path, topic)), &[]);
        let topic = support::fresh("tidings-contract");
        live.make(&topic, &[]).await;
        let config = Arc::new(sasl(mechanism, &secret, &topic).checked("t").unwrap());
        assert_faulted(&fault(&config).await, ErrorClass::Auth);
        std::fs::remove_file(&secret).unwrap();
        assert_faulted(&fault(&config).await, ErrorClass::Auth);
        std::fs::write(&secret, good).unwrap();
        config.connect().await.unwrap().close().await;
        delivers(&live).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_not_trusted_faults_the_target() {
    let live = Live::new(Box::new(mutual), &[]);
    let topic = support::fresh("tidings-contract");
    live.make(&topic, &[]).await;
    let of = |options: KafkaOptions| options.checked("t").unwrap();

    // Somebody else's certificates.
    let stranger = of(KafkaOptions { ca_file: pem("other-ca.pem"), ..mutual(&topic) });
    assert_faulted(&fault(&stranger).await, ErrorClass::Tls);
    // A trusted certificate for another address.
    let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let elsewhere = listener.local_addr().unwrap().to_string();
    // Ends with the test's runtime.
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut far = TcpStream::connect(address("TIDINGS_TEST_KAFKA_MUTUAL")).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut near, &mut far).await });
        }
    });
    let renamed = of(KafkaOptions { brokers: vec![elsewhere], ..mutual(&topic) });
    assert_faulted(&fault(&renamed).await, ErrorClass::Tls);
    // A broker that wants a certificate, and gets none.
    let nobody = of(tls("TIDINGS_TEST_KAFKA_MUTUAL", &topic));
    assert_faulted(&fault(&nobody).await, ErrorClass::Tls);
    // A certificate that is gone when the connection is made, and comes back.
    let (ca, pem) = (file(""), std::fs::read_to_string(pem("ca.pem")).unwrap());
    let config = of(KafkaOptions { ca_file: text(&ca), ..mutual(&topic) });
    std::fs::remove_file(&ca).unwrap();
    assert_faulted(&fault(&config).await, ErrorClass::Tls);
    std::fs::write(&ca, pem).unwrap();
    config.connect().await.unwrap().close().await;
}
