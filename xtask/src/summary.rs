//! Reads what `cargo test` prints and says what really ran. Must never start anything: lines in, numbers out.
//!
//! A test that was skipped is treated as one that failed: an ignored test, a filtered one, a test file that
//! was not run, and a test program that ended without its result line.

use std::collections::BTreeMap;

/// The sum over every test program of one run.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Tally {
    /// Tests that passed.
    pub(crate) passed: u64,
    /// Tests that failed, and test programs that ended without a result.
    pub(crate) failed: u64,
    ignored: u64,
    filtered: u64,
    /// Test files that were run, by path within their package, with how often.
    files: BTreeMap<String, u64>,
    /// The program that has started and not yet given a result.
    running: Option<String>,
    broken: Vec<String>,
}

impl Tally {
    /// Takes one line of the merged output of `cargo test`.
    pub(crate) fn line(&mut self, line: &str) {
        if let Some(program) = started(line) {
            self.settle();
            let file = program.split(" (").next().unwrap_or(program);
            *self.files.entry(file.to_owned()).or_default() += 1;
            self.running = Some(program.to_owned());
        } else if let Some(counts) = line.strip_prefix("test result: ") {
            self.running = None;
            self.passed += count(counts, "passed");
            self.failed += count(counts, "failed");
            self.ignored += count(counts, "ignored");
            self.filtered += count(counts, "filtered out");
        }
    }

    /// The output has ended.
    pub(crate) fn end(&mut self) {
        self.settle();
    }

    /// Another program starts, or none: the one before must have given its result.
    fn settle(&mut self) {
        if let Some(program) = self.running.take() {
            self.failed += 1;
            self.broken.push(program);
        }
    }

    /// What is wrong with this run although a number may look right: one sentence each. `expected` are the
    /// test files of the checkout, each as often as packages have one of that path.
    pub(crate) fn problems(&self, expected: &[String]) -> Vec<String> {
        let mut problems = Vec::new();
        for program in &self.broken {
            problems.push(format!("{program} ended without a result: it crashed or was ended"));
        }
        if self.ignored > 0 {
            problems.push(format!(
                "{} tests are marked #[ignore]: a skipped test is a failed test",
                self.ignored
            ));
        }
        if self.filtered > 0 {
            problems
                .push(format!("{} tests were filtered out: a skipped test is a failed test", self.filtered));
        }
        let mut wanted: BTreeMap<&str, u64> = BTreeMap::new();
        for file in expected {
            *wanted.entry(file).or_default() += 1;
        }
        for (file, count) in wanted {
            let ran = self.files.get(file).copied().unwrap_or(0);
            if ran < count {
                problems.push(format!("{file} exists in {count} packages and ran in {ran}"));
            }
        }
        problems
    }
}

/// The test program that this line says is being started.
fn started(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let unit = line.strip_prefix("Running ")?;
    // Only cargo's own lines name the program behind the source; a test may print anything.
    let source = unit.strip_prefix("unittests ").unwrap_or(unit);
    (source.contains(".rs (") && source.ends_with(')')).then_some(source)
}

/// The number before `word` in `ok. 3 passed; 0 failed; …`.
fn count(counts: &str, word: &str) -> u64 {
    counts
        .split(['.', ';'])
        .filter_map(|part| part.trim().strip_suffix(word))
        .find_map(|number| number.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: &str =
        "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s";

    fn tally(lines: &[&str]) -> Tally {
        let mut tally = Tally::default();
        lines.iter().for_each(|line| tally.line(line));
        tally.end();
        tally
    }

    #[test]
    fn results_are_summed_over_programs_and_doc_tests() {
        let tally = tally(&[
            "     Running unittests src/lib.rs (target/debug/deps/a-1)",
            OK,
            "     Running tests/it/main.rs (target/debug/deps/it-2)",
            "test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1s",
            "   Doc-tests a",
            OK,
        ]);
        assert_eq!((tally.passed, tally.failed), (16, 2));
        assert!(tally.problems(&["tests/it/main.rs".into()]).is_empty());
    }

    #[test]
    fn a_program_without_a_result_is_a_failure() {
        let tally = tally(&[
            "     Running tests/crash.rs (target/debug/deps/crash-1)",
            "test dies ... error: test failed, to rerun pass `--test crash`",
            "     Running unittests src/lib.rs (target/debug/deps/a-1)",
            OK,
            "     Running tests/last.rs (target/debug/deps/last-1)",
        ]);
        assert_eq!((tally.passed, tally.failed), (3, 2));
        let problems = tally.problems(&[]);
        assert!(
            problems[0].starts_with("tests/crash.rs") && problems[1].starts_with("tests/last.rs"),
            "{problems:?}"
        );
    }

    #[test]
    fn ignored_and_filtered_tests_are_problems() {
        let line =
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0.10s";
        let problems = tally(&["     Running unittests src/lib.rs (t/a-1)", line]).problems(&[]);
        assert!(problems[0].starts_with("1 tests are marked"), "{problems:?}");
        assert!(problems[1].starts_with("4 tests were filtered"), "{problems:?}");
    }

    #[test]
    fn a_test_file_that_did_not_run_is_a_problem() {
        let tally = tally(&["     Running tests/contract.rs (t/contract-1)", OK]);
        assert!(tally.problems(&["tests/contract.rs".into()]).is_empty());
        let twice = ["tests/contract.rs".into(), "tests/contract.rs".into(), "tests/live/main.rs".into()];
        let problems = tally.problems(&twice);
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].contains("2 packages and ran in 1"), "{problems:?}");
    }

    #[test]
    fn what_a_test_prints_is_not_taken_for_cargo() {
        let tally = tally(&[
            "     Running unittests src/lib.rs (t/a-1)",
            "Running away (from it)",
            OK,
            "passed; 9 passed",
        ]);
        assert_eq!(tally, Tally { passed: 3, files: [("src/lib.rs".into(), 1)].into(), ..Tally::default() });
    }
}
