//! `cargo xtask test`: packages, brokers, format, lints, all tests, and the end of the brokers, whatever
//! happens. Must never call a run good in which something was skipped.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::brokers::{self, Broker, From, Set};
use crate::fail::{FAILED, MISSING, fail};
use crate::guard::Guard;
use crate::steps::{self, Steps};
use crate::summary::Tally;
use crate::{clients, fail as failure, packages, paths, suite};

/// The features that add the tests against real brokers, and those that make the product die or misbehave on
/// purpose.
pub(crate) const LIVE: &str =
    "tidings/live,tidings/faults,tidings-kafka/live,tidings-nats/live,tidings-amqp/live";

/// Lints also see the tests that only `cargo xtask powercut` runs.
const LINTED: &str = "tidings/powercut,tidings-kafka/live,tidings-nats/live,tidings-amqp/live";

/// Runs everything, prints a table of the steps and, as the last line, `N passed, N failed`.
pub(crate) fn run(from: Option<From>) -> Result<()> {
    let root = paths::root()?;
    let set = Set::test()?;
    let mut guard = Guard::start(&set)?;
    let mut steps = Steps::new();
    let mut tally = Tally::default();

    let needs = [
        packages::BUILD,
        packages::CLIENTS,
        packages::FUNCTIONS,
        packages::LIVE,
        &[packages::Need::Promtool],
        &brokers::needs(&Broker::ALL, from)?,
    ]
    .concat();
    let mut lacking = None;
    steps.step("system packages", || {
        packages::ensure(&needs).inspect_err(|error| lacking = Some(failure::code(error)))
    });
    if lacking == Some(MISSING) {
        return Err(fail(MISSING, steps.problems.join("\n")));
    }

    let clients = steps.step("S3 clients", clients::environment);
    let suite = steps.step("S3 test suite", || suite::binary(&mut guard));
    steps.step("brokers up", || set.fresh(&Broker::ALL, from));
    steps.step("cargo fmt", || {
        steps::run(&mut guard, &mut paths::cargo(&["fmt", "--all", "--check"])?, |_| ())
    });
    steps.step("cargo clippy", || {
        let words = ["clippy", "--workspace", "--all-targets", "--features", LINTED, "--", "-D", "warnings"];
        steps::run(&mut guard, &mut paths::cargo(&words)?, |_| ())
    });
    steps.step("alert rules", || alert_rules(&mut guard, &root));
    let tested = steps.step("cargo test", || {
        let mut cargo = paths::cargo(&["test", "--workspace", "--no-fail-fast", "--features", LIVE])?;
        cargo.env("CARGO_TERM_COLOR", "never");
        if let Some(clients) = &clients {
            cargo.env("TIDINGS_TEST_CLIENTS", clients);
        }
        if let Some(suite) = &suite {
            cargo.env("TIDINGS_TEST_S3S_E2E", suite);
        }
        // Without a broker the live tests fail, and all others still tell something.
        if let Ok(variables) = set.env() {
            cargo.envs(variables);
        }
        steps::run(&mut guard, &mut cargo, |line| tally.line(line))
    });
    tally.end();
    steps.step("brokers down", || guard.finish());

    // Where the tests did not even compile, every test file would be named, which helps nobody.
    if tested.is_some() || tally.passed + tally.failed > 0 {
        steps.problems.extend(tally.problems(&test_files(&root)?));
    }
    steps.print();
    println!("{} passed, {} failed", tally.passed, tally.failed);
    if steps.problems.is_empty() {
        return Ok(());
    }
    Err(fail(FAILED, format!("{} problems, see above", steps.problems.len())))
}

/// Prometheus' own tool on what `config/prometheus` holds.
fn alert_rules(guard: &mut Guard, root: &Path) -> Result<()> {
    for words in [["check", "config", "prometheus.yml"], ["test", "rules", "tidings.rules.test.yml"]] {
        let mut promtool = Command::new("promtool");
        promtool.args(words).current_dir(root.join("config/prometheus"));
        steps::run(guard, &mut promtool, |_| ())?;
    }
    Ok(())
}

/// The integration test files of every package, by path within the package.
fn test_files(root: &Path) -> Result<Vec<String>> {
    let mut packages = vec![root.to_path_buf(), root.join("xtask")];
    for entry in fs::read_dir(root.join("connectors")).context("cannot read connectors/")? {
        packages.push(entry?.path());
    }
    let mut files = Vec::new();
    for package in packages {
        let Ok(tests) = fs::read_dir(package.join("tests")) else { continue };
        for entry in tests {
            let path = entry?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            if path.join("main.rs").is_file() {
                files.push(format!("tests/{name}/main.rs"));
            } else if path.is_file() && name.ends_with(".rs") {
                files.push(format!("tests/{name}"));
            }
        }
    }
    Ok(files)
}
