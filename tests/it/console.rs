//! The command line against the real program: replay, test, dead letters, forget, reload, and SIGHUP.
//!
//! Must never reach into the process: it reads what a program at the shell reads.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tidings::client::Client;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::targets::world::{Receiver, WAIT, target};

/// A running `tidings serve`, and how the other commands reach it.
pub(crate) struct Console {
    pub dir: tempfile::TempDir,
    child: Child,
    admin: String,
    s3: Client,
}

impl Console {
    pub async fn start(targets: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        configure(&dir, targets);
        let console = Self::start_in(dir).await;
        let made = console.s3.create_bucket("bucket").await.expect("an answer");
        assert_eq!(made.status, 200, "{made:?}");
        console
    }

    /// Stops in order, lets something be done to the data directory, and starts again.
    pub async fn restart(self, meanwhile: impl FnOnce(&Path)) -> Self {
        let dir = self.stop().await;
        meanwhile(&dir.path().join("data"));
        Self::start_in(dir).await
    }

    async fn start_in(dir: tempfile::TempDir) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
        command.arg("serve").arg("--config").arg(dir.path().join("tidings.toml"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().expect("starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let (mut s3, mut admin) = (String::new(), String::new());
        let ready = async {
            while let Some(line) = lines.next_line().await.expect("readable") {
                match line.rsplit_once(' ').unwrap_or(("ready", &line)) {
                    ("listening s3", address) => s3 = address.to_owned(),
                    ("listening admin", address) => admin = address.replace("http://", ""),
                    _ if line == "ready" => return,
                    _ => {}
                }
            }
            panic!("the server ended at its start");
        };
        timeout(WAIT, ready).await.expect("ready in time");
        let text = std::fs::read_to_string(dir.path().join("data/credentials.toml")).expect("made");
        let table: toml::Table = text.parse().expect("TOML");
        let field = |name: &str| table["credential"][0][name].as_str().expect("a string").to_owned();
        let s3 = Client::new(&s3, "ap-guangzhou", &field("access_key"), &field("secret_key"));
        Self { dir, child, admin, s3: s3.expect("an address") }
    }

    pub async fn put(&self, key: &str) {
        let answer = self.s3.put("bucket", key, "body").await.expect("an answer");
        assert_eq!(answer.status, 200, "{key}: {answer:?}");
    }

    /// Runs one command with `--json`: its exit code and what it said.
    pub async fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        self.run_as(&[arguments, &["--json"]].concat()).await
    }

    /// A command that asks this server.
    pub fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).args(["--admin", &self.admin, "--config"]);
        command.arg(self.dir.path().join("tidings.toml"));
        command
    }

    /// Runs one command as a person does: its exit code, and what it said on standard output, or, if it did
    /// not end well, on standard error.
    pub async fn run_as(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.command(env!("CARGO_BIN_EXE_tidings"), arguments).output();
        let output = timeout(WAIT, output).await.expect("ends in time").expect("starts");
        let said = if output.status.success() { output.stdout } else { output.stderr };
        (output.status.code(), String::from_utf8(said).expect("UTF-8"))
    }

    /// What a command answers that must succeed: JSON and nothing else.
    pub async fn json(&self, arguments: &[&str]) -> Value {
        let (code, said) = self.run(arguments).await;
        assert_eq!(code, Some(0), "{arguments:?}: {said}");
        serde_json::from_str(&said).unwrap_or_else(|e| panic!("{arguments:?}: {e}: {said}"))
    }

    /// Asks until the answer is as it should be.
    pub async fn until(&self, arguments: &[&str], right: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let asked = async {
            loop {
                last = self.json(arguments).await;
                if right(&last) {
                    return;
                }
            }
        };
        let asked = timeout(WAIT, asked).await;
        assert!(asked.is_ok(), "{arguments:?}: {last}");
        last
    }

    async fn signal(&self, name: &str) {
        let pid = self.child.id().expect("running");
        let status = Command::new("sh").arg("-c").arg(format!("kill -{name} {pid}")).status().await;
        assert!(status.expect("a shell").success());
    }

    /// SIGTERM; the end must be clean.
    pub async fn stop(mut self) -> tempfile::TempDir {
        self.signal("TERM").await;
        let ended = timeout(WAIT + Duration::from_secs(5), self.child.wait()).await;
        assert!(ended.expect("ends in time").expect("a child of ours").success());
        self.dir
    }
}

