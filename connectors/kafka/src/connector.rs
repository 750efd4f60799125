//! Reaching the brokers, and handing messages to the producer.
//!
//! Must never wait for a broker in `deliver`, and never block the runtime's threads.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext as _};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode as Code;
use tidings_common::{CLOSE_WAIT, Token, Verdict, blocking};
use tidings_connector::{
    Connector, ConnectorConfig, Delivery, ErrorClass, Fault, Finding, Limits, Message, Outcome, Template,
};

use crate::KafkaConfig;
use crate::check::findings;
use crate::config::MAX_MESSAGE_BYTES;
use crate::error::verdict;
use crate::reports::{Reports, Shared};

type Producer = ThreadedProducer<Reports>;

/// Messages taken by one call of `deliver`: about a millisecond of one core.
const BATCH: usize = 1_024;

#[async_trait]
impl ConnectorConfig for KafkaConfig {
    async fn connect(&self) -> Result<Box<dyn Connector>, Fault> {
        let config = self.clone();
        blocking(REACHING, move || connect(&config).map(|(connector, _)| Box::new(connector) as _)).await
    }

    async fn check(&self) -> Vec<Finding> {
        let config = self.clone();
        let found = blocking(REACHING, move || connect(&config).map(|(_, copies)| findings(&config, copies)));
        found.await.unwrap_or_else(|fault| vec![Finding::error(fault.message)])
    }

    fn kind(&self) -> &'static str {
        "kafka"
    }

    fn brokers(&self) -> &[String] {
        &self.options.brokers
    }

    fn destination(&self) -> Option<&Template> {
        Some(&self.topic)
    }

    fn fingerprint(&self) -> String {
        format!("{self:?}")
    }

    fn files(&self) -> Vec<PathBuf> {
        self.security.paths()
    }
}

/// What waits for a broker, on a thread that may wait.
const REACHING: &str = "the attempt to reach Kafka";

/// Makes a producer and asks a broker: for the topic if it is fixed, for the cluster's id otherwise.
/// Blocks for at most `connect_timeout`. Also gives the fewest copies that a partition of the topic has.
fn connect(config: &KafkaConfig) -> Result<(KafkaConnector, Option<usize>), Fault> {
    let shared = Shared::new(config.options.max_in_flight, config.topic.scope());
    let settings = config.client()?;
    let main = producer(config, &settings, &shared, false)?;
    let producers = Some(Producers { main, alone: OnceLock::new() });
    let connector = KafkaConnector { config: config.clone(), settings, shared, producers };
    let (client, bound) = (connector.producers().main.client(), config.connect_timeout());
    let unreachable = |code: Code| {
        // What the library said about its connections tells why better than the missing answer does.
        let (code, reason) = connector.shared.trouble().clone().unwrap_or_else(|| (code, code.to_string()));
        verdict(code).fault(format!("no Kafka broker answers at {}: {reason}", config.brokers()))
    };
    if !config.topic.is_fixed() {
        client.fetch_cluster_id(bound).ok_or_else(|| unreachable(Code::OperationTimedOut))?;
        return Ok((connector, None));
    }
    let metadata = client
        .fetch_metadata(Some(config.topic.source()), bound)
        .map_err(|e| unreachable(e.rdkafka_error_code().unwrap_or(Code::Unknown)))?;
    let topic = metadata.topics().first();
    if let Some(code) = topic.and_then(|topic| topic.error()).map(Code::from) {
        return Err(missing_topic(config, code));
    }
    let copies = topic.and_then(|topic| topic.partitions().iter().map(|p| p.replicas().len()).min());
    Ok((connector, copies))
}

/// The brokers do not give us the topic.
fn missing_topic(config: &KafkaConfig, code: Code) -> Fault {
    let (topic, verdict) = (config.topic.source(), verdict(code));
    verdict.fault(match verdict {
        Verdict::NoWay(ErrorClass::Unroutable) => {
            format!("topic `{topic}` does not exist at {}: create it", config.brokers())
        }
        _ => format!("topic `{topic}` cannot be used: {code}"),
    })
}

