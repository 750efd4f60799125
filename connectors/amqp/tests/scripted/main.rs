//! What a real broker does too rarely to wait for, from one that follows a script.
//!
//! Must never stand in for the real broker: `contract.rs` runs the contract there.

#![allow(clippy::unwrap_used)]

mod broker;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use broker::{Broker, Manner, Publish, ack, close_channel, nack, returned};
use lapin::protocol::AMQPClass;
use lapin::protocol::connection::{AMQPMethod as Connection, Blocked, Unblocked};
use tidings_amqp::AmqpOptions;
use tidings_connector::contract::{Driver, Target, message, messages};
use tidings_connector::{Connector, ErrorClass, Outcome, Scope, Span};

/// What the password file of these tests holds; must show nowhere.
const SECRET: &str = "planted-secret-5b1e";

fn options(broker: &Broker) -> AmqpOptions {
    AmqpOptions {
        url: format!("amqp://{}/%2f", broker.address()),
        exchange: "objects".to_owned(),
        routing_key: "key".to_owned(),
        password_file: broker.file("password", SECRET),
        connect_timeout: Span(Duration::from_secs(4)),
        ..AmqpOptions::default()
    }
}

fn target(options: AmqpOptions) -> Target {
    let fixed = options.routing_key == "key";
    let config = Arc::new(options.checked("t").unwrap());
    Target { config, destination: if fixed { "key".into() } else { "photos".into() } }
}

async fn connect(target: &Target) -> Box<dyn Connector> {
    target.config.connect().await.unwrap()
}

