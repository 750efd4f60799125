//! What `[target.NAME.connector.amqp]` may say, as typed and as checked.
//!
//! Must never hold a value that was not checked here, nor a secret: only where it is read from.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use tidings_connector::{Place, Scope, SecretRef, Span, Template};

use crate::url::Address;

/// The keys of `[target.NAME.connector.amqp]` as they were typed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AmqpOptions {
    /// The broker and its virtual host: `amqp://HOST:PORT/VHOST` or `amqps://…`, without secrets. Required.
    pub url: String,
    /// Who we are, 1 to 255 bytes.
    pub username: String,
    /// The variable that holds the password. Without it and `password_file` it is `guest`.
    pub password_env: String,
    /// The file that holds the password; read for each connection.
    pub password_file: String,
    /// The exchange, at most 255 bytes; the empty name is the default exchange, whose routing keys are names
    /// of queues.
    pub exchange: String,
    /// The routing key; `{bucket}` and `{kind}` are replaced. Required with the default exchange.
    pub routing_key: String,
    /// The certificates to trust instead of the system's, PEM; only with `amqps`.
    pub ca_file: String,
    /// Our certificate and its chain, PEM; only with `amqps` and `key_file`.
    pub cert_file: String,
    /// The key of our certificate, PEM.
    pub key_file: String,
    /// Messages published and not confirmed yet, 1 to 65,536.
    pub max_in_flight: usize,
    /// How long reaching the broker may take, 100 ms to 60 s.
    pub connect_timeout: Span,
    /// How long a confirmation may take, 1 s to 15 min.
    pub confirm_timeout: Span,
}

impl Default for AmqpOptions {
    fn default() -> Self {
        Self {
            url: String::new(),
            username: "guest".to_owned(),
            password_env: String::new(),
            password_file: String::new(),
            exchange: String::new(),
            routing_key: String::new(),
            ca_file: String::new(),
            cert_file: String::new(),
            key_file: String::new(),
            max_in_flight: 2_048,
            connect_timeout: Span(Duration::from_secs(5)),
            confirm_timeout: Span(Duration::from_secs(30)),
        }
    }
}

/// A checked target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AmqpConfig {
    pub(crate) address: Address,
    pub(crate) username: String,
    /// `None`: the password is `guest`, as on every broker that nobody configured.
    pub(crate) password: Option<SecretRef>,
    pub(crate) exchange: String,
    pub(crate) routing_key: Template,
    pub(crate) ca_file: Option<PathBuf>,
    /// Certificate chain and key.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
    pub(crate) max_in_flight: usize,
    pub(crate) connect_timeout: Duration,
    pub(crate) confirm_timeout: Duration,
}

/// The longest short string of the protocol, in bytes.
const SHORT: usize = 255;

impl AmqpOptions {
    /// Checks everything that can be known without asking the broker. `Err` is a sentence that begins with
    /// the key.
    pub fn checked(self, _target: &str) -> Result<AmqpConfig, String> {
        let address = Address::parse(&self.url)?;
        if !(1..=SHORT).contains(&self.username.len()) {
            return Err("`username` must be 1 to 255 bytes long".to_owned());
        }
        let password = SecretRef::checked("password", &self.password_file, &self.password_env)?;
        if password.is_none() && self.username != "guest" {
            return Err("`username` needs a password: add `password_file` or `password_env`".to_owned());
        }
        if self.exchange.len() > SHORT || self.exchange.chars().any(char::is_control) {
            return Err("`exchange` may be at most 255 bytes without control characters".to_owned());
        }
        if self.exchange.is_empty() && self.routing_key.is_empty() {
            return Err("`routing_key` is required without an `exchange`: it names the queue".to_owned());
        }
        let routing_key = Template::parse(&self.routing_key, Place::AmqpRoutingKey)
            .map_err(|e| format!("`routing_key`: {e}"))?;
        for (key, file) in [("ca_file", &self.ca_file), ("cert_file", &self.cert_file)] {
            if !file.is_empty() && !address.tls {
                return Err(format!("`{key}` is used only with amqps://: change `url`, or leave it out"));
            }
        }
        if self.cert_file.is_empty() != self.key_file.is_empty() {
            return Err("`key_file` and `cert_file` need each other: give both or none".to_owned());
        }
        if !(1..=65_536).contains(&self.max_in_flight) {
            return Err("`max_in_flight` must be 1 to 65536".to_owned());
        }
        if !(Duration::from_millis(100)..=Duration::from_secs(60)).contains(&self.connect_timeout.0) {
            return Err("`connect_timeout` must be 100ms to 60s".to_owned());
        }
        if !(Duration::from_secs(1)..=Duration::from_secs(900)).contains(&self.confirm_timeout.0) {
            return Err("`confirm_timeout` must be 1s to 15m".to_owned());
        }
        Ok(AmqpConfig {
            address,
            username: self.username,
            password,
            exchange: self.exchange,
            routing_key,
            ca_file: (!self.ca_file.is_empty()).then(|| self.ca_file.into()),
            identity: (!self.key_file.is_empty()).then(|| (self.cert_file.into(), self.key_file.into())),
            max_in_flight: self.max_in_flight,
            connect_timeout: self.connect_timeout.0,
            confirm_timeout: self.confirm_timeout.0,
        })
    }
}

