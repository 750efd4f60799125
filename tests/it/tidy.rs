//! The diagram of ARCHITECTURE.md, executed: who may import whom, how long files and functions may be, what
//! is banned.
//!
//! Must never be satisfied by an exception without a reason: each exception is a row in one of the tables
//! below.

mod mutants;
mod source;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};

use source::{Source, is_test_file};

/// Lines a file may have.
const HARD_LINES: usize = 500;
/// Lines that are not tests a file may have unless [`LONG_FILES`] names it.
const SOFT_LINES: usize = 250;
/// Lines a function may have, its signature and its closing brace included, blank ones not.
const FUNCTION_LINES: usize = 70;
/// Characters a line may have.
const WIDTH: usize = 110;
/// Lines ARCHITECTURE.md may have.
const ARCHITECTURE_LINES: usize = 250;

/// Files above the soft limit today, and the most lines that are not tests each may have: they may only
/// shrink.
const LONG_FILES: &[(&str, usize)] = &[
    ("src/queue/holes.rs", 280),
    ("src/admin/openapi.rs", 254),
    ("src/app.rs", 332),
    ("src/client.rs", 252),
    ("src/commit.rs", 405),
    ("src/config/check_target.rs", 314),
    ("src/config/decode.rs", 379),
    ("src/config/tree.rs", 253),
    ("src/delivery/keys/mod.rs", 300),
    ("src/delivery/lane.rs", 280),
    ("src/journal/compact.rs", 300),
    ("src/journal/format.rs", 454),
    ("src/journal/mod.rs", 372),
    ("src/journal/prepare.rs", 266),
    ("src/journal/rewrite.rs", 266),
    ("src/journal/scan.rs", 294),
    ("src/journal/segment.rs", 365),
    ("src/journal/shared.rs", 416),
    ("src/journal/survey.rs", 305),
    ("src/journal/writer.rs", 309),
    ("src/queue/codec.rs", 430),
    ("src/queue/embedded.rs", 480),
    ("src/queue/progress.rs", 450),
    ("src/queue/replay.rs", 278),
    ("src/queue/rows.rs", 372),
    ("src/store/embedded/apply.rs", 385),
    ("src/store/embedded/redb_index.rs", 303),
    ("src/store/embedded/row.rs", 313),
    ("xtask/src/packages.rs", 320),
];

/// Lines of code each connector may have, comments, blank lines and tests left out: they may only shrink.
/// What two of them need belongs to `connectors/common`.
const CONNECTOR_LINES: &[(&str, usize)] = &[
    ("connectors/kafka/src/", 694),
    ("connectors/nats/src/", 654),
    ("connectors/amqp/src/", 746),
    ("connectors/http/src/", 666),
    ("connectors/function/src/", 302),
    ("connectors/replication/src/", 700),
];

/// Which modules each module may import: only along the flow. `app` builds everything and `cli` drives it.
const EDGES: &[(&str, &[&str])] = &[
    ("event", &[]),
    ("fail", &[]),
    ("client", &[]),
    ("limits", &[]),
    ("metrics", &["event", "queue"]),
    ("config", &["event"]),
    ("journal", &["event", "fail"]),
    ("queue", &["event", "journal", "config", "fail"]),
    ("store", &["event", "queue", "journal", "config", "fail"]),
    ("rules", &["event", "queue", "config"]),
    ("encode", &["event", "queue", "config", "fail"]),
    ("delivery", &["event", "queue", "config", "metrics", "fail"]),
    ("tls", &["config"]),
    ("commit", &["event", "journal", "queue", "rules", "store", "config", "limits", "fail"]),
    ("frontend", &["event", "queue", "store", "commit", "rules", "config", "limits", "tls", "fail"]),
    ("functions", &["event", "queue", "config", "encode", "fail"]),
    ("admin", &["event", "queue", "config", "limits", "metrics", "functions", "tls"]),
    (
        "app",
        &[
            "admin",
            "commit",
            "config",
            "delivery",
            "encode",
            "event",
            "fail",
            "frontend",
            "functions",
            "journal",
            "metrics",
            "queue",
            "rules",
            "store",
            "tls",
        ],
    ),
    (
        "cli",
        &[
            "admin",
            "app",
            "client",
            "config",
            "delivery",
            "encode",
            "event",
            "functions",
            "journal",
            "metrics",
            "queue",
            "rules",
            "store",
            "tls",
        ],
    ),
    ("main", &["app", "cli"]),
];

