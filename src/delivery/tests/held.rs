//! Keys that do not get on: what they cost, what they stop, and what comes back in which order.
//!
//! Must never look at a lane from inside: what the far side and the status show is what counts.

use tidings_connector::Outcome;

use super::*;
use crate::delivery::TargetState;
use crate::queue::ReadError;

/// Offsets of one key, each at its first attempt after so many of all, in the order of those.
fn first_attempts(far: &FarSide, key: &str, after: usize) -> Vec<u64> {
    let mut firsts: Vec<u64> = Vec::new();
    for (of, offset) in &far.seen.lock().unwrap()[after..] {
        if of == key && !firsts.contains(offset) {
            firsts.push(*offset);
        }
    }
    firsts
}

#[tokio::test(start_paused = true)]
async fn a_stuck_key_is_kept_outside_memory_and_comes_back_complete_and_in_order() {
    let limits = TargetLimits { max_in_flight: 64, backoff_max: 4 * SECOND, ..LIMITS };
    let far = FarSide::new(|key, _, _| if key == "stuck" { fails() } else { ok() });
    let bench = Bench::start(far, limits);
    for n in 0..2_000 {
        bench.append("stuck", 1);
        bench.append(&key(n), 1);
    }
    bench.until_delivered(2_000).await;
    let status = bench.status();
    assert_eq!((status.state, status.retrying, status.full), (TargetState::Up, 2_000, false));
    assert_eq!(status.oldest_undelivered, None, "the queue knows it");
    let before = bench.queue.see(|log| log.looked_up);
    bench.far.follow(|_, _, _| ok());
    bench.until_delivered(4_000).await;
    assert!(first_attempts(&bench.far, "stuck", 0).is_sorted());
    let looked_up = bench.queue.see(|log| log.looked_up) - before;
    assert!((1_900..2_100).contains(&looked_up), "{looked_up} entries were read for 2,000");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_gets_more_than_the_far_side_takes_stops_nobody_else() {
    let took = |key: &str| if key == "hot" { 5 * SECOND } else { Duration::ZERO };
    let far = FarSide::new(move |key, _, _| Act::Answer(Outcome::Delivered, took(key)));
    let limits = TargetLimits { max_in_flight: 64, attempt_timeout: 60 * SECOND, ..LIMITS };
    let bench = Bench::start(far, limits);
    bench.append("hot", 500);
    for n in 0..500 {
        bench.append(&key(n), 1);
    }
    let began = tokio::time::Instant::now();
    bench.until("the others", |_| bench.queue.delivered() >= 500).await;
    assert!(began.elapsed() < 100 * SECOND, "the others waited {:?}", began.elapsed());
    bench.until_delivered(1_000).await;
    assert!(first_attempts(&bench.far, "hot", 0).is_sorted());
}

#[tokio::test(start_paused = true)]
async fn at_the_bound_the_lane_reads_no_further_and_says_so() {
    let limits = TargetLimits { max_in_flight: 64, max_held: 300, ..LIMITS };
    let far = FarSide::new(|key, _, _| if key == "stuck" { fails() } else { ok() });
    let bench = Bench::start(far, limits);
    bench.append("stuck", 1_000);
    bench.append("other", 10);
    bench.until("full", |s| s.full).await;
    bench.pass(60 * SECOND).await;
    assert_eq!(bench.queue.delivered(), 0);
    let taken = bench.queue.see(|log| log.holes.len());
    assert!((300..=364).contains(&taken), "{taken} taken");
    bench.far.follow(|_, _, _| ok());
    bench.until_delivered(1_010).await;
    assert!(!bench.status().full);
}

#[tokio::test(start_paused = true)]
async fn what_was_held_before_a_restart_goes_before_what_is_new() {
    let limits = TargetLimits { max_in_flight: 64, ..LIMITS };
    let far = FarSide::new(|key, _, _| if key == "stuck" { fails() } else { ok() });
    let bench = Bench::start(far.clone(), limits);
    for n in 0..200 {
        bench.append("stuck", 1);
        bench.append(&key(n), 1);
    }
    bench.until_delivered(200).await;
    bench.handle.stop(SECOND).await;
    let before = far.attempts();
    far.follow(|_, _, _| ok());
    // It waits in the queue when the lane starts again, and reading holes takes longer than reading it.
    bench.append("stuck", 1);
    bench.queue.see(|log| log.read_takes = Duration::from_millis(5));
    let again = Bench::open(bench.queue.clone(), far.clone(), limits, Pause::No);
    again.until_delivered(401).await;
    let stuck = first_attempts(&far, "stuck", before);
    assert_eq!(stuck.len(), 201);
    assert!(stuck.is_sorted(), "{stuck:?}");
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_cannot_be_read_again_holds_its_key_and_no_other() {
    let limits = TargetLimits { max_in_flight: 64, ..LIMITS };
    let far = FarSide::new(|_, _, _| fails());
    let bench = Bench::start(far.clone(), limits);
    for n in 0..60 {
        bench.append(&key(n % 6), 1);
    }
    bench.until("taken", |s| s.retrying == 60).await;
    bench.handle.stop(SECOND).await;
    far.follow(|_, _, _| ok());
    // Number 9 is the second one of key 2.
    bench.queue.see(|log| {
        (log.unreadable, log.fail_lookup) = (9, Some(ReadError::Io(std::io::ErrorKind::Other.into())))
    });
    let again = Bench::open(bench.queue.clone(), far, limits, Pause::No);
    again.until("all others", |_| again.queue.delivered() == 51).await;
    again.until("held", |s| s.held == 9).await;
    again.until("said", |s| s.read_error.as_ref().is_some_and(|e| e.contains("9 to 9"))).await;
    again.queue.see(|log| log.unreadable = 0);
    again.until_delivered(60).await;
    assert_eq!(again.status().read_error, None);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_down_is_probed_with_what_is_not_in_memory() {
    let limits = TargetLimits { max_in_flight: 64, backoff_max: 4 * SECOND, ..LIMITS };
    let far = FarSide::new(|_, _, _| fails());
    let bench = Bench::start(far.clone(), limits);
    for n in 0..300 {
        bench.append(&key(n), 2);
    }
    bench.until("down", |s| s.state == TargetState::Down).await;
    bench.pass(60 * SECOND).await;
    let before = bench.far.attempts();
    bench.pass(60 * SECOND).await;
    assert!(bench.far.attempts() > before + 5, "it is not probed any more");
    bench.handle.stop(SECOND).await;
    // And with what a new life knows of by its place alone.
    let again = Bench::open(bench.queue.clone(), far.clone(), limits, Pause::No);
    again.until("down again", |s| s.state == TargetState::Down).await;
    far.follow(|_, _, _| ok());
    again.until_delivered(600).await;
}
