//! The bytes of an entry in its record: tagged fields, so that a later version can add one.
//!
//! Must never panic on any input. A tag below 128 that is not known is refused (it may change the meaning);
//! one from 128 up may be skipped. Targets are not here: they are the record's labels, in the order of the
//! rules; those that shed the entry come last, with [`SHED`] set.

use std::net::IpAddr;
use std::sync::Arc;

use uuid::Uuid;

use super::entry::{BodyRef, Change, DeliveryTo, Entry, ObjectMeta, TargetNo};
pub use super::fields::DecodeError;
pub(super) use super::fields::{field, fields, fixed, header, put_header, tag, text, varint};
use super::pause::Pause;
use super::restore;
use super::setting;
use super::tags;
use super::upload::{self, UploadId};
use crate::config::{Budget, WhenFull};
use crate::event::{Event, EventKind, Position, RequestInfo, Version, VersionId};

/// Set in the label of a target that shed the entry: the log counts those apart.
pub(super) const SHED: u32 = 1 << 31;

/// The code of [`Change::Notice`].
const NOTICE: u8 = 30;
/// The version of the layout below.
const VERSION: u8 = 1;

/// Appends the entry's bytes to `out`.
pub fn encode(entry: &Entry, out: &mut Vec<u8>) {
    let code = match &entry.change {
        Change::PutObject(_) => 1,
        Change::DeleteObject => 2,
        Change::CreateBucket { .. } => 3,
        Change::DeleteBucket { .. } => 4,
        Change::RegisterTarget { .. } => 5,
        Change::PauseTarget { .. } => 6,
        Change::ConfigureTarget { .. } => 7,
        Change::ForgetTarget { .. } => 8,
        Change::CompleteUpload { .. } => 13,
        Change::Notice => NOTICE,
        Change::SetBucketSetting { .. } => setting::CODE,
        Change::TagObject(_) => tags::CODE,
        Change::Restore(_) => restore::CODE,
        Change::Upload(change) => upload::code(change),
    };
    out.extend_from_slice(&[VERSION, code]);
    if let Some(event) = &entry.event {
        encode_event(event, out);
    }
    match &entry.change {
        Change::PutObject(meta) => encode_object(meta, out),
        Change::CompleteUpload { upload, meta } => {
            field(out, tag::UPLOAD, &upload.0);
            encode_object(meta, out);
        }
        Change::Upload(change) => upload::encode(change, out),
        Change::TagObject(change) => tags::encode(change, out),
        Change::Restore(change) => restore::encode(change, out),
        Change::DeleteObject | Change::Notice => {}
        Change::CreateBucket { bucket, time_us, owner } => {
            field(out, tag::BUCKET, bucket.as_bytes());
            field(out, tag::TIME, &time_us.to_le_bytes());
            field(out, tag::PRINCIPAL, owner.as_bytes());
        }
        Change::DeleteBucket { bucket } => field(out, tag::BUCKET, bucket.as_bytes()),
        Change::SetBucketSetting { bucket, setting, value } => {
            setting::encode(bucket, *setting, value.as_deref(), out)
        }
        Change::RegisterTarget { target, name, kind } => {
            field(out, tag::TARGET, &target.0.to_le_bytes());
            field(out, tag::NAME, name.as_bytes());
            field(out, tag::KIND, kind.as_bytes());
        }
        Change::PauseTarget { target, paused } => {
            field(out, tag::TARGET, &target.0.to_le_bytes());
            field(out, tag::PAUSED, &[paused.byte()]);
        }
        Change::ConfigureTarget { target, kind, budget } => {
            field(out, tag::TARGET, &target.0.to_le_bytes());
            field(out, tag::KIND, kind.as_bytes());
            field(out, tag::MAX_BACKLOG, &budget.max_backlog.to_le_bytes());
            field(out, tag::SHEDS, &[u8::from(budget.when_full == WhenFull::Shed)]);
        }
        Change::ForgetTarget { target, unsettled } => {
            field(out, tag::TARGET, &target.0.to_le_bytes());
            field(out, tag::COUNT, &unsettled.to_le_bytes());
        }
    }
    for delivery in entry.deliveries.iter().chain(&entry.shed) {
        field(out, tag::RULE, delivery.rule.as_bytes());
    }
}

