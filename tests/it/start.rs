//! How the real program starts and ends: what `ready` means, what is refused and how, what a stop waits for.
//!
//! Must never reach into the process: it reads what a person at the shell reads.

use serde_json::Value;
use tidings::client::Client;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::time::timeout;

use crate::program::Program;
use crate::targets::world::{NOBODY, WAIT, target};

/// Nobody waits for space here, and yet the first change finds some: segments of the usual size.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ready_is_said_when_a_change_finds_space() {
    let more = target("orders", NOBODY, "", "");
    let mut program = Program::new("reserve_timeout = \"0s\"\n", &more);
    program.start().await;
    assert_eq!(program.get("/readyz").await.0, 200);
    let client = program.client();
    assert_eq!(client.create_bucket("bucket").await.expect("an answer").status, 200);
    assert_eq!(client.put("bucket", "key", "body").await.expect("an answer").status, 200);
    assert_eq!(program.terminate().await, Some(0));
    program.start().await;
    assert_eq!(program.client().put("bucket", "key", "again").await.expect("an answer").status, 200);
    assert_eq!(program.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_is_refused_with_the_pid_of_the_first() {
    let mut program = Program::new("", "");
    program.start().await;
    let pid = format!("is in use by process {}", program.pid());
    for command in [&["serve"] as &[&str], &["journal", "accept-loss", "1..1"]] {
        let (code, said) = program.run(command).await;
        assert_eq!((code, said.contains(&pid)), (Some(1), true), "{command:?}: {said}");
    }
    assert_eq!(program.client().create_bucket("bucket").await.expect("an answer").status, 200);
    program.kill().await;
    // A dead one's lock is nobody's.
    program.start().await;
    assert_eq!(program.terminate().await, Some(0));
}

/// The stop comes before the configuration could even be read: it is heard all the same, and the next start
/// finds nothing half-done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_that_comes_during_the_start_ends_in_order() {
    let mut program = Program::new("", &target("orders", NOBODY, "", ""));
    let file = program.dir.path().join("tidings.toml");
    let text = std::fs::read_to_string(&file).expect("written");
    std::fs::remove_file(&file).expect("there");
    let made = Command::new("mkfifo").arg(&file).status().await.expect("a command of every system");
    assert!(made.success());
    let child = program.command(&["serve"]).spawn().expect("starts");
    program.child = Some(child);
    let status = format!("/proc/{}/status", program.pid());
    let hears = || {
        let status = std::fs::read_to_string(&status).expect("running");
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("Linux says it");
        u64::from_str_radix(caught.trim(), 16).expect("a number") & (1 << 14) != 0
    };
    let heard = async {
        while !hears() {
            tokio::task::yield_now().await;
        }
    };
    timeout(WAIT, heard).await.expect("it listens before it reads anything");
    let stopped = tokio::spawn(async move { (program.terminate().await, program) });
    let config = file.clone();
    let wrote = tokio::task::spawn_blocking(move || std::fs::write(config, text));
    let (code, mut program) = stopped.await.expect("no panic");
    assert_eq!(code, Some(0));
    // Only who was killed before would leave somebody who writes for ever.
    wrote.await.expect("no panic").expect("it was read");
    std::fs::remove_file(&file).expect("there");
    program.configure("", &target("orders", NOBODY, "", ""));
    program.start().await;
    assert_eq!(program.terminate().await, Some(0));
}

#[tokio::test]
async fn a_wrong_configuration_is_shown_by_line_and_column_and_starts_nothing() {
    let cases = [
        ("shutdown_timout = \"5s\"\n", ":4:1", "did you mean `shutdown_timeout`?"),
        ("shutdown_timeout = 5\n", ":4:20", "shutdown_timeout"),
        ("shutdown_timeout = \"5 parsecs\"\n", ":4:20", "shutdown_timeout"),
        ("shutdown_timeout = \"1ms\"\n", ":4:20", "shutdown_timeout"),
        ("shutdown_timeout = \"5s\n", ":4:", ""),
    ];
    for (line, place, hint) in cases {
        let program = Program::new(line, "");
        for command in ["serve", "check"] {
            let (code, said) = program.run(&[command]).await;
            assert_eq!(code, Some(2), "{command}, {line}: {said}");
            let shown = said.contains(&format!("tidings.toml{place}")) && said.contains('^');
            assert!(shown && said.contains(hint) && said.contains(line.trim()), "{command}, {line}: {said}");
        }
        assert!(!program.dir.path().join("data").exists(), "{line} left something behind");
    }
}

/// The first connection that brings a request: some only look whether somebody is there.
async fn asked(listener: &TcpListener) -> TcpStream {
    let asked = async {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            if stream.read_exact(&mut [0; 4]).await.is_ok() {
                return stream;
            }
        }
    };
    timeout(WAIT, asked).await.expect("a request")
}

