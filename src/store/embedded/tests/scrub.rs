//! The background scrub finds what is damaged, names it, forgets what is gone, goes on after a restart.

use super::*;
use crate::store::embedded::index::{Reads, Space};
use crate::store::{FindingKind, ScrubStatus};

fn open_scrubbing(log: &Arc<Log>, dir: &Path, rate: u64) -> Arc<EmbeddedStore> {
    let config = crate::config::Store { scrub_rate: rate, ..config(NEVER) };
    let tuning = Tuning { pack_bytes: 64 << 10, linger: Duration::ZERO };
    let store = EmbeddedStore::open_with(os(), dir, &config, tuning).unwrap();
    start(log, &store);
    store
}

fn wait(store: &EmbeddedStore, done: impl Fn(&ScrubStatus) -> bool) -> ScrubStatus {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let status = store.scrub();
        if done(&status) {
            return status;
        }
        assert!(Instant::now() < deadline, "{status:?}");
        std::thread::yield_now();
    }
}

/// 200 small objects and a blob, applied and closed; gives the blob's name.
fn closed(log: &Arc<Log>, dir: &Path) -> Arc<str> {
    let store = open(log, os(), dir, NEVER);
    for n in 0..200_u8 {
        log.put(&format!("k{n:03}"), vec![n; 1000]);
    }
    let (name, crc) = runtime().block_on(async {
        let mut writer = store.new_blob().await.unwrap();
        writer.write(vec![5; 700_000].into()).await.unwrap();
        let mut handle = writer.finish().await.unwrap();
        handle.keep();
        (handle.name.clone(), handle.crc32c)
    });
    log.put_blob("large", &name, crc, 700_000);
    log.wait_applied();
    name
}

fn flip(path: &Path, at: u64) {
    let file = OsDisk.open(path).unwrap();
    let mut byte = [0];
    crate::journal::disk::read_exact_at(&*file, &mut byte, at).unwrap();
    file.write_at(&[byte[0] ^ 1], at).unwrap();
}

#[test]
fn damage_is_found_named_and_forgotten_once_it_is_replaced() {
    let (log, dir) = (Arc::<Log>::default(), tempfile::tempdir().unwrap());
    let blob = closed(&log, dir.path());
    let store = open_scrubbing(&log, dir.path(), 1 << 40);
    let status = wait(&store, |s| s.passes == 1);
    assert_eq!((status.damaged, status.damage), (0, Vec::new()));
    assert_eq!(status.bytes, 200 * 1000 + 700_000);
    drop(store);
    flip(&dir.path().join("packs/00000001.pack"), 4096 + 5_500);
    flip(&dir.path().join("blobs").join(&blob[..2]).join(&*blob), 64 + 300_000);
    let store = open_scrubbing(&log, dir.path(), 1 << 40);
    let status = wait(&store, |s| s.passes == 1);
    let mut named: Vec<_> = status.damage.iter().map(|f| (f.key.clone().unwrap(), f.kind)).collect();
    named.sort_by(|a, b| a.0.cmp(&b.0));
    let wanted = [("k005", FindingKind::Body), ("large", FindingKind::Body)];
    assert_eq!(named, wanted.map(|(key, kind)| (key.to_owned(), kind)));
    // A later look at a key that was put again finds it sound, and one at a removed key finds nothing.
    log.put("k005", vec![5; 10]);
    log.delete("large");
    log.wait_applied();
    crate::store::embedded::scrub::again(&store.shared);
    assert_eq!(wait(&store, |s| s.passes == 2).damaged, 0);
}

#[test]
fn a_restart_goes_on_where_it_was() {
    let (log, dir) = (Arc::<Log>::default(), tempfile::tempdir().unwrap());
    closed(&log, dir.path());
    // About 100 rows a second: it is somewhere in the middle when it is stopped.
    let store = open_scrubbing(&log, dir.path(), 150_000);
    wait(&store, |s| s.bytes >= 5_000);
    store.stop();
    let read = store.scrub().bytes;
    assert!(read < 200_000, "{read}");
    drop(store);
    let store = open_only(os(), dir.path(), NEVER).unwrap();
    let row = store.shared.index.get(Space::Meta, b"scrub").unwrap().unwrap();
    // The first byte is the number of the row's space.
    assert!(row[1..].starts_with(b"b\0k0"), "{row:?}");
    drop(store);
    let store = open_scrubbing(&log, dir.path(), 1 << 40);
    let status = wait(&store, |s| s.passes == 1);
    assert_eq!(status.bytes, 900_000 - read, "it began anew");
}

#[test]
fn with_a_rate_of_nothing_nothing_is_read() {
    let (log, dir) = (Arc::<Log>::default(), tempfile::tempdir().unwrap());
    closed(&log, dir.path());
    let store = open_scrubbing(&log, dir.path(), 0);
    store.stop();
    assert_eq!(store.scrub(), ScrubStatus::default());
}
