//! What the index's engine says when it fails, as the store's errors.
//!
//! Must never let a panic of the engine end more than one call.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::store::StoreError;

pub(super) fn failed(e: impl Into<redb::Error>) -> StoreError {
    StoreError::Index(e.into().to_string())
}

/// Runs `work`; the engine panics on some kinds of damage, and that must stay an error of one call.
pub(super) fn guard<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        Err(StoreError::Index(format!("the engine broke off: {text}")))
    })
}
