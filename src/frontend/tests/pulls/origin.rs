//! An origin of the tests' own: HTTP over a socket, word for word, with a gate in the middle of its bodies.
//!
//! Must never judge: it answers by the path that it is asked for, and keeps what it was asked.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What an origin says. Where it says how, the body stops in its middle: until the gate opens, or for good.
#[derive(Clone, Default)]
pub(super) struct Says {
    pub(super) status: &'static str,
    pub(super) headers: String,
    pub(super) body: Vec<u8>,
    pub(super) chunked: bool,
    pub(super) held: bool,
    pub(super) cut: bool,
}

impl Says {
    pub(super) fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self { status: "200 OK", body: body.into(), ..Self::default() }
    }

    pub(super) fn status(status: &'static str) -> Self {
        Self { status, ..Self::default() }
    }

    pub(super) fn header(mut self, line: &str) -> Self {
        self.headers += line;
        self.headers += "\r\n";
        self
    }
}

/// An origin that serves until the test ends.
pub(super) struct Origin {
    pub(super) port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    came: watch::Sender<usize>,
    gate: watch::Sender<bool>,
}

impl Origin {
    /// One that says to each path what `says` wants.
    pub(super) async fn start(says: impl Fn(&str) -> Says + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let (came, gate) = (watch::Sender::new(0), watch::Sender::new(false));
        let (seen, count, opened, says) = (Arc::clone(&asked), came.clone(), gate.clone(), Arc::new(says));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (seen, count, gate, says) =
                    (Arc::clone(&seen), count.clone(), opened.subscribe(), Arc::clone(&says));
                tokio::spawn(async move {
                    let _ = serve(socket, &*says, &seen, &count, gate).await;
                });
            }
        });
        Self { port, asked, came, gate }
    }

    /// A document that sends a bucket here. `more` goes into its `OriginParameter`.
    pub(super) fn document(&self, kind: &str, more: &str) -> String {
        document(kind, &format!("127.0.0.1:{}", self.port), more)
    }

    /// Every head that came so far.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no panic").clone()
    }

    /// Waits until so many requests came.
    pub(super) async fn came(&self, count: usize) {
        drop(self.came.subscribe().wait_for(|n| *n >= count).await.expect("it serves"));
    }

    /// Bodies that are held go on.
    pub(super) fn open(&self) {
        self.gate.send_replace(true);
    }
}

/// A document with one rule for all that is missing.
pub(super) fn document(kind: &str, host: &str, more: &str) -> String {
    format!(
        "<OriginConfiguration><OriginRule><RulePriority>1</RulePriority><OriginType>{kind}</OriginType>\
         <OriginCondition><HTTPStatusCode>404</HTTPStatusCode><Prefix></Prefix></OriginCondition>\
         <OriginParameter><Protocol>HTTP</Protocol>{more}</OriginParameter><OriginInfo><HostInfo>\
         <HostName>{host}</HostName></HostInfo></OriginInfo></OriginRule></OriginConfiguration>"
    )
}

async fn serve(
    mut socket: TcpStream,
    says: &(impl Fn(&str) -> Says + ?Sized),
    seen: &Mutex<Vec<String>>,
    count: &watch::Sender<usize>,
    mut gate: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    seen.lock().expect("no panic").push(head);
    let says = says(&path);
    let framing = match says.chunked {
        true => "transfer-encoding: chunked".to_owned(),
        false => format!("content-length: {}", says.body.len()),
    };
    let Says { status, headers, body, .. } = &says;
    let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\n{headers}{framing}\r\n\r\n");
    socket.write_all(head.as_bytes()).await?;
    let (first, second) = body.split_at(body.len() / 2);
    piece(&mut socket, first, says.chunked).await?;
    count.send_modify(|n| *n += 1);
    if says.cut {
        return Ok(());
    }
    if says.held && gate.wait_for(|open| *open).await.is_err() {
        return Ok(());
    }
    piece(&mut socket, second, says.chunked).await?;
    if says.chunked {
        socket.write_all(b"0\r\n\r\n").await?;
    }
    socket.shutdown().await
}

async fn piece(socket: &mut TcpStream, bytes: &[u8], chunked: bool) -> std::io::Result<()> {
    if bytes.is_empty() || !chunked {
        return socket.write_all(bytes).await;
    }
    socket.write_all(format!("{:x}\r\n", bytes.len()).as_bytes()).await?;
    socket.write_all(bytes).await?;
    socket.write_all(b"\r\n").await
}
