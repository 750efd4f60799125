//! Every change round trips, and no input panics.

use super::super::restore::{Restore, RestoreChange, Tier};
use super::super::setting::Setting;
use super::super::tags::ObjectTags;
use super::super::upload::{NewPart, NewUpload, PartChecksum, UploadChange};
use super::*;
use proptest::prelude::*;

fn event(key: &str) -> Event {
    Event {
        id: Uuid::from_u128(7),
        kind: EventKind::CreatedPut,
        time_us: 1_700_000_000_000_001,
        bucket: "photos".into(),
        key: key.into(),
        version: None,
        size: 1 << 40,
        etag: "d41d8cd98f00b204e9800998ecf8427e".into(),
        request: RequestInfo {
            id: "ABC".into(),
            source_ip: Some([127, 0, 0, 1].into()),
            principal: "TDKEY".into(),
            hops: 3,
        },
    }
}

fn entries() -> Vec<Entry> {
    let meta = ObjectMeta {
        body: BodyRef::Blob { name: "00ff".into(), crc32c: 9 },
        crc64: u64::MAX,
        headers: vec![
            ("content-type".into(), "text/plain".into()),
            ("x-amz-meta-a".into(), String::new().into()),
        ],
    };
    let to = |n, rule: &str| DeliveryTo { target: TargetNo(n), rule: rule.into() };
    let plain = |change| Entry { change, event: None, deliveries: vec![], shed: vec![] };
    vec![
        Entry {
            change: Change::PutObject(meta),
            event: Some(event("a/b c")),
            deliveries: vec![to(1, "orders-1"), to(9, "audit-2")],
            shed: vec![],
        },
        Entry {
            change: Change::PutObject(ObjectMeta {
                body: BodyRef::Inline { crc32c: 5 },
                ..Default::default()
            }),
            event: Some(Event { version: Some(Version::Own), ..event("k") }),
            deliveries: vec![to(2, "b")],
            shed: vec![to(1, "a"), to(3, "c")],
        },
        Entry {
            change: Change::DeleteObject,
            event: Some(event("\u{1}\n../é")),
            deliveries: vec![],
            shed: vec![],
        },
        Entry {
            change: Change::Notice,
            event: Some(Event { kind: EventKind::Test, ..event("") }),
            deliveries: vec![to(4, "from the bucket")],
            shed: vec![],
        },
        plain(Change::CreateBucket { bucket: "b".into(), time_us: -1, owner: "me".into() }),
        plain(Change::DeleteBucket { bucket: "b".into() }),
        plain(Change::SetBucketSetting {
            bucket: "b".into(),
            setting: Setting::Quota,
            value: Some("7".into()),
        }),
        plain(Change::SetBucketSetting { bucket: "b".into(), setting: Setting::Versioning, value: None }),
        plain(Change::TagObject(Arc::new(ObjectTags {
            bucket: "b".into(),
            key: "k/ä".into(),
            of: u64::MAX,
            tags: "a=1&b=".into(),
        }))),
        plain(Change::RegisterTarget { target: TargetNo(3), name: "orders".into(), kind: "kafka".into() }),
        plain(Change::PauseTarget { target: TargetNo(3), paused: Pause::Operator }),
        plain(Change::PauseTarget { target: TargetNo(3), paused: Pause::Gone }),
        plain(Change::ConfigureTarget {
            target: TargetNo(3),
            kind: "http".into(),
            budget: Budget { max_backlog: 1 << 40, when_full: WhenFull::Shed },
        }),
        plain(Change::ForgetTarget { target: TargetNo(3), unsettled: u64::MAX }),
    ]
}

fn entries_of_restores() -> Vec<Entry> {
    let at = VersionId::At(Position { epoch: 3, offset: 9 });
    let running = Restore {
        version: VersionId::Null,
        class: "ARCHIVE".into(),
        tier: Tier::Bulk,
        days: 7,
        asked_us: -1,
        ready_us: i64::MAX,
        expires_us: None,
        request: RequestInfo { id: "ABC".into(), source_ip: None, principal: "TDKEY".into(), hops: 0 },
    };
    let change = |was_due_us, now| {
        let (bucket, key) = ("photos".into(), "k/\u{e4}".into());
        let headers = vec![("content-type".into(), "image/jpeg".into())];
        Change::Restore(Arc::new(RestoreChange { bucket, key, of: u64::MAX, was_due_us, now, headers }))
    };
    let done = Restore { version: at, expires_us: Some(0), request: event("k").request, ..running.clone() };
    let posted = Event { kind: EventKind::RestorePost, ..event("k/\u{e4}") };
    let completed =
        Event { kind: EventKind::RestoreCompleted, version: Some(Version::Named(at)), ..event("k/\u{e4}") };
    let to = vec![DeliveryTo { target: TargetNo(1), rule: "r".into() }];
    vec![
        Entry { change: change(None, Some(running)), event: Some(posted), deliveries: to, shed: vec![] },
        Entry {
            change: change(Some(5), Some(done.clone())),
            event: Some(completed),
            deliveries: vec![],
            shed: vec![],
        },
        Entry::setting(change(Some(5), Some(done))),
        Entry::setting(change(Some(i64::MIN), None)),
    ]
}

