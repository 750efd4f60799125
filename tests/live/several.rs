//! Four targets of four kinds at once, each with every change: one is killed, one stands still, and each has
//! everything in the end.
//!
//! Must never judge one of them less than a target that is alone.

use crate::consumer::Topic;
use crate::far::FarSide;
use crate::finish::conclude_all;
use crate::load::{Load, Plan};
use crate::nats::Stream;
use crate::rabbitmq::Queue;
use crate::receiver::Receiver;
use crate::server::Server;
use crate::{books, seed, turn};

/// Changes in all, at least.
const CHANGES: u64 = 30_000;
/// Changes that must be acknowledged while two of the far sides are away.
const DURING_OUTAGE: u64 = 8_000;

#[tokio::test(flavor = "multi_thread")]
async fn four_targets_at_once_are_each_complete_with_one_killed_and_one_frozen() {
    let _turn = turn().await;
    let test = "several";
    let (kafka, nats) = (Topic::create(test).await, Stream::create(test).await);
    let (amqp, http) = (Queue::create(test, "quorum").await, Receiver::start().await);
    let far: [(&str, &dyn FarSide); 4] =
        [("kafka", &kafka), ("nats", &nats), ("amqp", &*amqp), ("http", &http)];
    let mut server = Server::with(&far.map(|(name, far)| (name, far, "live-*")), "");
    let ready = server.start().await;
    let made = ready.s3.create_bucket("live-several").await.expect("an answer");
    assert_eq!(made.status, 200, "{made:?}");
    let plan = Plan {
        clients: 32,
        keys: 5_000,
        changes: u64::MAX,
        deletes: 100,
        reads: 50,
        blobs: 5,
        uploads: 5,
        batches: 2,
        seed: seed(test),
    };
    let load = Load::start("live-several", plan);
    load.serve(Some(ready.s3.clone()));
    load.acknowledged(CHANGES / 3).await;

    let (killed, frozen) = (kafka.kill().await, amqp.stop().await);
    let before = load.acknowledged_now();
    let delivered = async |name: &'static str| books::read_of(&ready.admin, name).await.books.delivered;
    let then = [delivered("nats").await, delivered("http").await];
    load.acknowledged(before + DURING_OUTAGE).await;
    for (name, then) in ["nats", "http"].into_iter().zip(then) {
        let now = delivered(name).await;
        assert!(now > then, "{name} stands still with its neighbours: {then}, then {now}");
    }
    for name in ["kafka", "amqp"] {
        let left = books::read_of(&ready.admin, name).await.books;
        println!("{test}: {} events wait for {name}", left.backlog + left.held);
        assert!(left.backlog + left.held > DURING_OUTAGE / 2, "{name} was not away: {left:?}");
    }
    frozen.mend().await;
    killed.mend().await;
    load.acknowledged(CHANGES.max(load.acknowledged_now() + DURING_OUTAGE / 2)).await;
    load.stop();
    let shared = load.finished().await;
    assert_eq!(shared.refused(), 0, "a broken target refuses nothing");
    // Who was not harmed has nothing twice.
    let most = |name: &str| if matches!(name, "kafka" | "amqp") { usize::MAX } else { 0 };
    let judged = far.map(|(name, far)| (name, far, most(name)));
    let reports = conclude_all(test, &mut server, &ready, &shared, &judged).await;
    for report in reports {
        assert!(report.events as u64 >= CHANGES / 2, "{report}");
    }
}
