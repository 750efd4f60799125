//! The kill tests: `kill -9` under load at random moments, during recovery and at every failpoint, over and
//! over.
//!
//! Must never pause the load for a kill: the clients learn of it as clients do.

use std::time::{Duration, Instant};

use crate::consumer::Topic;
use crate::finish::conclude;
use crate::load::{Load, Plan};
use crate::server::{Ready, Server};
use crate::{number, seed, turn};

/// Kills at random moments unless `TIDINGS_KILLS` says otherwise.
const KILLS: u64 = 20;
/// A kill during recovery comes within this many milliseconds after the start.
const RECOVERY_MS: u64 = 120;
/// Progress is durable at most about a second after a delivery: a kill repeats at most the deliveries of so
/// long.
const REPEATED_SECONDS: f64 = 1.5;
/// Small segments, hardly any retention and frequent checkpoints: the log rolls and trims between the kills.
const TIGHT: &str = "
[queue]
max_bytes = \"24MiB\"
segment_bytes = \"1MiB\"
retain_bytes = 0
[store]
checkpoint_interval = \"1s\"
";

/// Clients at work on a server that dies often.
struct Scene {
    test: &'static str,
    far: Topic,
    server: Server,
    load: Load,
    rng: fastrand::Rng,
    tally: Tally,
    /// How long clients had a server.
    up: Duration,
}

/// What happened, for the checks and the last line.
#[derive(Debug, Default)]
struct Tally {
    kills: u64,
    during_recovery: u64,
    before_ready: u64,
    slowest_start: Duration,
    /// Somebody asked for repeats: nobody can say how many are too many.
    sent_again: bool,
}

impl Scene {
    async fn begin(test: &'static str, more: &str) -> (Self, Ready) {
        let seed = seed(test);
        let plan = Plan {
            clients: 32,
            keys: 1_000,
            changes: u64::MAX,
            deletes: 100,
            reads: 100,
            blobs: 20,
            uploads: 20,
            batches: 4,
            seed,
        };
        let far = Topic::create(test).await;
        let mut server = Server::new(&far, &format!("{TIGHT}{more}"));
        let ready = server.start().await;
        let made = ready.s3.create_bucket("live-kills").await.expect("an answer");
        assert_eq!(made.status, 200, "{made:?}");
        let load = Load::start("live-kills", plan);
        let rng = fastrand::Rng::with_seed(seed);
        let scene = Self { test, far, server, load, rng, tally: Tally::default(), up: Duration::ZERO };
        (scene, ready)
    }

    /// Lets the clients work until `changes` more were acknowledged, and kills the server in the middle of
    /// it.
    async fn work_and_kill(&mut self, ready: &Ready, changes: u64) {
        let began = Instant::now();
        self.load.serve(Some(ready.s3.clone()));
        self.load.acknowledged(self.load.acknowledged_now() + changes).await;
        self.server.kill().await;
        self.load.serve(None);
        self.up += began.elapsed();
        self.tally.kills += 1;
    }

    /// Starts the server, sometimes killing it before it is ready, up to three times in a row.
    async fn restart(&mut self) -> Ready {
        let mut tries = 0;
        while tries < 3 && self.rng.u8(..4) == 0 {
            tries += 1;
            self.server.launch(None);
            let delay = Duration::from_millis(self.rng.u64(..RECOVERY_MS));
            // Ready within the delay is no kill during recovery, but a kill all the same.
            match tokio::time::timeout(delay, self.server.ready()).await {
                Err(_) => self.tally.before_ready += 1,
                Ok(ready) => assert!(ready.is_some(), "the server ended by itself while it recovered"),
            }
            self.server.kill().await;
            self.tally.during_recovery += 1;
        }
        let began = Instant::now();
        let ready = self.server.start().await;
        self.tally.slowest_start = self.tally.slowest_start.max(began.elapsed());
        ready
    }

