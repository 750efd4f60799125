//! `cargo xtask fuzz`: every fuzzer of `fuzz/` for a while, one after the other. Must never pass over one
//! that found something, nor use a tool that the system happens to have.

use std::ffi::OsString;
use std::path::Path;
use std::{env, fs, iter};

use anyhow::{Context, Result};

use crate::fail::{FAILED, MISSING, fail};
use crate::{packages, paths};

/// The version of cargo-fuzz, with its own lock file.
const VERSION: &str = "0.13.2";

/// What to fuzz.
#[derive(clap::Args)]
pub(crate) struct Fuzz {
    /// Seconds for each fuzzer.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Only these; default: all.
    only: Vec<String>,
}

/// Runs them; what a fuzzer found lies in `fuzz/artifacts`, and the command that repeats it is printed.
pub(crate) fn run(fuzz: &Fuzz) -> Result<()> {
    packages::ensure(packages::BUILD)?;
    let (path, root) = (path_with_tool()?, paths::root()?);
    let all = targets(&root.join("fuzz/fuzz_targets"))?;
    if let Some(unknown) = fuzz.only.iter().find(|only| !all.contains(only)) {
        return Err(fail(FAILED, format!("there is no fuzzer `{unknown}`; there are {}", all.join(", "))));
    }
    let mut found = Vec::new();
    for target in all.iter().filter(|target| fuzz.only.is_empty() || fuzz.only.contains(target)) {
        println!("== {target}: {} s", fuzz.seconds);
        let (corpus, seeds) = (format!("fuzz/corpus/{target}"), format!("fuzz/seeds/{target}"));
        fs::create_dir_all(root.join(&corpus)).with_context(|| format!("cannot make {corpus}"))?;
        // Nothing of ours is unsafe, so that a sanitizer would only take time: panics are what is looked for.
        let mut cargo = paths::cargo(&["fuzz", "run", "--sanitizer", "none", target, &corpus])?;
        if root.join(&seeds).is_dir() {
            cargo.arg(&seeds);
        }
        cargo.arg("--").arg(format!("-max_total_time={}", fuzz.seconds));
        cargo.args(["-rss_limit_mb=2048", "-timeout=10"]).env("PATH", &path);
        if !cargo.status().context("cannot start cargo")?.success() {
            found.push(target.as_str());
        }
    }
    match found.is_empty() {
        true => Ok(()),
        false => Err(fail(FAILED, format!("something was found by {}: see above", found.join(", ")))),
    }
}

/// The fuzzers that there are.
fn targets(dir: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let name = |entry: fs::DirEntry| entry.path().file_stem()?.to_str().map(str::to_owned);
    let mut all: Vec<_> = entries.flatten().filter_map(name).collect();
    all.sort_unstable();
    Ok(all)
}

/// `PATH` with cargo-fuzz in front, which is built the first time.
fn path_with_tool() -> Result<OsString> {
    let dir = paths::cache()?.join(format!("cargo-fuzz-{VERSION}"));
    if !dir.join("bin/cargo-fuzz").is_file() {
        let mut cargo = paths::cargo(&["install", "cargo-fuzz", "--version", VERSION, "--locked", "--root"])?;
        let status = cargo.arg(&dir).status().context("cannot start cargo")?;
        if !status.success() {
            return Err(fail(MISSING, "cargo-fuzz cannot be built: see above".to_owned()));
        }
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let all = iter::once(dir.join("bin")).chain(env::split_paths(&path));
    env::join_paths(all).context("PATH cannot be extended")
}
