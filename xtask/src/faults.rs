//! `cargo xtask faults`: brokers, every test of the table of faults, and RELIABILITY.md. Must never write a
//! figure that no test printed, nor a file after a run in which something failed or did not run.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::brokers::{self, Broker, From, Set};
use crate::fail::{FAILED, fail};
use crate::figures::Figures;
use crate::guard::Guard;
use crate::steps::{self, Steps};
use crate::{packages, page, paths, powercut, test};

#[path = "../../tests/support/rows.rs"]
pub(crate) mod rows;

/// What `--long` sets: kills, crash states, seconds of a server that stands still, backlogs, minutes of
/// everything at once.
const LONG: [(&str, &str); 5] = [
    ("TIDINGS_KILLS", "10000"),
    ("TIDINGS_STATES", "10000000"),
    ("TIDINGS_STOP_SECONDS", "60"),
    ("TIDINGS_BACKLOGS", "10000,1000000"),
    ("TIDINGS_MIX_MINUTES", "30"),
];
/// Tests beside those of the table whose figures are wanted: by place and what their names begin with.
const BESIDE: [(&str, &str); 3] = [("sim", ""), ("live", "mix::"), ("live", "recovery::")];

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Faults {
    /// Hours: 10,000 kills, 10 million crash states, 30 minutes of all faults at once.
    #[arg(long)]
    long: bool,
    /// How often the tests of networks, names and clocks run.
    #[arg(long, default_value_t = 1)]
    rounds: u32,
    /// Cuts the power of a disk too, as `cargo xtask powercut` does (root).
    #[arg(long)]
    powercut: bool,
    /// Only these rows, such as F16. Writes no file.
    #[arg(long)]
    only: Vec<String>,
    /// Where the brokers come from. Default: containers where an engine answers, else processes.
    #[arg(long, value_enum)]
    from: Option<From>,
}

