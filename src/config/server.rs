//! The listeners, checked.
//!
//! Must never hold what is in a file: certificates are read, and read again, by who needs them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// `[server]`: the S3 and COS listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Where to listen. Port 0 asks for a free one.
    pub listen: SocketAddr,
    /// The region that requests sign for and events carry.
    pub region: String,
    /// The data directory.
    pub data: PathBuf,
    /// The domain under which `BUCKET.domain` names a bucket; none: path style only.
    pub domain: Option<String>,
    /// Bodies that nothing signs are taken from other machines too; from this one always.
    pub allow_unsigned_payload: bool,
    /// Requests served at once; more wait in the listener's backlog.
    pub max_connections: usize,
    /// How long a request's headers may take.
    pub header_timeout: Duration,
    /// How long a body may stand still.
    pub idle_timeout: Duration,
    /// How long a change waits for space before it is answered 503.
    pub reserve_timeout: Duration,
    /// How long `serve` may take to stop after SIGTERM.
    pub shutdown_timeout: Duration,
    /// The certificate of this listener; none: no TLS.
    pub tls: Option<TlsFiles>,
    /// How long a TLS handshake may take.
    pub tls_handshake_timeout: Duration,
    /// How many TLS handshakes may run at once, for each listener.
    pub max_tls_handshakes: usize,
}

/// `[admin]`: health, metrics and `/v1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Where to listen. Port 0 asks for a free one.
    pub listen: SocketAddr,
    /// The certificate of this listener; none: no TLS.
    pub tls: Option<TlsFiles>,
}

/// The files of a listener's certificate; both in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and after it those that lead to an authority.
    pub cert: PathBuf,
    /// Its private key, without a password.
    pub key: PathBuf,
}
