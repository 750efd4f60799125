//! NATS as a process: built by Go once per machine, or the system's. Must never start anything that stays but
//! the broker itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::local::{Home, Recipe};
use crate::packages::Need;
use crate::{packages, paths, process};

const CONFIG: &str = include_str!("../../nats/nats.conf.in");
/// Pinned, so that the same run does the same tomorrow.
const VERSION: &str = "v2.15.2";
/// Where the system's package puts it, which is not on everybody's `PATH`.
const SYSTEM: &str = "/usr/sbin/nats-server";
/// How long fetching and building may take.
const BUILD_LIMIT: Duration = Duration::from_secs(900);

/// A NATS server with JetStream.
pub(super) struct Server;

impl Recipe for Server {
    fn needs(&self) -> Result<Vec<Need>> {
        Ok(if built()?.is_file() { vec![] } else { vec![Need::Nats] })
    }

    fn prepare(&self, home: &Home, port: u16) -> Result<Vec<String>> {
        let program = program()?;
        let program = program.to_str().context("a path to nats-server that is not UTF-8")?;
        home.write("nats.conf", config("127.0.0.1", port, &home.path("data")?))?;
        Ok(vec![program.to_owned(), "-c".into(), home.path("nats.conf")?])
    }

    fn marks(&self, home: &Home) -> Result<Vec<String>> {
        Ok(vec!["-c".into(), home.path("nats.conf")?])
    }
}

/// The server's configuration file.
pub(super) fn config(host: &str, port: u16, data: &str) -> String {
    CONFIG.replace("@HOST@", host).replace("@PORT@", &port.to_string()).replace("@DATA@", data)
}

/// The system's server, for machines without a Go that is new enough.
pub(crate) fn system() -> Option<PathBuf> {
    let fixed = Path::new(SYSTEM);
    paths::program("nats-server").or_else(|| fixed.is_file().then(|| fixed.to_path_buf()))
}

/// Where the server that Go builds is kept, shared by all checkouts.
fn built() -> Result<PathBuf> {
    Ok(paths::cache()?.join(format!("nats-server-{VERSION}/nats-server")))
}

/// The server: built already, else built now, else the system's.
fn program() -> Result<PathBuf> {
    let built = built()?;
    if built.is_file() {
        return Ok(built);
    }
    if packages::go().is_none() {
        return system().context("neither Go 1.21 or newer nor nats-server is installed");
    }
    let directory = built.parent().context("a path without a directory")?;
    println!("building nats-server {VERSION} in {} (once)", directory.display());
    let aside = directory.with_extension(format!("{}.new", std::process::id()));
    fs::create_dir_all(&aside).with_context(|| format!("cannot make {}", aside.display()))?;
    let mut go = Command::new("go");
    go.args(["install", "-trimpath", &format!("github.com/nats-io/nats-server/v2@{VERSION}")])
        .env("GOBIN", &aside)
        .env("GOFLAGS", "-mod=mod")
        .stdin(Stdio::null());
    let mut go = go.spawn().context("cannot start go")?;
    if process::wait(&mut go, BUILD_LIMIT)?.is_none_or(|status| !status.success()) {
        fs::remove_dir_all(&aside).context("cannot remove what Go left")?;
        bail!("Go could not build nats-server; TIDINGS_TEST_NATS=host:port names a running one");
    }
    match fs::rename(&aside, directory) {
        Ok(()) => Ok(built),
        // Another checkout was faster: its server is the same.
        Err(_) if built.is_file() => {
            fs::remove_dir_all(&aside).map(|()| built).context("cannot remove a copy")
        }
        Err(error) => Err(error).with_context(|| format!("cannot make {}", directory.display())),
    }
}
