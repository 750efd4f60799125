//! The listener: its peer, its host, its stop, its bounds.
//!
//! Must never bind a fixed port.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::*;

struct Listening {
    address: SocketAddr,
    stop: CancellationToken,
    served: tokio::task::JoinHandle<std::io::Result<()>>,
}

async fn listening(world: &World, bounds: Bounds) -> Listening {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let stop = CancellationToken::new();
    let served = tokio::spawn(serve(listener, world.admin.clone(), None, bounds, stop.clone()));
    Listening { address, stop, served }
}

async fn talk(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connects");
    stream.write_all(request.as_bytes()).await.expect("sends");
    let mut answer = String::new();
    soon("an answer", stream.read_to_string(&mut answer)).await.expect("answers and closes");
    answer
}

#[tokio::test]
async fn the_listener_serves_knows_its_peer_and_stops() {
    let world = world();
    let minute = Duration::from_secs(60);
    let on = listening(&world, Bounds { drain: minute, header: minute, ..Bounds::default() }).await;
    let ask = |host: &str, rest: &str| {
        format!("GET /metrics HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{rest}\r\n")
    };
    let good = talk(on.address, &ask(&on.address.to_string(), "")).await;
    assert!(good.starts_with("HTTP/1.1 200") && good.contains("tidings_build_info"), "{good}");
    let rebound = talk(on.address, &ask("evil.example", "")).await;
    assert!(rebound.starts_with("HTTP/1.1 421"), "{rebound}");
    let two_hosts = talk(on.address, &ask("localhost", "host: evil.example\r\n")).await;
    assert!(two_hosts.starts_with("HTTP/1.1 421") || two_hosts.starts_with("HTTP/1.1 400"), "{two_hosts}");
    let absolute = talk(
        on.address,
        "GET http://evil.example/metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(absolute.starts_with("HTTP/1.1 421"), "{absolute}");
    let no_host = talk(on.address, "GET /metrics HTTP/1.0\r\n\r\n").await;
    assert!(no_host.contains(" 421 "), "{no_host}");

    let mut idle = TcpStream::connect(on.address).await.expect("connects");
    idle.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("sends");
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.expect("answers");
    on.stop.cancel();
    soon("the stop", on.served).await.expect("no panic").expect("stops");
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.expect("an idle connection is closed by the stop");
    assert!(TcpStream::connect(on.address).await.is_err(), "still listening");
}

/// A client asks on and on and reads nothing: once nobody takes its answers any more, its slot is free.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_never_reads_loses_the_connection() {
    let world = world();
    let bounds = Bounds { max_connections: 1, unread: Duration::from_millis(100), ..Bounds::default() };
    let on = listening(&world, bounds).await;
    let mut deaf = TcpStream::connect(on.address).await.expect("connects");
    let asking = tokio::spawn(async move {
        let asked = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(100);
        while deaf.write_all(&asked).await.is_ok() {}
    });
    let next = talk(on.address, "GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    assert!(next.starts_with("HTTP/1.1 200"), "{next}");
    soon("the end of the deaf one", asking).await.expect("no panic");
    on.stop.cancel();
    soon("the stop", on.served).await.expect("no panic").expect("stops");
}

#[tokio::test]
async fn slow_headers_and_full_slots_are_bounded() {
    let world = world();
    let bounds = Bounds { max_connections: 1, header: Duration::from_millis(100), ..Bounds::default() };
    let on = listening(&world, bounds).await;
    let mut slow = TcpStream::connect(on.address).await.expect("connects");
    slow.write_all(b"GET /livez HTTP/1.1\r\nho").await.expect("sends");
    // The only slot is taken: this one is served once the slow one was thrown out.
    let next = talk(on.address, "GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    assert!(next.starts_with("HTTP/1.1 200"), "{next}");
    let mut answer = Vec::new();
    let _ = slow.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
    on.stop.cancel();
    soon("the stop", on.served).await.expect("no panic").expect("stops");
}
