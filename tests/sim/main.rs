//! Faults: the real journal, queue, store and lane over a simulated disk that loses power, fails calls and
//! rots.
//!
//! Must never judge by the product's own word: what is expected comes from what callers were told. Every run
//! prints its seed; `TIDINGS_SEED` repeats its choices.

mod behind;
mod calls;
mod cuts;
mod damage;
mod dead;
mod disk;
mod far;
mod forget;
mod full;
mod holes;
mod idle;
mod log;
mod lost;
#[allow(dead_code, reason = "shared with the tidy tests, which read all of it")]
#[path = "../support/mutants.rs"]
mod mutants;
mod nth;
mod own;
mod power;
mod rematch;
mod restores;
mod rules;
mod sent;
mod space;
mod stack;
mod versions;
mod whole;

use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use tidings::fail;

/// Mutants are process-wide: whoever switches one on holds this alone.
static SANE: RwLock<()> = RwLock::new(());

/// Held by every test that wants the product as it is.
fn sane() -> RwLockReadGuard<'static, ()> {
    SANE.read().unwrap_or_else(PoisonError::into_inner)
}

/// Shows that `test` passes, and that it notices the deliberate fault `mutant`.
fn kills(mutant: &str, test: impl Fn() -> Result<(), String>) {
    assert!(mutants::MUTANTS.iter().any(|row| row.name == mutant), "{mutant} is not in the table");
    let _alone = SANE.write().unwrap_or_else(PoisonError::into_inner);
    test().unwrap_or_else(|why| panic!("without {mutant}: {why}"));
    fail::set_mutant(Some(mutant));
    let noticed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(&test));
    fail::set_mutant(None);
    match noticed {
        Ok(Ok(())) => panic!("the mutant {mutant} lives"),
        Ok(Err(why)) => println!("{mutant} is noticed: {why}"),
        Err(_) => println!("{mutant} is noticed: the test broke off"),
    }
    println!("figure: mutants_caught=1");
}

/// The run's seed: `TIDINGS_SEED`, or always the same one, so that a run can be compared with the one before.
fn seed() -> u64 {
    let given = std::env::var("TIDINGS_SEED").ok();
    given.map_or(1, |text| text.parse().unwrap_or_else(|_| panic!("TIDINGS_SEED={text} is not a number")))
}

/// Crash states that a run as usual looks at, in thousands.
const USUAL_THOUSANDS: u64 = 120;

/// So many times as much as usual: `TIDINGS_SIM_SCALE`, or as much as `TIDINGS_STATES` crash states take.
fn scale() -> u64 {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let states = number("TIDINGS_STATES").map_or(1, |states| states.div_ceil(USUAL_THOUSANDS * 1_000));
    number("TIDINGS_SIM_SCALE").unwrap_or(1).max(states).max(1)
}

/// Says how many crash states of which files were judged; gives how many.
fn judged(of: &str, states: usize) -> usize {
    println!("figure: crash_states={states} ({of})");
    states
}
