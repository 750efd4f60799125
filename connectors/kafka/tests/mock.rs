//! The connector contract against the client library's own in-process cluster, which can go away and come back.
//!
//! Must never stand in for the real broker: `contract.rs` runs the same cases there.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::{Arc, mpsc};
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use tidings_connector::ConnectorConfig;
use tidings_connector::contract::{Arrived, Case, Harness, Target, run_all};

type Cluster = MockCluster<'static, DefaultProducerContext>;
type Job = Box<dyn FnOnce(&Cluster) + Send>;

/// The one broker's number.
const BROKER: i32 = 1;

/// A mock cluster on a thread of its own: its handle may not move between threads.
#[derive(Clone)]
struct Mock {
    jobs: mpsc::Sender<Job>,
    brokers: Arc<str>,
}

impl Mock {
    fn start() -> Self {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let (told, brokers) = mpsc::channel();
        std::thread::spawn(move || {
            let cluster = MockCluster::new(1).unwrap();
            told.send(cluster.bootstrap_servers()).unwrap();
            for job in inbox {
                job(&cluster);
            }
        });
        Self { jobs, brokers: brokers.recv().unwrap().into() }
    }

    /// Runs `job` on the cluster's thread and waits for it.
    fn run<T: Send + 'static>(&self, job: impl FnOnce(&Cluster) -> T + Send + 'static) -> T {
        let (done, result) = mpsc::channel();
        self.jobs.send(Box::new(move |cluster| done.send(job(cluster)).unwrap())).unwrap();
        result.recv().unwrap()
    }

    fn make(&self, topic: &str) {
        let topic = topic.to_owned();
        self.run(move |cluster| cluster.create_topic(&topic, 3, 1)).unwrap();
    }
}

#[async_trait]
impl Harness for Mock {
    async fn target(&self, template: bool) -> Target {
        let topic = support::fresh("mock");
        self.make(&topic);
        support::target(&self.brokers, topic, template)
    }

    async fn arrived(&self, target: &Target, count: usize) -> Vec<Arrived> {
        support::read(&self.brokers, &target.destination, count).await
    }

    fn dead(&self) -> Arc<dyn ConnectorConfig> {
        support::dead()
    }

    async fn missing(&self, template: bool) -> Target {
        support::target(&self.brokers, support::fresh("mock"), template)
    }

    async fn create(&self, target: &Target) {
        self.make(&target.destination);
    }

    fn too_large(&self) -> usize {
        1_000_001
    }

    async fn hold(&self, _: &Target) {
        self.run(|cluster| cluster.broker_round_trip_time(BROKER, Duration::from_secs(8))).unwrap();
    }

    async fn release(&self, _: &Target) {
        self.run(|cluster| cluster.broker_round_trip_time(BROKER, Duration::ZERO)).unwrap();
    }

    async fn stop(&self, _: &Target) {
        self.run(|cluster| cluster.broker_down(BROKER)).unwrap();
    }

    async fn start(&self, _: &Target) {
        self.run(|cluster| cluster.broker_up(BROKER)).unwrap();
    }

    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }

    fn waived(&self, case: Case) -> Option<&'static str> {
        (case == Case::Secrets)
            .then_some("the Kafka options hold no secret: brokers are reached without credentials")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract() {
    run_all(Mock::start()).await;
}
