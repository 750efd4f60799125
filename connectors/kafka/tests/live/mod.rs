//! A running Kafka as the contract suite sees it, through options of the test's choice.
//!
//! Must never touch a topic that it did not make.

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use tidings_connector::ConnectorConfig;
use tidings_connector::contract::{Arrived, Case, Harness, Target};
use tidings_kafka::KafkaOptions;

use crate::support;

/// The broker refuses batches above this on topics that the harness makes.
const TOPIC_MAX_BYTES: (&str, &str) = ("max.message.bytes", "200000");

/// How long a topic that was made may be unknown.
const PATIENCE: Duration = Duration::from_secs(30);

type Options = Box<dyn Fn(&str) -> KafkaOptions + Send + Sync>;

pub struct Live {
    /// Where anybody may look and make topics.
    brokers: String,
    admin: AdminClient<DefaultClientContext>,
    options: Options,
    secrets: Vec<String>,
}

/// The address in this variable.
pub fn address(variable: &str) -> String {
    let set = std::env::var(variable);
    set.unwrap_or_else(|_| {
        panic!("set {variable} to the address of a running broker; see cargo xtask brokers")
    })
}

impl Live {
    /// `options`: how targets reach a topic. `secrets`: what must never be shown.
    pub fn new(options: Options, secrets: &[&str]) -> Self {
        let brokers = address("TIDINGS_TEST_KAFKA");
        let admin = ClientConfig::new().set("bootstrap.servers", &brokers).create().unwrap();
        Self { brokers, admin, options, secrets: secrets.iter().map(|&s| s.to_owned()).collect() }
    }

    /// Makes a topic with these settings.
    pub async fn make(&self, topic: &str, settings: &[(&str, &str)]) {
        let new = NewTopic::new(topic, 3, TopicReplication::Fixed(1));
        let new = settings.iter().fold(new, |new, (key, value)| new.set(key, value));
        let made = self.admin.create_topics(&[new], &AdminOptions::new()).await.unwrap();
        made.into_iter().next().unwrap().unwrap();
        // It is made before the broker that answers clients knows of it.
        let known = || {
            let told = self.admin.inner().fetch_metadata(Some(topic), PATIENCE).unwrap();
            told.topics()[0].error().is_none()
        };
        let began = Instant::now();
        while !known() {
            assert!(began.elapsed() < PATIENCE, "{topic} is made and not there");
        }
    }

    fn to(&self, topic: String, template: bool) -> Target {
        support::target(topic, template, &self.options)
    }
}

#[async_trait]
impl Harness for Live {
    async fn target(&self, template: bool) -> Target {
        let topic = support::fresh("tidings-contract");
        self.make(&topic, &[TOPIC_MAX_BYTES]).await;
        self.to(topic, template)
    }

    async fn arrived(&self, target: &Target, count: usize) -> Vec<Arrived> {
        support::read(&self.brokers, &target.destination, count).await
    }

    fn dead(&self) -> Arc<dyn ConnectorConfig> {
        let options = KafkaOptions { brokers: vec![support::dead()], ..(self.options)("nowhere") };
        Arc::new(options.checked("contract").unwrap())
    }

    async fn missing(&self, template: bool) -> Target {
        self.to(support::fresh("tidings-contract"), template)
    }

    async fn create(&self, target: &Target) {
        self.make(&target.destination, &[TOPIC_MAX_BYTES]).await;
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
        self.secrets.clone()
    }

    fn waived(&self, case: Case) -> Option<&'static str> {
        match case {
            Case::Prompt | Case::Dropped | Case::ClosesHeld => {
                Some("a real broker cannot be made to hold its answers; the mock cluster runs this case")
            }
            Case::Outage | Case::Returns => {
                Some("the broker is shared with other tests and stays up; the mock cluster runs this case")
            }
            Case::Secrets if self.secrets.is_empty() => Some("secure.rs runs it, with credentials"),
            _ => None,
        }
    }
}
