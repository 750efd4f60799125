//! Multipart uploads as the queue carries them: an upload begins, gets parts, ends or becomes an object.
//!
//! Must never panic on any input, and must never hold a part's bytes: those are in a blob before the record
//! names it.

use std::fmt;
use std::sync::Arc;

use super::codec::{DecodeError, field, fields, fixed, header, put_header, tag, text};

/// The most parts of one upload, and the highest number of one.
pub const MAX_PARTS: u16 = 10_000;

/// Names one upload: a v7 UUID, so that ids sort by the time when their uploads began.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UploadId(pub [u8; 16]);

impl UploadId {
    /// The id in 32 lower-case hex digits; none if it is not one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let mut id = [0; 16];
        let lower = !text.bytes().any(|b| b.is_ascii_uppercase());
        hex::decode_to_slice(text, &mut id).ok().filter(|()| lower).map(|()| Self(id))
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What an entry does to an upload. None of it is an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadChange {
    /// An upload begins.
    Begin(Arc<NewUpload>),
    /// It has this part from now on, in place of an earlier one with the same number.
    Part(Arc<NewPart>),
    /// It is gone with all its parts: aborted, or forgotten after its time.
    End(UploadId),
}

impl UploadChange {
    /// The upload it is about.
    pub fn id(&self) -> UploadId {
        match self {
            UploadChange::Begin(upload) => upload.id,
            UploadChange::Part(part) => part.upload,
            UploadChange::End(id) => *id,
        }
    }
}

/// An upload that begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUpload {
    /// Its name.
    pub id: UploadId,
    /// The bucket of the object it will be.
    pub bucket: Arc<str>,
    /// That object's key.
    pub key: Arc<str>,
    /// When, in microseconds since the Unix epoch.
    pub time_us: i64,
    /// The access key that began it.
    pub owner: Arc<str>,
    /// Metadata headers of the object it will be, as [`super::ObjectMeta::headers`].
    pub headers: Vec<(Arc<str>, Arc<str>)>,
    /// The checksum that its parts carry, if the client chose one.
    pub checksum: Option<PartChecksum>,
}

/// The checksum that a client chose for an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartChecksum {
    /// The header that carries it, such as `x-amz-checksum-crc32`.
    pub header: Arc<str>,
    /// The object's checksum is one of its parts' checksums, not of its bytes.
    pub composite: bool,
}

/// A part whose bytes are durable in a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPart {
    /// The upload.
    pub upload: UploadId,
    /// 1 to [`MAX_PARTS`].
    pub number: u16,
    /// Bytes.
    pub size: u64,
    /// MD5 of the bytes: its ETag.
    pub md5: [u8; 16],
    /// CRC-64/XZ of the bytes.
    pub crc64: u64,
    /// When it was committed, in microseconds since the Unix epoch.
    pub time_us: i64,
    /// The checksum that came with it, or that its upload asks for: header and value.
    pub sum: Option<(Arc<str>, Arc<str>)>,
    /// The blob's random name.
    pub blob: [u8; 16],
    /// CRC-32C of the bytes.
    pub crc32c: u32,
}

/// Appends an upload's fields, also as the value of an index row.
pub fn encode_upload(upload: &NewUpload, out: &mut Vec<u8>) {
    field(out, tag::UPLOAD, &upload.id.0);
    field(out, tag::BUCKET, upload.bucket.as_bytes());
    field(out, tag::KEY, upload.key.as_bytes());
    field(out, tag::TIME, &upload.time_us.to_le_bytes());
    field(out, tag::PRINCIPAL, upload.owner.as_bytes());
    for (name, value) in &upload.headers {
        put_header(out, tag::HEADER, name, value);
    }
    if let Some(PartChecksum { header, composite }) = &upload.checksum {
        put_header(out, tag::SUM, header, if *composite { "c" } else { "f" });
    }
}

/// Reads what [`encode_upload`] wrote.
pub fn decode_upload(bytes: &[u8]) -> Result<NewUpload, DecodeError> {
    let (mut id, mut bucket, mut key, mut time_us, mut owner) = (None, None, None, None, None);
    let (mut headers, mut checksum) = (Vec::new(), None);
    fields(bytes, |tag, value| {
        match tag {
            tag::UPLOAD => id = Some(UploadId(fixed(value)?)),
            tag::BUCKET => bucket = Some(text(value)?),
            tag::KEY => key = Some(text(value)?),
            tag::TIME => time_us = Some(i64::from_le_bytes(fixed(value)?)),
            tag::PRINCIPAL => owner = Some(text(value)?),
            tag::HEADER => headers.push(header(value)?),
            tag::SUM => {
                let (header, kind) = header(value)?;
                checksum = Some(PartChecksum { header, composite: &*kind == "c" });
            }
            unknown => return DecodeError::unknown(unknown),
        }
        Ok(())
    })?;
    let all = || Some((id?, bucket?, key?, time_us?, owner?));
    let (id, bucket, key, time_us, owner) = all().ok_or(DecodeError::Malformed("a field is missing"))?;
    Ok(NewUpload { id, bucket, key, time_us, owner, headers, checksum })
}

