//! PUT Object: space first, then one pass over the body, then the commit path.
//!
//! Must never leave anything behind when the request ends at any await: permit, blob writer and blob handle
//! all give back what they hold when dropped, and nothing is spawned here.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::HeaderMap;
use http::header::{IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE};
use s3s::dto::{ChecksumType, ETag, ETagCondition, PutObjectInput, PutObjectOutput, StreamingBlob};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, StdError, s3_error};

use super::checksum::Algorithm;
use super::context::{BodyFault, Caller, RequestContext};
use super::digest::{BodyHash, Declared, Hashes};
use super::operations::Operations;
use super::{errors, headers, names};
use crate::commit::{Conditions, NewBody, PutObject};
use crate::event::EventKind;

/// What a record takes beside key, headers and body, in bytes: more than any record does.
const RECORD_OVERHEAD: usize = 1024;

/// Stores the object and answers once its event is durable.
pub(super) async fn object(
    operations: &Operations,
    req: S3Request<PutObjectInput>,
) -> S3Result<S3Response<PutObjectOutput>> {
    let caller = Caller::of(&req.extensions)?;
    let limits = &operations.limits;
    headers::only_known(&req.headers, &["x-amz-meta-"])?;
    headers::expected_owner(&req.headers, &limits.account)?;
    let input = req.input;
    names::check_key(&input.key)?;
    let conditions = conditions(&req.headers, input.if_match, input.if_none_match)?;
    let kept = headers::metadata(&req.headers)?;
    let declared = Declared::of(&req.headers)?;
    let size = caller.context.claim.length.ok_or(S3ErrorCode::MissingContentLength)?;
    if size > limits.max_object_bytes {
        return Err(S3ErrorCode::EntityTooLarge.into());
    }
    let inline = size <= limits.inline_bytes;
    let metadata: usize = kept.iter().map(|(name, value)| name.len() + value.len()).sum();
    let record = RECORD_OVERHEAD + input.bucket.len() + input.key.len() + metadata;
    let in_record = if inline { usize::try_from(size).unwrap_or(usize::MAX) } else { 0 };
    let permit = operations.commit.reserve(record.saturating_add(in_record)).await;
    let permit = permit.map_err(errors::of_commit)?;
    if !inline && operations.commit.store().bucket(&input.bucket).map_err(errors::of_store)?.is_none() {
        // The commit path decides; this only spares the client a long upload.
        return Err(S3ErrorCode::NoSuchBucket.into());
    }

    let body = Body { stream: input.body, hash: BodyHash::new(declared), size, context: &caller.context };
    let (body, hash) = match inline {
        true => body.read_inline().await?,
        false => body.read_blob(operations).await?,
    };
    let trailers = req.trailing_headers.and_then(|trailers| trailers.take());
    let hashes = hash.finish(trailers)?;

    let etag: Arc<str> = hashes.etag.as_str().into();
    let put = PutObject {
        bucket: input.bucket.into(),
        key: input.key.into(),
        kind: EventKind::CreatedPut,
        size,
        etag,
        crc64: hashes.crc64,
        headers: with_checksum(kept, &hashes),
        body,
        conditions,
        request: caller.request_info(),
    };
    operations.commit.put_object(permit, put).await.map_err(errors::of_commit)?;
    Ok(S3Response::new(answer(hashes)))
}

/// The preconditions that the commit path checks under the key's lock; all others are refused, not ignored.
fn conditions(
    headers: &HeaderMap,
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
) -> S3Result<Conditions> {
    if headers.contains_key(IF_MODIFIED_SINCE) || headers.contains_key(IF_UNMODIFIED_SINCE) {
        return Err(s3_error!(NotImplemented, "Not implemented: writes that depend on a time"));
    }
    let text = |condition: ETagCondition| match condition {
        ETagCondition::Any => Ok("*".to_owned()),
        ETagCondition::ETag(ETag::Strong(etag)) => Ok(etag),
        ETagCondition::ETag(ETag::Weak(_)) => {
            Err(s3_error!(NotImplemented, "Not implemented: writes that depend on a weak ETag"))
        }
    };
    Ok(Conditions {
        if_match: if_match.map(text).transpose()?,
        if_none_match: if_none_match.map(text).transpose()?,
    })
}

