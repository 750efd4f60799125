//! One set: a directory with one broker's state, port and data, and what may be done with it, under its lock.
//! Must never harm a broker whose origin is outside, nor print where a guard calls it.

use std::env;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::state::{Origin, State};
use super::{BROKERCTL, BROKERS, Engine, From, KAFKA, compose, given, jars, wire};
use crate::fail::{OUTSIDE, fail};
use crate::{paths, process};

/// How long a broker may take from its start to its first answer.
const READY_LIMIT: Duration = Duration::from_secs(90);
/// How long a broker that somebody else started may take to answer.
const OUTSIDE_LIMIT: Duration = Duration::from_secs(10);
/// How long a port may stay open after its owner was killed.
const PORT_LIMIT: Duration = Duration::from_secs(3);
/// How long another command on the same set may take.
const LOCK_LIMIT: Duration = Duration::from_secs(180);

/// The state of one set of brokers.
pub(crate) struct Set {
    dir: PathBuf,
    /// For measurements: as fast as the broker gets, however long its start takes.
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
            None if given().is_some() => Err(fail(
                OUTSIDE,
                format!(
                    "{KAFKA} names a broker that was started by somebody else: it cannot be managed from here"
                ),
            )),
            None => Ok(Set { dir: paths::target()?.join("brokers/dev"), fast: false }),
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    fn kafka(&self) -> PathBuf {
        self.dir.join("kafka")
    }

    fn engine(&self, from: From) -> Box<dyn Engine> {
        match from {
            From::Docker => Box::new(compose::Compose::new(self.kafka())),
            From::Jars => Box::new(jars::Jars::new(self.kafka(), self.fast)),
        }
    }

    /// The lock that commands on this set take, one at a time.
    fn lock(&self) -> Result<File> {
        fs::create_dir_all(self.kafka())
            .with_context(|| format!("cannot make {}", self.kafka().display()))?;
        hold(&self.dir.join("lock"), LOCK_LIMIT)?.context("another command is at work on this broker")
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

    /// Starts the broker, or finds it running; its address. Where containers fail the jars are tried, unless
    /// `from` says which it must be.
    pub(crate) fn up(&self, from: Option<From>) -> Result<String> {
        let _lock = self.lock()?;
        if let Some(state) = State::read(&self.kafka())? {
            let Origin::Ours(known) = state.origin else { return self.meet(&state.address) };
            if from.is_some_and(|from| from != known) {
                bail!("it was started from elsewhere; `cargo xtask brokers down --wipe` first");
            }
            let engine = self.engine(known);
            if !engine.runs()? {
                self.start(engine.as_ref(), &state)?;
            } else if !wire::answers(&state.address) {
                bail!(
                    "it runs and does not answer at {}; is it frozen? `cargo xtask brokers restart kafka`",
                    state.address
                );
            }
            return Ok(state.address);
        }
        let first = from.unwrap_or(if compose::there() { From::Docker } else { From::Jars });
        match self.first_start(first) {
            Err(error) if first == From::Docker && from.is_none() => {
                println!("no broker from a container ({error:#}); trying the jars");
                self.first_start(From::Jars)
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
            state.write(&self.kafka())?;
            self.start(engine.as_ref(), &state)
        });
        if started.is_err() {
            // The first error is the one to show.
            let _ = engine.remove();
            State::forget(&self.kafka())?;
        }
        started.map(|()| state.address)
    }

    fn start(&self, engine: &dyn Engine, state: &State) -> Result<()> {
        if !process::wait_until(PORT_LIMIT, || !wire::taken(&state.address)) {
            bail!(
                "{} is in use by another program; `brokers down --wipe` lets go of that port",
                state.address
            );
        }
        engine.start()?;
        let mut ended = false;
        let answered = process::wait_until(READY_LIMIT, || {
            wire::answers(&state.address) || {
                ended = !engine.runs().unwrap_or(true);
                ended
            }
        });
        match (answered, ended) {
            (true, false) => Ok(()),
            (_, true) => bail!("kafka ended while it started; its last words:\n{}", engine.last_words()),
            (false, false) => {
                bail!(
                    "kafka did not answer in {} s; its last words:\n{}",
                    READY_LIMIT.as_secs(),
                    engine.last_words()
                )
            }
        }
    }

    /// Uses a broker that somebody else started, and makes sure that it answers.
    pub(crate) fn outside(&self, address: &str) -> Result<String> {
        let _lock = self.lock()?;
        State { origin: Origin::Outside, address: address.to_owned() }.write(&self.kafka())?;
        self.meet(address)
    }

    fn meet(&self, address: &str) -> Result<String> {
        if !process::wait_until(OUTSIDE_LIMIT, || wire::answers(address)) {
            bail!("no Kafka answers at {address}, which {KAFKA} names");
        }
        Ok(address.to_owned())
    }

    /// The broker's engine and state, for a command that needs one of ours.
    fn ours(&self) -> Result<(Box<dyn Engine>, State)> {
        match State::read(&self.kafka())? {
            None => bail!("there is no broker; `cargo xtask brokers up kafka` starts one"),
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
            bail!("kafka does not run");
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
        if State::read(&self.kafka())?.is_none() {
            return Ok(());
        }
        let (engine, _) = self.ours()?;
        if engine.runs()? { engine.shutdown() } else { Ok(()) }
    }

    /// Ends the broker at once and removes its data and state. One of somebody else is only forgotten.
    /// Prints nothing: whoever would read it may be gone.
    pub(crate) fn end(&self) -> Result<()> {
        let _lock = self.lock()?;
        match State::read(&self.kafka())?.map(|state| state.origin) {
            Some(Origin::Ours(from)) => self.engine(from).remove()?,
            Some(Origin::Outside) => {}
            None => self.engine(From::Jars).remove()?,
        }
        State::forget(&self.kafka())
    }

    pub(super) fn status(&self) -> Result<String> {
        let Some(state) = State::read(&self.kafka())? else { return Ok("kafka: none".into()) };
        let runs = match state.origin {
            Origin::Ours(from) => self.engine(from).runs()?,
            Origin::Outside => true,
        };
        let does = match (runs, wire::answers(&state.address)) {
            (_, true) => "answers",
            (true, false) => "runs and does not answer",
            (false, false) => "ended",
        };
        Ok(format!(
            "kafka: {does} at {} ({}), state in {}",
            state.address,
            state.origin.word(),
            self.dir.display()
        ))
    }

    /// The variables through which a test reaches this set.
    pub(crate) fn env(&self) -> Result<[(&'static str, String); 3]> {
        let state =
            State::read(&self.kafka())?.context("there is no broker; `cargo xtask brokers up` starts one")?;
        let text = |path: &Path| path.to_str().map(str::to_owned).context("a path that is not UTF-8");
        Ok([(KAFKA, state.address), (BROKERS, text(&self.dir)?), (BROKERCTL, text(&paths::xtask()?)?)])
    }
}

fn hold(path: &Path, limit: Duration) -> Result<Option<File>> {
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
