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
use s3s::dto::{CopyObjectInput, CopyObjectOutput, CopyObjectResult, ETag, ETagCondition, MetadataDirective};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::checksum::Algorithm;
use super::context::Caller;
use super::digest::{BodyHash, Declared, Hashes};
use super::found::{Failure, version_of};
use super::headers::OF_NEW_OBJECT;
use super::multipart::{RECORD_OVERHEAD, named};
use super::operations::Operations;
use super::put::{self, with_checksum};
use super::source::{Source, check_headers, conditions};
use super::{buckets, classes, errors, headers, names, tags};
use crate::commit::{Conditions, NewBody, PutObject};
use crate::event::EventKind;
use crate::queue::TAGS;
use crate::store::{BlobHandle, Object, StoreError};

/// How often a source is looked up again when it was replaced meanwhile.
pub(super) const MAX_LOOKUPS: usize = 5;
/// What says whose metadata and tags a copy gets.
const DIRECTIVES: [&str; 2] = ["x-amz-metadata-directive", "x-amz-tagging-directive"];

/// What must hold for the object that a copy overwrites.
fn on_destination(headers: &HeaderMap) -> S3Result<Conditions> {
    let one = |name| {
        let value = headers.get(name).map(|value| ETagCondition::parse_http_header(value.as_bytes()));
        value.transpose().map_err(|_| s3_error!(InvalidArgument, "A condition is not an ETag."))
    };
    put::conditions(headers, one(IF_MATCH)?, one(IF_NONE_MATCH)?)
}

/// Copies an object.
pub(super) async fn object(
    operations: &Operations,
    req: S3Request<CopyObjectInput>,
) -> S3Result<S3Response<CopyObjectOutput>> {
    let caller = Caller::of(&req.extensions)?;
    check_headers(operations, &req.headers, &[&OF_NEW_OBJECT[..], &DIRECTIVES].concat())?;
    let input = req.input;
    names::check_key(&input.key)?;
    let replaces = match input.metadata_directive.as_ref().map(MetadataDirective::as_str) {
        None | Some(MetadataDirective::COPY) => false,
        Some(MetadataDirective::REPLACE) => true,
        Some(_) => return Err(s3_error!(InvalidArgument, "Unknown metadata directive.")),
    };
    let wanted = input.checksum_algorithm.as_ref().map(named).transpose()?;
    let conditions = conditions(
        input.copy_source_if_match,
        input.copy_source_if_none_match,
        input.copy_source_if_modified_since,
        input.copy_source_if_unmodified_since,
    );
    let source = Source::of(&caller, input.copy_source, conditions)?;
    let itself = source.bucket == input.bucket && source.key == input.key && source.version.is_none();
    // A class is a change even where it is the one that the object has: so are objects written anew.
    if itself && !replaces && !classes::is_named(&req.headers) {
        return Err(s3_error!(
            InvalidRequest,
            "This copy request is illegal because it is trying to copy an object to itself without changing \
             the object's metadata, storage class, website redirect location or encryption attributes."
        ));
    }
    let mut conditions = on_destination(&req.headers)?;
    operations.commit.foresee(&input.bucket, &input.key, &mut conditions).map_err(errors::of_commit)?;
    let kept = Kept::of(&req.headers, replaces)?;
    let store = operations.commit.store();
    if store.bucket(&input.bucket).map_err(errors::of_store)?.is_none() {
        return Err(S3ErrorCode::NoSuchBucket.into());
    }
    let (bucket, key) = (input.bucket, input.key);
    let copy = Copy { bucket, key, source, kept, checksum: wanted, conditions };
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
    /// What of the headers the request itself says.
    kept: Kept,
    /// The checksum that the client wants.
    checksum: Option<Algorithm>,
    /// What must hold for the object that it overwrites.
    conditions: Conditions,
}

impl Copy {
    async fn once(&self, operations: &Operations, caller: &Caller) -> Result<CopyObjectOutput, Failure> {
        let found = self.source.find(operations)?;
        let kept = self.kept.over(&found);
        let metadata: usize = kept.iter().map(|(name, value)| name.len() + value.len()).sum();
        let inline = found.size <= operations.limits.inline_bytes;
        let in_record = if inline { usize::try_from(found.size).unwrap_or(usize::MAX) } else { 0 };
        let record = RECORD_OVERHEAD + self.bucket.len() + self.key.len() + metadata;
        let _space = operations.commit.reserve_body(found.size).map_err(errors::of_commit)?;
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
            conditions: self.conditions.clone(),
            request: caller.request_info(),
        };
        caller.note_crc64(hashes.crc64);
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

/// What a copy keeps: metadata and tags are the source's or the request's, as its directives say. The class
/// is the request's, and the checksums are the copy's own.
struct Kept {
    metadata: Option<headers::Kept>,
    tags: Option<Arc<str>>,
    class: Option<(Arc<str>, Arc<str>)>,
}

impl Kept {
    fn of(headers: &HeaderMap, replaces: bool) -> S3Result<Self> {
        let metadata = replaces.then(|| headers::metadata(headers)).transpose()?;
        let replaces_tags = match headers.get("x-amz-tagging-directive").map(|value| value.as_bytes()) {
            None | Some(b"COPY") => false,
            Some(b"REPLACE") => true,
            Some(_) => return Err(s3_error!(InvalidArgument, "Unknown tagging directive.")),
        };
        if !replaces_tags && headers.contains_key(TAGS) {
            return Err(s3_error!(InvalidArgument, "x-amz-tagging needs the tagging directive REPLACE"));
        }
        let tags = replaces_tags.then(|| tags::of_headers(headers)).transpose()?;
        Ok(Self { metadata, tags, class: classes::wanted(headers)? })
    }

    fn over(&self, source: &Object) -> headers::Kept {
        let not_metadata = |name: &str| Algorithm::is_header(name) || name == TAGS || name == classes::HEADER;
        let of_source =
            || source.meta.headers.iter().filter(|(name, _)| !not_metadata(name)).cloned().collect();
        let mut kept: headers::Kept = self.metadata.clone().unwrap_or_else(of_source);
        let tags = self.tags.as_deref().unwrap_or(source.meta.tags());
        if !tags.is_empty() {
            kept.push((TAGS.into(), tags.into()));
        }
        kept.extend(self.class.clone());
        kept.sort_unstable();
        kept
    }
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
