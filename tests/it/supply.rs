//! A70: what the build takes from others, judged without a network by the rules of `deny.toml`.
//!
//! `cargo xtask test` also runs cargo-deny where it can be had; this holds what every machine can see. Must
//! never fetch anything.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

/// The one place that crates come from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Crates whose build scripts run where tidings is built: code that nobody calls and everybody runs. A new
/// one is looked at before it stands here.
const BUILD_SCRIPTS: &[&str] = &[
    "amq-protocol",
    "anyhow",
    "aws-lc-rs",
    "aws-lc-sys",
    "crossbeam-epoch",
    "crossbeam-utils",
    "curve25519-dalek",
    "generic-array",
    "getrandom",
    "httparse",
    "icu_normalizer_data",
    "icu_properties_data",
    "lapin",
    "libc",
    "libmimalloc-sys",
    "libz-sys",
    "num-traits",
    "oid-registry",
    "openssl-sys",
    "parking_lot_core",
    "portable-atomic",
    "proc-macro2",
    "quinn",
    "quinn-udp",
    "quote",
    "rdkafka-sys",
    "redb",
    "rustix",
    "rustls",
    "rustversion",
    "serde",
    "serde_core",
    "serde_json",
    "thiserror",
    "zerocopy",
    "zmij",
    "zstd-sys",
];

/// Crates that are never built beside those that `deny.toml` names: there is one provider of TLS.
const NEVER_BUILT: &[&str] = &["ring"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn table(path: &str) -> toml::Table {
    let text = std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    text.parse().unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn names(list: &toml::Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().filter_map(toml::Value::as_str).collect()
}

fn cargo(words: &[&str]) -> String {
    let mut cargo = Command::new(env!("CARGO"));
    let out = cargo.args(words).args(["--locked", "--offline"]).current_dir(root()).output().expect("cargo");
    assert!(out.status.success(), "{words:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).expect("UTF-8")
}

/// Every crate that is built on this machine, with its licence.
fn built() -> BTreeMap<String, String> {
    let words = ["tree", "--workspace", "--all-features", "--prefix", "none", "--format", "{p}|{l}"];
    let tree = cargo(&words);
    let lines = tree.lines().filter_map(|line| line.split_once('|'));
    let name = |package: &str| package.split(' ').next().unwrap_or_default().to_owned();
    lines.map(|(package, licence)| (name(package), licence.trim_end_matches(" (*)").to_owned())).collect()
}

#[test]
fn every_crate_comes_from_the_registry_with_its_checksum() {
    for path in ["Cargo.lock", "fuzz/Cargo.lock"] {
        let lock = table(path);
        let packages = lock["package"].as_array().expect("packages");
        assert!(packages.len() > 100, "{path} names {} packages", packages.len());
        for package in packages {
            let name = package["name"].as_str().expect("a name");
            let of = |field: &str| package.get(field).and_then(toml::Value::as_str);
            match of("source") {
                None => assert!(name.starts_with("tidings") || name == "xtask", "{path}: {name} is not ours"),
                Some(source) => {
                    assert_eq!(source, REGISTRY, "{path}: {name}");
                    assert!(of("checksum").is_some_and(|sum| sum.len() == 64), "{path}: {name}");
                }
            }
        }
    }
}

#[test]
fn nothing_is_built_that_is_banned_or_under_another_licence() {
    let deny = table("deny.toml");
    let allowed = names(&deny["licenses"]["allow"]);
    let banned = deny["bans"]["deny"].as_array().expect("bans");
    let banned = banned.iter().filter_map(|row| row["crate"].as_str()).chain(NEVER_BUILT.iter().copied());
    let banned: BTreeSet<_> = banned.collect();
    let built = built();
    assert!(built.len() > 200, "{} crates", built.len());
    for (name, licence) in &built {
        assert!(!banned.contains(name.as_str()), "{name} is built, and deny.toml bans it");
        let ours = name.starts_with("tidings") || name == "xtask";
        assert!(ours || permits(licence, &allowed), "{name} is under `{licence}`");
    }
}

#[test]
fn no_crate_runs_a_build_script_that_nobody_looked_at() {
    let version = cargo(&["version", "--verbose"]);
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("a host").to_owned();
    let words = ["metadata", "--format-version", "1", "--filter-platform", &host];
    let found: Value = serde_json::from_str(&cargo(&words)).expect("JSON");
    let built = built();
    let runs = |package: &&Value| {
        let targets = package["targets"].as_array().into_iter().flatten();
        targets
            .flat_map(|target| target["kind"].as_array().into_iter().flatten())
            .any(|k| k == "custom-build")
    };
    let scripts = found["packages"].as_array().expect("packages").iter().filter(runs);
    let scripts = scripts.filter_map(|package| package["name"].as_str());
    let scripts: BTreeSet<_> = scripts.filter(|name| built.contains_key(*name)).collect();
    assert!(scripts.len() > 20, "{scripts:?}");
    let new: Vec<_> = scripts.iter().filter(|name| !BUILD_SCRIPTS.contains(*name)).collect();
    assert!(new.is_empty(), "look at the build scripts of {new:?}, then name them in BUILD_SCRIPTS");
}

/// True if an expression of SPDX can be met with these licences.
fn permits(expression: &str, allowed: &[&str]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let met = any(&mut words, allowed);
    met && words.next().is_none()
}

type Words<'a, 'w> = std::iter::Peekable<std::str::SplitWhitespace<'w>>;

fn any(words: &mut Words<'_, '_>, allowed: &[&str]) -> bool {
    let mut met = all(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        met |= all(words, allowed);
    }
    met
}

fn all(words: &mut Words<'_, '_>, allowed: &[&str]) -> bool {
    let mut met = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words, allowed);
    }
    met
}

fn one(words: &mut Words<'_, '_>, allowed: &[&str]) -> bool {
    if words.next_if_eq(&"(").is_some() {
        let met = any(words, allowed);
        return words.next_if_eq(&")").is_some() && met;
    }
    let Some(licence) = words.next() else { return false };
    // An exception gives more than its licence, never less; it is named in deny.toml all the same.
    let excepted = words.next_if_eq(&"WITH").and_then(|_| words.next());
    match excepted {
        Some(exception) => allowed.contains(&format!("{licence} WITH {exception}").as_str()),
        None => allowed.contains(&licence),
    }
}

#[test]
fn licences_are_read_as_they_are_written() {
    let allowed = ["MIT", "Apache-2.0", "ISC"];
    for good in ["MIT", "MIT OR GPL-3.0", "GPL-3.0/MIT", "(MIT OR X) AND ISC", "Apache-2.0 WITH Y OR MIT"] {
        assert!(permits(good, &allowed), "{good}");
    }
    for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT AND X) OR X", "MIT MIT", "(MIT", "Apache-2.0 WITH Y"]
    {
        assert!(!permits(bad, &allowed), "{bad}");
    }
}
