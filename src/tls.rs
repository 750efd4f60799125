//! TLS for our own listeners: a certificate and its key, read again when their files change.
//!
//! Connections that are open keep what they began with. Must never show a key, never fall back to an
//! unencrypted connection, and never give a working pair up for one that does not work.

mod pair;
#[cfg(test)]
mod tests;
mod validity;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpStream;
use tokio::sync::{Mutex, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::TlsFiles;
use pair::{Pair, Stamp};
pub use pair::{TlsError, examine};

/// The files are looked at when somebody connects, and no more often than this, in seconds.
const LOOK_EVERY: i64 = 10;

/// How a listener's handshakes are bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handshakes {
    /// How long one may take, its waiting for a place included.
    pub timeout: Duration,
    /// How many may run at once.
    pub at_once: usize,
}

/// One listener's certificate, in force.
pub struct Tls {
    files: TlsFiles,
    current: ArcSwap<Pair>,
    /// The files as they were last read, whether or not they were good: what is broken is told once.
    seen: Mutex<Stamp>,
    looked: AtomicI64,
    places: Semaphore,
    timeout: Duration,
    now: fn() -> i64,
}

impl Tls {
    /// Reads the pair. `now` is the clock, in seconds since the Unix epoch. Blocks on the disk.
    ///
    /// # Errors
    /// See [`TlsError`]: a listener does not start without a pair that works.
    pub fn open(files: &TlsFiles, bounds: Handshakes, now: fn() -> i64) -> Result<Self, TlsError> {
        let stamp = Stamp::of(files);
        let pair = Pair::read(files)?;
        let at = now();
        if let Some(warning) = pair.warning(at) {
            tracing::warn!("{}: {warning}", files.cert.display());
        }
        Ok(Self {
            files: files.clone(),
            current: ArcSwap::from_pointee(pair),
            seen: Mutex::new(stamp),
            looked: AtomicI64::new(at),
            places: Semaphore::new(bounds.at_once.clamp(1, Semaphore::MAX_PERMITS)),
            timeout: bounds.timeout,
            now,
        })
    }

    /// Reads the files anew; gives whether the pair is another one. After an error the old one stays.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub async fn reload(&self) -> Result<bool, TlsError> {
        let mut seen = self.seen.lock().await;
        self.read_into(&mut seen).await
    }

    async fn read_into(&self, seen: &mut Stamp) -> Result<bool, TlsError> {
        let files = self.files.clone();
        let read = tokio::task::spawn_blocking(move || (Stamp::of(&files), Pair::read(&files))).await;
        let (stamp, pair) = read.map_err(|e| TlsError::of_task(&self.files, &e))?;
        *seen = stamp;
        let pair = pair?;
        if let Some(warning) = pair.warning((self.now)()) {
            tracing::warn!("{}: {warning}", self.files.cert.display());
        }
        let is_new = pair.differs(&self.current.load());
        if is_new {
            self.current.store(Arc::new(pair));
        }
        Ok(is_new)
    }

    /// Looks whether the files changed, unless somebody does or just did.
    async fn look(&self) {
        let (now, looked) = ((self.now)(), self.looked.load(Ordering::Relaxed));
        // A clock that was set back makes one look too many.
        if (0..LOOK_EVERY).contains(&now.saturating_sub(looked)) {
            return;
        }
        let Ok(mut seen) = self.seen.try_lock() else { return };
        self.looked.store(now, Ordering::Relaxed);
        let files = self.files.clone();
        let stamp = tokio::task::spawn_blocking(move || Stamp::of(&files)).await;
        if stamp.is_ok_and(|stamp| stamp != *seen) {
            match self.read_into(&mut seen).await {
                Ok(true) => {
                    tracing::info!(file = %self.files.cert.display(), "a new certificate is in force")
                }
                Ok(false) => {}
                Err(error) => tracing::error!("the old certificate stays in force: {error}"),
            }
        }
    }

    /// Shakes hands over a new connection.
    ///
    /// # Errors
    /// `TimedOut` past the bound; else whatever the peer did wrong.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let shaken = tokio::time::timeout(self.timeout, async {
            let _place = self.places.acquire().await.map_err(io::Error::other)?;
            self.look().await;
            let acceptor = TlsAcceptor::from(Arc::clone(&self.current.load().config));
            acceptor.accept(stream).await
        });
        shaken.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}