/// Small segments: their making takes long where the disk is busy, and a change waits for the first.
pub(crate) fn configure(dir: &tempfile::TempDir, targets: &str) {
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\ndata = {:?}\nreserve_timeout = \"60s\"\n\
         [admin]\nlisten = \"127.0.0.1:0\"\n[queue]\nsegment_bytes = \"4MiB\"\n{targets}",
        dir.path().join("data")
    );
    std::fs::write(dir.path().join("tidings.toml"), text).expect("written");
}

fn delivered(count: u64) -> impl Fn(&Value) -> bool {
    move |view| view["books"]["delivered"] == count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn target_replay_and_test_do_what_they_say() {
    let far = Receiver::start(true).await;
    let console = Console::start(&target("orders", &far.url, "", "")).await;
    for n in 0..5 {
        console.put(&format!("key-{}", n % 2)).await;
    }
    let once = far.wait_for(5).await;
    console.until(&["target", "show", "orders"], delivered(5)).await;
    // The first entry, a bucket, has offset 1.
    let replay = console.json(&["target", "replay", "orders", "--from", "1"]).await;
    assert_eq!((&replay["from"], replay["until"].as_u64() > Some(5)), (&json!(1), true), "{replay}");
    let twice = far.wait_for(10).await;
    let of = |list: &[(String, String)], key: &str| -> Vec<String> {
        list.iter().filter(|(k, _)| k == key).map(|(_, request)| request.clone()).collect()
    };
    for key in ["key-0", "key-1"] {
        assert_eq!(of(&twice, key), [of(&once, key), of(&once, key)].concat(), "each key once more");
    }
    let view = console.until(&["target", "show", "orders"], |view| view["books"]["repeated"] == 5).await;
    assert_eq!((&view["books"]["delivered"], &view["books_imbalance"]), (&json!(5), &json!(0)), "{view}");
    let tested = console.json(&["target", "test", "orders"]).await;
    assert_eq!(tested["outcome"], "delivered", "{tested}");
    far.wait_for(11).await;
    let view = console.json(&["target", "show", "orders"]).await;
    assert_eq!(view["books"]["matched"], 5, "a sample is no event: {view}");
    // Secrets that were never right: all of it waits, and is told apart from an event that is refused.
    far.wants.send_replace(Some("Bearer right".to_owned()));
    let (code, said) = console.run(&["target", "test", "orders"]).await;
    assert_eq!((code, said.contains("did not take the sample event")), (Some(3), true), "{said}");
    far.wants.send_replace(None);
    // A name that is not there, and one that cannot be one: said, with an exit code of its own.
    let (code, said) = console.run(&["target", "test", "nobody"]).await;
    assert_eq!((code, said.contains("404")), (Some(1), true), "{said}");
    let (code, said) = console.run(&["target", "replay", "orders", "--from", "99999"]).await;
    assert_eq!(code, Some(1), "{said}");
    console.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rematch_delivers_what_today_s_rules_match_and_the_target_was_not_given() {
    let far = Receiver::start(true).await;
    let console = Console::start(&target("orders", &far.url, "in/", "")).await;
    for key in ["in/a", "out/b", "in/c", "out/b"] {
        console.put(key).await;
    }
    far.wait_for(2).await;
    console.until(&["target", "show", "orders"], delivered(2)).await;
    configure(&console.dir, &target("orders", &far.url, "", ""));
    console.json(&["reload"]).await;
    let replay = console.json(&["target", "replay", "orders", "--from", "1", "--rematch"]).await;
    assert_eq!((&replay["from"], &replay["rematch"]), (&json!(1), &json!(true)), "{replay}");
    let right = |view: &Value| view["books"]["rematched"] == 2 && view["books"]["repeated"] == 2;
    let view = console.until(&["target", "show", "orders"], right).await;
    assert_eq!((&view["books"]["matched"], &view["books_imbalance"]), (&json!(2), &json!(0)), "{view}");
    let came = far.wait_for(6).await;
    let of = |key: &str| came[2..].iter().filter(|(k, _)| k == key).count();
    assert_eq!((of("in/a"), of("out/b"), of("in/c")), (1, 2, 1), "{came:?}");
    console.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_listed_shown_sent_again_and_purged() {
    let far = Receiver::start(true).await;
    let console = Console::start(&target("orders", &far.url, "", "")).await;
    console.put("bad/one").await;
    console.put("bad/two").await;
    for n in 0..8 {
        console.put(&format!("good/{n}")).await;
    }
    // Not the total, which is of a later moment than the page.
    let both = |page: &Value| page["dead_letters"].as_array().is_some_and(|all| all.len() == 2);
    let page = console.until(&["dlq", "ls", "orders"], both).await;
    let letters = page["dead_letters"].as_array().expect("a list");
    assert_eq!((&letters[0]["key"], &letters[1]["key"]), (&json!("bad/one"), &json!("bad/two")), "{page}");
    assert_eq!(letters[0]["class"], "http_4xx", "{page}");
    let offsets: Vec<String> = letters.iter().map(|letter| letter["offset"].to_string()).collect();
    let one = console.json(&["dlq", "show", "orders", &offsets[0]]).await;
    assert_eq!((&one["key"], &one["bucket"]), (&json!("bad/one"), &json!("bucket")), "{one}");
    // Sent again, rejected again: it stays one letter, and counts the attempt.
    let again = console.json(&["dlq", "replay", "orders", &offsets[0]]).await;
    assert_eq!(again["replaying"], 1, "{again}");
    console.until(&["dlq", "show", "orders", &offsets[0]], |letter| letter["replays"] == 1).await;
    let (code, said) = console.run(&["dlq", "purge", "orders"]).await;
    assert_eq!((code, said.contains("say which")), (Some(2), true), "{said}");
    let purged = console.json(&["dlq", "purge", "orders", &offsets[1]]).await;
    assert_eq!(purged["purged"], 1, "{purged}");
    assert_eq!(console.json(&["dlq", "ls", "orders"]).await["total"], 1);
    assert_eq!(console.run(&["dlq", "show", "orders", &offsets[1]]).await.0, Some(1), "it is gone");
    let view = console.json(&["target", "show", "orders"]).await;
    let books = &view["books"];
    assert_eq!((&books["dead_lettered"], &books["purged"]), (&json!(1), &json!(1)), "{view}");
    assert_eq!(view["books_imbalance"], 0, "{view}");
    console.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reload_sighup_and_forget_change_the_targets_of_a_running_server() {
    let (old, new) = (Receiver::start(false).await, Receiver::start(true).await);
    let (one, two) = (target("one", &old.url, "", ""), target("two", &new.url, "", ""));
    let console = Console::start(&one).await;
    console.put("first").await;
    configure(&console.dir, &format!("{one}{two}"));
    let done = console.json(&["reload"]).await;
    assert_eq!((&done["added"], &done["unchanged"]), (&json!(["two"]), &json!(["one"])), "{done}");
    console.put("second").await;
    assert_eq!(new.wait_for(1).await[0].0, "second", "nothing from before its time");

    // An invalid file is refused with its reason, and the old one goes on.
    configure(&console.dir, "[target.two]\nencodin = \"s3\"\n");
    let (code, said) = console.run(&["target", "forget", "one"]).await;
    assert_eq!(code, Some(2), "the command reads the same file: {said}");
    console.signal("HUP").await;
    console.put("third").await;
    new.wait_for(2).await;

    // SIGHUP reads the file that is there then.
    configure(&console.dir, &two);
    console.signal("HUP").await;
    let view = console.until(&["target", "show", "one"], |view| view["state"] == "removed").await;
    assert_eq!(view["books"]["backlog"], 3, "{view}");
    let (code, said) = console.run(&["target", "forget", "one"]).await;
    assert_eq!((code, said.contains("3 events")), (Some(1), true), "{said}");
    let gone = console.json(&["target", "forget", "one", "--discard"]).await;
    assert_eq!((&gone["name"], &gone["books"]["forgotten"]), (&json!("one"), &json!(3)), "{gone}");
    let all = console.json(&["target", "ls"]).await;
    let names: Vec<_> = all["targets"].as_array().expect("a list").iter().map(|t| &t["name"]).collect();
    assert_eq!(names, ["two"], "{all}");
    console.put("fourth").await;
    assert_eq!(new.wait_for(3).await.len(), 3);
    console.stop().await;
}
