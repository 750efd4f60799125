//! Parts of an upload: upload one, list them.
//!
//! Must never acknowledge a part whose bytes are not durable, and never leave one behind that was not
//! acknowledged.

use s3s::dto::{
    ChecksumAlgorithm, ETag, Initiator, ListPartsInput, ListPartsOutput, Part, StorageClass, UploadPartInput,
    UploadPartOutput,
};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::body::Body;
use super::checksum::Algorithm;
use super::context::Caller;
use super::digest::{BodyHash, Declared};
use super::list::page_size;
use super::multipart::{RECORD_OVERHEAD, find, type_of, upload_id};
use super::operations::Operations;
use super::{buckets, classes, errors, headers, names};
use crate::commit::PutPart;
use crate::queue::{MAX_PARTS, UploadId};

/// Where a part goes.
pub(super) struct Place {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) upload: UploadId,
    pub(super) number: u16,
}

impl Place {
    pub(super) fn of(bucket: &str, key: &str, upload: &str, number: i32) -> S3Result<Self> {
        names::check_key(key)?;
        let number = u16::try_from(number).ok().filter(|number| (1..=MAX_PARTS).contains(number));
        let number = number.ok_or_else(|| {
            s3_error!(InvalidArgument, "Part number must be an integer between 1 and 10000, inclusive")
        })?;
        Ok(Self { bucket: bucket.to_owned(), key: key.to_owned(), upload: upload_id(upload)?, number })
    }

    /// The checksum that the upload wants of its parts. The commit path decides whether the upload is open;
    /// that it is looked up here too spares the client a long upload.
    pub(super) fn checksum(&self, operations: &Operations) -> S3Result<Option<Algorithm>> {
        let found = find(operations, &self.bucket, &self.key, self.upload)?;
        if found.done.is_some() {
            return Err(S3ErrorCode::NoSuchUpload.into());
        }
        Ok(found.begun.checksum.as_ref().and_then(|chosen| Algorithm::of_header(&chosen.header)))
    }
}

/// Stores one part.
pub(super) async fn upload(
    operations: &Operations,
    req: S3Request<UploadPartInput>,
) -> S3Result<S3Response<UploadPartOutput>> {
    let caller = Caller::of(&req.extensions)?;
    headers::only_known(&req.headers, &[])?;
    headers::expected_owner(&req.headers, &operations.limits.account)?;
    let input = req.input;
    let place = Place::of(&input.bucket, &input.key, &input.upload_id, input.part_number)?;
    let declared = Declared::of(&req.headers)?;
    let size = caller.context.claim.length.ok_or(S3ErrorCode::MissingContentLength)?;
    if size > operations.limits.max_object_bytes {
        return Err(S3ErrorCode::EntityTooLarge.into());
    }
    let _space = operations.commit.reserve_body(size).map_err(errors::of_commit)?;
    let permit = operations.commit.reserve(RECORD_OVERHEAD).await.map_err(errors::of_commit)?;
    let chosen = place.checksum(operations)?;
    if let (Some(declared), Some(chosen)) = (declared.algorithm(), chosen)
        && declared != chosen
    {
        let (expected, actual) = (chosen.name(), declared.name());
        return Err(s3_error!(
            InvalidRequest,
            "Checksum Type mismatch occurred, expected checksum Type: {expected}, \
             actual checksum Type: {actual}"
        ));
    }
    let hash = BodyHash::with_sum(declared, chosen);
    let body = Body { stream: input.body, hash, size, context: &caller.context };
    let (body, hash) = body.read_blob(operations).await?;
    let trailers = req.trailing_headers.and_then(|trailers| trailers.take());
    let hashes = hash.finish(trailers)?;
    caller.note_crc64(hashes.crc64);
    let part = PutPart {
        bucket: place.bucket.into(),
        key: place.key.into(),
        upload: place.upload,
        number: place.number,
        size,
        md5: hashes.md5,
        crc64: hashes.crc64,
        sum: hashes.sum.as_ref().map(|(algorithm, value)| (algorithm.header().into(), value.as_str().into())),
        body,
    };
    operations.commit.put_part(permit, part).await.map_err(errors::of_commit)?;
    let mut output =
        UploadPartOutput { e_tag: Some(ETag::Strong(hex::encode(hashes.md5))), ..Default::default() };
    if let Some((algorithm, value)) = hashes.sum {
        set_checksum!(output, algorithm, value);
    }
    Ok(S3Response::new(output))
}

/// Lists the parts of an open upload, by number.
pub(super) fn list(
    operations: &Operations,
    req: S3Request<ListPartsInput>,
) -> S3Result<S3Response<ListPartsOutput>> {
    Caller::of(&req.extensions)?;
    headers::only_known(&req.headers, &[])?;
    headers::expected_owner(&req.headers, &operations.limits.account)?;
    let input = req.input;
    let id = upload_id(&input.upload_id)?;
    let upload = find(operations, &input.bucket, &input.key, id)?;
    if upload.done.is_some() {
        return Err(S3ErrorCode::NoSuchUpload.into());
    }
    let (max_parts, max) = page_size(input.max_parts)?;
    let after = input.part_number_marker.unwrap_or(0);
    let from = u16::try_from(after).ok();
    let from = from.ok_or_else(|| s3_error!(InvalidArgument, "part-number-marker is not a part's number"))?;
    let mut parts = operations.commit.store().parts(id, from, max + 1).map_err(errors::of_store)?;
    let more = parts.len() > max;
    parts.truncate(max);
    let next = parts.last().map(|part| i32::from(part.number));
    let listed = parts.iter().map(|part| {
        let mut listed = Part {
            e_tag: Some(ETag::Strong(hex::encode(part.md5))),
            last_modified: Some(buckets::time(part.time_us)),
            part_number: Some(i32::from(part.number)),
            size: i64::try_from(part.size).ok(),
            ..Default::default()
        };
        if let Some((header, value)) = &part.sum
            && let Some(algorithm) = Algorithm::of_header(header)
        {
            set_checksum!(listed, algorithm, value.to_string());
        }
        listed
    });
    let chosen = upload.begun.checksum.as_ref();
    let algorithm = chosen.and_then(|chosen| Algorithm::of_header(&chosen.header));
    let class = StorageClass::from(classes::of_kept(&upload.begun.headers));
    let owner = buckets::owner(operations);
    Ok(S3Response::new(ListPartsOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(input.upload_id),
        checksum_algorithm: algorithm.map(|algorithm| ChecksumAlgorithm::from_static(algorithm.name())),
        checksum_type: chosen.map(|chosen| type_of(chosen.composite)),
        initiator: Some(Initiator { display_name: owner.display_name.clone(), id: owner.id.clone() }),
        is_truncated: Some(more),
        max_parts: Some(max_parts),
        next_part_number_marker: next,
        owner: Some(owner),
        part_number_marker: Some(after),
        parts: Some(listed.collect()),
        storage_class: Some(class),
        ..Default::default()
    }))
}
