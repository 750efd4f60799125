//! What is on disk at a checkpoint, and what a start makes of it.

use super::*;

/// Files go on the index thread between two batches: gives it batches until it is done.
pub(super) fn tick_until(log: &Log, done: impl Fn() -> bool) {
    for _ in 0..1000 {
        if done() {
            return;
        }
        let last = log.put("tick", "x");
        log.wait_checkpointed(last + 1);
    }
    panic!("never done");
}

/// When the queue hears of a checkpoint, every file and folder of the store is synced.
#[test]
fn a_checkpoint_is_reported_only_when_everything_is_synced() {
    let (log, dir) = (Arc::<Log>::default(), tempfile::tempdir().unwrap());
    let disk = Arc::new(TestDisk::default());
    let unsynced = disk.unsynced.clone();
    let bad = Arc::new(Mutex::new(Vec::new()));
    let seen = bad.clone();
    log.state().on_checkpoint = Some(Box::new(move || {
        seen.lock().unwrap().extend(unsynced.lock().unwrap().iter().cloned());
    }));
    let store = open(&log, disk, dir.path(), ALWAYS);
    for n in 0..100 {
        let last = log.put(&format!("k{n}"), vec![n; 3000]);
        if n % 10 == 0 {
            log.wait_checkpointed(last + 1);
        }
    }
    store.stop();
    assert_eq!(*bad.lock().unwrap(), Vec::<PathBuf>::new());
    assert_eq!(store.checkpoint_next(), 101);
    assert!(
        dir.path().join("packs/00000002.pack").exists(),
        "no pack was full: the test says less than it should"
    );
}

#[test]
fn a_log_of_many_segments_does_not_wait_for_the_checkpoint_interval() {
    let (log, dir) = (Arc::<Log>::default(), tempfile::tempdir().unwrap());
    let store = open(&log, Arc::new(OsDisk), dir.path(), Duration::from_secs(3_600));
    log.put("few", "x");
    log.wait_applied();
    assert_eq!(store.checkpoint_next(), 1, "the interval is not over");
    log.state().segments = 17;
    let last = log.put("many", "x");
    log.wait_checkpointed(last + 1);
    store.stop();
}

#[test]
fn a_superseded_blob_goes_after_the_checkpoint_and_not_before() {
    let (log, dir) = (Arc::<Log>::default(), tempfile::tempdir().unwrap());
    let store = open(&log, os(), dir.path(), NEVER);
    let runtime = runtime();
    let blob = || {
        runtime.block_on(async {
            let mut writer = store.new_blob().await.unwrap();
            writer.write(Bytes::from_static(b"body")).await.unwrap();
            let mut blob = writer.finish().await.unwrap();
            blob.keep();
            (blob.name.clone(), blob.crc32c)
        })
    };
    let path = |name: &str| dir.path().join("blobs").join(&name[..2]).join(name);
    let names: Vec<_> = ["over", "over", "deleted", "small", "kept"]
        .map(|key| {
            let (name, crc) = blob();
            log.put_blob(key, &name, crc, 4);
            name
        })
        .into();
    log.wait_applied();
    let replaced = blob();
    log.put_blob("over", &replaced.0, replaced.1, 4);
    log.delete("deleted");
    log.put("small", "x");
    log.wait_applied();
    assert!(names.iter().all(|name| path(name).exists()), "removed before any checkpoint");
    store.stop();
    drop(store);
    let store = open(&log, os(), dir.path(), ALWAYS);
    tick_until(&log, || !names[..4].iter().any(|name| path(name).exists()));
    assert!(path(&names[4]).exists() && path(&replaced.0).exists());
    assert_eq!(store.object("b", "over").unwrap().unwrap().offset, 6);
}

#[test]
fn a_running_store_removes_superseded_blobs_itself() {
    let (log, dir) = (Arc::<Log>::default(), tempfile::tempdir().unwrap());
    let store = open(&log, os(), dir.path(), ALWAYS);
    let first = runtime().block_on(async {
        let mut blob = store.new_blob().await.unwrap().finish().await.unwrap();
        blob.keep();
        log.put_blob("k", &blob.name, blob.crc32c, 0);
        blob.name.clone()
    });
    log.wait_applied();
    log.delete("k");
    let path = dir.path().join("blobs").join(&first[..2]).join(&*first);
    tick_until(&log, || !path.exists());
}

#[test]
fn an_unfinished_or_discarded_blob_leaves_no_file_and_an_orphan_goes_at_start() {
    let (log, dir) = (Arc::<Log>::default(), tempfile::tempdir().unwrap());
    let store = open(&log, os(), dir.path(), ALWAYS);
    let files = || -> usize {
        let folders = std::fs::read_dir(dir.path().join("blobs")).unwrap();
        folders.map(|f| std::fs::read_dir(f.unwrap().path()).unwrap().count()).sum()
    };
    let runtime = runtime();
    runtime.block_on(async {
        drop(store.new_blob().await.unwrap());
        drop(store.new_blob().await.unwrap().finish().await.unwrap());
        let mut orphan = store.new_blob().await.unwrap().finish().await.unwrap();
        orphan.keep();
    });
    // Waits for the removals, which run on the runtime's blocking threads.
    drop(runtime);
    assert_eq!(files(), 1);
    drop(store);
    let _store = open(&log, os(), dir.path(), ALWAYS);
    tick_until(&log, || files() == 0);
}

