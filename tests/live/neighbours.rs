//! Bad neighbours: a target that answers nothing at all, one that takes connections and never answers, and
//! one that is dead and gets one change in thousands. The live one beside them has everything, and the log
//! lets go.
//!
//! Must never pass without its pressure: the log's budget is written several times while they are away.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::checker::Delivery;
use crate::far::{FarSide, Fault};
use crate::finish::conclude;
use crate::load::{Load, Plan};
use crate::receiver::Receiver;
use crate::server::{Ready, Server};
use crate::stuck::{acknowledged, bucket, journal, logged, tight};
use crate::{books, record, seed, turn};

/// The log may take so much, segments that stand ready come on top.
const LOG_MIB: u64 = 16;
const PREPARED: u64 = 4 << 20;
/// Of the live target's changes, those after which each of the slow neighbours gets one, and the dead one.
const SLOW: u64 = 100;
const SPARSE: u64 = 10_000;
/// The live target's changes before anybody is away, and while the others are.
const ALONE: u64 = 20_000;
const CHANGES: u64 = 40_000;
/// A connection attempt that takes longer than this gets no answer.
const UNANSWERED: Duration = Duration::from_millis(500);
const ASK_EVERY: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(120);

/// Takes events in this process, once it is told to.
#[derive(Clone)]
struct Slow {
    address: SocketAddr,
    takes: watch::Sender<bool>,
    arrived: Arc<Mutex<Vec<Delivery>>>,
}

impl Slow {
    fn at(address: SocketAddr) -> Self {
        Self { address, takes: watch::Sender::new(false), arrived: Arc::default() }
    }

    /// Takes connections and requests, and answers nothing.
    async fn hanging() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let slow = Self::at(listener.local_addr().expect("bound"));
        slow.serve(listener);
        slow
    }

    fn serve(&self, listener: TcpListener) {
        let router = Router::new().route("/", post(take)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
    }

    fn arrived(&self) -> Vec<Delivery> {
        self.arrived.lock().expect("nobody panics here").clone()
    }
}

/// Only answers once it takes events; whoever has given up by then is not counted.
async fn take(State(slow): State<Slow>, body: Bytes) -> StatusCode {
    let mut takes = slow.takes.subscribe();
    let _ = takes.wait_for(|takes| *takes).await;
    slow.arrived.lock().expect("nobody panics here").push(record::parse(&body, None, 0));
    StatusCode::NO_CONTENT
}

#[async_trait]
impl FarSide for Slow {
    fn connector(&self) -> String {
        let address = self.address;
        format!(
            "[target.live]\nattempt_timeout = \"5s\"\nbackoff_max = \"1s\"\n\
             [target.live.connector.http]\nurl = \"http://{address}/\"\ntimeout = \"2s\"\n\
             connect_timeout = \"1s\"\n"
        )
    }
    async fn read_all(&self) -> Vec<Delivery> {
        self.arrived()
    }
    async fn kill(&self) -> Fault {
        unreachable!("it is away from the beginning")
    }
    async fn stop(&self) -> Fault {
        unreachable!("it is away from the beginning")
    }
}

/// A listener whose queue of connections is full: packets of others are dropped, without a word.
struct Blackhole {
    listener: TcpListener,
    _fill: Vec<TcpStream>,
}

impl Blackhole {
    async fn start() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
        let listener = socket.listen(1).expect("it listens");
        let address = listener.local_addr().expect("bound");
        let mut fill = Vec::new();
        while let Ok(connected) = timeout(UNANSWERED, TcpStream::connect(address)).await {
            fill.push(connected.expect("it is queued"));
        }
        Self { listener, _fill: fill }
    }
}

/// The neighbours' changes as clients were told: key and request id, in order.
#[derive(Default)]
struct Made(Vec<(String, String)>);

impl Made {
    async fn put(&mut self, ready: &Ready, bucket: &str, n: u64) {
        // Two keys: each has an order to keep.
        let key = format!("key-{}", n % 2);
        let put = ready.s3.put(bucket, &key, format!("body {n}")).await.expect("an answer");
        assert_eq!(put.status, 200, "{put:?}");
        let request = put.header("x-amz-request-id").expect("named").to_owned();
        self.0.push((format!("{bucket}/{key}"), request));
    }

