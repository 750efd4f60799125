//! Space: counted exactly, and won back from packs without losing a byte that an object needs.

use super::super::index::{Batch, Index as _, Space};
use super::super::redb_index::RedbIndex;
use super::super::row_edit;
use super::crash::tick_until;
use super::*;
use crate::event::Version;
use crate::store::BodyBytes;

/// The lengths of all packs.
fn pack_files(dir: &Path) -> Vec<u64> {
    let files = std::fs::read_dir(dir.join("packs")).unwrap();
    // One may go between the two looks.
    files.filter_map(|file| Some(file.unwrap().metadata().ok()?.len())).collect()
}

/// Waits for what the index thread does by itself.
fn wait(done: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !done() {
        assert!(Instant::now() < deadline, "never done");
        std::thread::yield_now();
    }
}

fn check_bodies(store: &EmbeddedStore, keys: std::ops::Range<u8>, len: usize) {
    let runtime = runtime();
    for n in keys {
        let object = store.object("b", &format!("k{n}")).unwrap().unwrap();
        assert_eq!(runtime.block_on(body(store, &object)).unwrap(), vec![n; len], "k{n}");
    }
}

/// Puts 100 keys of 3,000 bytes, all of them again and again.
fn churn(log: &Log, rounds: usize) {
    for _ in 0..rounds {
        let mut last = 0;
        for n in 0..100 {
            last = log.put(&format!("k{n}"), vec![n; 3000]);
        }
        log.wait_checkpointed(last + 1);
    }
}

#[test]
fn the_space_of_overwritten_bodies_comes_back_and_no_body_is_lost() {
    let (log, dir) = (Arc::<Log>::default(), tempfile::tempdir().unwrap());
    let store = open_reclaiming(&log, os(), dir.path(), ALWAYS);
    churn(&log, 10);
    // 3,000,000 bytes were written, 300,000 are needed.
    let small = || pack_files(dir.path()).iter().sum::<u64>() < 2 * 300_000 + 200_000;
    // Nothing else happens: the store does it by itself, and does not wait for changes.
    wait(small);
    check_bodies(&store, 0..100, 3000);
    let BodyBytes { live, dead } = store.body_bytes();
    assert_eq!(live, 300_000);
    assert!(dead < 500_000, "{dead}");
    drop(store);
    let store = open_reclaiming(&log, os(), dir.path(), ALWAYS);
    check_bodies(&store, 0..100, 3000);
    assert_eq!(store.body_bytes().live, 300_000);
}

/// Nothing but deletes: no later batch, nothing to move, and all packs go, the newest one too.
#[test]
fn a_store_that_was_emptied_gives_all_of_it_back() {
    let (log, dir) = (Arc::<Log>::default(), tempfile::tempdir().unwrap());
    let store = open_reclaiming(&log, os(), dir.path(), ALWAYS);
    churn(&log, 2);
    for n in 0..100 {
        log.delete(&format!("k{n}"));
    }
    wait(|| store.body_bytes() == BodyBytes::default());
    assert_eq!(pack_files(dir.path()), Vec::<u64>::new());
    // The next body begins a new pack, in this life and in the next one.
    log.put("k7", vec![7; 3000]);
    log.wait_applied();
    check_bodies(&store, 7..8, 3000);
    drop(store);
    let store = open_reclaiming(&log, os(), dir.path(), ALWAYS);
    check_bodies(&store, 7..8, 3000);
}

#[test]
fn a_rate_of_nothing_moves_nothing() {
    let (log, dir) = (Arc::<Log>::default(), tempfile::tempdir().unwrap());
    let store = open(&log, os(), dir.path(), ALWAYS);
    churn(&log, 5);
    log.put("last", "x");
    log.wait_applied();
    let BodyBytes { live, dead } = store.body_bytes();
    assert!(live == 300_001 && dead >= 1_200_000, "{live} {dead}");
}

