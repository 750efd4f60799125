//! What an origin, or whoever names one, may try.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tidings_origin::{FetchError, Fetcher, Options, Url};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const OPTIONS: Options = Options {
    allow_private: true,
    connect_timeout: Duration::from_secs(10),
    answer_timeout: Duration::from_secs(10),
    idle_timeout: Duration::from_secs(10),
    total_timeout: Duration::from_secs(60),
    max_bytes: 1 << 20,
};

/// What an origin does once it has answered.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    Closes,
    Hangs,
    NeverEnds,
}

/// An origin that gives every request the same answer, and keeps what it was asked.
struct Origin {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Origin {
    async fn new(answer: impl Into<Vec<u8>>, then: Then) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let (asked, answer) = (Arc::<Mutex<Vec<String>>>::default(), answer.into());
        let seen = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let _ = serve(socket, &answer, then, &seen).await;
            }
        });
        Self { port, asked }
    }

    fn url(&self, path: &str) -> Url {
        Url::parse(&format!("http://127.0.0.1:{}{path}", self.port)).expect("a URL")
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no panic").clone()
    }
}

async fn serve(
    mut socket: TcpStream,
    answer: &[u8],
    then: Then,
    seen: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await?);
    }
    seen.lock().expect("no panic").push(String::from_utf8_lossy(&head).into_owned());
    socket.write_all(answer).await?;
    match then {
        Then::Closes => Ok(()),
        Then::Hangs => socket.read_u8().await.map(|_| ()),
        Then::NeverEnds => loop {
            socket.write_all(b"1000\r\n").await?;
            socket.write_all(&[b'x'; 0x1000]).await?;
            socket.write_all(b"\r\n").await?;
        },
    }
}

fn said(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n{body}", body.len())
}