/// Where a ban holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    Product,
    Tests,
    Everywhere,
}

/// What may not be written, where it may nevertheless (path prefixes), and why.
const BANS: &[(&str, Where, &[&str], &str)] = &[
    (".unwrap()", Where::Product, &[], "say in `expect` which invariant a bug would break"),
    ("println!", Where::Product, PRINTERS, "only commands print"),
    ("print!", Where::Product, PRINTERS, "only commands print"),
    ("eprintln!", Where::Product, PRINTERS, "only commands print"),
    ("eprint!", Where::Product, PRINTERS, "only commands print"),
    ("dbg!", Where::Everywhere, &[], "left over from debugging"),
    ("todo!", Where::Everywhere, &[], "unfinished"),
    ("unimplemented!", Where::Everywhere, &[], "unfinished"),
    ("#[ignore", Where::Everywhere, &[], "a test that does not run is none"),
    ("thread::sleep", Where::Product, BLOCKERS, "blocks a thread that could wait for the event itself"),
    ("sleep(", Where::Tests, SLEEPERS, "await the event, or pause tokio's clock"),
    ("sleep_until(", Where::Tests, SLEEPERS, "await the event, or pause tokio's clock"),
    ("SystemTime::now", Where::Product, CLOCKS, "core logic takes the clock as an argument"),
    ("Instant::now", Where::Product, CLOCKS, "core logic takes the clock as an argument"),
    ("Timestamp::now", Where::Product, CLOCKS, "core logic takes the clock as an argument"),
    (
        "anyhow",
        Where::Product,
        &["src/main.rs", "src/app", "src/cli", "xtask/"],
        "callers decide by variants",
    ),
];

/// Commands print; nothing else does.
const PRINTERS: &[&str] = &["src/main.rs", "src/cli", "src/bin/", "xtask/", "connectors/kafka/examples/"];
/// Where a thread may stand still: commands, and the writer when a mutant widens a window on purpose.
const BLOCKERS: &[&str] =
    &["xtask/", "connectors/kafka/examples/", "src/functions/init.rs", "src/journal/writer.rs"];
