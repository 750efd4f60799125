//! What `[target.NAME.connector.kafka]` may say, as typed and as checked.
//!
//! Must never hold a value that was not checked here; unknown keys are the loader's to find.

use std::time::Duration;

use rdkafka::ClientConfig;
use serde::Deserialize;
use tidings_connector::{Fault, Place, Size, Span, Template};

use crate::security::{Sasl, Security};

/// The keys of `[target.NAME.connector.kafka]` as they were typed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct KafkaOptions {
    /// The brokers to ask first, each `host:port`. Required.
    pub brokers: Vec<String>,
    /// The topic; `{bucket}` and `{kind}` are replaced. Required.
    pub topic: String,
    /// Whether the brokers are reached with TLS; their certificate must be trusted and name their host.
    pub tls: bool,
    /// The certificates to trust instead of the system's, PEM; only with `tls`.
    pub ca_file: String,
    /// Our certificate and its chain, PEM; only with `tls` and `key_file`.
    pub cert_file: String,
    /// The key of our certificate, PEM.
    pub key_file: String,
    /// The variable that holds the password of `key_file`, if it has one.
    pub key_password_env: String,
    /// The file that holds it.
    pub key_password_file: String,
    /// How we prove who we are.
    pub sasl: Sasl,
    /// Who we are; only with `sasl`.
    pub username: String,
    /// The variable that holds the password.
    pub password_env: String,
    /// The file that holds the password; read for each connection.
    pub password_file: String,
    /// The file that holds the token of `oauthbearer`; read again at least every minute.
    pub token_file: String,
    /// How batches are compressed.
    pub compression: Compression,
    /// How long a message may wait for others of its batch, at most 1 s.
    pub linger: Span,
    /// Messages handed to the brokers and not acknowledged yet, 1 to 65,536.
    pub max_in_flight: usize,
    /// Bytes of the same, 1 MiB to 1 GiB.
    pub max_bytes: Size,
    /// How long reaching a broker may take, 100 ms to 60 s.
    pub connect_timeout: Span,
}

/// How batches are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    None,
    /// LZ4: cheap.
    Lz4,
    /// Zstandard: smaller.
    Zstd,
}

impl Default for KafkaOptions {
    fn default() -> Self {
        Self {
            brokers: Vec::new(),
            topic: String::new(),
            tls: false,
            ca_file: String::new(),
            cert_file: String::new(),
            key_file: String::new(),
            key_password_env: String::new(),
            key_password_file: String::new(),
            sasl: Sasl::None,
            username: String::new(),
            password_env: String::new(),
            password_file: String::new(),
            token_file: String::new(),
            compression: Compression::Lz4,
            linger: Span(Duration::from_millis(1)),
            max_in_flight: MAX_IN_FLIGHT,
            max_bytes: Size(64 << 20),
            connect_timeout: Span(Duration::from_secs(5)),
        }
    }
}

/// The most messages that may be outstanding: as many as a lane holds.
const MAX_IN_FLIGHT: usize = 65_536;

/// The largest message that is sent: key, payload and headers. Brokers take 1,048,588 bytes a batch by
/// default.
pub(crate) const MAX_MESSAGE_BYTES: usize = 1_000_000;

/// How long a topic that no broker knows may be an answer that has not spread yet. The lane keeps probing
/// after it.
const UNKNOWN_TOPIC_PATIENCE: Duration = Duration::from_secs(2);

/// The longest pause between two attempts to reach a broker again.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// A checked Kafka target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaConfig {
    pub(crate) brokers: String,
    pub(crate) topic: Template,
    pub(crate) security: Security,
    pub(crate) compression: Compression,
    pub(crate) linger: Duration,
    pub(crate) max_in_flight: usize,
    pub(crate) max_bytes: usize,
    pub(crate) connect_timeout: Duration,
}

impl KafkaOptions {
    /// Checks everything that can be known without a broker. `Err` is one sentence that begins with the key.
    pub fn checked(self, _target: &str) -> Result<KafkaConfig, String> {
        if self.brokers.is_empty() {
            return Err("`brokers` is required: name at least one, such as [\"127.0.0.1:9092\"]".to_owned());
        }
        for broker in &self.brokers {
            check_broker(broker)?;
        }
        if self.topic.is_empty() {
            return Err("`topic` is required: name a topic, such as \"object-events\"".to_owned());
        }
        let topic = Template::parse(&self.topic, Place::KafkaTopic).map_err(|e| format!("`topic`: {e}"))?;
        let security = Security::checked(&self)?;
        if self.linger.0 > Duration::from_secs(1) {
            return Err("`linger` may be at most 1s".to_owned());
        }
        if !(1..=MAX_IN_FLIGHT).contains(&self.max_in_flight) {
            return Err(format!("`max_in_flight` must be 1 to {MAX_IN_FLIGHT}"));
        }
        if !((1 << 20)..=(1 << 30)).contains(&self.max_bytes.0) {
            return Err("`max_bytes` must be 1MiB to 1GiB".to_owned());
        }
        if !(Duration::from_millis(100)..=Duration::from_secs(60)).contains(&self.connect_timeout.0) {
            return Err("`connect_timeout` must be 100ms to 60s".to_owned());
        }
        Ok(KafkaConfig {
            brokers: self.brokers.join(","),
            topic,
            security,
            compression: self.compression,
            linger: self.linger.0,
            max_in_flight: self.max_in_flight,
            max_bytes: self.max_bytes.0 as usize,
            connect_timeout: self.connect_timeout.0,
        })
    }
}

