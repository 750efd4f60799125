//! What commands show on a terminal and elsewhere: colours, progress, exit codes in every help.
//!
//! Must never need a person: `script` is the terminal.

use std::process::Command;

use tokio::time::timeout;

use crate::console::Console;
use crate::targets::world::{Receiver, WAIT, target};

const TIDINGS: &str = env!("CARGO_BIN_EXE_tidings");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn colours_are_for_a_terminal_and_for_nobody_who_refuses_them() {
    let far = Receiver::start(true).await;
    let console = Console::start(&target("orders", &far.url, "", "")).await;
    console.until(&["target", "ls"], |all| all["targets"][0]["state"] == "up").await;
    let (_, plain) = console.run_as(&["target", "ls"]).await;
    assert!(plain.starts_with("NAME    KIND  STATE  DELIVERED  BACKLOG"), "{plain}");
    assert!(plain.contains("orders  http  up") && !plain.contains('\u{1b}'), "{plain}");
    let on_terminal = async |no_color: &str, more: &str| {
        let line = console.command(TIDINGS, &["target", "ls"]);
        let line = line.as_std();
        let words = [line.get_program()].into_iter().chain(line.get_args());
        let words: Vec<_> = words.map(|word| word.to_str().expect("UTF-8").to_owned()).collect();
        let line = format!("{}{more}", words.join(" "));
        let mut script = tokio::process::Command::new("script");
        script.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm").env("NO_COLOR", no_color);
        let output = timeout(WAIT, script.output()).await.expect("ends in time").expect("script is there");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let seen = on_terminal("", "").await;
    assert!(seen.contains("\u{1b}[32mup\u{1b}[0m") && seen.contains("\u{1b}[1mNAME\u{1b}[0m"), "{seen:?}");
    assert!(!on_terminal("1", "").await.contains('\u{1b}'));
    assert!(!on_terminal("", " --json").await.contains('\u{1b}'));
    assert!(!on_terminal("", " | cat").await.contains('\u{1b}'));

    // Progress of long work: on the terminal's standard error, and gone in the end.
    let data = console.dir.path().join("data");
    let verify = format!("{TIDINGS} journal verify --data {}", data.display());
    let mut script = tokio::process::Command::new("script");
    let output = script.args(["-qec", &verify, "/dev/null"]).output();
    let output = timeout(WAIT, output).await.expect("ends in time").expect("script is there");
    let seen = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(seen.contains("reading the journal: file 1 of "), "{seen:?}");
    let piped = Command::new(TIDINGS).args(["journal", "verify", "--data"]).arg(&data).output();
    let piped = piped.expect("starts");
    assert!(piped.status.success() && piped.stderr.is_empty(), "{piped:?}");
    console.stop().await;
}

#[test]
fn every_help_ends_with_the_exit_codes() {
    let help = |command: &[&str]| {
        let output = Command::new(TIDINGS).args(command).arg("--help").output().expect("starts");
        assert!(output.status.success(), "{command:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let commands: &[&[&str]] = &[
        &[],
        &["serve"],
        &["check"],
        &["target"],
        &["target", "replay"],
        &["dlq", "purge"],
        &["journal", "verify"],
    ];
    for command in commands {
        let said = help(command);
        let codes = said.split("Exit codes:\n").nth(1).unwrap_or_else(|| panic!("{command:?}: {said}"));
        let first = |line: &str| line.trim_start().chars().next();
        assert!(codes.lines().map(first).eq("0123".chars().map(Some)), "{command:?}: {codes}");
    }
}
