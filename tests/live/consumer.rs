//! Kafka as the far side, and an independent consumer: everything in a topic from its beginning, repeats
//! included, in order per partition.
//!
//! Must never use the product's code to read what the product wrote.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers as _, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::broker;
use crate::checker::{Delivery, Kind};
use crate::far::{FarSide, Fault, Raw};

/// Partitions of a test's topic.
const PARTITIONS: i32 = 6;
/// The broker may take this long for an administrative request or to give the next message.
const PATIENCE: Duration = Duration::from_secs(30);

/// A topic that nobody else has.
pub(crate) struct Topic(String);

impl Topic {
    pub(crate) async fn create(test: &str) -> Self {
        Self(create_topic(test).await)
    }
}

#[async_trait]
impl FarSide for Topic {
    fn connector(&self) -> String {
        let broker = broker::address();
        format!("[target.live.connector.kafka]\nbrokers = [{broker:?}]\ntopic = {:?}\n", self.0)
    }

    async fn read_raw(&self) -> Vec<Raw> {
        read_raw(&self.0).await
    }

    async fn read_all(&self) -> Vec<Delivery> {
        read_all(&self.0).await
    }

    async fn kill(&self) -> Fault {
        broker::kill("kafka").await
    }

    async fn stop(&self) -> Fault {
        broker::stop("kafka").await
    }
}

async fn create_topic(test: &str) -> String {
    let topic = format!("tidings-{test}-{}", uuid::Uuid::now_v7().simple());
    let admin: AdminClient<_> = config().create().expect("a client");
    let new = NewTopic::new(&topic, PARTITIONS, TopicReplication::Fixed(1));
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE));
    let made = admin.create_topics([&new], &options).await.expect("the broker answers");
    made.into_iter().for_each(|result| assert_eq!(result, Ok(topic.clone())));
    topic
}

/// Reads the topic from its beginning to the end that it has now.
async fn read_all(topic: &str) -> Vec<Delivery> {
    read_raw(topic).await.iter().map(Raw::record).collect()
}

async fn read_raw(topic: &str) -> Vec<Raw> {
    let topic = topic.to_owned();
    tokio::task::spawn_blocking(move || read(&topic)).await.expect("the consumer")
}

fn config() -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker::address());
    config
}

fn read(topic: &str) -> Vec<Raw> {
    let mut config = config();
    config.set("group.id", topic).set("enable.auto.commit", "false").set("check.crcs", "true");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let mut ends: HashMap<i32, i64> = HashMap::new();
    let mut from_the_start = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        let (low, high) = consumer.fetch_watermarks(topic, partition, PATIENCE).expect("watermarks");
        assert_eq!(low, 0, "the broker dropped the beginning of {topic}/{partition}");
        ends.insert(partition, high);
        from_the_start.add_partition_offset(topic, partition, Offset::Beginning).expect("an offset");
    }
    consumer.assign(&from_the_start).expect("an assignment");
    let mut unread: HashSet<i32> = ends.iter().filter(|(_, end)| **end > 0).map(|(at, _)| *at).collect();
    let mut deliveries = Vec::new();
    while !unread.is_empty() {
        let message = consumer.poll(PATIENCE).unwrap_or_else(|| panic!("no message within {PATIENCE:?}"));
        let message = message.expect("a message");
        if message.offset() + 1 >= ends[&message.partition()] {
            unread.remove(&message.partition());
        }
        if message.offset() < ends[&message.partition()] {
            let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            deliveries.push(Raw {
                payload: message.payload().unwrap_or_default().to_vec(),
                headers: headers.map(|h| (h.key.to_owned(), text(h.value.unwrap_or_default()))).collect(),
                key: message.key().map(<[u8]>::to_vec),
                partition: message.partition(),
            });
        }
    }
    deliveries
}

/// The reading itself is shown to be honest: repeats, order and oddly named keys come back as they were
/// written.
#[tokio::test]
async fn a_consumer_reads_what_a_producer_wrote_repeats_included() {
    use rdkafka::producer::{FutureProducer, FutureRecord};
    let topic = create_topic("consumer").await;
    let producer: FutureProducer = config().create().expect("a producer");
    let payload = |seq: u32, key: &str| {
        format!(
            r#"{{"Records":[{{"eventName":"ObjectCreated:Put",
            "responseElements":{{"x-amz-request-id":"R{seq}"}},
            "s3":{{"bucket":{{"name":"b"}},"object":{{"key":"{key}","size":{seq},"eTag":"e{seq}",
            "sequencer":"{seq:04}"}}}},"tidings":{{"eventId":"id{seq}"}}}}]}}"#
        )
    };
    let written = [(1, "a+b%2B/%C3%A9", "b/a b+/é"), (2, "k", "b/k"), (1, "a+b%2B/%C3%A9", "b/a b+/é")];
    for (seq, encoded, key) in written {
        let payload = payload(seq, encoded);
        let record = FutureRecord::to(&topic).key(key).payload(&payload);
        producer.send(record, PATIENCE).await.expect("written");
    }
    let read = read_all(&topic).await;
    let of = |key: &str| read.iter().filter(|one| &*one.key == key).cloned().collect::<Vec<_>>();
    assert_eq!((read.len(), of("b/k").len(), of("b/a b+/é").len()), (3, 1, 2));
    assert_eq!(of("b/a b+/é")[0], of("b/a b+/é")[1], "a repeat is the same in every part");
    assert_eq!((of("b/k")[0].kind.clone(), of("b/k")[0].size), (Kind::Put, Some(2)));
    assert_eq!(of("b/k")[0].request_id.as_deref(), Some("R2"));
}