/// The labels of the entry's record.
pub(super) fn labels(entry: &Entry) -> Vec<u32> {
    let shed = entry.shed.iter().map(|d| d.target.0 | SHED);
    entry.deliveries.iter().map(|d| d.target.0).chain(shed).collect()
}

fn encode_event(event: &Event, out: &mut Vec<u8>) {
    field(out, tag::ID, event.id.as_bytes());
    field(out, tag::KIND, &[event.kind.code()]);
    field(out, tag::TIME, &event.time_us.to_le_bytes());
    field(out, tag::BUCKET, event.bucket.as_bytes());
    field(out, tag::KEY, event.key.as_bytes());
    match event.version {
        None => {}
        Some(Version::Named(VersionId::Null)) => field(out, tag::VERSION, &[0]),
        Some(Version::Own) => field(out, tag::VERSION, &[1]),
        Some(Version::Named(VersionId::At(at))) => {
            let mut value = [2; 13];
            value[1..5].copy_from_slice(&at.epoch.to_le_bytes());
            value[5..].copy_from_slice(&at.offset.to_le_bytes());
            field(out, tag::VERSION, &value);
        }
    }
    field(out, tag::SIZE, &event.size.to_le_bytes());
    field(out, tag::ETAG, event.etag.as_bytes());
    field(out, tag::REQUEST, event.request.id.as_bytes());
    match event.request.source_ip {
        Some(IpAddr::V4(ip)) => field(out, tag::SOURCE_IP, &ip.octets()),
        Some(IpAddr::V6(ip)) => field(out, tag::SOURCE_IP, &ip.octets()),
        None => {}
    }
    field(out, tag::PRINCIPAL, event.request.principal.as_bytes());
    if event.request.hops > 0 {
        field(out, tag::HOPS, &[event.request.hops]);
    }
}

/// Appends what the store keeps of an object, also as the value of an index row.
pub fn encode_object(meta: &ObjectMeta, out: &mut Vec<u8>) {
    match &meta.body {
        BodyRef::Empty => field(out, tag::BODY, &[0]),
        BodyRef::Inline { crc32c } => {
            let c = crc32c.to_le_bytes();
            field(out, tag::BODY, &[1, c[0], c[1], c[2], c[3]]);
        }
        BodyRef::Blob { name, crc32c } => {
            out.push(tag::BODY);
            varint(out, 5 + name.len());
            out.push(2);
            out.extend_from_slice(&crc32c.to_le_bytes());
            out.extend_from_slice(name.as_bytes());
        }
        BodyRef::Manifest { crc32c, bytes, parts } => {
            let mut value = [3; 11];
            value[1..5].copy_from_slice(&crc32c.to_le_bytes());
            value[5..9].copy_from_slice(&bytes.to_le_bytes());
            value[9..].copy_from_slice(&parts.to_le_bytes());
            field(out, tag::BODY, &value);
        }
    }
    field(out, tag::CRC64, &meta.crc64.to_le_bytes());
    for (name, value) in &meta.headers {
        put_header(out, tag::HEADER, name, value);
    }
}

/// Every field of the bytes, gathered; which ones are required depends on the change.
#[derive(Default)]
struct Fields<'a> {
    id: Option<Uuid>,
    kind: Option<&'a [u8]>,
    time_us: Option<i64>,
    bucket: Option<Arc<str>>,
    key: Option<Arc<str>>,
    version: Option<Version>,
    size: u64,
    etag: Option<Arc<str>>,
    request: Option<Arc<str>>,
    source_ip: Option<IpAddr>,
    principal: Option<Arc<str>>,
    hops: u8,
    meta: ObjectMeta,
    rules: Vec<Arc<str>>,
    name: Option<Arc<str>>,
    target: Option<TargetNo>,
    paused: Option<Pause>,
    upload: Option<UploadId>,
    restore: Option<&'a [u8]>,
    max_backlog: Option<u64>,
    sheds: Option<bool>,
    count: Option<u64>,
}

impl Fields<'_> {
    fn budget(&self) -> Option<Budget> {
        let when_full = if self.sheds? { WhenFull::Shed } else { WhenFull::Refuse };
        Some(Budget { max_backlog: self.max_backlog?, when_full })
    }
}

