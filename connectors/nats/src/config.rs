//! What `[target.NAME.connector.nats]` may say, as typed and as checked.
//!
//! Must never hold a value that was not checked here, nor a secret: only where each is.

use std::time::Duration;

use tidings_common::options::template;
use tidings_common::{TlsFiles, endpoint, options};
use tidings_connector::{Place, SecretRef, Size, Span, Template};

options! {
    /// The keys of `[target.NAME.connector.nats]` as they were typed; an empty text is a key that was left
    /// out.
    pub struct NatsOptions {
        /// The servers, each `nats://host:port` or `tls://host:port`, tried in this order. Required.
        servers: Vec<String>,
        /// The JetStream stream that must take the events. Required, unless `allow_at_most_once` is true.
        stream: String,
        /// The subject; `{bucket}` and `{kind}` are replaced, each by one token. Required.
        subject: String,
        /// Sends without a stream: an event is lost where nobody listens.
        allow_at_most_once: bool,
        /// A user, whose password is in `password_file` or `password_env`.
        username: String,
        /// The file with the password.
        password_file: String,
        /// The environment variable with the password.
        password_env: String,
        /// The file with a token.
        token_file: String,
        /// The environment variable with a token.
        token_env: String,
        /// The file with the seed of a user's nkey.
        nkey_file: String,
        /// The environment variable with the same.
        nkey_env: String,
        /// A credentials file: a user's JWT and seed, as `nsc` writes it.
        credentials_file: String,
        /// The environment variable with the text of such a file.
        credentials_env: String,
        /// The certificates that sign the servers', instead of the system's; PEM.
        ca_file: String,
        /// The certificate to show to the servers; PEM.
        cert_file: String,
        /// Its key; PEM.
        key_file: String,
        /// Messages sent and not acknowledged yet, 1 to 65,536.
        /// A stream refuses publishes when 10,000 of all its publishers wait to be stored.
        max_in_flight: usize = 4_096 => "1" to "65536",
        /// Bytes of the same, 1 MiB to 1 GiB.
        max_bytes: Size = Size(64 << 20) => "1MiB" to "1GiB",
        /// How long reaching one server may take, 100 ms to 60 s.
        connect_timeout: Span = Span(Duration::from_secs(5)) => "100ms" to "60s",
        /// How long an acknowledgement may take before the connection is given up, 100 ms to 60 s.
        ack_timeout: Span = Span(Duration::from_secs(5)) => "100ms" to "60s",
        /// How long no stream may take a subject before that is a fault, at most 10 min: one that elects its
        /// leader takes nothing for a moment.
        leaderless_for: Span = Span(Duration::from_secs(60)) => "0s" to "10m",
    }
}

/// The most servers, so that trying all of them has a bound.
const MAX_SERVERS: usize = 8;

/// A checked target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsConfig {
    pub(crate) options: NatsOptions,
    pub(crate) target: String,
    /// `None`: core NATS, at most once.
    pub(crate) stream: Option<String>,
    pub(crate) subject: Template,
    /// `None`: we are nobody.
    pub(crate) identity: Option<(Proof, SecretRef)>,
    pub(crate) tls: TlsFiles,
}

/// How the servers learn who we are, with a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Proof {
    PasswordOf(String),
    Token,
    Nkey,
    Credentials,
}

impl NatsOptions {
    /// Checks everything that can be known without asking a server. `Err` is a sentence that begins with the
    /// key.
    pub fn checked(self, target: &str) -> Result<NatsConfig, String> {
        if !(1..=MAX_SERVERS).contains(&self.servers.len()) {
            return Err(format!(
                "`servers` is required: name 1 to {MAX_SERVERS}, such as [\"nats://127.0.0.1:4222\"]"
            ));
        }
        for server in &self.servers {
            let url = endpoint("servers", server, &["", "nats", "tls"], "nats://127.0.0.1:4222")?;
            if !url.path().is_empty() || url.query().is_some() {
                return Err("`servers`: nothing may follow host and port".to_owned());
            }
        }
        let stream = check_stream(&self.stream, self.allow_at_most_once)?;
        let hint = "name a subject, such as \"objects.{bucket}\"";
        let subject = template("subject", &self.subject, Place::NatsSubject, hint)?;
        self.bounded()?;
        let identity = self.identity()?;
        let tls = TlsFiles::checked(&self.ca_file, &self.cert_file, &self.key_file, None)?;
        Ok(NatsConfig { target: target.to_owned(), stream, subject, identity, tls, options: self })
    }

    fn identity(&self) -> Result<Option<(Proof, SecretRef)>, String> {
        let password = SecretRef::checked("password", &self.password_file, &self.password_env)?;
        match (self.username.is_empty(), &password) {
            (false, None) => Err("`username` needs `password_file` or `password_env` beside it".to_owned()),
            (true, Some(_)) => Err("`username` is missing beside the password".to_owned()),
            _ => Ok(()),
        }?;
        let given = [
            (Proof::PasswordOf(self.username.clone()), password),
            (Proof::Token, SecretRef::checked("token", &self.token_file, &self.token_env)?),
            (Proof::Nkey, SecretRef::checked("nkey", &self.nkey_file, &self.nkey_env)?),
            (
                Proof::Credentials,
                SecretRef::checked("credentials", &self.credentials_file, &self.credentials_env)?,
            ),
        ];
        let mut given = given.into_iter().filter_map(|(proof, secret)| Some((proof, secret?)));
        match (given.next(), given.next()) {
            (_, Some(_)) => Err("only one of user, token, nkey and credentials may be given".to_owned()),
            (identity, None) => Ok(identity),
        }
    }
}

fn check_stream(stream: &str, at_most_once: bool) -> Result<Option<String>, String> {
    let illegal = |c: &char| !c.is_ascii_graphic() || matches!(c, '.' | '*' | '>' | '/' | '\\');
    match (stream.is_empty(), at_most_once) {
        (true, true) => Ok(None),
        (true, false) => Err("`stream` is required: name the JetStream stream that takes the events; \
                              `allow_at_most_once = true` sends without one and loses what nobody hears"
            .to_owned()),
        (false, true) => {
            Err("`allow_at_most_once` and `stream` exclude each other: remove one of them".to_owned())
        }
        (false, false) => match stream.chars().find(illegal) {
            Some(bad) => Err(format!("`stream`: `{}` is not allowed in its name", bad.escape_debug())),
            None => Ok(Some(stream.to_owned())),
        },
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
