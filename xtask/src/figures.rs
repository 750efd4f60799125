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
    /// The lines that all of this was read from, with their places: what a later run adds to.
    pub(crate) lines: Vec<(String, String)>,
}

impl Figures {
    /// Takes one line of the output of the tests of a place.
    pub(crate) fn line(&mut self, place: &str, line: &str) {
        let is_known = if let Some(rest) = line.strip_prefix("figure: ") {
            self.figure(rest);
            true
        } else if let Some((test, came)) =
            line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... "))
        {
            let entry = self.tests.entry(format!("{place} {test}")).or_default();
            match came.split_whitespace().next() {
                Some("ok") => entry.0 += 1,
                _ => entry.1 += 1,
            }
            true
        } else if let Some((run, seed)) = line.split_once(": TIDINGS_SEED=") {
            self.seeds.insert(run.to_owned(), seed.to_owned());
            true
        } else {
            false
        };
        if is_known {
            self.lines.push((place.to_owned(), line.to_owned()));
        }
    }

    /// What `text` gave of the run that was kept there, but for whether these tests passed: they run again.
    pub(crate) fn of(text: &str, again: &[String]) -> Figures {
        let mut figures = Figures::default();
        for (place, line) in text.lines().filter_map(|line| line.split_once('\t')) {
            let test = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... "));
            if !test.is_some_and(|(test, _)| again.contains(&format!("{place} {test}"))) {
                figures.line(place, line);
            }
        }
        figures
    }

    /// What `of` reads.
    pub(crate) fn text(&self) -> String {
        self.lines.iter().map(|(place, line)| format!("{place}\t{line}\n")).collect()
    }

    fn figure(&mut self, line: &str) {
        let pairs: Vec<(&str, &str)> =
            line.split_whitespace().filter_map(|word| word.split_once('=')).collect();
        let run = pairs.iter().find(|(name, _)| *name == "run").map(|(_, run)| *run);
        for (name, value) in pairs {
            let Ok(value) = value.parse::<u64>() else { continue };
            if name.contains("_ms_") {
                // A time is the last one that was taken: two of them are not a longer one.
                self.sums.remove(name);
            }
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
            "figure: crash_states=1200 (of the log)",
            "figure: crash_states=30",
            "there are no figures: all=1",
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
        figures.line("live", "figure: ready_ms_10=3");
        figures.line("live", "figure: ready_ms_10=4");
        let again = Figures::of(&figures.text(), &["sim kills::b".to_owned()]);
        assert_eq!((again.sum("ready_ms_10"), &again.runs), (Some(4), &figures.runs));
        assert_eq!((again.tests.len(), again.tests["sim kills::a"]), (1, (2, 0)));
    }

    #[test]
    fn no_failure_in_n_trials_bounds_what_one_trial_does() {
        assert_eq!(bound(10_000), "< 3.0e-4 each");
        assert_eq!(bound(0), "nothing");
    }
}
