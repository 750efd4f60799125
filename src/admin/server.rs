//! The admin listener's accept loop: a bounded number of connections, each with bounds on its headers and its
//! life.
//!
//! Must never know a route.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::permits::INVOKE_WAIT;
use super::service::{Admin, Entrance, Peer};
use crate::limits::Stall;
use crate::tls::Tls;

/// The listener's bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Connections served at once; more wait in the listener's backlog.
    pub max_connections: usize,
    /// How long a request's headers may take, and how long a connection may stand idle.
    pub header: Duration,
    /// How long reading a body may take, and then how long an answer that changes nothing may take.
    pub request: Duration,
    /// How long a client may read nothing of what is sent to it.
    pub unread: Duration,
    /// How long a connection may live; a request that is being answered then is answered first.
    pub life: Duration,
    /// How long a connection may take to end after that, or after the stop.
    pub drain: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            max_connections: 64,
            header: Duration::from_secs(10),
            request: Duration::from_secs(30),
            unread: Duration::from_secs(30),
            life: Duration::from_secs(600),
            drain: Duration::from_secs(5),
        }
    }
}

/// The largest request head, in bytes.
const MAX_HEAD: usize = 16 << 10;
/// How long to wait after a failed accept (out of files, most likely) before trying again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop`, over TLS if there is a certificate; then lets what is being answered finish within
/// `bounds.drain`.
///
/// # Errors
/// Only if the listener's own address cannot be read; failing accepts are logged and repeated.
pub async fn serve(
    listener: TcpListener,
    admin: Admin,
    tls: Option<Arc<Tls>>,
    bounds: Bounds,
    stop: CancellationToken,
) -> io::Result<()> {
    let loopback = listener.local_addr()?.ip().to_canonical().is_loopback();
    let router = admin.router(Entrance { loopback, deadline: bounds.request });
    let slots = Arc::new(Semaphore::new(bounds.max_connections));
    let mut connections = JoinSet::new();
    while let Some((stream, peer, slot)) = tokio::select! {
        biased;
        () = stop.cancelled() => None,
        next = next(&listener, &slots) => Some(next),
    } {
        while connections.try_join_next().is_some() {}
        let (router, stop, tls) = (router.clone(), stop.clone(), tls.clone());
        connections.spawn(async move {
            let _ = stream.set_nodelay(true);
            match tls {
                None => connection(stream, peer, router, bounds, stop).await,
                Some(tls) => match until(&stop, tls.accept(stream)).await {
                    Some(Ok(stream)) => connection(stream, peer, router, bounds, stop).await,
                    Some(Err(error)) => tracing::debug!(%peer, %error, "a TLS handshake failed"),
                    None => {}
                },
            }
            drop(slot);
        });
    }
    drop(listener);
    // Each connection ends by itself within `drain`.
    while connections.join_next().await.is_some() {}
    Ok(())
}

/// The next connection, once there is a slot for it.
async fn next(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, Option<tokio::sync::OwnedSemaphorePermit>) {
    // The semaphore is never closed; if it were, connections would go uncounted rather than unserved.
    let slot = Arc::clone(slots).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer, slot),
            Err(error) => {
                tracing::warn!(%error, "the admin listener cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// What comes of this, unless the stop comes before.
async fn until<T>(stop: &CancellationToken, this: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        () = stop.cancelled() => None,
        done = this => Some(done),
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    router: Router,
    bounds: Bounds,
    stop: CancellationToken,
) {
    let service = TowerToHyperService::new(router.layer(Extension(Peer(peer))));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(bounds.header).max_buf_size(MAX_HEAD);
    let mut served = pin!(http.serve_connection(TokioIo::new(Stall::new(stream, bounds.unread)), service));
    let ends = async {
        // Either way the connection may finish what it is answering.
        let _ = tokio::time::timeout(bounds.life, stop.cancelled()).await;
    };
    let result = tokio::select! {
        result = served.as_mut() => result,
        () = ends => {
            served.as_mut().graceful_shutdown();
            let cut = async {
                // Only a stop cuts what is being answered; every answer has a bound of its own.
                let _ = tokio::time::timeout(INVOKE_WAIT, stop.cancelled()).await;
                tokio::time::sleep(bounds.drain).await;
            };
            tokio::select! {
                result = served.as_mut() => result,
                () = cut => return tracing::debug!(%peer, "an admin connection did not end in time"),
            }
        }
    };
    if let Err(error) = result {
        tracing::debug!(%peer, %error, "an admin connection failed");
    }
}
