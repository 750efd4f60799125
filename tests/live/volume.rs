//! Many changes through to each kind of far side: without a fault, and with the broker killed, the broker stopped and the
//! server stopped in the middle.
//!
//! Must never pass without its fault: each shows that changes were acknowledged while it lasted.

use std::time::{Duration, Instant};

use crate::broker::Fault;
use crate::consumer::Far;
use crate::finish::conclude;
use crate::kafka::Topic;
use crate::load::{Load, Plan};
use crate::rabbitmq::Queue;
use crate::server::{Ready, Server};
use crate::{books, seed, turn};

/// How long the broker stands still.
const STOPPED_FOR: Duration = Duration::from_secs(30);
/// Changes that must be acknowledged while the broker is away, and after it came back.
const DURING_OUTAGE: u64 = 5_000;

/// Changes in a run with a fault, at least.
const CHANGES: u64 = 30_000;

const PLAN: Plan =
    Plan { clients: 32, keys: 5_000, changes: CHANGES, deletes: 150, reads: 50, blobs: 5, seed: 0 };

struct Scene {
    test: &'static str,
    far: Box<dyn Far>,
    server: Server,
    ready: Ready,
    load: Load,
    began: Instant,
}

/// A server, a bucket, and clients at work.
async fn begin(test: &'static str, far: impl Far + 'static, changes: u64) -> Scene {
    let plan = Plan { changes, seed: seed(test), ..PLAN };
    let mut server = Server::new(&far, "");
    let ready = server.start().await;
    let made = ready.s3.create_bucket("live-volume").await.expect("an answer");
    assert_eq!(made.status, 200, "{made:?}");
    let load = Load::start("live-volume", plan);
    load.serve(Some(ready.s3.clone()));
    Scene { test, far: Box::new(far), server, ready, load, began: Instant::now() }
}

/// Shows that changes are acknowledged and nothing is delivered while the broker is away.
async fn outage(scene: &Scene) {
    let before = scene.load.acknowledged_now();
    books::backlog_above(&scene.ready.admin, DURING_OUTAGE / 2).await;
    scene.load.acknowledged(before + DURING_OUTAGE).await;
    let waiting = books::read(&scene.ready.admin).await.books.backlog;
    println!("{}: {waiting} events wait for the broker", scene.test);
}

/// The broker is back: clients go on, old and new events arrive.
async fn go_on_and_end(scene: Scene) -> usize {
    scene.load.serve(Some(scene.ready.s3.clone()));
    let now = scene.load.acknowledged_now();
    scene.load.acknowledged(CHANGES.max(now + DURING_OUTAGE)).await;
    scene.load.stop();
    end(scene, usize::MAX).await
}

/// Waits for the clients, judges, and returns the duplicates.
async fn end(mut scene: Scene, max_duplicates: usize) -> usize {
    let shared = scene.load.finished().await;
    let seconds = scene.began.elapsed().as_secs_f64();
    let (test, ready) = (scene.test, &scene.ready);
    println!("{test}: {:.0} operations/s by the clients", shared.recorder.ops().len() as f64 / seconds);
    let report = conclude(test, &mut scene.server, ready, &shared, &*scene.far, max_duplicates).await;
    assert!(report.reads as u64 >= PLAN.keys, "every key was read back");
    report.duplicates()
}

/// No fault: everything arrives once.
async fn undisturbed(test: &'static str, far: impl Far + 'static) {
    let scene = begin(test, far, 100_000).await;
    scene.load.acknowledged(100_000).await;
    assert_eq!(scene.load.shared.refused(), 0, "no fault, no 5xx");
    end(scene, 0).await;
}

/// `kill -9` of the broker, and its return.
async fn broker_killed(test: &'static str, far: impl Far + 'static) {
    let scene = begin(test, far, u64::MAX).await;
    scene.load.acknowledged(CHANGES / 2).await;
    let fault = Fault::kill(scene.far.broker()).await;
    outage(&scene).await;
    fault.mend().await;
    let duplicates = go_on_and_end(scene).await;
    println!("{test}: {duplicates} duplicates");
}

/// SIGSTOP of the broker for half a minute.
async fn broker_stopped(test: &'static str, far: impl Far + 'static) {
    let scene = begin(test, far, u64::MAX).await;
    scene.load.acknowledged(CHANGES / 2).await;
    let fault = Fault::stop(scene.far.broker()).await;
    let since = tokio::time::Instant::now();
    outage(&scene).await;
    // Enough is waiting; more would only take longer to judge.
    scene.load.serve(None);
    tokio::time::sleep_until(since + STOPPED_FOR).await;
    fault.mend().await;
    let duplicates = go_on_and_end(scene).await;
    println!("{test}: {duplicates} duplicates");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_100k_changes_of_32_clients_arrive_once_and_in_order() {
    let _turn = turn().await;
    undisturbed("volume", Topic::create("volume").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_killed_in_the_middle_loses_nothing() {
    let _turn = turn().await;
    broker_killed("broker-killed", Topic::create("broker-killed").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_stands_still_for_half_a_minute_loses_nothing() {
    let _turn = turn().await;
    broker_stopped("broker-stopped", Topic::create("broker-stopped").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_stopped_and_started_under_load_loses_nothing() {
    const STOPS: u64 = 3;
    let _turn = turn().await;
    let mut scene = begin("server-stopped", Topic::create("server-stopped").await, 12_000).await;
    for stop in 1..=STOPS {
        scene.load.acknowledged(stop * 3_000).await;
        // Stands still for a moment first: what was half done must be finished or given up, never both.
        scene.server.signal("STOP").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        scene.server.signal("CONT").await;
        scene.server.stop().await;
        scene.load.serve(None);
        scene.ready = scene.server.start().await;
        scene.load.serve(Some(scene.ready.s3.clone()));
    }
    // A clean stop saves its progress: what was delivered before is not delivered again.
    end(scene, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_100k_changes_reach_a_classic_queue_once_and_in_order() {
    let _turn = turn().await;
    undisturbed("classic", Queue::create("classic", "classic").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rabbitmq_with_a_classic_queue_killed_in_the_middle_loses_nothing() {
    let _turn = turn().await;
    broker_killed("classic-killed", Queue::create("classic-killed", "classic").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rabbitmq_with_a_classic_queue_that_stands_still_loses_nothing() {
    let _turn = turn().await;
    broker_stopped("classic-stopped", Queue::create("classic-stopped", "classic").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_100k_changes_reach_a_quorum_queue_once_and_in_order() {
    let _turn = turn().await;
    undisturbed("quorum", Queue::create("quorum", "quorum").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rabbitmq_with_a_quorum_queue_killed_in_the_middle_loses_nothing() {
    let _turn = turn().await;
    broker_killed("quorum-killed", Queue::create("quorum-killed", "quorum").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rabbitmq_with_a_quorum_queue_that_stands_still_loses_nothing() {
    let _turn = turn().await;
    broker_stopped("quorum-stopped", Queue::create("quorum-stopped", "quorum").await).await;
}
