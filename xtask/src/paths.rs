//! Where things are: the checkout, the build output, the cache that outlives a checkout. Must never create
//! anything.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The checkout's root: the first directory upwards from the current one that holds xtask's own files.
pub(crate) fn root() -> Result<PathBuf> {
    let here = env::current_dir().context("the current directory is gone")?;
    match here.ancestors().find(|dir| dir.join("xtask/kafka/pom.xml").is_file()) {
        Some(root) => Ok(root.to_path_buf()),
        None => bail!("run this inside a checkout of tidings; {} is not in one", here.display()),
    }
}

/// This very program, to be started again by tests.
pub(crate) fn xtask() -> Result<PathBuf> {
    env::current_exe().context("cannot find out where xtask itself is")
}

/// The directory of build output that this program came from: usually `target`.
pub(crate) fn target() -> Result<PathBuf> {
    let exe = xtask()?;
    match exe.parent().and_then(Path::parent) {
        Some(target) => Ok(target.to_path_buf()),
        None => bail!("{} is not where cargo puts a program; run it as `cargo xtask`", exe.display()),
    }
}

/// The cache directory shared by all checkouts: `$XDG_CACHE_HOME/tidings`, else `~/.cache/tidings`; where
/// neither is known, a directory of the build output.
pub(crate) fn cache() -> Result<PathBuf> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    match base {
        Some(base) => Ok(base.join("tidings")),
        None => Ok(target()?.join("brokers/cache")),
    }
}

/// The program `name` on `PATH`.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// The commit of the checkout, with a mark where files differ from it.
pub(crate) fn commit() -> Result<String> {
    let git = Command::new("git")
        .args(["describe", "--always", "--dirty=_and_changes", "--exclude=*"])
        .current_dir(root()?)
        .output()
        .context("cannot start git")?;
    let name = String::from_utf8_lossy(&git.stdout).trim().to_owned();
    Ok(if git.status.success() { name } else { "unknown".to_owned() })
}

/// A cargo command at the checkout's root, without the variables that cargo sets for the program it runs: a
/// build that saw them would not be the build that a plain `cargo` makes.
pub(crate) fn cargo(args: &[&str]) -> Result<Command> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(args).current_dir(root()?);
    for (name, _) in env::vars_os() {
        let own = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
        if name.to_str().is_some_and(|name| own.iter().any(|prefix| name.starts_with(prefix))) {
            command.env_remove(&name);
        }
    }
    Ok(command)
}
