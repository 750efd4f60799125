//! Ports, and the one request that proves that a Kafka listens on one. Must never wait longer than its
//! limits.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, Result};

/// The longest wait for a connection and for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);
/// Ports below this one belong to known services.
const LOWEST: u16 = 10_240;
/// How many ports are tried.
const TRIES: u64 = 200;
/// The number that the answer must carry back.
const CORRELATION: [u8; 4] = *b"tide";

/// Whether a Kafka answers at `host:port`. An open port alone proves nothing: another program may hold it,
/// and a container engine opens it before the broker is there.
pub(super) fn answers(address: &str) -> bool {
    ask(address).is_some_and(|answer| answer == CORRELATION)
}

/// Sends ApiVersions, version 0, which every broker answers before anything else; the answer's correlation
/// number.
fn ask(address: &str) -> Option<[u8; 4]> {
    let mut stream = connect(address)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT)).ok()?;
    stream.set_write_timeout(Some(ANSWER_LIMIT)).ok()?;
    let mut request = Vec::new();
    request.extend(10_u32.to_be_bytes()); // length of what follows
    request.extend(18_u16.to_be_bytes()); // ApiVersions
    request.extend(0_u16.to_be_bytes()); // version
    request.extend(CORRELATION);
    request.extend((-1_i16).to_be_bytes()); // no client id
    stream.write_all(&request).ok()?;
    let mut answer = [0; 8];
    stream.read_exact(&mut answer).ok()?;
    answer[4..].try_into().ok()
}

/// Whether anything accepts connections at `host:port`.
pub(super) fn taken(address: &str) -> bool {
    connect(address).is_some()
}

fn connect(address: &str) -> Option<TcpStream> {
    let found: Vec<SocketAddr> = address.to_socket_addrs().ok()?.collect();
    found.iter().find_map(|address| TcpStream::connect_timeout(address, ANSWER_LIMIT).ok())
}

/// A port of 127.0.0.1 that nobody uses, below those that the kernel hands to outgoing connections where
/// possible: otherwise a client that retries against a killed broker could be given its port, and the broker
/// not get it back.
pub(super) fn free_port() -> Result<u16> {
    let highest = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|range| range.split_whitespace().next()?.parse().ok())
        .filter(|first| *first > LOWEST + 1_000)
        .unwrap_or(u16::MAX);
    let random = RandomState::new();
    (0..TRIES)
        .map(|attempt| LOWEST + (random.hash_one(attempt) % u64::from(highest - LOWEST)) as u16)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .context("no free port on 127.0.0.1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    /// Answers one connection with `reply` to its first 14 bytes.
    fn server(reply: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0; 14]).unwrap();
            stream.write_all(reply).unwrap();
        });
        address
    }

    #[test]
    fn only_an_answer_to_this_very_question_counts() {
        assert!(answers(&server(b"\0\0\0\x06tide\0\0")));
        assert!(!answers(&server(b"HTTP/1.1 400 Bad Request\r\n")));
        assert!(!answers(&server(b"")));
    }

    #[test]
    fn a_free_port_is_free_and_a_bound_one_is_taken() {
        let port = free_port().unwrap();
        assert!(port >= LOWEST);
        assert!(!taken(&format!("127.0.0.1:{port}")));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(taken(&listener.local_addr().unwrap().to_string()));
    }
}
