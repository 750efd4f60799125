//! The S3 event record, as unmodified S3 consumers read it, plus one member of our own.
//!
//! Must never allocate per field, and must never write anything that the entry does not hold: the same entry
//! gives the same bytes at every attempt.
//!
//! What is decided here:
//! - `eventSource` is `aws:s3`, because consumers of S3 events compare it; where an event really comes from
//!   is said by the `tidings` member and the `tidings-` headers.
//! - `eventVersion` follows S3: 2.2 for replication, 2.1 for everything else that we have. 2.3 adds kinds
//!   that we do not.
//! - `size` and `eTag` are absent on removals, `versionId` where there is no version.
//! - `x-amz-id-2` repeats the request id: there is one id per request here, and the answer's headers say the
//!   same.
//! - `userIdentity` is the access key that signed; `ownerIdentity` is the account that owns every bucket.
//! - The event id is `Records[0].tidings.eventId`: the same at every attempt, target and replay.
//! - `glacierEventData`, on `ObjectRestore:Completed` only, says until when the object can be read.

use std::io::Write as _;

use super::json;
use crate::event::{Event, EventKind};
use crate::queue::Restore;

/// What does not change from record to record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fixed<'a> {
    /// `awsRegion`.
    pub(super) region: &'a str,
    /// `ownerIdentity.principalId`.
    pub(super) owner: &'a str,
    /// The version's id, where there is one.
    pub(super) version: Option<&'a str>,
    /// The restore that the event is about, if it is about one.
    pub(super) restore: Option<&'a Restore>,
}

/// Bytes of a record without its variable strings, rounded up: the capacity to start with.
const FIXED_BYTES: usize = 768;

/// A capacity that makes the common record fit without growing: escapes may still grow it.
pub(super) fn capacity(event: &Event, rule: &str) -> usize {
    FIXED_BYTES + event.key.len() + 2 * event.bucket.len() + 2 * event.request.id.len() + rule.len()
}

/// Appends one message body: one record in its `Records` list.
pub(super) fn write(out: &mut Vec<u8>, fixed: Fixed<'_>, event: &Event, sequencer: &str, rule: &str) {
    raw(out, r#"{"Records":["#);
    record(out, fixed, event, sequencer, rule);
    raw(out, "]}");
}

/// Appends one record.
pub(super) fn record(out: &mut Vec<u8>, fixed: Fixed<'_>, event: &Event, sequencer: &str, rule: &str) {
    raw(out, r#"{"eventVersion":""#);
    raw(out, version(event.kind));
    raw(out, r#"","eventSource":"aws:s3","awsRegion":"#);
    json::string(out, fixed.region);
    raw(out, r#","eventTime":"#);
    json::time(out, event.time_us);
    raw(out, r#","eventName":""#);
    raw(out, event.kind.s3_short());
    raw(out, r#"","userIdentity":{"principalId":"#);
    json::string(out, &event.request.principal);
    raw(out, r#"},"requestParameters":{"sourceIPAddress":""#);
    if let Some(ip) = event.request.source_ip {
        let _ = write!(out, "{ip}");
    }
    raw(out, r#""},"responseElements":{"x-amz-request-id":"#);
    json::string(out, &event.request.id);
    raw(out, r#","x-amz-id-2":"#);
    json::string(out, &event.request.id);
    raw(out, r#"},"s3":{"s3SchemaVersion":"1.0","configurationId":"#);
    json::string(out, rule);
    raw(out, r#","bucket":{"name":"#);
    json::string(out, &event.bucket);
    raw(out, r#","ownerIdentity":{"principalId":"#);
    json::string(out, fixed.owner);
    raw(out, r#"},"arn":"arn:aws:s3:::"#);
    json::escaped(out, &event.bucket);
    raw(out, r#""},"object":{"key":"#);
    json::s3_key(out, &event.key);
    if !event.kind.is_removal() {
        raw(out, r#","size":"#);
        json::number(out, event.size);
        raw(out, r#","eTag":"#);
        json::string(out, &event.etag);
    }
    if let Some(version) = fixed.version {
        raw(out, r#","versionId":"#);
        json::string(out, version);
    }
    raw(out, r#","sequencer":""#);
    raw(out, sequencer);
    raw(out, r#""}}"#);
    if let Some(restore) = fixed.restore
        && let Some(expires) = restore.expires_us
    {
        raw(out, r#","glacierEventData":{"restoreEventData":{"lifecycleRestorationExpiryTime":"#);
        json::time(out, expires);
        raw(out, r#","lifecycleRestoreStorageClass":"#);
        json::string(out, &restore.class);
        raw(out, "}}");
    }
    raw(out, r#","tidings":{"eventId":""#);
    let mut id = [0; uuid::fmt::Hyphenated::LENGTH];
    raw(out, event.id.hyphenated().encode_lower(&mut id));
    raw(out, r#""}}"#);
}

/// The version that S3 gives to records of this kind.
fn version(kind: EventKind) -> &'static str {
    match kind {
        EventKind::CreatedReplication => "2.2",
        EventKind::CreatedPut
        | EventKind::CreatedPost
        | EventKind::CreatedCopy
        | EventKind::CreatedMultipart
        | EventKind::CreatedOrigin
        | EventKind::RemovedDelete
        | EventKind::RemovedMarker
        | EventKind::RestorePost
        | EventKind::RestoreCompleted
        | EventKind::Test => "2.1",
    }
}

fn raw(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}
