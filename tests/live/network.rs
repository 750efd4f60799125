//! A network that fails between the server and all four kinds of far sides at once: each has everything in
//! the end, in order, whatever the network did.
//!
//! Must never pass without its trouble: each connection line shows that it was felt, and changes were
//! acknowledged while it lasted.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::chaos::{Proxy, Trouble, Way};
use crate::checker::{Delivery, Report};
use crate::consumer::Topic;
use crate::far::{FarSide, Fault};
use crate::finish::conclude_all;
use crate::load::{Load, Plan};
use crate::nats::{self, Stream};
use crate::rabbitmq::{self, Queue};
use crate::receiver::Receiver;
use crate::server::{Ready, Server};
use crate::stuck::acknowledged;
use crate::{books, broker, number, seed, turn};

/// Changes before the trouble, while it lasts, and after it.
const CHANGES: u64 = 1_000;
/// The same where little passes.
const FEW: u64 = 150;
/// A trouble lasts for at least so long: longer than anybody waits for an answer.
const LASTS: Duration = Duration::from_secs(5);
/// A peer that vanished is noticed within this time, however quiet the network is about it.
const NOTICED_WITHIN: Duration = Duration::from_secs(60);
/// Far longer than anything waited for here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// How often a proxy is asked whether its trouble was felt.
pub(crate) const ASK_EVERY: Duration = Duration::from_millis(20);
/// The kinds of far sides.
pub(crate) const KINDS: [&str; 4] = ["kafka", "nats", "amqp", "http"];

pub(crate) const PLAN: Plan = Plan {
    clients: 16,
    keys: 300,
    changes: u64::MAX,
    deletes: 100,
    reads: 20,
    blobs: 0,
    uploads: 0,
    batches: 0,
    seed: 0,
};

/// How long an answer may take, at all targets.
#[derive(Clone, Copy)]
enum Waits {
    /// A few seconds: what is silent is given up soon.
    Short,
    /// Half a minute: slowness alone breaks nothing.
    Long,
}

/// A far side that is reached through a proxy.
struct Through {
    far: Box<dyn FarSide>,
    connector: String,
    proxy: Proxy,
}

impl Through {
    /// `far` by a proxy at `at` instead of directly at `address`.
    async fn new(far: Box<dyn FarSide>, address: &str, at: (&str, String), seed: u64) -> Self {
        let proxy = Proxy::start(at.0, at.1, seed).await;
        let connector = far.connector().replace(address, &proxy.address().to_string());
        assert_ne!(connector, far.connector(), "{address} does not stand in it");
        Self { far, connector, proxy }
    }

    /// One of each kind, with places of their own for this test.
    async fn all(test: &str, seed: u64, waits: Waits) -> [Self; 4] {
        let receiver = Receiver::start().await;
        let at = receiver.address().to_string();
        let told = std::env::var("TIDINGS_TEST_KAFKA_PROXIED")
            .expect("live tests need a broker that sends clients to a proxy: run `cargo xtask test`");
        let (_, port) = told.rsplit_once(':').expect("host and port");
        let behind = format!("127.0.0.1:{port}");
        let (any, topic) = ("127.0.0.1:0", Box::new(Topic::create(test).await));
        let stream = Box::new(Stream::create(test).await);
        let queue = Queue::create(test, "quorum").await;
        let all = [
            Self::new(topic, &broker::address(), (&told, behind), seed).await,
            Self::new(stream, &nats::address(), (any, nats::address()), seed ^ 1).await,
            Self::new(queue, &rabbitmq::address(), (any, rabbitmq::address()), seed ^ 2).await,
            Self::new(Box::new(receiver), &at, (any, at.clone()), seed ^ 3).await,
        ];
        all.map(|one| one.waiting(waits))
    }

