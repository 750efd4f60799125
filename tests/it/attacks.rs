//! The list of attacks: for each one the tests that show what it gets, or why there is nothing to attack.
//!
//! Must never name a test that does not exist.

mod list;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use list::ATTACKS;

/// What shows an attack's end.
enum Shown {
    /// `file::test`, each.
    By(&'static [&'static str]),
    /// The thing that it needs is not here, and why.
    Not(&'static str),
}

use Shown::{By, Not};

/// Where files without a folder are.
const FRONTEND: &str = "src/frontend/tests/";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The text of a file that rows name.
fn text<'a>(read: &'a mut HashMap<String, String>, file: &str) -> &'a str {
    let path = if file.contains('/') { file.to_owned() } else { format!("{FRONTEND}{file}") };
    read.entry(path).or_insert_with_key(|path| {
        fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
    })
}

/// True if a file has this test: with the attribute of one within the lines before it, or of a Python script.
fn has_test(text: &str, name: &str) -> bool {
    if text.contains(&format!("\ndef {name}(")) {
        return true;
    }
    let Some(at) = text.find(&format!("fn {name}(")) else { return false };
    let before: Vec<&str> = text[..at].lines().rev().take(6).collect();
    before.iter().any(|line| line.trim_start().starts_with("#[test]") || line.contains("tokio::test"))
}

#[test]
fn every_attack_is_shown_or_has_a_reason() {
    assert_eq!(ATTACKS.len(), 70, "the list has 70 attacks");
    let mut read = HashMap::new();
    let mut wrong = Vec::new();
    for (number, (attack, shown)) in (1..).zip(ATTACKS) {
        match shown {
            Not(reason) if reason.len() < 40 => wrong.push(format!("A{number} {attack}: no reason")),
            Not(_) => {}
            By([]) => wrong.push(format!("A{number} {attack}: no test")),
            By(tests) => wrong.extend(tests.iter().filter_map(|test| {
                let (file, name) = test.split_once("::").expect("a file and a test");
                let there = has_test(text(&mut read, file), name);
                (!there).then(|| format!("A{number} {attack}: {test} is not there"))
            })),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(!has_test("fn helper() {}\n", "helper") && !has_test("", "x"), "what is no test shows nothing");
}

/// A11: where something is compared with what a secret makes, the comparison is of those that take one time.
#[test]
fn what_is_compared_with_a_secret_takes_one_time() {
    for (file, how) in [
        ("src/frontend/guard/qsign.rs", "ct_eq(&self.signature)"),
        ("src/frontend/forms/signature.rs", "ct_eq("),
        ("src/admin/token.rs", "ct_eq(offered)"),
        ("src/admin/scf/sign.rs", "verify_slice(&self.signature)"),
    ] {
        let text = fs::read_to_string(root().join(Path::new(file))).expect(file);
        let product = text.split("#[cfg(test)]").next().unwrap_or_default();
        assert!(product.contains(how), "{file} compares in another way");
        for other in ["signature ==", "signature !=", "== self.signature", "secret ==", "token =="] {
            assert!(!product.contains(other), "{file}: `{other}`");
        }
    }
}