/// As after a stop whose answers are still being sent: somebody holds the old store while the next one opens.
#[test]
fn a_store_that_stopped_touches_the_index_no_more_whoever_holds_it() {
    let (log, dir) = (Arc::<Log>::default(), tempfile::tempdir().unwrap());
    let old = open(&log, os(), dir.path(), ALWAYS);
    log.put("k", "body");
    log.wait_applied();
    old.stop();
    assert!(matches!(old.object("b", "k"), Err(StoreError::Index(why)) if why.contains("closed")));
    let new = open_only(os(), dir.path(), ALWAYS).unwrap();
    let index = || std::fs::read(dir.path().join("index.redb")).unwrap();
    let before = index();
    drop(old);
    assert!(index() == before, "the old one wrote into the index of the new one");
    assert_eq!(new.object("b", "k").unwrap().unwrap().offset, 1);
}

#[test]
fn an_index_that_is_gone_is_not_made_anew_beside_its_bodies() {
    let (log, dir) = (Arc::<Log>::default(), tempfile::tempdir().unwrap());
    let store = open(&log, os(), dir.path(), NEVER);
    log.put("k", "body");
    log.wait_applied();
    drop(store);
    std::fs::remove_file(dir.path().join("index.redb")).unwrap();
    let error = open_only(os(), dir.path(), NEVER).err().unwrap().to_string();
    assert!(error.contains("index.redb is missing"), "{error}");
}

#[test]
fn an_index_that_was_cut_off_while_it_was_made_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("index.redb.new"), b"half of something").unwrap();
    let store = open(&Arc::default(), os(), dir.path(), NEVER);
    assert_eq!(store.checkpoint_next(), 1);
}

#[test]
fn a_blob_that_lived_within_one_batch_only_goes_too() {
    let (log, dir) = (Arc::<Log>::default(), tempfile::tempdir().unwrap());
    let store = open_only(os(), dir.path(), ALWAYS).unwrap();
    let names: Vec<Arc<str>> = runtime().block_on(async {
        let mut names = Vec::new();
        for _ in 0..2 {
            let mut blob = store.new_blob().await.unwrap().finish().await.unwrap();
            blob.keep();
            log.put_blob("k", &blob.name, blob.crc32c, 0);
            names.push(blob.name.clone());
        }
        names
    });
    let path = |n: usize| dir.path().join("blobs").join(&names[n][..2]).join(&*names[n]);
    // Both are durable when the store starts, so one batch holds both.
    start(&log, &store);
    tick_until(&log, || !path(0).exists());
    assert!(path(1).exists());
}

#[test]
fn a_feed_that_begins_too_early_changes_nothing() {
    let (log, dir) = (Arc::<Log>::default(), tempfile::tempdir().unwrap());
    let store = open(&log, os(), dir.path(), NEVER);
    for n in 0..10 {
        log.put("k", vec![n; 500]);
    }
    log.wait_applied();
    store.stop();
    drop(store);
    let pack = || std::fs::metadata(dir.path().join("packs/00000001.pack")).unwrap().len();
    let before = pack();
    let store = open_only(os(), dir.path(), NEVER).unwrap();
    let all = log.state().entries.iter().map(|s| u64::from(s.charge)).sum();
    log.state().charged = all;
    *log.publisher.lock().unwrap() = Some(store.publisher());
    store.start(Box::new(FakeFeed { log: log.clone(), next: 1 })).unwrap();
    log.put("other", "");
    log.wait_applied();
    assert_eq!((pack(), store.applied_next()), (before, 12));
    assert_eq!(store.object("b", "k").unwrap().unwrap().offset, 10);
}

#[test]
fn the_replay_at_start_does_not_end_at_a_gap() {
    let (log, dir) = (Arc::<Log>::default(), tempfile::tempdir().unwrap());
    log.put("k", "body");
    log.state().gap = true;
    let store = open(&log, os(), dir.path(), NEVER);
    assert_eq!(store.applied_next(), 2);
    assert!(store.object("b", "k").unwrap().is_some());
}

#[test]
fn a_backlog_of_large_bodies_is_not_taken_into_memory_at_once() {
    let (log, dir) = (Arc::<Log>::default(), tempfile::tempdir().unwrap());
    let body = Bytes::from(vec![7; 64 << 10]);
    for n in 0..1100 {
        log.put(&format!("k{n}"), body.clone());
    }
    let _store = open(&log, os(), dir.path(), NEVER);
    let most = log.state().most_given;
    assert!((16 << 20..=32 << 20).contains(&most), "{most} bytes at once");
}

/// What is synced is never written again, not even in the same block.
#[test]
fn bodies_after_a_checkpoint_or_a_start_begin_on_a_fresh_block() {
    let (log, dir) = (Arc::<Log>::default(), tempfile::tempdir().unwrap());
    let at = |store: &EmbeddedStore, key| match store.object("b", key).unwrap().unwrap().place {
        crate::store::Place::Pack { at, .. } => at,
        other => panic!("{other:?}"),
    };
    let store = open(&log, os(), dir.path(), ALWAYS);
    for key in ["one", "two"] {
        let last = log.put(key, "body");
        log.wait_checkpointed(last + 1);
    }
    assert_eq!((at(&store, "one"), at(&store, "two")), (4096, 8192));
    drop(store);
    let store = open(&log, os(), dir.path(), NEVER);
    log.put("three", "body");
    log.wait_applied();
    assert_eq!(at(&store, "three"), 12_288);
}
