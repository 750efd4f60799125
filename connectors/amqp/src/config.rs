//! What `[target.NAME.connector.amqp]` may say, as typed and as checked.
//!
//! Must never hold a value that was not checked here, nor a secret: only where it is read from.

use std::time::Duration;

use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use tidings_common::{TlsFiles, endpoint, options};
use tidings_connector::{Place, SecretRef, Span, Template};

options! {
    /// The keys of `[target.NAME.connector.amqp]` as they were typed.
    pub struct AmqpOptions {
        /// The broker and its virtual host: `amqp://HOST:PORT/VHOST` or `amqps://…`, without secrets.
        /// Required.
        url: String,
        /// Who we are, 1 to 255 bytes.
        username: String = "guest".to_owned(),
        /// The variable that holds the password. Without it and `password_file` it is `guest`.
        password_env: String,
        /// The file that holds the password; read for each connection.
        password_file: String,
        /// The exchange, at most 255 bytes; the empty name is the default exchange, whose routing keys are
        /// names of queues.
        exchange: String,
        /// The routing key; `{bucket}` and `{kind}` are replaced. Required with the default exchange.
        routing_key: String,
        /// The certificates to trust instead of the system's, PEM; only with `amqps`.
        ca_file: String,
        /// Our certificate and its chain, PEM; only with `amqps` and `key_file`.
        cert_file: String,
        /// The key of our certificate, PEM.
        key_file: String,
        /// Messages published and not confirmed yet, 1 to 65,536.
        max_in_flight: usize = 2_048 => "1" to "65536",
        /// How long reaching the broker may take, 100 ms to 60 s.
        connect_timeout: Span = Span(Duration::from_secs(5)) => "100ms" to "60s",
        /// How long a confirmation may take, 1 s to 15 min.
        confirm_timeout: Span = Span(Duration::from_secs(30)) => "1s" to "15m",
    }
}

/// A checked target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AmqpConfig {
    pub(crate) options: AmqpOptions,
    /// The broker, its virtual host and who we are; the password is `guest`, as on every broker that nobody
    /// configured.
    pub(crate) uri: AMQPUri,
    /// Where another password is.
    pub(crate) password: Option<SecretRef>,
    pub(crate) routing_key: Template,
    pub(crate) tls: TlsFiles,
}

/// The longest short string of the protocol, in bytes.
const SHORT: usize = 255;

/// Seconds between heartbeats; a broker that says nothing for twice as long is gone.
const HEARTBEAT: u16 = 10;

impl AmqpOptions {
    /// Checks everything that can be known without asking the broker. `Err` is a sentence that begins with
    /// the key.
    pub fn checked(self, _target: &str) -> Result<AmqpConfig, String> {
        let uri = uri(&self.url, &self.username)?;
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
        let routing_key = Template::parse(&self.routing_key, Place::AmqpRoutingKey);
        let routing_key = routing_key.map_err(|e| format!("`routing_key`: {e}"))?;
        let plain = uri.scheme == AMQPScheme::AMQP;
        let unused = plain.then_some("is used only with amqps://: change `url`, or leave it out");
        let tls = TlsFiles::checked(&self.ca_file, &self.cert_file, &self.key_file, unused)?;
        self.bounded()?;
        Ok(AmqpConfig { uri, password, routing_key, tls, options: self })
    }
}

/// Reads a URL, which carries neither user nor password.
fn uri(text: &str, username: &str) -> Result<AMQPUri, String> {
    let url = endpoint("url", text, &["amqp", "amqps"], "amqp://127.0.0.1:5672/%2f")?;
    if url.query().is_some() {
        return Err("`url` must not carry options (`?`)".to_owned());
    }
    let path = text.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map(|(_, path)| path);
    let vhost = path.map_or(Some("/".to_owned()), vhost).ok_or(
        "`url` must end with a virtual host of 1 to 255 bytes of UTF-8 without control characters: write a \
         `/` in its name as `%2f`, and the default one so too",
    )?;
    let scheme = if url.scheme() == "amqps" { AMQPScheme::AMQPS } else { AMQPScheme::AMQP };
    let userinfo = AMQPUserInfo { username: username.to_owned(), ..AMQPUserInfo::default() };
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = url.port().unwrap_or_else(|| scheme.default_port());
    let query = AMQPQueryString { heartbeat: Some(HEARTBEAT), ..AMQPQueryString::default() };
    Ok(AMQPUri { scheme, authority: AMQPAuthority { userinfo, host, port }, vhost, query })
}

