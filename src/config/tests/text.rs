//! Text that is no configuration, or means harm: told by its place, never obeyed, never repeated where it may
//! be a secret.

use proptest::prelude::*;

use super::*;

#[test]
fn syntax_errors_have_a_place() {
    let told = told(&bad("[server]\nlisten = \n[admin\n"));
    assert!(told[0].starts_with("2:") && told.iter().any(|t| t.starts_with("3:")), "{told:#?}");
    assert!(told[0].contains("this is not TOML"), "{told:#?}");
    let twice = only("[server]\ndata = \"a\"\ndata = \"b\"\n");
    assert!(twice.starts_with("3:1 data: duplicate key"), "{twice}");
}

#[test]
fn a_file_that_cannot_be_read_is_one_sentence() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    let refused = |path: &std::path::Path| match load(Some(path), std::iter::empty()) {
        Ok(_) => panic!("accepted"),
        Err(diagnostics) => diagnostics.to_string(),
    };
    let missing = refused(&at("missing.toml"));
    assert!(missing.contains("missing.toml") && missing.contains("does not exist"), "{missing}");
    assert!(refused(directory.path()).contains("cannot be read"));
    std::fs::write(at("latin.toml"), b"[server]\ndata = \"\xe9\"\n").expect("written");
    assert!(refused(&at("latin.toml")).contains("line 2 of this configuration file is not UTF-8"));
    std::fs::write(at("long.toml"), "#".repeat((4 << 20) + 1)).expect("written");
    assert!(refused(&at("long.toml")).contains("larger than 4 MiB"));
}

#[test]
fn hostile_keys_are_told_not_obeyed() {
    for text in [
        "\"a[4000000000]\" = 1\n",
        "\"server.listen\" = \"x\"\n",
        "\"\" = 1\n",
        "\"\\u001b[31m\" = 1\n",
        "[target.\"a.b[9999999999]\".connector.kafka]\nbrokers = [\"h:1\"]\ntopic = \"t\"\n",
        "[target.t.connector.kafka]\nbrokers = [\"h:1\"]\ntopic = \"\\u001b[31m\"\n",
        "[target]\nt = 5\n",
        "target = []\n",
        "[[server]]\n",
    ] {
        only(text);
        assert!(!bad(text).to_string().contains('\u{1b}'));
    }
}

#[test]
fn a_secret_typed_into_the_wrong_place_is_not_repeated() {
    let text = TARGET.replace("topic =", "sasl_password = \"planted\"\ntopic =")
        + "[target.h.connector.http]\nurl = \"ftp://me:planted@host/?key=planted\"\n";
    let shown = bad(&text).to_string();
    assert!(shown.contains("sasl_password = ***") && shown.contains("`url`"), "{shown}");
    assert!(!shown.contains("planted"), "{shown}");
}

/// What somebody might type: anything printable, TOML's own signs, control characters.
const TYPED: &str = "[\\PC\n\\[\\]=\"'#.{}\u{0}-\u{7f}]{0,6}";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_text_makes_it_panic(
        edits in prop::collection::vec((0..9_000_usize, 0..40_usize, TYPED), 1..6),
        variable in ("[A-Z_0-9]{0,20}", "\\PC{0,8}"),
    ) {
        let mut text: Vec<char> = everything().chars().collect();
        for (at, cut, put) in edits {
            let at = at.min(text.len());
            let end = (at + cut).min(text.len());
            text.splice(at..end, put.chars());
        }
        let text: String = text.into_iter().collect();
        let name = format!("TIDINGS__{}", variable.0);
        if let Err(diagnostics) = load_with(&text, &[(&name, &variable.1)]) {
            let shown = diagnostics.to_string();
            prop_assert!(!diagnostics.problems().is_empty());
            prop_assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{shown:?}");
        }
    }
}
