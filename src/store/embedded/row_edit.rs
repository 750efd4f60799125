//! Rows that are one number, and rows of objects whose bytes are moved.
//!
//! Must never change anything of a moved row but where its bytes are.

use super::row::{self, BodyPlace, ROW_VERSION, damaged, open, seal};
use crate::store::StoreError;

/// Where a row of an object says where its bytes are: behind version, kind, offset, time, size and CRC-64.
const PLACE_AT: usize = 2 + 4 * 8;

/// Appends a row that is one number.
pub(super) fn put_number(out: &mut Vec<u8>, key: &[u8], number: u64) {
    let from = out.len();
    out.push(ROW_VERSION);
    out.extend_from_slice(&number.to_le_bytes());
    seal(out, from, key);
}

/// The number of a row; none if it is damaged, or empty.
pub(super) fn number(key: &[u8], row: &[u8]) -> Option<u64> {
    open(key, row)?.try_into().ok().map(u64::from_le_bytes)
}

/// Bytes in a pack that an object's row points to: its body, or its manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packed {
    pub(super) pack: u32,
    pub(super) at: u64,
    pub(super) bytes: u64,
    pub(super) crc32c: u32,
}

/// What an object's row points to in a pack, if it does; an error if the row is damaged.
pub(super) fn packed(key: &[u8], row: &[u8]) -> Result<Option<Packed>, StoreError> {
    let (size, place) = row::body(key, row).ok_or_else(|| damaged(key))?;
    Ok(match place {
        BodyPlace::Pack { pack, at, crc32c } => Some(Packed { pack, at, bytes: size, crc32c }),
        BodyPlace::Manifest { pack, at, crc32c, bytes, .. } => {
            Some(Packed { pack, at, bytes: bytes.into(), crc32c })
        }
        BodyPlace::Empty | BodyPlace::Marker | BodyPlace::Blob { .. } => None,
    })
}

/// Appends a whole row as it is once its bytes in a pack lie at `at` of `pack`.
pub(super) fn put_moved(out: &mut Vec<u8>, key: &[u8], row: &[u8], pack: u32, at: u64) {
    let from = out.len();
    out.extend_from_slice(&row[..row.len() - 4]);
    let place = &mut out[from + PLACE_AT..];
    place[..4].copy_from_slice(&pack.to_le_bytes());
    place[4..12].copy_from_slice(&at.to_le_bytes());
    seal(out, from, key);
}
