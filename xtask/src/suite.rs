//! s3s-e2e, the test suite for S3 servers of the S3 library's authors: built once into the cache. Must never
//! use one that the system happens to have, and must leave no build output behind.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::guard::Guard;
use crate::{paths, steps};

/// The version that fits our version of the library; with its own lock file, so that it never changes.
const VERSION: &str = "0.14.1";

/// The suite's binary, for `TIDINGS_TEST_S3S_E2E`. The first time it is built: some 300 crates, most of the
/// time one of them, the AWS SDK.
pub(crate) fn binary(guard: &mut Guard) -> Result<PathBuf> {
    let dir = paths::cache()?.join(format!("s3s-e2e-{VERSION}"));
    let binary = dir.join("bin/s3s-e2e");
    // Cargo puts it there last, and whole.
    if binary.is_file() {
        return Ok(binary);
    }
    let build = dir.join("build");
    let mut cargo = paths::cargo(&["install", "s3s-e2e", "--version", VERSION, "--locked", "--debug"])?;
    cargo.arg("--root").arg(&dir).arg("--target-dir").arg(&build);
    // Built once, run for seconds: nothing is worth more than a fast build.
    cargo.envs([("CARGO_PROFILE_DEV_DEBUG", "0"), ("CARGO_INCREMENTAL", "0")]);
    let built = steps::run(guard, &mut cargo, |_| ());
    if build.exists() {
        fs::remove_dir_all(&build).with_context(|| format!("cannot remove {}", build.display()))?;
    }
    built.map(|()| binary)
}
