//! What a lane promises, each promise against a far side that breaks it on purpose. Time is paused throughout.
//!
//! Must never wait for the wall clock, and every test looks at the order and the books at every step.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;
use tidings_connector::{Cause, ErrorClass, Fault, Limits, Outcome, Scope};

use super::testing::*;
use super::{DOWN_AFTER_KEYS, THROTTLE_CAP, TargetState};
use crate::config::TargetLimits;
use crate::queue::ReadError;

fn key(n: usize) -> String {
    format!("key-{n}")
}

#[test]
fn the_checker_knows_the_order() {
    let seen = |offsets: &[u64]| offsets.iter().map(|o| ("k".to_owned(), *o)).collect::<Vec<_>>();
    assert_eq!(Order::default().check(&seen(&[1, 2, 3, 2])), Ok(()));
    assert!(Order::default().check(&seen(&[1, 3, 2])).is_err());
}

#[tokio::test(start_paused = true)]
async fn delivers_everything_in_order_and_in_batches() {
    let bench = Bench::start(FarSide::new(|_, _, _| ok()), LIMITS);
    for n in 0..3_000 {
        bench.append(&key(n % 700), 1);
    }
    bench.until_delivered(3_000).await;
    assert_eq!(bench.far.attempts(), 3_000);
    assert_eq!(*bench.far.largest_batch.lock().unwrap(), 100);
    let status = bench.status();
    assert_eq!((status.state, status.in_flight, status.waiting, status.held), (TargetState::Up, 0, 0, 0));
    assert_eq!((status.counters.attempts.delivered, status.oldest_undelivered_us), (3_000, None));
    assert_eq!(status.last_success_unix_ms, Some(1_000));
}

#[tokio::test(start_paused = true)]
async fn one_event_of_a_key_is_out_and_many_keys_are() {
    let slow = || Act::Answer(Outcome::Delivered, SECOND);
    let bench = Bench::start(FarSide::new(move |_, _, _| slow()), LIMITS);
    for n in 0..900 {
        bench.append(&key(n % 300), 1);
    }
    bench.until("all keys are out", |s| s.in_flight == 300).await;
    assert_eq!(bench.handle.status().waiting, 600);
    assert_eq!(bench.handle.status().oldest_undelivered_us, Some(1));
    bench.until_delivered(900).await;
    assert_eq!(*bench.far.most_out.lock().unwrap(), 300);
}

#[tokio::test(start_paused = true)]
async fn one_stuck_key_stops_nobody_else() {
    let limits = TargetLimits { max_in_flight: 100, ..LIMITS };
    let far = FarSide::new(|key, _, _| if key == "stuck" { fails() } else { ok() });
    let bench = Bench::start(far, limits);
    // Far more events of the stuck key than the lane may keep of all the others together.
    bench.append("stuck", 1_000);
    for n in 0..1_000 {
        bench.append(&key(n), 1);
    }
    bench.until_delivered(1_000).await;
    let status = bench.status();
    assert_eq!((status.state, status.retrying), (TargetState::Up, 1_000));
    bench.far.follow(|_, _, _| ok());
    bench.until_delivered(2_000).await;
}

