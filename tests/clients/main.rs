//! Clients of S3, of COS and of SCF that people use, with their default settings, against the real binary:
//! what they are told, and which events reach a target. The work itself is in the scripts.
//!
//! Must never give a client a setting that its users would not have.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// Each takes the whole machine, and has deadlines.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// What `cargo xtask test` made, by the variable that names it.
fn made(variable: &str, what: &str) -> PathBuf {
    let path = std::env::var_os(variable);
    path.unwrap_or_else(|| panic!("{variable} names {what}; `cargo xtask test` makes one")).into()
}

/// Runs a script of this directory; what it says stands above a failure.
fn script(name: &str, more: Option<PathBuf>) {
    let clients = made("TIDINGS_TEST_CLIENTS", "a Python environment with the clients");
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = tempfile::tempdir().expect("a directory");
    let ended = Command::new(clients.join("bin/python"))
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name))
        .arg(env!("CARGO_BIN_EXE_tidings"))
        .arg(dir.path())
        .args(more)
        .status();
    assert!(ended.expect("Python starts").success(), "see what it printed above");
}

#[test]
fn clients_do_their_work_and_every_event_arrives() {
    script("run.py", None);
}

#[test]
fn every_client_does_what_all_do_and_every_event_arrives() {
    script("others.py", None);
}

#[test]
fn ten_thousand_parts_are_one_object_and_lists_of_a_hundred_thousand_keys_are_whole_while_others_write() {
    script("many.py", None);
}

#[test]
fn bad_input_is_refused_or_stored_exactly_and_leaves_nothing_elsewhere() {
    script("bad.py", None);
}

#[test]
fn a_large_form_of_either_family_costs_no_more_memory_than_a_small_one() {
    script("large.py", None);
}

#[test]
fn the_suite_of_the_s3_library_passes_but_for_what_is_listed() {
    script("suite.py", Some(made("TIDINGS_TEST_S3S_E2E", "the binary s3s-e2e")));
}

#[test]
fn what_is_not_there_comes_from_the_origin_that_cos_sdk_set() {
    script("origins.py", None);
}

#[test]
fn rules_that_boto3_and_the_aws_cli_put_reach_their_targets() {
    script("rules.py", None);
}

#[test]
fn the_tools_of_scf_create_try_bind_and_read_functions() {
    script("scf.py", None);
}
