//! Restores of archived objects: what one is, and how a change of one travels.
//!
//! Must never know how long a tier takes nor what time it is, and must never panic on any input.

use std::net::IpAddr;
use std::sync::Arc;

use super::fields::{DecodeError, field, fields, fixed, header, put_header, tag, text};
use crate::event::{Position, RequestInfo, VersionId};

/// The code of the change in its record.
pub(super) const CODE: u8 = 22;

/// How soon a restore shall be done. Numbers are stored: never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Tier {
    /// Within minutes.
    Expedited = 1,
    /// Within hours.
    Standard = 2,
    /// Whenever it is cheapest.
    Bulk = 3,
}

impl Tier {
    /// Every tier.
    pub const ALL: [Self; 3] = [Self::Expedited, Self::Standard, Self::Bulk];

    /// Its name in both protocols.
    pub fn name(self) -> &'static str {
        match self {
            Tier::Expedited => "Expedited",
            Tier::Standard => "Standard",
            Tier::Bulk => "Bulk",
        }
    }

    /// The tier with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tier| tier.name() == name)
    }
}

/// A restore of one object: running, or done and readable until it expires. Times are in microseconds since
/// the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restore {
    /// The object's version.
    pub version: VersionId,
    /// The object's storage class.
    pub class: Arc<str>,
    /// How soon it was to be done.
    pub tier: Tier,
    /// For how many days the object shall be readable.
    pub days: u32,
    /// When it was asked for.
    pub asked_us: i64,
    /// When it is to be done.
    pub ready_us: i64,
    /// Until when the object can be read; none: the restore is running.
    pub expires_us: Option<i64>,
    /// Who asked, and with which request.
    pub request: RequestInfo,
}

impl Restore {
    /// When something is to be done about it: it is ready, or it expires.
    pub fn due_us(&self) -> i64 {
        self.expires_us.unwrap_or(self.ready_us)
    }

    /// True while the object can be read.
    pub fn is_readable(&self, now_us: i64) -> bool {
        self.expires_us.is_some_and(|expires| now_us < expires)
    }
}

/// The restore of an object is this from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreChange {
    /// The object's bucket.
    pub bucket: Arc<str>,
    /// Its key.
    pub key: Arc<str>,
    /// The offset of the change that made the object: what takes its place is not restored.
    pub of: u64,
    /// When something was to be done about the restore before: its timer goes.
    pub was_due_us: Option<i64>,
    /// The restore as it is now; none: there is none any more.
    pub now: Option<Restore>,
    /// Where the change is an event: metadata headers of the object, for those encodings that say them.
    pub headers: Vec<(Arc<str>, Arc<str>)>,
}

mod own {
    pub(super) const TIER: u8 = 1;
    pub(super) const DAYS: u8 = 2;
    pub(super) const ASKED: u8 = 3;
    pub(super) const READY: u8 = 4;
    pub(super) const EXPIRES: u8 = 5;
    pub(super) const CLASS: u8 = 6;
    pub(super) const VERSION: u8 = 7;
    pub(super) const REQUEST: u8 = 8;
    pub(super) const SOURCE_IP: u8 = 9;
    pub(super) const PRINCIPAL: u8 = 10;
}

/// Appends a restore, also as the value of an index row.
pub fn encode_restore(restore: &Restore, out: &mut Vec<u8>) {
    field(out, own::TIER, &[restore.tier as u8]);
    field(out, own::DAYS, &restore.days.to_le_bytes());
    field(out, own::ASKED, &restore.asked_us.to_le_bytes());
    field(out, own::READY, &restore.ready_us.to_le_bytes());
    if let Some(expires) = restore.expires_us {
        field(out, own::EXPIRES, &expires.to_le_bytes());
    }
    field(out, own::CLASS, restore.class.as_bytes());
    if let VersionId::At(at) = restore.version {
        let mut value = [0; 12];
        value[..4].copy_from_slice(&at.epoch.to_le_bytes());
        value[4..].copy_from_slice(&at.offset.to_le_bytes());
        field(out, own::VERSION, &value);
    }
    field(out, own::REQUEST, restore.request.id.as_bytes());
    match restore.request.source_ip {
        Some(IpAddr::V4(ip)) => field(out, own::SOURCE_IP, &ip.octets()),
        Some(IpAddr::V6(ip)) => field(out, own::SOURCE_IP, &ip.octets()),
        None => {}
    }
    field(out, own::PRINCIPAL, restore.request.principal.as_bytes());
    if restore.request.hops > 0 {
        field(out, tag::HOPS, &[restore.request.hops]);
    }
}

