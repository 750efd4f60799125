//! The tidy checks' own tests: each finds what it looks for, and only that.
//!
//! Must hold one bad example per check: a check that finds nothing would pass every other test.

use super::source::Source;
use super::*;

fn source(path: &str, text: &str) -> Source {
    Source::new(path, text.to_owned())
}

#[test]
fn comments_and_literals_are_not_code() {
    let text =
        "a /* b /* c */ d */ e // f\n\"g\\\"h\" i r#\"j\"k\"# l b'm' '\\'' n<'o> 'p' b\"q\" r\"s\\\" t é 'é'";
    let code = source("src/x.rs", text).code;
    assert_eq!(code.len(), text.len());
    assert_eq!(code.split_whitespace().collect::<Vec<_>>(), ["a", "e", "i", "l", "b", "n<'o>", "t", "é"]);
}

#[test]
fn test_code_is_told_from_product_code() {
    let text = "fn a() { x(); }\n#[cfg(test)]\nmod tests { fn b() { x(); } }\nfn c() { x(); }\n\
                #[cfg(test)]\nuse q;\nfn d() { x(); }";
    let source = source("src/x.rs", text);
    let tests: Vec<bool> = source.find("x()").into_iter().map(|at| source.in_tests(at)).collect();
    assert_eq!(tests, [false, true, false, false]);
    assert!(Source::new("src/x/tests.rs", "x".into()).in_tests(0));
}

#[test]
fn headers_and_sizes_are_found() {
    assert_eq!(header(&source("src/x.rs", "use a;\n")).len(), 1);
    assert_eq!(header(&source("src/x.rs", "//! \n")).len(), 1);
    assert_eq!(header(&source("src/x.rs", "//! What it holds.\n")).len(), 0);

    let lines = |n: usize| "x\n".repeat(n);
    assert_eq!(sizes(&source("src/x.rs", &lines(SOFT_LINES))).len(), 0);
    assert_eq!(sizes(&source("src/x.rs", &lines(SOFT_LINES + 1))).len(), 1);
    let tested = format!("{}#[cfg(test)]\nmod tests {{\n{}}}\n", lines(SOFT_LINES), lines(100));
    assert_eq!(sizes(&source("src/x.rs", &tested)).len(), 0, "tests count only for the hard limit");
    assert_eq!(sizes(&source("src/x/tests.rs", &lines(HARD_LINES))).len(), 0);
    assert_eq!(sizes(&source("src/x/tests.rs", &lines(HARD_LINES + 1))).len(), 1);
    assert_eq!(sizes(&source("src/x.rs", &"é".repeat(WIDTH))).len(), 0);
    assert_eq!(sizes(&source("src/x.rs", &"é".repeat(WIDTH + 1))).len(), 1);

    let function =
        |n: usize| format!("impl A {{\nfn f(a: [u8; 2]) -> u8 {{\n{}}}\n}}\n", "{ \"}\" }\n".repeat(n));
    assert_eq!(sizes(&source("src/x.rs", &function(FUNCTION_LINES - 2))).len(), 0);
    assert_eq!(sizes(&source("src/x.rs", &function(FUNCTION_LINES - 1))).len(), 1);
    assert_eq!(source("src/x.rs", "trait A { fn f(); fn g() {} }").functions().len(), 1);
}

#[test]
fn bans_are_found_where_they_hold() {
    let count = |path: &str, text: &str| bans(&source(path, text)).len();
    for (what, place, allowed, _) in BANS {
        let text = format!("fn f() {{ a{what}b); }}");
        let text = if what.starts_with(['.', '#']) { text } else { text.replace("{ a", "{ a::") };
        let (product, tests) = (count("src/x.rs", &text), count("tests/x.rs", &text));
        assert_eq!(product > 0, *place != Where::Tests, "{what} in product code");
        assert_eq!(tests > 0, *place != Where::Product, "{what} in tests");
        for prefix in *allowed {
            assert_eq!(count(&format!("{prefix}x.rs"), &text), 0, "{what} in {prefix}");
        }
    }
    assert_eq!(count("tests/x.rs", "#[tokio::test(start_paused = true)]\nasync fn f() { sleep(d); }"), 0);
    assert_eq!(count("tests/x.rs", "#[tokio::test]\nasync fn f() { sleep(d); }"), 1);
    assert_eq!(count("src/x.rs", "// todo!\nfn f() { g(\"dbg!\"); }"), 0);
    assert_eq!(count("src/x.rs", "fn f() { fastrand::u64(..); }"), 1);
    assert_eq!(count("tests/x.rs", "fn f() { fastrand::Rng::new(); }"), 1);
    assert_eq!(count("src/x.rs", "fn f() { fastrand::Rng::with_seed(1); }"), 0);
}

