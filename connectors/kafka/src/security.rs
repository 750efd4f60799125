//! Whom a target trusts and how it proves who it is: TLS and SASL as the client library wants them.
//!
//! Must never keep a secret of its own, only where it is read from, and never repeat one in an error.

use std::error::Error;
use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, ClientContext};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use tidings_connector::{ErrorClass, Fault, SecretRef};

use crate::KafkaOptions;

/// How a token is shown to the library as valid: it asks for the next one after four fifths of it, so that a
/// file that somebody renews is read again long before the token in it ends.
const TOKEN_LIFE: Duration = Duration::from_secs(60);

/// How we prove who we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Sasl {
    /// Not at all, or by a certificate.
    #[serde(rename = "none")]
    None,
    /// Username and password as they are: only with TLS are they a secret.
    #[serde(rename = "plain")]
    Plain,
    /// Username and password, salted.
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
    /// The same, with the longer hash.
    #[serde(rename = "scram-sha-512")]
    ScramSha512,
    /// A token that somebody else renews in a file.
    #[serde(rename = "oauthbearer")]
    OauthBearer,
}

impl Sasl {
    fn mechanism(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Plain => Some("PLAIN"),
            Self::ScramSha256 => Some("SCRAM-SHA-256"),
            Self::ScramSha512 => Some("SCRAM-SHA-512"),
            Self::OauthBearer => Some("OAUTHBEARER"),
        }
    }
}

/// The checked part of the options that this file is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Security {
    tls: bool,
    /// What the library calls each, and its file.
    files: Vec<(&'static str, PathBuf)>,
    key_password: Option<SecretRef>,
    pub(crate) sasl: Sasl,
    username: String,
    /// The password, or the token.
    secret: Option<SecretRef>,
}

impl Security {
    /// `Err` is one sentence that begins with the key.
    pub(crate) fn checked(options: &KafkaOptions) -> Result<Self, String> {
        let KafkaOptions { tls, sasl, ca_file, cert_file, key_file, username, .. } = options;
        match (cert_file.is_empty(), key_file.is_empty()) {
            (false, true) => return Err("`cert_file` needs `key_file` beside it".to_owned()),
            (true, false) => return Err("`key_file` needs `cert_file` beside it".to_owned()),
            _ => {}
        }
        let mut files = Vec::new();
        for (key, setting, file) in [
            ("ca_file", "ssl.ca.location", ca_file),
            ("cert_file", "ssl.certificate.location", cert_file),
            ("key_file", "ssl.key.location", key_file),
        ] {
            match file.is_empty() {
                true => continue,
                false if !tls => {
                    return Err(format!("`{key}` is used only with TLS: add `tls = true`, or leave it out"));
                }
                false => File::open(file).map_err(|e| format!("`{key}`: {file} cannot be read: {e}"))?,
            };
            files.push((setting, PathBuf::from(file)));
        }
        let key_password =
            SecretRef::checked("key_password", &options.key_password_file, &options.key_password_env)?;
        if let (Some(password), true) = (&key_password, key_file.is_empty()) {
            return Err(format!("`key_password{}` needs `key_file` beside it", password.suffix()));
        }
        let password = SecretRef::checked("password", &options.password_file, &options.password_env)?;
        let token = SecretRef::checked("token", &options.token_file, "")?;
        let secret = match (sasl, username.is_empty(), password, token) {
            (Sasl::None, true, None, None) => None,
            (Sasl::None, false, ..) => return Err(unused("username")),
            (Sasl::None, _, Some(password), _) => {
                return Err(unused(&format!("password{}", password.suffix())));
            }
            (Sasl::None, ..) => return Err(unused("token_file")),
            (Sasl::OauthBearer, true, None, Some(token)) => Some(token),
            (Sasl::OauthBearer, ..) => {
                return Err("`sasl` = \"oauthbearer\" needs `token_file`, and nothing else".to_owned());
            }
            (_, false, Some(password), None) => Some(password),
            _ => {
                return Err(
                    "`sasl` needs `username` and `password_file` or `password_env`, and nothing else"
                        .to_owned(),
                );
            }
        };
        Ok(Self { tls: *tls, files, key_password, sasl: *sasl, username: username.clone(), secret })
    }