/// Appends a part's fields, also as the value of an index row.
pub fn encode_part(part: &NewPart, out: &mut Vec<u8>) {
    field(out, tag::UPLOAD, &part.upload.0);
    field(out, tag::NUMBER, &part.number.to_le_bytes());
    field(out, tag::SIZE, &part.size.to_le_bytes());
    field(out, tag::MD5, &part.md5);
    field(out, tag::CRC64, &part.crc64.to_le_bytes());
    field(out, tag::TIME, &part.time_us.to_le_bytes());
    if let Some((name, value)) = &part.sum {
        put_header(out, tag::SUM, name, value);
    }
    let mut blob = [0; 20];
    blob[..16].copy_from_slice(&part.blob);
    blob[16..].copy_from_slice(&part.crc32c.to_le_bytes());
    field(out, tag::BLOB, &blob);
}

/// Reads what [`encode_part`] wrote.
pub fn decode_part(bytes: &[u8]) -> Result<NewPart, DecodeError> {
    let (mut upload, mut number, mut size, mut md5) = (None, None, None, None);
    let (mut crc64, mut time_us, mut sum, mut blob) = (None, None, None, None::<[u8; 20]>);
    fields(bytes, |tag, value| {
        match tag {
            tag::UPLOAD => upload = Some(UploadId(fixed(value)?)),
            tag::NUMBER => number = Some(u16::from_le_bytes(fixed(value)?)),
            tag::SIZE => size = Some(u64::from_le_bytes(fixed(value)?)),
            tag::MD5 => md5 = Some(fixed(value)?),
            tag::CRC64 => crc64 = Some(u64::from_le_bytes(fixed(value)?)),
            tag::TIME => time_us = Some(i64::from_le_bytes(fixed(value)?)),
            tag::SUM => sum = Some(header(value)?),
            tag::BLOB => blob = Some(fixed(value)?),
            unknown => return DecodeError::unknown(unknown),
        }
        Ok(())
    })?;
    let all = || {
        let blob = blob?;
        let (name, crc) = blob.split_first_chunk::<16>()?;
        Some(NewPart {
            upload: upload?,
            number: number?,
            size: size?,
            md5: md5?,
            crc64: crc64?,
            time_us: time_us?,
            sum: sum.clone(),
            blob: *name,
            crc32c: u32::from_le_bytes(crc.try_into().ok()?),
        })
    };
    all().ok_or(DecodeError::Malformed("a field is missing"))
}

/// The code of a change of an upload in its record; [`decode`] takes the same.
pub(super) fn code(change: &UploadChange) -> u8 {
    match change {
        UploadChange::Begin(_) => 10,
        UploadChange::Part(_) => 11,
        UploadChange::End(_) => 12,
    }
}

/// Appends the fields of a change of an upload.
pub(super) fn encode(change: &UploadChange, out: &mut Vec<u8>) {
    match change {
        UploadChange::Begin(upload) => encode_upload(upload, out),
        UploadChange::Part(part) => encode_part(part, out),
        UploadChange::End(id) => field(out, tag::UPLOAD, &id.0),
    }
}

/// The change of an upload with this code; none if the code is of another change.
pub(super) fn decode(code: u8, bytes: &[u8]) -> Result<Option<UploadChange>, DecodeError> {
    Ok(Some(match code {
        10 => UploadChange::Begin(Arc::new(decode_upload(bytes)?)),
        11 => UploadChange::Part(Arc::new(decode_part(bytes)?)),
        12 => {
            let mut id = None;
            fields(bytes, |tag, value| match tag {
                tag::UPLOAD => {
                    id = Some(UploadId(fixed(value)?));
                    Ok(())
                }
                unknown => DecodeError::unknown(unknown),
            })?;
            UploadChange::End(id.ok_or(DecodeError::Malformed("a field is missing"))?)
        }
        _ => return Ok(None),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_32_lower_case_hex_digits() {
        let id = UploadId([0xab; 16]);
        assert_eq!(UploadId::parse(&id.to_string()), Some(id));
        for other in ["", "ab", &"AB".repeat(16), &"zz".repeat(16), &"ab".repeat(17)] {
            assert_eq!(UploadId::parse(other), None, "{other}");
        }
    }
}
