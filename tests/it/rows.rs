//! The table of faults names tests that exist.
//!
//! Must never run them: `cargo xtask faults` does.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "../support/rows.rs"]
mod table;

/// Where the tests of a place stand.
fn sources(place: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (package, program) = match place.split_once('/') {
        Some((connector, program)) => (root.join("connectors").join(connector), program),
        None => (root.to_owned(), place),
    };
    match program {
        "lib" => package.join("src"),
        other => Some(package.join(format!("tests/{other}.rs")))
            .filter(|file| file.is_file())
            .unwrap_or_else(|| package.join("tests").join(other)),
    }
}

/// The text of every file at or below a path, with the path.
fn texts(path: &Path, found: &mut Vec<(String, String)>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("sources").flatten() {
            texts(&entry.path(), found);
        }
    } else if let Ok(text) = fs::read_to_string(path) {
        found.push((path.to_string_lossy().into_owned(), text));
    }
}

/// A file that may hold this module: it is named so, or its parent, or a module inside of it.
fn fits(file: &str, modules: &[&str]) -> bool {
    let words: Vec<&str> = file.split(['/', '.', '_']).collect();
    modules.iter().filter(|module| **module != "tests").all(|module| {
        let own: Vec<&str> = module.split('_').collect();
        words.windows(own.len()).any(|window| window == own) || module.starts_with("at_")
    })
}

#[test]
fn every_row_names_tests_that_exist_or_says_why_there_is_none() {
    let mut wrong = Vec::new();
    let ids: Vec<&str> = table::all().map(|row| row.id).collect();
    let wanted: Vec<String> = (1..=49).map(|n| format!("F{n}")).collect();
    assert_eq!(ids, wanted);
    for row in table::all() {
        if row.tests.is_empty() && row.open.is_empty() {
            wrong.push(format!("{}: neither a test nor a reason", row.id));
        }
        if row.fault.is_empty() || row.expected.is_empty() {
            wrong.push(format!("{}: says nothing", row.id));
        }
        let distinct: BTreeSet<_> = row.tests.iter().collect();
        if distinct.len() < row.tests.len() {
            wrong.push(format!("{}: a test twice", row.id));
        }
        for test in row.tests {
            let (place, path) = test.split_once(' ').expect("place and path");
            let mut modules: Vec<&str> = path.split("::").collect();
            let name = modules.pop().expect("a name");
            let mut files = Vec::new();
            texts(&sources(place), &mut files);
            let declared = format!("fn {name}(");
            if !files.iter().any(|(file, text)| fits(file, &modules) && text.contains(&declared)) {
                wrong.push(format!("{}: there is no `{test}`", row.id));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