    /// The last life ends well: clients go on for a while, and everything is judged.
    async fn end(mut self, ready: &Ready) {
        let began = Instant::now();
        self.load.serve(Some(ready.s3.clone()));
        self.load.acknowledged(self.load.acknowledged_now() + 500).await;
        self.load.stop();
        self.up += began.elapsed();
        let per_second = self.load.acknowledged_now() as f64 / self.up.as_secs_f64();
        let shared = self.load.finished().await;
        let (test, tally) = (self.test, &self.tally);
        println!("figure: kill_cycles={}", tally.kills + tally.during_recovery);
        let lives = (tally.kills + tally.during_recovery) as f64;
        let most = (lives * per_second * REPEATED_SECONDS) as usize;
        let most = if tally.sent_again { usize::MAX } else { most };
        println!("{test}: {tally:?}; {per_second:.0} changes/s; at most {most} repeats allowed");
        let report = conclude(test, &mut self.server, ready, &shared, &self.far, most).await;
        assert!(report.unknown > 0, "no change was under way at any of {} kills", tally.kills);
        let repeats = report.duplicates();
        let looks = self.server.looks();
        println!(
            "{test}: {repeats} repeats, {:.1} a kill; the books balanced in {looks} looks",
            repeats as f64 / lives
        );
    }
}

