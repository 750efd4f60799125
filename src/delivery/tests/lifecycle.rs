//! Connecting, pausing, resuming, stopping, and a queue that fails.
//!
//! Must never look at a lane from inside: what the far side and the status show is what counts.

use std::sync::atomic::{AtomicBool, Ordering};

use tidings_connector::{Cause, ErrorClass, Fault, Outcome, Scope};

use super::*;
use crate::delivery::TargetState;
use crate::queue::ReadError;

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
    let took = |key: &str| if key == "slow" { 5 * SECOND } else { SECOND };
    let far = FarSide::new(move |key, _, _| Act::Answer(Outcome::Delivered, took(key)));
    let bench = Bench::start(far, LIMITS);
    bench.append("slow", 1);
    bench.append("a", 9);
    bench.until("some", |_| bench.queue.delivered() >= 2).await;
    bench.handle.pause();
    bench.until("paused", |s| s.state == TargetState::Paused).await;
    let attempts = bench.far.attempts();
    bench.until("nothing is out", |s| s.in_flight == 0).await;
    assert_eq!(bench.far.attempts(), attempts, "something was sent while others were out");
    bench.pass(SECOND).await;
    let delivered = bench.queue.delivered();
    assert!(delivered < 10);
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
    let bench = Bench::open(Queue::default(), far, LIMITS, Pause::Operator);
    bench.append("a", 1);
    bench.pass(100 * SECOND).await;
    assert_eq!((bench.status().state, *bench.far.connects.lock().unwrap()), (TargetState::Paused, 0));
    bench.handle.resume();
    bench.until_delivered(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_far_side_that_is_gone_is_not_called_again_until_somebody_resumes_it() {
    let gone = Arc::new(AtomicBool::new(true));
    let answers = Arc::clone(&gone);
    let far = FarSide::new(move |_, _, _| match answers.load(Ordering::Relaxed) {
        true => Act::Answer(faulted(Scope::Gone), SECOND / 10),
        false => ok(),
    });
    let bench = Bench::start(far, LIMITS);
    (0..10).for_each(|n| bench.append(&key(n), 2));
    let status = bench.until("gone", |s| s.blocked.is_some() && s.in_flight == 0).await;
    assert_eq!((status.state, bench.handle.is_gone()), (TargetState::Faulted, true));
    assert!(status.blocked.unwrap().contains("tidings target resume"));
    let asked = bench.far.attempts();
    assert!(asked <= 10, "{asked}: what was out when it said so");
    bench.append("later", 5);
    bench.pass(10_000 * SECOND).await;
    assert_eq!((bench.far.attempts(), bench.queue.delivered()), (asked, 0), "not even a probe");
    // It is as gone as before: one attempt shows that.
    bench.handle.resume();
    bench.until("gone again", |s| bench.far.attempts() > asked && s.blocked.is_some()).await;
    bench.pass(10_000 * SECOND).await;
    assert_eq!(bench.far.attempts(), asked + 1);
    gone.store(false, Ordering::Relaxed);
    bench.handle.resume();
    bench.until_delivered(25).await;
    let status = bench.status();
    assert_eq!((status.state, status.blocked, bench.handle.is_gone()), (TargetState::Up, None, false));

    // After a restart it is what the registry says.
    let again = Bench::open(Queue::default(), bench.far.clone(), LIMITS, Pause::Gone);
    again.append("a", 1);
    again.pass(100 * SECOND).await;
    assert_eq!((again.queue.delivered(), again.status().state), (0, TargetState::Faulted));
    again.handle.resume();
    again.until_delivered(1).await;
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
    let again = Bench::open(bench.queue.clone(), bench.far.clone(), LIMITS, Pause::No);
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
