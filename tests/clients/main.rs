//! Clients of S3 and of COS that people use, with their default settings, against the real binary: what they
//! are told, and which events reach a target. The work itself is `run.py`.
//!
//! Must never give a client a setting that its users would not have.

use std::path::Path;
use std::process::Command;

#[test]
fn clients_do_their_work_and_every_event_arrives() {
    let clients = std::env::var_os("TIDINGS_TEST_CLIENTS").expect(
        "TIDINGS_TEST_CLIENTS names a Python environment with the clients; `cargo xtask test` makes one",
    );
    let dir = tempfile::tempdir().expect("a directory");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/run.py");
    let ended = Command::new(Path::new(&clients).join("bin/python"))
        .arg(script)
        .arg(env!("CARGO_BIN_EXE_tidings"))
        .arg(dir.path())
        .status();
    assert!(ended.expect("Python starts").success(), "see what it printed above");
}