    /// Every file that a connection reads.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        let secrets = [&self.key_password, &self.secret].into_iter().flatten().filter_map(SecretRef::file);
        self.files.iter().map(|(_, file)| file.clone()).chain(secrets.map(Into::into)).collect()
    }

    /// True if whoever listens on the network learns the password or token.
    pub(crate) fn is_readable(&self) -> bool {
        !self.tls && matches!(self.sasl, Sasl::Plain | Sasl::OauthBearer)
    }

    /// Puts everything into the library's settings, with the secrets as they are now.
    pub(crate) fn apply(&self, client: &mut ClientConfig) -> Result<(), Fault> {
        let protocol = match (self.tls, self.sasl) {
            (false, Sasl::None) => "plaintext",
            (true, Sasl::None) => "ssl",
            (false, _) => "sasl_plaintext",
            (true, _) => "sasl_ssl",
        };
        client.set("security.protocol", protocol);
        if self.tls {
            // The library's own defaults, named because everything rests on them.
            client.set("enable.ssl.certificate.verification", "true");
            client.set("ssl.endpoint.identification.algorithm", "https");
        }
        for (setting, file) in &self.files {
            client.set(*setting, file.to_string_lossy());
        }
        let read = |secret: &SecretRef, class| secret.read().map_err(|why| Fault::faulted(class, why));
        if let Some(password) = &self.key_password {
            client.set("ssl.key.password", read(password, ErrorClass::Tls)?.expose_secret());
        }
        if let Some(mechanism) = self.sasl.mechanism() {
            client.set("sasl.mechanism", mechanism);
        }
        if let Some(secret) = &self.secret {
            let secret = read(secret, ErrorClass::Auth)?;
            if self.sasl != Sasl::OauthBearer {
                client.set("sasl.username", &self.username).set("sasl.password", secret.expose_secret());
            }
        }
        Ok(())
    }

    /// The library made no client of the settings. Its own words about a setting repeat the value, which may
    /// be a secret: they are not passed on.
    pub(crate) fn refused(&self, error: &KafkaError) -> Fault {
        let class = if self.tls { ErrorClass::Tls } else { ErrorClass::Unknown };
        let why = match error {
            KafkaError::ClientConfig(_, _, key, _) => format!("the value of {key}"),
            KafkaError::ClientCreation(why) => why.clone(),
            _ => "a value with a null character".to_owned(),
        };
        Fault::faulted(class, format!("Kafka settings were refused: {why}"))
    }

    /// What gives the library its tokens.
    pub(crate) fn tokens(&self) -> Tokens {
        Tokens(self.secret.clone().filter(|_| self.sasl == Sasl::OauthBearer))
    }
}

fn unused(key: &str) -> String {
    format!("`{key}` is used only with `sasl`: say which, such as \"scram-sha-512\", or leave it out")
}

/// Reads the token whenever the library asks for it.
#[derive(Clone)]
pub(crate) struct Tokens(Option<SecretRef>);

impl Tokens {
    /// The token as it is now.
    pub(crate) fn next(&self) -> Result<OAuthToken, Box<dyn Error>> {
        let token = self.0.as_ref().ok_or("no token is configured")?.read()?;
        #[expect(clippy::disallowed_methods, reason = "the library counts a token's life by the wall clock")]
        let ends = SystemTime::now().duration_since(UNIX_EPOCH)? + TOKEN_LIFE;
        Ok(OAuthToken {
            token: token.expose_secret().to_owned(),
            // The broker takes the name from the token itself.
            principal_name: String::new(),
            lifetime_ms: i64::try_from(ends.as_millis())?,
        })
    }
}

impl ClientContext for Tokens {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, _level: RDKafkaLogLevel, _facility: &str, _message: &str) {}

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.next()
    }
}

#[cfg(test)]
#[path = "security_tests.rs"]
mod tests;
