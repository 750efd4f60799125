//! The space of bodies, as the real program gives it back, and damage to them, as it is found: by a read, by
//! the background scrub, by `store verify`.
//!
//! Must never trust a count of the product's: space is what the file system says.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use futures_util::{StreamExt as _, stream};
use serde_json::Value;
use tidings::client::Client;

use crate::program::Program;
use crate::targets::world::WAIT;

const MIB: u64 = 1 << 20;
/// Small bodies, which lie in packs: 60 MiB in all. One that is overwritten is as large as before.
const SMALL: (usize, usize) = (1_024, 60 << 10);
/// Large bodies, each in a file of its own: 60 MiB in all.
const LARGE: (usize, usize) = (20, 3 << 20);
const ALL: u64 = 120 * MIB;

/// Space comes back as fast as it can.
const QUICK: &str = "[store]\ncheckpoint_interval = \"1s\"\nreclaim_rate = \"10GiB\"\n\
                     [queue]\nsegment_bytes = \"1MiB\"\nmax_bytes = \"1GiB\"\nretain_bytes = 0\n";

/// Every file below a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    // One that goes while it is looked at is none.
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| match entry.path() {
            path if path.is_dir() => files(&path),
            path => vec![path],
        })
        .collect()
}

/// What a directory takes on the disk, in bytes.
fn du(dir: &Path) -> u64 {
    files(dir).iter().filter_map(|path| std::fs::metadata(path).ok()).map(|meta| meta.blocks() * 512).sum()
}

impl Program {
    /// Every file but the lock's, which says who is at work.
    fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let files = files(&self.data()).into_iter().filter(|path| !path.ends_with("lock"));
        files.map(|path| (path.clone(), std::fs::read(path).expect("readable"))).collect()
    }

    fn bodies(&self) -> u64 {
        du(&self.data().join("packs")) + du(&self.data().join("blobs"))
    }

    /// Waits until bodies take no more than this.
    async fn shrinks_to(&self, most: u64) {
        let until = Instant::now() + WAIT;
        while self.bodies() > most {
            assert!(
                Instant::now() < until,
                "{} MiB are taken, {} MiB expected",
                self.bodies() / MIB,
                most / MIB
            );
            // Takes a moment, and shows what it says of itself.
            let (status, text) = self.get("/v1/store").await;
            assert_eq!(status, 200, "{text}");
        }
    }

    async fn store_stat(&self) -> Value {
        serde_json::from_str(&self.get("/v1/store").await.1).expect("JSON")
    }
}

/// Each key with the size of its body.
fn all_keys() -> impl Iterator<Item = (String, usize)> {
    let some = |name: &'static str, (count, size): (usize, usize)| {
        (0..count).map(move |n| (format!("{name}/{n:04}"), size))
    };
    some("small", SMALL).chain(some("large", LARGE))
}

async fn put_all(client: &Client, byte: u8) {
    let puts = stream::iter(all_keys()).map(|(key, size)| async move {
        let answer = client.put("bucket", &key, vec![byte; size]).await.expect("an answer");
        assert_eq!(answer.status, 200, "{key}");
    });
    puts.buffer_unordered(8).collect::<()>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_overwritten_and_removed_gives_its_space_back() {
    let mut program = Program::new("", QUICK);
    program.start().await;
    let client = program.client();
    assert_eq!(client.create_bucket("bucket").await.expect("an answer").status, 200);
    put_all(&client, 1).await;
    program.shrinks_to(ALL + 24 * MIB).await;
    assert!(program.bodies() >= ALL - 8 * MIB, "where are they? {} MiB", program.bodies() / MIB);
    put_all(&client, 3).await;
    put_all(&client, 2).await;
    // A pack is left as it is until more than half of it is dead.
    program.shrinks_to(ALL + ALL / 2 + 8 * MIB).await;
    let kept = |key: &str| key.ends_with('7');
    for (key, _) in all_keys().filter(|(key, _)| !kept(key)) {
        assert_eq!(client.delete("bucket", &key).await.expect("an answer").status, 204);
    }
    program.shrinks_to(ALL / 5 + 16 * MIB).await;
    // Through a restart, what is left is what was put last.
    assert_eq!(program.terminate().await, Some(0));
    let (code, said, errors) = program.output(&["store", "verify"]).await;
    assert_eq!(code, Some(0), "{said}{errors}");
    program.start().await;
    let client = program.client();
    for (key, size) in all_keys() {
        let answer = client.get("bucket", &key).await.expect("an answer");
        match kept(&key) {
            true => assert!(answer.status == 200 && answer.body == vec![2; size], "{key}"),
            false => assert_eq!(answer.status, 404, "{key}"),
        }
        client.delete("bucket", &key).await.expect("an answer");
    }
    program.shrinks_to(16 * MIB).await;
    let until = Instant::now() + WAIT;
    while program.store_stat().await["live_bytes"] != 0 {
        assert!(Instant::now() < until, "something is still needed: {}", program.store_stat().await);
    }
    assert_eq!(program.terminate().await, Some(0));
}

/// Changes one byte of a file.
fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).expect("readable");
    bytes[at] ^= 1;
    std::fs::write(path, bytes).expect("writable");
}