/// Reads what [`encode_restore`] wrote.
pub fn decode_restore(bytes: &[u8]) -> Result<Restore, DecodeError> {
    let (mut tier, mut days, mut asked, mut ready, mut expires) = (None, None, None, None, None);
    let (mut class, mut version, mut id, mut source_ip, mut principal, mut hops) =
        (None, VersionId::Null, None, None, None, 0);
    fields(bytes, |tag, found| {
        match tag {
            own::TIER => {
                let [code] = fixed(found)?;
                let known = Tier::ALL.into_iter().find(|tier| *tier as u8 == code);
                tier = Some(known.ok_or(DecodeError::Newer(tag))?);
            }
            own::DAYS => days = Some(u32::from_le_bytes(fixed(found)?)),
            own::ASKED => asked = Some(i64::from_le_bytes(fixed(found)?)),
            own::READY => ready = Some(i64::from_le_bytes(fixed(found)?)),
            own::EXPIRES => expires = Some(i64::from_le_bytes(fixed(found)?)),
            own::CLASS => class = Some(text(found)?),
            own::VERSION => {
                let value: [u8; 12] = fixed(found)?;
                let epoch = u32::from_le_bytes(fixed(&value[..4])?);
                let offset = u64::from_le_bytes(fixed(&value[4..])?);
                version = VersionId::At(Position { epoch, offset });
            }
            own::REQUEST => id = Some(text(found)?),
            own::SOURCE_IP if found.len() == 4 => source_ip = Some(IpAddr::from(fixed::<4>(found)?)),
            own::SOURCE_IP => source_ip = Some(IpAddr::from(fixed::<16>(found)?)),
            own::PRINCIPAL => principal = Some(text(found)?),
            tag::HOPS => [hops] = fixed(found)?,
            unknown => DecodeError::unknown(unknown)?,
        }
        Ok(())
    })?;
    let all = || {
        Some(Restore {
            version,
            class: class?,
            tier: tier?,
            days: days?,
            asked_us: asked?,
            ready_us: ready?,
            expires_us: expires,
            request: RequestInfo { id: id?, source_ip, principal: principal?, hops },
        })
    };
    all().ok_or(DecodeError::Malformed("a field is missing"))
}

/// Appends a change of a restore: all of it in one field, since an event may stand before it.
pub(super) fn encode(change: &RestoreChange, out: &mut Vec<u8>) {
    let mut inner = Vec::with_capacity(256);
    field(&mut inner, tag::BUCKET, change.bucket.as_bytes());
    field(&mut inner, tag::KEY, change.key.as_bytes());
    field(&mut inner, tag::COUNT, &change.of.to_le_bytes());
    if let Some(was_due) = change.was_due_us {
        field(&mut inner, tag::TIME, &was_due.to_le_bytes());
    }
    if let Some(now) = &change.now {
        let mut restore = Vec::with_capacity(192);
        encode_restore(now, &mut restore);
        field(&mut inner, tag::VALUE, &restore);
    }
    for (name, value) in &change.headers {
        put_header(&mut inner, tag::HEADER, name, value);
    }
    field(out, tag::RESTORE, &inner);
}

/// Reads the field that [`encode`] wrote.
pub(super) fn decode(bytes: &[u8]) -> Result<RestoreChange, DecodeError> {
    let (mut bucket, mut key, mut of, mut was_due_us, mut now) = (None, None, None, None, None);
    let mut headers = Vec::new();
    fields(bytes, |tag, found| {
        match tag {
            tag::BUCKET => bucket = Some(text(found)?),
            tag::KEY => key = Some(text(found)?),
            tag::COUNT => of = Some(u64::from_le_bytes(fixed(found)?)),
            tag::TIME => was_due_us = Some(i64::from_le_bytes(fixed(found)?)),
            tag::VALUE => now = Some(decode_restore(found)?),
            tag::HEADER => headers.push(header(found)?),
            unknown => DecodeError::unknown(unknown)?,
        }
        Ok(())
    })?;
    let all = move || Some(RestoreChange { bucket: bucket?, key: key?, of: of?, was_due_us, now, headers });
    all().ok_or(DecodeError::Malformed("a field is missing"))
}
