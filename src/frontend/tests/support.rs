//! A running frontend, a signed client, and a socket for what no client would send.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderValue, Method};
use jiff::Timestamp;
use secrecy::SecretString;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::memory::Memory;
use crate::client::sign::{Parts, Signed, amz_date, canonical_query, encode_path, payload_hash};
use crate::client::{Client, Response};
use crate::commit::Commit;
use crate::config;
use crate::config::credentials::{Credential, Scope};
use crate::frontend::{Ambient, CredentialLookup, Frontend, Served};

pub(super) const REGION: &str = "ap-guangzhou";
pub(super) const ACCESS_KEY: &str = "AKIDEXAMPLE";
pub(super) const SECRET: &str = "planted-secret-of-the-frontend-tests";
pub(super) const OTHER_KEY: &str = "AKIDOTHER";
pub(super) const OTHER_SECRET: &str = "another-planted-secret";

/// Bodies up to this size are inline in these tests.
pub(super) const INLINE: u64 = 64 << 10;
/// What takes longer than this never happens.
const PATIENCE: Duration = Duration::from_secs(20);
/// The largest object in these tests.
pub(super) const LARGEST: u64 = 8 << 20;

/// The credentials in force, which tests may change.
pub(super) struct Keys(Mutex<BTreeMap<String, Arc<Credential>>>);

impl Keys {
    fn new() -> Self {
        let both = [(ACCESS_KEY, SECRET), (OTHER_KEY, OTHER_SECRET)];
        let unlimited = |(key, secret): (&str, &str)| {
            (key.to_owned(), Arc::new(Credential::unlimited(SecretString::from(secret))))
        };
        Self(Mutex::new(both.map(unlimited).into()))
    }

    /// From now on there is this credential too, or instead.
    pub(super) fn set(&self, key: &str, secret: &str, scope: Scope, buckets: &[&str]) {
        let buckets = buckets.iter().map(|pattern| (*pattern).to_owned()).collect();
        let credential = Credential { scope, buckets, ..Credential::unlimited(SecretString::from(secret)) };
        self.0.lock().expect("no panic").insert(key.to_owned(), Arc::new(credential));
    }

    /// From now on there is none with this access key.
    pub(super) fn remove(&self, key: &str) {
        self.0.lock().expect("no panic").remove(key);
    }
}

impl CredentialLookup for Keys {
    fn credential(&self, access_key: &str) -> Option<Arc<Credential>> {
        self.0.lock().expect("no panic").get(access_key).cloned()
    }
}

/// A frontend that serves until it is dropped or [`Running::stop`]ped.
pub(super) struct Running {
    pub(super) address: SocketAddr,
    pub(super) client: Client,
    pub(super) memory: Arc<Memory>,
    pub(super) keys: Arc<Keys>,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<Served>,
}

pub(super) fn server_config() -> config::Server {
    config::Server {
        listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
        region: REGION.into(),
        data: "unused".into(),
        domain: Some("s3.test".into()),
        allow_unsigned_payload: false,
        max_connections: 64,
        header_timeout: Duration::from_secs(30),
        idle_timeout: Duration::from_secs(30),
        reserve_timeout: Duration::from_secs(1),
        shutdown_timeout: Duration::from_secs(10),
        tls: None,
        tls_handshake_timeout: Duration::from_secs(10),
        max_tls_handshakes: 16,
    }
}

pub(super) fn store_config() -> config::Store {
    config::Store {
        max_bytes: None,
        inline_bytes: INLINE,
        max_object_bytes: LARGEST,
        index_cache_bytes: 1 << 20,
        checkpoint_interval: Duration::from_secs(1),
        min_part_bytes: 1 << 10,
        upload_expiry: Duration::from_secs(3_600),
        reclaim_rate: 1 << 30,
        scrub_rate: 0,
    }
}

/// Origins are on this machine.
pub(super) fn origin_config() -> config::Origin {
    config::Origin { allow_private: true, ..config::Origin::default() }
}

impl Running {
    pub(super) async fn start() -> Self {
        Self::start_with(server_config()).await
    }

    pub(super) async fn start_with(server: config::Server) -> Self {
        let (commit, memory) = Memory::commit();
        Self::start_over(server, commit, memory).await
    }

    /// Over another commit path; `memory` knows nothing then.
    pub(super) async fn start_over(server: config::Server, commit: Arc<Commit>, memory: Arc<Memory>) -> Self {
        Self::start_limited(server, &config::Limits::default(), commit, memory).await
    }

    /// The same with limits of what may be going on.
    pub(super) async fn start_limited(
        server: config::Server,
        limits: &config::Limits,
        commit: Arc<Commit>,
        memory: Arc<Memory>,
    ) -> Self {
        Self::start_pulling(server, limits, &origin_config(), commit, memory).await
    }

