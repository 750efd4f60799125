//! The event that Tencent COS hands to a function: unmodified handlers must work.
//!
//! Must never allocate per field, nor write anything that the entry does not hold.
//!
//! What is decided here:
//! - Where samples of real events and the documentation differ, the real ones are followed: `eventName` names
//!   one kind, `cosNotificationId` is `unkown`, and `cosBucket` also has `s3Region` and `cosRegion`.
//! - A bucket called `NAME-1250000000` (ten digits, or the account's own appid) carries its appid; any other
//!   belongs to the account.
//! - `key` is `/APPID/NAME/KEY`, not encoded; in `url` it is percent-encoded, and a space is `%20`.
//! - `url` points to `BUCKET.DOMAIN` if the server has a domain, else to where COS would have the object.
//! - Removals have `size` 0, and `vid` is empty where there is no version.
//! - `reservedInfo`, which handlers ignore, holds `eventId=…&sequencer=…`. `reqid` is 0, as COS has it: the
//!   request is named by `x-cos-request-id`.
//! - The caller's `Authorization` is a credential: the member is there, its value is not.
//! - `eventQueue` names the target as a function of the namespace `default`.

use std::io::Write as _;

use super::json;
use super::percent::{Keep, encoded};
use crate::event::Event;
use crate::queue::Entry;

/// What does not change from record to record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fixed<'a> {
    pub(super) region: &'a str,
    /// The account's appid.
    pub(super) appid: &'a str,
    /// `server.domain`.
    pub(super) domain: Option<&'a str>,
    pub(super) target: &'a str,
    /// The version's id, where there is one.
    pub(super) version: Option<&'a str>,
}

/// Bytes of a record without its variable strings, rounded up.
const FIXED_BYTES: usize = 896;

/// The digits of every appid that Tencent gives out.
const APPID_DIGITS: usize = 10;

/// Regions that events call by a short name.
const SHORT_REGIONS: &[(&str, &str)] = &[
    ("ap-guangzhou", "gz"),
    ("ap-shanghai", "sh"),
    ("ap-beijing", "bj"),
    ("ap-chengdu", "cd"),
    ("ap-chongqing", "cq"),
    ("ap-hongkong", "hk"),
    ("ap-singapore", "sg"),
];

/// A capacity that makes the common record fit without growing.
pub(super) fn capacity(event: &Event) -> usize {
    FIXED_BYTES + 3 * event.key.len() + 3 * event.bucket.len() + event.request.id.len()
}

/// Appends one message body: one record in its `Records` list.
pub(super) fn write(
    out: &mut Vec<u8>,
    fixed: Fixed<'_>,
    entry: &Entry,
    event: &Event,
    id: &str,
    sequencer: &str,
) {
    let (name, appid) = name_and_appid(&event.bucket, fixed.appid);
    let short = SHORT_REGIONS.iter().find(|(full, _)| *full == fixed.region);
    let short = short.map_or(fixed.region, |(_, short)| short);
    let mut add = |before: &str, value: &str| {
        raw(out, before);
        json::string(out, value);
    };
    add(
        r#"{"Records":[{"cos":{"cosSchemaVersion":"1.0","cosNotificationId":"unkown","cosBucket":{"region":"#,
        short,
    );
    add(r#","name":"#, name);
    add(r#","appid":"#, appid);
    add(r#","s3Region":"#, fixed.region);
    add(r#","cosRegion":"#, short);
    raw(out, r#"},"cosObject":{"key":"/"#);
    for part in [appid, "/", name, "/", &*event.key] {
        json::escaped(out, part);
    }
    raw(out, r#"","url":"http://"#);
    url(out, fixed, event, name, appid);
    raw(out, r#"","vid":"#);
    json::string(out, fixed.version.unwrap_or_default());
    raw(out, r#","size":"#);
    json::number(out, event.size);
    raw(out, r#","meta":{"x-cos-request-id":"#);
    json::string(out, &event.request.id);
    meta(out, entry);
    raw(out, r#"}}},"event":{"eventName":""#);
    raw(out, event.kind.cos_name());
    raw(out, r#"","eventVersion":"1.0","eventTime":"#);
    json::number(out, event.time_us.max(0).unsigned_abs() / 1_000_000);
    raw(out, r#","eventSource":"qcs::cos","eventQueue":"qcs:0:scf:"#);
    for part in [fixed.region, ":appid/", fixed.appid, ":default.", fixed.target] {
        json::escaped(out, part);
    }
    raw(out, r#".$DEFAULT","reqid":0,"reservedInfo":"eventId="#);
    raw(out, id);
    raw(out, "&sequencer=");
    raw(out, sequencer);
    raw(out, r#"","requestParameters":{"requestSourceIP":""#);
    if let Some(ip) = event.request.source_ip {
        let _ = write!(out, "{ip}");
    }
    raw(out, r#"","requestHeaders":{"Authorization":"redacted"}}}}]}"#);
}

/// The bucket's name and appid as COS shows them.
fn name_and_appid<'a>(bucket: &'a str, account: &'a str) -> (&'a str, &'a str) {
    let is_appid = |digits: &str| {
        digits == account || (digits.len() == APPID_DIGITS && digits.bytes().all(|b| b.is_ascii_digit()))
    };
    match bucket.rsplit_once('-') {
        Some((name, appid)) if !name.is_empty() && is_appid(appid) => (name, appid),
        _ => (bucket, account),
    }
}

fn url(out: &mut Vec<u8>, fixed: Fixed<'_>, event: &Event, name: &str, appid: &str) {
    match fixed.domain {
        Some(domain) => {
            json::escaped(out, &event.bucket);
            raw(out, ".");
            json::escaped(out, domain);
        }
        None => {
            for part in [name, "-", appid, ".cos.", fixed.region, ".myqcloud.com"] {
                json::escaped(out, part);
            }
        }
    }
    raw(out, "/");
    raw(out, &encoded(&event.key, Keep::Path));
}

/// The object's content type and its owner's metadata, under COS's names.
fn meta(out: &mut Vec<u8>, entry: &Entry) {
    let headers = entry.change.headers();
    let value = headers.iter().find(|(name, _)| &**name == "content-type").map(|(_, value)| &**value);
    raw(out, r#","Content-Type":"#);
    json::string(out, value.unwrap_or_default());
    for (name, value) in headers {
        if let Some(own) = name.strip_prefix("x-amz-meta-").or_else(|| name.strip_prefix("x-cos-meta-")) {
            raw(out, r#","x-cos-meta-"#);
            json::escaped(out, own);
            raw(out, r#"":"#);
            json::string(out, value);
        }
    }
}

fn raw(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::name_and_appid;

    #[test]
    fn a_bucket_carries_its_own_appid() {
        let of = |bucket| name_and_appid(bucket, "7");
        assert_eq!(of("photos-1250000000"), ("photos", "1250000000"));
        assert_eq!(of("photos-of-2026-1253970026"), ("photos-of-2026", "1253970026"));
        assert_eq!(of("photos-7"), ("photos", "7"));
        for other in ["photos", "orders-2026", "photos-12500000001", "photos-125000000a", "-1250000000", ""] {
            assert_eq!(of(other), (other, "7"));
        }
    }
}
