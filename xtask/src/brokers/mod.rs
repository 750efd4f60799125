//! The brokers that live tests need: where their state lies, which one a command means, and the commands
//! themselves. Must never touch a broker that it did not start.
//!
//! A *set* is a directory with one member for each broker: its state, port and data. There are two: `dev`,
//! which `brokers up` starts and which stays, and `test`, which lives as long as one `cargo xtask test`. A
//! test reaches its set through variables: TIDINGS_TEST_KAFKA, TIDINGS_TEST_NATS and TIDINGS_TEST_AMQP
//! (host:port each), TIDINGS_TEST_KAFKA_SASL and TIDINGS_TEST_KAFKA_MUTUAL (Kafka's listeners with TLS: for a
//! password or token, and for a certificate), TIDINGS_TEST_KAFKA_PROXIED (the address under which one more
//! listener is told to clients, where a test's proxy must stand), TIDINGS_TEST_BROKERS (the set's directory)
//! and TIDINGS_TEST_BROKERCTL (this program): `$TIDINGS_TEST_BROKERCTL brokers kill kafka`.

mod compose;
mod kafka;
mod local;
mod member;
mod nats;
mod rabbitmq;
mod set;
mod state;
mod wire;

use std::env;

use anyhow::Result;
use clap::{Subcommand, ValueEnum};

use crate::packages::Need;
pub(crate) use nats::system as system_nats;
pub(crate) use rabbitmq::SERVER as RABBITMQ;
pub(crate) use set::Set;

const BROKERS: &str = "TIDINGS_TEST_BROKERS";
const BROKERCTL: &str = "TIDINGS_TEST_BROKERCTL";

/// The brokers there are.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Broker {
    /// Apache Kafka, one node.
    Kafka,
    /// NATS with JetStream, one node.
    Nats,
    /// RabbitMQ, one node.
    Rabbitmq,
}

impl Broker {
    pub(crate) const ALL: [Broker; 3] = [Broker::Kafka, Broker::Nats, Broker::Rabbitmq];

    /// Its name on the command line, in directories and in containers.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Broker::Kafka => "kafka",
            Broker::Nats => "nats",
            Broker::Rabbitmq => "rabbitmq",
        }
    }

    /// The variable that holds its address.
    fn variable(self) -> &'static str {
        match self {
            Broker::Kafka => "TIDINGS_TEST_KAFKA",
            Broker::Nats => "TIDINGS_TEST_NATS",
            Broker::Rabbitmq => "TIDINGS_TEST_AMQP",
        }
    }

    /// Its compose file; `${PORT}` and `${DIR}` are filled in.
    fn compose(self) -> &'static str {
        match self {
            Broker::Kafka => include_str!("../../kafka/compose.yml"),
            Broker::Nats => include_str!("../../nats/compose.yml"),
            Broker::Rabbitmq => include_str!("../../rabbitmq/compose.yml"),
        }
    }

    /// How it runs as a process; `fast` is for measurements.
    fn recipe(self, fast: bool) -> Box<dyn local::Recipe> {
        match self {
            Broker::Kafka => Box::new(kafka::Jars { fast }),
            Broker::Nats => Box::new(nats::Server),
            Broker::Rabbitmq => Box::new(rabbitmq::Node),
        }
    }

    /// The address of a broker that somebody else started, where the environment names one. What `brokers
    /// env` printed names one of ours, which stays for development: a test run starts its own.
    pub(crate) fn given(self) -> Option<String> {
        let ours = env::var_os(BROKERS).is_some_and(|dir| !dir.is_empty());
        env::var(self.variable()).ok().filter(|address| !address.is_empty() && !ours)
    }
}

/// Where a broker of ours comes from.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum From {
    /// A container, by `docker compose`.
    Docker,
    /// A process of this machine: Kafka from the jars that Maven fetches, NATS built by Go, the others from
    /// the system's packages.
    #[value(alias = "jars")]
    Local,
}

/// What to do with a broker.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Starts those named (all, when none is) and waits until they answer; one that runs is left as it is.
    /// Keeps port and data of the last time.
    Up {
        #[arg(value_enum)]
        brokers: Vec<Broker>,
        #[arg(long, value_enum)]
        from: Option<From>,
    },
    /// Ends those named (all, when none is). Their data stay.
    Down {
        #[arg(value_enum)]
        brokers: Vec<Broker>,
        /// Removes their data and ports too.
        #[arg(long)]
        wipe: bool,
    },
    /// Says whether they run, and where.
    Status {
        #[arg(value_enum)]
        brokers: Vec<Broker>,
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
    /// Tells RabbitMQ that it has no memory left: it lets publishers wait.
    Alarm { broker: Broker },
    /// Ends that.
    Calm { broker: Broker },
}

/// Runs one command on the set that the environment names.
pub(crate) fn run(command: Command) -> Result<()> {
    let set = Set::named()?;
    match command {
        Command::Up { brokers, from } => {
            let brokers = some_or_all(brokers);
            Set::test()?.sweep()?;
            crate::packages::ensure(&needs(&brokers, from)?)?;
            set.up(&brokers, from)?;
        }
        Command::Down { brokers, wipe } => {
            for broker in some_or_all(brokers) {
                let member = set.manage(broker)?;
                if wipe { member.end()? } else { member.shutdown()? }
            }
        }
        Command::Status { brokers } => {
            for broker in some_or_all(brokers) {
                println!("{}", set.member(broker).status()?);
            }
        }
        Command::Env => {
            for (name, value) in set.env()? {
                println!("export {name}='{value}'");
            }
        }
        Command::Kill { broker } => set.manage(broker)?.harm(|engine| engine.kill())?,
        Command::Restart { broker } => set.manage(broker)?.restart()?,
        Command::Stop { broker } => set.manage(broker)?.harm(|engine| engine.freeze())?,
        Command::Cont { broker } => set.manage(broker)?.harm(|engine| engine.thaw())?,
        Command::Alarm { broker } => alarm(&set, broker, &rabbitmq::NO_MEMORY)?,
        Command::Calm { broker } => alarm(&set, broker, &rabbitmq::MEMORY)?,
    }
    Ok(())
}

fn alarm(set: &Set, broker: Broker, words: &[&str]) -> Result<()> {
    if broker != Broker::Rabbitmq {
        anyhow::bail!("only rabbitmq has such an alarm");
    }
    set.manage(broker)?.harm(|engine| engine.control(words))
}

fn some_or_all(named: Vec<Broker>) -> Vec<Broker> {
    if named.is_empty() { Broker::ALL.to_vec() } else { named }
}

/// One way to run a broker. Every call is made under the member's lock.
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
    /// Runs its control program with these words.
    fn control(&self, words: &[&str]) -> Result<()>;
    /// Ends it at once, if it runs, and removes its data; its log stays.
    fn remove(&self) -> Result<()>;
    /// The last words of its log, for a person.
    fn last_words(&self) -> String;
}

/// What these brokers will need of the system: nothing where somebody else runs them, or a container engine.
pub(crate) fn needs(brokers: &[Broker], from: Option<From>) -> Result<Vec<Need>> {
    let mut needs = Vec::new();
    for broker in brokers.iter().filter(|broker| broker.given().is_none()) {
        match from {
            Some(From::Docker) => {}
            None if compose::there() => {}
            _ => needs.extend(broker.recipe(false).needs()?),
        }
    }
    Ok(needs)
}
