//! Whom a target trusts and how it proves who it is: TLS and SASL as the client library wants them.
//!
//! Must never keep a secret of its own, only where it is read from, and never repeat one in an error.

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, ClientContext};
use secrecy::ExposeSecret as _;
use tidings_common::options::first_given;
use tidings_common::{TlsFiles, choice};
use tidings_connector::{ErrorClass, Fault, SecretRef};

use crate::KafkaOptions;

/// How a token is shown to the library as valid: it asks for the next one after four fifths of it, so that a
/// file that somebody renews is read again long before the token in it ends.
const TOKEN_LIFE: Duration = Duration::from_secs(60);

choice! {
    /// How we prove who we are. The words are the protocol's names of the mechanisms, in small letters.
    pub enum Sasl {
        /// Not at all, or by a certificate.
        None = "none",
        /// Username and password as they are: only with TLS are they a secret.
        Plain = "plain",
        /// Username and password, salted.
        ScramSha256 = "scram-sha-256",
        /// The same, with the longer hash.
        ScramSha512 = "scram-sha-512",
        /// A token that somebody else renews in a file.
        OauthBearer = "oauthbearer",
    }
}

/// The checked part of the options that this file is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Security {
    tls: bool,
    files: TlsFiles,
    key_password: Option<SecretRef>,
    pub(crate) sasl: Sasl,
    username: String,
    /// The password, or the token.
    secret: Option<SecretRef>,
}

impl Security {
    /// `Err` is one sentence that begins with the key.
    pub(crate) fn checked(options: &KafkaOptions) -> Result<Self, String> {
        let KafkaOptions { tls, sasl, key_file, username, password_file, password_env, token_file, .. } =
            options;
        let unused = (!tls).then_some("is used only with TLS: add `tls = true`, or leave it out");
        let files = TlsFiles::checked(&options.ca_file, &options.cert_file, key_file, unused)?;
        let key_password =
            SecretRef::checked("key_password", &options.key_password_file, &options.key_password_env)?;
        if let (Some(password), true) = (&key_password, key_file.is_empty()) {
            return Err(format!("`key_password{}` needs `key_file` beside it", password.suffix()));
        }
        let password = SecretRef::checked("password", password_file, password_env)?;
        let token = SecretRef::checked("token", token_file, "")?;
        let secret = match (sasl, username.is_empty(), password, token) {
            (Sasl::None, true, None, None) => Ok(None),
            (Sasl::OauthBearer, true, None, Some(token)) => Ok(Some(token)),
            (Sasl::Plain | Sasl::ScramSha256 | Sasl::ScramSha512, false, Some(password), None) => {
                Ok(Some(password))
            }
            (Sasl::None, ..) => Err(first_given(&[
                ("username", username),
                ("password_file", password_file),
                ("password_env", password_env),
                ("token_file", token_file),
            ])),
            _ => Err(None),
        };
        let secret = secret.map_err(|unused| match (sasl, unused) {
            (Sasl::OauthBearer, _) => "`sasl` = \"oauthbearer\" needs `token_file`, and nothing else".into(),
            (_, Some(key)) => {
                format!(
                    "`{key}` is used only with `sasl`: say which, such as \"scram-sha-512\", or leave it out"
                )
            }
            _ => "`sasl` needs `username` and `password_file` or `password_env`, and nothing else".to_owned(),
        })?;
        Ok(Self { tls: *tls, files, key_password, sasl: *sasl, username: username.clone(), secret })
    }

    /// Every file that a connection reads.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.files.paths(self.key_password.iter().chain(&self.secret))
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
        if let Some(ca) = &self.files.ca {
            client.set("ssl.ca.location", ca.to_string_lossy());
        }
        if let Some((cert, key)) = &self.files.identity {
            client.set("ssl.certificate.location", cert.to_string_lossy());
            client.set("ssl.key.location", key.to_string_lossy());
        }
        if let Some(password) = &self.key_password {
            client.set("ssl.key.password", password.reveal(ErrorClass::Tls)?.expose_secret());
        }
        if let Some(secret) = &self.secret {
            let secret = secret.reveal(ErrorClass::Auth)?;
            client.set("sasl.mechanism", self.sasl.name().to_uppercase());
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