/// Where time passes on purpose: the live tests stop a broker for half a minute, and the lane's scripted far
/// side answers late under paused time; the contract suite asks a foreign process again and again. Other
/// tests may sleep where they pause tokio's clock themselves.
const SLEEPERS: &[&str] = &["tests/live/", "src/delivery/testing.rs", "connectors/api/src/contract"];
/// Where the clock comes in: requests are dated, commits stamped, retries timed (by tokio's clock, which
/// tests pause), and durations measured for metrics.
const CLOCKS: &[&str] = &[
    "src/main.rs",
    "src/app",
    "src/bin/",
    "src/cli",
    "src/client.rs",
    "src/commit.rs",
    "src/admin/service.rs",
    "src/delivery/",
    "src/frontend/inbound.rs",
    "src/frontend/layer.rs",
    "src/frontend/rest.rs",
    "src/functions/",
    "src/journal/",
    "src/queue/",
    "src/store/embedded/pace.rs",
    "connectors/amqp/src/publisher.rs",
    "connectors/amqp/tests/scripted/main.rs",
    "connectors/http/src/connector.rs",
    "connectors/http/src/sender.rs",
    "connectors/kafka/examples/",
    "connectors/kafka/src/security.rs",
    "connectors/nats/src/connector.rs",
    "connectors/origin/src/fetch.rs",
    "connectors/replication/src/sender.rs",
    "xtask/",
];
/// Where randomness comes in: everything else takes a generator as an argument.
const DICE: &[&str] = &["src/main.rs", "src/app", "src/bin/", "src/cli", "src/frontend/layer.rs", "xtask/"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[track_caller]
fn none(found: Vec<String>) {
    assert!(found.is_empty(), "{} findings:\n{}", found.len(), found.join("\n"));
}

fn in_every_file(check: fn(&Source) -> Vec<String>) {
    none(source::all(&root()).iter().flat_map(check).collect());
}

#[test]
fn every_file_begins_by_saying_what_it_holds() {
    in_every_file(header);
}

#[test]
fn files_functions_and_lines_are_short() {
    in_every_file(sizes);
    let lines = |path: &str| fs::read_to_string(root().join(path)).map(|text| Source::new(path, text));
    let stale = LONG_FILES
        .iter()
        .filter(|(path, _)| lines(path).map_or(0, |source| source.product_lines()) <= SOFT_LINES);
    none(stale.map(|(path, _)| format!("{path} is short or gone: remove it from LONG_FILES")).collect());
}

#[test]
fn connectors_are_short() {
    let sources = source::all(&root());
    let lines = |connector: &str| -> usize {
        let own = sources.iter().filter(|source| source.path.starts_with(connector));
        own.map(Source::code_lines).sum()
    };
    let judge = |(connector, most): &(&str, usize)| match lines(connector) {
        lines if lines <= *most => None,
        lines => Some(format!("{connector}: {lines} lines of code, {most} allowed")),
    };
    none(CONNECTOR_LINES.iter().filter_map(judge).collect());
}

#[test]
fn nothing_banned_is_written() {
    in_every_file(bans);
}

#[test]
fn modules_import_only_along_the_flow() {
    in_every_file(edges);
}

#[test]
fn connectors_cannot_name_the_product() {
    let mut found = Vec::new();
    for member in members() {
        let manifest = fs::read_to_string(root().join(&member).join("Cargo.toml")).expect("a manifest");
        found.extend(crate_edges(&member, &manifest));
    }
    none(found);
}

#[test]
fn the_code_map_names_every_part() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let mut parts = members();
    parts.extend(top_level_modules().into_iter().map(|name| format!("src/{name}")));
    none(code_map(&map, &parts));
}

fn header(source: &Source) -> Vec<String> {
    let first = source.text.lines().next().unwrap_or_default();
    let said = first.strip_prefix("//! ").is_some_and(|said| said.len() >= 10);
    if said { vec![] } else { vec![format!("{}: begins without a `//!` header", source.path)] }
}

fn sizes(source: &Source) -> Vec<String> {
    let path = &source.path;
    let lines = source.text.lines().count();
    let mut found = Vec::new();
    let product = source.product_lines();
    let excused = LONG_FILES.iter().any(|(long, most)| long == path && product <= *most);
    if lines > HARD_LINES {
        found.push(format!("{path}: {lines} lines, {HARD_LINES} allowed"));
    } else if product > SOFT_LINES && !excused {
        found.push(format!("{path}: {product} lines, {SOFT_LINES} or what LONG_FILES says are allowed"));
    }
    for (number, line) in source.text.lines().enumerate() {
        let width = line.chars().count();
        if width > WIDTH {
            found.push(format!("{path}:{}: {width} characters, {WIDTH} allowed", number + 1));
        }
    }
    for (name, line, length) in source.functions() {
        if length > FUNCTION_LINES {
            found.push(format!("{path}:{line}: `{name}` has {length} lines, {FUNCTION_LINES} allowed"));
        }
    }
    found
}

