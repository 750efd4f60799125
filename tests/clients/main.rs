//! S3 clients that people use, with their default settings, against the real binary: what they are told, and
//! which events reach a target. The work itself is `run.py`, and for rules through the bucket `rules.py`.
//!
//! Must never give a client a setting that its users would not have.

use std::path::Path;
use std::process::Command;

fn run(script: &str) {
    let clients = std::env::var_os("TIDINGS_TEST_CLIENTS").expect(
        "TIDINGS_TEST_CLIENTS names a Python environment with boto3 and awscli; `cargo xtask test` makes one",
    );
    let dir = tempfile::tempdir().expect("a directory");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script);
    let ended = Command::new(Path::new(&clients).join("bin/python"))
        .arg(script)
        .arg(env!("CARGO_BIN_EXE_tidings"))
        .arg(dir.path())
        .status();
    assert!(ended.expect("Python starts").success(), "see what it printed above");
}

#[test]
fn boto3_and_the_aws_cli_do_their_work_and_every_event_arrives() {
    run("run.py");
}

#[test]
fn rules_that_boto3_and_the_aws_cli_put_reach_their_targets() {
    run("rules.py");
}
