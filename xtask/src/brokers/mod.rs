//! The brokers that live tests need: where their state lies, which one a command means, and the commands
//! themselves. Must never touch a broker that it did not start.
//!
//! A *set* is a directory with one broker's state, port and data. There are two: `dev`, which `brokers up`
//! starts and which stays, and `test`, which lives as long as one `cargo xtask test`. A test reaches its set
//! through three variables: TIDINGS_TEST_KAFKA (host:port), TIDINGS_TEST_BROKERS (the set's directory) and
//! TIDINGS_TEST_BROKERCTL (this program): `$TIDINGS_TEST_BROKERCTL brokers kill kafka`.

mod compose;
mod jars;
mod set;
mod state;
mod wire;

use std::env;

use anyhow::Result;
use clap::{Subcommand, ValueEnum};

use crate::packages::Need;
pub(crate) use set::Set;

const KAFKA: &str = "TIDINGS_TEST_KAFKA";
const BROKERS: &str = "TIDINGS_TEST_BROKERS";
const BROKERCTL: &str = "TIDINGS_TEST_BROKERCTL";

/// The brokers there are.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Broker {
    /// Apache Kafka, one node.
    Kafka,
}

/// Where a broker of ours comes from.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum From {
    /// A container, by `docker compose`.
    Docker,
    /// A Java process, from the jars that Maven fetches.
    Jars,
}

/// What to do with a broker.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Starts it and waits until it answers; one that runs is left as it is. Keeps port and data of the last
    /// time.
    Up {
        #[arg(value_enum, default_value = "kafka")]
        broker: Broker,
        #[arg(long, value_enum)]
        from: Option<From>,
    },
    /// Ends it. Its data stay.
    Down {
        #[arg(value_enum, default_value = "kafka")]
        broker: Broker,
        /// Removes its data and port too.
        #[arg(long)]
        wipe: bool,
    },
    /// Says whether it runs, and where.
    Status {
        #[arg(value_enum, default_value = "kafka")]
        broker: Broker,
    },
    /// Prints the variables that live tests read, for `eval "$(cargo xtask brokers env)"`.
    Env,
    /// Ends it at once, as `kill -9` does, and waits until it is gone.
    Kill { broker: Broker },
    /// Starts it again with the same port and data and waits until it answers; one that runs is ended gently
    /// first.
    Restart { broker: Broker },
    /// Freezes it, as SIGSTOP does: connections stay open and nothing answers.
    Stop { broker: Broker },
    /// Lets a frozen one go on.
    Cont { broker: Broker },
}

/// Runs one command on the set that the environment names.
pub(crate) fn run(command: Command) -> Result<()> {
    let set = Set::named()?;
    match command {
        Command::Up { broker: Broker::Kafka, from } => {
            Set::test()?.sweep()?;
            let address = set.up(from)?;
            println!("kafka {address}");
        }
        Command::Down { broker: Broker::Kafka, wipe: true } => set.end()?,
        Command::Down { broker: Broker::Kafka, wipe: false } => set.shutdown()?,
        Command::Status { broker: Broker::Kafka } => println!("{}", set.status()?),
        Command::Env => {
            for (name, value) in set.env()? {
                println!("export {name}='{value}'");
            }
        }
        Command::Kill { broker: Broker::Kafka } => set.harm(|engine| engine.kill())?,
        Command::Restart { broker: Broker::Kafka } => set.restart()?,
        Command::Stop { broker: Broker::Kafka } => set.harm(|engine| engine.freeze())?,
        Command::Cont { broker: Broker::Kafka } => set.harm(|engine| engine.thaw())?,
    }
    Ok(())
}

/// One way to run a broker. Every call is made under the set's lock.
trait Engine {
    /// Makes everything that the first start needs, for a broker that will listen on `port` of 127.0.0.1.
    fn prepare(&self, port: u16) -> Result<()>;
    /// Starts the broker with the data it has. Does not wait for it to answer.
    fn start(&self) -> Result<()>;
    /// Whether it runs, frozen or not.
    fn runs(&self) -> Result<bool>;
    /// Ends it at once.
    fn kill(&self) -> Result<()>;
    /// Ends it gently, a frozen one too; at once when that takes too long.
    fn shutdown(&self) -> Result<()>;
    fn freeze(&self) -> Result<()>;
    fn thaw(&self) -> Result<()>;
    /// Ends it at once, if it runs, and removes its data; its log stays.
    fn remove(&self) -> Result<()>;
    /// The last words of its log, for a person.
    fn last_words(&self) -> String;
}

/// The address of a broker that somebody else started, where the environment names one. What `brokers env`
/// printed names one of ours, which stays for development: a test run starts its own.
pub(crate) fn given() -> Option<String> {
    let ours = env::var_os(BROKERS).is_some_and(|dir| !dir.is_empty());
    env::var(KAFKA).ok().filter(|address| !address.is_empty() && !ours)
}

/// Whether the broker of `cargo xtask test` will come from the jars, so that Java and Maven are needed; and
/// Maven only where the jars are not there yet.
pub(crate) fn needs(from: Option<From>) -> Result<&'static [Need]> {
    match from {
        _ if given().is_some() => Ok(&[]),
        Some(From::Docker) => Ok(&[]),
        None if compose::there() => Ok(&[]),
        _ => jars::needs(),
    }
}
