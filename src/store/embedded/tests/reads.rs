//! Reads between overlay and index, settings, lists and ranges.

use std::thread;

use super::*;
use crate::config::{Budget, WhenFull};
use crate::queue::{Pause, Setting, TargetNo};

fn store() -> (Arc<Log>, Arc<EmbeddedStore>, tempfile::TempDir) {
    let (log, dir) = (Arc::<Log>::default(), tempfile::tempdir().unwrap());
    let store = open(&log, os(), dir.path(), NEVER);
    (log, store, dir)
}

/// Every reader sees at least the version that was durable when it began, while entries move into the index.
#[test]
fn a_read_never_goes_back_while_entries_leave_the_overlay() {
    let (log, store, _dir) = store();
    let durable = std::sync::atomic::AtomicU64::new(0);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for reader in 0..2 {
            let (store, durable, done) = (&store, &durable, &done);
            scope.spawn(move || {
                while !done.load(Ordering::Acquire) {
                    let least = durable.load(Ordering::Acquire);
                    let seen = if reader == 0 {
                        store.object("b", "k").unwrap().map_or(0, |o| o.offset)
                    } else {
                        store.list("b", "k", None, 1).unwrap().first().map_or(0, |o| o.offset)
                    };
                    assert!(seen >= least, "saw {seen}, {least} was durable");
                }
            });
        }
        for _ in 0..20_000 {
            durable.store(log.put("k", "x"), Ordering::Release);
        }
        log.wait_applied();
        done.store(true, Ordering::Release);
    });
    assert_eq!(store.applied_next(), 20_001);
}

#[test]
fn lists_hide_more_deletes_than_one_round_takes() {
    let (log, store, _dir) = store();
    for n in 0..300 {
        log.put(&format!("k{n:03}"), "x");
    }
    log.wait_applied();
    // The index thread cannot take these away while the queue gives it nothing.
    log.state().stalled = true;
    for n in 0..299 {
        log.delete(&format!("k{n:03}"));
    }
    let keys = |max| -> Vec<String> {
        store.list("b", "k", None, max).unwrap().iter().map(|o| o.key.to_string()).collect()
    };
    assert_eq!(keys(1), ["k299"]);
    assert_eq!(keys(10), ["k299"]);
    log.state().stalled = false;
    log.wait_applied();
    assert_eq!(keys(10), ["k299"]);
}

#[test]
fn lists_keep_to_their_bucket_prefix_and_start() {
    let (log, store, _dir) = store();
    for key in ["a", "a/1", "a/2", "a0", "b", "\u{10ffff}", "\u{10ffff}z"] {
        log.put(key, "x");
    }
    let mut other = put_of("a/3", &"x".into());
    other.1.as_mut().unwrap().bucket = "b2".into();
    log.push(other.0, other.1, other.2);
    for _ in 0..2 {
        let keys = |prefix, after| -> Vec<String> {
            store.list("b", prefix, after, 100).unwrap().iter().map(|o| o.key.to_string()).collect()
        };
        assert_eq!(keys("a/", None), ["a/1", "a/2"]);
        assert_eq!(keys("a/", Some("a/1")), ["a/2"]);
        assert_eq!(keys("a/", Some("A")), ["a/1", "a/2"]);
        assert_eq!(keys("a/", Some("z")), [""; 0]);
        assert_eq!(keys("", Some("b")), ["\u{10ffff}", "\u{10ffff}z"]);
        assert_eq!(keys("\u{10ffff}", None), ["\u{10ffff}", "\u{10ffff}z"]);
        assert!(store.list("nowhere", "", None, 1).unwrap().is_empty());
        assert!(store.list("b", "", None, 0).unwrap().is_empty());
        log.wait_applied();
    }
}

