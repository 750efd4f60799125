//! The connector contract against the client library's own in-process cluster, which can go away and come
//! back.
//!
//! Must never stand in for the real broker: `contract.rs` runs the same cases there.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::{Arc, mpsc};
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaRespErr as Err};
use tidings_connector::contract::{Arrived, Case, Driver, Harness, Target, messages, run_all};
use tidings_connector::{ConnectorConfig, ErrorClass, Outcome, Scope};

type Cluster = MockCluster<'static, DefaultProducerContext>;
type Job = Box<dyn FnOnce(&Cluster) + Send>;

/// The one broker's number.
const BROKER: i32 = 1;

/// A mock cluster on a thread of its own: its handle may not move between threads.
#[derive(Clone)]
struct Mock {
    jobs: mpsc::SyncSender<Job>,
    brokers: Arc<str>,
}

impl Mock {
    fn start() -> Self {
        let (jobs, inbox) = mpsc::sync_channel::<Job>(1);
        let (told, brokers) = mpsc::sync_channel(1);
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
        let (done, result) = mpsc::sync_channel(1);
        self.jobs.send(Box::new(move |cluster| done.send(job(cluster)).unwrap())).unwrap();
        result.recv().unwrap()
    }

    fn make(&self, topic: &str) {
        let topic = topic.to_owned();
        self.run(move |cluster| cluster.create_topic(&topic, 3, 1)).unwrap();
    }

    fn to(&self, topic: String, template: bool) -> Target {
        support::target(topic, template, |topic| support::options(&self.brokers, topic))
    }

    /// The next requests of this kind fail so, one after another.
    fn fail(&self, api: Api, errors: &[Err]) {
        let errors = errors.to_vec();
        self.run(move |cluster| cluster.request_errors(api, &errors));
    }
}

#[async_trait]
impl Harness for Mock {
    async fn target(&self, template: bool) -> Target {
        let topic = support::fresh("mock");
        self.make(&topic);
        self.to(topic, template)
    }

    async fn arrived(&self, target: &Target, count: usize) -> Vec<Arrived> {
        support::read(&self.brokers, &target.destination, count).await
    }

    fn dead(&self) -> Arc<dyn ConnectorConfig> {
        Arc::new(support::options(&support::dead(), "nowhere").checked("contract").unwrap())
    }

    async fn missing(&self, template: bool) -> Target {
        self.to(support::fresh("mock"), template)
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
            .then_some("the mock cluster asks for no credentials; secure.rs runs this case")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract() {
    run_all(Mock::start()).await;
}

/// A topic with one partition, so that messages handed over together travel together.
async fn one_partition(mock: &Mock) -> Target {
    let topic = support::fresh("mock");
    let name = topic.clone();
    mock.run(move |cluster| cluster.create_topic(&name, 1, 1)).unwrap();
    mock.to(topic, false)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_batch_rejects_the_culprit_alone() {
    let mock = Mock::start();
    let target = one_partition(&mock).await;
    let connector = target.config.connect().await.unwrap();
    let sent = messages(&target, 5);
    mock.fail(Api::Produce, &[Err::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE]);
    let together = Driver::new().attempt(&*connector, &sent).await;
    assert!(together.iter().all(|o| matches!(o, Outcome::Retry { .. })), "{together:?}");

    mock.fail(Api::Produce, &[Err::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE]);
    let alone = Driver::new().attempt(&*connector, &sent).await;
    let rejected = alone.iter().filter(|o| matches!(o, Outcome::Rejected { .. })).count();
    let delivered = alone.iter().filter(|o| **o == Outcome::Delivered).count();
    assert_eq!((rejected, delivered), (1, 4), "{alone:?}");
    assert!(connector.healthy());

    // Suspicion lasts for one attempt: the next batch is a batch again.
    mock.fail(Api::Produce, &[Err::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE]);
    let again = Driver::new().attempt(&*connector, &sent).await;
    assert!(again.iter().all(|o| matches!(o, Outcome::Retry { .. })), "{again:?}");
    connector.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fatal_error_gives_everything_back_and_asks_for_a_new_connector() {
    let mock = Mock::start();
    let target = one_partition(&mock).await;
    mock.fail(Api::InitProducerId, &[Err::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED]);
    let connector = target.config.connect().await.unwrap();
    let sent = messages(&target, 50);
    for _ in 0..2 {
        let outcomes = Driver::new().attempt(&*connector, &sent).await;
        for outcome in outcomes {
            assert!(
                matches!(&outcome, Outcome::Retry { why, .. } if why.class == ErrorClass::Connect),
                "{outcome:?}"
            );
        }
        // Also where the library's own report of it came before anybody listened.
        assert!(!connector.healthy());
    }
    drop(connector);
    let connector = target.config.connect().await.unwrap();
    Driver::new().deliver(&*connector, &sent, 1).await;
    assert!(connector.healthy());
    connector.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_brokers_recover_from_needs_no_second_attempt() {
    let mock = Mock::start();
    let target = one_partition(&mock).await;
    let connector = target.config.connect().await.unwrap();
    let transient = [
        Err::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        Err::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        Err::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
    ];
    mock.fail(Api::Produce, &transient);
    let sent = messages(&target, 10);
    Driver::new().deliver(&*connector, &sent, 1).await;
    connector.close().await;
    assert_eq!(mock.arrived(&target, sent.len()).await.len(), sent.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_may_not_be_written_faults_the_target() {
    let mock = Mock::start();
    let target = one_partition(&mock).await;
    let connector = target.config.connect().await.unwrap();
    mock.fail(Api::Produce, &[Err::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED]);
    for outcome in Driver::new().attempt(&*connector, &messages(&target, 3)).await {
        let scope = match &outcome {
            Outcome::Faulted { scope, why } if why.class == ErrorClass::Auth => *scope,
            other => panic!("{other:?}"),
        };
        assert_eq!(scope, Scope::Target);
    }
    connector.close().await;
}

#[tokio::test]
async fn check_warns_about_few_copies() {
    let mock = Mock::start();
    let target = one_partition(&mock).await;
    let said: Vec<String> = target.config.check().await.into_iter().map(|f| f.message).collect();
    assert!(said.iter().any(|message| message.contains("1 of 3 recommended copies")), "{said:?}");
}
