//! A certificate and its key, as read from their files, and what is wrong or soon will be.
//!
//! Must never quote a file, nor take a key that everybody on the machine may read.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tidings_connector::{Finding, Severity};

use super::validity::{Validity, validity};
use crate::config::TlsFiles;

/// A longer file holds neither certificates nor a key, in bytes.
const MAX_BYTES: u64 = 1 << 20;
/// A certificate that ends sooner is worth a warning, in seconds: two weeks.
const SOON: i64 = 14 * 86_400;
/// What may be spoken in a connection. HTTP/2 has attacks of its own, and no S3 client needs it.
const ALPN: &[&[u8]] = &[b"http/1.1"];

/// Why a pair cannot be used. Names the file and never quotes it.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", .path.display())]
pub struct TlsError {
    path: PathBuf,
    why: String,
}

impl TlsError {
    fn new(path: &Path, why: impl fmt::Display) -> Self {
        Self { path: path.to_owned(), why: why.to_string() }
    }

    pub(super) fn of_task(files: &TlsFiles, error: &dyn fmt::Display) -> Self {
        Self::new(&files.cert, format_args!("reading it broke off: {error}"))
    }
}

/// What tells one state of both files from another, without reading them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp([Option<OfFile>; 2]);

/// Device, inode, length, and when it was changed: seconds and nanoseconds.
type OfFile = (u64, u64, u64, i64, i64);

impl Stamp {
    pub(super) fn of(files: &TlsFiles) -> Self {
        let of = |path: &Path| {
            let m = fs::metadata(path).ok()?;
            Some((m.dev(), m.ino(), m.len(), m.mtime(), m.mtime_nsec()))
        };
        Self([of(&files.cert), of(&files.key)])
    }
}

/// A pair that works.
pub(super) struct Pair {
    pub(super) config: Arc<ServerConfig>,
    chain: Vec<CertificateDer<'static>>,
    validity: Validity,
    /// The group that owns the key's file may read it.
    shared: bool,
}

impl Pair {
    /// Reads both files and tries them together.
    pub(super) fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let (cert, key) = (&files.cert, &files.key);
        let (pem, _) = read(cert)?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let chain = chain.map_err(|_| TlsError::new(cert, "it is not a certificate in PEM"))?;
        let first = chain.first().ok_or_else(|| TlsError::new(cert, "it holds no certificate in PEM"))?;
        let validity = validity(first)
            .ok_or_else(|| TlsError::new(cert, "its first certificate is malformed: no validity is in it"))?;
        let (pem, mode) = read(key)?;
        if mode & 0o007 != 0 {
            let why =
                format!("everybody on this machine may reach it (mode {mode:03o}): run `chmod 600` on it");
            return Err(TlsError::new(key, why));
        }
        let private = PrivateKeyDer::from_pem_slice(&pem)
            .map_err(|_| TlsError::new(key, "it holds no private key in PEM without a password"))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(|e| TlsError::new(cert, e))?.with_no_client_auth();
        let mut config = config.with_single_cert(chain.clone(), private).map_err(|e| {
            TlsError::new(key, format_args!("it does not fit the certificate in {}: {e}", cert.display()))
        })?;
        config.alpn_protocols = ALPN.iter().map(|name| name.to_vec()).collect();
        Ok(Self { config: Arc::new(config), chain, validity, shared: mode & 0o070 != 0 })
    }

    pub(super) fn differs(&self, other: &Self) -> bool {
        // A renewed certificate may keep its key, and never the other way round.
        self.chain != other.chain
    }

    /// What works and soon will not.
    pub(super) fn warning(&self, now: i64) -> Option<String> {
        let Validity { from, until } = self.validity;
        let at = |seconds| {
            jiff::Timestamp::from_second(seconds).map_or_else(|_| "never".into(), |t| t.to_string())
        };
        if now > until {
            Some(format!("the certificate ended on {}: clients will refuse it", at(until)))
        } else if now < from {
            Some(format!("the certificate is good from {} on only: clients will refuse it", at(from)))
        } else if until - now < SOON {
            Some(format!("the certificate ends on {}: renew it", at(until)))
        } else {
            None
        }
    }
}

fn read(path: &Path) -> Result<(Vec<u8>, u32), TlsError> {
    let failed = |error: io::Error| TlsError::new(path, error);
    let file = File::open(path).map_err(failed)?;
    // The open file is asked, not the path, so that nobody can put another one between.
    let mode = file.metadata().map_err(failed)?.mode() & 0o777;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    Ok((bytes, mode))
}

/// What `tidings check` says about a listener's pair; `now` in seconds since the Unix epoch.
pub fn examine(listener: &str, files: &TlsFiles, now: i64) -> Vec<Finding> {
    let finding = |severity, what: String| Finding { severity, message: format!("{listener}: {what}") };
    let pair = match Pair::read(files) {
        Ok(pair) => pair,
        Err(error) => return vec![finding(Severity::Error, error.to_string())],
    };
    let mut found = Vec::new();
    match pair.warning(now) {
        Some(warning) => {
            let over = !(pair.validity.from..=pair.validity.until).contains(&now);
            let severity = if over { Severity::Error } else { Severity::Warning };
            found.push(finding(severity, format!("{}: {warning}", files.cert.display())));
        }
        None => {
            found.push(finding(Severity::Ok, format!("{}: certificate and key fit", files.cert.display())))
        }
    }
    if pair.shared {
        let what = format!("{}: its group may reach the private key: is that meant?", files.key.display());
        found.push(finding(Severity::Warning, what));
    }
    found
}
