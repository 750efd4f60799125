//! One broker of a set: a directory with its state, port and data, and what may be done with it, under its
//! lock. Must never harm a broker whose origin is outside, nor print where a guard calls it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::local::Local;
use super::state::{Origin, State};
use super::{Broker, Engine, From, compose, set, wire};
use crate::fail::{OUTSIDE, fail};
use crate::process;

/// How long a broker may take from its start to its first answer.
const READY_LIMIT: Duration = Duration::from_secs(90);
/// How long a broker that somebody else started may take to answer.
const OUTSIDE_LIMIT: Duration = Duration::from_secs(10);
/// How long a port may stay open after its owner was killed.
const PORT_LIMIT: Duration = Duration::from_secs(3);
/// How long another command on the same broker may take.
const LOCK_LIMIT: Duration = Duration::from_secs(180);

/// One broker of a set.
pub(crate) struct Member {
    broker: Broker,
    dir: PathBuf,
    /// For measurements: as fast as the broker gets, however long its start takes.
    fast: bool,
}

impl Member {
    /// The member of the set in this directory.
    pub(super) fn of(set: &Path, broker: Broker, fast: bool) -> Member {
        Member { broker, dir: set.join(broker.name()), fast }
    }

    fn engine(&self, from: From) -> Box<dyn Engine> {
        match from {
            From::Docker => Box::new(compose::Compose::new(self.broker, self.dir.clone())),
            From::Local => Box::new(Local::new(self.dir.clone(), self.broker.recipe(self.fast))),
        }
    }

    /// The lock that commands on this broker take, one at a time.
    fn lock(&self) -> Result<File> {
        fs::create_dir_all(&self.dir).with_context(|| format!("cannot make {}", self.dir.display()))?;
        set::hold(&self.dir.with_extension("lock"), LOCK_LIMIT)?
            .with_context(|| format!("another command is at work on this {}", self.broker.name()))
    }

    /// Its state, if it was ever started.
    pub(super) fn state(&self) -> Result<Option<State>> {
        State::read(&self.dir)
    }

    /// Starts the broker, or finds it running; its address. Where containers fail the jars are tried, unless
    /// `from` says which it must be.
    pub(crate) fn up(&self, from: Option<From>) -> Result<String> {
        let _lock = self.lock()?;
        if let Some(state) = State::read(&self.dir)? {
            let Origin::Ours(known) = state.origin else { return self.meet(&state.address) };
            if from.is_some_and(|from| from != known) {
                bail!("it was started from elsewhere; `cargo xtask brokers down --wipe` first");
            }
            let engine = self.engine(known);
            if !engine.runs()? {
                self.start(engine.as_ref(), &state)?;
            } else if !wire::answers(self.broker, &state.address) {
                bail!(
                    "it runs and does not answer at {}; is it frozen? `cargo xtask brokers restart {}`",
                    state.address,
                    self.broker.name()
                );
            }
            return Ok(state.address);
        }
        let first = from.unwrap_or(if compose::there() { From::Docker } else { From::Local });
        match self.first_start(first) {
            Err(error) if first == From::Docker && from.is_none() => {
                println!("no broker from a container ({error:#}); trying a process");
                self.first_start(From::Local)
            }
            other => other,
        }
    }

    fn first_start(&self, from: From) -> Result<String> {
        let engine = self.engine(from);
        // A state file may be lost, by `cargo clean` for one, while its broker runs.
        engine.remove()?;
        let port = wire::free_port()?;
        let state = State { origin: Origin::Ours(from), address: format!("127.0.0.1:{port}") };
        let started = engine.prepare(port).and_then(|()| {
            state.write(&self.dir)?;
            self.start(engine.as_ref(), &state)
        });
        if started.is_err() {
            // The first error is the one to show.
            let _ = engine.remove();
            State::forget(&self.dir)?;
        }
        started.map(|()| state.address)
    }