/// Mostly in full flight, sometimes with the first answers, sometimes after progress was synced a few times.
fn next_changes(rng: &mut fastrand::Rng) -> u64 {
    match rng.u8(..10) {
        0 | 1 => rng.u64(1..20),
        2 => rng.u64(4_000..8_000),
        _ => rng.u64(20..1_500),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_under_load_lose_nothing() {
    let _turn = turn().await;
    let kills = number("TIDINGS_KILLS").unwrap_or(KILLS);
    let (mut scene, mut ready) = Scene::begin("kills", "").await;
    while scene.tally.kills < kills {
        let changes = next_changes(&mut scene.rng);
        scene.work_and_kill(&ready, changes).await;
        ready = scene.restart().await;
    }
    scene.end(&ready).await;
}

/// Dying at the named places of the product's own code.
#[cfg(feature = "faults")]
mod at_failpoints {
    use std::os::unix::process::ExitStatusExt;
    use std::path::Path;

    use serde_json::Value;

    use super::*;

    /// A failpoint that was not reached after this long under load is not on any path.
    const REACHED_WITHIN: Duration = Duration::from_secs(40);

    /// The names of all failpoints in `src/`: one that is added is tested.
    fn failpoints(dir: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(dir).expect("the sources") {
            let path = entry.expect("the sources").path();
            if path.is_dir() {
                failpoints(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("the sources");
                let calls = text.split("fail::point(\"").skip(1);
                found.extend(calls.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
            }
        }
        found.sort();
        found.dedup();
    }

    impl Scene {
        /// One life that ends at the nth passage of a failpoint, wherever that lies.
        async fn die_at(&mut self, point: &str, nth: u64) {
            self.server.launch(Some(&format!("{point}:{nth}")));
            let began = Instant::now();
            if let Some(ready) = self.server.ready().await {
                self.load.serve(Some(ready.s3));
                if point.starts_with("shutdown.") {
                    self.load.acknowledged(self.load.acknowledged_now() + 100).await;
                    self.server.signal("TERM").await;
                }
            }
            let ended = tokio::time::timeout(REACHED_WITHIN, self.server.ended()).await;
            let status = ended.unwrap_or_else(|_| panic!("failpoint {point} was not reached {nth} times"));
            assert_eq!(status.signal(), Some(9), "at {point}:{nth}: {status}");
            self.load.serve(None);
            self.up += began.elapsed();
            self.tally.kills += 1;
        }
    }

    /// Dies at every failpoint that `wanted` takes: at its first passage and, where lives take it over and
    /// over, at a later one. Others lie on paths that a life takes once or seldom.
    async fn die_at_each(test: &'static str, more: &str, wanted: fn(&str) -> bool) {
        let _turn = turn().await;
        let mut points = Vec::new();
        failpoints(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut points);
        points.retain(|point| wanted(point));
        assert!(!points.is_empty());
        let (mut scene, mut ready) = Scene::begin(test, more).await;
        for point in &points {
            let seldom = ["recover.", "compact.", "shutdown."].iter().any(|kind| point.starts_with(kind));
            let again = if seldom { None } else { Some(scene.rng.u64(2..6)) };
            for nth in [1].into_iter().chain(again) {
                let changes = scene.rng.u64(20..500);
                scene.work_and_kill(&ready, changes).await;
                scene.die_at(point, nth).await;
                ready = scene.restart().await;
            }
        }
        println!("{test}: {} failpoints, each reached: {points:?}", points.len());
        scene.end(&ready).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn kills_at_every_failpoint_lose_nothing() {
        // These have tests of their own: they need rejections, a log that cannot be trimmed, an operator,
        // archived objects, functions, or many holes.
        const ELSEWHERE: [&str; 9] = [
            "compact.",
            "dead.",
            "replay.",
            "restore.",
            "forget.",
            "function.",
            "letter.",
            "cursor.piece.",
            "replica.",
        ];
        let wanted = |point: &str| !ELSEWHERE.iter().any(|kind| point.starts_with(kind));
        die_at_each("failpoints", "", wanted).await;
    }

    /// Each time it starts it dies again on its way up, three times in a row, at each place of a recovery.
    #[tokio::test(flavor = "multi_thread")]
    async fn three_kills_in_a_row_during_recovery_lose_nothing() {
        let _turn = turn().await;
        let mut points = Vec::new();
        failpoints(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut points);
        points.retain(|point| point.starts_with("recover."));
        let (mut scene, mut ready) = Scene::begin("recoveries", "").await;
        for point in &points {
            let changes = scene.rng.u64(20..500);
            scene.work_and_kill(&ready, changes).await;
            for nth in 1..=3 {
                scene.server.launch(Some(&format!("{point}:1")));
                if scene.server.ready().await.is_some() {
                    // What was done at the last start need not be done again.
                    assert!(nth > 1, "{point} is not on the way of a recovery");
                    scene.server.kill().await;
                } else {
                    let status = scene.server.ended().await;
                    assert_eq!(status.signal(), Some(9), "at {point}: {status}");
                    scene.tally.before_ready += 1;
                }
                scene.tally.during_recovery += 1;
            }
            ready = scene.server.start().await;
        }
        assert!(scene.tally.before_ready >= points.len() as u64);
        scene.end(&ready).await;
    }

    /// A target that nobody answers for, and which of the keys it gets.
    fn dead(name: &str, prefix: &str) -> String {
        format!(
            "[target.{name}.connector.http]\nurl = \"http://127.0.0.1:9/\"\n[[target.{name}.rule]]\n\
             bucket = \"live-*\"\nevents = [\"s3:ObjectCreated:*\", \"s3:ObjectRemoved:*\"]\n\
             prefix = \"{prefix}\"\n"
        )
    }

    /// A far side that is never there needs three keys of a thousand: nothing is trimmed, so the log is
    /// compacted.
    #[tokio::test(flavor = "multi_thread")]
    async fn kills_while_the_log_is_compacted_lose_nothing() {
        die_at_each("compaction", &dead("dead", "plain/0000"), |point| point.starts_with("compact.")).await;
    }

    /// A far side that is never there leaves holes, and bounds are small: they are frozen into files.
    #[tokio::test(flavor = "multi_thread")]
    async fn kills_while_holes_are_frozen_lose_nothing() {
        die_at_each("pieces", &dead("dead", "plain/"), |point| point.starts_with("cursor.piece.")).await;
    }

    impl Scene {
        /// A request of an operator; none if nobody answered.
        async fn ask(&self, ready: &Ready, method: http::Method, path: &str) -> Option<(u16, Value)> {
            let bearer = format!("Bearer {}", self.server.token());
            let answer = ready.admin.send(method, path, &[("authorization", &bearer)], "").await.ok()?;
            Some((answer.status.as_u16(), serde_json::from_slice(&answer.body).unwrap_or_default()))
        }

        /// Waits until the target has been sent again all that it went back for; true if it was not done yet
        /// at the first look.
        async fn came_again(&self, ready: &Ready) -> bool {
            let mut seen = false;
            let deadline = Instant::now() + crate::books::DRAIN_TIMEOUT;
            loop {
                let (_, view) =
                    self.ask(ready, http::Method::GET, "/v1/targets/live").await.expect("answers");
                assert!(view.get("replay").is_some(), "{view}");
                if view["replay"].is_null() {
                    return seen;
                }
                seen = true;
                assert!(Instant::now() < deadline, "still going back: {view}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }

        /// A life under load that an operator ends: `act` asks for something until nobody answers.
        async fn die_while_asked(&mut self, point: &str, mut act: impl AsyncFnMut(&Self, &Ready) -> bool) {
            self.server.launch(Some(point));
            let began = Instant::now();
            let ready = self.server.ready().await.expect("the failpoint lies behind the start");
            self.load.serve(Some(ready.s3.clone()));
            self.load.acknowledged(self.load.acknowledged_now() + 200).await;
            while act(self, &ready).await {
                assert!(began.elapsed() < REACHED_WITHIN, "failpoint {point} was not reached");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let status = self.server.ended().await;
            assert_eq!(status.signal(), Some(9), "at {point}: {status}");
            self.load.serve(None);
            self.up += began.elapsed();
            self.tally.kills += 1;
        }
    }

    /// An operator sends a target back again and again: everything that is kept arrives once more, and no key
    /// jumps.
    #[tokio::test(flavor = "multi_thread")]
    async fn kills_while_a_target_goes_back_lose_nothing() {
        let _turn = turn().await;
        let (mut scene, mut ready) = Scene::begin("replays", "").await;
        let (mut went_back, mut repeated) = (0, 0);
        for nth in [1, 1, 2, 4] {
            let changes = scene.rng.u64(200..1_000);
            scene.work_and_kill(&ready, changes).await;
            let mut before = 0;
            scene
                .die_while_asked(&format!("replay.synced:{nth}"), async |scene, ready| {
                    let get = async |path| scene.ask(ready, http::Method::GET, path).await;
                    let Some((_, view)) = get("/v1/targets/live").await else { return false };
                    if view["books"]["delivered"] == 0 {
                        // It would go back to where it is.
                        return true;
                    }
                    // What a life counted that was killed may be forgotten; what is asked now is in the row.
                    before = view["books"]["repeated"].as_u64().expect("a number");
                    let Some((_, log)) = get("/v1/journal").await else { return false };
                    let path = format!("/v1/targets/live/replay?from={}", log["first_offset"]);
                    let answer = scene.ask(ready, http::Method::POST, &path).await;
                    went_back += u32::from(answer.as_ref().is_some_and(|(status, _)| *status == 200));
                    let refused = answer.as_ref().filter(|(status, _)| ![200, 409].contains(status));
                    assert_eq!(refused, None, "{path}");
                    answer.is_some()
                })
                .await;
            ready = scene.restart().await;
            // The last one died with its row synced: this life goes on with it. What comes again is no
            // backlog, so it is asked for by itself.
            let seen = scene.came_again(&ready).await;
            repeated = crate::books::drained(&ready.admin, "live").await.repeated;
            // Those that were counted out of order before are counted anew, so the sum alone says too little.
            assert!(
                seen || repeated > before,
                "going back is forgotten: {repeated} repeated, {before} before"
            );
        }
        println!("replays: {went_back} answered, {repeated} repeated");
        scene.tally.sent_again = true;
        scene.end(&ready).await;
    }

    /// An operator takes a target out and forgets it: it is gone for good, whatever was left undone, and its
    /// name begins anew.
    #[tokio::test(flavor = "multi_thread")]
    async fn kills_while_a_target_is_forgotten_leave_nothing_of_it() {
        let _turn = turn().await;
        let (mut scene, mut ready) = Scene::begin("forgotten", "").await;
        let without = scene.server.configuration();
        // A start passes the last one for every target that was ever forgotten.
        for point in ["forget.removed", "forget.logged"] {
            scene.work_and_kill(&ready, 100).await;
            scene.server.configure(&(without.clone() + &dead("gone", "plain/")));
            let before = without.clone();
            scene
                .die_while_asked(point, async |scene, ready| {
                    let (_, view) =
                        scene.ask(ready, http::Method::GET, "/v1/targets/gone").await.expect("there");
                    assert!(view["books"]["matched"].as_u64() > Some(0), "{view}");
                    scene.server.configure(&before);
                    let (status, done) =
                        scene.ask(ready, http::Method::POST, "/v1/reload").await.expect("an answer");
                    assert_eq!((status, &done["removed"][0]), (200, &"gone".into()), "{done}");
                    let path = "/v1/targets/gone/forget?discard=true";
                    let answer = scene.ask(ready, http::Method::POST, path).await;
                    assert_eq!(answer, None, "it died before it could answer");
                    false
                })
                .await;
            ready = scene.server.start().await;
            assert_eq!(
                scene.ask(&ready, http::Method::GET, "/v1/targets/gone").await.expect("an answer").0,
                404
            );
            scene.server.stop().await;
            // The same name is another target.
            scene.server.configure(&(without.clone() + &dead("gone", "plain/")));
            ready = scene.server.start().await;
            let (_, view) =
                scene.ask(&ready, http::Method::GET, "/v1/targets/gone").await.expect("an answer");
            assert_eq!(view["books"]["matched"], 0, "{view}");
        }
        scene.end(&ready).await;
    }
}