    /// The same with bounds of what is fetched from origins.
    pub(super) async fn start_pulling(
        server: config::Server,
        limits: &config::Limits,
        origin: &config::Origin,
        commit: Arc<Commit>,
        memory: Arc<Memory>,
    ) -> Self {
        let store = store_config();
        let account = config::Account { appid: "1250000000".into() };
        let ambient = Ambient { now: Timestamp::now, seed: 7 };
        let keys = Arc::new(Keys::new());
        let frontend = Frontend::new(&server, &store, &account, origin, commit, keys.clone(), ambient);
        let frontend = frontend.limited(limits, Box::new(|_| {}));
        let listener = TcpListener::bind(server.listen).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(frontend.serve(listener, async move {
            let _ = stopped.await;
        }));
        let client = Client::new(&format!("http://{address}"), REGION, ACCESS_KEY, SECRET).expect("a client");
        Self { address, client, memory, keys, stop: Some(stop), served }
    }

    /// With a bucket named `bucket`.
    pub(super) async fn with_bucket() -> Self {
        let running = Self::start().await;
        let made = running.client.create_bucket("bucket").await.expect("answered");
        assert_eq!(made.status, 200, "{made:?}");
        running
    }

    pub(super) fn begin_stop(&mut self) {
        drop(self.stop.take());
    }

    pub(super) async fn stop(mut self) -> Served {
        self.begin_stop();
        self.served.await.expect("serving does not panic")
    }

    /// A client with another key pair.
    pub(super) fn client_of(&self, key: &str, secret: &str) -> Client {
        Client::new(&format!("http://{}", self.address), REGION, key, secret).expect("a client")
    }

    /// Signs a request in the header; more headers are signed too. Returns them all, and the seed for chunks.
    pub(super) fn sign(
        &self,
        method: &str,
        path: &str,
        query: &[(&str, &str)],
        payload: &str,
        more: &[(&str, &str)],
    ) -> (Vec<(String, String)>, Signed, Timestamp) {
        let at = Timestamp::now();
        let (date, host) = (amz_date(at), self.address.to_string());
        let mut headers =
            vec![("host", host.as_str()), ("x-amz-content-sha256", payload), ("x-amz-date", &date)];
        headers.extend_from_slice(more);
        let (path, query) = (encode_path(path), canonical_query(query));
        let parts = Parts { method, path: &path, query: &query, headers: &headers, payload };
        let signed = self.client.signer().sign(&parts, at);
        headers.push(("authorization", &signed.authorization));
        let owned = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        (owned, signed, at)
    }

    /// Sends exactly these headers and bytes.
    pub(super) async fn send(
        &self,
        method: Method,
        target: &str,
        headers: &[(String, String)],
        body: impl Into<bytes::Bytes>,
    ) -> Response {
        let headers: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        self.client.send(method, target, &headers, body).await.expect("answered")
    }

    /// A signed PUT of `body` at `/bucket/key` with more headers, all signed.
    pub(super) async fn put_with(&self, body: &[u8], more: &[(&str, &str)]) -> Response {
        let (headers, ..) = self.sign("PUT", "/bucket/key", &[], &payload_hash(body), more);
        self.send(Method::PUT, "/bucket/key", &headers, body.to_vec()).await
    }

    /// A connection of its own, for bytes that no client would send.
    pub(super) async fn raw(&self, bytes: &[u8]) -> TcpStream {
        let mut socket = TcpStream::connect(self.address).await.expect("connected");
        socket.write_all(bytes).await.expect("writable");
        socket
    }

    /// The head of a signed request as bytes, with `more` (unsigned) header lines.
    pub(super) fn raw_head(&self, method: &str, path: &str, payload: &str, more: &str) -> Vec<u8> {
        let (headers, ..) = self.sign(method, path, &[], payload, &[]);
        let mut head = format!("{method} {path} HTTP/1.1\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        (head + more + "\r\n").into_bytes()
    }

    /// Waits until nothing is half written any more.
    pub(super) async fn settled(&self) {
        let settled = async {
            while self.memory.stray_blobs() > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, settled).await.expect("a blob was left behind");
    }

    /// Nothing was stored and nothing happened.
    pub(super) async fn nothing_happened(&self) {
        self.settled().await;
        assert_eq!(self.memory.events(), [], "an event happened");
        let got = self.client.get("bucket", "key").await.expect("answered");
        assert_eq!(got.error_code(), Some("NoSuchKey"), "something was stored");
    }
}

/// Everything the server sends until it closes.
pub(super) async fn read_all(mut socket: TcpStream) -> String {
    let mut got = Vec::new();
    // A reset after an answer is a close, too.
    let read = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut got)).await;
    let _ = read.expect("the server neither answered nor closed");
    String::from_utf8_lossy(&got).into_owned()
}

/// The status and code of an answer, for short assertions.
pub(super) fn told(response: &Response) -> (u16, &str) {
    (response.status.as_u16(), response.error_code().unwrap_or_default())
}

/// Every error is complete XML that names the request.
#[track_caller]
pub(super) fn assert_complete_error(response: &Response) {
    let text = std::str::from_utf8(&response.body).expect("UTF-8");
    let id = response.header("x-amz-request-id").expect("a request id");
    assert_eq!(response.headers.get("content-type"), Some(&HeaderValue::from_static("application/xml")));
    for part in ["<Code>", "<Message>", "<Resource>", &format!("<RequestId>{id}</RequestId>")] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert!(!text.contains(SECRET) && !text.contains(OTHER_SECRET), "a secret is in {text}");
}