/// Reads what [`encode`] wrote; `labels` are the record's, in order.
pub fn decode(bytes: &[u8], labels: impl Iterator<Item = u32>) -> Result<Entry, DecodeError> {
    let missing = DecodeError::Malformed("a field is missing");
    let [version, code, rest @ ..] = bytes else { return Err(DecodeError::Malformed("too short")) };
    if *version != VERSION {
        return Err(DecodeError::Newer(*version));
    }
    if let Some(change) = upload::decode(*code, rest)? {
        return Ok(Entry::setting(Change::Upload(change)));
    }
    if *code == setting::CODE {
        return Ok(Entry::setting(setting::decode(rest)?));
    }
    if *code == tags::CODE {
        return Ok(Entry::setting(Change::TagObject(Arc::new(tags::decode(rest)?))));
    }
    let mut f = gather(rest)?;
    let change = match *code {
        1 => Change::PutObject(std::mem::take(&mut f.meta)),
        2 => Change::DeleteObject,
        NOTICE => Change::Notice,
        3 => Change::CreateBucket {
            bucket: f.bucket.clone().ok_or(missing.clone())?,
            time_us: f.time_us.ok_or(missing.clone())?,
            owner: f.principal.clone().ok_or(missing.clone())?,
        },
        4 => Change::DeleteBucket { bucket: f.bucket.clone().ok_or(missing.clone())? },
        5 => Change::RegisterTarget {
            target: f.target.ok_or(missing.clone())?,
            name: f.name.clone().ok_or(missing.clone())?,
            kind: text(f.kind.ok_or(missing.clone())?)?,
        },
        6 => Change::PauseTarget {
            target: f.target.ok_or(missing.clone())?,
            paused: f.paused.ok_or(missing.clone())?,
        },
        13 => Change::CompleteUpload {
            upload: f.upload.ok_or(missing.clone())?,
            meta: std::mem::take(&mut f.meta),
        },
        restore::CODE => Change::Restore(Arc::new(restore::decode(f.restore.ok_or(missing.clone())?)?)),
        7 => Change::ConfigureTarget {
            target: f.target.ok_or(missing.clone())?,
            kind: text(f.kind.ok_or(missing.clone())?)?,
            budget: f.budget().ok_or(missing.clone())?,
        },
        8 => Change::ForgetTarget {
            target: f.target.ok_or(missing.clone())?,
            unsettled: f.count.ok_or(missing.clone())?,
        },
        _ => return Err(DecodeError::Newer(*code)),
    };
    let event = match change {
        Change::PutObject(_) | Change::CompleteUpload { .. } | Change::DeleteObject | Change::Notice => {
            Some(event_of(&f).ok_or(missing)?)
        }
        // Not every change of a restore is an event.
        Change::Restore(_) if f.id.is_some() => Some(event_of(&f).ok_or(missing)?),
        _ => None,
    };
    let (deliveries, shed) = sides(f.rules, labels)?;
    Ok(Entry { change, event, deliveries, shed })
}

/// Who gets an entry, and who shed it: each of the rules has a label.
fn sides(
    rules: Vec<Arc<str>>,
    mut labels: impl Iterator<Item = u32>,
) -> Result<(Vec<DeliveryTo>, Vec<DeliveryTo>), DecodeError> {
    let (mut deliveries, mut shed) = (Vec::new(), Vec::new());
    for rule in rules {
        let label = labels.next().ok_or(DecodeError::Malformed("labels and rules differ in number"))?;
        let side = if label & SHED == 0 { &mut deliveries } else { &mut shed };
        side.push(DeliveryTo { target: TargetNo(label & !SHED), rule });
    }
    if labels.next().is_some() {
        return Err(DecodeError::Malformed("labels and rules differ in number"));
    }
    Ok((deliveries, shed))
}

fn event_of(f: &Fields<'_>) -> Option<Event> {
    let kind = match f.kind? {
        [code] => EventKind::from_code(*code)?,
        _ => return None,
    };
    Some(Event {
        id: f.id?,
        kind,
        time_us: f.time_us?,
        bucket: f.bucket.clone()?,
        key: f.key.clone()?,
        version: f.version,
        size: f.size,
        etag: f.etag.clone()?,
        request: RequestInfo {
            id: f.request.clone()?,
            source_ip: f.source_ip,
            principal: f.principal.clone()?,
            hops: f.hops,
        },
    })
}

