//! Many attempts go wrong: Down, Faulted, held, and how that ends.
//!
//! Must never look at a lane from inside: what the far side and the status show is what counts.

use std::collections::HashMap;

use tidings_connector::{ErrorClass, Scope};

use super::*;
use crate::delivery::{DOWN_AFTER_KEYS, TargetState};

#[tokio::test(start_paused = true)]
async fn failures_across_keys_put_the_target_down_with_one_probe_at_a_time() {
    let bench = Bench::start(FarSide::new(|_, _, _| fails()), LIMITS);
    for n in 0..500 {
        bench.append(&key(n), 2);
    }
    bench.until("down", |s| s.state == TargetState::Down).await;
    // Whatever was out when it closed has come back; from now on every attempt is a probe.
    let before = bench.far.attempts();
    assert!(before <= 600, "{before} attempts before the target was closed");
    *bench.far.most_out.lock().unwrap() = 0;
    bench.far.follow(|_, _, _| Act::Answer(retry(), SECOND));
    bench.pass(600 * SECOND).await;
    let probes = bench.far.attempts() - before;
    assert_eq!(*bench.far.most_out.lock().unwrap(), 1, "one probe at a time");
    assert!((10..60).contains(&probes), "{probes} probes in 600 s");
    let seen = bench.far.seen.lock().unwrap()[before..].to_vec();
    let mut by_key = HashMap::new();
    seen.iter().for_each(|(key, _)| *by_key.entry(key.clone()).or_insert(0) += 1);
    assert!(by_key.values().all(|n| *n == 1), "the probe rotates over keys");
    bench.far.follow(|_, _, _| ok());
    let up = bench.until("up", |s| s.state == TargetState::Up).await;
    assert_eq!(up.state, TargetState::Up);
    let resumed = tokio::time::Instant::now();
    bench.until_delivered(1_000).await;
    assert!(resumed.elapsed() < 5 * SECOND, "everything resumes at once");
}

#[tokio::test(start_paused = true)]
async fn fewer_failing_keys_do_not_close_the_target() {
    let far = FarSide::new(|key, _, _| if key.starts_with("bad") { fails() } else { ok() });
    let bench = Bench::start(far, LIMITS);
    for n in 0..DOWN_AFTER_KEYS - 1 {
        bench.append(&format!("bad-{n}"), 1);
    }
    bench.pass(300 * SECOND).await;
    assert_eq!(bench.status().state, TargetState::Up);
    bench.append("good", 1);
    bench.pass(SECOND / 10).await;
    assert_eq!(bench.queue.delivered(), 1);
}