#[test]
fn who_looked_an_object_up_before_it_was_moved_reads_it_all_the_same() {
    let (log, dir) = (Arc::<Log>::default(), tempfile::tempdir().unwrap());
    let store = open(&log, os(), dir.path(), ALWAYS);
    churn(&log, 1);
    let early: Vec<_> = (0..4).map(|n| store.object("b", &format!("k{n}")).unwrap().unwrap()).collect();
    // All but these is written again, so that their pack is emptied.
    for n in 4..100 {
        log.put(&format!("k{n}"), vec![n; 3000]);
    }
    log.wait_applied();
    drop(store);
    let first = dir.path().join("packs/00000001.pack");
    assert!(first.exists());
    let store = open_reclaiming(&log, os(), dir.path(), ALWAYS);
    tick_until(&log, || !first.exists());
    let runtime = runtime();
    for (n, object) in early.iter().enumerate() {
        assert_eq!(runtime.block_on(body(&store, object)).unwrap(), vec![n as u8; 3000]);
        assert_ne!(store.object("b", &object.key).unwrap().unwrap().place, object.place, "it was moved");
    }
}

#[test]
fn a_body_that_cannot_be_read_keeps_its_pack() {
    let (log, dir) = (Arc::<Log>::default(), tempfile::tempdir().unwrap());
    let store = open(&log, os(), dir.path(), ALWAYS);
    churn(&log, 4);
    drop(store);
    let first = dir.path().join("packs/00000001.pack");
    let store = open(&log, os(), dir.path(), ALWAYS);
    let last = log.put("victim", vec![9; 3000]);
    log.wait_checkpointed(last + 1);
    let crate::store::Place::Pack { pack, at } = store.object("b", "victim").unwrap().unwrap().place else {
        panic!("not in a pack")
    };
    churn(&log, 4);
    drop(store);
    let path = dir.path().join(format!("packs/{pack:08x}.pack"));
    let file = OsDisk.open(&path).unwrap();
    file.write_at(b"damage", at + 100).unwrap();
    let store = open_reclaiming(&log, os(), dir.path(), ALWAYS);
    wait(|| !first.exists() && pack_files(dir.path()).len() < 16);
    assert!(path.exists(), "the pack of a damaged body was removed");
    let victim = store.object("b", "victim").unwrap().unwrap();
    assert!(matches!(runtime().block_on(body(&store, &victim)), Err(StoreError::Damaged { .. })));
    check_bodies(&store, 0..100, 3000);
}

/// A body of a blob counts from its first bytes on the disk to the removal of its file.
#[test]
fn blobs_are_counted_as_they_come_and_go() {
    let (log, dir) = (Arc::<Log>::default(), tempfile::tempdir().unwrap());
    let store = open(&log, os(), dir.path(), ALWAYS);
    let both = |live, dead| BodyBytes { live, dead };
    let runtime = runtime();
    let handle = runtime.block_on(async {
        let mut writer = store.new_blob().await.unwrap();
        writer.write(vec![1; 2 << 20].into()).await.unwrap();
        assert_eq!(store.body_bytes(), both(0, 2 << 20), "as it is written");
        let mut handle = writer.finish().await.unwrap();
        handle.keep();
        handle
    });
    log.put_blob("k", &handle.name, handle.crc32c, 2 << 20);
    log.wait_applied();
    assert_eq!(store.body_bytes(), both(2 << 20, 0));
    drop(store);
    let store = open(&log, os(), dir.path(), NEVER);
    assert_eq!(store.body_bytes(), both(2 << 20, 0), "after a restart");
    log.delete("k");
    log.wait_applied();
    assert_eq!(store.body_bytes(), both(0, 2 << 20), "until its file is gone");
    drop(store);
    let store = open(&log, os(), dir.path(), ALWAYS);
    let files = || -> usize {
        let folders = std::fs::read_dir(dir.path().join("blobs")).unwrap();
        folders.map(|f| std::fs::read_dir(f.unwrap().path()).unwrap().count()).sum()
    };
    wait(|| files() == 0 && store.body_bytes() == both(0, 0));
    let discarded = runtime.block_on(async {
        let mut writer = store.new_blob().await.unwrap();
        writer.write(vec![1; 2 << 20].into()).await.unwrap();
        writer.finish().await.unwrap()
    });
    assert_eq!(store.body_bytes(), both(0, 2 << 20));
    drop(discarded);
    assert_eq!(store.body_bytes(), both(0, 0));
}

