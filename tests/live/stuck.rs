//! A key whose receiver always fails, and a target that gets little and is dead: neither may hold the log.
//!
//! Must never pass without its pressure: each shows that what stood still saw the log's budget written twice.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use http::Method;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, timeout};

use crate::checker::{Action, Around, Delivery, Outcome, Run, check};
use crate::far::{FarSide, Fault};
use crate::finish::{conclude, conclude_all};
use crate::load::{Load, Plan, Shared};
use crate::receiver::Receiver;
use crate::server::{Ready, Server};
use crate::{books, number, record, seed, turn};

/// The clients work for at least so long unless `TIDINGS_STUCK_SECONDS` says otherwise; for all but the
/// first quarter of it the key stands still. The long form: `TIDINGS_STUCK_SECONDS=600
/// TIDINGS_STUCK_KEYS=100000 TIDINGS_STUCK_LOG_MIB=64`.
const STUCK_SECONDS: u64 = 40;
/// The log may take so much unless `TIDINGS_STUCK_LOG_MIB` says otherwise.
const LOG_MIB: u64 = 8;
/// What the server's memory may grow by between a quarter of the run and its end.
const MEMORY_GROWTH: u64 = 64 << 20;
/// The key that nobody takes; one of those that the clients share.
const STUCK: &str = "live-stuck/plain/00000";
const KEY: &str = "plain/00000";
/// How often the foreign process is asked.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// Far longer than anything waited for here takes.
const PATIENCE: Duration = Duration::from_secs(120);
/// Of the live target's changes, those after which the dead one gets one.
const SPARSE: u64 = 10_000;

pub(crate) const PLAN: Plan = Plan {
    clients: 32,
    keys: 400,
    changes: u64::MAX,
    deletes: 100,
    reads: 20,
    blobs: 2,
    uploads: 0,
    batches: 0,
    seed: 0,
};

/// A small log, hardly any retention, small memories: what keeps the log shows soon.
pub(crate) fn tight(log_mib: u64) -> String {
    format!(
        "[queue]\nmax_bytes = \"{log_mib}MiB\"\nsegment_bytes = \"1MiB\"\nretain_bytes = 0\n\
         overlay_bytes = \"8MiB\"\ntail_bytes = \"4MiB\"\n\
         [store]\nindex_cache_bytes = \"8MiB\"\ncheckpoint_interval = \"1s\"\n"
    )
}

/// Takes every event but those of [`STUCK`] while that stands still; in this process.
#[derive(Clone, Default)]
struct Picky {
    address: String,
    stuck: Arc<AtomicBool>,
    arrived: Arc<Mutex<Vec<Delivery>>>,
    /// Of the others, from the change to its arrival, in milliseconds, once somebody wants to know.
    timed: Arc<AtomicBool>,
    took_ms: Arc<Mutex<Vec<u32>>>,
}

impl Picky {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let picky = Self { address, ..Self::default() };
        let router = Router::new().route("/", post(take)).with_state(picky.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        picky
    }

    fn arrived(&self) -> Vec<Delivery> {
        self.arrived.lock().expect("nobody panics here").clone()
    }

    fn arrived_of_stuck(&self) -> u64 {
        let arrived = self.arrived.lock().expect("nobody panics here");
        arrived.iter().filter(|one| &*one.key == STUCK).count() as u64
    }

    /// How long other keys' events took, in words: several processes on a busy machine, so nobody asserts.
    fn latencies(&self) -> String {
        let mut took = self.took_ms.lock().expect("nobody panics here").clone();
        took.sort_unstable();
        let at = |share: usize| took.get(took.len() * share / 1_000).copied().unwrap_or(0);
        let (half, most, nearly) = (at(500), at(990), at(999));
        format!("{} events, p50 {half} ms, p99 {most} ms, p99.9 {nearly} ms", took.len())
    }
}

/// How long an event was under way, by the clock that its change was stamped with.
fn took_ms(body: &[u8]) -> u32 {
    let event: Value = serde_json::from_slice(body).expect("JSON");
    let made: jiff::Timestamp =
        event["Records"][0]["eventTime"].as_str().and_then(|t| t.parse().ok()).expect("a time");
    let took = jiff::Timestamp::now().as_millisecond() - made.as_millisecond();
    u32::try_from(took.max(0)).unwrap_or(u32::MAX)
}

async fn take(State(picky): State<Picky>, body: Bytes) -> StatusCode {
    let delivery = record::parse(&body, None, 0);
    let is = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
    match &*delivery.key == STUCK {
        true if is(&picky.stuck) => return StatusCode::INTERNAL_SERVER_ERROR,
        false if is(&picky.timed) => {
            picky.took_ms.lock().expect("nobody panics here").push(took_ms(&body));
        }
        _ => {}
    }
    picky.arrived.lock().expect("nobody panics here").push(delivery);
    StatusCode::NO_CONTENT
}

