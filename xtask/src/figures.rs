//! Reads what tests print of themselves: which of them passed, and their figures. Must never start anything:
//! lines in, numbers out.
//!
//! A figure is a line `figure: NAME=NUMBER NAME=NUMBER …`; with `run=WORD` in it, it is about one run.

use std::collections::BTreeMap;

/// What came of some tests.
#[derive(Default)]
pub(crate) struct Figures {
    /// Of each test, by place and path: how often it passed, and how often it did not.
    pub(crate) tests: BTreeMap<String, (u64, u64)>,
    /// Sums by name, over all runs.
    pub(crate) sums: BTreeMap<String, u64>,
    /// The same by run.
    pub(crate) runs: BTreeMap<String, BTreeMap<String, u64>>,
    /// The seed that a run had last.
    pub(crate) seeds: BTreeMap<String, String>,
}

impl Figures {
    /// Takes one line of the output of the tests of a place.
    pub(crate) fn line(&mut self, place: &str, line: &str) {
        if let Some(rest) = line.strip_prefix("figure: ") {
            self.figure(rest);
        } else if let Some((test, came)) =
            line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... "))
        {
            let entry = self.tests.entry(format!("{place} {test}")).or_default();
            match came.split_whitespace().next() {
                Some("ok") => entry.0 += 1,
                _ => entry.1 += 1,
            }
        } else if let Some((run, seed)) = line.split_once(": TIDINGS_SEED=") {
            self.seeds.insert(run.to_owned(), seed.to_owned());
        } else if let Some(states) = states(line).filter(|_| place == "sim") {
            *self.sums.entry("crash_states".to_owned()).or_default() += states;
        }
    }

    fn figure(&mut self, line: &str) {
        let pairs: Vec<(&str, &str)> =
            line.split_whitespace().filter_map(|word| word.split_once('=')).collect();
        let run = pairs.iter().find(|(name, _)| *name == "run").map(|(_, run)| *run);
        for (name, value) in pairs {
            let Ok(value) = value.parse::<u64>() else { continue };
            *self.sums.entry(name.to_owned()).or_default() += value;
            if let Some(run) = run {
                let of_run = self.runs.entry(run.to_owned()).or_default();
                *of_run.entry(name.to_owned()).or_default() += value;
            }
        }
    }

    /// A sum; none where nobody told one.
    pub(crate) fn sum(&self, name: &str) -> Option<u64> {
        self.sums.get(name).copied()
    }
}

/// The number in `N states …` or in `… states: N, …`: the simulator counts the disks that it started on.
fn states(line: &str) -> Option<u64> {
    let first = line.split_once(" states").and_then(|(number, _)| number.parse().ok());
    let field = || line.split_once("states: ")?.1.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok();
    first.or_else(field)
}

/// What `failures` in `trials` say at 95 % confidence where there were none, as `< 3/n`.
pub(crate) fn bound(trials: u64) -> String {
    match trials {
        0 => "nothing".to_owned(),
        n => format!("< {:.1e} each", 3.0 / n as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_tests_and_seeds_are_taken_and_nothing_else() {
        let mut figures = Figures::default();
        for line in [
            "test kills::a ... ok",
            "test kills::a ... ok",
            "test kills::b ... FAILED",
            "test result: ok. 1 passed; 0 failed",
            "figure: run=kills acknowledged=5 repeats=2",
            "figure: run=kills acknowledged=6 repeats=0",
            "figure: kill_cycles=7 (of all)",
            "kills: TIDINGS_SEED=12",
            "1200 states of 3 lives in 2s",
            "Seen { states: 30, deeper: 4 } in 2s",
            "there are states",
        ] {
            figures.line("sim", line);
        }
        assert_eq!(figures.tests["sim kills::a"], (2, 0));
        assert_eq!(figures.tests["sim kills::b"], (0, 1));
        assert_eq!(figures.tests.len(), 2);
        assert_eq!(figures.runs["kills"]["acknowledged"], 11);
        assert_eq!((figures.sum("repeats"), figures.sum("kill_cycles")), (Some(2), Some(7)));
        assert_eq!((figures.sum("crash_states"), figures.sum("images")), (Some(1_230), None));
        assert_eq!(figures.seeds["kills"], "12");
    }

    #[test]
    fn no_failure_in_n_trials_bounds_what_one_trial_does() {
        assert_eq!(bound(10_000), "< 3.0e-4 each");
        assert_eq!(bound(0), "nothing");
    }
}
