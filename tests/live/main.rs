//! Live tests: the real binary on a real disk against real far sides, judged by the checker.
//!
//! Must never trust the product's own log: what is expected comes from the answers that clients got, and what
//! arrived is read by a consumer of their own. The tests take turns, since some of them break the broker for
//! everybody.

#[allow(dead_code, reason = "shared with tests/it, which tests the checker itself")]
#[path = "../checker/mod.rs"]
mod checker;

mod books;
mod broker;
mod chaos;
mod clock;
mod consumer;
#[cfg(feature = "faults")]
mod dead;
mod exhausted;
mod far;
mod faulted;
mod finish;
mod kills;
#[cfg(feature = "faults")]
mod kinds;
mod load;
mod many;
#[cfg(feature = "faults")]
mod mix;
mod names;
mod nats;
mod neighbours;
mod network;
#[cfg(feature = "faults")]
mod origins;
#[cfg(feature = "powercut")]
mod powercut;
mod rabbitmq;
mod receiver;
mod record;
mod recovery;
#[cfg(feature = "faults")]
mod replication;
#[cfg(feature = "faults")]
mod restores;
mod server;
mod several;
mod stuck;
mod volume;
mod watch;

use tokio::sync::{Mutex, MutexGuard};

static TURN: Mutex<()> = Mutex::const_new(());

/// Waits until no other live test runs. A failed test gives its turn away like any other.
async fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().await
}

/// The run's seed: `TIDINGS_SEED`, or a random one. Printed, so that a failure can be repeated.
fn seed(test: &str) -> u64 {
    let seed = number("TIDINGS_SEED").unwrap_or_else(|| uuid::Uuid::now_v7().as_u64_pair().1);
    println!("{test}: TIDINGS_SEED={seed}");
    seed
}

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}