#[async_trait]
impl FarSide for Picky {
    fn connector(&self) -> String {
        let address = &self.address;
        format!(
            "[target.live]\nbackoff_min = \"100ms\"\nbackoff_max = \"1s\"\n\
             [target.live.connector.http]\nurl = \"http://{address}/\"\n"
        )
    }
    async fn read_all(&self) -> Vec<Delivery> {
        self.arrived()
    }
    async fn kill(&self) -> Fault {
        unreachable!("only one key fails here")
    }
    async fn stop(&self) -> Fault {
        unreachable!("only one key fails here")
    }
}

/// Bytes of the bodies that travelled through the log.
pub(crate) fn logged(shared: &Shared) -> u64 {
    let ops = shared.recorder.ops();
    let sizes = ops.iter().filter(|op| op.outcome == Outcome::Ok).map(|op| match &op.action {
        Action::Put { size, .. } if *size <= 64 << 10 => *size,
        _ => 0,
    });
    sizes.sum()
}

/// Waits for so many changes; a full log would make the clients wait for ever.
pub(crate) async fn acknowledged(load: &Load, changes: u64) {
    let done = timeout(PATIENCE, load.acknowledged(changes)).await;
    let (now, refused) = (load.acknowledged_now(), load.shared.refused());
    assert!(done.is_ok(), "{now} of {changes} changes were acknowledged, {refused} refused");
    assert_eq!(refused, 0, "no write is refused");
}