/// Runs them; without `--only` what they print becomes RELIABILITY.md.
pub(crate) fn run(faults: &Faults) -> Result<()> {
    let places = places(faults)?;
    let needs =
        [packages::BUILD, packages::FUNCTIONS, packages::LIVE, &brokers::needs(&Broker::ALL, faults.from)?];
    packages::ensure(&needs.concat())?;
    let set = Set::test()?;
    let mut guard = Guard::start(&set)?;
    let (mut steps, mut figures) = (Steps::new(), Figures::default());
    let programs = steps.step("build", programs).unwrap_or_default();
    if !programs.is_empty() && steps.step("brokers up", || set.fresh(&Broker::ALL, faults.from)).is_some() {
        for (place, tests) in &places {
            let program = programs.get(*place);
            steps.step(place, || one((&mut guard, &set, program), faults, place, tests, &mut figures));
            let again: Vec<_> = tests.iter().copied().filter(|test| of_networks(test)).collect();
            let rounds = if *place == "live" && !again.is_empty() { faults.rounds } else { 1 };
            for round in 2..=rounds {
                steps.step(&format!("{place}, round {round}"), || {
                    one((&mut guard, &set, program), faults, place, &again, &mut figures)
                });
            }
        }
    }
    steps.step("brokers down", || guard.finish());
    if faults.powercut {
        steps.step("powercut", powercut::usual);
    }
    for test in
        places.iter().flat_map(|(place, tests)| tests.iter().map(move |test| format!("{place} {test}")))
    {
        if figures.tests.get(&test).is_none_or(|(passed, failed)| *passed == 0 || *failed > 0) {
            steps.problems.push(format!("{test} did not pass"));
        }
    }
    steps.print();
    if !steps.problems.is_empty() {
        return Err(fail(FAILED, format!("{} problems, see above", steps.problems.len())));
    }
    if faults.only.is_empty() {
        let file = paths::root()?.join("RELIABILITY.md");
        fs::write(&file, page::write(faults.long, &figures)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// Those that a network's luck decides.
fn of_networks(test: &str) -> bool {
    ["network::", "names::", "clock::", "exhausted::"].iter().any(|module| test.starts_with(module))
}

/// The tests of the wanted rows by their place.
fn places(faults: &Faults) -> Result<BTreeMap<&'static str, Vec<&'static str>>> {
    let wanted = |id: &str| faults.only.is_empty() || faults.only.iter().any(|only| only == id);
    if let Some(unknown) = faults.only.iter().find(|only| rows::all().all(|row| row.id != **only)) {
        bail!("there is no row `{unknown}`: they are F1 to F49");
    }
    let mut places: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for test in rows::all().filter(|row| wanted(row.id)).flat_map(|row| row.tests) {
        let (place, path) = test.split_once(' ').context("a test without its place")?;
        let tests = places.entry(place).or_default();
        if !tests.contains(&path) {
            tests.push(path);
        }
    }
    Ok(places)
}

/// Builds every test program; gives them by their place. All of them at once and with the same features as
/// `cargo xtask test`, so that nothing is built twice.
fn programs() -> Result<BTreeMap<String, PathBuf>> {
    let words = ["test", "--workspace", "--no-run", "--message-format=json-render-diagnostics"];
    let mut cargo = paths::cargo(&words)?;
    cargo.args(["--features", test::LIVE]).stderr(Stdio::inherit());
    let built = cargo.output().context("cannot start cargo")?;
    if !built.status.success() {
        bail!("the tests do not compile: see above");
    }
    Ok(String::from_utf8_lossy(&built.stdout).lines().filter_map(program).collect())
}

/// The test program that a line of cargo's speaks of, by its place.
fn program(line: &str) -> Option<(String, PathBuf)> {
    let text = |after: &str, key: &str| {
        let (_, rest) = line.split_once(after)?.1.split_once(key)?;
        Some(rest.split('"').next()?.to_owned())
    };
    let executable = text("", "\"executable\":\"")?;
    let package = text("", "\"package_id\":\"")?;
    let (kind, name) = (text("\"target\":", "\"kind\":[\"")?, text("\"target\":", "\"name\":\"")?);
    let package = package.rsplit('/').next()?.split('#').next()?.to_owned();
    let program = if kind == "lib" { "lib".to_owned() } else { name };
    let is_connector = line.contains("/connectors/") && kind != "bin";
    let place = if is_connector { format!("{package}/{program}") } else { program };
    matches!(kind.as_str(), "lib" | "test").then_some((place, PathBuf::from(executable)))
}

/// Runs these tests of one place.
fn one(
    (guard, set, program): (&mut Guard, &Set, Option<&PathBuf>),
    faults: &Faults,
    place: &str,
    tests: &[&str],
    figures: &mut Figures,
) -> Result<()> {
    let root = paths::root()?;
    let dir = place.split_once('/').map_or(root.clone(), |(own, _)| root.join("connectors").join(own));
    let mut command = Command::new(program.with_context(|| format!("there is no test program {place}"))?);
    command.current_dir(dir).envs(set.env()?);
    if faults.long {
        command.envs(LONG);
    }
    // Whole names alone, but for tests beside the table, which are asked for by what their names begin with.
    let beside: Vec<_> = BESIDE.iter().filter(|(at, _)| *at == place && faults.only.is_empty()).collect();
    command.arg("--show-output");
    if beside.is_empty() {
        command.arg("--exact");
    }
    if !beside.iter().any(|(_, all)| all.is_empty()) {
        command.args(tests).args(beside.iter().map(|(_, module)| module));
    }
    steps::run(guard, &mut command, |line| figures.line(place, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_known_by_their_place() {
        let line = |package: &str, kind: &str, name: &str| {
            format!(
                "{{\"reason\":\"compiler-artifact\",\"package_id\":\"path+file:///w/{package}@0.1.0\",\
                 \"manifest_path\":\"/w/x\",\"target\":{{\"kind\":[\"{kind}\"],\"crate_types\":[\"bin\"],\
                 \"name\":\"{name}\"}},\"executable\":\"/w/target/{name}-1\"}}"
            )
        };
        let place = |package, kind, name| program(&line(package, kind, name)).map(|(place, _)| place);
        let connector = "connectors/http#tidings-http";
        assert_eq!(place(connector, "test", "hostile"), Some("http/hostile".to_owned()));
        assert_eq!(place(connector, "lib", "tidings_http"), Some("http/lib".to_owned()));
        assert_eq!(place("tidings#tidings", "test", "live"), Some("live".to_owned()));
        assert_eq!(place("tidings#tidings", "lib", "tidings"), Some("lib".to_owned()));
        assert_eq!(place("tidings#tidings", "bin", "tidings"), None);
        assert_eq!(program("{\"reason\":\"build-finished\",\"executable\":null}"), None);
    }
}
