//! How a connection begins: as whom, and over which certificates, against a server that only says hello.
//!
//! Must never pass a proof on trust: signatures are verified, and certificates are real ones.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::{KeyPair, KeyPairType};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use tidings_connector::{ConnectorConfig as _, ErrorClass, Fault, Outcome, Severity, Span};
use tidings_nats::NatsOptions;

const NONCE: &str = "the nonce of this server";

/// A server that says hello, tells what CONNECT it got, and answers PING, or says `refusal` instead.
struct Hello {
    address: String,
    connects: Receiver<serde_json::Value>,
}

fn hello(tls: Option<Arc<ServerConfig>>, refusal: Option<&'static str>) -> Hello {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (tell, connects) = sync_channel(16);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (tls, tell) = (tls.clone(), tell.clone());
            // A client that breaks off is what some of these tests want.
            std::thread::spawn(move || greet(stream, tls, refusal, &tell));
        }
    });
    Hello { address, connects }
}

fn greet(
    mut stream: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    refusal: Option<&str>,
    tell: &SyncSender<serde_json::Value>,
) -> std::io::Result<()> {
    let info = serde_json::json!({
        "server_id": "S", "server_name": "s", "version": "2.15.2", "go": "go", "host": "127.0.0.1", "port": 1,
        "headers": true, "max_payload": 1_048_576, "proto": 1, "nonce": NONCE, "tls_required": tls.is_some(),
    });
    write!(stream, "INFO {info}\r\n")?;
    match tls {
        Some(config) => talk(StreamOwned::new(ServerConnection::new(config).unwrap(), stream), refusal, tell),
        None => talk(stream, refusal, tell),
    }
}

fn talk(
    stream: impl Read + Write,
    refusal: Option<&str>,
    tell: &SyncSender<serde_json::Value>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line)? > 0 {
        if let Some(connect) = line.strip_prefix("CONNECT ") {
            // Nobody may be asking.
            let _ = tell.send(serde_json::from_str(connect)?);
        } else if line.starts_with("PING") {
            match refusal {
                Some(refusal) => return write!(stream.get_mut(), "-ERR '{refusal}'\r\n"),
                None => write!(stream.get_mut(), "PONG\r\n")?,
            }
        }
        line.clear();
    }
    Ok(())
}

impl Hello {
    /// Core NATS, since this server has no streams.
    fn options(&self) -> NatsOptions {
        NatsOptions {
            servers: vec![self.address.clone()],
            subject: "s".to_owned(),
            allow_at_most_once: true,
            connect_timeout: Span(Duration::from_secs(5)),
            ..NatsOptions::default()
        }
    }

    /// What the connection said about itself.
    async fn connect(&self, options: NatsOptions) -> serde_json::Value {
        let config = options.checked("t").unwrap();
        let connector = config.connect().await.unwrap_or_else(|fault| panic!("{fault}"));
        connector.close().await;
        self.connects.try_recv().unwrap()
    }
}

async fn refused(options: NatsOptions) -> Fault {
    let config = options.checked("t").unwrap();
    assert!(config.check().await.iter().any(|finding| finding.severity == Severity::Error));
    match config.connect().await {
        Ok(_) => panic!("connected"),
        Err(fault) => fault,
    }
}

fn assert_faulted(fault: &Fault, class: ErrorClass) {
    let Outcome::Faulted { why, .. } = &fault.outcome else { panic!("{fault}: {:?}", fault.outcome) };
    assert_eq!(why.class, class, "{fault}");
}

/// A file with a secret, by name within this test run.
fn secret(name: &str, text: &str) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}", std::process::id()));
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_token_is_shown_as_it_is_now() {
    let server = hello(None, None);
    let token_file = secret("token", "first\n");
    let options = || NatsOptions { token_file: token_file.clone(), ..server.options() };
    assert_eq!(server.connect(options()).await["auth_token"], "first");
    let config = options().checked("t").unwrap();
    std::fs::write(&token_file, "second").unwrap();
    config.connect().await.unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!(server.connects.try_recv().unwrap()["auth_token"], "second");
    let nobody = server.connect(server.options()).await;
    assert!(["auth_token", "user", "jwt", "nkey"].iter().all(|field| nobody[*field].is_null()), "{nobody}");
}

