//! Brokers behind TLS: which are trusted, and that files repaired are files read again.
//!
//! Must never use a certificate outside `connectors/http/tests/tls`: they are for 127.0.0.1, made for tests,
//! and end in 2120.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tidings_amqp::AmqpOptions;
use tidings_connector::contract::{Driver, Target, messages};
use tidings_connector::{ErrorClass, Outcome, Scope};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::broker::{Broker, Manner, ack};
use crate::{class, connect, options, target};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../http/tests/tls").join(name)
}

fn path(name: &str) -> String {
    file(name).to_str().unwrap().to_owned()
}

/// A TLS listener in front of a broker, with the certificate of this name; `strict`: only for clients that
/// have one too.
async fn front(broker: &Broker, certificate: &str, strict: bool) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let chain = vec![CertificateDer::from_pem_file(file(&format!("{certificate}.pem"))).unwrap()];
    let key = PrivateKeyDer::from_pem_file(file(&format!("{certificate}.key"))).unwrap();
    let config = if strict {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(file("ca.pem")).unwrap()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        config.unwrap().with_client_cert_verifier(verifier.unwrap())
    } else {
        config.unwrap().with_no_client_auth()
    };
    let acceptor = TlsAcceptor::from(Arc::new(config.with_single_cert(chain, key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, broker) = (listener.local_addr().unwrap(), broker.address());
    // Ends with the test's runtime.
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            if let Ok(mut client) = acceptor.accept(client).await {
                let mut far = TcpStream::connect(broker).await.unwrap();
                let _ = copy_bidirectional(&mut client, &mut far).await;
            }
        }
    });
    address
}

fn secured(broker: &Broker, address: SocketAddr, ca: &str) -> AmqpOptions {
    AmqpOptions { url: format!("amqps://{address}/%2f"), ca_file: ca.to_owned(), ..options(broker) }
}

async fn delivers(options: AmqpOptions) {
    let target = target(options);
    let connector = connect(&target).await;
    let outcomes = Driver::new().attempt(&*connector, &messages(&target, 3)).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Delivered), "{outcomes:?}");
    connector.close().await;
}

async fn faults(options: AmqpOptions) -> String {
    faults_at(&target(options)).await
}

async fn faults_at(target: &Target) -> String {
    let fault = target.config.connect().await.err().expect("refused");
    assert!(matches!(fault.outcome, Outcome::Faulted { scope: Scope::Target, .. }), "{fault:?}");
    assert_eq!(class(&fault.outcome), ErrorClass::Tls, "{fault:?}");
    fault.message
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_is_trusted_by_its_certificate_alone() {
    let broker = Broker::start(Manner::default(), |publish| ack(publish.tag, false)).await;
    let good = front(&broker, "server", false).await;
    delivers(secured(&broker, good, &path("ca.pem"))).await;
    faults(secured(&broker, good, &path("other-ca.pem"))).await;
    // Without `ca_file` the system's certificates count, which know nothing of this one.
    faults(secured(&broker, good, "")).await;
    let elsewhere = front(&broker, "wrong-name", false).await;
    faults(secured(&broker, elsewhere, &path("ca.pem"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_wants_a_certificate_gets_ours() {
    let broker = Broker::start(Manner::default(), |publish| ack(publish.tag, false)).await;
    let strict = front(&broker, "server", true).await;
    let without = secured(&broker, strict, &path("ca.pem"));
    faults(without.clone()).await;
    let (cert_file, key_file) = (path("client.pem"), path("client.key"));
    delivers(AmqpOptions { cert_file, key_file, ..without }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_read_for_each_connection() {
    let broker = Broker::start(Manner::default(), |publish| ack(publish.tag, false)).await;
    let good = front(&broker, "server", false).await;
    let ca = broker.file("ca.pem", "no certificate");
    let checked = target(secured(&broker, good, &ca));
    assert!(faults_at(&checked).await.contains(&ca));
    std::fs::remove_file(&ca).unwrap();
    assert!(faults_at(&checked).await.contains(&ca));
    std::fs::copy(file("ca.pem"), &ca).unwrap();
    delivers(secured(&broker, good, &ca)).await;
}
