//! Full disks, damaged bytes, a queue that cannot go on.

use super::*;
use crate::store::embedded::Status;
use crate::store::embedded::backend::{Backend, Kept};
use crate::store::embedded::row::{self, BodyPlace};
use proptest::prelude::*;

#[test]
fn a_full_disk_stops_nothing_but_applying_and_heals() {
    let (log, dir) = (Arc::<Log>::default(), tempfile::tempdir().unwrap());
    let disk = Arc::new(TestDisk::default());
    let full = disk.full.clone();
    let store = open(&log, disk, dir.path(), ALWAYS);
    for n in 0..500 {
        log.put(&format!("k{n}"), vec![1; 500]);
    }
    log.wait_checkpointed(501);
    full.store(true, Ordering::Release);
    for n in 0..500 {
        log.put(&format!("k{n}"), vec![2; 600]);
    }
    let runtime = runtime();
    let mut status = store.status();
    runtime.block_on(status.wait_for(|s| matches!(s, Status::NoSpace(_)))).unwrap();
    let check = |size| {
        assert_eq!(store.list("b", "", None, 1000).unwrap().len(), 500);
        for n in 0..500 {
            let object = store.object("b", &format!("k{n}")).unwrap().unwrap();
            assert_eq!(runtime.block_on(body(&store, &object)).unwrap().len(), size);
        }
    };
    check(600);
    full.store(false, Ordering::Release);
    log.wait_checkpointed(1001);
    runtime.block_on(status.wait_for(|s| *s == Status::Running)).unwrap();
    check(600);
    drop(store);
    let again = open(&log, os(), dir.path(), NEVER);
    assert_eq!(again.checkpoint_next(), 1001);
    assert_eq!(again.object("b", "k7").unwrap().unwrap().size, 600);
}

/// The disk is full for the index alone: rows without bodies, so that no pack stops the thread first.
#[test]
fn a_checkpoint_on_a_full_disk_waits_and_loses_no_row() {
    let (log, dir) = (Arc::<Log>::default(), tempfile::tempdir().unwrap());
    let disk = Arc::new(TestDisk::default());
    let full = disk.full.clone();
    let store = open(&log, disk, dir.path(), ALWAYS);
    full.store(true, Ordering::Release);
    for n in 0..2000 {
        log.put(&format!("k{n:04}"), "");
    }
    let all = || store.list("b", "", None, 10_000).unwrap().len();
    assert_eq!(all(), 2000);
    full.store(false, Ordering::Release);
    log.wait_checkpointed(2001);
    assert_eq!(all(), 2000);
    // Full again while it stops: it gives up, and the next start applies the rest again.
    full.store(true, Ordering::Release);
    for n in 2000..2100 {
        log.put(&format!("k{n:04}"), "");
    }
    store.stop();
    full.store(false, Ordering::Release);
    drop(store);
    let again = open(&log, os(), dir.path(), NEVER);
    assert_eq!(again.list("b", "", None, 10_000).unwrap().len(), 2100);
}

#[test]
fn damaged_bodies_are_told_from_whole_ones() {
    let (log, dir) = (Arc::<Log>::default(), tempfile::tempdir().unwrap());
    let store = open(&log, os(), dir.path(), NEVER);
    let runtime = runtime();
    log.put("pack", vec![5; 1000]);
    let name = runtime.block_on(async {
        let mut blob = store.new_blob().await.unwrap();
        blob.write(vec![6; 600_000].into()).await.unwrap();
        let mut blob = blob.finish().await.unwrap();
        blob.keep();
        log.put_blob("blob", &blob.name, blob.crc32c, 600_000);
        blob.name.clone()
    });
    log.wait_applied();
    let blob = dir.path().join("blobs").join(&name[..2]).join(&*name);
    flip(&dir.path().join("packs/00000001.pack"), 4096 + 500);
    flip(&blob, 599_000);
    let read = |key| runtime.block_on(body(&store, &store.object("b", key).unwrap().unwrap()));
    assert!(matches!(read("pack"), Err(StoreError::Damaged { .. })));
    assert!(matches!(read("blob"), Err(StoreError::Damaged { .. })));
    std::fs::remove_file(&blob).unwrap();
    assert!(matches!(read("blob"), Err(StoreError::Damaged { .. })));
}

#[test]
fn a_reader_of_a_replaced_object_is_told_to_look_again() {
    let (log, dir) = (Arc::<Log>::default(), tempfile::tempdir().unwrap());
    let store = open(&log, os(), dir.path(), NEVER);
    let runtime = runtime();
    let name = runtime.block_on(async {
        let mut blob = store.new_blob().await.unwrap();
        blob.write(Bytes::from_static(b"old")).await.unwrap();
        let mut blob = blob.finish().await.unwrap();
        blob.keep();
        log.put_blob("k", &blob.name, blob.crc32c, 3);
        blob.name.clone()
    });
    let old = store.object("b", "k").unwrap().unwrap();
    log.put("k", "new");
    std::fs::remove_file(dir.path().join("blobs").join(&name[..2]).join(&*name)).unwrap();
    assert!(matches!(runtime.block_on(body(&store, &old)), Err(StoreError::Gone)));
}

