//! The S3 clients that tests use: a Python environment in the cache, made once. Must never use a client that
//! the system happens to have.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::paths;

/// What the environment holds: the clients as their users have them today.
const PACKAGES: [&str; 2] = ["boto3==1.44.5", "awscli==1.46.3"];
/// Written last: without it the environment is not whole, and is made again.
const WHOLE: &str = "whole";

/// The environment's directory, for `TIDINGS_TEST_CLIENTS`.
pub(crate) fn environment() -> Result<PathBuf> {
    let dir = paths::cache()?.join(format!("clients-{}", PACKAGES.join("-").replace("==", "-")));
    if dir.join(WHOLE).is_file() {
        return Ok(dir);
    }
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(&dir))?;
    let pip = ["install", "--quiet", "--disable-pip-version-check", "--no-input"];
    run(Command::new(dir.join("bin/pip")).args(pip).args(PACKAGES))?;
    fs::write(dir.join(WHOLE), "").with_context(|| format!("cannot write in {}", dir.display()))?;
    Ok(dir)
}

fn run(command: &mut Command) -> Result<()> {
    println!("+ {command:?}");
    let status = command.status().with_context(|| format!("cannot start {:?}", command.get_program()))?;
    if !status.success() {
        bail!("{:?} ended with {status}", command.get_program());
    }
    Ok(())
}