pub(crate) async fn bucket(ready: &Ready, name: &str) {
    let made = ready.s3.create_bucket(name).await.expect("an answer");
    assert_eq!(made.status, 200, "{made:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_nobody_takes_holds_neither_the_log_nor_other_keys_nor_memory() {
    let _turn = turn().await;
    let test = "stuck-key";
    let log_mib = number("TIDINGS_STUCK_LOG_MIB").unwrap_or(LOG_MIB);
    let stuck_for = Duration::from_secs(number("TIDINGS_STUCK_SECONDS").unwrap_or(STUCK_SECONDS));
    // The second one gets the same and takes everything: what the others' events may take at most.
    let (far, control) = (Picky::start().await, Picky::start().await);
    let targets: [(&str, &dyn FarSide, &str); 2] =
        [("live", &far, "live-*"), ("control", &control, "live-*")];
    let mut server = Server::with(&targets, &tight(log_mib));
    let ready = server.start().await;
    bucket(&ready, "live-stuck").await;
    let keys = number("TIDINGS_STUCK_KEYS").unwrap_or(PLAN.keys);
    let load = Load::start("live-stuck", Plan { keys, seed: seed(test), ..PLAN });
    load.serve(Some(ready.s3.clone()));

    let began = Instant::now();
    let (mut warm, mut most, mut delivered, mut rounds) = (None, 0, 0, 0_u64);
    while began.elapsed() < stuck_for || logged(&load.shared) < 2 * (log_mib << 20) {
        acknowledged(&load, load.acknowledged_now() + 2_000).await;
        // Of many keys each comes seldom; this one has something in every round.
        assert!(load.shared.put(&ready.s3, KEY).await, "no write is refused");
        delivered = more_than(&ready, delivered).await;
        rounds += 1;
        most = server.memory().max(most);
        if warm.is_none() && began.elapsed() > stuck_for / 4 {
            warm = Some(server.memory());
            let flags = [&far.stuck, &far.timed, &control.timed];
            flags.into_iter().for_each(|flag| flag.store(true, Ordering::Relaxed));
        }
    }
    load.stop();
    let shared = load.finished().await;
    let ops = shared.recorder.ops();
    let of_stuck = ops.iter().filter(|op| &*op.key == STUCK && !matches!(op.action, Action::Read { .. }));
    let (before, made) = (far.arrived_of_stuck(), of_stuck.count() as u64);
    let left = others_done(&ready, made - before).await;
    let (warm, end) = (warm.expect("long enough"), server.memory());
    let mib = |bytes: u64| bytes >> 20;
    println!(
        "{test}: {rounds} rounds, {} in {:?}, {} MiB of bodies through a log of {log_mib} MiB, {left} events \
         of the key wait; memory {} MiB when it began to stand still, {} at most, {} at the end",
        load_rate(ops.len(), began.elapsed()),
        began.elapsed(),
        mib(logged(&shared)),
        mib(warm),
        mib(most),
        mib(end)
    );
    println!("{test}: beside the stuck key {}; without one {}", far.latencies(), control.latencies());
    assert!(left > 2, "the key stands still: {left}");
    assert!(most.max(end) < warm + MEMORY_GROWTH, "memory grew from {warm} to {most}, and is {end}");
    let others = |key: &str| key != STUCK;
    let mut arrived = far.arrived();
    arrived.retain(|one| &*one.key != STUCK);
    let report = check(&Run {
        ops: &ops,
        deliveries: &arrived,
        listing: None,
        books: None,
        matches: &others,
        max_duplicates: 0,
        around: Around::default(),
    });
    assert!(report.violations.is_empty(), "while the key stands still: {report}");

    far.stuck.store(false, Ordering::Relaxed);
    let judged: [(&str, &dyn FarSide, usize); 2] = [("live", &far, 0), ("control", &control, 0)];
    conclude_all(test, &mut server, &ready, &shared, &judged).await;
    assert_eq!(far.arrived_of_stuck(), before + left, "what waited came");
}

/// Waits until more events are delivered, and says how many. Only other keys' events can move this number.
async fn more_than(ready: &Ready, delivered: u64) -> u64 {
    let more = async {
        loop {
            let now = books::read(&ready.admin).await.books.delivered;
            if now > delivered {
                return now;
            }
            sleep(ASK_EVERY).await;
        }
    };
    timeout(PATIENCE, more).await.expect("other keys' events keep coming")
}

fn load_rate(operations: usize, time: Duration) -> String {
    format!("{:.0} operations/s", operations as f64 / time.as_secs_f64())
}

/// Waits until all that waits is the stuck key's: no more than `most`, and nothing moves any more. Says how
/// much that is.
async fn others_done(ready: &Ready, most: u64) -> u64 {
    let mut still = 0;
    let mut last = books::drained_to(&ready.admin, "live", most).await.books;
    while still < 20 {
        sleep(ASK_EVERY).await;
        let now = books::read(&ready.admin).await.books;
        still = if now.delivered == last.delivered { still + 1 } else { 0 };
        last = now;
    }
    last.backlog + last.held
}

pub(crate) async fn journal(server: &Server, ready: &Ready) -> Value {
    let bearer = format!("Bearer {}", server.token());
    let headers = [("authorization", bearer.as_str())];
    let answer = ready.admin.send(Method::GET, "/v1/journal", &headers, "").await.expect("an answer");
    serde_json::from_slice(&answer.body).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_target_that_gets_little_does_not_hold_the_log() {
    const CHANGES: u64 = 50_000;
    const LOG_MIB: u64 = 16;
    const PREPARED: u64 = 4 << 20;
    let _turn = turn().await;
    let test = "sparse";
    let (live, dead) = (Receiver::start().await, Receiver::start().await);
    let targets: [(&str, &dyn FarSide, &str); 2] =
        [("live", &live, "live-much"), ("sparse", &dead, "live-little")];
    // It was away for long: without a bound on its pauses it might be asked again only minutes later.
    let config = tight(LOG_MIB) + "[target.sparse]\nbackoff_max = \"1s\"\n";
    let mut server = Server::with(&targets, &config);
    let ready = server.start().await;
    bucket(&ready, "live-much").await;
    bucket(&ready, "live-little").await;
    let fault = dead.kill().await;
    let load = Load::start("live-much", Plan { seed: seed(test), keys: 5_000, ..PLAN });
    load.serve(Some(ready.s3.clone()));
    let mut sparse = Vec::new();
    for changes in (0..CHANGES).step_by(SPARSE as usize) {
        acknowledged(&load, changes + SPARSE / 2).await;
        // Two keys: one has an order to keep.
        let key = format!("key-{}", changes / SPARSE % 2);
        let put = ready.s3.put("live-little", &key, format!("body {changes}")).await.expect("an answer");
        assert_eq!(put.status, 200, "{put:?}");
        sparse.push((format!("live-little/{key}"), put.header("x-amz-request-id").map(str::to_owned)));
    }
    acknowledged(&load, CHANGES).await;
    load.stop();
    let shared = load.finished().await;
    assert!(logged(&shared) > 2 * (LOG_MIB << 20), "only {} bytes", logged(&shared));
    books::drained(&ready.admin, "live").await;
    let left = books::read_of(&ready.admin, "sparse").await.books;
    assert_eq!((left.backlog + left.held, left.delivered), (sparse.len() as u64, 0), "it is dead: {left:?}");
    // What only the dead target needs is a few entries: no segment stays whole for them. Compaction begins at
    // half of the limit; the segments that are prepared for what comes next are counted beside what is kept.
    let mut stat = journal(&server, &ready).await;
    let trimmed = async {
        while stat["bytes"].as_u64() > stat["limit_bytes"].as_u64().map(|limit| limit / 2 + PREPARED) {
            sleep(ASK_EVERY).await;
            stat = journal(&server, &ready).await;
        }
    };
    let trimmed = timeout(PATIENCE, trimmed).await;
    println!("{test}: {} changes; {stat}", sparse.len() as u64 + CHANGES);
    assert!(trimmed.is_ok(), "the log is not trimmed: {stat}");

    fault.mend().await;
    let books = books::drained(&ready.admin, "sparse").await.books;
    assert_eq!((books.matched, books.delivered), (sparse.len() as u64, sparse.len() as u64), "{books:?}");
    let arrived = dead.read_all().await;
    for key in ["live-little/key-0", "live-little/key-1"] {
        let made: Vec<_> = sparse.iter().filter(|(k, _)| k == key).map(|(_, request)| request).collect();
        let came: Vec<_> = arrived.iter().filter(|one| &*one.key == key).map(|one| &one.request_id).collect();
        assert_eq!(came, made, "complete and in order");
    }
    conclude(test, &mut server, &ready, &shared, &live, 0).await;
}
