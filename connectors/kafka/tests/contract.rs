//! The connector contract against a running Kafka, whose address is in `TIDINGS_TEST_KAFKA`.
//!
//! Must never pass without a broker, and never touch a topic that it did not make.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use async_trait::async_trait;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use tidings_connector::ConnectorConfig;
use tidings_connector::contract::{Arrived, Case, Harness, Target, run_all};

/// The broker refuses batches above this on topics that the harness makes.
const TOPIC_MAX_BYTES: &str = "200000";

struct Live {
    brokers: String,
    admin: AdminClient<DefaultClientContext>,
}

impl Live {
    fn new() -> Self {
        let brokers = std::env::var("TIDINGS_TEST_KAFKA")
            .expect("set TIDINGS_TEST_KAFKA to the address of a running broker, such as 127.0.0.1:9092");
        let admin = ClientConfig::new().set("bootstrap.servers", &brokers).create().unwrap();
        Self { brokers, admin }
    }

    async fn make(&self, topic: &str) {
        let new =
            NewTopic::new(topic, 3, TopicReplication::Fixed(1)).set("max.message.bytes", TOPIC_MAX_BYTES);
        let made = self.admin.create_topics(&[new], &AdminOptions::new()).await.unwrap();
        made.into_iter().next().unwrap().unwrap();
    }
}

#[async_trait]
impl Harness for Live {
    async fn target(&self, template: bool) -> Target {
        let topic = support::fresh("tidings-contract");
        self.make(&topic).await;
        support::target(&self.brokers, topic, template)
    }

    async fn arrived(&self, target: &Target, count: usize) -> Vec<Arrived> {
        support::read(&self.brokers, &target.destination, count).await
    }

    fn dead(&self) -> Arc<dyn ConnectorConfig> {
        support::dead()
    }

    async fn missing(&self, template: bool) -> Target {
        support::target(&self.brokers, support::fresh("tidings-contract"), template)
    }

    async fn create(&self, target: &Target) {
        self.make(&target.destination).await;
    }

    /// Below the client's own bound and, as random-looking bytes would be, above the topic's: the broker
    /// refuses the whole batch, and the connector has to find the culprit.
    fn too_large(&self) -> usize {
        300_000
    }

    async fn hold(&self, _: &Target) {}

    async fn release(&self, _: &Target) {}

    async fn stop(&self, _: &Target) {}

    async fn start(&self, _: &Target) {}

    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }

    fn waived(&self, case: Case) -> Option<&'static str> {
        match case {
            Case::Prompt | Case::Dropped | Case::ClosesHeld => {
                Some("a real broker cannot be made to hold its answers; the mock cluster runs this case")
            }
            Case::Outage | Case::Returns => {
                Some("the broker is shared with other tests and stays up; the mock cluster runs this case")
            }
            Case::Secrets => {
                Some("the Kafka options hold no secret: brokers are reached without credentials")
            }
            _ => None,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract() {
    run_all(Live::new()).await;
}
