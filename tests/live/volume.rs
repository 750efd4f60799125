//! Many changes through to the far side: without a fault, with the far side killed or standing still, and
//! with the server stopped in the middle.
//!
//! Must never pass without its fault: each shows that changes were acknowledged while it lasted.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::Value;

use crate::consumer::Topic;
use crate::far::{FarSide, Fault};
use crate::finish::conclude;
use crate::load::{Load, Plan};
use crate::server::{Ready, Server};
use crate::{books, seed, turn};

/// How long the far side stands still.
const STOPPED_FOR: Duration = Duration::from_secs(30);
/// Changes that must be acknowledged while the far side is away, and after it came back.
const DURING_OUTAGE: u64 = 5_000;

/// What went wrong is shown within this time.
const SHOWN_WITHIN: Duration = Duration::from_secs(60);
/// How often the foreign process is asked.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// Changes in a run with a fault, at least.
const CHANGES: u64 = 30_000;

const PLAN: Plan = Plan {
    clients: 32,
    keys: 5_000,
    changes: CHANGES,
    deletes: 100,
    reads: 50,
    blobs: 5,
    uploads: 5,
    batches: 2,
    seed: 0,
};

/// A far side, a server, a bucket, and clients at work.
pub(crate) struct Scene {
    test: &'static str,
    far: Box<dyn FarSide>,
    server: Server,
    ready: Ready,
    load: Load,
    began: Instant,
}

/// Many changes and no fault: everything arrives once.
pub(crate) async fn quiet(test: &'static str, far: Box<dyn FarSide>, changes: u64) {
    let scene = Scene::begin(test, far, changes).await;
    scene.load.acknowledged(changes).await;
    assert_eq!(scene.load.shared.refused(), 0, "no fault, no 5xx");
    scene.end(0).await;
}

/// The far side is killed in the middle, and started again.
pub(crate) async fn killed(test: &'static str, far: Box<dyn FarSide>) {
    let scene = Scene::begin(test, far, u64::MAX).await;
    scene.load.acknowledged(CHANGES / 2).await;
    let fault = scene.far.kill().await;
    scene.outage().await;
    fault.mend().await;
    let duplicates = scene.go_on_and_end().await;
    println!("{test}: {duplicates} duplicates");
}

/// The far side says that it takes nothing for now, in words that `seen` finds in what operators are shown,
/// and goes on later. It is not told that anything happened: nobody is asked to do anything.
pub(crate) async fn asked_to_wait(
    test: &'static str,
    far: Box<dyn FarSide>,
    fault: impl Future<Output = Fault>,
    seen: &str,
) {
    let scene = Scene::begin(test, far, u64::MAX).await;
    scene.load.acknowledged(CHANGES / 2).await;
    let fault = fault.await;
    scene.outage().await;
    let view = scene.shown(seen).await;
    println!("{test}: {} {}", view["state"], view["last_failure"]);
    assert_eq!(view["dead_letters"], 0, "{view}");
    fault.mend().await;
    let duplicates = scene.go_on_and_end().await;
    println!("{test}: {duplicates} duplicates");
}

/// The far side stands still for half a minute.
pub(crate) async fn stopped(test: &'static str, far: Box<dyn FarSide>) {
    let scene = Scene::begin(test, far, u64::MAX).await;
    scene.load.acknowledged(CHANGES / 2).await;
    let fault = scene.far.stop().await;
    let since = tokio::time::Instant::now();
    scene.outage().await;
    // Enough is waiting; more would only take longer to judge.
    scene.load.serve(None);
    tokio::time::sleep_until(since + STOPPED_FOR).await;
    fault.mend().await;
    let duplicates = scene.go_on_and_end().await;
    println!("{test}: {duplicates} duplicates");
}

impl Scene {
    async fn begin(test: &'static str, far: Box<dyn FarSide>, changes: u64) -> Self {
        let plan = Plan { changes, seed: seed(test), ..PLAN };
        let mut server = Server::new(&*far, "");
        let ready = server.start().await;
        let made = ready.s3.create_bucket("live-volume").await.expect("an answer");
        assert_eq!(made.status, 200, "{made:?}");
        let load = Load::start("live-volume", plan);
        load.serve(Some(ready.s3.clone()));
        Self { test, far, server, ready, load, began: Instant::now() }
    }

    /// Shows that changes are acknowledged and nothing is delivered while the far side is away.
    async fn outage(&self) {
        let before = self.load.acknowledged_now();
        books::backlog_above(&self.ready.admin, DURING_OUTAGE / 2).await;
        self.load.acknowledged(before + DURING_OUTAGE).await;
        let waiting = books::read(&self.ready.admin).await.books.backlog;
        println!("{}: {waiting} events wait for the far side", self.test);
    }

    /// What operators are shown of the target, once its last failure says `text`.
    async fn shown(&self, text: &str) -> Value {
        let bearer = format!("Bearer {}", self.server.token());
        let ask = async || {
            let headers = [("authorization", bearer.as_str())];
            let answer = self.ready.admin.send(Method::GET, "/v1/targets/live", &headers, "").await;
            serde_json::from_slice::<Value>(&answer.expect("an answer").body).expect("JSON")
        };
        let shown = async {
            loop {
                let view = ask().await;
                if view["last_failure"]["message"].as_str().is_some_and(|message| message.contains(text)) {
                    return view;
                }
                tokio::time::sleep(ASK_EVERY).await;
            }
        };
        tokio::time::timeout(SHOWN_WITHIN, shown).await.unwrap_or_else(|_| panic!("`{text}` is not shown"))
    }

    /// The far side is back: clients go on, old and new events arrive.
    async fn go_on_and_end(self) -> usize {
        self.load.serve(Some(self.ready.s3.clone()));
        let now = self.load.acknowledged_now();
        self.load.acknowledged(CHANGES.max(now + DURING_OUTAGE)).await;
        self.load.stop();
        self.end(usize::MAX).await
    }

    /// Waits for the clients, judges, and returns the duplicates.
    async fn end(mut self, max_duplicates: usize) -> usize {
        let shared = self.load.finished().await;
        let seconds = self.began.elapsed().as_secs_f64();
        let (test, ready) = (self.test, &self.ready);
        println!("{test}: {:.0} operations/s by the clients", shared.recorder.ops().len() as f64 / seconds);
        let report = conclude(test, &mut self.server, ready, &shared, &*self.far, max_duplicates).await;
        assert!(report.reads as u64 >= PLAN.keys, "every key was read back");
        report.duplicates()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_100k_changes_of_32_clients_arrive_once_and_in_order() {
    let _turn = turn().await;
    quiet("volume", Box::new(Topic::create("volume").await), 100_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_killed_in_the_middle_loses_nothing() {
    let _turn = turn().await;
    killed("broker-killed", Box::new(Topic::create("broker-killed").await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_stands_still_for_half_a_minute_loses_nothing() {
    let _turn = turn().await;
    stopped("broker-stopped", Box::new(Topic::create("broker-stopped").await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_stopped_and_started_under_load_loses_nothing() {
    const STOPS: u64 = 3;
    let _turn = turn().await;
    let topic = Topic::create("server-stopped").await;
    let mut scene = Scene::begin("server-stopped", Box::new(topic), 12_000).await;
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
    scene.end(0).await;
}
