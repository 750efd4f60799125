//! One attempt goes wrong: dropped, panicking, hanging, late, throttled, delayed.
//!
//! Must never look at a lane from inside: what the far side and the status show is what counts.

use tidings_connector::{Cause, ErrorClass, Limits, Outcome, Scope};

use super::*;
use crate::delivery::{DELIVER_BOUND, THROTTLE_CAP, TargetState};

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
    let began = tokio::time::Instant::now();
    bench.until_delivered(3).await;
    assert!(began.elapsed() < DELIVER_BOUND + 5 * SECOND, "{:?}", began.elapsed());
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
    let seen = |late: u64| late == 1 && bench.queue.see(|log| log.repeated) == 1;
    let status = bench.until("it was seen", |s| seen(s.counters.late_receipts)).await;
    assert_eq!((bench.queue.delivered(), status.waiting), (0, 2));
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
async fn an_unhealthy_connector_is_replaced() {
    let bench = Bench::start(FarSide::new(|_, _, _| ok()), LIMITS);
    bench.append("a", 1);
    bench.until_delivered(1).await;
    bench.far.broken.store(true, std::sync::atomic::Ordering::Relaxed);
    bench.append("a", 1);
    bench.until_delivered(2).await;
    assert_eq!((bench.status().incarnation, *bench.far.connects.lock().unwrap()), (2, 2));
    assert_eq!(bench.far.attempts(), 2, "nothing was sent through it");
}
