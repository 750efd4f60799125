//! Objects that come from an origin through `kill -9`: within the fetch nothing is left of it, and behind the
//! commit the object is here and its event arrives once.
//!
//! Must never count a repeat as a second event: events are told by their ids.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use http::Method;
use tidings::client::Client;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::checker::Kind;
use crate::far::FarSide as _;
use crate::receiver::Receiver;
use crate::server::Server;
use crate::{books, turn};

/// Larger than what travels in a record.
const SIZE: usize = 1 << 20;
/// What takes longer than this never happens.
const WITHIN: Duration = Duration::from_secs(40);

/// An origin whose bodies stop in their middle until the gate opens.
struct Origin {
    port: u16,
    asked: watch::Sender<usize>,
    gate: watch::Sender<bool>,
}

impl Origin {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let (asked, gate) = (watch::Sender::new(0), watch::Sender::new(false));
        let (count, opened) = (asked.clone(), gate.clone());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, count.clone(), opened.subscribe()));
            }
        });
        Self { port, asked, gate }
    }

    /// Waits until so many requests came and half of each answer is out.
    async fn asked(&self, count: usize) {
        drop(self.asked.subscribe().wait_for(|n| *n >= count).await.expect("it serves"));
    }

    /// Sends the bucket here.
    async fn of(&self, s3: &Client, bucket: &str) {
        let document = format!(
            "<OriginConfiguration><OriginRule><OriginType>Mirror</OriginType><OriginInfo><HostInfo>\
             <HostName>127.0.0.1:{}</HostName></HostInfo></OriginInfo></OriginRule></OriginConfiguration>",
            self.port
        );
        assert_eq!(s3.create_bucket(bucket).await.expect("an answer").status, 200);
        let path = format!("/{bucket}");
        let set = s3.request(Method::PUT, &path, &[("origin", "")], &[], document.into()).await;
        assert_eq!(set.expect("an answer").status, 200);
    }
}

async fn serve(
    mut socket: TcpStream,
    asked: watch::Sender<usize>,
    mut gate: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await?);
    }
    let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {SIZE}\r\n\r\n");
    socket.write_all(head.as_bytes()).await?;
    socket.write_all(&[b'x'; SIZE / 2]).await?;
    asked.send_modify(|n| *n += 1);
    if gate.wait_for(|open| *open).await.is_ok() {
        socket.write_all(&[b'x'; SIZE / 2]).await?;
    }
    socket.shutdown().await
}

/// Files of bodies.
fn blobs(data: &Path) -> usize {
    let Ok(folders) = fs::read_dir(data.join("blobs")) else { return 0 };
    folders.flatten().filter_map(|folder| fs::read_dir(folder.path()).ok()).map(Iterator::count).sum()
}

async fn has_blobs(data: &Path, count: usize) {
    let until = Instant::now() + WITHIN;
    while blobs(data) != count {
        assert!(Instant::now() < until, "{} files of bodies instead of {count}", blobs(data));
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_within_and_behind_a_fetch_lose_and_double_nothing() {
    let _turn = turn().await;
    let far = Receiver::start().await;
    let mut server = Server::new(&far, "[origin]\nallow_private = true\n");
    let origin = Origin::start().await;
    let ready = server.start().await;
    origin.of(&ready.s3, "live-origins").await;
    let within = tokio::spawn(async move { ready.s3.get("live-origins", "within").await });
    origin.asked(1).await;
    has_blobs(&server.data(), 1).await;
    server.kill().await;
    assert!(within.await.expect("no panic").is_err(), "half of it was an answer");
    // Behind the commit, and before anybody is told.
    server.launch(Some("ack.before"));
    let ready = server.ready().await.expect("it starts");
    let head = ready.s3.request(Method::HEAD, "/live-origins/within", &[], &[], "".into()).await;
    assert_eq!(head.expect("an answer").status, 404, "half of it was kept");
    has_blobs(&server.data(), 0).await;
    origin.gate.send_replace(true);
    assert!(ready.s3.get("live-origins", "behind").await.is_err(), "it died first");
    server.ended().await;
    let ready = server.start().await;
    let asked = *origin.asked.borrow();
    let got = ready.s3.get("live-origins", "behind").await.expect("an answer");
    assert_eq!((got.status.as_u16(), got.body.len()), (200, SIZE));
    assert_eq!(*origin.asked.borrow(), asked, "it was here");
    let got = ready.s3.get("live-origins", "within").await.expect("an answer");
    assert_eq!((got.status.as_u16(), got.body.len()), (200, SIZE), "and the other one comes");
    books::drained(&ready.admin, "live").await;
    let mut told = BTreeSet::new();
    for delivery in far.read_all().await {
        assert_eq!(delivery.kind, Kind::Other("ObjectCreated:Origin".to_owned()));
        told.insert((delivery.key.to_string(), delivery.event_id));
    }
    let keys: Vec<_> = told.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["live-origins/behind", "live-origins/within"]);
    has_blobs(&server.data(), 2).await;
    server.stop().await;
}
