//! Order, batches and limits.
//!
//! Must never look at a lane from inside: what the far side and the status show is what counts.

use tidings_connector::{Limits, Outcome};

use super::*;
use crate::delivery::{READ_AHEAD_LEAST, TargetState};
use crate::queue::OldestEvent;

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
    assert_eq!((status.counters.attempts.delivered, status.oldest_undelivered), (3_000, None));
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
    assert_eq!(bench.handle.status().oldest_undelivered, Some(OldestEvent { offset: 1, time_us: 1 }));
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
async fn a_rate_limit_is_kept() {
    let limits = TargetLimits { rate_limit: Some(50), ..LIMITS };
    let bench = Bench::start(FarSide::new(|_, _, _| ok()), limits);
    for n in 0..2_000 {
        bench.append(&key(n), 1);
    }
    bench.pass(20 * SECOND).await;
    let sent = bench.far.attempts();
    assert!((990..=1_010).contains(&sent), "{sent} in 20 s at 50/s");
}

#[tokio::test(start_paused = true)]
async fn bytes_out_stay_within_the_limit() {
    let far = FarSide::new(|_, _, _| Act::Answer(Outcome::Delivered, SECOND));
    // Each message has a key of five bytes and a payload of eight.
    *far.limits.lock().unwrap() = Limits { in_flight: 100, batch: 100, bytes: 13 * 4 + 9 };
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
async fn a_slow_read_is_not_begun_anew_for_every_answer() {
    let mut n = 0;
    let far = FarSide::new(move |_, _, _| {
        n += 1;
        Act::Answer(Outcome::Delivered, Duration::from_millis(1 + n % 300))
    });
    let bench = Bench::start(far, TargetLimits { max_in_flight: 400, ..LIMITS });
    bench.queue.see(|log| log.read_takes = Duration::from_millis(150));
    for n in 0..4_000 {
        bench.append(&key(n), 1);
    }
    let began = tokio::time::Instant::now();
    bench.until_delivered(4_000).await;
    let reads = bench.queue.see(|log| log.reads);
    assert!(reads < 100, "{reads} reads");
    assert!(began.elapsed() < 15 * SECOND, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_slow_far_side_does_not_fill_memory() {
    let far = FarSide::new(|_, _, _| Act::Answer(Outcome::Delivered, SECOND));
    *far.limits.lock().unwrap() = Limits { in_flight: 10, batch: 10, bytes: 1 << 20 };
    let bench = Bench::start(far, TargetLimits { max_in_flight: 65_536, ..LIMITS });
    for n in 0..20_000 {
        bench.append(&key(n), 1);
    }
    bench.until("it has something to send", |s| s.in_flight == 10 && s.waiting > 1_000).await;
    bench.pass(30 * SECOND).await;
    let waiting = bench.status().waiting;
    assert!((1_000..=READ_AHEAD_LEAST).contains(&waiting), "{waiting} wait in memory for 10 that may be out");
}

#[tokio::test(start_paused = true)]
async fn many_events_of_few_keys_hide_nobody_behind_them() {
    let far = FarSide::new(|_, _, _| Act::Answer(Outcome::Delivered, 5 * SECOND));
    *far.limits.lock().unwrap() = Limits { in_flight: 210, batch: 210, bytes: 1 << 20 };
    let bench = Bench::start(far, TargetLimits { max_in_flight: 65_536, ..LIMITS });
    for n in 0..200 {
        bench.append(&key(n), 60);
    }
    for n in 200..210 {
        bench.append(&key(n), 1);
    }
    let began = tokio::time::Instant::now();
    bench.until("every key is out", |s| s.in_flight == 210).await;
    assert!(began.elapsed() < SECOND, "only after {:?}, once others were delivered", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_is_delivered_is_settled_soon_though_a_read_goes_on() {
    let bench = Bench::start(FarSide::new(|_, _, _| ok()), LIMITS);
    bench.append("a", 1);
    bench.until("read", |_| bench.far.attempts() == 1).await;
    bench.pass(crate::delivery::SETTLE_DELAY * 2).await;
    assert_eq!(bench.queue.delivered(), 1, "nothing else came");
}

#[tokio::test(start_paused = true)]
async fn every_attempt_is_counted_and_timed() {
    let far = FarSide::new(|_, offset, attempt| match (offset % 3, attempt) {
        (0, 1) => fails(),
        _ => Act::Answer(Outcome::Delivered, Duration::from_millis(700)),
    });
    let bench = Bench::start(far, LIMITS);
    for n in 0..30 {
        bench.append(&key(n), 1);
    }
    bench.until_delivered(30).await;
    let counted = bench.until("all is shown", |s| s.counters.attempts.delivered == 30).await.counters;
    assert_eq!(counted.attempts.retry, 10);
    assert_eq!((counted.attempt_seconds.count(), counted.end_to_end_seconds.count()), (40, 30));
    // Failures are answered at once; each delivery took 0.7 s, and no timer fires much later.
    let sum = counted.attempt_seconds.sum();
    assert!((20.99..22.0).contains(&sum), "{sum}");
}
