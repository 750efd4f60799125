//! `tidings check` as a person runs it: what it shows, and how it ends.
//!
//! Must never need a broker: what each far side finds is its connector's own test.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Output};
use std::sync::{Arc, Barrier};

use serde_json::Value;

fn check(targets: &str, arguments: &[&str]) -> (Option<i32>, String, Output) {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("tidings.toml");
    let server = format!("[server]\ndata = {:?}\n", dir.path().join("data"));
    std::fs::write(&file, server + targets).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    let output = command.arg("check").args(arguments).arg("--config").arg(&file).output().expect("started");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned(), output)
}

fn rule(target: &str) -> String {
    format!("[[target.{target}.rule]]\nevents = [\"cos:ObjectCreated:*\"]\n")
}

#[test]
fn every_kind_of_target_that_does_not_answer_is_an_error_of_its_own() {
    // Nobody listens on port 1.
    let targets = [
        "[target.a.connector.kafka]\nbrokers = [\"127.0.0.1:1\"]\ntopic = \"t\"\n".to_owned(),
        "[target.b.connector.nats]\nservers = [\"nats://127.0.0.1:1\"]\nstream = \"S\"\nsubject = \"s\"\n"
            .to_owned(),
        "[target.c.connector.amqp]\nurl = \"amqp://127.0.0.1:1/%2f\"\nrouting_key = \"q\"\n".to_owned(),
        "[target.d.connector.http]\nurl = \"http://127.0.0.1:1/\"\n".to_owned(),
    ];
    let all: String = targets
        .iter()
        .zip(["a", "b", "c", "d"])
        .map(|(text, name)| format!("{text}connect_timeout = \"500ms\"\n{}", rule(name)))
        .collect();
    let (code, said, output) = check(&all, &["--connect", "--json"]);
    assert_eq!(code, Some(3), "{output:?}");
    let said: Value = serde_json::from_str(&said).expect("JSON");
    let findings = said["findings"].as_array().expect("a list");
    for kind in ["kafka", "nats", "amqp", "http"] {
        let of = |finding: &&Value| finding["kind"] == kind && finding["severity"] == "error";
        assert!(findings.iter().any(|finding| of(&finding)), "{kind}: {said}");
    }
    assert_eq!((&said["targets"], &said["errors"]), (&Value::from(4), &Value::from(4)), "{said}");

    let (code, said, _) = check(&all, &["--connect"]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.lines().next().is_some_and(|line| line.starts_with("TARGET  KIND ")), "{said}");
    assert!(said.lines().any(|line| line.starts_with("c       amqp   error  ")), "{said}");
    // Without --connect nobody is asked.
    assert_eq!(check(&all, &[]).0, Some(0));
}

#[test]
fn a_warning_is_no_failure_unless_strict() {
    let target = "[target.a.connector.kafka]\nbrokers = [\"127.0.0.1:1\"]\ntopic = \"t\"\n";
    let (code, said, output) = check(target, &[]);
    assert_eq!(code, Some(0), "{output:?}");
    assert!(said.contains("warning") && said.contains("has no rule"), "{said}");
    let (code, _, output) = check(target, &["--strict"]);
    assert_eq!(code, Some(3), "{output:?}");
    assert_eq!(check(&format!("{target}{}", rule("a")), &["--strict"]).0, Some(0));
}

/// A receiver that answers nobody before everybody has asked.
#[test]
fn targets_are_asked_at_the_same_time() {
    const TARGETS: usize = 4;
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let all = Arc::new(Barrier::new(TARGETS));
    // Ends with the process: nobody waits for it.
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let (mut connection, all) = (connection.expect("a client"), Arc::clone(&all));
            std::thread::spawn(move || {
                let read = connection.read(&mut [0; 4_096]).unwrap_or(0);
                // A dial that asks nothing is no question.
                if read > 0 {
                    all.wait();
                    let _ = connection.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
                }
            });
        }
    });
    let targets: String = (0..TARGETS)
        .map(|n| {
            let name = format!("t{n}");
            format!("[target.{name}.connector.http]\nurl = \"http://{address}/\"\n{}", rule(&name))
        })
        .collect();
    let (code, said, output) = check(&targets, &["--connect"]);
    assert_eq!(code, Some(0), "{output:?}");
    assert_eq!(said.matches("204 to OPTIONS").count(), TARGETS, "{said}");
}