fn class(outcome: &Outcome) -> ErrorClass {
    match outcome {
        Outcome::Retry { why, .. }
        | Outcome::Throttled { why, .. }
        | Outcome::Rejected { why }
        | Outcome::Faulted { why, .. } => why.class,
        Outcome::Delivered => panic!("delivered"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_return_among_six_acknowledged_together_is_the_only_one_not_delivered() {
    const ROUNDS: usize = 60;
    for culprit in 0..6 {
        let mut held = Vec::new();
        let broker = Broker::start(Manner::default(), move |publish| {
            held.push(publish.clone());
            if held.len() < 6 {
                return Vec::new();
            }
            let last = held[5].tag;
            let frames = [returned(&held[culprit]), ack(last, true)].concat();
            held.clear();
            frames
        })
        .await;
        let target = target(options(&broker));
        let connector = connect(&target).await;
        for round in 0..ROUNDS {
            let sent: Vec<_> = (0..6).map(|n| message(&target, &format!("{n}"), round * 10 + n)).collect();
            let outcomes = Driver::new().attempt(&*connector, &sent).await;
            for (n, outcome) in outcomes.iter().enumerate() {
                match outcome {
                    Outcome::Delivered if n != culprit => {}
                    Outcome::Faulted { scope: Scope::Target, why }
                        if n == culprit && why.class == ErrorClass::Unroutable => {}
                    other => panic!("round {round}, culprit {culprit}, message {n}: {other:?}"),
                }
            }
        }
        connector.close().await;
    }
}

/// Acknowledges everything, and ends the channel for what `bad` says.
fn closes_for(code: u16, bad: fn(&Publish) -> bool) -> impl FnMut(&Publish) -> Vec<broker::Frame> + Send {
    move |publish| if bad(publish) { close_channel(code) } else { ack(publish.tag, false) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_culprit_of_a_closed_channel_is_found_and_rejected_alone() {
    for code in [406, 311] {
        let broker = Broker::start(Manner::default(), closes_for(code, |publish| publish.size > 5_000)).await;
        let target = target(options(&broker));
        let connector = connect(&target).await;
        let mut left = messages(&target, 9);
        left[4].payload = vec![b'x'; 6_000].into();
        let mut rejected = Vec::new();
        for _ in 0..3 {
            let outcomes = Driver::new().attempt(&*connector, &left).await;
            let mut again = Vec::new();
            for (message, outcome) in left.into_iter().zip(outcomes) {
                match outcome {
                    Outcome::Delivered => {}
                    Outcome::Rejected { why } => {
                        assert_eq!(why.class, ErrorClass::TooLarge);
                        rejected.push(message.payload.len());
                    }
                    Outcome::Retry { .. } => again.push(message),
                    other => panic!("{other:?}"),
                }
            }
            left = again;
        }
        assert_eq!((left.len(), rejected), (0, vec![6_000]), "{code}");
        assert!(connector.healthy());
        connector.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forbidden_routing_key_affects_its_destination_alone() {
    let broker = Broker::start(Manner::default(), closes_for(403, |publish| publish.key == "secret")).await;
    let target = target(AmqpOptions { routing_key: "{bucket}".into(), ..options(&broker) });
    let connector = connect(&target).await;
    let mut sent = messages(&target, 5);
    sent[2].destination = "secret".into();
    let mut driver = Driver::new();
    let mut outcomes = driver.attempt(&*connector, &sent).await;
    if !matches!(outcomes[2], Outcome::Faulted { .. }) {
        outcomes = Driver::new().attempt(&*connector, &sent).await;
    }
    for (n, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Outcome::Delivered if n != 2 => {}
            Outcome::Faulted { scope: Scope::Destination, why }
                if n == 2 && why.class == ErrorClass::Auth => {}
            other => panic!("message {n}: {other:?}"),
        }
    }
    connector.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forbidden_exchange_faults_the_target() {
    let broker = Broker::start(Manner::default(), closes_for(403, |_| true)).await;
    let target = target(options(&broker));
    let connector = connect(&target).await;
    for outcome in Driver::new().attempt(&*connector, &messages(&target, 3)).await {
        assert!(matches!(outcome, Outcome::Faulted { scope: Scope::Target, .. }), "{outcome:?}");
        assert_eq!(class(&outcome), ErrorClass::Auth);
    }
    connector.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_message_is_tried_again() {
    let script = |publish: &Publish| {
        if publish.tag == 2 { nack(publish.tag) } else { ack(publish.tag, false) }
    };
    let broker = Broker::start(Manner::default(), script).await;
    let target = target(options(&broker));
    let connector = connect(&target).await;
    let outcomes = Driver::new().attempt(&*connector, &messages(&target, 3)).await;
    assert_eq!((&outcomes[0], &outcomes[2]), (&Outcome::Delivered, &Outcome::Delivered));
    assert!(matches!(outcomes[1], Outcome::Retry { .. }), "{:?}", outcomes[1]);
    assert_eq!(class(&outcomes[1]), ErrorClass::Nack);
    connector.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_blocks_publishers_slows_the_target_down_and_loses_nothing() {
    let broker = Broker::start(Manner::default(), |publish| ack(publish.tag, false)).await;
    let options = AmqpOptions { confirm_timeout: Span(Duration::from_secs(1)), ..options(&broker) };
    let target = target(options);
    let connector = connect(&target).await;
    let method = |method| vec![broker::Frame::Method(0, AMQPClass::Connection(method))];
    broker.push(method(Connection::Blocked(Blocked { reason: "low on memory".into() }))).await;
    // Until the notice is there, messages pass; one that met it on its way waits.
    let mut early = Driver::new();
    let mut n = 0;
    let why = loop {
        let mut driver = Driver::new();
        driver.hand_over(&*connector, &[message(&target, "k", n)], 1).await;
        if !driver.settle(Duration::from_secs(3)).await {
            early = driver;
            n += 1;
            continue;
        }
        match driver.outcomes() {
            [Some(Outcome::Delivered)] => n += 1,
            [Some(Outcome::Throttled { until, why })] => {
                assert!(*until > std::time::Instant::now());
                break why.clone();
            }
            other => panic!("{other:?}"),
        }
    };
    assert!(why.class == ErrorClass::Throttle && why.text.contains("low on memory"), "{why:?}");
    broker.push(method(Connection::Unblocked(Unblocked {}))).await;
    assert!(early.settle(Duration::from_secs(10)).await);
    assert!(early.outcomes().iter().flatten().all(|o| *o == Outcome::Delivered), "{:?}", early.outcomes());
    let late = [message(&target, "late", 1_000)];
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while Driver::new().attempt(&*connector, &late).await != [Outcome::Delivered] {
        assert!(tokio::time::Instant::now() < deadline, "the broker takes messages again");
    }
    connector.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_confirmation_that_does_not_come_is_given_up_and_the_others_go_on() {
    let script = |publish: &Publish| if publish.size > 5_000 { Vec::new() } else { ack(publish.tag, false) };
    let broker = Broker::start(Manner::default(), script).await;
    let target = target(AmqpOptions { confirm_timeout: Span(Duration::from_secs(1)), ..options(&broker) });
    let connector = connect(&target).await;
    let mut slow = Driver::new();
    let mut stuck = message(&target, "stuck", 0);
    stuck.payload = vec![b'x'; 6_000].into();
    slow.hand_over(&*connector, &[stuck], 1).await;
    let (mut n, deadline) = (0, tokio::time::Instant::now() + Duration::from_secs(20));
    while !slow.settle(Duration::ZERO).await {
        assert!(tokio::time::Instant::now() < deadline, "a confirmation is waited for, for ever");
        let outcomes = Driver::new().attempt(&*connector, &[message(&target, "other", n)]).await;
        assert_eq!(outcomes, [Outcome::Delivered]);
        n += 1;
    }
    let outcome = slow.outcomes()[0].clone().unwrap();
    assert!(
        matches!(outcome, Outcome::Retry { .. }) && class(&outcome) == ErrorClass::Timeout,
        "{outcome:?}"
    );
    assert!(connector.healthy(), "one late confirmation costs the others nothing");
    let outcomes = Driver::new().attempt(&*connector, &[message(&target, "other", n)]).await;
    assert_eq!(outcomes, [Outcome::Delivered]);
    drop(connector);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_answers_nothing_is_given_up() {
    let broker = Broker::start(Manner::default(), |_| Vec::new()).await;
    let target = target(AmqpOptions { confirm_timeout: Span(Duration::from_secs(1)), ..options(&broker) });
    let connector = connect(&target).await;
    for outcome in Driver::new().attempt(&*connector, &messages(&target, 5)).await {
        assert!(matches!(outcome, Outcome::Retry { .. }) && class(&outcome) == ErrorClass::Timeout);
    }
    broker.cut().await;
    assert!(!connector.healthy());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_broker_is_not_waited_for_and_the_wire_is_cut() {
    let broker = Broker::start(Manner { silent: true, ..Manner::default() }, |_| Vec::new()).await;
    let target =
        target(AmqpOptions { connect_timeout: Span(Duration::from_millis(300)), ..options(&broker) });
    let fault = target.config.connect().await.err().expect("silence");
    assert!(matches!(fault.outcome, Outcome::Retry { .. }), "{fault:?}");
    assert_eq!(class(&fault.outcome), ErrorClass::Timeout);
    // Without the cut the library's thread would wait here for ever.
    broker.cut().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connector_that_is_dropped_cuts_the_wire() {
    let broker = Broker::start(Manner { deaf_to_goodbyes: true, ..Manner::default() }, |_| Vec::new()).await;
    let target = target(options(&broker));
    let connector = connect(&target).await;
    let mut driver = Driver::new();
    driver.hand_over(&*connector, &messages(&target, 3), 1).await;
    drop(connector);
    assert!(driver.settle(Duration::from_secs(5)).await);
    broker.cut().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_told_where_the_login_is_refused() {
    let broker = Broker::start(Manner { refuses_login: true, ..Manner::default() }, |_| Vec::new()).await;
    let target = target(options(&broker));
    let fault = target.config.connect().await.err().expect("refused");
    assert!(matches!(fault.outcome, Outcome::Faulted { scope: Scope::Target, .. }), "{fault:?}");
    assert_eq!(class(&fault.outcome), ErrorClass::Auth);
    assert!(broker.saw(SECRET).await, "the password of the file was sent");
    let said = format!(
        "{fault} {fault:?} {:?} {} {:?}",
        target.config.check().await,
        target.config.fingerprint(),
        options(&broker)
    );
    assert!(!said.contains(SECRET), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_file_that_is_gone_is_a_fault_that_mends_itself() {
    let broker = Broker::start(Manner::default(), |publish| ack(publish.tag, false)).await;
    let options = options(&broker);
    let path = options.password_file.clone();
    let target = target(options);
    std::fs::remove_file(&path).unwrap();
    let fault = target.config.connect().await.err().expect("no password");
    assert!(matches!(fault.outcome, Outcome::Faulted { .. }) && fault.message.contains(&path), "{fault}");
    broker.file("password", "another one");
    let connector = connect(&target).await;
    assert!(broker.saw("another one").await, "the file is read for each connection");
    assert_eq!(Driver::new().attempt(&*connector, &messages(&target, 1)).await, [Outcome::Delivered]);
    connector.close().await;
}
