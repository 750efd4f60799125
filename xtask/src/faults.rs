//! `cargo xtask faults`: brokers, every test of the table of faults, and RELIABILITY.md. Must never write a
//! figure that no test printed, nor hide a test that failed or did not run: the page names it, and the
//! command ends non-zero.

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
    ("TIDINGS_BACKLOGS", "10000,1000000,10000000"),
    ("TIDINGS_MIX_MINUTES", "30"),
];
/// Tests beside those of the table whose figures are wanted: by place and what their names begin with.
const BESIDE: [(&str, &str); 5] =
    [("sim", ""), ("live", "mix::"), ("live", "recovery::"), ("functions", "kills::"), ("amqp/mutants", "")];

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
    /// How many moments of one life that power is cut at.
    #[arg(long, default_value_t = 200)]
    images: u64,
    /// For how many minutes all faults are mixed. Default: 1, or 30 with --long.
    #[arg(long)]
    minutes: Option<u64>,
    /// Only these rows, such as F16, or tests, such as "live mix::". Writes no page without --add.
    #[arg(long)]
    only: Vec<String>,
    /// Adds to what the last run left under target/: with --only, these rows again; without, nothing but the
    /// power cuts.
    #[arg(long)]
    add: bool,
    /// Where the brokers come from. Default: containers where an engine answers, else processes.
    #[arg(long, value_enum)]
    from: Option<From>,
}

/// Where a run keeps the lines that its page was made from.
fn kept() -> Result<PathBuf> {
    Ok(paths::target()?.join("faults.txt"))
}

/// Runs them; what they print becomes RELIABILITY.md, unless it is of a part alone.
pub(crate) fn run(faults: &Faults) -> Result<()> {
    let places = places(faults)?;
    let wanted: Vec<String> = places
        .iter()
        .flat_map(|(place, tests)| tests.iter().map(move |test| format!("{place} {test}")))
        .collect();
    let mut figures = Figures::default();
    if faults.add {
        let kept = kept()?;
        let text = fs::read_to_string(&kept)
            .with_context(|| format!("no run to add to in {}: run it without --add", kept.display()))?;
        figures = Figures::of(&text, &wanted);
    }
    // With nothing to run the page is written anew from what was kept: no commit was tested.
    if !places.is_empty() || faults.powercut {
        figures.line("commit", &format!("figure: run_of_{}=1", paths::commit()?));
    }
    let needs =
        [packages::BUILD, packages::FUNCTIONS, packages::LIVE, &brokers::needs(&Broker::ALL, faults.from)?];
    packages::ensure(&needs.concat())?;
    let set = Set::test()?;
    let mut guard = Guard::start(&set)?;
    let mut steps = Steps::new();
    let programs = match places.is_empty() {
        true => BTreeMap::new(),
        false => steps.step("build", programs).unwrap_or_default(),
    };
    if !programs.is_empty() && steps.step("brokers up", || set.fresh(&Broker::ALL, faults.from)).is_some() {
        for (place, tests) in &places {
            let program = programs.get(*place);
            steps.step(place, || one((&mut guard, &set, program), faults, place, tests, &mut figures));
            // Nothing was judged yet where there is no page: the end of the run says so.
            let _ = save(faults, &figures);
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
        steps.step("powercut", || {
            let mut guard = Guard::start(&set)?;
            powercut::judge(&mut guard, faults.images, None, |line| figures.line("powercut", line))
        });
    }
    for test in wanted.iter().filter(|test| !test.ends_with("::")) {
        if figures.tests.get(test).is_none_or(|(passed, failed)| *passed == 0 || *failed > 0) {
            steps.problems.push(format!("{test} did not pass"));
        }
    }
    let before = figures.tests.iter().filter(|(test, (_, failed))| *failed > 0 && !wanted.contains(test));
    steps.problems.extend(before.map(|(test, _)| format!("{test} failed")));
    steps.print();
    save(faults, &figures)?;
    if !steps.problems.is_empty() {
        return Err(fail(FAILED, format!("{} problems, see above", steps.problems.len())));
    }
    Ok(())
}

/// Writes the page, and the lines it is made from. After each part of a run, so that one that is ended leaves
/// what it had: the page then names every test that did not run.
fn save(faults: &Faults, figures: &Figures) -> Result<()> {
    if !faults.add && !faults.only.is_empty() {
        return Ok(());
    }
    fs::write(kept()?, figures.text()).context("cannot keep what the tests printed")?;
    let file = paths::root()?.join("RELIABILITY.md");
    fs::write(&file, page::write(faults.long, figures)?)
        .with_context(|| format!("cannot write {}", file.display()))
}

/// Those that a network's luck decides.
fn of_networks(test: &str) -> bool {
    ["network::", "names::", "clock::", "exhausted::"].iter().any(|module| test.starts_with(module))
}

/// The tests of the wanted rows by their place.
fn places(faults: &Faults) -> Result<BTreeMap<&'static str, Vec<&'static str>>> {
    let wanted = |id: &str| faults.only.is_empty() || faults.only.iter().any(|only| only == id);
    let mut places: BTreeMap<_, Vec<_>> = BTreeMap::new();
    if faults.add && faults.only.is_empty() {
        return Ok(places);
    }
    for only in faults.only.iter().filter(|only| rows::all().all(|row| row.id != **only)) {
        let beside = BESIDE.iter().find(|(place, module)| *only == format!("{place} {module}"));
        let Some((place, module)) = beside else {
            bail!("there is no row `{only}`: they are F1 to F49");
        };
        places.entry(*place).or_default().push(*module);
    }
    if faults.only.is_empty() {
        places.extend(BESIDE.map(|(place, _)| (place, Vec::new())));
    }
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
    if let Some(minutes) = faults.minutes {
        command.env("TIDINGS_MIX_MINUTES", minutes.to_string());
    }
    // Whole names alone, but for tests beside the table, which are asked for by what their names begin with.
    let beside: Vec<_> = BESIDE
        .iter()
        .filter(|(at, module)| *at == place && (faults.only.is_empty() || tests.contains(module)))
        .collect();
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
