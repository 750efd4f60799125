//! The failures that have an exit code of their own. Must never print.

use std::fmt;

/// Something failed.
pub(crate) const FAILED: u8 = 1;
/// A system package or a tool is missing.
pub(crate) const MISSING: u8 = 2;
/// The broker was started by somebody else, so that it cannot be ended or restarted from here.
pub(crate) const OUTSIDE: u8 = 3;

/// A sentence and the exit code that goes with it.
#[derive(Debug)]
pub(crate) struct Fail {
    code: u8,
    sentence: String,
}

/// An error whose exit code is `code`.
pub(crate) fn fail(code: u8, sentence: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Fail { code, sentence: sentence.into() })
}

/// The exit code for `error`: its own where it has one, else [`FAILED`].
pub(crate) fn code(error: &anyhow::Error) -> u8 {
    error.chain().find_map(|cause| cause.downcast_ref::<Fail>()).map_or(FAILED, |fail| fail.code)
}

impl fmt::Display for Fail {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.sentence)
    }
}

impl std::error::Error for Fail {}
