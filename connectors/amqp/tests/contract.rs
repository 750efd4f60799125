//! The connector contract against a running RabbitMQ, whose address is in `TIDINGS_TEST_AMQP`, and what only
//! a real broker can show about returns.
//!
//! Must never pass without a broker, and never touch a queue or an exchange that it did not make.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use async_trait::async_trait;
use lapin::ExchangeKind;
use lapin::options::{ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use support::{Wire, broker, channel, config, declare, fresh, nowhere, read};
use tidings_connector::contract::{Arrived, Case, Driver, Harness, Target, message, messages, run_all};
use tidings_connector::{ConnectorConfig, ErrorClass, Outcome, Scope, Severity};

struct Live {
    wire: Wire,
    kind: &'static str,
}

impl Live {
    fn new(kind: &'static str) -> Self {
        Self { wire: Wire::new(broker()), kind }
    }

    /// The target of a queue, named as it is or through a template with the same base.
    fn target_of(&self, queue: String, template: bool) -> Target {
        let base = queue.split_once('.').unwrap().0;
        let key = if template { format!("{base}.{{bucket}}") } else { queue.clone() };
        let config = Arc::new(config(self.wire.address(), "", &key));
        Target { config, destination: queue.into() }
    }
}

#[async_trait]
impl Harness for Live {
    async fn target(&self, template: bool) -> Target {
        let queue = fresh("tidings-contract");
        declare(&queue, self.kind).await;
        self.target_of(queue, template)
    }

    async fn arrived(&self, target: &Target, count: usize) -> Vec<Arrived> {
        read(&target.destination, count).await
    }

    fn dead(&self) -> Arc<dyn ConnectorConfig> {
        Arc::new(config(nowhere(), "", "nowhere"))
    }

    async fn missing(&self, template: bool) -> Target {
        self.target_of(fresh("tidings-contract"), template)
    }

    async fn create(&self, target: &Target) {
        declare(&target.destination, self.kind).await;
    }

    fn too_large(&self) -> usize {
        (16 << 20) + 1
    }

    async fn hold(&self, _: &Target) {
        self.wire.hold(true);
    }

    async fn release(&self, _: &Target) {
        self.wire.hold(false);
    }

    async fn stop(&self, _: &Target) {
        self.wire.stop().await;
    }

    async fn start(&self, _: &Target) {
        self.wire.start();
    }

    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }

    fn waived(&self, case: Case) -> Option<&'static str> {
        (case == Case::Secrets).then_some(
            "the broker's only user has its own name as password; the scripted broker gets a planted one",
        )
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn classic_queues_keep_the_contract() {
    run_all(Live::new("classic")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quorum_queues_keep_the_contract() {
    run_all(Live::new("quorum")).await;
}

/// Many rounds of messages in flight together, some of which no queue takes: exactly those are not delivered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_the_unroutable_ones_are_not_delivered() {
    const ROUNDS: usize = 300;
    for kind in ["classic", "quorum"] {
        let live = Live::new(kind);
        let good = live.target(true).await;
        let missing = live.missing(true).await;
        let connector = good.config.connect().await.unwrap();
        let mut delivered = 0;
        for round in 0..ROUNDS {
            // From one unroutable message among a few to all of many.
            let size = 2 + round % 60;
            let wrong =
                |n: usize| n == round % size || (round % 4 == 3 && n.is_multiple_of(3)) || round % 50 == 49;
            let batch: Vec<_> = (0..size)
                .map(|n| message(if wrong(n) { &missing } else { &good }, &format!("k-{n}"), round * 100 + n))
                .collect();
            let outcomes = Driver::new().attempt(&*connector, &batch).await;
            for (n, outcome) in outcomes.iter().enumerate() {
                match outcome {
                    Outcome::Delivered if !wrong(n) => delivered += 1,
                    Outcome::Faulted { scope: Scope::Destination, why }
                        if wrong(n) && why.class == ErrorClass::Unroutable => {}
                    other => panic!("round {round}, message {n} of {size}: {other:?}"),
                }
            }
        }
        connector.close().await;
        assert_eq!(live.arrived(&good, delivered).await.len(), delivered, "in the {kind} queue");
    }
}

/// An exchange with one durable queue bound to it.
async fn exchange() -> (String, String) {
    let (name, queue) = (fresh("tidings-exchange"), fresh("tidings-contract"));
    declare(&queue, "classic").await;
    make_exchange(&name, &queue).await;
    (name, queue)
}

async fn make_exchange(name: &str, queue: &str) {
    let (_connection, channel) = channel().await;
    let (durable, none) =
        (ExchangeDeclareOptions { durable: true, ..Default::default() }, FieldTable::default());
    channel.exchange_declare(name.into(), ExchangeKind::Topic, durable, none.clone()).await.unwrap();
    channel
        .queue_bind(queue.into(), name.into(), "objects.*".into(), QueueBindOptions::default(), none)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exchange_that_goes_away_faults_the_target_and_its_return_mends_it() {
    let (name, queue) = exchange().await;
    let target = Target {
        config: Arc::new(config(broker(), &name, "objects.{bucket}")),
        destination: "objects.photos".into(),
    };
    let connector = target.config.connect().await.unwrap();
    let sent = messages(&target, 20);
    Driver::new().deliver(&*connector, &sent, 1).await;

    let (_connection, admin) = channel().await;
    admin.exchange_delete(name.as_str().into(), ExchangeDeleteOptions::default()).await.unwrap();
    for _ in 0..2 {
        for outcome in Driver::new().attempt(&*connector, &sent).await {
            let Outcome::Faulted { scope: Scope::Target, why } = outcome else { panic!("{outcome:?}") };
            assert_eq!(why.class, ErrorClass::Unroutable);
        }
        assert!(connector.healthy(), "the channel is made anew, the connection stays");
    }
    let fault = target.config.connect().await.err().expect("no exchange");
    assert!(matches!(fault.outcome, Outcome::Faulted { scope: Scope::Target, .. }), "{fault:?}");
    let said = target.config.check().await;
    assert!(said.iter().any(|f| f.severity == Severity::Error && f.message.contains(&name)), "{said:?}");

    make_exchange(&name, &queue).await;
    Driver::new().deliver(&*connector, &sent, 1).await;
    connector.close().await;
    assert_eq!(read(&queue, 2 * sent.len()).await.len(), 2 * sent.len());
    admin.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_credentials_and_virtual_hosts_are_faults() {
    let mut options = support::options(broker(), "", "q");
    options.password_env = "PATH".to_owned();
    let wrong = options.checked("t").unwrap();
    let mut options = support::options(broker(), "", "q");
    options.url = format!("amqp://{}/no-such-virtual-host", broker());
    let nowhere = options.checked("t").unwrap();
    for config in [wrong, nowhere] {
        let fault = config.connect().await.err().expect("refused");
        let Outcome::Faulted { scope: Scope::Target, why } = &fault.outcome else { panic!("{fault:?}") };
        assert_eq!(why.class, ErrorClass::Auth, "{fault}");
        let secret = std::env::var("PATH").unwrap();
        assert!(!format!("{fault} {fault:?}").contains(&secret));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_looks_for_the_queue() {
    let queue = fresh("tidings-contract");
    let config = config(broker(), "", &queue);
    let missing = config.check().await;
    assert!(
        missing.iter().any(|f| f.severity == Severity::Error && f.message.contains(&queue)),
        "{missing:?}"
    );
    declare(&queue, "classic").await;
    let there = config.check().await;
    assert!(there.iter().any(|f| f.message.contains("0 messages and 0 consumers")), "{there:?}");
}
