//! Judges the listeners: `[server]` and `[admin]`.
//!
//! Must never open a file: whether a certificate is good may change at any time, and `tidings check` looks.

use std::path::PathBuf;
use std::time::Duration;

use super::check::{Checker, HOUR, MINUTE, MS, is_region};
use super::tree::KeyPath;
use super::{Admin, Server, TlsFiles, raw};

impl Checker<'_> {
    pub(super) fn server(&mut self, raw: raw::Server) -> Option<Server> {
        let at = KeyPath::of(&["server"]);
        let listen = self.listen(&at.key("listen"), &raw.listen);
        if !is_region(&raw.region) {
            let help = ["use 1 to 64 of a-z, 0-9 and -, such as \"ap-guangzhou\" or \"us-east-1\""];
            self.problem(&at.key("region"), "`region` is not a region's name".into(), &help);
        }
        if raw.data.is_empty() {
            self.problem(
                &at.key("data"),
                "`data` is empty".into(),
                &["name the directory that holds everything"],
            );
        }
        if let Some(domain) = &raw.domain
            && !is_domain(domain)
        {
            let help = ["write a host name without scheme and port, such as \"cos.example.com\""];
            self.problem(&at.key("domain"), "`domain` is not a domain name".into(), &help);
        }
        self.count(&at.key("max_connections"), raw.max_connections, 1..=1_000_000);
        self.span(&at.key("header_timeout"), raw.header_timeout, 100 * MS..=HOUR);
        self.span(&at.key("idle_timeout"), raw.idle_timeout, 100 * MS..=HOUR);
        self.span(&at.key("reserve_timeout"), raw.reserve_timeout, Duration::ZERO..=10 * MINUTE);
        self.span(&at.key("shutdown_timeout"), raw.shutdown_timeout, 100 * MS..=HOUR);
        self.span(&at.key("tls_handshake_timeout"), raw.tls_handshake_timeout, 100 * MS..=10 * MINUTE);
        self.count(&at.key("max_tls_handshakes"), raw.max_tls_handshakes, 1..=1_000_000);
        let tls = self.tls(&at, raw.tls_cert, raw.tls_key);
        Some(Server {
            listen: listen?,
            region: raw.region,
            data: PathBuf::from(raw.data),
            domain: raw.domain,
            allow_unsigned_payload: raw.allow_unsigned_payload,
            max_connections: raw.max_connections,
            header_timeout: raw.header_timeout.0,
            idle_timeout: raw.idle_timeout.0,
            reserve_timeout: raw.reserve_timeout.0,
            shutdown_timeout: raw.shutdown_timeout.0,
            tls,
            tls_handshake_timeout: raw.tls_handshake_timeout.0,
            max_tls_handshakes: raw.max_tls_handshakes,
        })
    }

    pub(super) fn admin(&mut self, raw: raw::Admin, server: Option<&Server>) -> Option<Admin> {
        let at = KeyPath::of(&["admin"]);
        let listen = self.listen(&at.key("listen"), &raw.listen);
        if let (Some(a), Some(b)) = (server.map(|s| s.listen), listen)
            && a.port() != 0
            && a.port() == b.port()
            && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
        {
            let what = format!("`admin.listen` and `server.listen` are both port {}", a.port());
            self.problem(&at.key("listen"), what, &["give the admin API a port of its own"]);
        }
        let tls = self.tls(&at, raw.tls_cert, raw.tls_key);
        Some(Admin { listen: listen?, tls })
    }

    /// Both files or none.
    fn tls(&mut self, at: &KeyPath, cert: Option<String>, key: Option<String>) -> Option<TlsFiles> {
        let given = |path: Option<String>| path.filter(|path| !path.is_empty());
        let (there, missing) = match (given(cert), given(key)) {
            (Some(cert), Some(key)) => {
                return Some(TlsFiles { cert: PathBuf::from(cert), key: PathBuf::from(key) });
            }
            (None, None) => return None,
            (Some(_), None) => ("tls_cert", "tls_key"),
            (None, Some(_)) => ("tls_key", "tls_cert"),
        };
        let what = format!("`{there}` needs `{missing}`");
        self.problem(&at.key(there), what, &["TLS takes a certificate and its key, each a file in PEM"]);
        None
    }
}

/// A host name in lower case: labels of `a-z 0-9 -`, no port.
fn is_domain(text: &str) -> bool {
    let label = |l: &str| is_region(l) && !l.starts_with('-') && !l.ends_with('-');
    text.len() <= 190 && text.split('.').all(label)
}
