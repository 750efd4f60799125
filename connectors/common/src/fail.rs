//! Deliberate faults of connectors, so that tests can prove that they would notice them. Nothing in an
//! ordinary build.
//!
//! The product has the same for itself; a connector cannot name it.

/// True if the deliberate fault `name` is switched on.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub fn mutant(_name: &'static str) -> bool {
    false
}

#[cfg(feature = "faults")]
pub use switch::{mutant, set_mutant};

#[cfg(feature = "faults")]
mod switch {
    use std::sync::{PoisonError, RwLock};

    static MUTANT: RwLock<Option<&'static str>> = RwLock::new(None);

    /// True if the deliberate fault `name` is switched on.
    pub fn mutant(name: &'static str) -> bool {
        *MUTANT.read().unwrap_or_else(PoisonError::into_inner) == Some(name)
    }

    /// Switches a deliberate fault on for this process, or all of them off.
    pub fn set_mutant(name: Option<&'static str>) {
        *MUTANT.write().unwrap_or_else(PoisonError::into_inner) = name;
    }
}
