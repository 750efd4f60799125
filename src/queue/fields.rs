//! Tagged fields: what entries, uploads and settings are written in.
//!
//! Must never panic on any input. A tag below 128 that is not known is refused (it may change the meaning);
//! one from 128 up may be skipped.

use std::sync::Arc;

pub(super) mod tag {
    pub(in crate::queue) const ID: u8 = 1;
    pub(in crate::queue) const KIND: u8 = 2;
    pub(in crate::queue) const TIME: u8 = 3;
    pub(in crate::queue) const BUCKET: u8 = 4;
    pub(in crate::queue) const KEY: u8 = 5;
    pub(in crate::queue) const SIZE: u8 = 7;
    pub(in crate::queue) const ETAG: u8 = 8;
    pub(in crate::queue) const REQUEST: u8 = 9;
    pub(in crate::queue) const SOURCE_IP: u8 = 10;
    pub(in crate::queue) const PRINCIPAL: u8 = 11;
    pub(in crate::queue) const VERSION: u8 = 12;
    pub(in crate::queue) const BODY: u8 = 20;
    pub(in crate::queue) const CRC64: u8 = 21;
    pub(in crate::queue) const HEADER: u8 = 22;
    pub(in crate::queue) const RULE: u8 = 30;
    pub(in crate::queue) const NAME: u8 = 40;
    pub(in crate::queue) const TARGET: u8 = 41;
    pub(in crate::queue) const PAUSED: u8 = 42;
    pub(in crate::queue) const MAX_BACKLOG: u8 = 43;
    pub(in crate::queue) const SHEDS: u8 = 44;
    pub(in crate::queue) const COUNT: u8 = 45;
    pub(in crate::queue) const SETTING: u8 = 46;
    pub(in crate::queue) const VALUE: u8 = 47;
    pub(in crate::queue) const UPLOAD: u8 = 50;
    pub(in crate::queue) const NUMBER: u8 = 51;
    pub(in crate::queue) const MD5: u8 = 52;
    pub(in crate::queue) const SUM: u8 = 53;
    pub(in crate::queue) const BLOB: u8 = 54;
    pub(in crate::queue) const RESTORE: u8 = 60;
    /// From here on a reader that does not know the tag may go on without it.
    pub(in crate::queue) const OPTIONAL: u8 = 128;
    /// Left out where it is 0.
    pub(in crate::queue) const HOPS: u8 = 129;
}

/// Why bytes are not an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes do not follow the layout.
    #[error("not an entry: {0}")]
    Malformed(&'static str),
    /// A newer tidings wrote it.
    #[error("written by a newer tidings (field {0}): run that version")]
    Newer(u8),
}

impl DecodeError {
    /// What a field with an unknown tag means: skip it, or refuse it.
    pub(super) fn unknown(tag: u8) -> Result<(), Self> {
        if tag >= tag::OPTIONAL { Ok(()) } else { Err(DecodeError::Newer(tag)) }
    }
}

/// Appends a name and a value in one field; names hold no zero byte.
pub(super) fn put_header(out: &mut Vec<u8>, tag: u8, name: &str, value: &str) {
    out.push(tag);
    varint(out, name.len() + 1 + value.len());
    out.extend_from_slice(name.as_bytes());
    out.push(0);
    out.extend_from_slice(value.as_bytes());
}

/// Reads what [`put_header`] wrote.
pub(super) fn header(value: &[u8]) -> Result<(Arc<str>, Arc<str>), DecodeError> {
    let at = value.iter().position(|b| *b == 0).ok_or(DecodeError::Malformed("a header has no value"))?;
    Ok((text(&value[..at])?, text(&value[at + 1..])?))
}

pub(super) fn field(out: &mut Vec<u8>, tag: u8, value: &[u8]) {
    out.push(tag);
    varint(out, value.len());
    out.extend_from_slice(value);
}

pub(super) fn varint(out: &mut Vec<u8>, mut n: usize) {
    while n >= 0x80 {
        out.push((n as u8 & 0x7f) | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Gives every field of the bytes to `take`, in order.
pub(super) fn fields<'a>(
    mut rest: &'a [u8],
    mut take: impl FnMut(u8, &'a [u8]) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    while let Some((tag, after)) = rest.split_first() {
        let (len, after) = read_varint(after)?;
        if len > after.len() {
            return Err(DecodeError::Malformed("a field ends beyond the entry"));
        }
        let (value, after) = after.split_at(len);
        rest = after;
        take(*tag, value)?;
    }
    Ok(())
}

fn read_varint(bytes: &[u8]) -> Result<(usize, &[u8]), DecodeError> {
    let mut n = 0;
    for (i, b) in bytes.iter().enumerate().take(5) {
        n |= usize::from(b & 0x7f) << (7 * i);
        if b & 0x80 == 0 {
            return Ok((n, &bytes[i + 1..]));
        }
    }
    Err(DecodeError::Malformed("a length does not end"))
}

pub(super) fn fixed<const N: usize>(value: &[u8]) -> Result<[u8; N], DecodeError> {
    value.try_into().map_err(|_| DecodeError::Malformed("a field has the wrong length"))
}

pub(super) fn text(value: &[u8]) -> Result<Arc<str>, DecodeError> {
    std::str::from_utf8(value).map(Arc::from).map_err(|_| DecodeError::Malformed("text is not UTF-8"))
}
