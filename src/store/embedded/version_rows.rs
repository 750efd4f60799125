//! Keys of versions, and what is done with their rows without reading all of them. A version's row is that of
//! an object.
//!
//! Must never make a damaged row look whole.

use super::row::{BodyPlace, open, seal, take, take_etag, take_head, take_text, take_varint};
use crate::event::{Position, VersionId};
use crate::queue::Stored;

/// Ends the row of a version that has a name of its own; the null version's row ends before it.
const NAMED: u8 = 1;
/// The same where the name is not from the change that made the version: another server gave it.
const NAMED_ELSEWHERE: u8 = 2;
/// Bytes that the key of a version has behind that of its object.
const VERSION_SUFFIX: usize = 1 + 8;

/// Which version a row is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) version: VersionId,
    pub(super) offset: u64,
    pub(super) marker: bool,
}

/// Writes the index key of a version of the object with this index key. No key of an object holds a zero
/// byte.
pub(super) fn version_key(object: &[u8], offset: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(object.len() + VERSION_SUFFIX);
    out.extend_from_slice(object);
    out.push(0);
    out.extend_from_slice(&(!offset).to_be_bytes());
    out
}

/// Writes the index key under which a version of this object is found that another server named.
pub(super) fn name_key(object: &[u8], name: Position) -> Vec<u8> {
    let mut out = Vec::with_capacity(object.len() + 13);
    out.extend_from_slice(object);
    out.push(0);
    out.extend_from_slice(&name.epoch.to_be_bytes());
    out.extend_from_slice(&name.offset.to_be_bytes());
    out
}

/// The offset in a row of [`super::index::Space::Names`], or of the null versions.
pub(super) fn offset_in(row: Vec<u8>) -> Option<u64> {
    row.try_into().ok().map(u64::from_le_bytes)
}

/// Takes the index key of a version apart: that of its object, and the version's offset.
pub(super) fn split_version_key(key: &[u8]) -> Option<(&[u8], u64)> {
    let (object, offset) = key.split_last_chunk()?;
    Some((object.strip_suffix(b"\0")?, !u64::from_be_bytes(*offset)))
}

/// Appends an object's row that stood under `from` as a row under `to`. One that is damaged stays so.
pub(super) fn move_object(out: &mut Vec<u8>, from: &[u8], to: &[u8], row: &[u8]) {
    let start = out.len();
    match open(from, row) {
        Some(_) => {
            out.extend_from_slice(&row[..row.len() - 4]);
            seal(out, start, to);
        }
        None => out.extend_from_slice(row),
    }
}

/// Which version an object's row is of, without what it says of it; none if the row is damaged.
pub(super) fn identity(key: &[u8], row: &[u8]) -> Option<Identity> {
    let mut rest = open(key, row)?;
    let head = take_head(&mut rest)?;
    take_etag(&mut rest)?;
    for _ in 0..take_varint(&mut rest)? {
        take_text(&mut rest)?;
        take_text(&mut rest)?;
    }
    let version = take_version(&mut rest, head.offset)?;
    Some(Identity { version, offset: head.offset, marker: head.place == BodyPlace::Marker })
}

/// Writes the end of an object's row: the name of its version.
pub(super) fn put_version(out: &mut Vec<u8>, stored: &Stored) {
    match stored.version() {
        None | Some(VersionId::Null) => {}
        Some(VersionId::At(at)) if at.offset == stored.position.offset => {
            out.push(NAMED);
            out.extend_from_slice(&at.epoch.to_le_bytes());
        }
        Some(VersionId::At(at)) => {
            out.push(NAMED_ELSEWHERE);
            out.extend_from_slice(&at.epoch.to_le_bytes());
            out.extend_from_slice(&at.offset.to_le_bytes());
        }
    }
}

/// The end of an object's row.
pub(super) fn take_version(rest: &mut &[u8], offset: u64) -> Option<VersionId> {
    if rest.is_empty() {
        return Some(VersionId::Null);
    }
    let [how] = take(rest)?;
    let epoch = u32::from_le_bytes(take(rest)?);
    let offset = match how {
        NAMED => offset,
        NAMED_ELSEWHERE => u64::from_le_bytes(take(rest)?),
        _ => return None,
    };
    rest.is_empty().then_some(VersionId::At(Position { epoch, offset }))
}
