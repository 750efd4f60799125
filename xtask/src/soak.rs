//! `cargo xtask soak`: packages, a release build of the benchmarks, and their soak. Must never measure
//! anything itself.

use anyhow::{Context, Result};

use crate::fail::{FAILED, fail};
use crate::{packages, paths};

/// Builds and runs it; what it prints is its result. It needs no broker: its receiver is its own.
pub(crate) fn run(objects: u64) -> Result<()> {
    packages::ensure(packages::BUILD)?;
    let objects = objects.to_string();
    let words = ["bench", "-p", "tidings", "--bench", "speed", "--", "soak", "--objects", &objects];
    let status = paths::cargo(&words)?.status().context("cannot start cargo")?;
    if status.success() { Ok(()) } else { Err(fail(FAILED, format!("the soak ended with {status}"))) }
}
