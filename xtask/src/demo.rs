//! `cargo xtask demo`: builds tidings as it is released and becomes its demo. Must never add behaviour of its
//! own.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{packages, paths};

/// Replaces this process by the demo, so that signals and the exit code are the demo's own.
pub(crate) fn run(args: &[OsString]) -> Result<()> {
    packages::ensure(packages::BUILD)?;
    // Without a sandbox the demo does without its function: no reason to stop.
    if paths::program("python3").is_some()
        && let Err(error) = packages::ensure(&[packages::Need::Bubblewrap])
    {
        println!("the demo shows no function: {error:#}");
    }
    let status =
        paths::cargo(&["build", "--release", "-p", "tidings"])?.status().context("cannot start cargo")?;
    if !status.success() {
        bail!("tidings could not be built");
    }
    let program = paths::target()?.join("release/tidings");
    let error = Command::new(&program).arg("demo").args(args).exec();
    Err(error).with_context(|| format!("cannot start {}", program.display()))
}