    fn waiting(mut self, waits: Waits) -> Self {
        let (attempt, answer, connect) = match waits {
            Waits::Short => ("4s", "2s", "2s"),
            Waits::Long => ("60s", "30s", "20s"),
        };
        let key = if self.connector.contains("connector.nats]") {
            "ack_timeout"
        } else if self.connector.contains("connector.amqp]") {
            "confirm_timeout"
        } else {
            // Kafka's requests have no deadline of their own: the lane's attempts do.
            ""
        };
        let own = self.connector.replace("timeout = \"5s\"\n", &format!("timeout = \"{answer}\"\n"));
        let own = if key.is_empty() { own } else { format!("{own}{key} = \"{answer}\"\n") };
        self.connector = format!(
            "[target.live]\nattempt_timeout = \"{attempt}\"\nbackoff_min = \"100ms\"\n\
             backoff_max = \"1s\"\n{own}connect_timeout = {connect:?}\n"
        );
        self
    }
}

#[async_trait]
impl FarSide for Through {
    fn connector(&self) -> String {
        self.connector.clone()
    }
    async fn read_all(&self) -> Vec<Delivery> {
        self.far.read_all().await
    }
    async fn kill(&self) -> Fault {
        unreachable!("the network is what fails here")
    }
    async fn stop(&self) -> Fault {
        unreachable!("the network is what fails here")
    }
}

/// A server with four targets, all through the network, and clients at work.
struct Scene {
    test: &'static str,
    far: [Through; 4],
    server: Server,
    ready: Ready,
    load: Load,
}

impl Scene {
    async fn begin(test: &'static str, waits: Waits) -> Self {
        let seed = seed(test);
        let far = Through::all(test, seed, waits).await;
        let targets: Vec<_> =
            KINDS.into_iter().zip(&far).map(|(name, far)| (name, far as &dyn FarSide, "live-*")).collect();
        let mut server = Server::with(&targets, "");
        let ready = server.start().await;
        crate::stuck::bucket(&ready, "live-network").await;
        let load = Load::start("live-network", Plan { seed, ..PLAN });
        Self { test, far, server, ready, load }
    }

    /// So many changes more, none of them refused; then the clients wait.
    async fn work(&self, changes: u64) {
        self.load.serve(Some(self.ready.s3.clone()));
        acknowledged(&self.load, self.load.acknowledged_now() + changes).await;
        self.load.serve(None);
    }

    /// From now on this happens on every line.
    fn set(&self, trouble: Trouble) {
        self.far.iter().for_each(|far| far.proxy.set(trouble));
    }

    /// Works while this happens on every line, until each has felt it.
    async fn suffer(&self, trouble: Trouble, changes: u64, lasts: Duration) {
        let since = Instant::now();
        self.set(trouble);
        self.work(changes).await;
        for (name, far) in KINDS.iter().zip(&self.far) {
            // What passes may need more to be noticed: little at a time, since on a narrow line all of it has
            // to pass within the time that one answer may take.
            let felt = async {
                while far.proxy.felt() == 0 {
                    self.work(changes.div_ceil(10)).await;
                    sleep(ASK_EVERY).await;
                }
            };
            let felt = timeout(PATIENCE, felt).await;
            felt.unwrap_or_else(|_| panic!("{}: {name} felt nothing of {trouble:?}", self.test));
        }
        sleep_until(since + lasts).await;
    }

    /// Waits until every target has everything that was changed so far.
    async fn drained(&self) {
        for name in KINDS {
            books::drained(&self.ready.admin, name).await;
        }
    }

    /// The network is well again. Everything arrived, in order, with at most so many repeats for each target.
    async fn end(mut self, changes: u64, most: usize) -> Vec<Report> {
        self.set(Trouble::None);
        self.work(changes).await;
        self.load.stop();
        let shared = self.load.finished().await;
        assert_eq!(shared.refused(), 0, "a broken network refuses nothing");
        let judged: Vec<_> =
            KINDS.into_iter().zip(&self.far).map(|(name, far)| (name, far as &dyn FarSide, most)).collect();
        conclude_all(self.test, &mut self.server, &self.ready, &shared, &judged).await
    }
}