    /// Everything came, each key in order; repeats may go back, never jump.
    fn came(&self, name: &str, arrived: &[Delivery]) {
        for key in self.0.iter().map(|(key, _)| key).collect::<std::collections::BTreeSet<_>>() {
            let made: Vec<_> =
                self.0.iter().filter(|(k, _)| k == key).map(|(_, request)| request.as_str()).collect();
            let mut next = 0;
            for one in arrived.iter().filter(|one| *one.key == **key) {
                let request = one.request_id.as_deref().expect("named");
                let at = made.iter().position(|made| *made == request).expect("it was made");
                assert!(at <= next, "{name}: event {at} of {key} came, and {next} did not yet");
                next = next.max(at + 1);
            }
            assert_eq!(next, made.len(), "{name}: {key} is complete");
        }
    }
}

/// How fast so many changes were made, in words.
async fn paced(server: &Server, changes: u64, work: impl Future<Output = ()>) -> String {
    let (began, before) = (Instant::now(), server.processor_time());
    work.await;
    let each = (server.processor_time() - before).as_micros() / u128::from(changes);
    let rate = changes as f64 / began.elapsed().as_secs_f64();
    format!("{rate:.0} changes/s at {each} µs of processor time each")
}

/// Clients go on, and now and then the neighbours get something.
async fn work(load: &Load, ready: &Ready, slow: &mut Made, sparse: &mut Made) {
    for changes in (ALONE..ALONE + CHANGES).step_by(SLOW as usize) {
        acknowledged(load, changes).await;
        slow.put(ready, "live-slow", changes / SLOW).await;
        if changes.is_multiple_of(SPARSE) {
            sparse.put(ready, "live-little", changes / SPARSE).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_that_hang_drop_everything_or_are_dead_cost_the_live_one_nothing() {
    let _turn = turn().await;
    let test = "neighbours";
    let (live, dead, hanging) = (Receiver::start().await, Receiver::start().await, Slow::hanging().await);
    let blackhole = Blackhole::start().await;
    let dropping = Slow::at(blackhole.listener.local_addr().expect("bound"));
    let targets: [(&str, &dyn FarSide, &str); 4] = [
        ("live", &live, "live-much"),
        ("hanging", &hanging, "live-slow"),
        ("dropping", &dropping, "live-slow"),
        ("sparse", &dead, "live-little"),
    ];
    // Away for long: without a bound on its pauses it might be asked again only minutes later.
    let config = tight(LOG_MIB) + "[target.sparse]\nbackoff_max = \"1s\"\n";
    let mut server = Server::with(&targets, &config);
    let ready = server.start().await;
    for name in ["live-much", "live-slow", "live-little"] {
        bucket(&ready, name).await;
    }
    let plan = Plan { seed: seed(test), keys: 5_000, ..crate::stuck::PLAN };
    let load = Load::start("live-much", plan);
    load.serve(Some(ready.s3.clone()));
    let alone = paced(&server, ALONE, acknowledged(&load, ALONE)).await;

    let fault = dead.kill().await;
    let (mut slow, mut sparse) = (Made::default(), Made::default());
    let beside = paced(&server, CHANGES, work(&load, &ready, &mut slow, &mut sparse)).await;
    load.stop();
    let shared = load.finished().await;
    assert!(logged(&shared) > 2 * (LOG_MIB << 20), "only {} bytes", logged(&shared));
    books::drained(&ready.admin, "live").await;
    for (name, made) in [("hanging", &slow), ("dropping", &slow), ("sparse", &sparse)] {
        let left = books::read_of(&ready.admin, name).await.books;
        assert_eq!((left.backlog + left.held, left.delivered), (made.0.len() as u64, 0), "{name}: {left:?}");
    }
    let mut stat = journal(&server, &ready).await;
    let trimmed = async {
        while stat["bytes"].as_u64() > stat["limit_bytes"].as_u64().map(|limit| limit / 2 + PREPARED) {
            sleep(ASK_EVERY).await;
            stat = journal(&server, &ready).await;
        }
    };
    let trimmed = timeout(PATIENCE, trimmed).await;
    println!(
        "{test}: alone {alone}; beside them {beside}; {} and {} events wait; {stat}",
        slow.0.len(),
        sparse.0.len()
    );
    assert!(trimmed.is_ok(), "the log is not trimmed: {stat}");

    // Everybody comes back by themselves.
    fault.mend().await;
    hanging.takes.send_replace(true);
    dropping.takes.send_replace(true);
    dropping.serve(blackhole.listener);
    for (name, made) in [("hanging", &slow), ("dropping", &slow), ("sparse", &sparse)] {
        let books = books::drained(&ready.admin, name).await.books;
        assert_eq!((books.matched, books.delivered), (made.0.len() as u64, made.0.len() as u64), "{name}");
    }
    slow.came("hanging", &hanging.arrived());
    slow.came("dropping", &dropping.arrived());
    sparse.came("sparse", &dead.read_all().await);
    conclude(test, &mut server, &ready, &shared, &live, 0).await;
}
