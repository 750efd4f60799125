//! The listener: connections within their bound, timeouts on both directions, a drain with a deadline.
//!
//! Must never look into a request, and never end one that the deadline still allows.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Frontend;
use super::going::Seat;
use super::layer::Layer;
use super::peer::Peer;
use crate::limits::Stall;
use crate::tls::Tls;

/// The largest head of a request, and the connection's read buffer.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// The most headers of a request.
const MAX_HEADERS: usize = 100;
/// How long the listener rests after it could not accept, for want of file descriptors above all.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// Connections that were still busy at the deadline and were cut. Their changes, once handed to the
    /// commit path, go on without them.
    pub cut: usize,
}

impl Frontend {
    /// Serves `listener` until `stop` completes; then takes no new connection, lets requests that run finish
    /// within the configured shutdown timeout, and cuts the rest.
    pub async fn serve(mut self, listener: TcpListener, stop: impl Future<Output = ()>) -> Served {
        let connections = Arc::new(Semaphore::new(self.server.max_connections.min(Semaphore::MAX_PERMITS)));
        let (drain, cut) = (CancellationToken::new(), CancellationToken::new());
        let tracker = TaskTracker::new();
        let http = http1_of(&self.server);
        tokio::pin!(stop);
        loop {
            // A permit first: with none free, connections wait in the backlog.
            let accepted = tokio::select! {
                () = &mut stop => break,
                accepted = accept(&listener, &mut self.inside, &connections) => accepted,
            };
            let (stream, peer, permit) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections");
                    tokio::select! {
                        () = &mut stop => break,
                        () = tokio::time::sleep(ACCEPT_PAUSE) => continue,
                    }
                }
            };
            let address = peer.to_canonical();
            // Dropped, the stream is closed.
            let Some(seat) = self.going.seat(address) else { continue };
            let connection = Connection {
                layer: Arc::clone(&self.layer),
                http: http.clone(),
                tls: self.tls.clone(),
                idle: self.server.idle_timeout,
                drain: drain.clone(),
                cut: cut.clone(),
            };
            tracker.spawn(async move {
                connection.run(stream, address, seat).await;
                drop(permit);
            });
        }
        drop(listener);
        drain.cancel();
        tracker.close();
        let in_time = tokio::time::timeout(self.server.shutdown_timeout, tracker.wait()).await;
        let left = if in_time.is_ok() { 0 } else { tracker.len() };
        cut.cancel();
        tracker.wait().await;
        self.pulls.end().await;
        Served { cut: left }
    }
}

fn http1_of(server: &crate::config::Server) -> http1::Builder {
    let mut http = http1::Builder::new();
    // Without a timer the header timeout would silently not exist.
    http.timer(TokioTimer::new())
        .header_read_timeout(server.header_timeout)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .keep_alive(true)
        .half_close(false);
    http
}

/// A connection, the address of its other end, and its permit.
type Accepted = (Stream, IpAddr, OwnedSemaphorePermit);

enum Stream {
    Wire(TcpStream),
    Inside(UnixStream),
}

/// The next connection. One from within is carried by no wire, and not encrypted.
async fn accept(
    listener: &TcpListener,
    inside: &mut Option<mpsc::Receiver<UnixStream>>,
    connections: &Arc<Semaphore>,
) -> io::Result<Accepted> {
    // One permit for whoever comes first: two who wait would hold two.
    let permit = Arc::clone(connections).acquire_owned().await.map_err(io::Error::other)?;
    let from_within = async {
        match inside {
            Some(inside) => inside.recv().await,
            None => None,
        }
    };
    tokio::select! {
        accepted = listener.accept() => {
            let (stream, peer) = accepted?;
            Ok((Stream::Wire(stream), peer.ip(), permit))
        }
        Some(stream) = from_within => Ok((Stream::Inside(stream), Ipv4Addr::LOCALHOST.into(), permit)),
    }
}

struct Connection {
    layer: Arc<Layer>,
    http: http1::Builder,
    tls: Option<Arc<Tls>>,
    idle: Duration,
    drain: CancellationToken,
    cut: CancellationToken,
}

impl Connection {
    async fn run(self, stream: Stream, address: IpAddr, seat: Seat) {
        let stream = match stream {
            Stream::Wire(stream) => stream,
            Stream::Inside(stream) => {
                return self.serve(stream, Peer { address, encrypted: false, seat }).await;
            }
        };
        // An answer is one small packet; waiting for more of it costs a round trip.
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else {
            return self.serve(stream, Peer { address, encrypted: false, seat }).await;
        };
        let shaken = tokio::select! {
            biased;
            () = self.drain.cancelled() => return,
            shaken = tls.accept(stream) => shaken,
        };
        match shaken {
            Ok(stream) => self.serve(stream, Peer { address, encrypted: true, seat }).await,
            Err(error) => tracing::debug!(%error, "a TLS handshake failed"),
        }
    }

    async fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin, peer: Peer) {
        let (layer, peer) = (&self.layer, &Arc::new(peer));
        let service =
            service_fn(move |request| async move { Ok::<_, Infallible>(layer.answer(request, peer).await) });
        let io = TokioIo::new(Stall::new(stream, self.idle));
        let mut connection = std::pin::pin!(self.http.serve_connection(io, service));
        let ended = tokio::select! {
            biased;
            ended = connection.as_mut() => Some(ended),
            () = self.drain.cancelled() => None,
        };
        let ended = match ended {
            Some(ended) => ended,
            None => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    biased;
                    ended = connection => ended,
                    () = self.cut.cancelled() => return,
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}