fn entries_of_uploads() -> Vec<Entry> {
    let plain = |change| Entry { change, event: None, deliveries: vec![], shed: vec![] };
    let to = |n, rule: &str| DeliveryTo { target: TargetNo(n), rule: rule.into() };
    vec![
        Entry {
            change: Change::DeleteObject,
            event: Some(Event { version: Some(Version::NULL), ..event("k") }),
            deliveries: vec![],
            shed: vec![],
        },
        Entry {
            change: Change::DeleteObject,
            event: Some(Event {
                version: Some(Version::Named(VersionId::At(Position { epoch: 3, offset: u64::MAX }))),
                ..event("k")
            }),
            deliveries: vec![],
            shed: vec![],
        },
        Entry {
            change: Change::CompleteUpload {
                upload: UploadId([5; 16]),
                meta: ObjectMeta {
                    body: BodyRef::Manifest { crc32c: 9, bytes: 300_001, parts: 10_000 },
                    ..Default::default()
                },
            },
            event: Some(event("k")),
            deliveries: vec![to(1, "orders-1")],
            shed: vec![],
        },
        plain(Change::Upload(UploadChange::Begin(Arc::new(NewUpload {
            id: UploadId([5; 16]),
            bucket: "b".into(),
            key: "k".into(),
            time_us: 7,
            owner: "me".into(),
            headers: vec![("content-type".into(), "text/plain".into())],
            checksum: Some(PartChecksum { header: "x-amz-checksum-crc32".into(), composite: true }),
        })))),
        plain(Change::Upload(UploadChange::Part(Arc::new(NewPart {
            upload: UploadId([5; 16]),
            number: 10_000,
            size: 5 << 30,
            md5: [1; 16],
            crc64: 2,
            time_us: 3,
            sum: Some(("x-amz-checksum-crc32".into(), "AAAAAA==".into())),
            blob: [4; 16],
            crc32c: 5,
        })))),
        plain(Change::Upload(UploadChange::End(UploadId([5; 16])))),
    ]
}

fn all_entries() -> Vec<Entry> {
    [entries(), entries_of_uploads(), entries_of_restores()].concat()
}

fn bytes(entry: &Entry) -> (Vec<u8>, Vec<u32>) {
    let mut out = Vec::new();
    encode(entry, &mut out);
    (out, labels(entry))
}

#[test]
fn every_change_round_trips() {
    for entry in all_entries() {
        let (out, labels) = bytes(&entry);
        assert_eq!(decode(&out, labels.into_iter()), Ok(entry));
    }
}

#[test]
fn a_newer_required_field_is_refused_and_an_optional_one_skipped() {
    let (mut out, labels) = bytes(&entries()[0]);
    out.extend_from_slice(&[200, 2, 1, 1]);
    assert!(decode(&out, labels.iter().copied()).is_ok());
    out.extend_from_slice(&[99, 0]);
    assert_eq!(decode(&out, labels.iter().copied()), Err(DecodeError::Newer(99)));
}

#[test]
fn labels_and_rules_must_match() {
    let (out, _) = bytes(&entries()[0]);
    assert!(decode(&out, [1].into_iter()).is_err());
    assert!(decode(&out, [1, 2, 3].into_iter()).is_err());
}

proptest! {
    #[test]
    fn no_input_panics(which: usize, cut in 0..400_usize, at in 0..400_usize, to: u8) {
        let entries = all_entries();
        let (mut out, labels) = bytes(&entries[which % entries.len()]);
        out.truncate(cut.max(1));
        let n = out.len();
        out[at % n] = to;
        let _ = decode(&out, labels.into_iter());
        let _ = decode_object(&out);
    }
}
