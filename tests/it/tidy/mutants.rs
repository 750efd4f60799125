//! The table of deliberate faults against the sources: none without a test that names it, none that nothing
//! switches on.
//!
//! Must never take a comment for a fault: only calls in product code count.

#[path = "../../support/mutants.rs"]
mod table;

use std::collections::BTreeSet;
use std::fs;

use super::source::{self, Source};
use super::{none, root};
use table::{MUTANTS, Mutant};

/// Deliberate faults that there must be at least.
const LEAST: usize = 20;

/// The names that product code asks for.
fn asked_for(source: &Source) -> Vec<&str> {
    let calls = source.find("mutant(").into_iter().filter(|at| !source.in_tests(*at));
    let named =
        calls.filter_map(|at| source.text[at + "mutant(".len()..].strip_prefix('"')?.split('"').next());
    named.collect()
}

/// What is wrong with one row.
fn row(mutant: &Mutant, product: &BTreeSet<&str>, test: Option<&str>) -> Vec<String> {
    let (name, (file, function)) = (mutant.name, mutant.noticed_by);
    let mut found = Vec::new();
    if !product.contains(name) {
        found.push(format!("nothing asks for the mutant `{name}`: remove its row"));
    }
    if mutant.breaks.len() < 10 {
        found.push(format!("the row of `{name}` does not say what it breaks"));
    }
    let text = test.unwrap_or_default();
    let at = text.find(&format!("fn {function}("));
    let is_test = at.is_some_and(|at| text[..at].trim_end().ends_with(']') || text[..at].ends_with("async "));
    if !is_test || !text.contains(&format!("\"{name}\"")) {
        found.push(format!("`{name}` is noticed by no test `{function}` of {file}"));
    }
    found
}

#[test]
fn every_deliberate_fault_is_noticed_by_the_test_that_the_table_names() {
    let sources = source::all(&root());
    let product: BTreeSet<&str> = sources.iter().flat_map(asked_for).collect();
    let mut found: Vec<String> = MUTANTS
        .iter()
        .flat_map(|mutant| {
            let test = fs::read_to_string(root().join(mutant.noticed_by.0)).ok();
            row(mutant, &product, test.as_deref())
        })
        .collect();
    let rows: BTreeSet<&str> = MUTANTS.iter().map(|mutant| mutant.name).collect();
    found.extend(product.difference(&rows).map(|name| format!("the mutant `{name}` has no row")));
    if rows.len() != MUTANTS.len() || rows.len() < LEAST {
        found.push(format!("{} rows for {} mutants, at least {LEAST}", MUTANTS.len(), rows.len()));
    }
    none(found);
}

#[test]
fn a_row_without_its_test_or_its_fault_is_found() {
    let text = "fn f() { if fail::mutant(\"a\") {} }\n#[cfg(test)]\nmod tests { fn g() { mutant(\"b\"); } }\n\
                // mutant(\"c\")\nfn mutant(name: &str) {}\n";
    assert_eq!(asked_for(&Source::new("src/x.rs", text.to_owned())), ["a"]);
    let mutant = |name| Mutant { name, breaks: "something or other", noticed_by: ("tests/x.rs", "it_is") };
    let test = "#[test]\nfn it_is() {\n    kills(\"a\", all);\n}\n";
    let product = BTreeSet::from(["a", "b"]);
    assert_eq!(row(&mutant("a"), &product, Some(test)), [""; 0]);
    assert_eq!(row(&mutant("a"), &product, None).len(), 1, "no such file");
    assert_eq!(row(&mutant("b"), &product, Some(test)).len(), 1, "the test says nothing of it");
    assert_eq!(row(&mutant("c"), &product, Some(test)).len(), 2, "and nothing asks for it");
    assert_eq!(row(&mutant("a"), &product, Some(&test.replace("#[test]\n", ""))).len(), 1, "no test");
}
