//! What becomes of a connection that ends.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use crate::NatsOptions;

use super::*;

/// Only a failure takes so long.
const FAILED: Duration = Duration::from_secs(20);

/// A server that says hello to one client, and is gone.
fn short_lived() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept()?;
        let info = r#"{"server_id":"S","server_name":"s","version":"2.15.2","go":"go","host":"h","port":1,
            "headers":true,"max_payload":1048576,"proto":1}"#;
        write!(stream, "INFO {}\r\n", info.replace('\n', ""))?;
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        while !lines.next().is_some_and(|line| line.is_ok_and(|line| line.starts_with("PING"))) {}
        write!(stream, "PONG\r\n")
    });
    address
}

#[tokio::test]
async fn a_lost_connection_is_not_made_again_behind_the_lanes_back() {
    let options = NatsOptions {
        servers: vec![short_lived()],
        subject: "s".to_owned(),
        allow_at_most_once: true,
        ..NatsOptions::default()
    };
    let config = options.checked("t").expect("valid");
    let outstanding = Arc::new(Out::new(1));
    let client = connect(&config, &outstanding).await.expect("it says hello");
    // What the library still took would be sent when the server is back.
    let refused = async { while client.publish("s", "late".into()).await.is_ok() {} };
    tokio::time::timeout(FAILED, refused).await.expect("the library goes on waiting for the server");
    let told = async {
        while outstanding.ended().is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(FAILED, told).await.expect("the end is told");
    assert!(matches!(outstanding.ended(), Some(Outcome::Retry { .. })), "{:?}", outstanding.ended());
}
