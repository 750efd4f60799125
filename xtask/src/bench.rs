//! `cargo xtask bench`: packages, brokers, a release build of the benchmarks, their run, and the end of the
//! brokers. Must never measure anything itself.

use anyhow::Result;

use crate::brokers::{self, Broker, From, Set};
use crate::fail::{FAILED, fail};
use crate::guard::Guard;
use crate::steps::{self, Steps};
use crate::{packages, paths};

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Bench {
    /// Windows of at least 60 s, a million objects present, a backlog of 10 million.
    #[arg(long)]
    full: bool,
    /// Only rows whose name begins so: journal, puts, kafka, lane, jetstream, amqp, http,
    /// idle, neighbour, four, thousand. Writes no file.
    #[arg(long)]
    only: Vec<String>,
    /// How often each row runs: medians are shown. Default: as often as fits into ten minutes, at most 3
    /// times.
    #[arg(long)]
    runs: Option<usize>,
    /// Where the brokers come from. Default: containers where an engine answers, else a process.
    #[arg(long, value_enum)]
    from: Option<From>,
}

/// Builds and runs the benchmarks; without `--only` their table becomes BENCHMARKS.md.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    packages::ensure(&[packages::BUILD, &brokers::needs(&Broker::ALL, bench.from)?].concat())?;
    let set = Set::bench()?;
    let mut guard = Guard::start(&set)?;
    let mut steps = Steps::new();
    if steps.step("brokers up", || set.fresh(&Broker::ALL, bench.from)).is_some() {
        steps.step("measure", || {
            let mut words = vec!["bench", "-p", "tidings", "--bench", "speed", "--", "run"];
            let (file, runs) = (paths::root()?.join("BENCHMARKS.md"), bench.runs.map(|n| n.to_string()));
            if let Some(runs) = &runs {
                words.extend(["--runs", runs]);
            }
            if bench.full {
                words.push("--full");
            }
            let mut cargo = paths::cargo(&words)?;
            cargo.envs(set.env()?);
            for only in &bench.only {
                cargo.args(["--only", only]);
            }
            if bench.only.is_empty() {
                cargo.arg("--write").arg(file);
            }
            steps::run(&mut guard, &mut cargo, |_| ())
        });
    }
    steps.step("brokers down", || guard.finish());
    steps.print();
    if steps.problems.is_empty() {
        return Ok(());
    }
    Err(fail(FAILED, format!("{} problems, see above", steps.problems.len())))
}