#[test]
fn buckets_and_targets_are_the_same_in_overlay_index_and_after_a_restart() {
    let (log, store, dir) = store();
    let bucket = |name: &str| Change::CreateBucket { bucket: name.into(), time_us: 5, owner: "me".into() };
    const SHEDS: Budget = Budget { max_backlog: 1 << 20, when_full: WhenFull::Shed };
    let set = |change| log.push(change, None, Bytes::new());
    let check = |store: &EmbeddedStore| {
        let names: Vec<_> = store.buckets().unwrap().iter().map(|b| b.name.to_string()).collect();
        assert_eq!(names, ["one", "three"]);
        assert_eq!(store.bucket("one").unwrap().map(|b| (b.created_us, b.owner)), Some((5, "me".into())));
        assert_eq!(store.bucket("two").unwrap(), None);
        let settings = |name: &str| {
            let bucket = store.bucket(name).unwrap().unwrap();
            assert!(store.buckets().unwrap().contains(&bucket));
            bucket.settings().map(|(s, v)| (s, v.len())).collect::<Vec<_>>()
        };
        assert_eq!(settings("one"), [(Setting::Versioning, 2), (Setting::Cors, 9_000)]);
        assert_eq!(settings("three"), [(Setting::Quota, 1)]);
        let targets = store.targets().unwrap();
        let rows: Vec<_> = targets.iter().map(|t| (t.target.0, &*t.name, t.since, t.paused)).collect();
        assert_eq!(rows, [(1, "orders", 7, Pause::Gone), (2, "audit", 9, Pause::No)]);
        let kept: Vec<_> = targets.iter().map(|t| (&*t.kind, t.budget, t.forgotten)).collect();
        assert_eq!(kept, [("kafka", Budget::default(), Some(7)), ("http", SHEDS, None)]);
    };
    set(bucket("one"));
    set(bucket("two"));
    set(bucket("three"));
    let setting = |name: &str, setting, value: Option<Bytes>| {
        set(Change::SetBucketSetting { bucket: name.into(), setting, value });
    };
    setting("one", Setting::Tagging, Some("t".into()));
    setting("one", Setting::Versioning, Some("1".into()));
    setting("three", Setting::Tagging, Some("of the one before".into()));
    let register = |n, name: &str| Change::RegisterTarget {
        target: TargetNo(n),
        name: name.into(),
        kind: "kafka".into(),
    };
    set(register(1, "orders"));
    log.wait_applied();
    set(Change::PauseTarget { target: TargetNo(1), paused: Pause::Gone });
    set(register(2, "audit"));
    set(Change::ConfigureTarget { target: TargetNo(2), kind: "http".into(), budget: SHEDS });
    set(Change::DeleteBucket { bucket: "two".into() });
    set(Change::DeleteBucket { bucket: "three".into() });
    setting("one", Setting::Versioning, Some("no".into()));
    setting("one", Setting::Cors, Some(vec![0; 9_000].into()));
    setting("one", Setting::Tagging, None);
    set(Change::PauseTarget { target: TargetNo(2), paused: Pause::Operator });
    set(bucket("three"));
    setting("three", Setting::Quota, Some("7".into()));
    set(Change::PauseTarget { target: TargetNo(2), paused: Pause::No });
    set(Change::ForgetTarget { target: TargetNo(1), unsettled: 7 });
    check(&store);
    log.wait_applied();
    check(&store);
    drop(store);
    check(&open(&log, os(), dir.path(), NEVER));
}

#[test]
fn a_range_gives_exactly_its_bytes_wherever_the_body_is() {
    let (log, store, _dir) = store();
    let bytes: Vec<u8> = (0..300_000_u32).map(|n| n as u8 ^ (n >> 8) as u8).collect();
    log.put("small", bytes[..1000].to_vec());
    runtime().block_on(async {
        let mut blob = store.new_blob().await.unwrap();
        for run in bytes.chunks(7001) {
            blob.write(Bytes::copy_from_slice(run)).await.unwrap();
        }
        let mut blob = blob.finish().await.unwrap();
        blob.keep();
        log.put_blob("large", &blob.name, blob.crc32c, bytes.len() as u64);
        for _ in 0..2 {
            let small = store.object("b", "small").unwrap().unwrap();
            let large = store.object("b", "large").unwrap().unwrap();
            assert_eq!(body(&store, &small).await.unwrap(), bytes[..1000]);
            assert_eq!(part(&store, &small, 10..20).await.unwrap(), bytes[10..20]);
            assert!(part(&store, &small, 5..5).await.unwrap().is_empty());
            assert!(part(&store, &small, 0..1001).await.is_err());
            assert_eq!(body(&store, &large).await.unwrap(), bytes);
            assert_eq!(part(&store, &large, 262_143..262_145).await.unwrap(), bytes[262_143..262_145]);
            log.wait_applied();
        }
    });
}