#[tokio::test(start_paused = true)]
async fn a_dropped_receipt_is_sent_again() {
    let far = FarSide::new(|_, _, attempt| if attempt < 3 { Act::Drop } else { ok() });
    let bench = Bench::start(far, LIMITS);
    bench.append("a", 2);
    bench.until_delivered(2).await;
    let status = bench.status();
    assert_eq!((bench.far.attempts(), status.counters.attempts.retry), (6, 4));
    assert_eq!(status.last_error.unwrap().class, ErrorClass::Unknown);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_settled_without_delivered() {
    let far = FarSide::new(|_, offset, _| match offset % 5 {
        0 => fails(),
        1 => Act::Drop,
        2 => Act::Keep,
        3 => Act::Answer(rejected(), Duration::ZERO),
        _ => Act::Answer(faulted(Scope::Destination), Duration::ZERO),
    });
    let bench = Bench::start(far, LIMITS);
    for n in 0..50 {
        bench.append(&key(n), 2);
    }
    bench.pass(100 * SECOND).await;
    assert!(bench.far.attempts() > 50);
    assert_eq!((bench.queue.delivered(), bench.queue.see(|log| log.holes.len())), (0, 100));
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_connector_is_contained() {
    let mut panics = 3;
    let far = FarSide::new(move |_, _, _| {
        panics -= 1;
        if panics >= 0 { Act::Panic } else { ok() }
    });
    // The first connection fails by a panic, too.
    far.refuse.lock().unwrap().push_back(None);
    let bench = Bench::start(far, LIMITS);
    for n in 0..10 {
        bench.append(&key(n), 2);
    }
    bench.until_delivered(20).await;
    assert!(bench.status().incarnation >= 4);
    assert!(*bench.far.connects.lock().unwrap() >= 4);
}

#[tokio::test(start_paused = true)]
async fn a_deliver_that_hangs_costs_its_connection() {
    let mut hangs = 1;
    let far = FarSide::new(move |_, _, _| {
        hangs -= 1;
        if hangs >= 0 { Act::Hang } else { ok() }
    });
    let bench = Bench::start(far, TargetLimits { attempt_timeout: Duration::from_secs(3_600), ..LIMITS });
    bench.append("a", 3);
    bench.until_delivered(3).await;
    assert_eq!((bench.status().incarnation, *bench.far.connects.lock().unwrap()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_never_settles() {
    let far = FarSide::new(|_, _, attempt| if attempt == 1 { Act::Keep } else { fails() });
    let bench = Bench::start(far, LIMITS);
    bench.append("a", 2);
    bench.until("the first attempt timed out", |s| s.counters.attempts.timeout == 1).await;
    assert_eq!((bench.status().incarnation, bench.status().counters.attempts.timeout), (2, 1));
    bench.until("a second attempt", |s| s.counters.attempts.retry >= 1).await;
    let (_, receipt) = bench.far.kept.lock().unwrap().pop().unwrap();
    receipt.settle(Outcome::Delivered, None);
    let status = bench.until("it was seen", |s| s.counters.late_receipts == 1).await;
    assert_eq!((bench.queue.delivered(), bench.queue.see(|log| log.repeated), status.waiting), (0, 1, 2));
    bench.far.follow(|_, _, _| ok());
    bench.until_delivered(2).await;
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_to_an_attempt_made_meanwhile_does_not_settle_either() {
    // The second attempt is out when the first one's answer comes.
    let bench = Bench::start(FarSide::new(|_, _, _| Act::Keep), LIMITS);
    bench.append("a", 1);
    bench.until("two attempts", |_| bench.far.attempts() == 2).await;
    let (_, receipt) = bench.far.kept.lock().unwrap().remove(0);
    receipt.settle(Outcome::Delivered, None);
    bench.until("it was seen", |s| s.counters.late_receipts == 1).await;
    assert_eq!((bench.queue.delivered(), bench.status().in_flight), (0, 1));
    let (_, receipt) = bench.far.kept.lock().unwrap().remove(0);
    receipt.settle(Outcome::Delivered, None);
    bench.until_delivered(1).await;
}

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
    assert_eq!((status.held, bench.queue.progress.books().held), (4, 4));
    assert_eq!((status.state, bench.far.attempts()), (TargetState::Up, 3), "tried once");
    bench.far.follow(|_, _, _| ok());
    bench.handle.resume();
    bench.until_delivered(4).await;
    assert_eq!(bench.status().held, 2, "what cannot be encoded stays");
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
async fn a_throttle_stops_the_target_and_is_no_failure() {
    let mut first = true;
    let far = FarSide::new(move |_, _, _| {
        let until = tokio::time::Instant::now().into_std() + Duration::from_secs(86_400);
        let why = Cause::new(ErrorClass::Throttle, "on purpose");
        let throttle = std::mem::replace(&mut first, false);
        if throttle { Act::Answer(Outcome::Throttled { until, why }, Duration::ZERO) } else { ok() }
    });
    *far.limits.lock().unwrap() = Limits { in_flight: 1, batch: 1, bytes: 1_000 };
    let bench = Bench::start(far, LIMITS);
    let asked = tokio::time::Instant::now();
    bench.append("a", 5);
    bench.append("b", 5);
    bench.pass(THROTTLE_CAP - SECOND).await;
    assert_eq!((bench.far.attempts(), bench.status().counters.attempts.throttled), (1, 1));
    assert_eq!(bench.status().state, TargetState::Up);
    bench.until_delivered(10).await;
    assert!(asked.elapsed() <= THROTTLE_CAP + SECOND, "a day is capped");
    assert_eq!(bench.status().counters.attempts.retry, 0);
}

#[tokio::test(start_paused = true)]
async fn a_wish_to_wait_is_kept_and_capped() {
    let mut first = true;
    let far = FarSide::new(move |_, _, _| {
        let after = Some(Duration::from_secs(1 << 40));
        let why = Cause::new(ErrorClass::Http5xx, "on purpose");
        let retry = std::mem::replace(&mut first, false);
        if retry { Act::Answer(Outcome::Retry { after, why }, Duration::ZERO) } else { ok() }
    });
    let bench = Bench::start(far, LIMITS);
    bench.append("a", 1);
    bench.pass(3_590 * SECOND).await;
    assert_eq!(bench.far.attempts(), 1);
    bench.pass(20 * SECOND).await;
    assert_eq!(bench.queue.delivered(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_is_kept() {
    let limits = TargetLimits { rate_limit: Some(50), ..LIMITS };
    let bench = Bench::start(FarSide::new(|_, _, _| ok()), limits);
    for n in 0..2_000 {
        bench.append(&key(n), 1);
    }
    bench.pass(20 * SECOND).await;
    let delivered = bench.queue.delivered();
    assert!((990..=1_010).contains(&delivered), "{delivered} in 20 s at 50/s");
}

#[tokio::test(start_paused = true)]
async fn bytes_out_stay_within_the_limit() {
    let far = FarSide::new(|_, _, _| Act::Answer(Outcome::Delivered, SECOND));
    // Each message has a key of five bytes and a payload of eight.
    *far.limits.lock().unwrap() = Limits { in_flight: 100, batch: 100, bytes: 13 * 4 };
    let bench = Bench::start(far, LIMITS);
    for n in 10..50 {
        bench.append(&format!("k-{n}x"), 1);
    }
    bench.until_delivered(40).await;
    assert_eq!(*bench.far.most_out.lock().unwrap(), 4);
    *bench.far.limits.lock().unwrap() = Limits { in_flight: 100, batch: 100, bytes: 1 };
    bench.append("larger than the limit", 2);
    bench.until_delivered(42).await;
}

#[tokio::test(start_paused = true)]
async fn a_target_down_at_start_needs_no_restart() {
    let far = FarSide::new(|_, _, _| ok());
    let refused = || Some(Fault::retry(ErrorClass::Connect, "refused"));
    far.refuse.lock().unwrap().extend([refused(), Some(Fault::faulted(ErrorClass::Auth, "no")), refused()]);
    let bench = Bench::start(far, LIMITS);
    bench.append("a", 2);
    assert_eq!(bench.handle.status().state, TargetState::Connecting);
    bench.until("down", |s| s.state == TargetState::Down).await;
    let status = bench.until("faulted", |s| s.state == TargetState::Faulted).await;
    assert_eq!(status.last_error.unwrap().class, ErrorClass::Auth);
    assert_eq!(bench.far.attempts(), 0);
    bench.until_delivered(2).await;
    assert_eq!(*bench.far.connects.lock().unwrap(), 4);
}

#[tokio::test(start_paused = true)]
async fn pause_keeps_everything_and_resume_goes_on() {
    let far = FarSide::new(|_, _, _| Act::Answer(Outcome::Delivered, SECOND));
    let bench = Bench::start(far, LIMITS);
    bench.append("a", 10);
    bench.until("some", |_| bench.queue.delivered() >= 3).await;
    bench.handle.pause();
    let status = bench.until("paused", |s| s.state == TargetState::Paused && s.in_flight == 0).await;
    let delivered = bench.queue.delivered();
    assert!(delivered < 10 && status.state == TargetState::Paused);
    bench.until("the connection is closed", |_| *bench.far.closed.lock().unwrap() == 1).await;
    bench.append("b", 5);
    bench.pass(500 * SECOND).await;
    assert_eq!(bench.queue.delivered(), delivered);
    bench.handle.resume();
    bench.until_delivered(15).await;
    assert_eq!(bench.status().state, TargetState::Up);
}

#[tokio::test(start_paused = true)]
async fn resume_waits_for_what_is_out() {
    let far = FarSide::new(|_, _, _| Act::Keep);
    let bench = Bench::start(far, LIMITS);
    bench.append("a", 2);
    bench.until("out", |_| bench.far.out() == 1).await;
    bench.handle.pause();
    bench.until("paused", |s| s.state == TargetState::Paused).await;
    bench.handle.resume();
    bench.until("resumed", |s| s.state == TargetState::Up).await;
    assert_eq!((bench.far.attempts(), bench.status().in_flight), (1, 1));
    let (_, receipt) = bench.far.kept.lock().unwrap().pop().unwrap();
    bench.far.follow(|_, _, _| ok());
    receipt.settle(Outcome::Retry { after: None, why: Cause::new(ErrorClass::Nack, "no") }, None);
    // The answer of the far side's own books: it is not out any more.
    bench.far.forget_out();
    bench.until_delivered(2).await;
}

#[tokio::test(start_paused = true)]
async fn a_paused_target_stays_paused_after_a_restart() {
    let far = FarSide::new(|_, _, _| ok());
    let bench = Bench::open(Queue::default(), far, LIMITS, true);
    bench.append("a", 1);
    bench.pass(100 * SECOND).await;
    assert_eq!((bench.status().state, *bench.far.connects.lock().unwrap()), (TargetState::Paused, 0));
    bench.handle.resume();
    bench.until_delivered(1).await;
}

#[tokio::test(start_paused = true)]
async fn stop_waits_for_what_is_out_and_persists_progress() {
    let far = FarSide::new(|_, _, _| Act::Answer(Outcome::Delivered, 2 * SECOND));
    let bench = Bench::start(far, LIMITS);
    for n in 0..5 {
        bench.append(&key(n), 2);
    }
    bench.until("out", |s| s.in_flight == 5).await;
    let stopped = bench.handle.stop(5 * SECOND).await;
    assert_eq!((stopped.abandoned, stopped.not_durable.clone()), (0, None));
    assert_eq!((bench.queue.delivered(), bench.queue.see(|log| log.flushed)), (5, 5));
    assert_eq!((bench.far.attempts(), *bench.far.closed.lock().unwrap()), (5, 1));
    assert_eq!(bench.handle.stop(SECOND).await, stopped, "told again");
    assert!(bench.handle.status().stopped);
    // The rest is delivered after a restart, holes first.
    let again = Bench::open(bench.queue.clone(), bench.far.clone(), LIMITS, false);
    again.until_delivered(10).await;
}

#[tokio::test(start_paused = true)]
async fn stop_abandons_at_its_deadline() {
    let bench = Bench::start(FarSide::new(|_, _, _| Act::Keep), LIMITS);
    bench.append("a", 1);
    bench.append("b", 1);
    bench.until("out", |s| s.in_flight == 2).await;
    let asked = tokio::time::Instant::now();
    let stopped = bench.handle.stop(3 * SECOND).await;
    assert_eq!((stopped.abandoned, stopped.not_durable), (2, None));
    assert!(asked.elapsed() >= 3 * SECOND && asked.elapsed() < 4 * SECOND, "{:?}", asked.elapsed());
    assert_eq!(bench.queue.see(|log| log.holes.len()), 2);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_cannot_be_read_is_tried_again() {
    let bench = Bench::start(FarSide::new(|_, _, _| ok()), LIMITS);
    bench.append("a", 1);
    bench.until_delivered(1).await;
    bench.queue.see(|log| log.fail_next = Some(ReadError::Corrupt { from: 2, to: 2 }));
    bench.append("a", 1);
    let status = bench.until("said", |s| s.read_error.is_some()).await;
    assert!(status.read_error.unwrap().contains("2 to 2"));
    bench.until_delivered(2).await;
    assert_eq!(bench.status().read_error, None);
}

/// What a random far side does with one attempt.
fn acts() -> impl Strategy<Value = u8> {
    prop_oneof![6 => Just(0u8), 3 => Just(1), 2 => Just(2), 1 => Just(3), 1 => Just(4), 1 => Just(5), 1 => Just(6), 1 => Just(7), 1 => Just(8)]
}

fn act(kind: u8) -> Act {
    let at_once = |outcome| Act::Answer(outcome, Duration::ZERO);
    match kind {
        0 => ok(),
        1 => Act::Answer(Outcome::Delivered, Duration::from_millis(1_500)),
        2 => fails(),
        3 => Act::Drop,
        4 => Act::Keep,
        5 => Act::Panic,
        6 => at_once(faulted(Scope::Target)),
        7 => at_once(faulted(Scope::Destination)),
        _ => Act::Answer(Outcome::Delivered, Duration::from_secs(11)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// Under any mixture of outcomes: the order per key holds at every step, nothing is lost, the books balance,
    /// and once the far side behaves everything arrives. A failing case prints its input.
    #[test]
    fn order_and_completeness_under_random_outcomes(
        keys in prop::collection::vec(0usize..12, 1..120),
        script in prop::collection::vec(acts(), 1..60),
        interrupt in 0usize..40,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async move {
            let mut script = script.into_iter();
            let far = FarSide::new(move |_, _, _| script.next().map_or_else(ok, act));
            let bench = Bench::start(far.clone(), TargetLimits { max_in_flight: 50, ..LIMITS });
            let events = keys.len();
            for (n, key_no) in keys.into_iter().enumerate() {
                bench.append(&key(key_no), 1);
                if n % 7 == 0 {
                    bench.pass(Duration::from_millis(300)).await;
                }
                match n.checked_sub(interrupt) {
                    Some(0) => bench.handle.pause(),
                    Some(9) => bench.handle.resume(),
                    _ => {}
                }
            }
            bench.handle.resume();
            bench.pass(Duration::from_secs(30)).await;
            // A restart in the middle: what is not settled comes again, first.
            bench.handle.stop(SECOND).await;
            let again = Bench::open(bench.queue.clone(), far, LIMITS, false);
            again.until("everything", |_| again.queue.delivered() == events).await;
            again.queue.see(|log| {
                let mut delivered = log.delivered.clone();
                delivered.sort_unstable();
                assert_eq!(delivered, (1..=events as u64).collect::<Vec<_>>(), "each settled once");
            });
        });
    }
}
