//! CopyObject, and what it shares with UploadPartCopy: bytes that are here already become another object.
//!
//! A copy is a copy of the bytes, read and hashed once more: what it becomes shares no file with its source.
//! Must never copy what the conditions forbid, nor bytes of a source that was replaced half-way.

use std::ops::Range;
use std::sync::Arc;

use bytes::BytesMut;
use futures_util::TryStreamExt;
use http::HeaderMap;
use http::header::{IF_MATCH, IF_NONE_MATCH};
use s3s::dto::{
    CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource, ETag, ETagCondition, MetadataDirective,
    Timestamp,
};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::checksum::Algorithm;
use super::context::Caller;
use super::digest::{BodyHash, Declared, Hashes};
use super::found::{Conditions, Failure, check_conditions, lookup, version_of};
use super::multipart::{RECORD_OVERHEAD, named};
use super::operations::Operations;
use super::put::with_checksum;
use super::{buckets, errors, headers, names};
use crate::commit::{NewBody, PutObject};
use crate::event::EventKind;
use crate::store::{BlobHandle, Object, StoreError};

/// How often a source is looked up again when it was replaced meanwhile.
pub(super) const MAX_LOOKUPS: usize = 5;
/// The headers that belong to a copy's source.
const OF_SOURCE: [&str; 7] = [
    "x-amz-copy-source",
    "x-amz-copy-source-if-match",
    "x-amz-copy-source-if-none-match",
    "x-amz-copy-source-if-modified-since",
    "x-amz-copy-source-if-unmodified-since",
    "x-amz-source-expected-bucket-owner",
    "x-amz-copy-source-range",
];

/// What a copy is made of.
pub(super) struct Source {
    bucket: String,
    key: String,
    version: Option<String>,
    conditions: Conditions,
}

impl Source {
    pub(super) fn of(source: CopySource, conditions: Conditions) -> S3Result<Self> {
        match source {
            CopySource::Bucket { bucket, key, version_id } => {
                names::check_key(&key)?;
                let version = version_id.map(Into::into);
                Ok(Self { bucket: bucket.into(), key: key.into(), version, conditions })
            }
            _ => Err(s3_error!(NotImplemented, "Not implemented: copies from an access point")),
        }
    }

    /// The object as it is now.
    pub(super) fn find(&self, operations: &Operations) -> S3Result<Object> {
        let object = lookup(operations, &self.bucket, &self.key, self.version.as_deref());
        let object = object.map_err(|error| match *error.code() {
            S3ErrorCode::MethodNotAllowed => s3_error!(
                InvalidRequest,
                "The source of a copy request may not specifically refer to a delete marker by version id."
            ),
            _ => error,
        })?;
        // Whatever does not hold, a copy answers 412.
        check_conditions(&self.conditions, &object).map_err(|_| S3ErrorCode::PreconditionFailed)?;
        if object.size > operations.limits.max_object_bytes {
            return Err(s3_error!(InvalidRequest, "The copy source is larger than one copy may be"));
        }
        Ok(object)
    }
}

pub(super) fn conditions(
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
    if_modified_since: Option<Timestamp>,
    if_unmodified_since: Option<Timestamp>,
) -> Conditions {
    Conditions { if_match, if_none_match, if_modified_since, if_unmodified_since }
}

pub(super) fn check_headers(operations: &Operations, headers: &HeaderMap, more: &[&str]) -> S3Result<()> {
    headers::only_known(headers, &[&OF_SOURCE, more].concat())?;
    let account = &operations.limits.account;
    headers::expected_owner(headers, account)?;
    if headers.get("x-amz-source-expected-bucket-owner").is_some_and(|o| o.as_bytes() != account.as_bytes()) {
        return Err(s3_error!(AccessDenied, "The source bucket has another owner"));
    }
    // A condition that is ignored overwrites what it should have saved.
    for name in [IF_MATCH, IF_NONE_MATCH] {
        if headers.contains_key(&name) {
            return Err(s3_error!(NotImplemented, "Not implemented: the header {name} of a copy"));
        }
    }
    Ok(())
}

/// Copies an object.
pub(super) async fn object(
    operations: &Operations,
    req: S3Request<CopyObjectInput>,
) -> S3Result<S3Response<CopyObjectOutput>> {
    let caller = Caller::of(&req.extensions)?;
    check_headers(operations, &req.headers, &["x-amz-meta-", "x-amz-metadata-directive"])?;
    let input = req.input;
    names::check_key(&input.key)?;
    let replaces = match input.metadata_directive.as_ref().map(MetadataDirective::as_str) {
        None | Some(MetadataDirective::COPY) => false,
        Some(MetadataDirective::REPLACE) => true,
        Some(_) => return Err(s3_error!(InvalidArgument, "Unknown metadata directive.")),
    };
    let wanted = input.checksum_algorithm.as_ref().map(named).transpose()?;
    let source = Source::of(
        input.copy_source,
        conditions(
            input.copy_source_if_match,
            input.copy_source_if_none_match,
            input.copy_source_if_modified_since,
            input.copy_source_if_unmodified_since,
        ),
    )?;
    let itself = source.bucket == input.bucket && source.key == input.key && source.version.is_none();
    if itself && !replaces {
        return Err(s3_error!(
            InvalidRequest,
            "This copy request is illegal because it is trying to copy an object to itself without changing \
             the object's metadata, storage class, website redirect location or encryption attributes."
        ));
    }
    let replaced = if replaces { Some(headers::metadata(&req.headers)?) } else { None };
    let store = operations.commit.store();
    if store.bucket(&input.bucket).map_err(errors::of_store)?.is_none() {
        return Err(S3ErrorCode::NoSuchBucket.into());
    }
    let copy = Copy { bucket: input.bucket, key: input.key, source, headers: replaced, checksum: wanted };
    for _ in 0..MAX_LOOKUPS {
        match copy.once(operations, &caller).await {
            Err(Failure::Gone) => {}
            answer => return Ok(S3Response::new(answer?)),
        }
    }
    Err(errors::of_store(StoreError::Gone))
}

