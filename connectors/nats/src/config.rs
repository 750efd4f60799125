//! What `[target.NAME.connector.nats]` may say, as typed and as checked.
//!
//! Must never hold a value that was not checked here, nor a secret: only where each is.

use std::path::PathBuf;
use std::time::Duration;

use async_nats::ServerAddr;
use serde::Deserialize;
use tidings_connector::{Place, SecretRef, Size, Span, Template};

/// The keys of `[target.NAME.connector.nats]` as they were typed; an empty text is a key that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NatsOptions {
    /// The servers, each `nats://host:port` or `tls://host:port`, tried in this order. Required.
    pub servers: Vec<String>,
    /// The JetStream stream that must take the events. Required, unless `allow_at_most_once` is true.
    pub stream: String,
    /// The subject; `{bucket}` and `{kind}` are replaced, each by one token. Required.
    pub subject: String,
    /// Sends without a stream: an event is lost where nobody listens.
    pub allow_at_most_once: bool,
    /// A user, whose password is in `password_file` or `password_env`.
    pub username: String,
    /// The file with the password.
    pub password_file: String,
    /// The environment variable with the password.
    pub password_env: String,
    /// The file with a token.
    pub token_file: String,
    /// The environment variable with a token.
    pub token_env: String,
    /// The file with the seed of a user's nkey.
    pub nkey_file: String,
    /// The environment variable with the same.
    pub nkey_env: String,
    /// A credentials file: a user's JWT and seed, as `nsc` writes it.
    pub credentials_file: String,
    /// The environment variable with the text of such a file.
    pub credentials_env: String,
    /// The certificates that sign the servers', instead of the system's; PEM.
    pub ca_file: String,
    /// The certificate to show to the servers; PEM.
    pub cert_file: String,
    /// Its key; PEM.
    pub key_file: String,
    /// Messages sent and not acknowledged yet, 1 to 65,536.
    pub max_in_flight: usize,
    /// Bytes of the same, 1 MiB to 1 GiB.
    pub max_bytes: Size,
    /// How long reaching one server may take, 100 ms to 60 s.
    pub connect_timeout: Span,
    /// How long an acknowledgement may take before the connection is given up, 100 ms to 60 s.
    pub ack_timeout: Span,
    /// How long a subject may be without a stream that takes it before that is a fault, at most 10 min: the
    /// stream may be without a leader for a moment.
    pub leaderless_for: Span,
}

impl Default for NatsOptions {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            stream: String::new(),
            subject: String::new(),
            allow_at_most_once: false,
            username: String::new(),
            password_file: String::new(),
            password_env: String::new(),
            token_file: String::new(),
            token_env: String::new(),
            nkey_file: String::new(),
            nkey_env: String::new(),
            credentials_file: String::new(),
            credentials_env: String::new(),
            ca_file: String::new(),
            cert_file: String::new(),
            key_file: String::new(),
            // A stream refuses publishes when 10,000 of all its publishers wait to be stored.
            max_in_flight: 4_096,
            max_bytes: Size(64 << 20),
            connect_timeout: Span(Duration::from_secs(5)),
            ack_timeout: Span(Duration::from_secs(5)),
            leaderless_for: Span(Duration::from_secs(60)),
        }
    }
}

/// The most messages that may be outstanding: as many as a lane holds.
const MAX_IN_FLIGHT: usize = 65_536;
/// The most servers, so that trying all of them has a bound.
const MAX_SERVERS: usize = 8;

/// The longest time for which a missing stream may be taken for one without a leader.
const MAX_LEADERLESS: Duration = Duration::from_secs(600);

/// A checked target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsConfig {
    pub(crate) target: String,
    pub(crate) servers: Vec<String>,
    /// `None`: core NATS, at most once.
    pub(crate) stream: Option<String>,
    pub(crate) subject: Template,
    pub(crate) identity: Identity,
    pub(crate) tls: Tls,
    pub(crate) max_in_flight: usize,
    pub(crate) max_bytes: usize,
    pub(crate) connect_timeout: Duration,
    pub(crate) ack_timeout: Duration,
    pub(crate) leaderless_for: Duration,
}

/// As whom the servers know us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Identity {
    Nobody,
    User { name: String, password: SecretRef },
    Token(SecretRef),
    Nkey(SecretRef),
    Credentials(SecretRef),
}