/// The virtual host as the URL's path writes it.
fn vhost(path: &str) -> Option<String> {
    let mut parts = path.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (hex, rest) = part.split_at_checked(2)?;
        let hex = hex.bytes().all(|digit| digit.is_ascii_hexdigit()).then_some(hex)?;
        bytes.push(u8::from_str_radix(hex, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    let legal = |vhost: &String| !path.contains('/') && !vhost.chars().any(char::is_control);
    String::from_utf8(bytes).ok().filter(|vhost| (1..=SHORT).contains(&vhost.len()) && legal(vhost))
}

impl AmqpConfig {
    /// The broker for people: host, port and virtual host.
    pub(crate) fn broker(&self) -> String {
        let AMQPUri { authority: AMQPAuthority { host, port, .. }, vhost, .. } = &self.uri;
        format!("{host}:{port}, virtual host `{vhost}`")
    }

    /// Why a message came back, for people.
    pub(crate) fn no_route(&self) -> String {
        let key = self.routing_key.source();
        match &*self.options.exchange {
            "" => format!("no queue has the name that the routing key `{key}` gives: declare it"),
            name => format!("no queue is bound to exchange `{name}` for the routing key `{key}`: bind one"),
        }
    }
}

#[cfg(test)]
mod tests {
    use tidings_connector::Scope;

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
        assert_eq!((&*config.uri.vhost, config.routing_key.scope()), ("/", Scope::Target));
        let fanout = AmqpOptions { exchange: "objects".into(), routing_key: String::new(), ..options() };
        assert!(fanout.checked("t").is_ok());
        let template =
            AmqpOptions { routing_key: "{bucket}".into(), ..options() }.checked("t").expect("valid");
        assert_eq!(template.routing_key.scope(), Scope::Destination);
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

    #[test]
    fn addresses() {
        for (url, host, port, vhost) in [
            ("amqp://127.0.0.1", "127.0.0.1", 5_672, "/"),
            ("amqp://127.0.0.1:46721/%2f", "127.0.0.1", 46_721, "/"),
            ("amqps://mq.example.com/events", "mq.example.com", 5_671, "events"),
            ("amqp://[::1]:1/a%20%c3%a9", "::1", 1, "a é"),
            ("amqp://[::1]", "::1", 5_672, "/"),
        ] {
            let read = uri(url, "u").expect(url);
            assert_eq!((&*read.authority.host, read.authority.port, &*read.vhost), (host, port, vhost));
            assert_eq!(read.scheme == AMQPScheme::AMQPS, url.starts_with("amqps"), "{url}");
        }
    }

    #[test]
    fn bad_urls_are_refused_and_not_quoted() {
        for bad in [
            "",
            "127.0.0.1:5672",
            "http://127.0.0.1",
            "amqp://guest:planted@127.0.0.1/",
            "amqp://planted@h",
            "amqp://h/v?password=planted",
            "amqp://h/v#planted",
            "amqp://h/",
            "amqp://h/a/b",
            "amqp://h/%zz",
            "amqp://h/%f",
            "amqp://h/%+f",
            "amqp://h/%ff",
            "amqp://h/%00",
            "amqp://",
            "amqp://h:0",
            "amqp://h:x",
            "amqp://h:70000",
            "amqp://[::zz]",
            "amqp://a b",
        ] {
            let said = uri(bad, "u").expect_err(bad);
            assert!(said.starts_with("`url`") && !said.contains("planted"), "{bad}: {said}");
        }
        assert!(uri(&format!("amqp://h/{}", "v".repeat(256)), "u").is_err());
    }
}