#[test]
fn a_damaged_journal_stalls_the_index_and_reads_go_on() {
    let (log, dir) = (Arc::<Log>::default(), tempfile::tempdir().unwrap());
    log.put("k", "before");
    log.state().stalled = true;
    let store = open(&log, os(), dir.path(), NEVER);
    assert!(matches!(&*store.status().borrow(), Status::Stalled(_)));
    assert!(matches!(store.object("b", "k"), Err(StoreError::Unread)), "it is durable and not applied");
    assert_eq!(store.applied_next(), 1);
    log.state().stalled = false;
    log.wait_applied();
    assert_eq!(store.object("b", "k").unwrap().unwrap().size, 6);
    let runtime = runtime();
    runtime.block_on(store.status().wait_for(|s| *s == Status::Running)).unwrap();
}

/// What a client may be told while a part of the log cannot be read: only what is still so, as far as anybody
/// can know.
#[test]
fn behind_damage_a_start_serves_applied_rows_and_claims_no_absence() {
    let (log, dir) = (Arc::<Log>::default(), tempfile::tempdir().unwrap());
    let bucket = |name: &str| Change::CreateBucket { bucket: name.into(), time_us: 1, owner: "me".into() };
    log.push(bucket("b"), None, Bytes::new());
    log.put("kept", "kept");
    log.put("removed", "old");
    let applied = log.put("replaced", "old");
    let store = open(&log, os(), dir.path(), ALWAYS);
    log.wait_checkpointed(applied + 1);
    store.stop();
    drop(store);
    *log.publisher.lock().unwrap() = None;
    let lost = log.put("lost", "nobody can read this");
    log.put("replaced", "new");
    log.delete("removed");
    log.push(bucket("c"), None, Bytes::new());
    log.state().damaged = Some(lost);

    let store = open(&log, os(), dir.path(), ALWAYS);
    assert!(matches!(&*store.status().borrow(), Status::Stalled(_)));
    assert_eq!(store.object("b", "kept").unwrap().unwrap().size, 4, "applied rows are served");
    for key in ["replaced", "removed", "lost", "never"] {
        assert!(matches!(store.object("b", key), Err(StoreError::Unread)), "{key}");
    }
    assert!(matches!(store.list("b", "", None, 10), Err(StoreError::Unread)), "a list says: nothing else");
    assert!(store.bucket("b").unwrap().is_some());
    assert!(matches!(store.bucket("c"), Err(StoreError::Unread)));
    assert!(matches!(store.buckets(), Err(StoreError::Unread)));

    log.state().damaged = None;
    let mut status = store.status();
    runtime().block_on(status.wait_for(|s| *s == Status::Running)).unwrap();
    log.wait_applied();
    assert_eq!(store.object("b", "replaced").unwrap().unwrap().size, 3);
    assert_eq!(store.object("b", "removed").unwrap().map(|o| o.size), None);
    assert_eq!(store.list("b", "", None, 10).unwrap().len(), 3);
    assert!(store.bucket("c").unwrap().is_some());
}

#[test]
fn an_entry_without_its_body_fails_the_store_instead_of_making_a_row() {
    let (log, dir) = (Arc::<Log>::default(), tempfile::tempdir().unwrap());
    let store = open(&log, os(), dir.path(), NEVER);
    let (change, event, _) = put_of("k", &"body".into());
    log.push(change, event, Bytes::new());
    let runtime = runtime();
    runtime.block_on(store.status().wait_for(|s| matches!(s, Status::Failed(_)))).unwrap();
    assert_eq!(store.applied_next(), 1);
}

#[test]
fn a_pack_of_a_newer_version_is_refused_with_a_sentence() {
    let (log, dir) = (Arc::<Log>::default(), tempfile::tempdir().unwrap());
    let store = open(&log, os(), dir.path(), NEVER);
    log.put("k", "body");
    log.wait_applied();
    drop(store);
    flip(&dir.path().join("packs/00000001.pack"), 9);
    let store = open(&log, os(), dir.path(), NEVER);
    let error = runtime().block_on(body(&store, &store.object("b", "k").unwrap().unwrap())).unwrap_err();
    assert!(error.to_string().contains("this program reads 1"), "{error}");
}

fn flip(path: &Path, at: u64) {
    let file = OsDisk.open(path).unwrap();
    let mut byte = [0];
    file.read_at(&mut byte, at).unwrap();
    file.write_at(&[!byte[0]], at).unwrap();
}