/// Reads what [`encode_object`] wrote.
pub fn decode_object(bytes: &[u8]) -> Result<ObjectMeta, DecodeError> {
    Ok(gather(bytes)?.meta)
}

fn gather(bytes: &[u8]) -> Result<Fields<'_>, DecodeError> {
    let mut f = Fields::default();
    fields(bytes, |tag, value| take(&mut f, tag, value))?;
    Ok(f)
}

fn take<'a>(f: &mut Fields<'a>, tag: u8, value: &'a [u8]) -> Result<(), DecodeError> {
    match tag {
        tag::ID => f.id = Some(Uuid::from_bytes(fixed(value)?)),
        tag::KIND => f.kind = Some(value),
        tag::TIME => f.time_us = Some(i64::from_le_bytes(fixed(value)?)),
        tag::BUCKET => f.bucket = Some(text(value)?),
        tag::KEY => f.key = Some(text(value)?),
        tag::VERSION => f.version = Some(version(value)?),
        tag::SIZE => f.size = u64::from_le_bytes(fixed(value)?),
        tag::ETAG => f.etag = Some(text(value)?),
        tag::REQUEST => f.request = Some(text(value)?),
        tag::SOURCE_IP => {
            f.source_ip = Some(match value.len() {
                4 => IpAddr::from(fixed::<4>(value)?),
                _ => IpAddr::from(fixed::<16>(value)?),
            });
        }
        tag::PRINCIPAL => f.principal = Some(text(value)?),
        tag::HOPS => [f.hops] = fixed(value)?,
        tag::BODY => f.meta.body = body(value)?,
        tag::CRC64 => f.meta.crc64 = u64::from_le_bytes(fixed(value)?),
        tag::HEADER => f.meta.headers.push(header(value)?),
        tag::UPLOAD => f.upload = Some(UploadId(fixed(value)?)),
        tag::RESTORE => f.restore = Some(value),
        tag::RULE => f.rules.push(text(value)?),
        tag::NAME => f.name = Some(text(value)?),
        tag::TARGET => f.target = Some(TargetNo(u32::from_le_bytes(fixed(value)?))),
        tag::PAUSED => f.paused = Some(Pause::of_byte(fixed::<1>(value)?[0])),
        tag::MAX_BACKLOG => f.max_backlog = Some(u64::from_le_bytes(fixed(value)?)),
        tag::SHEDS => f.sheds = Some(fixed::<1>(value)?[0] != 0),
        tag::COUNT => f.count = Some(u64::from_le_bytes(fixed(value)?)),
        unknown => return DecodeError::unknown(unknown),
    }
    Ok(())
}

fn version(value: &[u8]) -> Result<Version, DecodeError> {
    Ok(match value {
        [0] => Version::NULL,
        [1] => Version::Own,
        [2, a, b, c, d, offset @ ..] => Version::Named(VersionId::At(Position {
            epoch: u32::from_le_bytes([*a, *b, *c, *d]),
            offset: u64::from_le_bytes(fixed(offset)?),
        })),
        _ => return Err(DecodeError::Malformed("a version of no known kind")),
    })
}

fn body(value: &[u8]) -> Result<BodyRef, DecodeError> {
    Ok(match value {
        [0] => BodyRef::Empty,
        [1, crc @ ..] => BodyRef::Inline { crc32c: u32::from_le_bytes(fixed(crc)?) },
        [2, a, b, c, d, name @ ..] => {
            BodyRef::Blob { name: text(name)?, crc32c: u32::from_le_bytes([*a, *b, *c, *d]) }
        }
        [3, rest @ ..] => {
            let rest: [u8; 10] = fixed(rest)?;
            BodyRef::Manifest {
                crc32c: u32::from_le_bytes(fixed(&rest[..4])?),
                bytes: u32::from_le_bytes(fixed(&rest[4..8])?),
                parts: u16::from_le_bytes(fixed(&rest[8..])?),
            }
        }
        _ => return Err(DecodeError::Malformed("a body reference of no known kind")),
    })
}

#[cfg(test)]
mod tests;
