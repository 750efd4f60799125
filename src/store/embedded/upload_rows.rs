//! Keys and rows of uploads and their parts.
//!
//! Must never hold a part's bytes, and decoding must never panic.

use std::sync::Arc;

use super::row::{damaged, object_key, open, put_text, seal, take, take_text};
use crate::queue::{NewPart, NewUpload, UploadId, decode_part, decode_upload, encode_part, encode_upload};
use crate::store::{Done, StoreError, Upload};

/// The first byte of every row: another one is a row of a newer tidings.
const ROW_VERSION: u8 = 1;
const OPEN: u8 = 0;
const DONE: u8 = 1;

/// The index key of an open upload: bucket, zero byte, key, zero byte, id. Neither name holds a zero byte.
pub(super) fn open_key(bucket: &str, key: &str, id: UploadId) -> Vec<u8> {
    let mut out = Vec::new();
    object_key(&mut out, bucket, key);
    out.push(0);
    out.extend_from_slice(&id.0);
    out
}

/// The id at the end of an index key of an open upload.
pub(super) fn id_of_open_key(key: &[u8]) -> Option<UploadId> {
    key.split_last_chunk().map(|(_, id)| UploadId(*id))
}

/// The index key of a part.
pub(super) fn part_key(id: UploadId, number: u16) -> [u8; 18] {
    let mut key = [0; 18];
    key[..16].copy_from_slice(&id.0);
    key[16..].copy_from_slice(&number.to_be_bytes());
    key
}

/// Appends an upload's row.
pub(super) fn put_upload(out: &mut Vec<u8>, upload: &NewUpload, done: Option<&Done>) {
    let from = out.len();
    out.extend_from_slice(&[ROW_VERSION, if done.is_some() { DONE } else { OPEN }]);
    if let Some(done) = done {
        out.extend_from_slice(&done.time_us.to_le_bytes());
        let (name, value) = done.sum.as_ref().map_or(("", ""), |(name, value)| (name, value));
        for text in [&done.etag, name, value, done.version.as_deref().unwrap_or_default()] {
            put_text(out, text);
        }
    }
    encode_upload(upload, out);
    seal(out, from, &upload.id.0);
}

/// The upload of a row.
pub(super) fn upload(key: &[u8], row: &[u8]) -> Result<Upload, StoreError> {
    let decode = || {
        let mut rest = open(key, row)?;
        let done = match take::<1>(&mut rest)? {
            [DONE] => {
                let time_us = i64::from_le_bytes(take(&mut rest)?);
                let etag = take_text(&mut rest)?.into();
                let (name, value) = (take_text(&mut rest)?, take_text(&mut rest)?);
                let version = Some(take_text(&mut rest)?).filter(|text| !text.is_empty()).map(Into::into);
                let sum = (!name.is_empty()).then(|| (name.into(), value.into()));
                Some(Done { time_us, etag, sum, version })
            }
            _ => None,
        };
        Some(Upload { begun: Arc::new(decode_upload(rest).ok()?), done })
    };
    decode().ok_or_else(|| damaged(key))
}

/// Appends a part's row.
pub(super) fn put_part(out: &mut Vec<u8>, part: &NewPart) {
    let from = out.len();
    out.push(ROW_VERSION);
    encode_part(part, out);
    seal(out, from, &part_key(part.upload, part.number));
}

/// The part of a row.
pub(super) fn part(key: &[u8], row: &[u8]) -> Result<Arc<NewPart>, StoreError> {
    let decode = || Some(Arc::new(decode_part(open(key, row)?).ok()?));
    decode().ok_or_else(|| damaged(key))
}
