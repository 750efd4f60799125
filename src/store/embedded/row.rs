//! Keys and rows of the index: hand-encoded, versioned, each with its own checksum.
//!
//! Must never hold a body, and decoding must never panic: a row that does not make sense is an error that
//! names it.

use std::sync::Arc;

use crc_fast::crc32_iscsi as crc32c;

use super::version_rows::{put_version, take_version};
use crate::queue::{BodyRef, ObjectMeta, Stored};
pub(super) use crate::store::blob_name;
use crate::store::{Object, ObjectVersion, Place, StoreError};

/// The first byte of every row: another one is a row of a newer tidings.
pub(super) const ROW_VERSION: u8 = 1;
const BODY_EMPTY: u8 = 0;
const BODY_PACK: u8 = 1;
const BODY_BLOB: u8 = 2;
const BODY_MANIFEST: u8 = 3;
/// No body: a delete marker.
const BODY_MARKER: u8 = 4;
const ETAG_TEXT: u8 = 0;
const ETAG_MD5: u8 = 1;

/// A blob's random name as bytes; as text it has 32 hex digits.
pub(super) type BlobName = [u8; 16];

/// Where an applied object's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyPlace {
    /// Zero bytes long.
    Empty,
    /// There is none: the row is a delete marker's.
    Marker,
    /// In a pack file.
    Pack { pack: u32, at: u64, crc32c: u32 },
    /// In a blob file.
    Blob { name: BlobName, crc32c: u32 },
    /// In the blobs of its parts, named by a manifest in a pack file.
    Manifest { pack: u32, at: u64, crc32c: u32, bytes: u32, parts: u16 },
}

/// Writes the index key of an object: bucket, zero byte, key. Bucket names hold no zero byte.
pub(super) fn object_key(out: &mut Vec<u8>, bucket: &str, key: &str) {
    out.reserve(bucket.len() + 1 + key.len());
    out.extend_from_slice(bucket.as_bytes());
    out.push(0);
    out.extend_from_slice(key.as_bytes());
}

/// Appends the row of the object, or of the delete marker, that a change makes; nothing if it makes neither.
pub(super) fn put_object(out: &mut Vec<u8>, key: &[u8], stored: &Stored, place: BodyPlace) {
    let none = ObjectMeta::default();
    let (meta, Some(event)) = (stored.entry.change.object().unwrap_or(&none), &stored.entry.event) else {
        return;
    };
    let from = out.len();
    out.push(ROW_VERSION);
    out.push(match place {
        BodyPlace::Empty => BODY_EMPTY,
        BodyPlace::Marker => BODY_MARKER,
        BodyPlace::Pack { .. } => BODY_PACK,
        BodyPlace::Blob { .. } => BODY_BLOB,
        BodyPlace::Manifest { .. } => BODY_MANIFEST,
    });
    out.extend_from_slice(&stored.position.offset.to_le_bytes());
    out.extend_from_slice(&event.time_us.to_le_bytes());
    out.extend_from_slice(&event.size.to_le_bytes());
    out.extend_from_slice(&meta.crc64.to_le_bytes());
    match place {
        BodyPlace::Empty | BodyPlace::Marker => {}
        BodyPlace::Pack { pack, at, crc32c } => {
            out.extend_from_slice(&pack.to_le_bytes());
            out.extend_from_slice(&at.to_le_bytes());
            out.extend_from_slice(&crc32c.to_le_bytes());
        }
        BodyPlace::Blob { name, crc32c } => {
            out.extend_from_slice(&name);
            out.extend_from_slice(&crc32c.to_le_bytes());
        }
        BodyPlace::Manifest { pack, at, crc32c, bytes, parts } => {
            out.extend_from_slice(&pack.to_le_bytes());
            out.extend_from_slice(&at.to_le_bytes());
            out.extend_from_slice(&crc32c.to_le_bytes());
            out.extend_from_slice(&bytes.to_le_bytes());
            out.extend_from_slice(&parts.to_le_bytes());
        }
    }
    put_etag(out, &event.etag);
    put_varint(out, meta.headers.len() as u64);
    for (name, value) in &meta.headers {
        put_text(out, name);
        put_text(out, value);
    }
    put_version(out, stored);
    seal(out, from, key);
}

/// Ends a row with a checksum over its key and its bytes.
pub(super) fn seal(out: &mut Vec<u8>, from: usize, key: &[u8]) {
    let crc = row_crc(key, &out[from..]);
    out.extend_from_slice(&crc.to_le_bytes());
}

fn row_crc(key: &[u8], row: &[u8]) -> u32 {
    crc32c(row) ^ crc32c(key).rotate_left(1)
}

fn put_etag(out: &mut Vec<u8>, etag: &str) {
    let mut md5 = [0; 16];
    let lower = !etag.bytes().any(|b| b.is_ascii_uppercase());
    if lower && hex::decode_to_slice(etag, &mut md5).is_ok() {
        out.push(ETAG_MD5);
        out.extend_from_slice(&md5);
    } else {
        out.push(ETAG_TEXT);
        put_text(out, etag);
    }
}

pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_bytes(out, text.as_bytes());
}

pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(super) fn put_varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n as u8) | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// The object, or the delete marker, of a row. `bucket` is the one that the key begins with, `object` the
/// part
/// of the key that names the object, `key` all of it.
pub(super) fn version(
    bucket: &Arc<str>,
    object: &[u8],
    key: &[u8],
    row: &[u8],
) -> Result<ObjectVersion, StoreError> {
    try_version(bucket, object, key, row).ok_or_else(|| damaged(key))
}

