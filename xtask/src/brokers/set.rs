//! One set: a directory with one member for each broker. Must never print where a guard calls it.

use std::env;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use super::member::Member;
use super::{BROKERCTL, BROKERS, Broker, From, kafka};
use crate::fail::{OUTSIDE, fail};
use crate::{paths, process};

/// The state of one set of brokers.
pub(crate) struct Set {
    dir: PathBuf,
    /// For measurements: as fast as the brokers get, however long their start takes.
    fast: bool,
}

impl Set {
    /// The set in this directory.
    pub(crate) fn at(dir: &Path) -> Set {
        Set { dir: dir.to_path_buf(), fast: false }
    }

    /// The set of `cargo xtask test`.
    pub(crate) fn test() -> Result<Set> {
        Ok(Set { dir: paths::target()?.join("brokers/test"), fast: false })
    }

    /// The set of `cargo xtask bench`.
    pub(crate) fn bench() -> Result<Set> {
        Ok(Set { dir: paths::target()?.join("brokers/bench"), fast: true })
    }

    /// The set that the environment names, else the one for development.
    pub(super) fn named() -> Result<Set> {
        match env::var_os(BROKERS).filter(|dir| !dir.is_empty()) {
            Some(dir) => Ok(Set { dir: PathBuf::from(dir), fast: false }),
            None => Ok(Set { dir: paths::target()?.join("brokers/dev"), fast: false }),
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// One broker of this set.
    pub(crate) fn member(&self, broker: Broker) -> Member {
        Member::of(&self.dir, broker, self.fast)
    }

    /// One broker of this set, to be started, ended or harmed.
    pub(super) fn manage(&self, broker: Broker) -> Result<Member> {
        if broker.given().is_some() {
            let sentence = format!(
                "{} names a broker that was started by somebody else: it cannot be managed from here",
                broker.variable()
            );
            return Err(fail(OUTSIDE, sentence));
        }
        Ok(self.member(broker))
    }

    /// The lock of a whole test run, held by its guard. `None`: another run holds it, for longer than
    /// `limit`.
    pub(crate) fn run_lock(&self, limit: Duration) -> Result<Option<File>> {
        fs::create_dir_all(&self.dir).with_context(|| format!("cannot make {}", self.dir.display()))?;
        hold(&self.dir.join("run.lock"), limit)
    }

    /// Ends what a test run left behind whose guard was killed too.
    pub(super) fn sweep(&self) -> Result<()> {
        match self.run_lock(Duration::ZERO)? {
            Some(_lock) => self.end(),
            None => Ok(()),
        }
    }

    /// Starts these brokers, all at once, and prints their addresses.
    pub(super) fn up(&self, brokers: &[Broker], from: Option<From>) -> Result<()> {
        at_once(brokers, |broker| {
            println!("{} {}", broker.name(), self.manage(broker)?.up(from)?);
            Ok(())
        })
    }

    /// Starts these brokers afresh, all at once, or meets those that the environment names; prints their
    /// addresses.
    pub(crate) fn fresh(&self, brokers: &[Broker], from: Option<From>) -> Result<()> {
        at_once(brokers, |broker| {
            println!("{} {}", broker.name(), self.fresh_one(broker, from)?);
            Ok(())
        })
    }

    /// Starts one broker afresh, or meets the one that the environment names; its address.
    pub(crate) fn fresh_one(&self, broker: Broker, from: Option<From>) -> Result<String> {
        let member = self.member(broker);
        match broker.given() {
            Some(address) => member.outside(&address),
            // A run that was killed together with its guard may have left one.
            None => member.end().and_then(|()| member.up(from)),
        }
    }

    /// Ends all brokers at once and removes their data and state; see [`Member::end`].
    pub(crate) fn end(&self) -> Result<()> {
        at_once(&Broker::ALL, |broker| self.member(broker).end())
    }

    /// The variables through which a test reaches this set.
    pub(crate) fn env(&self) -> Result<Vec<(&'static str, String)>> {
        let mut variables = Vec::new();
        for broker in Broker::ALL {
            if let Some(state) = self.member(broker).state()? {
                variables.push((broker.variable(), state.address));
                if broker == Broker::Kafka {
                    variables.extend(kafka::doors(&self.dir.join(broker.name()))?);
                }
            }
        }
        if variables.is_empty() {
            bail!("there is no broker; `cargo xtask brokers up` starts them");
        }
        let text = |path: &Path| path.to_str().map(str::to_owned).context("a path that is not UTF-8");
        variables.push((BROKERS, text(&self.dir)?));
        variables.push((BROKERCTL, text(&paths::xtask()?)?));
        Ok(variables)
    }
}

/// Does something with each broker, all at the same time; every error is told, and the first one's exit code
/// is kept.
fn at_once(brokers: &[Broker], act: impl Fn(Broker) -> Result<()> + Sync) -> Result<()> {
    let act = &act;
    let results: Vec<Result<()>> = thread::scope(|scope| {
        let started: Vec<_> = brokers.iter().map(|broker| scope.spawn(move || act(*broker))).collect();
        let ends = started.into_iter().map(|thread| thread.join());
        ends.map(|end| end.unwrap_or_else(|_| Err(anyhow!("panicked; see above")))).collect()
    });
    let failed =
        |(broker, result): (&Broker, Result<()>)| result.err().map(|error| error.context(broker.name()));
    let mut errors = brokers.iter().zip(results).filter_map(failed);
    let Some(first) = errors.next() else { return Ok(()) };
    let others: String = errors.map(|error| format!("{error:#}\n")).collect();
    if others.is_empty() { Err(first) } else { Err(first.context(others.trim_end().to_owned())) }
}

pub(super) fn hold(path: &Path, limit: Duration) -> Result<Option<File>> {
    let file = File::options().create(true).truncate(false).write(true).open(path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    let mut failure = None;
    let held = process::wait_until(limit, || match file.try_lock() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock) => false,
        Err(TryLockError::Error(error)) => {
            failure = Some(error);
            true
        }
    });
    match failure {
        Some(error) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
        None => Ok(held.then_some(file)),
    }
}