/// Where these bytes stand in the only file of a directory that has them.
fn find(dir: &Path, wanted: &[u8]) -> (PathBuf, usize) {
    let at = |path: PathBuf| {
        let bytes = std::fs::read(&path).expect("readable");
        let at = bytes.windows(wanted.len()).position(|window| window == wanted)?;
        Some((path, at))
    };
    files(dir).into_iter().find_map(at).expect("it is there")
}

/// A body that is found by its first bytes, wherever it lies.
fn body(name: &str, size: usize) -> Vec<u8> {
    let mut body = format!("the body of {name} ").into_bytes();
    body.resize(size, b'.');
    body
}

const OBJECTS: [(&str, usize); 4] =
    [("sound", 1_000), ("in a pack", 2_000), ("in a blob", 300_000), ("large and sound", 300_000)];

/// A stopped server with these objects, all of them applied.
async fn stopped(scrub_rate: &str) -> Program {
    let mut program = Program::new("", &format!("[store]\nscrub_rate = {scrub_rate}\n"));
    program.start().await;
    let client = program.client();
    assert_eq!(client.create_bucket("bucket").await.expect("an answer").status, 200);
    for (key, size) in OBJECTS {
        assert_eq!(client.put("bucket", key, body(key, size)).await.expect("an answer").status, 200);
    }
    assert_eq!(program.terminate().await, Some(0));
    program
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_bodies_are_named_offline_and_by_the_scrub_and_never_served() {
    let mut program = stopped("\"1GiB\"").await;
    let sound = program.output(&["store", "verify"]).await;
    assert_eq!(sound.0, Some(0), "{sound:?}");
    let mut where_ = BTreeMap::new();
    for (dir, key) in [("packs", "in a pack"), ("blobs", "in a blob")] {
        let (path, at) = find(&program.data().join(dir), format!("the body of {key} ").as_bytes());
        flip(&path, at + 1_500);
        let file = path.strip_prefix(program.data()).expect("below it").to_str().expect("UTF-8").to_owned();
        where_.insert(key.to_owned(), file);
    }
    let before = program.contents();
    let (code, said, errors) = program.output(&["store", "verify"]).await;
    assert_eq!(code, Some(3), "{said}{errors}");
    for (key, file) in &where_ {
        let named = said
            .lines()
            .any(|line| line.starts_with("damaged: ") && line.contains(key) && line.contains(file));
        assert!(named, "{key} in {file}: {said}");
    }
    assert_eq!(said.matches("damaged: ").count(), 2, "{said}");
    assert!(errors.contains("damaged in 2 place(s)"), "{errors}");
    assert!(program.contents() == before, "it changed something");

    program.start().await;
    let until = Instant::now() + WAIT;
    let stat = loop {
        let stat = program.store_stat().await;
        if stat["scrub_passes"].as_u64() > Some(0) {
            break stat;
        }
        assert!(Instant::now() < until, "the scrub never ends: {stat}");
    };
    let of = |view: &Value, field: &str| view[field].as_str().expect("a text").to_owned();
    let named = stat["damage"].as_array().expect("a list").iter();
    let named: BTreeMap<_, _> = named.map(|view| (of(view, "key"), of(view, "file"))).collect();
    assert_eq!((&stat["damaged"], &named), (&2.into(), &where_), "{stat}");
    assert_eq!(program.metric("tidings_store_damaged_objects").await, 2.0);
    let client = program.client();
    for (key, size) in OBJECTS {
        let answer = client.get("bucket", key).await;
        match (answer, where_.contains_key(key)) {
            (Ok(answer), false) => assert!(answer.status == 200 && answer.body == body(key, size), "{key}"),
            (Ok(answer), true) => {
                assert_eq!((answer.status.as_u16(), answer.error_code()), (500, Some("InternalError")))
            }
            // A large one breaks off where the damage is.
            (Err(_), true) => assert_eq!(key, "in a blob"),
            (Err(error), false) => panic!("{key}: {error}"),
        }
        // Put again, it is sound.
        assert_eq!(client.put("bucket", key, body(key, size)).await.expect("an answer").status, 200);
        assert!(client.get("bucket", key).await.expect("an answer").body == body(key, size), "{key}");
    }
    assert_eq!(program.terminate().await, Some(0));
    let (code, said, errors) = program.output(&["store", "verify"]).await;
    assert_eq!(code, Some(0), "{said}{errors}");
}

/// Whichever of its pages rots, the index is named, or the page was in nobody's way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_index_is_named_and_nothing_else_is_believed() {
    let program = stopped("0").await;
    let path = program.data().join("index.redb");
    let whole = std::fs::read(&path).expect("readable");
    let rows = whole.windows(9).enumerate().filter(|(_, window)| *window == b"in a blob").map(|(at, _)| at);
    let rows: Vec<_> = rows.collect();
    assert!(!rows.is_empty(), "no row has the key");
    let mut named = 0;
    for at in rows {
        flip(&path, at + 3);
        let (code, said, errors) = program.output(&["store", "verify"]).await;
        assert!(matches!(code, Some(0 | 3)), "{code:?}: {said}{errors}");
        assert_eq!(code == Some(3), said.contains("damaged: "), "{said}{errors}");
        named += u32::from(code == Some(3));
        std::fs::write(&path, &whole).expect("writable");
    }
    assert!(named > 0, "the key's row was damaged wherever it stands, and nobody said so");
    let (code, said, errors) = program.output(&["store", "verify"]).await;
    assert_eq!(code, Some(0), "{said}{errors}");
}
