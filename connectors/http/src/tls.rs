//! The files of TLS: whom to trust, and our own certificate.
//!
//! Must never accept a certificate that was not verified, nor show a key.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use reqwest::{Certificate, ClientBuilder, Identity};
use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore, crypto};

/// A longer file holds no certificates, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// What a configuration names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Files {
    pub(crate) ca: Option<PathBuf>,
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
}

impl Files {
    /// Reads every file. `Err` is a sentence that begins with the key.
    pub(crate) fn check(&self, https: bool) -> Result<(), String> {
        let given = [("ca_file", &self.ca), ("cert_file", &self.cert), ("key_file", &self.key)];
        if let Some((key, _)) = given.iter().find(|(_, path)| path.is_some() && !https) {
            return Err(format!("`{key}` needs an https `url`"));
        }
        self.authorities().and(self.identity()).map(drop)
    }

    /// Sets a client up. The system's certificates are loaded only where they decide.
    pub(crate) fn apply(&self, client: ClientBuilder, https: bool) -> Result<ClientBuilder, String> {
        if !https {
            return Ok(client.tls_backend_preconfigured(nobody()?));
        }
        let client = match self.authorities()? {
            Some(authorities) => client.tls_certs_only(authorities),
            None => client,
        };
        Ok(match self.identity()? {
            Some(identity) => client.identity(identity),
            None => client,
        })
    }

    fn authorities(&self) -> Result<Option<Vec<Certificate>>, String> {
        let Some(path) = &self.ca else { return Ok(None) };
        let found = Certificate::from_pem_bundle(&read("ca_file", path)?).unwrap_or_default();
        match found.is_empty() {
            true => Err(format!("`ca_file`: {} holds no certificate in PEM", path.display())),
            false => Ok(Some(found)),
        }
    }

    fn identity(&self) -> Result<Option<Identity>, String> {
        let (cert, key) = match (&self.cert, &self.key) {
            (None, None) => return Ok(None),
            (Some(_), None) => return Err("`key_file` is missing: `cert_file` needs it".to_owned()),
            (None, Some(_)) => return Err("`cert_file` is missing: `key_file` needs it".to_owned()),
            (Some(cert), Some(key)) => (cert, key),
        };
        let pem = [read("cert_file", cert)?, vec![b'\n'], read("key_file", key)?].concat();
        let no_pair = |_| {
            let (cert, key) = (cert.display(), key.display());
            format!("`cert_file`: {cert} and {key} are not a certificate and its private key in PEM")
        };
        Identity::from_pem(&pem).map(Some).map_err(no_pair)
    }
}

/// TLS that trusts nobody, for receivers that are called without it: one for all of them, since every new one
/// comes with room for the sessions of 256 servers, 200 KB.
fn nobody() -> Result<ClientConfig, String> {
    static NOBODY: OnceLock<ClientConfig> = OnceLock::new();
    if let Some(made) = NOBODY.get() {
        return Ok(made.clone());
    }
    let provider = Arc::new(crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|e| format!("TLS cannot be set up: {e}"))?;
    let mut config = config.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(NOBODY.get_or_init(|| config).clone())
}

fn read(key: &str, path: &Path) -> Result<Vec<u8>, String> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes))
        .map_err(|e| format!("`{key}`: {} cannot be read: {e}", path.display()))?;
    Ok(bytes)
}