fn some_row() -> (Vec<u8>, Vec<u8>) {
    let (change, event, body) = put_of("key", &"body".into());
    let position = Position { epoch: 1, offset: 9 };
    let entry = Entry { change, event, deliveries: Vec::new(), shed: Vec::new() };
    let stored = Stored { position, entry, body, bare: 0, charge: 0 };
    let (mut key, mut out) = (Vec::new(), Vec::new());
    row::object_key(&mut key, "b", "key");
    row::put_object(&mut out, &key, &stored, BodyPlace::Pack { pack: 3, at: 4096, crc32c: 1 });
    (key, out)
}

#[test]
fn a_row_gives_back_what_was_put_in() {
    let (key, bytes) = some_row();
    let object = row::object(&"b".into(), &key, &bytes).unwrap();
    assert_eq!((&*object.key, object.size, object.offset), ("key", 4, 9));
    assert_eq!(&*object.etag, "00112233445566778899aabbccddeeff");
    assert_eq!(object.meta.headers, [("content-type".into(), "text/plain".into())]);
    assert_eq!(object.meta.crc64, 7);
    assert_eq!(object.place, crate::store::Place::Pack { pack: 3, at: 4096 });
    assert!(row::object(&"b".into(), b"b\0other", &bytes).is_err(), "a row under another key");
}

/// One step on the index's file.
#[derive(Debug, Clone)]
enum FileOp {
    Write(u64, usize),
    Full(bool),
    Resize(u64),
    Sync,
    Relieve,
}

fn file_op() -> impl Strategy<Value = FileOp> {
    prop_oneof![
        6 => (0..40_u64, 1..200_usize).prop_map(|(at, len)| FileOp::Write(at * 16, len)),
        2 => any::<bool>().prop_map(FileOp::Full),
        1 => (0..900_u64).prop_map(FileOp::Resize),
        1 => Just(FileOp::Sync),
        1 => Just(FileOp::Relieve),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a full disk refuses, reads see every write, and after it healed the file has them all.
    #[test]
    fn the_index_file_shows_what_plain_memory_shows(ops in prop::collection::vec(file_op(), 1..60)) {
        use redb::StorageBackend as _;
        let (dir, disk) = (tempfile::tempdir().unwrap(), TestDisk::default());
        let file = disk.create(&dir.path().join("f")).unwrap();
        let kept = Arc::new(Kept::default());
        let backend = Backend::new(file.clone(), kept.clone());
        let mut model = vec![0; 1000];
        backend.set_len(1000).unwrap();
        for (n, op) in ops.iter().enumerate() {
            match op {
                FileOp::Write(at, len) => {
                    let end = (*at as usize + len).min(model.len());
                    let from = (*at as usize).min(end);
                    model[from..end].fill(n as u8 + 1);
                    if from < end {
                        backend.write(from as u64, &model[from..end]).unwrap();
                    }
                }
                FileOp::Full(full) => disk.full.store(*full, Ordering::Release),
                FileOp::Resize(len) => {
                    model.resize(*len as usize, 0);
                    backend.set_len(*len).unwrap();
                }
                FileOp::Sync => backend.sync_data().unwrap(),
                FileOp::Relieve => drop(Backend::drain(&*file, &kept)),
            }
            let mut seen = vec![0; model.len()];
            backend.read(0, &mut seen).unwrap();
            prop_assert_eq!(&seen, &model);
        }
        disk.full.store(false, Ordering::Release);
        backend.sync_data().unwrap();
        let mut seen = vec![0; model.len()];
        crate::journal::disk::read_exact_at(&*file, &mut seen, 0).unwrap();
        prop_assert_eq!(&seen, &model);
    }

    #[test]
    fn no_changed_bit_of_a_row_goes_unseen(at in any::<prop::sample::Index>(), bit in 0..8) {
        let (key, mut bytes) = some_row();
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        prop_assert!(row::object(&"b".into(), &key, &bytes).is_err());
    }

    #[test]
    fn no_bytes_at_all_make_decoding_panic(
        mut bytes in prop::collection::vec(any::<u8>(), 0..120),
        version in any::<bool>(),
    ) {
        if version && bytes.len() > 8 {
            // With a right version and checksum, so that what lies between is decoded too.
            bytes[0] = 1;
            let end = bytes.len() - 4;
            let crc = crc32c(&bytes[..end]) ^ crc32c(b"b\0k").rotate_left(1);
            bytes[end..].copy_from_slice(&crc.to_le_bytes());
        }
        let _ = row::object(&"b".into(), b"b\0k", &bytes);
        let _ = super::super::buckets::bucket(b"b\0k", &bytes);
        let _ = super::super::targets::target(b"b\0k", &bytes);
        let _ = row::body(b"b\0k", &bytes);
    }
}
