//! The files of TLS: whom to trust, and our own certificate. They are read anew for each connection.
//!
//! Must never accept a certificate that was not verified, nor show a key.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tidings_connector::SecretRef;

/// A longer file holds no certificates, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Servers of one target whose sessions are kept.
const SERVERS: usize = 4;

type Chain = Vec<CertificateDer<'static>>;

/// What the keys `ca_file`, `cert_file` and `key_file` of a connector's table name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsFiles {
    /// The certificates to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// Our certificate with its chain, and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl TlsFiles {
    /// Each text is a path, or empty where the key was left out. `unused`: why there is no TLS to use them
    /// with, to be read after the key.
    ///
    /// # Errors
    /// One sentence that begins with the key: it is of no use, lacks its partner, or cannot be read now.
    pub fn checked(ca: &str, cert: &str, key: &str, unused: Option<&str>) -> Result<Self, String> {
        match (cert.is_empty(), key.is_empty()) {
            (false, true) => return Err("`cert_file` needs `key_file` beside it".to_owned()),
            (true, false) => return Err("`key_file` needs `cert_file` beside it".to_owned()),
            _ => {}
        }
        for (name, path) in [("ca_file", ca), ("cert_file", cert), ("key_file", key)] {
            match unused {
                _ if path.is_empty() => {}
                Some(why) => return Err(format!("`{name}` {why}")),
                None => drop(read(name, path.as_ref())?),
            }
        }
        let identity = (!cert.is_empty()).then(|| (cert.into(), key.into()));
        Ok(Self { ca: (!ca.is_empty()).then(|| ca.into()), identity })
    }

    /// Every file that a connection reads: these, and those of its secrets.
    pub fn paths<'a>(&self, secrets: impl IntoIterator<Item = &'a SecretRef>) -> Vec<PathBuf> {
        let identity = self.identity.iter().flat_map(|(cert, key)| [cert, key]);
        let secrets = secrets.into_iter().filter_map(SecretRef::file).map(Path::to_owned);
        self.ca.iter().chain(identity).cloned().chain(secrets).collect()
    }

    /// Whether the files hold what they should, without looking at the system's certificates. Blocks.
    ///
    /// # Errors
    /// As [`TlsFiles::client`].
    pub fn verify(&self) -> Result<(), String> {
        let roots = self.roots()?.unwrap_or_else(RootCertStore::empty);
        self.over(roots).map(drop)
    }

    /// What our side trusts and shows, as the files are now. Blocks.
    ///
    /// # Errors
    /// One sentence that begins with the key: a file cannot be read or holds something else, certificate and
    /// key do not fit; or the system trusts nobody and no `ca_file` is given. None quotes a file.
    pub fn client(&self) -> Result<ClientConfig, String> {
        let roots = match self.roots()? {
            Some(roots) => roots,
            None => system()?,
        };
        self.over(roots)
    }

    fn roots(&self) -> Result<Option<RootCertStore>, String> {
        let Some(path) = &self.ca else { return Ok(None) };
        let mut roots = RootCertStore::empty();
        match roots.add_parsable_certificates(certificates("ca_file", path)?) {
            (0, _) => Err(format!("`ca_file`: {} holds no certificate that can be trusted", path.display())),
            _ => Ok(Some(roots)),
        }
    }

    fn over(&self, roots: RootCertStore) -> Result<ClientConfig, String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|e| e.to_string())?.with_root_certificates(roots);
        let Some((cert, key)) = &self.identity else {
            return Ok(few_sessions(builder.with_no_client_auth()));
        };
        let chain = certificates("cert_file", cert)?;
        // The reason is left out: it may quote the file.
        let secret = PrivateKeyDer::from_pem_slice(&read("key_file", key)?)
            .map_err(|_| format!("`key_file`: {} holds no private key in PEM", key.display()))?;
        let no_pair = |e| format!("`cert_file`: {} and {} do not fit: {e}", cert.display(), key.display());
        builder.with_client_auth_cert(chain, secret).map(few_sessions).map_err(no_pair)
    }
}

