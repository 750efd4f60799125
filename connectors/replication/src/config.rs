//! What `[target.NAME.connector.replication]` may say, as typed and as checked.
//!
//! Must never hold a value that was not checked here, nor show a secret.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use tidings_common::{TlsFiles, Url, blocking, endpoint, options};
use tidings_connector::{Connector, ConnectorConfig, Fault, Finding, SecretRef, Span, Template};

use crate::connector::ReplicationConnector;
use crate::sender::{Asked, Sender};

options! {
    /// The keys of `[target.NAME.connector.replication]` as they were typed. An empty text is a key that was
    /// left out.
    pub struct ReplicationOptions {
        /// The peer's region. Required.
        region: String,
        /// The peer's S3 API: `http://` or `https://`, host and port. Required.
        endpoint: String,
        /// Our own S3 API as the peer reaches it. Required.
        own_endpoint: String,
        /// The access key of a credential of the peer's whose scope is `replication`. Required.
        access_key: String,
        /// The file that holds its secret key.
        secret_key_file: String,
        /// The environment variable that holds it.
        secret_key_env: String,
        /// How long the peer may take to pull one object, 100 ms to 1 h.
        timeout: Span = Span(Duration::from_secs(50)) => "100ms" to "1h",
        /// How long reaching the peer may take, TLS included, 100 ms to 60 s.
        connect_timeout: Span = Span(Duration::from_secs(5)) => "100ms" to "60s",
        /// Objects on their way at once, 1 to 1,024.
        max_in_flight: usize = 32 => "1" to "1024",
        /// Certificates (PEM) that the peer's must come from, instead of the system's.
        ca_file: String,
    }
}

/// A checked peer.
#[derive(Clone)]
pub struct ReplicationConfig {
    pub(crate) options: ReplicationOptions,
    pub(crate) endpoint: Url,
    pub(crate) own_endpoint: Url,
    pub(crate) secret: SecretRef,
    pub(crate) tls: TlsFiles,
    pub(crate) here: String,
    target: String,
}

impl ReplicationOptions {
    /// Checks everything that can be known without asking the peer; files are read. `here` is our own region.
    ///
    /// # Errors
    /// One sentence that begins with the key.
    pub fn checked(self, target: &str, here: &str) -> Result<ReplicationConfig, String> {
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !(1..=64).contains(&self.region.len()) || !self.region.bytes().all(legal) {
            return Err("`region` is required: the peer's, 1 to 64 of a-z, 0-9 and -".to_owned());
        }
        if self.region == here {
            return Err("`region` is our own: replication goes to another region".to_owned());
        }
        let at = |key, text| address(key, text);
        let (peer, own) = (at("endpoint", &self.endpoint)?, at("own_endpoint", &self.own_endpoint)?);
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if !(3..=128).contains(&self.access_key.len()) || !self.access_key.bytes().all(plain) {
            let what = "of a credential of the peer's whose scope is `replication`";
            return Err(format!("`access_key` is required: {what}"));
        }
        let secret = SecretRef::checked("secret_key", &self.secret_key_file, &self.secret_key_env)?;
        let secret = secret.ok_or("`secret_key_file` or `secret_key_env` is required")?;
        secret.read().map_err(|why| format!("`secret_key{}`: {why}", secret.suffix()))?;
        self.bounded()?;
        let unused = (peer.scheme() == "http").then_some("needs an https `endpoint`");
        let tls = TlsFiles::checked(&self.ca_file, "", "", unused)?;
        tls.verify()?;
        let (here, target) = (here.to_owned(), target.to_owned());
        Ok(ReplicationConfig { options: self, endpoint: peer, own_endpoint: own, secret, tls, here, target })
    }
}

/// An address that is nothing but scheme, host and port.
fn address(key: &str, text: &str) -> Result<Url, String> {
    let url = endpoint(key, text, &["http", "https"], "https://s3.example.com:9000")?;
    match url.path() == "/" && url.query().is_none() {
        true => Ok(url),
        false => Err(format!("`{key}` must be scheme, host and port alone")),
    }
}

#[async_trait]
impl ConnectorConfig for ReplicationConfig {
    /// Reads the secret. Whether the peer takes it only an object can tell.
    async fn connect(&self) -> Result<Box<dyn Connector>, Fault> {
        Ok(Box::new(ReplicationConnector::new(self.sender().await?, self.options.max_in_flight)))
    }

    async fn check(&self) -> Vec<Finding> {
        let asked = match self.sender().await {
            Ok(sender) => sender.ask().await,
            Err(fault) => Err(fault),
        };
        let mut found = vec![match asked {
            Ok(Asked::LetIn) => Finding::ok(format!("{} answers, and takes the credential", self.endpoint)),
            Ok(Asked::Refused) => Finding::warning(format!(
                "{} knows the credential, whose scope must be `replication`; if it is, then only in some \
                 buckets, and whether that holds for those of the rules only objects can tell",
                self.endpoint
            )),
            Err(fault) => Finding::error(fault.message),
        }];
        let near = self.endpoint.host_str().is_some_and(tidings_common::is_loopback);
        if self.endpoint.scheme() == "http" && !near {
            let what = "objects and the URLs that read them travel unencrypted: use https";
            found.push(Finding::warning(format!("to {} {what}", self.endpoint)));
        }
        found
    }

    fn kind(&self) -> &'static str {
        "replication"
    }

    fn destination(&self) -> Option<&Template> {
        None
    }

    fn region(&self) -> Option<&str> {
        Some(&self.options.region)
    }

    fn fingerprint(&self) -> String {
        format!("{} {} {:?}", self.target, self.here, self.options)
    }

    fn files(&self) -> Vec<PathBuf> {
        self.tls.paths([&self.secret])
    }
}

impl ReplicationConfig {
    async fn sender(&self) -> Result<Sender, Fault> {
        let config = self.clone();
        blocking("making a client for a peer", move || Sender::new(&config)).await
    }
}

impl fmt::Debug for ReplicationConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplicationConfig").field("endpoint", &self.endpoint.as_str()).finish_non_exhaustive()
    }
}
