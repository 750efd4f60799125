//! RELIABILITY.md, from the table of faults and the figures of one run. Must never show a figure that no test
//! printed.

use std::fmt::Write as _;

use anyhow::{Context, Result};

use crate::faults::rows;
use crate::figures::{Figures, bound};

/// The whole of it.
pub(crate) fn write(long: bool, figures: &Figures) -> Result<String> {
    let long = if long { " --long" } else { "" };
    let mut page = format!(
        "# Reliability\n\nWhat was broken on purpose, and what came of it. Written by `cargo xtask \
         faults{long}` from what its tests print; each judges from outside: what clients were told, against \
         what an independent consumer read.\n\n## In all\n\n| what | figure | with none in so many, at 95 % \
         confidence |\n|---|---|---|\n"
    );
    let failed: Vec<_> =
        figures.tests.iter().filter(|(_, (_, failed))| *failed > 0).map(|(test, _)| test).collect();
    for test in &failed {
        writeln!(page, "| **failed** | `{test}` | |")?;
    }
    let acknowledged = figures.sum("acknowledged").unwrap_or(0);
    for (what, name) in [
        ("events of acknowledged changes that were lost", "lost"),
        ("phantoms: events of no change", "phantoms"),
        ("deliveries out of order", "reordered"),
    ] {
        let found = figures.sum(name).context("no test judged anything")?;
        writeln!(page, "| {what} | {found} of {acknowledged} | {} |", bound(acknowledged))?;
    }
    for (what, name) in [
        ("kill cycles, nothing lost in any", "kill_cycles"),
        ("the same with functions at work", "kill_cycles_with_functions"),
        ("faults of all kinds mixed from one seed", "mix_faults"),
        ("crash states of simulated disks", "crash_states"),
        ("failing calls of simulated disks", "failed_calls"),
        ("images of power cuts on a block device", "images"),
    ] {
        match figures.sum(name) {
            Some(count) => writeln!(page, "| {what} | {count} | {} |", bound(count))?,
            None => writeln!(page, "| {what} | no figure: not run, or failed above | |")?,
        }
    }
    let caught = figures
        .sum("mutants_caught")
        .map_or("no figure: not run, or failed above".to_owned(), |count| count.to_string());
    writeln!(page, "| deliberate faults that a test noticed | {caught} | |")?;
    let commits = figures.sums.keys().filter_map(|name| name.strip_prefix("run_of_"));
    writeln!(page, "\nRun at {}.", commits.collect::<Vec<_>>().join(", "))?;
    runs(&mut page, figures)?;
    recovery(&mut page, figures)?;
    table(&mut page, figures)?;
    Ok(page)
}

/// What was delivered twice, run by run.
fn runs(page: &mut String, figures: &Figures) -> Result<()> {
    page.push_str(
        "\n## Repeats\n\nA run is one life of clients, however often its server died. `TIDINGS_SEED=… \
         cargo test \
         --features live,faults --test live NAME` repeats one, with the brokers of `cargo xtask brokers \
         up`.\n\n\
         | run | acknowledged | events | delivered | repeats of 1,000 | seed |\n|---|---|---|---|---|---|\n",
    );
    for (run, of) in &figures.runs {
        let get = |name: &str| of.get(name).copied().unwrap_or(0);
        let share = 1_000.0 * get("repeats") as f64 / get("events").max(1) as f64;
        let seed = figures.seeds.get(run.split('/').next().unwrap_or(run)).map_or("", String::as_str);
        let (acknowledged, events, all) = (get("acknowledged"), get("events"), get("deliveries"));
        writeln!(page, "| {run} | {acknowledged} | {events} | {all} | {share:.1} | {seed} |")?;
    }
    Ok(())
}

/// From the start of the process to its first event, over what waits.
fn recovery(page: &mut String, figures: &Figures) -> Result<()> {
    page.push_str(
        "\n## Recovery over a backlog\n\nFrom the start after `kill -9`, a debug build; a release over \
         millions \
         stands in BENCHMARKS.md, row `restart`.\n\n| events that wait | ready after | first delivery after \
         |\n|---|---|---|\n",
    );
    for (name, ready) in figures.sums.iter().filter(|(name, _)| name.starts_with("ready_ms_")) {
        let size = name.trim_start_matches("ready_ms_");
        let first = figures.sum(&format!("first_ms_{size}")).unwrap_or(0);
        writeln!(page, "| {size} | {ready} ms | {first} ms |")?;
    }
    Ok(())
}

/// Every row, with how often its tests ran.
fn table(page: &mut String, figures: &Figures) -> Result<()> {
    page.push_str(
        "\n## Fault by fault\n\n| | what happens | expected | shown by, runs | what is not shown |\n\
         |---|---|---|---|---|\n",
    );
    for row in rows::all() {
        let shown = row.tests.iter().map(|test| {
            let (passed, failed) = figures.tests.get(*test).copied().unwrap_or_default();
            match (passed, failed) {
                (0, 0) => format!("`{test}` **did not run**"),
                (_, 0) => format!("`{test}` {passed}"),
                _ => format!("`{test}` {passed}, **failed {failed}**"),
            }
        });
        let shown = shown.collect::<Vec<_>>().join("<br>");
        writeln!(page, "| {} | {} | {} | {shown} | {} |", row.id, row.fault, row.expected, row.open)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_judged_and_every_row_stand_in_it_and_nothing_that_was_not_run() {
        let mut figures = Figures::default();
        for line in [
            "kills: TIDINGS_SEED=77",
            "figure: run=kills/http acknowledged=300 deliveries=12 events=10 repeats=2",
            "figure: lost=0 phantoms=0 reordered=0",
            "figure: kill_cycles=30",
            "test network::a_network_that_passes_no_requests_loses_nothing ... FAILED",
            "figure: run_of_1a2b3c=1",
            "figure: ready_ms_10000=12 first_ms_10000=34",
            "test kills::kills_under_load_lose_nothing ... ok",
        ] {
            figures.line("live", line);
        }
        let page = write(false, &figures).expect("something was judged");
        for said in [
            "| events of acknowledged changes that were lost | 0 of 300 | < 1.0e-2 each |",
            "| kill cycles, nothing lost in any | 30 | < 1.0e-1 each |",
            "| crash states of simulated disks | no figure: not run, or failed above | |",
            "| kills/http | 300 | 10 | 12 | 200.0 | 77 |",
            "| 10000 | 12 ms | 34 ms |",
            "`live kills::kills_under_load_lose_nothing` 1<br>",
            "| **failed** | `live network::a_network_that_passes_no_requests_loses_nothing` | |",
            "`live network::a_network_that_passes_no_requests_loses_nothing` 0, **failed 1**<br>",
            "`live network::a_network_that_passes_no_answers_loses_nothing` **did not run**<br>",
            "Run at 1a2b3c.",
        ] {
            assert!(page.contains(said), "{said}: {page}");
        }
        assert!(rows::all().all(|row| page.contains(&format!("\n| {} | ", row.id))));
        assert!(write(false, &Figures::default()).is_err(), "a run without a verdict is none");
    }
}
