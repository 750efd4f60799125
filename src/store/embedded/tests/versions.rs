//! Versions where many of them meet: pages, and changes of which only some are applied.

use super::super::versions::{Current, Pending};
use super::*;
use crate::event::{Version, VersionId};
use crate::store::VersionsAfter;

fn put_version(log: &Log, key: &str, n: usize) -> u64 {
    let (change, event, body) = put_of(key, &Bytes::from(n.to_string()));
    let event = event.map(|event| Event { version: Some(Version::Own), ..event });
    log.push(change, event, body)
}

fn hide(log: &Log, key: &str) -> u64 {
    let event = Event { version: Some(Version::Own), ..event(EventKind::RemovedMarker, key, 0) };
    log.push(Change::DeleteObject, Some(event), Bytes::new())
}

fn at(offset: u64) -> VersionId {
    VersionId::At(Position { epoch: 1, offset })
}

/// More versions of a key, and more keys, than one round of a list takes of any table.
#[test]
fn pages_of_many_versions_skip_and_repeat_none() {
    let (log, dir) = (Arc::<Log>::default(), tempfile::tempdir().unwrap());
    let store = open(&log, os(), dir.path(), NEVER);
    let mut wanted = Vec::new();
    for (round, keys) in [["a", "b", "b0"], ["b1", "b2", "c"]].iter().enumerate() {
        for key in keys {
            let mut of_key: Vec<_> = (0..150).map(|n| put_version(&log, key, n)).collect();
            if *key == "b" {
                of_key.push(hide(&log, key));
            }
            of_key.reverse();
            wanted.extend(of_key.iter().map(|offset| (*key, *offset, *offset == of_key[0])));
        }
        if round == 0 {
            log.wait_applied();
        }
    }
    for applied in [false, true] {
        if applied {
            log.wait_applied();
        }
        for max in [7, 64, 149, 150, 151, 1000] {
            let (mut all, mut after) = (Vec::new(), None);
            loop {
                let page = store.versions("b", "", after.as_ref(), max).unwrap();
                all.extend(page.iter().map(|v| (v.object.key.to_string(), v.object.offset, v.latest)));
                let Some(last) = page.last().filter(|_| page.len() == max) else { break };
                let (key, offset) = (last.object.key.clone(), Some(last.object.offset));
                after = Some(VersionsAfter { key, offset });
            }
            let all: Vec<_> = all.iter().map(|(key, offset, latest)| (&**key, *offset, *latest)).collect();
            assert!(all == wanted, "pages of {max}");
        }
    }
}

/// A list that goes on behind a version which is gone meanwhile, as is the one before it.
#[test]
fn the_newest_of_a_key_is_known_where_a_list_goes_on() {
    let (log, dir) = (Arc::<Log>::default(), tempfile::tempdir().unwrap());
    let store = open(&log, os(), dir.path(), NEVER);
    let offsets: Vec<_> = (0..4).map(|n| put_version(&log, "k", n)).collect();
    let marker = hide(&log, "k");
    log.wait_applied();
    for gone in &offsets[2..] {
        let version = Some(Version::Named(at(*gone)));
        let event = Event { version, ..event(EventKind::RemovedDelete, "k", 0) };
        log.push(Change::DeleteObject, Some(event), Bytes::new());
    }
    log.wait_applied();
    let after = VersionsAfter { key: "k".into(), offset: Some(offsets[2]) };
    let page = store.versions("b", "", Some(&after), 10).unwrap();
    let found: Vec<_> = page.iter().map(|v| (v.object.offset, v.latest)).collect();
    assert_eq!(found, [(offsets[1], false), (offsets[0], false)]);
    assert!(store.version("b", "k", None).unwrap().is_some_and(|v| v.marker && v.object.offset == marker));
}