    fn start(&self, engine: &dyn Engine, state: &State) -> Result<()> {
        if !process::wait_until(PORT_LIMIT, || !wire::taken(&state.address)) {
            bail!(
                "{} is in use by another program; `cargo xtask brokers down --wipe` lets go of that port",
                state.address
            );
        }
        engine.start()?;
        let mut ended = false;
        let answered = process::wait_until(READY_LIMIT, || {
            wire::answers(self.broker, &state.address) || {
                ended = !engine.runs().unwrap_or(true);
                ended
            }
        });
        let name = self.broker.name();
        match (answered, ended) {
            (true, false) => Ok(()),
            (_, true) => {
                bail!("{name} ended while it started; its last words:\n{}", engine.last_words())
            }
            (false, false) => {
                bail!(
                    "{name} did not answer in {} s; its last words:\n{}",
                    READY_LIMIT.as_secs(),
                    engine.last_words()
                )
            }
        }
    }

    /// Uses a broker that somebody else started, and makes sure that it answers.
    pub(crate) fn outside(&self, address: &str) -> Result<String> {
        let _lock = self.lock()?;
        State { origin: Origin::Outside, address: address.to_owned() }.write(&self.dir)?;
        self.meet(address)
    }

    fn meet(&self, address: &str) -> Result<String> {
        if !process::wait_until(OUTSIDE_LIMIT, || wire::answers(self.broker, address)) {
            bail!("no {} answers at {address}, which {} names", self.broker.name(), self.broker.variable());
        }
        Ok(address.to_owned())
    }

    /// The broker's engine and state, for a command that needs one of ours.
    fn ours(&self) -> Result<(Box<dyn Engine>, State)> {
        match State::read(&self.dir)? {
            None => bail!("there is none; `cargo xtask brokers up {}` starts it", self.broker.name()),
            Some(state) => match state.origin {
                Origin::Ours(from) => Ok((self.engine(from), state)),
                Origin::Outside => Err(fail(
                    OUTSIDE,
                    format!(
                        "the broker at {} was started by somebody else: it is left as it is",
                        state.address
                    ),
                )),
            },
        }
    }

    pub(super) fn harm(&self, act: impl FnOnce(&dyn Engine) -> Result<()>) -> Result<()> {
        let _lock = self.lock()?;
        let (engine, _) = self.ours()?;
        if !engine.runs()? {
            bail!("{} does not run", self.broker.name());
        }
        act(engine.as_ref())
    }

    pub(super) fn restart(&self) -> Result<()> {
        let _lock = self.lock()?;
        let (engine, state) = self.ours()?;
        if engine.runs()? {
            engine.shutdown()?;
        }
        self.start(engine.as_ref(), &state)
    }

    pub(super) fn shutdown(&self) -> Result<()> {
        let _lock = self.lock()?;
        if State::read(&self.dir)?.is_none() {
            return Ok(());
        }
        let (engine, _) = self.ours()?;
        if engine.runs()? { engine.shutdown() } else { Ok(()) }
    }

    /// Ends the broker at once and removes its data and state. One of somebody else is only forgotten.
    /// Prints nothing: whoever would read it may be gone.
    pub(crate) fn end(&self) -> Result<()> {
        let _lock = self.lock()?;
        match State::read(&self.dir)?.map(|state| state.origin) {
            Some(Origin::Ours(from)) => self.engine(from).remove()?,
            Some(Origin::Outside) => {}
            None => self.engine(From::Local).remove()?,
        }
        State::forget(&self.dir)
    }

    pub(super) fn status(&self) -> Result<String> {
        let Some(state) = State::read(&self.dir)? else { return Ok(format!("{}: none", self.broker.name())) };
        let runs = match state.origin {
            Origin::Ours(from) => self.engine(from).runs()?,
            Origin::Outside => true,
        };
        let does = match (runs, wire::answers(self.broker, &state.address)) {
            (_, true) => "answers",
            (true, false) => "runs and does not answer",
            (false, false) => "ended",
        };
        Ok(format!(
            "{}: {does} at {} ({}), state in {}",
            self.broker.name(),
            state.address,
            state.origin.word(),
            self.dir.display()
        ))
    }
}
