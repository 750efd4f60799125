//! Credentials as operators handle them: by commands over the file, in force from a reload on.
//!
//! Must never need a restart.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use secrecy::ExposeSecret as _;
use serde_json::Value;
use tidings::client::Client;
use tidings::config::credentials::Scope;
use tidings::config::credentials::edit::{Issued, New, add, remove, rotate};
use tokio::process::Command;

use crate::targets::world::World;

fn random(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("random bytes");
}

fn issue(world: &World, key: &str, scope: Scope, bucket: &str) -> Issued {
    let new = New { access_key: Some(key.into()), scope, buckets: vec![bucket.into()], note: None };
    add(&world.data(), new, &mut random).expect("added")
}

fn client(world: &World, issued: &Issued) -> Client {
    let endpoint = format!("http://{}", world.app().s3_address());
    Client::new(&endpoint, "ap-guangzhou", &issued.access_key, issued.secret.expose_secret())
        .expect("a client")
}

async fn put(client: &Client, bucket: &str) -> (u16, String) {
    let answer = client.put(bucket, "key", "body").await.expect("answered");
    (answer.status.as_u16(), answer.error_code().unwrap_or_default().to_owned())
}

fn refused(code: &str) -> (u16, String) {
    (403, code.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_who_may_do_what() {
    let mut world = World::start("").await;
    world.s3().create_bucket("other").await.expect("answered");
    let ok = (200, String::new());
    let issued = issue(&world, "worker", Scope::Write, "bucket");
    let worker = client(&world, &issued);
    assert_eq!(put(&worker, "bucket").await, refused("InvalidAccessKeyId"), "the file alone changes nothing");
    let said = world.reload("").await;
    assert_eq!(said["credentials_added"], serde_json::json!(["worker"]));
    assert_eq!(put(&worker, "bucket").await, ok);
    assert_eq!(put(&worker, "other").await, refused("AccessDenied"));

    let new = client(&world, &rotate(&world.data(), "worker", &mut random).expect("rotated"));
    assert_eq!(world.reload("").await["credentials_changed"], serde_json::json!(["worker"]));
    assert_eq!(put(&worker, "bucket").await, refused("SignatureDoesNotMatch"), "the old secret is void");
    assert_eq!(put(&new, "bucket").await, ok);

    // A file that is wrong changes nothing, neither credentials nor targets, and is told.
    let file = world.data().join("credentials.toml");
    let good = std::fs::read_to_string(&file).expect("readable");
    for wrong in ["", "[[credential]]\naccess_key = \"x\"\n", &good.replace("\"write\"", "\"root\"")] {
        std::fs::write(&file, wrong).expect("written");
        let (status, answer) = world.admin("POST", "/v1/reload").await;
        let said = answer["error"]["message"].as_str().expect("a message");
        assert!(status == 422 && said.contains("credentials.toml"), "{status} {answer}");
        assert!(!said.contains(issued.expose()), "{said}");
        assert_eq!(put(&new, "bucket").await, ok);
        assert_eq!(world.metric("tidings_config_last_reload_successful").await, 0.0);
    }
    std::fs::write(&file, good).expect("written");
    remove(&world.data(), "worker").expect("removed");
    assert_eq!(world.reload("").await["credentials_removed"], serde_json::json!(["worker"]));
    assert_eq!(put(&new, "bucket").await, refused("InvalidAccessKeyId"));
    world.stop().await;
}

/// Nobody whose credential stays notices a reload, however often and under what load.
#[tokio::test(flavor = "multi_thread")]
async fn reloads_under_load_refuse_nobody_who_stays() {
    let mut world = World::start("").await;
    let worker = issue(&world, "worker", Scope::Write, "bucket");
    world.reload("").await;
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load: Vec<_> = (0..4)
        .map(|n| {
            let client = if n % 2 == 0 { world.s3() } else { client(&world, &worker) };
            let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(put(&client, "bucket").await, (200, String::new()));
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for n in 0..30 {
        let passing = issue(&world, &format!("passing-{n}"), Scope::Write, "bucket");
        world.reload("").await;
        let before = done.load(Ordering::Relaxed);
        assert_eq!(put(&client(&world, &passing), "bucket").await.0, 200);
        remove(&world.data(), &passing.access_key).expect("removed");
        world.reload("").await;
        assert_eq!(put(&client(&world, &passing), "bucket").await, refused("InvalidAccessKeyId"));
        while done.load(Ordering::Relaxed) == before {
            tokio::task::yield_now().await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    for task in load {
        task.await.expect("nobody was refused");
    }
    world.stop().await;
}

async fn run(data: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    command.arg("credential").args(arguments).arg("--data").arg(data);
    let output = command.output().await.expect("starts");
    let said = if output.status.success() { output.stdout } else { output.stderr };
    (output.status.code(), String::from_utf8(said).expect("UTF-8"))
}

#[tokio::test]
async fn commands_change_the_file_and_show_a_secret_once() {
    let data = tempfile::tempdir().expect("a directory");
    let data = data.path();
    let (code, said) = run(data, &["ls"]).await;
    assert!(code == Some(1) && said.contains("credentials.toml"), "{said}");
    tidings::config::credentials::load_or_create(data, &mut random).expect("made");

    let arguments =
        ["add", "--scope", "read", "--bucket", "a-*", "--bucket", "b", "--note", "the \"job\"", "--json"];
    let (code, said) = run(data, &arguments).await;
    assert_eq!(code, Some(0), "{said}");
    let added: Value = serde_json::from_str(&said).expect("JSON");
    let (key, secret) =
        (added["access_key"].as_str().expect("a key"), added["secret_key"].as_str().expect("one"));
    let (_, listed) = run(data, &["ls", "--json"]).await;
    assert!(!listed.contains(secret), "{listed}");
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    let all = listed["credentials"].as_array().expect("a list");
    let ours = all.iter().find(|c| c["access_key"] == key).expect("listed");
    let expected = serde_json::json!({
        "access_key": key, "scope": "read", "buckets": ["a-*", "b"], "note": "the \"job\"",
    });
    assert_eq!((all.len(), ours), (2, &expected));
    let (_, table) = run(data, &["ls"]).await;
    assert!(table.contains("read   a-* b  (the \"job\")") && !table.contains(secret), "{table}");

    let (code, rotated) = run(data, &["rotate", key]).await;
    assert!(code == Some(0) && rotated.contains(key) && !rotated.contains(secret), "{rotated}");
    for (wrong, exit) in [
        (&["add"][..], 2),
        (&["add", "--scope", "root"], 2),
        (&["add", "--scope", "read", "--bucket", "A/B"], 2),
        (&["add", "--scope", "read", "--access-key", key], 2),
        (&["rotate", "none"], 2),
        (&["rm", "none"], 2),
    ] {
        let (code, said) = run(data, wrong).await;
        assert_eq!(code, Some(exit), "{wrong:?}: {said}");
    }
    assert_eq!(run(data, &["rm", key]).await.0, Some(0));
    let (_, listed) = run(data, &["ls", "--json"]).await;
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    let last = listed["credentials"][0]["access_key"].as_str().expect("one is left");
    let (code, said) = run(data, &["rm", last]).await;
    assert!(code == Some(2) && said.contains("only credential"), "{said}");
}
