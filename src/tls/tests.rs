//! Certificates that are renewed, broken, ended; handshakes that hang.
//!
//! Must never use a certificate outside `connectors/http/tests/tls`: they are for 127.0.0.1, made for tests,
//! and end in 2120.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tidings_connector::Severity;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsConnector;

use super::*;

/// 2026-01-01T00:00:00Z
const NOW: i64 = 1_767_225_600;
static CLOCK: AtomicI64 = AtomicI64::new(NOW);

fn clock() -> i64 {
    CLOCK.load(Ordering::Relaxed)
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("connectors/http/tests/tls").join(name)
}

struct World {
    dir: tempfile::TempDir,
    files: TlsFiles,
}

impl World {
    fn with(name: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let files = TlsFiles { cert: dir.path().join("cert.pem"), key: dir.path().join("key.pem") };
        let world = Self { dir, files };
        world.put(name, name);
        world
    }

    /// Puts these files in place, each as a whole, as renewing programs do.
    fn put(&self, cert: &str, key: &str) {
        let place = |from: PathBuf, to: &Path| {
            let new = self.dir.path().join("new");
            fs::copy(from, &new).expect("copied");
            fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).expect("mode set");
            fs::rename(new, to).expect("renamed");
        };
        place(file(&format!("{cert}.pem")), &self.files.cert);
        place(file(&format!("{key}.key")), &self.files.key);
    }

    fn open(&self, timeout: Duration, at_once: usize) -> Result<Arc<Tls>, TlsError> {
        Tls::open(&self.files, Handshakes { timeout, at_once }, clock).map(Arc::new)
    }
}

/// An echo behind `tls`.
async fn echo(tls: Arc<Tls>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tls = Arc::clone(&tls);
            tokio::spawn(async move {
                let Ok(stream) = tls.accept(stream).await else { return };
                let (mut from, mut to) = tokio::io::split(stream);
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    address
}

type Connected = tokio_rustls::client::TlsStream<TcpStream>;

/// Connects as a client that trusts our authority and calls the server `name`.
async fn connect(address: SocketAddr, name: &str, alpn: &[&[u8]]) -> io::Result<Connected> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file("ca.pem")).expect("PEM")).expect("an authority");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = config.expect("versions").with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

async fn says(stream: &mut Connected, what: &str) {
    stream.write_all(what.as_bytes()).await.expect("open");
    let mut back = vec![0; what.len()];
    stream.read_exact(&mut back).await.expect("answered");
    assert_eq!(back, what.as_bytes());
}

#[tokio::test]
async fn a_renewed_pair_is_taken_and_open_connections_stay() {
    let world = World::with("server");
    let tls = world.open(Duration::from_secs(20), 8).expect("a pair");
    let address = echo(Arc::clone(&tls)).await;
    let mut old = connect(address, "localhost", &[]).await.expect("trusted");
    assert!(connect(address, "elsewhere.invalid", &[]).await.is_err());
    world.put("wrong-name", "wrong-name");
    assert!(tls.reload().await.expect("works"));
    assert!(!tls.reload().await.expect("works"), "the same again");
    says(&mut old, "still here").await;
    connect(address, "elsewhere.invalid", &[]).await.expect("the new name");
    assert!(connect(address, "localhost", &[]).await.is_err());

    // Without a reload: the files are looked at when somebody connects, now and then.
    world.put("server", "server");
    CLOCK.fetch_add(LOOK_EVERY, Ordering::Relaxed);
    connect(address, "localhost", &[]).await.expect("the first one renewed");
    says(&mut old, "still here").await;
}