/// A verified checksum is kept with the object, so that readers can check what they get.
fn with_checksum(mut kept: Vec<(Arc<str>, Arc<str>)>, hashes: &Hashes) -> Vec<(Arc<str>, Arc<str>)> {
    if let Some((algorithm, value)) = &hashes.sum {
        kept.push((algorithm.header().into(), value.as_str().into()));
        kept.sort_unstable();
    }
    kept
}

fn answer(hashes: Hashes) -> PutObjectOutput {
    let mut output = PutObjectOutput { e_tag: Some(ETag::Strong(hashes.etag)), ..Default::default() };
    if let Some((algorithm, value)) = hashes.sum {
        output.checksum_type = Some(ChecksumType::from_static(ChecksumType::FULL_OBJECT));
        match algorithm {
            Algorithm::Crc32 => output.checksum_crc32 = Some(value),
            Algorithm::Crc32c => output.checksum_crc32c = Some(value),
            Algorithm::Crc64Nvme => output.checksum_crc64nvme = Some(value),
            Algorithm::Sha1 => output.checksum_sha1 = Some(value),
            Algorithm::Sha256 => output.checksum_sha256 = Some(value),
        }
    }
    output
}

/// A body being read.
struct Body<'a> {
    stream: Option<StreamingBlob>,
    hash: BodyHash,
    /// Declared bytes; fewer or more are refused.
    size: u64,
    context: &'a RequestContext,
}

impl Body<'_> {
    /// Reads a small body into one allocation of its own: a slice of the connection's buffer would keep all
    /// of it alive for as long as the record is in memory.
    async fn read_inline(mut self) -> S3Result<(NewBody, BodyHash)> {
        let mut bytes = BytesMut::with_capacity(usize::try_from(self.size).unwrap_or(0));
        while let Some(data) = self.next(bytes.len() as u64).await? {
            bytes.extend_from_slice(&data);
        }
        self.ended(bytes.len() as u64)?;
        Ok((NewBody::Inline(bytes.freeze()), self.hash))
    }

    /// Writes a large body to a blob, frame by frame. Dropped on the way, the blob's file goes.
    async fn read_blob(mut self, operations: &Operations) -> S3Result<(NewBody, BodyHash)> {
        let mut blob = operations.commit.store().new_blob().await.map_err(errors::of_store)?;
        let mut read = 0;
        while let Some(data) = self.next(read).await? {
            read += data.len() as u64;
            blob.write(data).await.map_err(errors::of_store)?;
        }
        self.ended(read)?;
        let handle = blob.finish().await.map_err(errors::of_store)?;
        Ok((NewBody::Blob(handle), self.hash))
    }

    /// The next bytes, hashed, when `read` bytes have come.
    async fn next(&mut self, read: u64) -> S3Result<Option<Bytes>> {
        let Some(stream) = &mut self.stream else { return Ok(None) };
        let data = match stream.next().await {
            None => return Ok(None),
            Some(Ok(data)) => data,
            Some(Err(error)) => return Err(self.failed(&error)),
        };
        if read + data.len() as u64 > self.size {
            return Err(BodyFault::Length.into());
        }
        self.hash.update(&data);
        Ok(Some(data))
    }

    fn ended(&self, read: u64) -> S3Result<()> {
        match read == self.size {
            true => Ok(()),
            false => Err(BodyFault::Length.into()),
        }
    }

    /// Why the stream failed: what we noted on the way in or, if it was the verifier, what its pinned version
    /// says.
    fn failed(&self, error: &StdError) -> S3Error {
        let fault = self.context.fault.get().copied().unwrap_or_else(|| {
            let text = error.to_string();
            match text.as_str() {
                _ if text.contains("Sha256Mismatch") => BodyFault::Sha256,
                _ if text.contains("SignatureMismatch") => BodyFault::ChunkSignature,
                _ if text.contains("Length") || text.contains("Incomplete") => BodyFault::Length,
                _ => BodyFault::Framing("it could not be read"),
            }
        });
        fault.into()
    }
}