fn bans(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    let mut report = |at: usize, what: &str, why: &str| {
        found.push(format!("{}:{}: `{what}`: {why}", source.path, source.line(at)));
    };
    let excused = |allowed: &[&str]| allowed.iter().any(|prefix| source.path.starts_with(prefix));
    let pausing = ["start_paused = true", "time::pause()"].iter().any(|how| source.text.contains(how));
    for (what, place, allowed, why) in BANS {
        if excused(allowed) || (*place == Where::Tests && pausing) {
            continue;
        }
        let holds = |at: &usize| match place {
            Where::Everywhere => true,
            Where::Product => !source.in_tests(*at),
            Where::Tests => source.in_tests(*at),
        };
        source.find(what).into_iter().filter(holds).for_each(|at| report(at, what, why));
    }
    for at in source.find("fastrand::").into_iter().filter(|_| !excused(DICE)) {
        let seeded = source.code[at + "fastrand::".len()..].starts_with("Rng");
        if !seeded || source.code[at..].starts_with("fastrand::Rng::new()") {
            report(at, "fastrand::", "take a seeded generator as an argument");
        }
    }
    found
}

fn edges(source: &Source) -> Vec<String> {
    let Some(inside) = source.path.strip_prefix("src/") else { return vec![] };
    let module = inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs");
    if module == "lib" || is_test_file(&source.path) {
        return vec![];
    }
    let Some((_, allowed)) = EDGES.iter().find(|(name, _)| *name == module) else {
        return vec![format!("{}: module `{module}` has no row in EDGES", source.path)];
    };
    let edges = source.edges(if module == "main" { "tidings::" } else { "crate::" });
    let wrong = edges.into_iter().filter(|(to, _)| to != module && !allowed.contains(&to.as_str()));
    wrong.map(|(to, at)| format!("{}:{}: `{module}` imports `{to}`", source.path, source.line(at))).collect()
}

/// The members of the workspace, without the root package.
fn members() -> Vec<String> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the root manifest");
    let manifest: toml::Table = manifest.parse().expect("TOML");
    let members = manifest["workspace"]["members"].as_array().expect("members");
    members.iter().filter_map(|name| name.as_str()).filter(|name| *name != ".").map(str::to_owned).collect()
}

/// Which of ours a member may depend on: connectors on the seam and on what they have in common, that on the
/// seam, the seam and xtask on nothing.
fn crate_edges(member: &str, manifest: &str) -> Vec<String> {
    let manifest: toml::Table = manifest.parse().expect("TOML");
    let ours = |name: &&String| *name == "tidings" || name.starts_with("tidings-");
    let sections = ["dependencies", "dev-dependencies", "build-dependencies"];
    let tables = sections.iter().filter_map(|section| manifest.get(*section)?.as_table());
    let named = tables.flat_map(|table| table.keys()).filter(ours);
    let allowed = |name: &str| match name {
        "tidings-connector" => !["connectors/api", "xtask"].contains(&member),
        "tidings-common" => !["connectors/api", "connectors/common", "xtask"].contains(&member),
        _ => false,
    };
    let renamed = |table: &toml::Table| {
        table.values().any(|value| value.get("package").is_some() || value.get("path").is_some())
    };
    let mut found: Vec<String> =
        named.filter(|name| !allowed(name)).map(|name| format!("{member} depends on `{name}`")).collect();
    for section in sections.iter().filter_map(|section| manifest.get(*section)?.as_table()) {
        if renamed(section) {
            found.push(format!("{member} has a dependency by path or other name: use the workspace's"));
        }
    }
    found
}

fn top_level_modules() -> Vec<String> {
    let listing = fs::read_dir(root().join("src")).expect("src");
    let mut names: Vec<String> = listing
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.is_dir() || path.extension().is_some_and(|extension| extension == "rs"))
        .filter_map(|path| Some(Path::new(&path).file_stem()?.to_str()?.to_owned()))
        .filter(|name| name != "lib")
        .collect();
    names.sort();
    names.dedup();
    names
}

fn code_map(map: &str, parts: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    let lines = map.lines().count();
    if lines >= ARCHITECTURE_LINES {
        found.push(format!("ARCHITECTURE.md: {lines} lines, fewer than {ARCHITECTURE_LINES} allowed"));
    }
    for part in parts {
        let named = |end: &str| map.contains(&format!("`{part}{end}`"));
        if !["", "/", ".rs"].iter().any(|end| named(end)) {
            found.push(format!("ARCHITECTURE.md does not name `{part}`"));
        }
    }
    found
}
