//! What a target gets when a bucket's notification configuration names it: the test event of S3, which is no
//! record.
//!
//! Must never look like an event of an object: it has no `Records`.

use super::json;
use crate::event::Event;

/// Bytes of it without its variable strings, rounded up.
const FIXED_BYTES: usize = 320;

/// A capacity that makes it fit without growing.
pub(super) fn capacity(event: &Event) -> usize {
    FIXED_BYTES + event.bucket.len() + 2 * event.request.id.len()
}

/// Appends it. `name` is the event's name in the family of the target's encoding.
pub(super) fn write(out: &mut Vec<u8>, event: &Event, name: &str, id: &str, sequencer: &str) {
    // Consumers of S3's events compare this one.
    out.extend_from_slice(br#"{"Service":"Amazon S3","Event":"#);
    json::string(out, name);
    out.extend_from_slice(br#","Time":"#);
    json::time(out, event.time_us);
    let mut member = |before: &str, value: &str| {
        out.extend_from_slice(before.as_bytes());
        json::string(out, value);
    };
    member(r#","Bucket":"#, &event.bucket);
    member(r#","RequestId":"#, &event.request.id);
    member(r#","HostId":"#, &event.request.id);
    member(r#","tidings":{"eventId":"#, id);
    member(r#","sequencer":"#, sequencer);
    out.extend_from_slice(b"}}");
}