#[tokio::test]
async fn a_broken_pair_leaves_the_old_one_in_force() {
    let world = World::with("server");
    let tls = world.open(Duration::from_secs(20), 8).expect("a pair");
    let address = echo(Arc::clone(&tls)).await;
    let breaks: [(&str, &dyn Fn()); 6] = [
        ("does not fit the certificate", &|| world.put("server", "wrong-name")),
        ("holds no certificate", &|| fs::write(&world.files.cert, "nothing").expect("written")),
        ("No such file", &|| fs::remove_file(&world.files.cert).expect("removed")),
        ("holds no private key", &|| {
            world.put("server", "server");
            fs::write(&world.files.key, "-----BEGIN PRIVATE KEY-----").expect("written");
        }),
        ("malformed", &|| {
            world.put("server", "server");
            let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
            fs::write(&world.files.cert, pem).expect("written");
        }),
        ("chmod 600", &|| {
            world.put("server", "server");
            fs::set_permissions(&world.files.key, fs::Permissions::from_mode(0o604)).expect("mode set");
        }),
    ];
    for (says, break_it) in breaks {
        world.put("server", "server");
        break_it();
        let error = tls.reload().await.expect_err(says).to_string();
        assert!(error.contains(says) && error.contains(".pem: "), "{error}");
        assert!(world.open(Duration::ZERO, 1).is_err(), "{says}: no start with it");
        CLOCK.fetch_add(LOOK_EVERY, Ordering::Relaxed);
        connect(address, "localhost", &[]).await.unwrap_or_else(|e| panic!("{says}: {e}"));
    }
}

#[tokio::test]
async fn only_http_1_is_offered() {
    let world = World::with("server");
    let address = echo(world.open(Duration::from_secs(20), 8).expect("a pair")).await;
    let both = connect(address, "localhost", &[b"h2", b"http/1.1"]).await.expect("one fits");
    assert_eq!(both.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert!(connect(address, "localhost", &[b"h2"]).await.is_err());
}

/// A44: who never finishes a handshake keeps nobody out for longer than its bound.
#[tokio::test]
async fn handshakes_that_hang_end_and_make_room() {
    let world = World::with("server");
    let address = echo(world.open(Duration::from_millis(300), 1).expect("a pair")).await;
    let mut silent = TcpStream::connect(address).await.expect("connected");
    let mut plain = TcpStream::connect(address).await.expect("connected");
    plain.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
    let closed = async {
        let mut rest = Vec::new();
        let _ = silent.read_to_end(&mut rest).await;
        let _ = plain.read_to_end(&mut rest).await;
        assert!(!rest.starts_with(b"HTTP"), "an answer without TLS");
    };
    tokio::time::timeout(Duration::from_secs(20), closed).await.expect("closed by the bound");
    connect(address, "localhost", &[]).await.expect("there is room again");
}

#[test]
fn check_says_what_is_wrong_or_soon_will_be() {
    let world = World::with("server");
    let told = |now| {
        let mut found = examine("server.listen", &world.files, now);
        let first = found.remove(0);
        assert!(first.message.starts_with("server.listen: "), "{}", first.message);
        (first.severity, first.message, found.len())
    };
    assert!(matches!(told(NOW), (Severity::Ok, _, 0)));
    let end = 4_733_510_400;
    let (severity, said, _) = told(end - 86_400);
    assert!(severity == Severity::Warning && said.contains("ends on 2120-01-01"), "{said}");
    let (severity, said, _) = told(end + 1);
    assert!(severity == Severity::Error && said.contains("ended on 2120-01-01"), "{said}");
    let (severity, said, _) = told(0);
    assert!(severity == Severity::Error && said.contains("good from 2020-01-01"), "{said}");
    world.put("expired", "expired");
    assert!(matches!(told(NOW), (Severity::Error, said, 0) if said.contains("ended on 2021")));
    world.put("server", "server");
    fs::set_permissions(&world.files.key, fs::Permissions::from_mode(0o640)).expect("mode set");
    assert!(matches!(told(NOW), (Severity::Ok, _, 1)), "a group that may read is worth a word");
    world.put("server", "wrong-name");
    assert!(matches!(told(NOW), (Severity::Error, said, 0) if said.contains("does not fit")));
}
