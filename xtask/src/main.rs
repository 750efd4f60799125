//! `cargo xtask`: the development commands of tidings. Holds the arguments and the exit codes.
//! Must never hold product code, and nothing of the product may depend on it.

mod bench;
mod brokers;
mod clients;
mod demo;
mod fail;
mod faults;
mod figures;
mod fuzz;
mod guard;
mod packages;
mod page;
mod paths;
mod powercut;
mod process;
mod soak;
mod steps;
mod suite;
mod summary;
mod test;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Development commands of tidings. Exit codes: 0 all is well, 1 something failed, 2 a system package or a
/// tool is missing, 3 the broker was started by somebody else.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Checks everything: format, lints, all tests, the live tests against real brokers too.
    ///
    /// TIDINGS_TEST_KAFKA, TIDINGS_TEST_NATS and TIDINGS_TEST_AMQP (host:port) name brokers that run already;
    /// the others are started, and always ended.
    Test {
        /// Where the brokers come from. Default: containers where an engine answers, else processes.
        #[arg(long, value_enum)]
        from: Option<brokers::From>,
    },
    /// Measures tidings beside references that run on the same machine, and writes BENCHMARKS.md.
    ///
    /// TIDINGS_TEST_KAFKA=host:port names a broker that runs already; otherwise one is started, and always
    /// ended.
    Bench(bench::Bench),
    /// Cuts the power of a disk at random moments and judges what is there after (root; not part of `test`).
    Powercut(powercut::Powercut),
    /// Runs what shows each row of the table of faults, and writes RELIABILITY.md (not part of `test`, whose
    /// tests these are too).
    Faults(faults::Faults),
    /// Feeds every parser of what strangers send with bytes that nobody would send (not part of `test`).
    Fuzz(fuzz::Fuzz),
    /// Puts, overwrites and removes many objects while lists are asked for: space must come back, memory and
    /// latency must stay. Prints a table.
    Soak {
        /// How many objects.
        #[arg(long, default_value_t = 1_000_000)]
        objects: u64,
    },
    /// Builds tidings and runs its demo; arguments after `--` go to the demo.
    Demo {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Starts, ends and harms the brokers that the live tests need.
    Brokers {
        #[command(subcommand)]
        command: brokers::Command,
    },
    /// Waits for the end of the process that started it, then ends what that one left running.
    #[command(hide = true)]
    Guard { set: PathBuf },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Test { from } => test::run(from),
        Command::Bench(bench) => bench::run(&bench),
        Command::Powercut(powercut) => powercut::run(&powercut),
        Command::Faults(faults) => faults::run(&faults),
        Command::Fuzz(fuzz) => fuzz::run(&fuzz),
        Command::Soak { objects } => soak::run(objects),
        Command::Demo { args } => demo::run(&args),
        Command::Brokers { command } => brokers::run(command),
        Command::Guard { set } => guard::serve(&set),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(fail::code(&error))
        }
    }
}
