//! `cargo xtask bench`: how fast tidings is, beside references that run on the same machine in the same run.
//!
//! Must never measure with settings that the product does not run with.

mod amqp;
mod backlog;
mod bare;
mod far;
mod http;
mod journal;
mod kafka;
mod lane;
mod lanes;
mod load;
mod machine;
mod many;
mod nats;
mod null;
mod puts;
mod report;
mod server;
mod soak;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "speed")]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Given by cargo.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Command {
    /// The load generator: a process of its own.
    #[command(hide = true)]
    Load(load::Load),
    /// Makes a backlog.
    #[command(hide = true)]
    Fill(backlog::Fill),
    /// The reference server that stores nothing.
    #[command(hide = true)]
    NullServer,
    /// The receiver of the HTTP lane.
    #[command(hide = true)]
    Receiver,
    /// Runs the rows and prints them.
    Run(report::Run),
    /// Puts, overwrites and removes many objects, and looks what that leaves behind.
    Soak(soak::Soak),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Some(Command::Load(load)) => load::run(&load),
        Some(Command::Fill(fill)) => backlog::fill(&fill),
        Some(Command::NullServer) => null::run(),
        Some(Command::Receiver) => http::run(),
        Some(Command::Run(run)) => rows(&run),
        Some(Command::Soak(soak)) => runtime().and_then(|runtime| runtime.block_on(soak::run(&soak))),
        None => rows(&report::Run::default()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

fn rows(run: &report::Run) -> Result<()> {
    runtime()?.block_on(report::rows(run))
}
