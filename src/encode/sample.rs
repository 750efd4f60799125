//! Sample entries: one plausible event of each kind, for `tidings event sample`, function templates and
//! golden files.
//!
//! Must never use the clock or randomness: the same arguments give the same entry.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use uuid::Uuid;

use crate::event::{Event, EventKind, Position, RequestInfo, Version, VersionId};
use crate::queue::{Change, Entry, ObjectMeta, Restore, RestoreChange, Stored, Tier};

/// 2026-01-02T03:04:05.678Z
const TIME_US: i64 = 1_767_323_045_678_000;
/// 2026-01-04T00:00:00Z
const EXPIRES_US: i64 = 1_767_484_800_000_000;

/// The version 7 id of that millisecond, with its random bits fixed.
const ID: u128 = 0x019b_7ca9_8f2e_7a10_8123_4567_89ab_cdef;

/// A sample entry of `kind` for one object. Delete markers and replicas carry a version, since they exist
/// only in versioned buckets.
pub fn sample(kind: EventKind, bucket: &str, key: &str) -> Stored {
    let removal = kind.is_removal();
    let version = match kind {
        EventKind::RemovedMarker => Some(Version::Own),
        EventKind::CreatedReplication => {
            Some(Version::Named(VersionId::At(Position { epoch: 7, offset: 42 })))
        }
        _ => None,
    };
    let event = Event {
        id: Uuid::from_u128(ID),
        kind,
        time_us: TIME_US,
        bucket: bucket.into(),
        key: key.into(),
        version,
        size: if removal { 0 } else { 1024 },
        etag: if removal { "" } else { "d41d8cd98f00b204e9800998ecf8427e" }.into(),
        request: RequestInfo {
            id: "TDNG0123456789AB".into(),
            source_ip: Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10))),
            principal: "AKIDEXAMPLE".into(),
            hops: 0,
        },
    };
    let headers =
        vec![("content-type".into(), "image/jpeg".into()), ("x-amz-meta-mykey".into(), "myvalue".into())];
    let change = match kind {
        _ if removal => Change::DeleteObject,
        EventKind::RestorePost | EventKind::RestoreCompleted => restore(&event, headers),
        _ => Change::PutObject(ObjectMeta { headers, ..ObjectMeta::default() }),
    };
    Stored {
        position: Position { epoch: 1, offset: 42 },
        entry: Entry { change, event: Some(event), deliveries: Vec::new(), shed: Vec::new() },
        body: bytes::Bytes::new(),
        bare: 0,
        charge: 0,
    }
}

/// The restore of an archived object for a day: begun, or done.
fn restore(event: &Event, headers: Vec<(Arc<str>, Arc<str>)>) -> Change {
    let done = event.kind == EventKind::RestoreCompleted;
    let restore = Restore {
        version: VersionId::Null,
        class: "ARCHIVE".into(),
        tier: Tier::Standard,
        days: 1,
        asked_us: TIME_US,
        ready_us: TIME_US,
        expires_us: done.then_some(EXPIRES_US),
        request: event.request.clone(),
    };
    let (bucket, key) = (Arc::clone(&event.bucket), Arc::clone(&event.key));
    Change::Restore(Arc::new(RestoreChange {
        bucket,
        key,
        of: 41,
        was_due_us: None,
        now: Some(restore),
        headers,
    }))
}
