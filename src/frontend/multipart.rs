//! Multipart uploads: begin, abort, and what all their operations share.
//!
//! Must never take another bucket's or key's upload for the one that is asked for.

use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, ChecksumAlgorithm, ChecksumType,
    CreateMultipartUploadInput, CreateMultipartUploadOutput,
};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::checksum::Algorithm;
use super::context::Caller;
use super::operations::Operations;
use super::{errors, headers, names};
use crate::commit::BeginUpload;
use crate::queue::{PartChecksum, UploadId};
use crate::store::Upload;

/// What a record about an upload takes beside names and headers, in bytes: more than any does.
pub(super) const RECORD_OVERHEAD: usize = 1024;

/// Begins an upload.
pub(super) async fn begin(
    operations: &Operations,
    req: S3Request<CreateMultipartUploadInput>,
) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
    let caller = Caller::of(&req.extensions)?;
    headers::only_known(&req.headers, &headers::OF_NEW_OBJECT)?;
    headers::expected_owner(&req.headers, &operations.limits.account)?;
    let input = req.input;
    names::check_key(&input.key)?;
    let kept = headers::kept(&req.headers)?;
    let checksum = chosen_checksum(input.checksum_algorithm.as_ref(), input.checksum_type.as_ref())?;
    let metadata: usize = kept.iter().map(|(name, value)| name.len() + value.len()).sum();
    let record = RECORD_OVERHEAD + input.bucket.len() + input.key.len() + metadata;
    let permit = operations.commit.reserve(record).await.map_err(errors::of_commit)?;
    let begin = BeginUpload {
        bucket: input.bucket.as_str().into(),
        key: input.key.as_str().into(),
        headers: kept,
        checksum: checksum
            .map(|(algorithm, composite)| PartChecksum { header: algorithm.header().into(), composite }),
        request: caller.request_info(),
    };
    let id = operations.commit.begin_upload(permit, begin).await.map_err(errors::of_commit)?;
    Ok(S3Response::new(CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(id.to_string()),
        checksum_algorithm: checksum.map(|(algorithm, _)| ChecksumAlgorithm::from_static(algorithm.name())),
        checksum_type: checksum.map(|(_, composite)| type_of(composite)),
        ..Default::default()
    }))
}

/// The checksum that the client wants for its object, and whether it is one of the parts' checksums.
fn chosen_checksum(
    algorithm: Option<&ChecksumAlgorithm>,
    kind: Option<&ChecksumType>,
) -> S3Result<Option<(Algorithm, bool)>> {
    let Some(algorithm) = algorithm else {
        return match kind {
            None => Ok(None),
            Some(_) => Err(s3_error!(InvalidRequest, "x-amz-checksum-type needs x-amz-checksum-algorithm")),
        };
    };
    let algorithm = named(algorithm)?;
    let composite = match kind.map(ChecksumType::as_str) {
        None => algorithm != Algorithm::Crc64Nvme,
        Some(ChecksumType::COMPOSITE) if algorithm != Algorithm::Crc64Nvme => true,
        Some(ChecksumType::FULL_OBJECT) if algorithm.is_combinable() => false,
        Some(_) => {
            let name = algorithm.name();
            return Err(s3_error!(InvalidRequest, "This checksum type cannot be used with {name}"));
        }
    };
    Ok(Some((algorithm, composite)))
}

/// The checksum with this name.
pub(super) fn named(name: &ChecksumAlgorithm) -> S3Result<Algorithm> {
    let unknown = || s3_error!(InvalidRequest, "Checksum algorithm provided is unsupported");
    Algorithm::of_name(name.as_str()).ok_or_else(unknown)
}

pub(super) fn type_of(composite: bool) -> ChecksumType {
    ChecksumType::from_static(if composite { ChecksumType::COMPOSITE } else { ChecksumType::FULL_OBJECT })
}

/// The id in a request; one that is not ours is that of no upload.
pub(super) fn upload_id(text: &str) -> S3Result<UploadId> {
    UploadId::parse(text).ok_or_else(|| S3ErrorCode::NoSuchUpload.into())
}

/// The upload of a request, open or done.
pub(super) fn find(operations: &Operations, bucket: &str, key: &str, id: UploadId) -> S3Result<Upload> {
    let store = operations.commit.store();
    let found = store.upload(id).map_err(errors::of_store)?;
    match found.filter(|upload| &*upload.begun.bucket == bucket && &*upload.begun.key == key) {
        Some(upload) => Ok(upload),
        None if store.bucket(bucket).map_err(errors::of_store)?.is_none() => {
            Err(S3ErrorCode::NoSuchBucket.into())
        }
        None => Err(S3ErrorCode::NoSuchUpload.into()),
    }
}

/// Ends an open upload.
pub(super) async fn abort(
    operations: &Operations,
    req: S3Request<AbortMultipartUploadInput>,
) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
    Caller::of(&req.extensions)?;
    headers::only_known(&req.headers, &[])?;
    headers::expected_owner(&req.headers, &operations.limits.account)?;
    let input = req.input;
    names::check_key(&input.key)?;
    let id = upload_id(&input.upload_id)?;
    // Nothing is written for an upload that is not there.
    find(operations, &input.bucket, &input.key, id)?;
    let permit = operations.commit.reserve(RECORD_OVERHEAD).await.map_err(errors::of_commit)?;
    let aborted = operations.commit.abort_upload(permit, &input.bucket, &input.key, id).await;
    aborted.map_err(errors::of_commit)?;
    Ok(S3Response::new(AbortMultipartUploadOutput::default()))
}