/// Brokers become one comma-separated setting of the client library: nothing else may hide in them.
fn check_broker(broker: &str) -> Result<(), String> {
    let (host, port) = broker.rsplit_once(':').unwrap_or((broker, ""));
    let host_ok = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
        }
    };
    let port_ok = port.parse::<u16>().is_ok_and(|port| port != 0);
    if host_ok && port_ok {
        return Ok(());
    }
    Err(format!("`brokers`: `{}` is not host:port, such as \"127.0.0.1:9092\"", broker.escape_debug()))
}

impl KafkaConfig {
    /// The settings of any client: where the brokers are and who we are, with the secrets as they are now.
    pub(crate) fn network(&self) -> Result<ClientConfig, Fault> {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.brokers).set("client.id", "tidings");
        self.security.apply(&mut client)?;
        Ok(client)
    }

    /// The producer's settings.
    ///
    /// Nothing times out inside the library (`message.timeout.ms=0`): deadlines are the lane's, and a message
    /// that the library gave up may have been written all the same. The local queue holds twice the window,
    /// since a settled message stays counted until the library's own batch of reports is done.
    ///
    /// # Errors
    /// A secret cannot be read.
    pub fn client(&self) -> Result<ClientConfig, Fault> {
        let compression = match self.compression {
            Compression::None => "none",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        };
        let mut client = self.network()?;
        let mut set = |key: &str, value: &str| {
            client.set(key, value);
        };
        set("acks", "all");
        set("enable.idempotence", "true");
        set("message.timeout.ms", "0");
        set("partitioner", "murmur2_random");
        set("compression.type", compression);
        set("message.max.bytes", &MAX_MESSAGE_BYTES.to_string());
        set("queue.buffering.max.messages", &(2 * self.max_in_flight).to_string());
        let kib = 2 * (self.max_bytes + MAX_MESSAGE_BYTES).div_ceil(1024);
        set("queue.buffering.max.kbytes", &kib.to_string());
        set("allow.auto.create.topics", "false");
        set("topic.metadata.propagation.max.ms", &UNKNOWN_TOPIC_PATIENCE.as_millis().to_string());
        set("reconnect.backoff.max.ms", &RECONNECT_PAUSE.as_millis().to_string());
        let dial = self.connect_timeout.max(Duration::from_secs(1));
        set("socket.connection.setup.timeout.ms", &dial.as_millis().to_string());
        set("socket.keepalive.enable", "true");
        set("linger.ms", &self.linger.as_millis().to_string());
        Ok(client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> KafkaOptions {
        KafkaOptions {
            brokers: vec!["127.0.0.1:9092".to_owned()],
            topic: "object-events".to_owned(),
            ..KafkaOptions::default()
        }
    }

    #[test]
    fn the_smallest_useful_options_are_accepted() {
        let config = options().checked("t").expect("valid");
        assert!(config.topic.is_fixed());
        let client = config.client().expect("no secret to read");
        for (key, value) in [
            ("acks", "all"),
            ("enable.idempotence", "true"),
            ("message.timeout.ms", "0"),
            ("allow.auto.create.topics", "false"),
            ("partitioner", "murmur2_random"),
            ("compression.type", "lz4"),
        ] {
            assert_eq!(client.get(key), Some(value), "{key}");
        }
        client.create_native_config().expect("the library knows every key");
    }

    #[test]
    fn bad_values_are_refused_by_name() {
        type Change = fn(&mut KafkaOptions);
        let cases: [(&str, Change); 11] = [
            ("`brokers` is required", |o| o.brokers.clear()),
            ("`brokers`:", |o| o.brokers = vec!["127.0.0.1".to_owned()]),
            ("`brokers`:", |o| o.brokers = vec!["a:9092,b:9092".to_owned()]),
            ("`brokers`:", |o| o.brokers = vec!["[::zz]:9092".to_owned()]),
            ("`topic` is required", |o| o.topic.clear()),
            ("`topic`:", |o| o.topic = "a b".to_owned()),
            ("`ca_file` is used only with TLS", |o| o.ca_file = "ca.pem".to_owned()),
            ("`linger`", |o| o.linger = Span(Duration::from_secs(2))),
            ("`max_in_flight`", |o| o.max_in_flight = 0),
            ("`max_bytes`", |o| o.max_bytes = Size(1)),
            ("`connect_timeout`", |o| o.connect_timeout = Span(Duration::ZERO)),
        ];
        for (begins, change) in cases {
            let mut options = options();
            change(&mut options);
            let said = options.checked("t").expect_err(begins);
            assert!(said.starts_with(begins), "{said}");
        }
        let v6 = KafkaOptions { brokers: vec!["[::1]:9092".to_owned()], ..options() };
        assert!(v6.checked("t").is_ok());
    }
}