/// A far side that takes a request and never answers, and a client that never finishes its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_ends_within_its_deadline_whoever_hangs() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", silent.local_addr().expect("bound"));
    let more = "[queue]\nsegment_bytes = \"1MiB\"\nmax_bytes = \"64MiB\"\n".to_owned()
        + &target("orders", &url, "", "attempt_timeout = \"5m\"\n");
    // Nothing but the deadline ends those who hang.
    let patient = "shutdown_timeout = \"1s\"\nheader_timeout = \"5m\"\nidle_timeout = \"5m\"\n";
    let mut program = Program::new(patient, &more);
    program.start().await;
    let client = program.client();
    assert_eq!(client.create_bucket("bucket").await.expect("an answer").status, 200);
    assert_eq!(client.put("bucket", "key", "body").await.expect("an answer").status, 200);
    let _unanswered = asked(&silent).await;
    let whole = request(&client, "half", &[b'x'; 1_000]);
    let mut hanging = Vec::new();
    for sent in [&whole[..20], &whole[..whole.len() - 1]] {
        let mut stream = TcpStream::connect(client.authority()).await.expect("a connection");
        stream.write_all(sent).await.expect("written");
        hanging.push(stream);
    }
    assert_eq!(program.terminate().await, Some(0), "exit code");
    // What was not confirmed is kept, and comes again.
    program.start().await;
    let _again = asked(&silent).await;
    assert_eq!(program.terminate().await, Some(0));
}

/// Bodies that travel in the record, and those that are files.
const SIZES: [usize; 2] = [100, 300_000];

/// A client goes away after every so many bytes of a signed PUT, small and large, and once before the answer:
/// there is the whole object and its event, or neither, and no file is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_away_leaves_all_of_its_change_or_nothing() {
    let more = "[queue]\nsegment_bytes = \"1MiB\"\nmax_bytes = \"64MiB\"\n[store]\ninline_bytes = \"4KiB\"\n"
        .to_owned()
        + &target("orders", NOBODY, "", "");
    let mut program = Program::new("", &more);
    program.start().await;
    let client = program.client();
    assert_eq!(client.create_bucket("bucket").await.expect("an answer").status, 200);
    let keys = |len: usize| [format!("told-{len}"), format!("gone-{len}")];
    for len in SIZES {
        let body = vec![b'x'; len];
        let [told, gone] = keys(len);
        let whole = request(&client, &gone, &body);
        let head = whole.len() - len;
        for cut in [1, head / 2, head - 1, head, head + 1, head + len / 2, whole.len() - 1, whole.len()] {
            let mut stream = TcpStream::connect(client.authority()).await.expect("a connection");
            stream.write_all(&whole[..cut]).await.expect("written");
        }
        // Gone with the first byte of the answer: that one was told.
        let mut stream = TcpStream::connect(client.authority()).await.expect("a connection");
        stream.write_all(&request(&client, &told, &body)).await.expect("written");
        stream.read_exact(&mut [0]).await.expect("an answer");
    }
    let blobs = program.data().join("blobs");
    // Not only the next start clears away.
    let gone = async {
        loop {
            let mut large = 0;
            for key in keys(SIZES[1]) {
                large += usize::from(client.get("bucket", &key).await.expect("an answer").status == 200);
            }
            if walk(&blobs) == large {
                return;
            }
        }
    };
    timeout(WAIT, gone).await.expect("files of requests that were cut are left");
    // What was under way is finished or given up by the end of a stop.
    assert_eq!(program.terminate().await, Some(0));
    program.start().await;
    let client = program.client();
    let (mut there, mut large) = (0, 0);
    for len in SIZES {
        for key in keys(len) {
            let found = client.get("bucket", &key).await.expect("an answer");
            let whole = found.status == 200 && found.body.len() == len;
            assert!(whole || (found.status == 404 && key.starts_with("gone")), "{key}: {}", found.status);
            there += u64::from(whole);
            large += usize::from(whole && len > 4 << 10);
        }
    }
    let (_, view) = program.get("/v1/targets/orders").await;
    let view: Value = serde_json::from_str(&view).expect("JSON");
    assert_eq!((&view["books"]["matched"], &view["books_imbalance"]), (&there.into(), &0.into()), "{view}");
    let gone = async {
        while walk(&blobs) != large {
            tokio::task::yield_now().await;
        }
    };
    timeout(WAIT, gone).await.expect("files of requests that were cut are left");
    assert_eq!(program.terminate().await, Some(0));
}

/// A signed PUT as it goes over the wire.
fn request(client: &Client, key: &str, body: &[u8]) -> Vec<u8> {
    use tidings::client::sign;
    let at = jiff::Timestamp::now();
    let (date, payload) = (sign::amz_date(at), sign::payload_hash(body));
    let path = format!("/bucket/{key}");
    let headers = [("host", client.authority()), ("x-amz-content-sha256", &*payload), ("x-amz-date", &*date)];
    let parts = sign::Parts { method: "PUT", path: &path, query: "", headers: &headers, payload: &payload };
    let signed = client.signer().sign(&parts, at);
    let mut text = format!("PUT {path} HTTP/1.1\r\nauthorization: {}\r\n", signed.authorization);
    headers.iter().for_each(|(name, value)| text += &format!("{name}: {value}\r\n"));
    text += &format!("content-length: {}\r\n\r\n", body.len());
    [text.as_bytes(), body].concat()
}

/// Files in a folder and those below it.
fn walk(dir: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| if entry.path().is_dir() { walk(&entry.path()) } else { 1 }).sum()
}