async fn fetch(options: Options, url: Url, follow: bool) -> Result<Vec<u8>, FetchError> {
    let fetcher = Fetcher::new(options, None).expect("the system trusts somebody");
    let mut fetched = fetcher.get(url, &HeaderMap::new(), follow, fetcher.deadline()).await?;
    let mut body = Vec::new();
    while let Some(chunk) = fetched.chunk().await? {
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

#[tokio::test]
async fn an_address_that_may_not_be_called_is_not_however_it_is_written() {
    let origin = Origin::new(said("200 OK", "", "body"), Then::Closes).await;
    let port = origin.port;
    let public = Options { allow_private: false, ..OPTIONS };
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "localhost",
        "LOCALHOST.",
        "10.0.0.1",
        "192.168.0.1",
        "１２７.0.0.1",
    ] {
        let url = Url::parse(&format!("http://{host}:{port}/")).expect("a URL");
        let got = fetch(public, url, true).await;
        assert!(matches!(got, Err(FetchError::Blocked(_) | FetchError::Failed(_))), "{host}: {got:?}");
    }
    for host in ["169.254.169.254", "[fd00:ec2::254]", "[::ffff:a9fe:a9fe]", "100.100.100.200", "0.0.0.0"] {
        let url = Url::parse(&format!("http://{host}:{port}/latest/meta-data/")).expect("a URL");
        let got = fetch(OPTIONS, url, true).await;
        assert!(matches!(got, Err(FetchError::Blocked(_))), "{host}, whatever is allowed: {got:?}");
    }
    let forms = [
        "file:///etc/passwd",
        "ftp://127.0.0.1/",
        "http://user:planted@127.0.0.1/",
        "http://127.0.0.1:6379/",
    ];
    for url in forms {
        let got = fetch(OPTIONS, Url::parse(url).expect("a URL"), true).await;
        assert!(matches!(&got, Err(FetchError::Blocked(why)) if !why.contains("planted")), "{url}: {got:?}");
    }
    assert_eq!(origin.asked(), [""; 0], "nobody was called");
}

#[tokio::test]
async fn a_redirect_leads_nowhere_that_may_not_be_called() {
    for to in
        ["http://169.254.169.254/", "file:///etc/passwd", "gopher://127.0.0.1/", "//[fe80::1]/", "http://"]
    {
        let origin = Origin::new(said("302 Found", &format!("location: {to}\r\n"), ""), Then::Closes).await;
        let got = fetch(OPTIONS, origin.url("/"), true).await;
        assert!(matches!(got, Err(FetchError::Blocked(_) | FetchError::Failed(_))), "{to}: {got:?}");
        let kept = fetch(OPTIONS, origin.url("/"), false).await;
        assert_eq!(kept, Err(FetchError::Status(302)), "{to}");
    }
    let round = Origin::new(said("301 Moved", "location: /again\r\n", ""), Then::Closes).await;
    assert!(matches!(fetch(OPTIONS, round.url("/"), true).await, Err(FetchError::Failed(_))));
    assert_eq!(round.asked().len(), 6);
}

#[tokio::test]
async fn a_redirect_to_another_host_gets_no_header_that_was_meant_for_this_one() {
    let there = Origin::new(said("200 OK", "", "body"), Then::Closes).await;
    let to = format!("location: {}\r\n", there.url("/there"));
    let here = Origin::new(said("302 Found", &to, ""), Then::Closes).await;
    let mut headers = HeaderMap::new();
    headers.insert(HeaderName::from_static("x-token"), HeaderValue::from_static("planted"));
    let fetcher = Fetcher::new(OPTIONS, None).expect("the system trusts somebody");
    fetcher.get(here.url("/here?a=1"), &headers, true, fetcher.deadline()).await.expect("followed");
    let (here, there) = (here.asked().concat(), there.asked().concat());
    assert!(here.starts_with("GET /here?a=1 ") && here.contains("x-token: planted"), "{here}");
    assert!(there.starts_with("GET /there ") && !there.contains("planted"), "{there}");
    for name in ["authorization", "cookie", "referer", "proxy-"] {
        assert!(!here.to_ascii_lowercase().contains(name), "{name}: {here}");
    }
    assert!(here.contains("accept-encoding: identity"), "{here}");
}

#[tokio::test]
async fn only_a_whole_body_is_one() {
    let ok =
        |headers: &str, body: &str| format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{headers}\r\n{body}");
    for (answer, wanted) in [
        (ok("content-length: 4\r\n", "body"), Some("body")),
        (ok("content-length: 4\r\n", "bo"), None),
        (ok("content-length: 4\r\n", "body and more"), Some("body")),
        (ok("transfer-encoding: chunked\r\n", "4\r\nbody\r\n0\r\n\r\n"), Some("body")),
        (ok("transfer-encoding: chunked\r\n", "4\r\nbody\r\n"), None),
        (ok("transfer-encoding: chunked\r\n", "x\r\nbody\r\n0\r\n\r\n"), None),
        (ok("transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n", "body"), None),
        (ok("", "body"), None),
        (ok("content-length: 4\r\ncontent-length: 2\r\n", "body"), None),
        ("HTTP/1.1 206 Partial\r\ncontent-length: 4\r\n\r\nbody".to_owned(), None),
        ("HTTP/1.1 204 None\r\n\r\n".to_owned(), None),
        ("nonsense\r\n\r\n".to_owned(), None),
    ] {
        let origin = Origin::new(answer.clone(), Then::Closes).await;
        let got = fetch(OPTIONS, origin.url("/"), true).await;
        assert_eq!(got.as_deref().ok(), wanted.map(str::as_bytes), "{answer}: {got:?}");
    }
    let none = Origin::new(said("404 Not Found", "", "nothing"), Then::Closes).await;
    assert_eq!(fetch(OPTIONS, none.url("/"), true).await, Err(FetchError::NotFound));
    let broken = Origin::new(said("503 No", "", ""), Then::Closes).await;
    assert_eq!(fetch(OPTIONS, broken.url("/"), true).await, Err(FetchError::Status(503)));
}

#[tokio::test]
async fn a_body_is_taken_as_it_is() {
    let zipped = said("200 OK", "content-encoding: gzip\r\n", "not what gzip writes");
    let origin = Origin::new(zipped, Then::Closes).await;
    assert_eq!(fetch(OPTIONS, origin.url("/"), true).await.as_deref(), Ok(&b"not what gzip writes"[..]));
}

#[tokio::test]
async fn nothing_goes_on_without_end() {
    let endless = Origin::new("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", Then::NeverEnds).await;
    assert_eq!(fetch(OPTIONS, endless.url("/"), true).await, Err(FetchError::TooLarge(1 << 20)));
    let large = "HTTP/1.1 200 OK\r\ncontent-length: 1048577\r\n\r\n";
    let large = Origin::new(large, Then::Hangs).await;
    assert_eq!(fetch(OPTIONS, large.url("/"), true).await, Err(FetchError::TooLarge(1 << 20)), "unread");
    let short = Duration::from_millis(100);
    let silent = Origin::new("", Then::Hangs).await;
    let quick = Options { connect_timeout: short, answer_timeout: short, ..OPTIONS };
    assert!(matches!(fetch(quick, silent.url("/"), true).await, Err(FetchError::Slow(_))));
    let half = Origin::new("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbo", Then::Hangs).await;
    let quick = Options { idle_timeout: short, ..OPTIONS };
    assert_eq!(fetch(quick, half.url("/"), true).await, Err(FetchError::Slow("its body stood still")));
    let quick = Options { total_timeout: short, ..OPTIONS };
    assert_eq!(fetch(quick, half.url("/"), true).await, Err(FetchError::Slow("all of it together")));
}