/// `alone`: one message in each batch, so that a verdict about a batch is about a message.
fn producer(
    config: &KafkaConfig,
    settings: &ClientConfig,
    shared: &Arc<Shared>,
    alone: bool,
) -> Result<Producer, Fault> {
    let reports = Reports { shared: Arc::clone(shared), tokens: config.security.tokens(), alone };
    ThreadedProducer::from_config_and_context(settings, reports).map_err(|e| config.security.refused(&e))
}

/// One connected Kafka cluster.
struct KafkaConnector {
    config: KafkaConfig,
    /// With the secrets as they were when the connection was made.
    settings: ClientConfig,
    shared: Arc<Shared>,
    /// Present until the connector is dropped.
    producers: Option<Producers>,
}

struct Producers {
    main: Producer,
    /// Sends batches of one message, to find the culprit of a refused batch. Made when first needed.
    alone: OnceLock<Option<Producer>>,
}

impl KafkaConnector {
    fn producers(&self) -> &Producers {
        self.producers.as_ref().expect("producers are taken by drop alone")
    }

    fn alone(&self) -> Option<Producer> {
        let mut settings = self.settings.clone();
        settings.set("batch.num.messages", "1").set("linger.ms", "0");
        producer(&self.config, &settings, &self.shared, true).ok()
    }

    /// Hands one message to the library, which copies it. Never waits.
    fn send(&self, message: &Message, token: Token) {
        let producers = self.producers();
        let suspect = self.shared.suspects.take(&message.key);
        let alone = || producers.alone.get_or_init(|| self.alone());
        let producer = match suspect.then(alone) {
            Some(Some(alone)) => alone,
            Some(None) | None => &producers.main,
        };
        let mut record = BaseRecord::with_opaque_to(&message.destination, token as usize)
            .key(&message.key[..])
            .payload(&message.payload[..]);
        if !message.headers.is_empty() {
            record.headers = Some(headers(message));
        }
        if let Err((error, _)) = producer.send(record) {
            let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
            // The library refused it before it was in any batch: the verdict is about this message.
            self.shared.settle(token, &message.key, code, true);
        }
    }
}

fn headers(message: &Message) -> OwnedHeaders {
    let empty = OwnedHeaders::new_with_capacity(message.headers.len());
    message.headers.iter().fold(empty, |headers, header| {
        headers.insert(Header { key: header.name, value: Some(header.value.as_bytes()) })
    })
}

#[async_trait]
impl Connector for KafkaConnector {
    fn limits(&self) -> Limits {
        let in_flight = self.config.options.max_in_flight;
        Limits { in_flight, batch: BATCH.min(in_flight), bytes: self.config.options.max_bytes.0 as usize }
    }

    async fn deliver(&self, batch: Vec<Delivery>) {
        let (messages, receipts): (Vec<Message>, Vec<_>) =
            batch.into_iter().map(|delivery| (delivery.message, (delivery.receipt, ()))).unzip();
        for (message, token) in messages.iter().zip(self.shared.out.put_all(receipts)) {
            match token {
                Some(token) if message.size() > MAX_MESSAGE_BYTES => {
                    self.shared.settle(token, &message.key, Code::MessageSizeTooLarge, true);
                }
                Some(token) => self.send(message, token),
                None => {}
            }
        }
    }

    fn healthy(&self) -> bool {
        // Asked of the library itself: its report of a fatal error may come before this connector exists, and
        // then only purged messages tell of it.
        self.shared.out.ended().is_none() && self.producers().main.client().fatal_error().is_none()
    }

    async fn close(self: Box<Self>) {
        let flush = move || {
            let producers = self.producers();
            // An error means that something is still out: it settles as Retry when `self` is dropped.
            let _ = producers.main.flush(CLOSE_WAIT);
            if let Some(Some(alone)) = producers.alone.get() {
                let _ = alone.flush(CLOSE_WAIT);
            }
        };
        let _ = tokio::task::spawn_blocking(flush).await;
    }
}

impl Drop for KafkaConnector {
    /// Settles what is left at once; the producer, whose end takes up to a second, goes on a thread of its
    /// own.
    fn drop(&mut self) {
        self.shared.out.end(&Outcome::retry(ErrorClass::Connect, "the connection to Kafka was given up"));
        let producers = self.producers.take();
        let name = "kafka-producer-end".to_owned();
        // If no thread can be had, the closure is dropped here, and the producer with it.
        let _ = std::thread::Builder::new().name(name).spawn(move || drop(producers));
    }
}