#[test]
fn a_change_counts_until_it_is_applied_itself() {
    let log = Log::default();
    put_version(&log, "k", 0);
    hide(&log, "k");
    let version = Some(Version::Named(at(2)));
    let event = Event { version, ..event(EventKind::RemovedDelete, "k", 0) };
    log.push(Change::DeleteObject, Some(event), Bytes::new());
    let entries = log.state().entries.clone();
    let mut pending = Pending::new(&entries[0]);
    pending.add(&entries[1]);
    assert!(matches!(pending.current(), Current::Nothing));
    pending.add(&entries[2]);
    assert!(matches!(pending.current(), Current::Is(stored) if stored.position.offset == 1));
    assert!(!pending.forget(1));
    assert!(matches!(pending.current(), Current::Older), "the first one is in the index");
    let delta = pending.delta(2);
    assert_eq!((delta.added.len(), delta.dropped.len(), delta.removed.len()), (0, 1, 0), "{delta:?}");
    let delta = pending.delta(3);
    assert_eq!((delta.added.len(), delta.removed), (0, vec![Position { epoch: 1, offset: 2 }]));
    assert!(!pending.forget(2));
    assert!(pending.forget(3));
}

/// What the versions of a key are, the newest first: name, whether it is a marker.
fn versions_of(store: &EmbeddedStore, key: &str) -> Vec<(VersionId, bool)> {
    let all = store.versions("b", key, None, 100).unwrap();
    for version in &all {
        let id = version.object.version;
        let found = store.version("b", key, Some(id)).unwrap().expect("each is found by its name");
        assert_eq!((found.object.offset, found.latest), (version.object.offset, version.latest), "{id}");
    }
    all.iter().map(|version| (version.object.version, version.marker)).collect()
}

/// Versions whose names are from another server's log stand where they were made here, are found and go by
/// their names, in the overlay and in the index, and after the store was opened again.
#[test]
fn a_version_that_another_server_named_is_found_and_goes_by_that_name() {
    let (log, dir) = (Arc::<Log>::default(), tempfile::tempdir().unwrap());
    let mut store = open(&log, os(), dir.path(), NEVER);
    let elsewhere = |offset| VersionId::At(Position { epoch: 77, offset });
    let named = |id| Some(Version::Named(id));
    let put = |id| {
        let (change, event, body) = put_of("k", &Bytes::from_static(b"replica"));
        log.push(change, event.map(|event| Event { version: named(id), ..event }), body)
    };
    let remove = |id| {
        let event = Event { version: named(id), ..event(EventKind::RemovedDelete, "k", 0) };
        log.push(Change::DeleteObject, Some(event), Bytes::new())
    };
    let first = put_version(&log, "k", 1);
    // One has the offset of a version of our own, which is another one all the same.
    put(elsewhere(first));
    let marker = Event { version: named(elsewhere(9_000)), ..event(EventKind::RemovedMarker, "k", 0) };
    log.push(Change::DeleteObject, Some(marker), Bytes::new());
    put(elsewhere(2));
    let all =
        [(elsewhere(2), false), (elsewhere(9_000), true), (elsewhere(first), false), (at(first), false)];
    assert_eq!(versions_of(&store, "k"), all, "not applied");
    log.wait_applied();
    assert_eq!(versions_of(&store, "k"), all, "applied");
    drop(store);
    store = open(&log, os(), dir.path(), NEVER);
    assert_eq!(versions_of(&store, "k"), all, "opened again");

    // The current one, so that a marker hides the rest; the marker; and one of two with the same offset.
    for (gone, left) in
        [(elsewhere(2), &all[1..]), (elsewhere(9_000), &all[2..]), (elsewhere(first), &all[3..])]
    {
        remove(gone);
        assert_eq!(versions_of(&store, "k"), left, "{gone}: not applied");
        log.wait_applied();
        assert_eq!(versions_of(&store, "k"), left, "{gone}: applied");
        assert!(store.version("b", "k", Some(gone)).unwrap().is_none());
    }
    remove(at(first));
    log.wait_applied();
    assert!(versions_of(&store, "k").is_empty());
    put(elsewhere(2));
    log.wait_applied();
    assert_eq!(versions_of(&store, "k"), [(elsewhere(2), false)], "its name was free again");
}
