//! Named places where a test build can be made to die or to misbehave. Nothing in an ordinary build.
//!
//! `TIDINGS_FAILPOINT=name` (or `name:n`, the nth passage) kills the process there, as a power cut of the
//! process would. `TIDINGS_MUTANT=name` switches one deliberate fault on, so that the tests can prove that
//! they would notice it. `TIDINGS_SMALL` makes small what only a large life reaches.

/// Passes the failpoint `name`: returns, or never.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub fn point(_name: &'static str) {}

/// True if the failpoint `name` is where the process is to die, for those that need some work to be reached.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub fn armed(_name: &'static str) -> bool {
    false
}

/// True if the deliberate fault `name` is switched on.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub fn mutant(_name: &'static str) -> bool {
    false
}

/// True if bounds that only a large life reaches are made small, so that the simulator reaches them.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub fn small() -> bool {
    false
}

#[cfg(feature = "faults")]
pub use faults::{armed, mutant, point, set_mutant, set_small, small};

#[cfg(feature = "faults")]
mod faults {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::sync::{LazyLock, PoisonError, RwLock};

    static FAILPOINT: LazyLock<Option<(String, u64)>> = LazyLock::new(|| {
        let spec = std::env::var("TIDINGS_FAILPOINT").ok()?;
        Some(match spec.split_once(':') {
            Some((name, n)) => (name.to_owned(), n.parse().unwrap_or(1)),
            None => (spec, 1),
        })
    });
    static SMALL: AtomicBool = AtomicBool::new(false);
    static SMALL_FROM_START: LazyLock<bool> = LazyLock::new(|| std::env::var_os("TIDINGS_SMALL").is_some());
    static PASSED: AtomicU64 = AtomicU64::new(0);
    static MUTANT: LazyLock<RwLock<Option<String>>> =
        LazyLock::new(|| RwLock::new(std::env::var("TIDINGS_MUTANT").ok()));

    /// Passes the failpoint `name`: returns, or never.
    pub fn point(name: &'static str) {
        if let Some((wanted, n)) = &*FAILPOINT
            && wanted == name
            && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == *n
        {
            // SIGKILL runs no handler, no destructor and flushes no buffer: what a crash looks like to the
            // disk.
            let _ = std::process::Command::new("kill").args(["-9", &std::process::id().to_string()]).status();
            loop {
                std::thread::park();
            }
        }
    }

    /// True if the failpoint `name` is where the process is to die, for those that need some work to be
    /// reached.
    pub fn armed(name: &'static str) -> bool {
        FAILPOINT.as_ref().is_some_and(|(wanted, _)| wanted == name)
    }

    /// True if the deliberate fault `name` is switched on.
    pub fn mutant(name: &'static str) -> bool {
        MUTANT.read().unwrap_or_else(PoisonError::into_inner).as_deref() == Some(name)
    }

    /// Switches a deliberate fault on for this process, or all of them off.
    pub fn set_mutant(name: Option<&str>) {
        *MUTANT.write().unwrap_or_else(PoisonError::into_inner) = name.map(str::to_owned);
    }

    /// True if bounds that only a large life reaches are made small, so that the simulator reaches them.
    pub fn small() -> bool {
        SMALL.load(Ordering::Relaxed) || *SMALL_FROM_START
    }

    /// Makes those bounds small for this process. Everything must go on as it should.
    pub fn set_small() {
        SMALL.store(true, Ordering::Relaxed);
    }
}
