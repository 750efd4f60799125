//! UploadPartCopy: a range of an object that is here already becomes a part.
//!
//! Must never take a range that is not wholly within its source.

use std::ops::Range;

use http::header::{IF_MATCH, IF_NONE_MATCH};
use s3s::dto::{CopyPartResult, ETag, UploadPartCopyInput, UploadPartCopyOutput};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::context::Caller;
use super::copy::{MAX_LOOKUPS, copy_blob};
use super::digest::{BodyHash, Declared};
use super::found::version_of;
use super::multipart::RECORD_OVERHEAD;
use super::operations::Operations;
use super::parts::Place;
use super::source::{Source, check_headers, conditions};
use super::{buckets, errors};
use crate::commit::PutPart;
use crate::store::StoreError;

/// Copies a range of an object to a part.
pub(super) async fn upload(
    operations: &Operations,
    req: S3Request<UploadPartCopyInput>,
) -> S3Result<S3Response<UploadPartCopyOutput>> {
    let caller = Caller::of(&req.extensions)?;
    check_headers(operations, &req.headers, &[])?;
    // Only an object can be conditional; a condition that is ignored overwrites what it should have saved.
    for name in [IF_MATCH, IF_NONE_MATCH] {
        if req.headers.contains_key(&name) {
            return Err(s3_error!(NotImplemented, "Not implemented: the header {name} of a part"));
        }
    }
    let input = req.input;
    let place = Place::of(&input.bucket, &input.key, &input.upload_id, input.part_number)?;
    let conditions = conditions(
        input.copy_source_if_match,
        input.copy_source_if_none_match,
        input.copy_source_if_modified_since,
        input.copy_source_if_unmodified_since,
    );
    let source = Source::of(&caller, input.copy_source, conditions)?;
    for _ in 0..MAX_LOOKUPS {
        let chosen = place.checksum(operations)?;
        let found = source.find(operations)?;
        let range = part_range(input.copy_source_range.as_deref(), found.size)?;
        let size = range.end - range.start;
        let _space = operations.commit.reserve_body(size).map_err(errors::of_commit)?;
        let permit = operations.commit.reserve(RECORD_OVERHEAD).await.map_err(errors::of_commit)?;
        let hash = BodyHash::with_sum(Declared::default(), chosen);
        let (body, hashes) = match copy_blob(operations, &found, range, hash).await {
            Err(StoreError::Gone) => continue,
            copied => copied.map_err(errors::of_store)?,
        };
        let part = PutPart {
            bucket: place.bucket.as_str().into(),
            key: place.key.as_str().into(),
            upload: place.upload,
            number: place.number,
            size,
            md5: hashes.md5,
            crc64: hashes.crc64,
            sum: hashes.sum.as_ref().map(|(a, value)| (a.header().into(), value.as_str().into())),
            body,
        };
        caller.note_crc64(hashes.crc64);
        let time_us = operations.commit.put_part(permit, part).await.map_err(errors::of_commit)?;
        let mut result = CopyPartResult {
            e_tag: Some(ETag::Strong(hex::encode(hashes.md5))),
            last_modified: Some(buckets::time(time_us)),
            ..Default::default()
        };
        if let Some((algorithm, value)) = hashes.sum {
            set_checksum!(result, algorithm, value);
        }
        return Ok(S3Response::new(UploadPartCopyOutput {
            copy_part_result: Some(result),
            copy_source_version_id: version_of(operations, &found)?,
            ..Default::default()
        }));
    }
    Err(errors::of_store(StoreError::Gone))
}

/// `bytes=FIRST-LAST`, both within the source; without it all of it.
fn part_range(text: Option<&str>, size: u64) -> S3Result<Range<u64>> {
    let Some(text) = text else { return Ok(0..size) };
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().ok());
    let range = text.strip_prefix("bytes=").and_then(|text| text.split_once('-'));
    let range = range.and_then(|(first, last)| Some(digits(first)??..digits(last)??.checked_add(1)?));
    let range = range.filter(|range| !range.is_empty()).ok_or_else(|| {
        s3_error!(InvalidArgument, "The x-amz-copy-source-range value must be of the form bytes=first-last")
    })?;
    match range.end <= size {
        true => Ok(range),
        false => Err(s3_error!(InvalidRange, "The range is not within the source of {size} bytes")),
    }
}
