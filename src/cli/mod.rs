//! The command line: one file per command group. Prints for people, or JSON for programs.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 found something wrong (`check`, `verify`).

/// Prints one line to standard output.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::cli::write_line(format_args!($($text)*))
    };
}

mod ask;
mod bucket;
mod check;
mod credential;
mod demo;
mod dlq;
mod event;
mod function;
mod journal;
mod paint;
mod remote;
mod serve;
mod store;
mod trigger;
mod wait;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::config::{self, Config, Diagnostics};
use crate::functions;

/// Object storage whose every change is an event that reaches Kafka, NATS, RabbitMQ and HTTP functions.
#[derive(Parser)]
#[command(name = "tidings", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server. Without a configuration file the defaults run.
    Serve(serve::Serve),
    /// Make changes through the S3 API and show each event as a receiver got it.
    Demo(demo::Demo),
    /// Check the configuration, and with --connect every far side.
    Check(check::Check),
    /// Say whether a running server can accept changes.
    Ready(ask::Ready),
    /// Show and steer the targets of a running server.
    Target(remote::Target),
    /// Show the buckets of a running server, and set what each may hold.
    Bucket(bucket::Bucket),
    /// Create, try and watch functions: code that runs for events.
    Function(Box<function::Function>),
    /// The first process of a function's instance; the server starts it.
    #[command(hide = true)]
    FunctionInit(functions::init::Init),
    /// Bind functions to buckets of a running server: which changes invoke them.
    Trigger(trigger::Trigger),
    /// List, show, replay and purge dead letters: events that their target rejected.
    Dlq(dlq::Dlq),
    /// Add, list, rotate and remove the credentials that may sign requests.
    Credential(credential::Credential),
    /// Read the configuration of a running server anew, as SIGHUP does.
    Reload(remote::Reload),
    /// Show the journal of a running server, look for damage, accept a loss.
    Journal(journal::Journal),
    /// Show the store of a running server, look for damage in one that is stopped.
    Store(store::Store),
    /// Print a sample event.
    Event(event::Event),
    /// Print the completions of a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

/// Where the configuration is.
#[derive(clap::Args)]
struct ConfigFile {
    /// The configuration file; without it the defaults and TIDINGS__SECTION__KEY variables count.
    #[arg(long, short, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

impl ConfigFile {
    fn load(&self) -> Result<Config, Diagnostics> {
        config::load(self.config.as_deref(), std::env::vars())
    }
}

/// How a command ends that does not end well.
#[derive(Debug)]
enum Failure {
    /// The configuration or the arguments: exit code 2.
    Usage(String),
    /// Everything else: exit code 1.
    Failed(anyhow::Error),
    /// The command worked and found something wrong: exit code 3.
    Found(String),
}

impl From<anyhow::Error> for Failure {
    fn from(e: anyhow::Error) -> Self {
        Failure::Failed(e)
    }
}

impl From<Diagnostics> for Failure {
    fn from(e: Diagnostics) -> Self {
        Failure::Usage(e.to_string())
    }
}

/// What every `--help` ends with.
const EXIT_CODES: &str = "Exit codes:
  0  done; `serve` stopped in order
  1  failed: standard error says what to do
  2  wrong arguments or configuration: nothing was started or changed
  3  found something wrong: `check`, `target test`, `dlq replay --wait`, `function invoke`, `verify`";

fn with_exit_codes(command: clap::Command) -> clap::Command {
    command.after_help(EXIT_CODES).mut_subcommands(with_exit_codes)
}

/// Runs the command that the arguments name.
pub fn run() -> ExitCode {
    let matches = with_exit_codes(Arguments::command()).get_matches();
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|e| e.exit());
    let command = match arguments.command {
        // It runs beside code that has little memory: without a runtime and its threads.
        Command::FunctionInit(init) => return init.run(),
        command => command,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("error: no runtime: {e}");
            return ExitCode::from(1);
        }
    };
    let result = runtime.block_on(async {
        match command {
            Command::FunctionInit(_) => Ok(()),
            Command::Serve(serve) => serve.run().await,
            Command::Demo(demo) => demo.run().await,
            Command::Check(check) => check.run().await,
            Command::Ready(ready) => ready.run().await,
            Command::Target(target) => target.run().await,
            Command::Bucket(bucket) => bucket.run().await,
            Command::Function(function) => function.run().await,
            Command::Trigger(trigger) => trigger.run().await,
            Command::Dlq(dlq) => dlq.run().await,
            Command::Credential(credential) => credential.run(),
            Command::Reload(reload) => reload.run().await,
            Command::Journal(journal) => journal.run().await,
            Command::Store(store) => store.run().await,
            Command::Event(event) => event.run(),
            Command::Completions { shell } => {
                clap_complete::generate(shell, &mut Arguments::command(), "tidings", &mut std::io::stdout());
                Ok(())
            }
        }
    });
    // Blocking work that nobody waits for must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(why)) => {
            eprint!("{}", ended(&why));
            ExitCode::from(2)
        }
        Err(Failure::Failed(e)) => {
            eprintln!("error: {e:#}");
            ExitCode::from(1)
        }
        Err(Failure::Found(what)) => {
            eprint!("{}", ended(&what));
            ExitCode::from(3)
        }
    }
}

/// A reader that has seen enough, such as `head`, is no failure.
fn write_line(line: std::fmt::Arguments<'_>) {
    if let Err(e) = writeln!(std::io::stdout(), "{line}")
        && e.kind() != std::io::ErrorKind::BrokenPipe
    {
        eprintln!("error: standard output: {e}");
    }
}

/// The text with exactly one newline at its end.
fn ended(text: &str) -> String {
    format!("{}\n", text.trim_end())
}