/// An index of a tidings that did not count: counted once, when it is opened.
#[test]
fn an_index_without_counts_is_counted() {
    let (log, dir) = (Arc::<Log>::default(), tempfile::tempdir().unwrap());
    let store = open(&log, os(), dir.path(), ALWAYS);
    churn(&log, 2);
    let last = log.put("last", "x");
    log.wait_checkpointed(last + 1);
    let before = store.body_bytes();
    let mut batch = Batch::default();
    for pack in 1..20_u32 {
        let key = [&b"live/"[..], &pack.to_be_bytes()].concat();
        batch.remove(Space::Meta, &key);
    }
    batch.remove(Space::Meta, b"live-blobs");
    drop(store);
    let index = RedbIndex::open(&OsDisk, dir.path(), 1 << 20, true).unwrap();
    index.checkpoint(&batch).unwrap();
    drop(index);
    let store = open_only(os(), dir.path(), NEVER).unwrap();
    assert_eq!(store.body_bytes().live, before.live);
}

/// Makes the index say that no pack holds a byte that an object needs.
fn forget_counts(dir: &Path) {
    let index = RedbIndex::open(&OsDisk, dir, 1 << 20, true).unwrap();
    let mut batch = Batch::default();
    for pack in 1..20_u32 {
        let key = [&b"live/"[..], &pack.to_be_bytes()].concat();
        batch.put(Space::Meta, &key, |out| row_edit::put_number(out, &key, 0));
    }
    index.checkpoint(&batch).unwrap();
}

/// A pass looks at older versions first. While it waits for its turn to look at current objects, one of them
/// becomes an older version, so that it never sees that row: and the count of its pack is wrong, too.
#[test]
fn a_row_that_moves_past_a_pass_keeps_its_pack_whatever_the_counts_say() {
    let put = |log: &Log, key: &str, n: u8| {
        let (change, event, body) = put_of(key, &vec![n; 3000].into());
        log.push(change, event.map(|event| Event { version: Some(Version::Own), ..event }), body)
    };
    let (log, dir) = (Arc::<Log>::default(), tempfile::tempdir().unwrap());
    let store = open(&log, os(), dir.path(), ALWAYS);
    let (mut quiet, mut last) = (0, 0);
    // In the first pack, and enough older versions for the pass to pause behind them.
    for n in 0..40 {
        if n == 3 {
            quiet = put(&log, "quiet", 77);
        }
        last = put(&log, "busy", n);
        log.wait_checkpointed(last + 1);
    }
    drop(store);
    forget_counts(dir.path());
    // Bytes a second: to read and write what is moved of the older versions lasts longer than a change.
    let config = crate::config::Store { reclaim_rate: 200_000, ..config(ALWAYS) };
    let tuning = Tuning { pack_bytes: 64 << 10, linger: Duration::ZERO };
    let store = EmbeddedStore::open_with(os(), dir.path(), &config, tuning).unwrap();
    let oldest = || store.versions("b", "busy", None, 100).unwrap().pop().unwrap().object.place;
    let (before, first) = (oldest(), dir.path().join("packs/00000001.pack"));
    start(&log, &store);
    wait(|| oldest() != before);
    assert!(first.exists() && put(&log, "quiet", 78) > last);
    wait(|| !first.exists());
    let versions = store.versions("b", "quiet", None, 10).unwrap();
    assert_eq!(versions[1].object.offset, quiet);
    assert_eq!(runtime().block_on(body(&store, &versions[1].object)).unwrap(), vec![77; 3000]);
}