/// Room for the sessions of the few servers that one target has: the library's own makes 200 KB for 256.
fn few_sessions(mut config: ClientConfig) -> ClientConfig {
    config.resumption = Resumption::in_memory_sessions(SERVERS);
    config
}

/// TLS that trusts nobody, for far sides that are called without it: one for all of them.
///
/// # Errors
/// The library's own words, should it not know its own protocol versions.
pub fn nobody() -> Result<ClientConfig, String> {
    static NOBODY: OnceLock<ClientConfig> = OnceLock::new();
    match NOBODY.get() {
        Some(made) => Ok(made.clone()),
        None => {
            let made = TlsFiles::default().over(RootCertStore::empty())?;
            Ok(NOBODY.get_or_init(|| made).clone())
        }
    }
}

fn system() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    match roots.add_parsable_certificates(found.certs) {
        (0, _) => Err("`ca_file` is needed: the system trusts no certificate".to_owned()),
        _ => Ok(roots),
    }
}

fn certificates(name: &str, path: &Path) -> Result<Chain, String> {
    let all: Result<Chain, _> = CertificateDer::pem_slice_iter(&read(name, path)?).collect();
    let all = all.ok().filter(|all| !all.is_empty());
    all.ok_or_else(|| format!("`{name}`: {} holds no certificate in PEM", path.display()))
}

fn read(name: &str, path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes))
        .map_err(|e| format!("`{name}`: {} cannot be read: {e}", path.display()))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Certificates made for tests, shared with the connectors'.
    fn pem(name: &str) -> String {
        format!("{}/../http/tests/tls/{name}", env!("CARGO_MANIFEST_DIR"))
    }

    #[test]
    fn what_does_not_fit_together_is_refused_by_name() {
        let (ca, cert, key) = (&*pem("ca.pem"), &*pem("client.pem"), &*pem("client.key"));
        for (begins, files, unused) in [
            ("`ca_file` has no use", [ca, "", ""], Some("has no use")),
            ("`cert_file` has no use", ["", cert, key], Some("has no use")),
            ("`ca_file`: /nowhere cannot be read", ["/nowhere", "", ""], None),
            ("`key_file`: /nowhere cannot be read", ["", cert, "/nowhere"], None),
            ("`cert_file` needs `key_file`", ["", cert, ""], None),
            ("`key_file` needs `cert_file`", ["", "", key], None),
        ] {
            let said = TlsFiles::checked(files[0], files[1], files[2], unused).expect_err(begins);
            assert!(said.starts_with(begins), "{said}");
        }
        assert_eq!(TlsFiles::checked("", "", "", Some("has no use")), Ok(TlsFiles::default()));
        let files = TlsFiles::checked(ca, cert, key, None).expect("readable");
        let secrets = [SecretRef::File("secret".into()), SecretRef::Env("SECRET".to_owned())];
        assert_eq!(files.paths(&secrets), [ca, cert, key, "secret"].map(PathBuf::from));
        assert!(files.verify().is_ok() && files.client().is_ok());
    }

    #[test]
    fn what_a_file_holds_instead_is_told_without_showing_it() {
        let (ca, cert, key) = (&*pem("ca.pem"), &*pem("client.pem"), &*pem("client.key"));
        for (begins, files) in [
            ("`ca_file`: ", [key, "", ""]),
            ("`cert_file`: ", [ca, key, key]),
            ("`key_file`: ", [ca, cert, ca]),
            ("`cert_file`: ", [ca, cert, &*pem("server.key")]),
        ] {
            let files = TlsFiles::checked(files[0], files[1], files[2], None).expect("readable");
            for said in [files.verify().expect_err(begins), files.client().expect_err(begins)] {
                assert!(said.starts_with(begins) && !said.contains("BEGIN"), "{said}");
            }
        }
    }
}