/// The object of a row in [`super::index::Space::Objects`].
pub(super) fn object(bucket: &Arc<str>, key: &[u8], row: &[u8]) -> Result<Object, StoreError> {
    version(bucket, key, key, row).map(|version| version.object)
}

fn try_version(bucket: &Arc<str>, object: &[u8], key: &[u8], row: &[u8]) -> Option<ObjectVersion> {
    let mut rest = open(key, row)?;
    let name = std::str::from_utf8(object.strip_prefix(bucket.as_bytes())?.strip_prefix(b"\0")?).ok()?;
    let head = take_head(&mut rest)?;
    let (body, place) = match head.place {
        BodyPlace::Empty | BodyPlace::Marker => (BodyRef::Empty, Place::Memory(bytes::Bytes::new())),
        BodyPlace::Pack { pack, at, crc32c } => (BodyRef::Inline { crc32c }, Place::Pack { pack, at }),
        BodyPlace::Blob { name, crc32c } => {
            (BodyRef::Blob { name: hex::encode(name).into(), crc32c }, Place::Blob)
        }
        BodyPlace::Manifest { pack, at, crc32c, bytes, parts } => {
            (BodyRef::Manifest { crc32c, bytes, parts }, Place::Pack { pack, at })
        }
    };
    let etag = take_etag(&mut rest)?;
    let count = usize::try_from(take_varint(&mut rest)?).ok()?;
    // A header takes at least two bytes, so a wrong count cannot ask for more memory than the row has.
    let mut headers = Vec::with_capacity(count.min(rest.len() / 2));
    for _ in 0..count {
        headers.push((take_text(&mut rest)?.into(), take_text(&mut rest)?.into()));
    }
    let version = take_version(&mut rest, head.offset)?;
    let object = Object {
        bucket: bucket.clone(),
        key: name.into(),
        size: head.size,
        etag,
        modified_us: head.time_us,
        offset: head.offset,
        version,
        meta: Arc::new(ObjectMeta { body, crc64: head.crc64, headers }),
        place,
    };
    Some(ObjectVersion { object, marker: head.place == BodyPlace::Marker, latest: false })
}

/// The offset of the change that made the object of a row; none if the row is damaged.
pub(super) fn made_at(key: &[u8], row: &[u8]) -> Option<u64> {
    take_head(&mut open(key, row)?).map(|head| head.offset)
}

/// Size and place of the body of an object's row; none if the row is damaged.
pub(super) fn body(key: &[u8], row: &[u8]) -> Option<(u64, BodyPlace)> {
    take_head(&mut open(key, row)?).map(|head| (head.size, head.place))
}

pub(super) fn damaged(key: &[u8]) -> StoreError {
    StoreError::Index(format!(
        "the row of {:?} is damaged or of a newer version",
        String::from_utf8_lossy(key)
    ))
}

/// Checks version and checksum, and gives what lies between them.
pub(super) fn open<'a>(key: &[u8], row: &'a [u8]) -> Option<&'a [u8]> {
    let (body, crc) = row.split_last_chunk::<4>()?;
    if u32::from_le_bytes(*crc) != row_crc(key, body) {
        return None;
    }
    body.strip_prefix(&[ROW_VERSION])
}

pub(super) struct Head {
    pub(super) offset: u64,
    time_us: i64,
    size: u64,
    crc64: u64,
    pub(super) place: BodyPlace,
}

pub(super) fn take_head(rest: &mut &[u8]) -> Option<Head> {
    let [kind] = take::<1>(rest)?;
    let offset = u64::from_le_bytes(take(rest)?);
    let time_us = i64::from_le_bytes(take(rest)?);
    let size = u64::from_le_bytes(take(rest)?);
    let crc64 = u64::from_le_bytes(take(rest)?);
    let place = match kind {
        BODY_EMPTY => BodyPlace::Empty,
        BODY_MARKER => BodyPlace::Marker,
        BODY_PACK => BodyPlace::Pack {
            pack: u32::from_le_bytes(take(rest)?),
            at: u64::from_le_bytes(take(rest)?),
            crc32c: u32::from_le_bytes(take(rest)?),
        },
        BODY_BLOB => BodyPlace::Blob { name: take(rest)?, crc32c: u32::from_le_bytes(take(rest)?) },
        BODY_MANIFEST => BodyPlace::Manifest {
            pack: u32::from_le_bytes(take(rest)?),
            at: u64::from_le_bytes(take(rest)?),
            crc32c: u32::from_le_bytes(take(rest)?),
            bytes: u32::from_le_bytes(take(rest)?),
            parts: u16::from_le_bytes(take(rest)?),
        },
        _ => return None,
    };
    Some(Head { offset, time_us, size, crc64, place })
}

pub(super) fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

pub(super) fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut n = 0;
    for shift in (0..64).step_by(7) {
        let [byte] = take::<1>(rest)?;
        n |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(n);
        }
    }
    None
}

pub(super) fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(take_bytes(rest)?).ok()
}

pub(super) fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(take_varint(rest)?).ok()?;
    let (bytes, tail) = rest.split_at_checked(len)?;
    *rest = tail;
    Some(bytes)
}

pub(super) fn take_etag(rest: &mut &[u8]) -> Option<Arc<str>> {
    match take::<1>(rest)? {
        [ETAG_MD5] => Some(hex::encode(take::<16>(rest)?).into()),
        [ETAG_TEXT] => take_text(rest).map(Into::into),
        _ => None,
    }
}
