//! An HTTP receiver that can be held, stopped and started again at the same port.
//!
//! Must never answer 2xx for a request that it did not record.

#![allow(missing_docs, unreachable_pub, dead_code, clippy::unwrap_used)]

use std::collections::HashMap;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use tidings_connector::Outcome;
use tidings_connector::contract::{Arrived, Driver, Target, messages};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// Larger bodies are answered 413.
pub const MAX_BODY: usize = 100_000;

/// One piece of an endless answer.
const CHUNK: usize = 16 << 10;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// What `count` POSTs to one target come to.
pub async fn attempt(target: &Target, count: usize) -> Vec<Outcome> {
    let connector = target.config.connect().await.unwrap();
    let outcomes = Driver::new().attempt(&*connector, &messages(target, count)).await;
    connector.close().await;
    outcomes
}

struct Shared {
    /// What arrived at each path that exists.
    paths: Mutex<HashMap<String, Vec<Arrived>>>,
    changed: watch::Sender<()>,
    held: watch::Sender<bool>,
    /// Bytes poured into answers of `/endless`.
    poured: Arc<AtomicUsize>,
    /// What `authorization` must be; empty: anything.
    authorization: Mutex<String>,
}

pub struct Receiver {
    shared: Arc<Shared>,
    address: SocketAddr,
    /// The receiver's own runtime: dropping it breaks every connection.
    runtime: Mutex<Option<Runtime>>,
}

impl Receiver {
    pub fn new() -> Self {
        let shared = Shared {
            paths: Mutex::default(),
            changed: watch::Sender::new(()),
            held: watch::Sender::new(false),
            poured: Arc::default(),
            authorization: Mutex::default(),
        };
        let shared = Arc::new(shared);
        let (runtime, address) = serve(&shared, "127.0.0.1:0".parse().unwrap()).unwrap();
        Self { shared, address, runtime: Mutex::new(Some(runtime)) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn poured(&self) -> usize {
        self.shared.poured.load(Ordering::Relaxed)
    }

    /// From now on only requests with this `authorization` are taken; others get 401.
    pub fn require(&self, authorization: &str) {
        authorization.clone_into(&mut self.shared.authorization.lock().unwrap());
    }

    pub fn make(&self, path: &str) {
        self.shared.paths.lock().unwrap().insert(path.to_owned(), Vec::new());
    }

    pub fn hold(&self, hold: bool) {
        self.shared.held.send_replace(hold);
    }

    /// Breaks every connection and returns once new ones are refused.
    pub async fn stop(&self) {
        self.runtime.lock().unwrap().take().unwrap().shutdown_background();
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(self.address).is_ok() {
            assert!(Instant::now() < deadline, "the receiver does not stop");
            tokio::task::yield_now().await;
        }
    }

    pub fn start(&self) {
        let deadline = Instant::now() + PATIENCE;
        let runtime = loop {
            match serve(&self.shared, self.address) {
                Ok((runtime, _)) => break runtime,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
        };
        *self.runtime.lock().unwrap() = Some(runtime);
    }

    pub async fn arrived(&self, path: &str, count: usize) -> Vec<Arrived> {
        let mut changed = self.shared.changed.subscribe();
        let enough = async {
            loop {
                let arrived = self.shared.paths.lock().unwrap().get(path).cloned().unwrap_or_default();
                if arrived.len() >= count {
                    return arrived;
                }
                changed.changed().await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, enough).await.expect("messages arrive")
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.lock().unwrap().take() {
            runtime.shutdown_background();
        }
    }
}

fn serve(shared: &Arc<Shared>, address: SocketAddr) -> std::io::Result<(Runtime, SocketAddr)> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let _entered = runtime.enter();
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let listener = socket.listen(1_024)?;
    let address = listener.local_addr()?;
    let router = Router::new().fallback(receive).with_state(Arc::clone(shared));
    runtime.spawn(async move { axum::serve(listener, router).await });
    drop(_entered);
    Ok((runtime, address))
}

async fn receive(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    if request.method() == Method::OPTIONS {
        return StatusCode::NO_CONTENT.into_response();
    }
    match request.uri().path() {
        "/redirect" => {
            return (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "/elsewhere")]).into_response();
        }
        "/busy" => return (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "120")]).into_response(),
        "/endless" => {
            let poured = Arc::clone(&shared.poured);
            let pour = move || {
                poured.fetch_add(CHUNK, Ordering::Relaxed);
                Ok::<_, std::io::Error>(Bytes::from(vec![0; CHUNK]))
            };
            let forever = futures_util::stream::repeat_with(pour);
            return Body::from_stream(forever).into_response();
        }
        _ => {}
    }
    let required = shared.authorization.lock().unwrap().clone();
    let given = request.headers().get(header::AUTHORIZATION).map(|value| value.as_bytes());
    if !required.is_empty() && given != Some(required.as_bytes()) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let (parts, body) = request.into_parts();
    let Ok(payload) = to_bytes(body, MAX_BODY).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    shared.held.subscribe().wait_for(|held| !held).await.unwrap();
    let mut paths = shared.paths.lock().unwrap();
    let Some(arrived) = paths.get_mut(parts.uri.path()) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    arrived.push(Arrived { key: None, payload, headers: copied(&parts.headers) });
    drop(paths);
    shared.changed.send_replace(());
    (StatusCode::ACCEPTED, "thank you").into_response()
}

fn copied(headers: &HeaderMap) -> Vec<(String, Bytes)> {
    headers.iter().map(|(n, v)| (n.as_str().to_owned(), Bytes::copy_from_slice(v.as_bytes()))).collect()
}
