//! redb as an engine that breaks off: its errors and its panics are errors of one call.
//!
//! Must never let a panic over a damaged file end a thread.

use std::panic::{AssertUnwindSafe, catch_unwind};

use redb::Database;

use crate::store::StoreError;

/// The open engine. It writes when it closes, and that may break off over damage, too.
pub(super) struct Engine(Option<Database>);

impl Engine {
    pub(super) fn new(db: Database) -> Self {
        Self(Some(db))
    }
}

impl std::ops::Deref for Engine {
    type Target = Database;

    fn deref(&self) -> &Database {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl std::ops::DerefMut for Engine {
    fn deref_mut(&mut self) -> &mut Database {
        self.0.as_mut().expect("it is there until it is dropped")
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let closed = guard(|| {
            drop(self.0.take());
            Ok(())
        });
        if let Err(error) = closed {
            tracing::error!(%error, "the index was not closed in order; the next start repairs it");
        }
    }
}

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
