//! The kill test: `kill -9` under load at random moments, at failpoints and during recovery, over and over.
//!
//! Must never pause the load for a kill: the clients learn of it as clients do.

use std::time::{Duration, Instant};

use crate::finish::conclude;
use crate::load::{Load, Plan};
use crate::server::{Ready, Server};
use crate::{consumer, number, seed, turn};

/// Kills unless `TIDINGS_KILLS` says otherwise.
const KILLS: u64 = 20;
/// Named moments at which the server kills itself, each with the times it passes there first. Empty: the
/// binary has none.
const FAILPOINTS: &[&str] = &[];
/// A failpoint that was not reached after this long under load is not on any path.
const FAILPOINT_TIMEOUT: Duration = Duration::from_secs(60);
/// A kill during recovery comes within this many milliseconds after the start.
const RECOVERY_MS: u64 = 120;
/// Progress is durable about a second after a delivery: a kill repeats at most the deliveries of this long.
const REPEATED_SECONDS: f64 = 2.0;

/// How one life of the server ends.
#[derive(Debug, Clone, Copy)]
enum End {
    /// After this many more acknowledged changes.
    After(u64),
    /// At a failpoint.
    At(&'static str),
}

/// What happened, for the last line.
#[derive(Debug, Default)]
struct Tally {
    kills: u64,
    at_failpoints: u64,
    during_recovery: u64,
    before_ready: u64,
    slowest_start: Duration,
}

fn next_end(rng: &mut fastrand::Rng) -> End {
    if !FAILPOINTS.is_empty() && rng.bool() {
        return End::At(FAILPOINTS[rng.usize(..FAILPOINTS.len())]);
    }
    // Mostly in full flight, sometimes with the first answers.
    End::After(if rng.u8(..5) == 0 { rng.u64(1..20) } else { rng.u64(20..1_500) })
}

/// Starts the server for a life that shall end so, sometimes killing it before it is ready. A failpoint that
/// lies on the way up ends a life at once: the next one ends otherwise.
async fn restart(server: &mut Server, end: End, rng: &mut fastrand::Rng, tally: &mut Tally) -> (Ready, End) {
    while rng.u8(..4) == 0 && tally.during_recovery < 3 * (tally.kills + 1) {
        server.launch(None);
        let delay = Duration::from_millis(rng.u64(..RECOVERY_MS));
        // Ready within the delay is no kill during recovery, but a kill all the same.
        match tokio::time::timeout(delay, server.ready()).await {
            Err(_) => tally.before_ready += 1,
            Ok(ready) => assert!(ready.is_some(), "the server ended by itself while it recovered"),
        }
        server.kill().await;
        tally.during_recovery += 1;
    }
    let began = Instant::now();
    server.launch(match end {
        End::At(point) => Some(point),
        End::After(_) => None,
    });
    let started = match (server.ready().await, end) {
        (Some(ready), end) => (ready, end),
        (None, End::At(_)) => {
            server.ended().await;
            tally.at_failpoints += 1;
            (server.start().await, End::After(100))
        }
        (None, End::After(_)) => panic!("the server ended at its start, {}", server.ended().await),
    };
    tally.slowest_start = tally.slowest_start.max(began.elapsed());
    started
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_under_load_lose_nothing() {
    let _turn = turn().await;
    let kills = number("TIDINGS_KILLS").unwrap_or(KILLS);
    let plan = Plan {
        clients: 32,
        keys: 1_000,
        changes: u64::MAX,
        deletes: 150,
        reads: 100,
        blobs: 20,
        seed: seed("kills"),
    };
    let mut rng = fastrand::Rng::with_seed(plan.seed);
    let topic = consumer::create_topic("kills").await;
    // Small segments and frequent checkpoints: the log rolls and trims between the kills.
    let extra =
        "[queue]\nsegment_bytes = \"4MiB\"\nretain_bytes = \"8MiB\"\n[store]\ncheckpoint_interval = \"1s\"";
    let mut server = Server::new(&topic, extra);
    let mut ready = server.start().await;
    let made = ready.s3.create_bucket("live-kills").await.expect("an answer");
    assert_eq!(made.status, 200, "{made:?}");

    let load = Load::start("live-kills", plan);
    let (mut tally, mut up) = (Tally::default(), Duration::ZERO);
    let mut end = End::After(rng.u64(20..1_500));
    while tally.kills < kills {
        let began = Instant::now();
        load.serve(Some(ready.s3.clone()));
        match end {
            End::After(changes) => {
                load.acknowledged(load.acknowledged_now() + changes).await;
                server.kill().await;
            }
            End::At(point) => {
                let ended = tokio::time::timeout(FAILPOINT_TIMEOUT, server.ended()).await;
                ended.unwrap_or_else(|_| panic!("failpoint {point} was not reached"));
                tally.at_failpoints += 1;
            }
        }
        load.serve(None);
        up += began.elapsed();
        tally.kills += 1;
        let next = if tally.kills < kills { next_end(&mut rng) } else { End::After(0) };
        (ready, end) = restart(&mut server, next, &mut rng, &mut tally).await;
    }
    // The last life ends well: clients go on for a while, and everything is judged.
    load.serve(Some(ready.s3.clone()));
    load.acknowledged(load.acknowledged_now() + 500).await;
    let per_second = load.acknowledged_now() as f64 / up.as_secs_f64();
    load.stop();
    let shared = load.finished().await;

    let lives = (tally.kills + tally.during_recovery + tally.at_failpoints) as f64;
    let most = (lives * per_second * REPEATED_SECONDS) as usize;
    println!("kills: {tally:?}; {per_second:.0} changes/s; at most {most} repeats allowed");
    let report = conclude("kills", &mut server, &ready, &shared, &topic, most).await;
    assert!(report.unknown > 0, "no change was under way at any of {} kills", tally.kills);
    let repeats = report.duplicates();
    println!("kills: {repeats} repeats, {:.1} a kill", repeats as f64 / tally.kills as f64);
}