#[tokio::test]
async fn credentials_show_their_jwt_and_sign_the_nonce() {
    let server = hello(None, None);
    let user = KeyPair::new_from_raw(KeyPairType::User, [9; 32]).unwrap();
    let seed = user.seed().unwrap();
    let text = format!(
        "-----BEGIN NATS USER JWT-----\nthe.users.jwt\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    );
    let credentials_file = secret("creds", &text);
    let said = server.connect(NatsOptions { credentials_file, ..server.options() }).await;
    assert_eq!(said["jwt"], "the.users.jwt");
    let signature = URL_SAFE_NO_PAD.decode(said["sig"].as_str().unwrap()).unwrap();
    user.verify(NONCE.as_bytes(), &signature).unwrap();

    let credentials_file = secret("no-creds", "planted secret, but no credentials");
    let fault = refused(NatsOptions { credentials_file, ..server.options() }).await;
    assert_faulted(&fault, ErrorClass::Auth);
    assert!(!format!("{fault} {fault:?}").contains("planted"), "{fault:?}");
}

#[tokio::test]
async fn a_server_that_refuses_is_a_fault_and_one_that_is_full_is_retried() {
    let unwanted = hello(None, Some("Authorization Violation"));
    assert_faulted(&refused(unwanted.options()).await, ErrorClass::Auth);
    let full = hello(None, Some("maximum connections exceeded"));
    let fault = refused(full.options()).await;
    assert!(matches!(fault.outcome, Outcome::Retry { .. }), "{fault}");
    // Of several servers, the one that waiting may mend decides.
    let servers = vec![full.address.clone(), unwanted.address.clone()];
    let fault = refused(NatsOptions { servers, ..full.options() }).await;
    assert!(matches!(fault.outcome, Outcome::Retry { .. }), "{fault}");
}

/// Certificates for 127.0.0.1, made for tests; shared with the HTTP connector's.
fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../http/tests/tls").join(name)
}

fn path(name: &str) -> String {
    file(name).to_str().unwrap().to_owned()
}

/// With the certificate of this name; `strict`: only for clients that have one too.
fn tls(certificate: &str, strict: bool) -> Option<Arc<ServerConfig>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = if strict {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(file("ca.pem")).unwrap()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        builder.with_client_cert_verifier(verifier.build().unwrap())
    } else {
        builder.with_no_client_auth()
    };
    let chain = vec![CertificateDer::from_pem_file(file(&format!("{certificate}.pem"))).unwrap()];
    let key = PrivateKeyDer::from_pem_file(file(&format!("{certificate}.key"))).unwrap();
    Some(Arc::new(builder.with_single_cert(chain, key).unwrap()))
}

#[tokio::test]
async fn only_a_certificate_of_the_named_authority_for_this_name_is_trusted() {
    let server = hello(tls("server", false), None);
    let with = |ca: &str, server: &Hello| NatsOptions { ca_file: path(ca), ..server.options() };
    assert_eq!(server.connect(with("ca.pem", &server)).await["tls_required"], true);
    for (certificate, ca) in [("server", "other-ca.pem"), ("wrong-name", "ca.pem"), ("expired", "ca.pem")] {
        let server = hello(tls(certificate, false), None);
        assert_faulted(&refused(with(ca, &server)).await, ErrorClass::Tls);
        assert!(server.connects.try_recv().is_err(), "{certificate}: it was told who we are");
    }
    // The system's authorities do not know it.
    assert_faulted(&refused(server.options()).await, ErrorClass::Tls);
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_gets_ours() {
    let server = hello(tls("server", true), None);
    let without = NatsOptions { ca_file: path("ca.pem"), ..server.options() };
    let with = NatsOptions { cert_file: path("client.pem"), key_file: path("client.key"), ..without.clone() };
    server.connect(with).await;
    assert_faulted(&refused(without).await, ErrorClass::Tls);
}

#[tokio::test]
async fn nothing_is_said_in_clear_where_tls_is_configured() {
    // It neither asks for TLS nor speaks it.
    let server = hello(None, None);
    let token_file = secret("clear", "planted");
    let options = NatsOptions { token_file, ca_file: path("ca.pem"), ..server.options() };
    refused(options).await;
    assert!(server.connects.try_recv().is_err(), "the token went over the wire in clear");
}
