//! What stands at the entrances: listeners, and who may come in.
//!
//! Must never leave anything behind on a data directory when an entrance cannot be opened, and is opened
//! before the log and the index are: an address in use must not cost a recovery.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::net::TcpListener;

use super::{now_us, random};
use crate::admin::{AuditLog, Token};
use crate::config::credentials::{self, Credentials};
use crate::config::secret_file::Created;
use crate::config::{Config, TlsFiles};
use crate::tls::{Handshakes, Tls, TlsError};

/// Listeners that wait, and the secrets that open them.
pub(super) struct Doors {
    pub(super) s3: TcpListener,
    pub(super) admin: TcpListener,
    /// Where both listen.
    pub(super) at: (SocketAddr, SocketAddr),
    pub(super) credentials: Credentials,
    pub(super) credentials_created: Created,
    pub(super) token: Token,
    pub(super) audit: AuditLog,
    pub(super) tls: Certificates,
}

/// The listeners' certificates, in force.
#[derive(Clone)]
pub(super) struct Certificates {
    pub(super) s3: Option<Arc<Tls>>,
    pub(super) admin: Option<Arc<Tls>>,
}

impl Certificates {
    fn open(config: &Config) -> anyhow::Result<Self> {
        let timeout = config.server.tls_handshake_timeout;
        let bounds = Handshakes { timeout, at_once: config.server.max_tls_handshakes };
        let now = || now_us() / 1_000_000;
        let open = |what: &'static str, files: &Option<TlsFiles>| {
            let tls = files.as_ref().map(|files| Tls::open(files, bounds, now).map(Arc::new));
            tls.transpose().with_context(|| format!("{what} has no certificate that works"))
        };
        Ok(Self {
            s3: open("server.listen", &config.server.tls)?,
            admin: open("admin.listen", &config.admin.tls)?,
        })
    }

    /// Reads all of them anew. What does not work leaves the old one in force, and is told.
    pub(super) async fn reload(&self) -> Result<(), TlsError> {
        let mut all = Ok(());
        for tls in [&self.s3, &self.admin].into_iter().flatten() {
            all = all.and(tls.reload().await.map(drop));
        }
        all
    }
}

impl Doors {
    /// Binds, and reads or makes the secrets. The data directory must exist and be locked.
    pub(super) async fn open(config: &Config) -> anyhow::Result<Self> {
        let data = &config.server.data;
        let listen = async |what: &str, at: SocketAddr| {
            TcpListener::bind(at).await.with_context(|| format!("{what} cannot listen on {at}"))
        };
        let s3 = listen("server.listen", config.server.listen).await?;
        let admin = listen("admin.listen", config.admin.listen).await?;
        let at = (s3.local_addr()?, admin.local_addr()?);
        let mut fill = |b: &mut [u8]| random(b).expect("the operating system gives random bytes");
        let (credentials, credentials_created) = credentials::load_or_create(data, &mut fill)?;
        let token = Token::load_or_create(data, &mut fill)?;
        let audit = AuditLog::open(data)?;
        let tls = Certificates::open(config)?;
        Ok(Self { s3, admin, at, credentials, credentials_created, token, audit, tls })
    }
}
