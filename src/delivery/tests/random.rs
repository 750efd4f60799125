//! Random outcomes, pauses and restarts: the order, the books and completeness, with the failing input
//! printed.
//!
//! Must never look at a lane from inside: what the far side and the status show is what counts.

use super::*;
use proptest::prelude::*;
use tidings_connector::{Outcome, Scope};

/// What a random far side does with one attempt.
fn acts() -> impl Strategy<Value = u8> {
    prop_oneof![6 => Just(0u8), 3 => Just(1), 2 => Just(2), 6 => 3u8..=8]
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

    /// Under any mixture of outcomes: the order per key holds at every step, nothing is lost, the books
    /// balance, and once the far side behaves everything arrives. A failing case prints its input.
    #[test]
    fn order_and_completeness_under_random_outcomes(
        keys in prop::collection::vec(0usize..12, 1..120),
        script in prop::collection::vec(acts(), 1..60),
        interrupt in 0usize..40,
    ) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
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
            let again = Bench::open(bench.queue.clone(), far, LIMITS, Pause::No);
            again.until("everything", |_| again.queue.delivered() == events).await;
            again.queue.see(|log| {
                let mut delivered = log.delivered.clone();
                delivered.sort_unstable();
                assert_eq!(delivered, (1..=events as u64).collect::<Vec<_>>(), "each settled once");
            });
        });
    }
}
