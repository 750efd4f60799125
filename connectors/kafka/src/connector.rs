//! Reaching the brokers, and handing messages to the producer.
//!
//! Must never wait for a broker in `deliver`, and never block the runtime's threads.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode as Code;
use tidings_connector::{
    Cause, Connector, ConnectorConfig, Delivery, ErrorClass, Fault, Finding, Limits, Message, Outcome,
    Receipt, Scope, Severity, Template,
};

use crate::KafkaConfig;
use crate::check::findings;
use crate::config::MAX_MESSAGE_BYTES;
use crate::fault::{missing_topic, unreachable};
use crate::outstanding::{NoSlot, Outstanding, Reports};

type Producer = ThreadedProducer<Reports>;

/// Messages taken by one call of `deliver`: about a millisecond of one core.
const BATCH: usize = 1_024;

/// How long `close` waits for acknowledgements before it lets go.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

#[async_trait]
impl ConnectorConfig for KafkaConfig {
    async fn connect(&self) -> Result<Box<dyn Connector>, Fault> {
        let config = self.clone();
        blocking(move || {
            let (connector, _) = connect(&config)?;
            Ok(Box::new(connector) as Box<dyn Connector>)
        })
        .await
    }

    async fn check(&self) -> Vec<Finding> {
        let config = self.clone();
        let found = blocking(move || connect(&config).map(|(_, copies)| findings(&config, copies))).await;
        found.unwrap_or_else(|fault| vec![Finding { severity: Severity::Error, message: fault.message }])
    }

    fn kind(&self) -> &'static str {
        "kafka"
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

/// Runs what waits for a broker on a thread that may wait.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    let lost = || Err(Fault::retry(ErrorClass::Unknown, "the attempt to reach Kafka was cut off"));
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| lost())
}

/// Makes a producer and asks a broker: for the topic if it is fixed, for the cluster's id otherwise.
/// Blocks for at most `connect_timeout`. Also gives the fewest copies that a partition of the topic has.
fn connect(config: &KafkaConfig) -> Result<(KafkaConnector, Option<usize>), Fault> {
    let topic_scope = if config.topic.is_fixed() { Scope::Target } else { Scope::Destination };
    let outstanding = Outstanding::new(config.max_in_flight, topic_scope);
    let settings = config.client()?;
    let main = producer(config, &settings, &outstanding, false)?;
    let producers = Some(Producers { main, alone: OnceLock::new() });
    let connector = KafkaConnector { config: config.clone(), settings, outstanding, producers };
    let client = connector.producers().main.client();
    let replicas = match config.topic.is_fixed() {
        true => {
            let metadata = client
                .fetch_metadata(Some(config.topic.source()), config.connect_timeout)
                .map_err(|e| unreachable(config, &connector.outstanding, &e))?;
            let topic = metadata.topics().first();
            if let Some(code) = topic.and_then(|topic| topic.error()).map(Code::from) {
                return Err(missing_topic(config, code));
            }
            topic.and_then(|topic| topic.partitions().iter().map(|p| p.replicas().len()).min())
        }
        false => {
            let reached = client.fetch_cluster_id(config.connect_timeout);
            let timed_out = KafkaError::MetadataFetch(Code::OperationTimedOut);
            reached.ok_or_else(|| unreachable(config, &connector.outstanding, &timed_out))?;
            None
        }
    };
    Ok((connector, replicas))
}

/// `alone`: one message in each batch, so that a verdict about a batch is about a message.
fn producer(
    config: &KafkaConfig,
    settings: &ClientConfig,
    outstanding: &Arc<Outstanding>,
    alone: bool,
) -> Result<Producer, Fault> {
    let reports = Reports { outstanding: Arc::clone(outstanding), tokens: config.security.tokens(), alone };
    ThreadedProducer::from_config_and_context(settings, reports).map_err(|e| config.security.refused(&e))
}

/// One connected Kafka cluster.
struct KafkaConnector {
    config: KafkaConfig,
    /// With the secrets as they were when the connection was made.
    settings: ClientConfig,
    outstanding: Arc<Outstanding>,
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
        producer(&self.config, &settings, &self.outstanding, true).ok()
    }

    /// Hands one message to the library, which copies it. Never waits.
    fn send(&self, message: &Message, slot: usize) {
        let producers = self.producers();
        let suspect = self.outstanding.take_suspect(&message.key);
        let alone = || producers.alone.get_or_init(|| self.alone());
        let producer = match suspect.then(alone) {
            Some(Some(alone)) => alone,
            Some(None) | None => &producers.main,
        };
        let mut record = BaseRecord::with_opaque_to(&message.destination, slot)
            .key(&message.key[..])
            .payload(&message.payload[..]);
        if !message.headers.is_empty() {
            record.headers = Some(headers(message));
        }
        if let Err((error, _)) = producer.send(record) {
            let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
            // The library refused it before it was in any batch: the verdict is about this message.
            self.outstanding.settle(slot, &message.key, code, true);
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
        let in_flight = self.config.max_in_flight;
        Limits { in_flight, batch: BATCH.min(in_flight), bytes: self.config.max_bytes }
    }

    async fn deliver(&self, batch: Vec<Delivery>) {
        let (messages, receipts): (Vec<Message>, Vec<Receipt>) =
            batch.into_iter().map(|delivery| (delivery.message, delivery.receipt)).unzip();
        for (message, slot) in messages.iter().zip(self.outstanding.put_all(receipts)) {
            match slot {
                Ok(slot) if message.size() > MAX_MESSAGE_BYTES => {
                    self.outstanding.settle(slot, &message.key, Code::MessageSizeTooLarge, true);
                }
                Ok(slot) => self.send(message, slot),
                Err((receipt, no_slot)) => receipt.settle(refused(&no_slot), None),
            }
        }
    }

    fn healthy(&self) -> bool {
        // Asked of the library itself: its report of a fatal error may come before this connector exists, and
        // then only purged messages tell of it.
        !self.outstanding.is_closed() && self.producers().main.client().fatal_error().is_none()
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

fn refused(why: &NoSlot) -> Outcome {
    let why = match why {
        NoSlot::Full => Cause::new(ErrorClass::Throttle, "more messages than the connector's window holds"),
        NoSlot::Closed => Cause::new(ErrorClass::Connect, "the Kafka producer must be replaced"),
    };
    Outcome::Retry { after: None, why }
}

impl Drop for KafkaConnector {
    /// Settles what is left at once; the producer, whose end takes up to a second, goes on a thread of its
    /// own.
    fn drop(&mut self) {
        self.outstanding.close(&Cause::new(ErrorClass::Connect, "the connection to Kafka was given up"));
        let producers = self.producers.take();
        let name = "kafka-producer-end".to_owned();
        // If no thread can be had, the closure is dropped here, and the producer with it.
        let _ = std::thread::Builder::new().name(name).spawn(move || drop(producers));
    }
}
