//! A form's file on its way into a record or a blob.
//!
//! Must never leave anything behind when the request ends at any await, and never make the object before all
//! of the form was read.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use http::HeaderMap;
use s3s::{S3ErrorCode, S3Result};

use super::read::Reader;
use crate::commit::{BodySpace, Conditions, NewBody, PutObject};
use crate::event::EventKind;
use crate::frontend::context::{BodyFault, Caller};
use crate::frontend::digest::{BodyHash, Declared};
use crate::frontend::intake::{Intake, Taken};
use crate::frontend::operations::Operations;
use crate::frontend::put::{RECORD_OVERHEAD, with_checksum};
use crate::frontend::{errors, headers};
use crate::queue::Permit;

/// What is to be stored.
pub(super) struct Wanted<'a> {
    pub(super) bucket: &'a str,
    pub(super) key: &'a str,
    pub(super) headers: &'a HeaderMap,
    /// What the policy lets a file have, in bytes.
    pub(super) least: u64,
    pub(super) most: u64,
    /// Bytes of the whole form: no file has more.
    pub(super) length: u64,
}

/// A file whose bytes are here, durable or in memory.
pub(super) struct Stored {
    permit: Permit,
    _space: BodySpace,
    put: PutObjectOf,
}

/// What is known of the object to be.
struct PutObjectOf {
    bucket: Arc<str>,
    key: Arc<str>,
    size: u64,
    etag: Arc<str>,
    crc64: u64,
    headers: headers::Kept,
    body: NewBody,
}

/// A durable object.
pub(super) struct Made {
    pub(super) etag: Arc<str>,
    pub(super) crc64: u64,
    pub(super) version: Option<String>,
}

/// Takes space, then reads the file.
pub(super) async fn read<S>(
    operations: &Operations,
    wanted: &Wanted<'_>,
    reader: &mut Reader<S>,
) -> S3Result<Stored>
where
    S: Stream<Item = Result<Bytes, BodyFault>> + Unpin,
{
    let limits = &operations.limits;
    let kept = headers::kept(wanted.headers)?;
    let declared = Declared::of(wanted.headers)?;
    let most = limits.max_object_bytes.min(wanted.most);
    if operations.commit.store().bucket(wanted.bucket).map_err(errors::of_store)?.is_none() {
        return Err(S3ErrorCode::NoSuchBucket.into());
    }
    let space = operations.commit.reserve_body(wanted.length.min(most)).map_err(errors::of_commit)?;
    let metadata: usize = kept.iter().map(|(name, value)| name.len() + value.len()).sum();
    let inline = limits.inline_bytes.min(wanted.length);
    let record = RECORD_OVERHEAD + wanted.bucket.len() + wanted.key.len() + metadata;
    let in_record = usize::try_from(inline).unwrap_or(usize::MAX);
    let permit = operations.commit.reserve(record.saturating_add(in_record)).await;
    let permit = permit.map_err(errors::of_commit)?;
    let hash = BodyHash::new(declared);
    let Taken { body, size, hash } = file(operations, reader, inline, most, hash).await?;
    if size < wanted.least {
        return Err(S3ErrorCode::EntityTooSmall.into());
    }
    let hashes = hash.finish(None)?;
    let put = PutObjectOf {
        bucket: wanted.bucket.into(),
        key: wanted.key.into(),
        size,
        etag: hex::encode(hashes.md5).into(),
        crc64: hashes.crc64,
        headers: with_checksum(kept, hashes.sum),
        body,
    };
    Ok(Stored { permit, _space: space, put })
}

/// The bytes, in memory up to `inline` of them, else in a blob.
async fn file<S>(
    operations: &Operations,
    reader: &mut Reader<S>,
    inline: u64,
    most: u64,
    hash: BodyHash,
) -> S3Result<Taken>
where
    S: Stream<Item = Result<Bytes, BodyFault>> + Unpin,
{
    let mut intake = Intake::new(&**operations.commit.store(), inline, hash);
    while let Some(data) = reader.data().await? {
        if intake.size() + data.len() as u64 > most {
            return Err(S3ErrorCode::EntityTooLarge.into());
        }
        intake.take(data).await.map_err(errors::of_store)?;
    }
    intake.finish().await.map_err(errors::of_store)
}

impl Stored {
    /// Makes the object.
    pub(super) async fn commit(self, operations: &Operations, caller: &Caller) -> S3Result<Made> {
        let PutObjectOf { bucket, key, size, etag, crc64, headers, body } = self.put;
        let put = PutObject {
            bucket,
            key,
            kind: EventKind::CreatedPost,
            size,
            etag: Arc::clone(&etag),
            crc64,
            headers,
            body,
            conditions: Conditions::default(),
            request: caller.request_info(),
        };
        let made = operations.commit.put_object(self.permit, put).await.map_err(errors::of_commit)?;
        Ok(Made { etag, crc64, version: made.version.map(|version| version.to_string()) })
    }
}