/// One trouble for as long as changes are made in it.
async fn through(test: &'static str, trouble: Trouble) {
    let _turn = turn().await;
    let scene = Scene::begin(test, Waits::Short).await;
    scene.work(CHANGES).await;
    scene.suffer(trouble, CHANGES, LASTS).await;
    scene.end(CHANGES, usize::MAX).await;
}

/// Slowness delivers late, and nothing twice.
async fn slowly(test: &'static str, trouble: Trouble, changes: u64) {
    let _turn = turn().await;
    let scene = Scene::begin(test, Waits::Long).await;
    scene.work(FEW).await;
    scene.suffer(trouble, changes, Duration::ZERO).await;
    scene.drained().await;
    scene.end(FEW, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_whose_peer_vanished_are_noticed_and_nothing_is_lost() {
    let _turn = turn().await;
    let scene = Scene::begin("half-open", Waits::Short).await;
    scene.work(CHANGES).await;
    scene.suffer(Trouble::Swallow(Way::Both), CHANGES, LASTS).await;
    // Who connects anew is served; what was open stays dead, and nobody says so.
    scene.set(Trouble::None);
    let began = Instant::now();
    if timeout(NOTICED_WITHIN, scene.drained()).await.is_err() {
        for name in KINDS {
            println!("half-open/{name}: {:?}", books::read_of(&scene.ready.admin, name).await);
        }
        panic!("a vanished peer is noticed within a minute");
    }
    println!(
        "half-open: everything arrived {:.1} s after the network was back",
        began.elapsed().as_secs_f64()
    );
    scene.end(CHANGES, usize::MAX).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_connections_outlive_loses_nothing() {
    through("partition", Trouble::Hold(Way::Both)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_passes_no_requests_loses_nothing() {
    through("no-requests", Trouble::Swallow(Way::Up)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_passes_no_answers_loses_nothing() {
    through("no-answers", Trouble::Swallow(Way::Down)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_reset_before_their_answers_lose_nothing() {
    through("reset-answers", Trouble::Reset(Way::Down, 2 << 10)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_reset_within_requests_lose_nothing() {
    through("reset-requests", Trouble::Reset(Way::Up, 32 << 10)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_flaps_every_second_loses_nothing() {
    const FLAPS: u32 = 3;
    const EACH: Duration = Duration::from_secs(1);
    let _turn = turn().await;
    let scene = Scene::begin("flapping", Waits::Short).await;
    scene.work(CHANGES).await;
    for _ in 0..FLAPS {
        scene.suffer(Trouble::Refuse, FEW, EACH).await;
        let since = Instant::now();
        scene.set(Trouble::None);
        scene.work(FEW).await;
        sleep_until(since + EACH).await;
    }
    scene.end(CHANGES, usize::MAX).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_with_two_seconds_of_latency_delivers_everything_once() {
    slowly("latency", Trouble::Delay(Duration::from_secs(2)), FEW / 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_of_64_kbit_a_second_delivers_everything_once() {
    slowly("narrow", Trouble::Trickle(8_000), FEW / 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_loses_a_third_of_its_packets_delivers_everything_once() {
    slowly("lossy", Trouble::Lossy, CHANGES / 2).await;
}

/// SIGSTOP and SIGCONT: whatever it was in the middle of is finished or begun again, never both.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stands_still_longer_than_everybody_waits_loses_nothing() {
    let _turn = turn().await;
    let scene = Scene::begin("standstill", Waits::Short).await;
    scene.work(CHANGES).await;
    let stands = number("TIDINGS_STOP_SECONDS").map_or(2 * LASTS, Duration::from_secs);
    scene.server.signal("STOP").await;
    sleep(stands).await;
    scene.server.signal("CONT").await;
    scene.end(CHANGES, usize::MAX).await;
}