impl AmqpConfig {
    /// The broker for people: host, port and virtual host.
    pub(crate) fn broker(&self) -> String {
        let Address { host, port, vhost, .. } = &self.address;
        format!("{host}:{port}, virtual host `{vhost}`")
    }

    /// Why a message came back, for people.
    pub(crate) fn no_route(&self) -> String {
        let key = self.routing_key.source();
        match &*self.exchange {
            "" => format!("no queue has the name that the routing key `{key}` gives: declare it"),
            name => format!("no queue is bound to exchange `{name}` for the routing key `{key}`: bind one"),
        }
    }

    /// What one missing route affects: the target, or one destination of a template.
    pub(crate) fn scope(&self) -> Scope {
        if self.routing_key.is_fixed() { Scope::Target } else { Scope::Destination }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> AmqpOptions {
        AmqpOptions {
            url: "amqp://127.0.0.1:5672/%2f".to_owned(),
            routing_key: "object-events".to_owned(),
            ..AmqpOptions::default()
        }
    }

    #[test]
    fn the_smallest_useful_options_are_accepted() {
        let config = options().checked("t").expect("valid");
        assert_eq!((&*config.address.vhost, &*config.exchange, config.scope()), ("/", "", Scope::Target));
        let fanout = AmqpOptions { exchange: "objects".into(), routing_key: String::new(), ..options() };
        assert!(fanout.checked("t").is_ok());
        let template =
            AmqpOptions { routing_key: "{bucket}".into(), ..options() }.checked("t").expect("valid");
        assert_eq!(template.scope(), Scope::Destination);
    }

    #[test]
    fn bad_values_are_refused_by_name() {
        type Change = fn(&mut AmqpOptions);
        let cases: [(&str, Change); 18] = [
            ("`url`", |o| o.url.clear()),
            ("`url`", |o| o.url = "amqp://guest:secret@127.0.0.1/%2f".into()),
            ("`username`", |o| o.username.clear()),
            ("`username`", |o| o.username = "somebody".into()),
            ("`password_env`", |o| o.password_env = "TIDINGS_NO_SUCH_VARIABLE".into()),
            ("`password_env` and", |o| (o.password_env, o.password_file) = ("PATH".into(), "x".into())),
            ("`password_file`", |o| o.password_file = "/nowhere/at/all".into()),
            ("`exchange`", |o| o.exchange = "x".repeat(256)),
            ("`exchange`", |o| o.exchange = "a\n".into()),
            ("`routing_key` is required", |o| o.routing_key.clear()),
            ("`routing_key`", |o| o.routing_key = "a.#".into()),
            ("`routing_key`", |o| o.routing_key = "{key}".into()),
            ("`ca_file`", |o| o.ca_file = "ca.pem".into()),
            ("`cert_file`", |o| o.cert_file = "cert.pem".into()),
            ("`key_file`", |o| o.key_file = "key.pem".into()),
            ("`max_in_flight`", |o| o.max_in_flight = 0),
            ("`connect_timeout`", |o| o.connect_timeout = Span(Duration::ZERO)),
            ("`confirm_timeout`", |o| o.confirm_timeout = Span(Duration::from_secs(1_000))),
        ];
        for (begins, change) in cases {
            let mut options = options();
            change(&mut options);
            let said = options.checked("t").expect_err(begins);
            assert!(said.starts_with(begins) && !said.contains("secret"), "{begins}: {said}");
        }
    }
}