/// Files for TLS, read at every connect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tls {
    pub(crate) ca: Option<PathBuf>,
    /// Certificate and key.
    pub(crate) client: Option<(PathBuf, PathBuf)>,
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
        self.servers.iter().try_for_each(|server| check_server(server))?;
        let stream = check_stream(&self.stream, self.allow_at_most_once)?;
        if self.subject.is_empty() {
            return Err("`subject` is required: name a subject, such as \"objects.{bucket}\"".to_owned());
        }
        let subject =
            Template::parse(&self.subject, Place::NatsSubject).map_err(|e| format!("`subject`: {e}"))?;
        if !(1..=MAX_IN_FLIGHT).contains(&self.max_in_flight) {
            return Err(format!("`max_in_flight` must be 1 to {MAX_IN_FLIGHT}"));
        }
        if !((1 << 20)..=(1 << 30)).contains(&self.max_bytes.0) {
            return Err("`max_bytes` must be 1MiB to 1GiB".to_owned());
        }
        for (key, span) in [("connect_timeout", self.connect_timeout), ("ack_timeout", self.ack_timeout)] {
            if !(Duration::from_millis(100)..=Duration::from_secs(60)).contains(&span.0) {
                return Err(format!("`{key}` must be 100ms to 60s"));
            }
        }
        if self.leaderless_for.0 > MAX_LEADERLESS {
            return Err("`leaderless_for` must be at most 10m".to_owned());
        }
        Ok(NatsConfig {
            target: target.to_owned(),
            identity: self.identity()?,
            tls: self.tls()?,
            servers: self.servers,
            stream,
            subject,
            max_in_flight: self.max_in_flight,
            max_bytes: self.max_bytes.0 as usize,
            connect_timeout: self.connect_timeout.0,
            ack_timeout: self.ack_timeout.0,
            leaderless_for: self.leaderless_for.0,
        })
    }

    fn identity(&self) -> Result<Identity, String> {
        let password = SecretRef::checked("password", &self.password_file, &self.password_env)?;
        let user = match (self.username.is_empty(), password) {
            (false, Some(password)) => Some(Identity::User { name: self.username.clone(), password }),
            (false, None) => {
                return Err("`username` needs `password_file` or `password_env` beside it".to_owned());
            }
            (true, Some(_)) => return Err("`username` is missing beside the password".to_owned()),
            (true, None) => None,
        };
        let token = SecretRef::checked("token", &self.token_file, &self.token_env)?;
        let nkey = SecretRef::checked("nkey", &self.nkey_file, &self.nkey_env)?;
        let credentials = SecretRef::checked("credentials", &self.credentials_file, &self.credentials_env)?;
        let mut given = user
            .into_iter()
            .chain(token.map(Identity::Token))
            .chain(nkey.map(Identity::Nkey))
            .chain(credentials.map(Identity::Credentials));
        let identity = given.next().unwrap_or(Identity::Nobody);
        if given.next().is_some() {
            return Err("only one of user, token, nkey and credentials may be given".to_owned());
        }
        Ok(identity)
    }

    fn tls(&self) -> Result<Tls, String> {
        let file = |key: &str, path: &str| match path {
            "" => Ok(None),
            path => match std::fs::File::open(path) {
                Ok(_) => Ok(Some(PathBuf::from(path))),
                Err(error) => Err(format!("`{key}`: {path} cannot be read: {error}")),
            },
        };
        let ca = file("ca_file", &self.ca_file)?;
        let certificate = file("cert_file", &self.cert_file)?;
        let client = match (certificate, file("key_file", &self.key_file)?) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => return Err("`cert_file` needs `key_file` beside it".to_owned()),
            (None, Some(_)) => return Err("`key_file` needs `cert_file` beside it".to_owned()),
        };
        Ok(Tls { ca, client })
    }
}

fn check_server(server: &str) -> Result<(), String> {
    // Whatever stands before an `@` may be a secret, and is not repeated.
    if server.contains('@') {
        return Err("`servers` must not carry a user or a token: use `username` or `token_file`".to_owned());
    }
    let rest = ["nats://", "tls://"].iter().find_map(|scheme| server.strip_prefix(scheme));
    let rest = rest.unwrap_or(server);
    let fits =
        !rest.is_empty() && !rest.contains(['/', '?', '#', ',']) && !rest.contains(char::is_whitespace);
    if fits && server.parse::<ServerAddr>().is_ok_and(|address| !address.host().is_empty()) {
        return Ok(());
    }
    Err(format!("`servers`: `{}` is not like \"nats://127.0.0.1:4222\"", server.escape_debug()))
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
