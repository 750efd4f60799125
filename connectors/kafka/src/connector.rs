//! Reaching the brokers, and handing messages to the producer.
//!
//! Must never wait for a broker in `deliver`, and never block the runtime's threads.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode as Code;
use tidings_connector::{
    Cause, Connector, ConnectorConfig, Delivery, ErrorClass, Fault, Finding, Limits, Message, Outcome,
    Receipt, Scope, Severity, Template,
};

use crate::KafkaConfig;
use crate::config::MAX_MESSAGE_BYTES;
use crate::error::{Verdict, verdict};
use crate::outstanding::{NoSlot, Outstanding, Reports};

type Producer = ThreadedProducer<Reports>;

/// Messages taken by one call of `deliver`: about a millisecond of one core.
const BATCH: usize = 1_024;

/// How long `close` waits for acknowledgements before it lets go.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// Copies below this number survive no second failure: `check` warns.
const SAFE_REPLICAS: usize = 3;

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
        let found = blocking(move || connect(&config).map(|(_, replicas)| findings(&config, replicas))).await;
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
    let main = producer(config, &outstanding, false)?;
    let connector =
        KafkaConnector { config: config.clone(), outstanding, producers: Some(Producers::new(main)) };
    let client = connector.producers().main.client();
    let replicas = match config.topic.is_fixed() {
        true => {
            let metadata = client
                .fetch_metadata(Some(config.topic.source()), config.connect_timeout)
                .map_err(|e| unreachable(config, &connector.outstanding, &e))?;
            let topic = metadata.topics().first();
            if let Some(code) = topic.and_then(|topic| topic.error()).map(Code::from) {
                return Err(topic_fault(config, code));
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

fn producer(config: &KafkaConfig, outstanding: &Arc<Outstanding>, alone: bool) -> Result<Producer, Fault> {
    let reports = Reports { outstanding: Arc::clone(outstanding), alone };
    ThreadedProducer::from_config_and_context(&config.client(alone), reports)
        .map_err(|e| Fault::faulted(ErrorClass::Unknown, format!("Kafka settings were refused: {e}")))
}

/// No broker answered. What the library said about its connections tells why better than the missing answer
/// does.
fn unreachable(config: &KafkaConfig, outstanding: &Outstanding, error: &KafkaError) -> Fault {
    let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
    let (code, reason) = outstanding.trouble().unwrap_or_else(|| (code, code.to_string()));
    let message = format!("no Kafka broker answers at {}: {reason}", config.brokers);
    match verdict(code) {
        Verdict::Fault(class) | Verdict::TopicFault(class) => Fault::faulted(class, message),
        Verdict::Retry(class) => Fault::retry(class, message),
        Verdict::Delivered | Verdict::Poison(_) | Verdict::Broken => {
            Fault::retry(ErrorClass::Unknown, message)
        }
    }
}

fn topic_fault(config: &KafkaConfig, code: Code) -> Fault {
    let topic = config.topic.source();
    match verdict(code) {
        Verdict::TopicFault(ErrorClass::Unroutable) => Fault::faulted(
            ErrorClass::Unroutable,
            format!("topic `{topic}` does not exist at {}: create it", config.brokers),
        ),
        Verdict::TopicFault(class) | Verdict::Fault(class) => {
            Fault::faulted(class, format!("topic `{topic}` cannot be used: {code}"))
        }
        _ => Fault::retry(ErrorClass::Connect, format!("topic `{topic}` cannot be used yet: {code}")),
    }
}

fn findings(config: &KafkaConfig, replicas: Option<usize>) -> Vec<Finding> {
    let topic = config.topic.source();
    let ok = |message| Finding { severity: Severity::Ok, message };
    let mut findings = vec![ok(format!("Kafka answers at {}", config.brokers))];
    match replicas {
        None => findings.push(ok(format!("topics follow `{topic}`: each is looked up when first used"))),
        Some(copies) if copies < SAFE_REPLICAS => findings.push(Finding {
            severity: Severity::Warning,
            message: format!(
                "topic `{topic}` has {copies} of {SAFE_REPLICAS} recommended copies: an acknowledged event \
                 may be lost with its broker; raise the replication factor and set min.insync.replicas to 2"
            ),
        }),
        Some(copies) => findings.push(ok(format!("topic `{topic}` exists, with {copies} copies"))),
    }
    findings
}

/// One connected Kafka cluster.
struct KafkaConnector {
    config: KafkaConfig,
    outstanding: Arc<Outstanding>,
    /// Present until the connector is dropped.
    producers: Option<Producers>,
}

struct Producers {
    main: Producer,
    /// Sends batches of one message, to find the culprit of a refused batch. Made when first needed.
    alone: OnceLock<Option<Producer>>,
}

impl Producers {
    fn new(main: Producer) -> Self {
        Self { main, alone: OnceLock::new() }
    }
}

impl KafkaConnector {
    fn producers(&self) -> &Producers {
        self.producers.as_ref().expect("producers are taken by drop alone")
    }

    /// Hands one message to the library, which copies it. Never waits.
    fn send(&self, message: &Message, slot: usize) {
        let producers = self.producers();
        let suspect = self.outstanding.take_suspect(&message.key);
        let alone = || producers.alone.get_or_init(|| producer(&self.config, &self.outstanding, true).ok());
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
