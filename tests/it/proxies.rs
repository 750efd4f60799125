//! Where events go is decided by the configuration alone: the real program, with proxies in its environment.
//!
//! Must never send an event.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;

#[test]
fn proxies_of_the_environment_are_not_used() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    // Ends with the process: nobody waits for it.
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.expect("a connection");
            // A dial that asks nothing is answered all the same.
            let _ = socket.read(&mut [0; 4_096]);
            let _ = socket.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
        }
    });
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("tidings.toml");
    let config = format!(
        "[server]\ndata = {:?}\n[target.t.connector.http]\nurl = \"http://{address}/\"\n\
         [[target.t.rule]]\nevents = [\"cos:ObjectCreated:*\"]\n",
        dir.path().join("data"),
    );
    std::fs::write(&file, config).expect("written");
    let mut check = Command::new(env!("CARGO_BIN_EXE_tidings"));
    check.args(["check", "--connect", "--config"]).arg(&file);
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"] {
        // Nobody listens there.
        check.env(name, "http://127.0.0.1:1");
    }
    let output = check.output().expect("started");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}: {said}{}", output.status, String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("204 to OPTIONS"), "{said}");
}
