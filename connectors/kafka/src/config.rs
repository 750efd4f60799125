//! What `[target.NAME.connector.kafka]` may say, as typed and as checked.
//!
//! Must never hold a value that was not checked here; unknown keys are the loader's to find.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::AdminClient;
use rdkafka::config::FromClientConfigAndContext as _;
use tidings_common::options::template;
use tidings_common::{MAX_IN_FLIGHT, choice, endpoint, options};
use tidings_connector::{Fault, Place, Size, Span, Template};

use crate::security::{Sasl, Security, Tokens};

options! {
    /// The keys of `[target.NAME.connector.kafka]` as they were typed.
    pub struct KafkaOptions {
        /// The brokers to ask first, each `host:port`. Required.
        brokers: Vec<String>,
        /// The topic; `{bucket}` and `{kind}` are replaced. Required.
        topic: String,
        /// Whether the brokers are reached with TLS; their certificate must be trusted and name their host.
        tls: bool,
        /// The certificates to trust instead of the system's, PEM; only with `tls`.
        ca_file: String,
        /// Our certificate and its chain, PEM; only with `tls` and `key_file`.
        cert_file: String,
        /// The key of our certificate, PEM.
        key_file: String,
        /// The variable that holds the password of `key_file`, if it has one.
        key_password_env: String,
        /// The file that holds it.
        key_password_file: String,
        /// How we prove who we are.
        sasl: Sasl = Sasl::None,
        /// Who we are; only with `sasl`.
        username: String,
        /// The variable that holds the password.
        password_env: String,
        /// The file that holds the password; read for each connection.
        password_file: String,
        /// The file that holds the token of `oauthbearer`; read again at least every minute.
        token_file: String,
        /// How batches are compressed.
        compression: Compression = Compression::Lz4,
        /// How long a message may wait for others of its batch, at most 1 s.
        linger: Span = Span(Duration::from_millis(1)) => "0ms" to "1s",
        /// Messages handed to the brokers and not acknowledged yet, 1 to 65,536.
        max_in_flight: usize = MAX_IN_FLIGHT => "1" to "65536",
        /// Bytes of the same, 1 MiB to 1 GiB.
        max_bytes: Size = Size(64 << 20) => "1MiB" to "1GiB",
        /// How long reaching a broker may take, 100 ms to 60 s.
        connect_timeout: Span = Span(Duration::from_secs(5)) => "100ms" to "60s",
    }
}

choice! {
    /// How batches are compressed.
    pub enum Compression {
        /// Not at all.
        None = "none",
        /// LZ4: cheap.
        Lz4 = "lz4",
        /// Zstandard: smaller.
        Zstd = "zstd",
    }
}

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
    pub(crate) options: KafkaOptions,
    pub(crate) topic: Template,
    pub(crate) security: Security,
}

impl KafkaOptions {
    /// Checks everything that can be known without a broker. `Err` is one sentence that begins with the key.
    pub fn checked(self, _target: &str) -> Result<KafkaConfig, String> {
        if self.brokers.is_empty() {
            return Err("`brokers` is required: name at least one, such as [\"127.0.0.1:9092\"]".to_owned());
        }
        for broker in &self.brokers {
            // They become one comma-separated setting of the client library: nothing else may hide in them.
            let url = endpoint("brokers", broker, &[""], "127.0.0.1:9092")?;
            if url.port().is_none() || !url.path().is_empty() || url.query().is_some() {
                let broker = broker.escape_debug();
                return Err(format!("`brokers`: `{broker}` is not host:port, such as \"127.0.0.1:9092\""));
            }
        }
        let hint = "name a topic, such as \"object-events\"";
        let topic = template("topic", &self.topic, Place::KafkaTopic, hint)?;
        let security = Security::checked(&self)?;
        self.bounded()?;
        Ok(KafkaConfig { topic, security, options: self })
    }
}

impl KafkaConfig {
    /// The brokers to ask first, as the client library and people read them.
    pub(crate) fn brokers(&self) -> String {
        self.options.brokers.join(",")
    }

    /// How long reaching a broker may take.
    pub(crate) fn connect_timeout(&self) -> Duration {
        self.options.connect_timeout.0
    }

    /// The settings of any client: where the brokers are and who we are, with the secrets as they are now.
    pub(crate) fn network(&self) -> Result<ClientConfig, Fault> {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", self.brokers()).set("client.id", "tidings");
        self.security.apply(&mut client)?;
        Ok(client)
    }

    /// A client that looks at the cluster, or changes it. `Err` is for people.
    pub(crate) fn admin(&self) -> Result<AdminClient<Tokens>, String> {
        let client = self.network().map_err(|fault| fault.message)?;
        AdminClient::from_config_and_context(&client, self.security.tokens())
            .map_err(|e| self.security.refused(&e).message)
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
        let mut client = self.network()?;
        let kib = 2 * (self.options.max_bytes.0 as usize + MAX_MESSAGE_BYTES).div_ceil(1024);
        let dial = self.connect_timeout().max(Duration::from_secs(1));
        for (key, value) in [
            ("acks", "all"),
            ("enable.idempotence", "true"),
            ("message.timeout.ms", "0"),
            ("partitioner", "murmur2_random"),
            ("compression.type", self.options.compression.name()),
            ("message.max.bytes", &MAX_MESSAGE_BYTES.to_string()),
            ("queue.buffering.max.messages", &(2 * self.options.max_in_flight).to_string()),
            ("queue.buffering.max.kbytes", &kib.to_string()),
            ("allow.auto.create.topics", "false"),
            ("topic.metadata.propagation.max.ms", &UNKNOWN_TOPIC_PATIENCE.as_millis().to_string()),
            ("reconnect.backoff.max.ms", &RECONNECT_PAUSE.as_millis().to_string()),
            ("socket.connection.setup.timeout.ms", &dial.as_millis().to_string()),
            ("socket.keepalive.enable", "true"),
            ("linger.ms", &self.options.linger.0.as_millis().to_string()),
        ] {
            client.set(key, value);
        }
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