#[test]
fn edges_against_the_flow_are_found() {
    let count = |path: &str, text: &str| edges(&source(path, text)).len();
    assert_eq!(count("src/journal/writer.rs", "use crate::queue::Entry;"), 1);
    assert_eq!(count("src/journal/writer.rs", "use crate::journal::disk::Disk; use super::disk;"), 0);
    assert_eq!(count("src/journal/writer.rs", "fn f() { super::super::store::x() }"), 1);
    assert_eq!(count("src/journal/mod.rs", "use super::{store::{self, event}, frontend};"), 2);
    assert_eq!(count("src/store/mod.rs", "use crate::{queue::{entry, admin}, event};"), 0);
    assert_eq!(count("src/store/mod.rs", "use crate::{\n    queue,\n    delivery::x,\n};"), 1);
    assert_eq!(count("src/store/mod.rs", "#[cfg(test)]\nmod tests { use crate::client; }"), 0);
    assert_eq!(count("src/main.rs", "use tidings::store;"), 1);
    assert_eq!(count("src/unheard_of.rs", ""), 1);
}

#[test]
fn the_flow_has_no_circle() {
    let allowed =
        |name: &str| EDGES.iter().find(|(from, _)| *from == name).expect("a row for every module").1;
    for (module, _) in EDGES {
        let mut reached: Vec<&str> = allowed(module).to_vec();
        let mut at = 0;
        while at < reached.len() {
            let next = allowed(reached[at]).iter().filter(|to| !reached.contains(to)).copied();
            let next: Vec<&str> = next.collect();
            reached.extend(next);
            at += 1;
        }
        assert!(!reached.contains(module), "`{module}` reaches itself");
    }
}

#[test]
fn lines_of_code_are_counted_without_comments_and_tests() {
    let text = "//! Doc.\n\nuse a;\nfn b() {\n    // Why.\n    \"text\"\n}\n\n#[cfg(test)]\nmod tests {\n    \
                fn c() {}\n}\n";
    assert_eq!(source("src/x.rs", text).code_lines(), 4);
    assert_eq!(source("src/x_tests.rs", text).code_lines(), 0);
}

#[test]
fn crates_that_name_too_much_are_found() {
    let count = |member: &str, text: &str| crate_edges(member, text).len();
    assert_eq!(count("connectors/x", "[dependencies]\ntidings-connector.workspace = true\n"), 0);
    assert_eq!(count("connectors/x", "[dependencies]\ntidings.workspace = true\n"), 1);
    assert_eq!(count("connectors/x", "[dev-dependencies]\ntidings-kafka.workspace = true\n"), 1);
    assert_eq!(count("connectors/x", "[dependencies]\nother = { path = \"../..\" }\n"), 1);
    assert_eq!(count("connectors/api", "[dependencies]\ntidings-connector.workspace = true\n"), 1);
    let common = "[dependencies]\ntidings-common.workspace = true\n";
    assert_eq!([count("connectors/x", common), count("connectors/api", common)], [0, 1]);
    assert_eq!(count("xtask", "[dependencies]\ntidings-connector.workspace = true\n"), 1);
}

#[test]
fn parts_missing_from_the_code_map_are_found() {
    let parts = ["src/a".to_owned(), "src/b".to_owned(), "connectors/c".to_owned()];
    assert_eq!(code_map("| `src/a.rs` | `src/b/` | `connectors/c` |", &parts), [""; 0]);
    assert_eq!(code_map("`src/a.rs` src/b", &parts).len(), 2);
    assert_eq!(code_map(&"\n".repeat(ARCHITECTURE_LINES), &[]).len(), 1);
    assert_eq!(code_map(&"\n".repeat(ARCHITECTURE_LINES - 1), &[]).len(), 0);
}
