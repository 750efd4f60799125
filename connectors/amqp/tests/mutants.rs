//! A deliberate fault of the connector, and the test that notices it. A process of its own: the switch is
//! for all of it.
//!
//! Must never call a mutant dead that was not alive: the same test passes without it.

#![allow(clippy::unwrap_used)]

#[allow(dead_code, reason = "shared with the scripted tests, which need all of it")]
#[path = "scripted/broker.rs"]
mod broker;

use std::sync::Arc;
use std::time::Duration;

use broker::{Broker, Manner, ack, returned};
use tidings_amqp::AmqpOptions;
use tidings_common::fail::set_mutant;
use tidings_connector::contract::{Driver, Target, message};
use tidings_connector::{ErrorClass, Outcome, Span};

/// Three events, of which no queue takes the second; all are acknowledged. `Err`: it was not kept.
async fn unroutable_is_kept() -> Result<(), String> {
    let mut held = Vec::new();
    let broker = Broker::start(Manner::default(), move |publish| {
        held.push(publish.clone());
        if held.len() < 3 {
            return Vec::new();
        }
        [returned(&held[1]), ack(held[2].tag, true)].concat()
    })
    .await;
    let options = AmqpOptions {
        url: format!("amqp://{}/%2f", broker.address()),
        exchange: "objects".to_owned(),
        routing_key: "key".to_owned(),
        password_file: broker.file("password", "secret"),
        connect_timeout: Span(Duration::from_secs(4)),
        ..AmqpOptions::default()
    };
    let target = Target { config: Arc::new(options.checked("t").unwrap()), destination: "key".into() };
    let connector = target.config.connect().await.unwrap();
    let sent: Vec<_> = (0..3).map(|n| message(&target, &format!("{n}"), n)).collect();
    let outcomes = Driver::new().attempt(&*connector, &sent).await;
    connector.close().await;
    match &outcomes[..] {
        [Outcome::Delivered, Outcome::Faulted { why, .. }, Outcome::Delivered]
            if why.class == ErrorClass::Unroutable =>
        {
            Ok(())
        }
        other => Err(format!("{other:?}")),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mutant_return_as_delivered() {
    unroutable_is_kept().await.unwrap_or_else(|why| panic!("without it: {why}"));
    set_mutant(Some("return-as-delivered"));
    let noticed = unroutable_is_kept().await;
    set_mutant(None);
    println!("return-as-delivered is noticed: {}", noticed.expect_err("the mutant lives"));
    println!("figure: mutants_caught=1");
}
