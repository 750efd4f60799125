//! Receivers with certificates: which are called, and that files repaired are files read again.
//!
//! Must never use a certificate outside `tests/tls`: they are for 127.0.0.1, made for these tests, and end in
//! 2120, except the one that ended in 2021.

#![allow(clippy::unwrap_used)]

mod receiver;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use receiver::attempt;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use tidings_connector::contract::{Driver, Target, messages};
use tidings_connector::{ConnectorConfig as _, ErrorClass, Outcome, Scope, Severity};
use tidings_http::HttpOptions;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls").join(name)
}

fn path(name: &str) -> String {
    file(name).to_str().unwrap().to_owned()
}

/// A receiver that answers 200 to everything, with the certificate of this name; `strict`: only to clients
/// that have one too.
fn receiver_with(certificate: &str, strict: bool) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let chain = vec![CertificateDer::from_pem_file(file(&format!("{certificate}.pem"))).unwrap()];
    let key = PrivateKeyDer::from_pem_file(file(&format!("{certificate}.key"))).unwrap();
    let config = match strict {
        false => config.unwrap().with_no_client_auth(),
        true => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(file("ca.pem")).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            config.unwrap().with_client_cert_verifier(verifier.unwrap())
        }
    };
    let config = Arc::new(config.with_single_cert(chain, key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Ends with the process: nobody waits for it.
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let config = Arc::clone(&config);
            std::thread::spawn(move || answer(config, socket.unwrap()));
        }
    });
    address
}

fn answer(config: Arc<ServerConfig>, socket: std::net::TcpStream) -> std::io::Result<()> {
    let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), socket);
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut part = [0; 4_096];
        let read = stream.read(&mut part)?;
        if read == 0 {
            return Ok(());
        }
        request.extend_from_slice(&part[..read]);
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")?;
    stream.conn.send_close_notify();
    stream.flush()
}

fn options(address: SocketAddr, ca: &str) -> HttpOptions {
    HttpOptions { url: format!("https://{address}/"), ca_file: ca.to_owned(), ..HttpOptions::default() }
}

fn target(options: HttpOptions) -> Target {
    Target { config: Arc::new(options.checked("t").unwrap()), destination: "".into() }
}

fn refused(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Faulted { scope: Scope::Target, why } if why.class == ErrorClass::Tls)
}

#[tokio::test]
async fn only_a_receiver_that_proves_its_name_is_called() {
    let good = receiver_with("server", false);
    assert_eq!(attempt(&target(options(good, &path("ca.pem"))), 1).await, [Outcome::Delivered]);
    for (certificate, ca) in [
        ("server", path("other-ca.pem")),
        ("server", String::new()),
        ("expired", path("ca.pem")),
        ("wrong-name", path("ca.pem")),
    ] {
        let options = options(receiver_with(certificate, false), &ca);
        let findings = options.clone().checked("t").unwrap().check().await;
        assert_eq!(findings[0].severity, Severity::Error, "{certificate} {ca}");
        // A machine without any certificates of its own does not even get so far.
        if !ca.is_empty() {
            let outcomes = attempt(&target(options), 1).await;
            assert!(refused(&outcomes[0]), "{certificate} {ca}: {outcomes:?}");
        }
    }
}

#[tokio::test]
async fn a_receiver_may_ask_for_our_certificate() {
    let strict = receiver_with("server", true);
    let without = options(strict, &path("ca.pem"));
    let outcomes = attempt(&target(without.clone()), 1).await;
    assert!(refused(&outcomes[0]), "{outcomes:?}");
    let with = HttpOptions { cert_file: path("client.pem"), key_file: path("client.key"), ..without };
    assert_eq!(attempt(&target(with.clone()), 1).await, [Outcome::Delivered]);
    for (begins, cert, key) in
        [("`key_file`: ", "client.pem", "ca.pem"), ("`cert_file`: ", "client.key", "client.key")]
    {
        let bad = HttpOptions { cert_file: path(cert), key_file: path(key), ..with.clone() };
        let told = bad.checked("t").expect_err("no pair");
        assert!(told.starts_with(begins) && !told.contains("BEGIN"), "{told}");
    }
}

#[tokio::test]
async fn repaired_certificates_need_no_restart() {
    let ca = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("ca-{}.pem", std::process::id()));
    std::fs::copy(file("other-ca.pem"), &ca).unwrap();
    let target = target(options(receiver_with("server", false), ca.to_str().unwrap()));
    let connector = target.config.connect().await.unwrap();
    let mut driver = Driver::new();
    let outcomes = driver.attempt(&*connector, &messages(&target, 1)).await;
    assert!(refused(&outcomes[0]), "{outcomes:?}");
    std::fs::copy(file("ca.pem"), &ca).unwrap();
    assert_eq!(driver.attempt(&*connector, &messages(&target, 1)).await, [Outcome::Delivered]);
    connector.close().await;
    std::fs::remove_file(&ca).unwrap();
}

#[tokio::test]
async fn a_receiver_without_tls_is_no_fault_of_a_certificate() {
    let plain = receiver::Receiver::new();
    let outcomes = attempt(&target(options(plain.address(), &path("ca.pem"))), 1).await;
    assert!(
        matches!(&outcomes[0], Outcome::Retry { why, .. } if why.class == ErrorClass::Tls),
        "{outcomes:?}"
    );
}