#[tokio::test(start_paused = true)]
async fn many_stuck_keys_do_not_stop_a_good_one_for_longer_than_a_probe() {
    let far = FarSide::new(|key, _, _| if key.starts_with("good") { ok() } else { fails() });
    let bench = Bench::start(far, LIMITS);
    for n in 0..2_000 {
        bench.append(&key(n), 1);
        // Enough goes well for the target to stay up.
        bench.append(&format!("good-{}", n / 8), 1);
    }
    bench.until_delivered(2_000).await;
    bench.until("down", |s| s.state == TargetState::Down).await;
    bench.append("good", 1);
    let asked = tokio::time::Instant::now();
    bench.until_delivered(2_001).await;
    assert!(asked.elapsed() <= LIMITS.backoff_max + SECOND, "{:?}", asked.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_target_fault_keeps_everything_and_mends_itself() {
    let bench =
        Bench::start(FarSide::new(|_, _, _| Act::Answer(faulted(Scope::Target), SECOND / 10)), LIMITS);
    bench.append("a", 3);
    bench.append("b", 3);
    bench.until("faulted", |s| s.state == TargetState::Faulted).await;
    bench.pass(SECOND).await;
    *bench.far.most_out.lock().unwrap() = 0;
    bench.pass(300 * SECOND).await;
    let status = bench.status();
    assert_eq!((status.state, *bench.far.most_out.lock().unwrap()), (TargetState::Faulted, 1));
    assert_eq!(status.last_error.unwrap().class, ErrorClass::Auth);
    assert!(bench.far.attempts() < 40);
    bench.far.follow(|_, _, _| ok());
    bench.until_delivered(6).await;
    assert_eq!(bench.status().state, TargetState::Up);
}

#[tokio::test(start_paused = true)]
async fn a_rejected_event_holds_its_key_until_it_is_resumed() {
    let reject = |key: &str| key == "bad" || key.starts_with("unencodable") || key.starts_with("panics");
    let far = FarSide::new(
        move |key, _, _| if reject(key) { Act::Answer(rejected(), Duration::ZERO) } else { ok() },
    );
    let bench = Bench::start(far, LIMITS);
    for key in ["good", "bad", "unencodable", "panics", "good", "bad"] {
        bench.append(key, 1);
    }
    bench.until_delivered(2).await;
    bench.pass(1_000 * SECOND).await;
    let status = bench.status();
    assert_eq!((status.held, bench.status().held), (4, 4));
    assert_eq!((status.state, bench.far.attempts()), (TargetState::Up, 3), "tried once");
    bench.far.follow(|_, _, _| ok());
    bench.handle.resume();
    bench.until_delivered(4).await;
    bench.until("what cannot be encoded stays", |s| s.held == 2).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_rejected_with_everything_else_is_not_held() {
    let bench = Bench::start(FarSide::new(|_, _, _| Act::Answer(rejected(), Duration::ZERO)), LIMITS);
    for n in 0..100 {
        bench.append(&key(n), 1);
    }
    bench.until("down", |s| s.state == TargetState::Down).await;
    assert_eq!(bench.status().held, 0);
    bench.pass(100 * SECOND).await;
    bench.far.follow(|_, _, _| ok());
    bench.until_delivered(100).await;
}

#[tokio::test(start_paused = true)]
async fn a_destination_fault_holds_only_its_keys_and_is_probed_slowly() {
    let fault = || Act::Answer(faulted(Scope::Destination), Duration::ZERO);
    let far = FarSide::new(move |key, _, _| if key == "bad" { fault() } else { ok() });
    let bench = Bench::start(far, LIMITS);
    bench.append("bad", 2);
    bench.append("good", 2);
    bench.until_delivered(2).await;
    assert_eq!((bench.status().held, bench.status().state), (2, TargetState::Up));
    bench.pass(10 * LIMITS.backoff_max).await;
    let attempts = bench.far.attempts();
    assert!((10..=23).contains(&attempts), "{attempts} attempts");
    bench.far.follow(|_, _, _| ok());
    bench.until_delivered(4).await;
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_stuck_keys_cost_one_timer() {
    let far = FarSide::new(|key, _, _| if key.starts_with("key") { fails() } else { ok() });
    let bench = Bench::start(far, TargetLimits { backoff_max: 3_600 * SECOND, ..LIMITS });
    for n in 0..10_000 {
        bench.append(&key(n), 1);
        // Enough goes well for the target to stay up.
        bench.append(&format!("good-{}", n / 8), 1);
    }
    bench.until_delivered(10_000).await;
    // Bring them all to long delays, with something good in between so that each is tried.
    for n in 0..400 {
        bench.append(&format!("good-{n}"), 1);
        bench.pass(SECOND).await;
    }
    assert!(bench.status().retrying > 9_000, "{}", bench.status().retrying);
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert!(tasks <= 3, "{tasks} tasks: the lane, its connection, and one that is ending");
    let (before, shown) = (bench.far.attempts(), bench.queue.see(|log| log.reads));
    bench.pass(60 * SECOND).await;
    let (attempts, reads) = (bench.far.attempts() - before, bench.queue.see(|log| log.reads) - shown);
    assert!(attempts < 10_000 && reads < 100, "{attempts} attempts, {reads} reads in a minute");
}
