//! Ports, and the one exchange for each broker that proves that it listens on one. Must never wait longer
//! than its limits.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, Result};

use super::Broker;

/// The longest wait for a connection and for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);
/// Ports below this one belong to known services.
const LOWEST: u16 = 10_240;
/// How many ports are tried.
const TRIES: u64 = 200;
/// The longest line that a NATS may greet with.
const LINE: u64 = 16 * 1024;
/// The number that Kafka's answer must carry back.
const CORRELATION: [u8; 4] = *b"tide";

/// Whether this broker answers at `host:port`. An open port alone proves nothing: another program may hold
/// it, and a container engine opens it before the broker is there.
pub(super) fn answers(broker: Broker, address: &str) -> bool {
    connect(address).is_some_and(|stream| {
        match broker {
            Broker::Kafka => kafka(stream),
            Broker::Nats => nats(stream),
            Broker::Rabbitmq => amqp(stream),
        }
        .unwrap_or(false)
    })
}

/// Sends ApiVersions, version 0, which every Kafka answers before anything else; the answer must carry the
/// request's number.
fn kafka(mut stream: TcpStream) -> io::Result<bool> {
    let mut request = Vec::new();
    request.extend(10_u32.to_be_bytes()); // length of what follows
    request.extend(18_u16.to_be_bytes()); // ApiVersions
    request.extend(0_u16.to_be_bytes()); // version
    request.extend(CORRELATION);
    request.extend((-1_i16).to_be_bytes()); // no client id
    stream.write_all(&request)?;
    let mut answer = [0; 8];
    stream.read_exact(&mut answer)?;
    Ok(answer[4..] == CORRELATION)
}

/// NATS speaks first: one line about itself, which says whether its streams are there.
fn nats(stream: TcpStream) -> io::Result<bool> {
    let mut line = String::new();
    BufReader::new(stream.take(LINE)).read_line(&mut line)?;
    Ok(line.starts_with("INFO {") && line.contains("\"jetstream\":true"))
}

/// RabbitMQ answers the protocol's header with the method `connection.start` on channel 0.
fn amqp(mut stream: TcpStream) -> io::Result<bool> {
    stream.write_all(b"AMQP\0\0\x09\x01")?;
    let mut answer = [0; 11];
    stream.read_exact(&mut answer)?;
    // A method frame, its channel, its length, then class and method.
    Ok(answer[..3] == [1, 0, 0] && answer[7..] == [0, 10, 0, 10])
}

/// Whether anything accepts connections at `host:port`.
pub(super) fn taken(address: &str) -> bool {
    connect(address).is_some()
}

fn connect(address: &str) -> Option<TcpStream> {
    let found: Vec<SocketAddr> = address.to_socket_addrs().ok()?.collect();
    let stream = found.iter().find_map(|address| TcpStream::connect_timeout(address, ANSWER_LIMIT).ok())?;
    stream.set_read_timeout(Some(ANSWER_LIMIT)).ok()?;
    stream.set_write_timeout(Some(ANSWER_LIMIT)).ok()?;
    Some(stream)
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

    /// Reads `ask` bytes of one connection, then answers with `reply`.
    fn server(ask: usize, reply: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut vec![0; ask]).unwrap();
            stream.write_all(reply).unwrap();
        });
        address
    }

    #[test]
    fn only_a_kafka_counts_as_one() {
        let answers = |reply| answers(Broker::Kafka, &server(14, reply));
        assert!(answers(b"\0\0\0\x06tide\0\0"));
        assert!(!answers(b"HTTP/1.1 400 Bad Request\r\n"));
        assert!(!answers(b""));
    }

    #[test]
    fn only_a_nats_with_streams_counts_as_one() {
        let answers = |reply| answers(Broker::Nats, &server(0, reply));
        assert!(answers(b"INFO {\"server_id\":\"A\",\"jetstream\":true}\r\n"));
        assert!(!answers(b"INFO {\"server_id\":\"A\"}\r\n"));
        assert!(!answers(b"220 mail ESMTP\r\n"));
        assert!(!answers(b""));
    }

    #[test]
    fn only_a_rabbitmq_counts_as_one() {
        let answers = |reply| answers(Broker::Rabbitmq, &server(8, reply));
        assert!(answers(b"\x01\0\0\0\0\x01\x00\0\x0a\0\x0a\0\x09"));
        // What a broker says to a version that it does not speak.
        assert!(!answers(b"AMQP\0\x01\0\0AMQP"));
        assert!(!answers(b""));
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