/// One copy that is asked for.
struct Copy {
    bucket: String,
    key: String,
    source: Source,
    /// The headers instead of the source's.
    headers: Option<Vec<(Arc<str>, Arc<str>)>>,
    /// The checksum that the client wants.
    checksum: Option<Algorithm>,
}

impl Copy {
    async fn once(&self, operations: &Operations, caller: &Caller) -> Result<CopyObjectOutput, Failure> {
        let found = self.source.find(operations)?;
        let kept = self.headers.clone().unwrap_or_else(|| without_checksums(&found));
        let metadata: usize = kept.iter().map(|(name, value)| name.len() + value.len()).sum();
        let inline = found.size <= operations.limits.inline_bytes;
        let in_record = if inline { usize::try_from(found.size).unwrap_or(usize::MAX) } else { 0 };
        let record = RECORD_OVERHEAD + self.bucket.len() + self.key.len() + metadata;
        let permit = operations.commit.reserve(record.saturating_add(in_record)).await;
        let permit = permit.map_err(errors::of_commit)?;
        // The copy has a checksum of its own bytes, of the kind that was asked for or that its source has.
        let hash = BodyHash::with_sum(Declared::default(), self.checksum.or_else(|| algorithm_of(&found)));
        let copied = match inline {
            true => copy_inline(operations, &found, hash).await,
            false => {
                let copied = copy_blob(operations, &found, 0..found.size, hash).await;
                copied.map(|(blob, hashes)| (NewBody::Blob(blob), hashes))
            }
        };
        let (body, hashes) = match copied {
            Err(StoreError::Gone) => return Err(Failure::Gone),
            copied => copied.map_err(errors::of_store)?,
        };
        let etag: Arc<str> = hex::encode(hashes.md5).into();
        let put = PutObject {
            bucket: self.bucket.as_str().into(),
            key: self.key.as_str().into(),
            kind: EventKind::CreatedCopy,
            size: found.size,
            etag: Arc::clone(&etag),
            crc64: hashes.crc64,
            headers: with_checksum(kept, hashes.sum.clone()),
            body,
            conditions: crate::commit::Conditions::default(),
            request: caller.request_info(),
        };
        let made = operations.commit.put_object(permit, put).await.map_err(errors::of_commit)?;
        let mut result = CopyObjectResult {
            e_tag: Some(ETag::Strong(etag.to_string())),
            last_modified: Some(buckets::time(made.time_us)),
            ..Default::default()
        };
        if let Some((algorithm, value)) = hashes.sum {
            set_checksum!(result, algorithm, value);
        }
        Ok(CopyObjectOutput {
            copy_object_result: Some(result),
            copy_source_version_id: version_of(operations, &found)?,
            version_id: made.version.map(|version| version.to_string()),
            ..Default::default()
        })
    }
}

/// The source's headers but its checksums, which may be those of its parts.
fn without_checksums(object: &Object) -> Vec<(Arc<str>, Arc<str>)> {
    object.meta.headers.iter().filter(|(name, _)| !Algorithm::is_header(name)).cloned().collect()
}

fn algorithm_of(object: &Object) -> Option<Algorithm> {
    object.meta.headers.iter().find_map(|(name, _)| Algorithm::of_header(name))
}

async fn copy_inline(
    operations: &Operations,
    object: &Object,
    mut hash: BodyHash,
) -> Result<(NewBody, Hashes), StoreError> {
    let mut bytes = BytesMut::new();
    let mut stream = operations.commit.store().read(object, 0..object.size).await?;
    while let Some(run) = stream.try_next().await? {
        hash.update(&run);
        bytes.extend_from_slice(&run);
    }
    Ok((NewBody::Inline(bytes.freeze()), hash.computed()))
}

/// Dropped on the way, the blob's file goes.
pub(super) async fn copy_blob(
    operations: &Operations,
    object: &Object,
    range: Range<u64>,
    mut hash: BodyHash,
) -> Result<(BlobHandle, Hashes), StoreError> {
    let store = operations.commit.store();
    let mut stream = store.read(object, range).await?;
    let mut blob = store.new_blob().await?;
    while let Some(run) = stream.try_next().await? {
        hash.update(&run);
        blob.write(run).await?;
    }
    Ok((blob.finish().await?, hash.computed()))
}
